"""The certificate authority: what it may sign, who may read its key, and several processes in one folder."""

from __future__ import annotations

import asyncio
import multiprocessing
import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509

from proxy.core.interception import Scope
from proxy.data import ca
from proxy.data.leaves import Leaves, NoCertificate

NOW = datetime.now(UTC)
SCOPE = Scope(("api.example.com", "llm.test"))


def shake(client: ssl.SSLContext, server: ssl.SSLContext, name: str) -> x509.Certificate:
    """A handshake in memory; the certificate that the client saw. Raises what the client raises."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    ours = client.wrap_bio(to_client, to_server, server_hostname=name)
    theirs = server.wrap_bio(to_server, to_client, server_side=True)
    for _ in range(6):
        for side in (ours, theirs):
            try:
                side.do_handshake()
            except ssl.SSLWantReadError:
                continue
    return x509.load_der_x509_certificate(ours.getpeercert(True) or b"")


def trusting(authority: ca.Authority) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=str(authority.folder / ca.CERTIFICATE))


@pytest.mark.parametrize("host", ["api.example.com", "eu.llm.test", "127.0.0.2"])
def test_what_it_signs_is_accepted_by_who_trusts_it(tmp_path: Path, host: str) -> None:
    authority = ca.ensure(tmp_path, Scope(SCOPE.names, ("127.0.0.2",)), NOW).authority
    seen = shake(trusting(authority), authority.leaf(host, NOW).context, host)
    assert seen.not_valid_after_utc - NOW <= timedelta(hours=48)
    assert seen.issuer == authority.certificate.subject


@pytest.mark.parametrize("host", ["api.other.com", "example.com", "127.0.0.2"])
def test_what_the_rules_do_not_name_is_refused_even_with_the_right_key(tmp_path: Path, host: str) -> None:
    authority = ca.ensure(tmp_path, SCOPE, NOW).authority
    with pytest.raises(ssl.SSLCertVerificationError, match="subtree violation"):
        shake(trusting(authority), authority.leaf(host, NOW).context, host)
    assert ca.unsigned(SCOPE, ["eu.llm.test", host]) == (host,)


def test_an_authority_for_addresses_alone_signs_no_name(tmp_path: Path) -> None:
    authority = ca.ensure(tmp_path, Scope((), ("127.0.0.2",)), NOW).authority
    assert authority.scope == Scope((), ("127.0.0.2",))
    with pytest.raises(ssl.SSLCertVerificationError, match="subtree violation"):
        shake(trusting(authority), authority.leaf("llm.test", NOW).context, "llm.test")


def test_it_is_kept_as_long_as_nothing_changes(tmp_path: Path) -> None:
    made, kept = ca.ensure(tmp_path, SCOPE, NOW), ca.ensure(tmp_path, SCOPE, NOW + timedelta(days=600))
    assert (made.kind, kept.kind) == ("made", "kept")
    assert made.authority.certificate == kept.authority.certificate


def test_other_hosts_mean_a_new_certificate_with_the_same_key(tmp_path: Path) -> None:
    old = ca.ensure(tmp_path, SCOPE, NOW).authority
    was_trusted = trusting(old)
    change = ca.ensure(tmp_path, Scope(("llm.test", "new.test")), NOW)
    assert (change.kind, change.added, change.removed) == ("hosts", ("new.test",), ("api.example.com",))
    new = change.authority
    assert new.certificate.public_key() == old.certificate.public_key()
    shake(was_trusted, new.leaf("llm.test", NOW).context, "llm.test")  # what held before still holds
    with pytest.raises(ssl.SSLCertVerificationError):
        shake(was_trusted, new.leaf("new.test", NOW).context, "new.test")
    shake(trusting(new), new.leaf("new.test", NOW).context, "new.test")


def test_it_is_renewed_before_its_end(tmp_path: Path) -> None:
    old = ca.ensure(tmp_path, SCOPE, NOW).authority
    change = ca.ensure(tmp_path, SCOPE, old.expires - timedelta(days=10))
    assert (change.kind, change.added) == ("renewed", ())
    assert change.authority.expires > old.expires


def test_rotation_makes_a_key_that_nobody_trusts_yet(tmp_path: Path) -> None:
    old = ca.ensure(tmp_path, SCOPE, NOW).authority
    was_trusted = trusting(old)
    new = ca.rotate(tmp_path, SCOPE, NOW).authority
    with pytest.raises(ssl.SSLCertVerificationError):
        shake(was_trusted, new.leaf("llm.test", NOW).context, "llm.test")


def test_the_key_is_its_owners_alone(tmp_path: Path) -> None:
    ca.ensure(tmp_path, SCOPE, NOW)
    key = tmp_path / ca.KEY
    assert key.stat().st_mode & 0o777 == 0o600
    key.chmod(0o640)
    with pytest.raises(ca.CaError) as error:
        ca.load(tmp_path)
    assert (error.value.key, error.value.values) == ("exposed", {"file": str(key)})


@pytest.mark.parametrize(
    ("spoil", "key"),
    [
        (lambda folder: (folder / ca.KEY).unlink(), "half"),
        (lambda folder: (folder / ca.CERTIFICATE).write_text("nonsense"), "broken"),
        (
            lambda folder: (folder / ca.CERTIFICATE).write_bytes(
                (ca.ensure(folder / "other", SCOPE, NOW).authority.folder / ca.CERTIFICATE).read_bytes()
            ),
            "broken",
        ),
    ],
    ids=["no key", "no certificate", "another's certificate"],
)
def test_files_that_do_not_belong_together_are_not_used(tmp_path: Path, spoil: object, key: str) -> None:
    ca.ensure(tmp_path, SCOPE, NOW)
    spoil(tmp_path)  # type: ignore[operator]
    with pytest.raises(ca.CaError) as error:
        ca.ensure(tmp_path, SCOPE, NOW)
    assert error.value.key == key


def test_bundles_hold_the_systems_roots_and_ours_and_follow_a_rotation(tmp_path: Path) -> None:
    ca.ensure(tmp_path, SCOPE, NOW)
    own = tmp_path / "corporate.pem"
    own.write_bytes(
        ca.ensure(tmp_path / "other", Scope(("corp.test",)), NOW).authority.folder.joinpath("ca.pem").read_bytes()
    )
    beside = ca.bundle_beside(tmp_path, own)
    roots = ca.system_roots()
    assert roots is not None
    assert (tmp_path / ca.BUNDLE).read_bytes().startswith(roots.read_bytes().rstrip())
    new = ca.rotate(tmp_path, SCOPE, NOW).authority
    for bundle in (tmp_path / ca.BUNDLE, beside):
        shake(ssl.create_default_context(cafile=str(bundle)), new.leaf("llm.test", NOW).context, "llm.test")
    assert beside.read_bytes().startswith(own.read_bytes().rstrip())


def _make(folder: str, number: int, results: object) -> None:
    authority = ca.ensure(Path(folder), SCOPE, NOW).authority
    results.put((number, authority.fingerprint))  # type: ignore[attr-defined]


def test_processes_that_begin_together_share_one_authority(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    results = context.Queue()
    processes = [context.Process(target=_make, args=(str(tmp_path), number, results)) for number in range(4)]
    for process in processes:
        process.start()
    fingerprints = {results.get(timeout=30)[1] for _ in processes}
    for process in processes:
        process.join(10)
    assert len(fingerprints) == 1


# --- leaves -----------------------------------------------------------------------------------------------------------


async def test_a_certificate_is_made_once_however_many_ask(tmp_path: Path) -> None:
    leaves = Leaves(tmp_path)
    await leaves.follow(SCOPE)
    found = await asyncio.gather(*(leaves.context("llm.test") for _ in range(20)))
    assert len(set(map(id, found))) == leaves.made == 1
    await leaves.context("api.example.com")
    assert leaves.made == 2


async def test_a_certificate_is_made_anew_in_time(tmp_path: Path) -> None:
    now = NOW
    leaves = Leaves(tmp_path, lambda: now)
    await leaves.follow(SCOPE)
    first = await leaves.context("llm.test")
    now = NOW + timedelta(hours=25)
    assert await leaves.context("llm.test") is not first


async def test_a_rotation_by_another_process_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("proxy.data.leaves.LOOK_EVERY_S", 0.0)
    leaves = Leaves(tmp_path)
    await leaves.follow(SCOPE)
    await leaves.context("llm.test")
    new = ca.rotate(tmp_path, SCOPE, NOW).authority
    shake(trusting(new), await leaves.context("llm.test"), "llm.test")


async def test_without_an_authority_nothing_is_signed(tmp_path: Path) -> None:
    leaves = Leaves(tmp_path)
    await leaves.follow(Scope())
    with pytest.raises(NoCertificate):
        await leaves.context("llm.test")
    assert not (tmp_path / ca.KEY).exists()
    ca.ensure(tmp_path, SCOPE, NOW)
    (tmp_path / ca.KEY).chmod(0o644)
    await leaves.follow(SCOPE)
    with pytest.raises(NoCertificate):
        await leaves.context("llm.test")
