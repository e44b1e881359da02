"""Flags and variables, and the errors that name them."""

from __future__ import annotations

from pathlib import Path

import pytest

from proxy import settings
from proxy.core.text import LANGUAGES
from proxy.settings import Address, SettingsError


def test_nothing_given_means_loopback_and_the_home_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    found = settings.load({"HOME": "/srv/data"})
    assert found.listen == Address("127.0.0.1", 8080)
    assert found.admin == Address("127.0.0.1", 8081)
    assert found.data == Path("/srv/data/.local/share/spendgate")
    assert found.redis_url is None


def test_a_folder_that_has_its_own_store_is_used_by_every_command_in_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert settings.load({"XDG_DATA_HOME": "/srv/data"}).data == Path("/srv/data/spendgate")
    (tmp_path / ".spendgate").mkdir()
    assert settings.load({"XDG_DATA_HOME": "/srv/data"}).data == Path(".spendgate")


def test_a_flag_beats_a_variable_and_a_variable_beats_the_default() -> None:
    env = {"SPENDGATE_WORKERS": "3", "SPENDGATE_LISTEN": "192.0.2.1:1"}
    found = settings.load(env, workers="2")
    assert found.workers == 2
    assert found.listen == Address("192.0.2.1", 1)


def test_redis_url_is_understood_and_its_own_variable_comes_first() -> None:
    assert settings.load({"REDIS_URL": "redis://a/1"}).redis_url == "redis://a/1"
    assert settings.load({"REDIS_URL": "redis://a/1", "SPENDGATE_REDIS": "unix:///b"}).redis_url == "unix:///b"


def test_a_password_is_in_no_text_form_of_the_settings() -> None:
    assert "secret" not in repr(settings.load({"REDIS_URL": "redis://:secret@host"}))


@pytest.mark.parametrize(
    ("env", "name"),
    [
        ({"SPENDGATE_LISTEN": "nowhere"}, "SPENDGATE_LISTEN"),
        ({"SPENDGATE_LISTEN": "h:99999"}, "SPENDGATE_LISTEN"),
        ({"SPENDGATE_LISTEN": "h:1/path"}, "SPENDGATE_LISTEN"),
        ({"SPENDGATE_ADMIN": "h:x"}, "SPENDGATE_ADMIN"),
        ({"SPENDGATE_WORKERS": "0"}, "SPENDGATE_WORKERS"),
        ({"SPENDGATE_WORKERS": "many"}, "SPENDGATE_WORKERS"),
        ({"SPENDGATE_LOG_FORMAT": "xml"}, "SPENDGATE_LOG_FORMAT"),
        ({"SPENDGATE_LEASE": "nan"}, "SPENDGATE_LEASE"),
        ({"REDIS_URL": "http://a"}, "REDIS_URL"),
        ({"SPENDGATE_TENANT": "{a}"}, "SPENDGATE_TENANT"),
        ({"SPENDGATE_STORE_TCP_PORT": "0"}, "SPENDGATE_STORE_TCP_PORT"),
    ],
)
def test_an_unusable_value_is_named_with_its_remedy(env: dict[str, str], name: str) -> None:
    with pytest.raises(SettingsError) as caught:
        settings.load(env)
    assert caught.value.name == name
    remedies = {language: caught.value.remedy(language) for language in LANGUAGES}
    assert len(set(remedies.values())) == len(LANGUAGES)
    assert not [text for text in remedies.values() if "{" in text or not text.endswith(".")]
    assert remedies["en"] in str(caught.value)


def test_a_bad_redis_url_is_shown_without_its_password() -> None:
    with pytest.raises(SettingsError) as caught:
        settings.load({"REDIS_URL": "http://user:secret@host"})
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("env", "asked", "language"),
    [
        ({}, None, "en"),
        ({"LANG": "ko_KR.UTF-8"}, None, "ko"),
        ({"LANG": "ko_KR.UTF-8", "SPENDGATE_LANG": "en"}, None, "en"),
        ({"LC_ALL": "C", "LANG": "ko_KR.UTF-8"}, None, "en"),
        ({"SPENDGATE_LANG": "en"}, "ko", "ko"),
    ],
)
def test_the_language_is_asked_for_or_the_locale_s(env: dict[str, str], asked: str | None, language: str) -> None:
    assert settings.language(env, asked) == language


def test_an_ipv6_address_is_read_and_written_with_brackets() -> None:
    assert str(settings.address("x", "[::1]:8080")) == "[::1]:8080"
