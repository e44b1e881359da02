"""check, schema and init: rules.yaml is explained, described and written."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import pytest
import yaml

from proxy.cli.init import template
from proxy.rules_file import load_text
from tests.cli.conftest import Spendgate

BAD = """\
version: 1
currency: KRW
timezone: Asia/Seoul
budgets:
  - {name: monthly, limit: -1, period: month}
apis:
  - name: map
    upstream: https://map.example.com
    prices:
      - per_requst: 0.5
"""


def test_a_clean_file_is_told_in_one_line(quick: Spendgate, tmp_path: Path) -> None:
    (tmp_path / "rules.yaml").write_text(template("en"), encoding="utf-8")
    done = quick("check")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("rules.yaml is good. APIs: 5, prices: 9, budgets: 1 (hash ")
    assert len(done.stdout.splitlines()) == 1


def test_every_mistake_is_shown_with_its_line_and_a_caret_below_it(quick: Spendgate, tmp_path: Path) -> None:
    (tmp_path / "rules.yaml").write_text(BAD, encoding="utf-8")
    done = quick("check", "rules.yaml")
    assert done.returncode == 1
    lines = done.stdout.splitlines()
    assert lines[0].startswith("rules.yaml:5:28: budgets[0].limit: ")
    assert lines[1] == "    5 |   - {name: monthly, limit: -1, period: month}"
    assert lines[2] == "      |                            ^"
    assert any(line.startswith("rules.yaml:10:9: apis[0].prices[0].per_requst: ") for line in lines)
    assert "Did you mean “per_request”?" in done.stdout
    assert lines[-1] == "rules.yaml: mistakes: 2, warnings: 0."
    assert "\x1b" not in done.stdout


def test_the_caret_stands_below_the_mistake_in_korean_text_too(quick: Spendgate, tmp_path: Path) -> None:
    text = BAD.replace("{name: monthly, limit: -1,", '{name: "예산", limit: 1,')
    (tmp_path / "rules.yaml").write_text(text, encoding="utf-8")
    done = quick("check", "--lang", "ko")
    assert done.returncode == 1
    excerpt = done.stdout.splitlines()[1]
    caret = done.stdout.splitlines()[2]
    # Two cells a syllable: nothing before the mistake is Korean here, so both count alike.
    assert excerpt[caret.index("^")] == '"'
    assert "잘못 2개" in done.stdout


def test_json_has_the_same_mistakes(quick: Spendgate, tmp_path: Path) -> None:
    (tmp_path / "bad.yaml").write_text(BAD, encoding="utf-8")
    done = quick("check", "bad.yaml", "--json")
    document = json.loads(done.stdout)
    assert done.returncode == 1
    assert document["ok"] is False
    assert [(one["line"], one["column"], one["path"]) for one in document["mistakes"]] == [
        (5, 28, "budgets[0].limit"),
        (10, 9, "apis[0].prices[0].per_requst"),
    ]
    for one in document["mistakes"]:
        assert set(one) == {"line", "column", "path", "message", "hint", "severity"}
        assert one["message"]


def test_standard_input_is_read_for_a_dash(quick: Spendgate) -> None:
    assert quick("check", "-", input=template("ko")).returncode == 0
    assert quick("check", "-", input=BAD).returncode == 1


def test_a_warning_does_not_fail(quick: Spendgate, tmp_path: Path) -> None:
    text = "version: 1\napis: [{name: maps, upstream: https://maps.example.com, prices: [{per_request: 1}]}]\n"
    (tmp_path / "rules.yaml").write_text(text, encoding="utf-8")
    done = quick("check")
    assert done.returncode == 0
    assert "warning: " in done.stdout
    assert "rules.yaml is good." in done.stdout
    document = json.loads(quick("check", "--json").stdout)
    assert document["ok"] is True
    assert len(document["warnings"]) == 1


@pytest.mark.parametrize("make", ["missing", "folder", "binary", "large"])
def test_a_file_that_cannot_be_read_is_its_own_exit_code(make: str, quick: Spendgate, tmp_path: Path) -> None:
    path = tmp_path / "rules.yaml"
    if make == "folder":
        path.mkdir()
    elif make == "binary":
        path.write_bytes(b"\xff\xfe\x00\x01")
    elif make == "large":
        with path.open("wb") as file:
            file.truncate(100 * 1024 * 1024)
    done = quick("check")
    assert done.returncode == 2
    assert done.stderr.startswith("spendgate: ")
    assert "Traceback" not in done.stderr
    assert json.loads(quick("check", "--json").stdout)["ok"] is False


def test_the_rules_come_from_the_environment_too(quick: Spendgate, tmp_path: Path) -> None:
    (tmp_path / "team.yaml").write_text(BAD, encoding="utf-8")
    done = quick("check", SPENDGATE_RULES="team.yaml")
    assert done.returncode == 1
    assert done.stdout.startswith("team.yaml:5:28")


# --- schema and init ----------------------------------------------------------------------------------------------


def test_the_schema_describes_the_templates(quick: Spendgate) -> None:
    done = quick("schema")
    assert done.returncode == 0
    schema = json.loads(done.stdout)
    jsonschema.Draft202012Validator.check_schema(schema)
    for language in ("en", "ko"):
        jsonschema.validate(yaml.safe_load(template(language)), schema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(yaml.safe_load(BAD), schema)


def test_both_templates_say_the_same_to_the_loader() -> None:
    loaded = {language: load_text(template(language)) for language in ("en", "ko")}
    for one in loaded.values():
        assert one.rules is not None
        assert not one.warnings
    english, korean = (yaml.safe_load(template(language)) for language in ("en", "ko"))
    assert (english.pop("language"), korean.pop("language")) == ("en", "ko")
    assert english == korean


def test_init_writes_rules_and_schema_that_check_likes(quick: Spendgate, tmp_path: Path) -> None:
    done = quick("init")
    assert (done.returncode, done.stderr) == (0, "")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["rules.schema.json", "rules.yaml"]
    first = (tmp_path / "rules.yaml").read_text().splitlines()[0]
    assert first == "# yaml-language-server: $schema=rules.schema.json"
    assert quick("check").returncode == 0


def test_init_overwrites_nothing_unless_told_to(quick: Spendgate, tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("mine")
    done = quick("init", "mine.yaml")
    assert done.returncode == 1
    assert "mine.yaml is already there" in done.stderr
    assert path.read_text() == "mine"
    assert quick("init", "mine.yaml", "--force").returncode == 0
    assert path.read_text() == template("en")


def test_init_writes_korean_for_a_korean(quick: Spendgate, tmp_path: Path) -> None:
    assert quick("init", LANG="ko_KR.UTF-8").returncode == 0
    assert "language: ko" in (tmp_path / "rules.yaml").read_text()


def test_init_into_a_folder_that_is_not_there(quick: Spendgate) -> None:
    done = quick("init", "no/such/rules.yaml")
    assert done.returncode == 2
    assert "cannot write no/such/rules.yaml" in done.stderr
