"""The local certificate authority: its files, what it may sign, when it is issued anew, and the certificates it signs.

One folder holds everything: `ca.key` (0600, never copied, never logged), `ca.pem` (what programs trust), `bundle.pem`
(the system's roots and ours, for programs that take one file). The authority can sign only for the hosts that
rules.yaml asks to intercept: they are in it as critical name constraints (RFC 5280 §4.2.1.10), so that a stolen key is
good for nothing else. It is issued anew, with the same key, when those hosts change or its end is near; `rotate` makes
a new key.

Several processes share a folder: whoever changes it holds the lock, and files are replaced whole. Everything here
blocks; call it in a thread.
"""

from __future__ import annotations

import contextlib
import fcntl
import ipaddress
import os
import ssl
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from proxy.core.interception import Scope

KEY, CERTIFICATE, BUNDLE = "ca.key", "ca.pem", "bundle.pem"
VALID = timedelta(days=730)
RENEW_BEFORE = timedelta(days=30)
LEAF_VALID = timedelta(hours=48)
LEAF_RENEW_BEFORE = timedelta(hours=24)
_SKEW = timedelta(hours=1)  # clocks of clients may be behind
_NOBODY = "spendgate.invalid"  # a name that cannot exist (RFC 6761): where no name may be signed
_SYSTEM_ROOTS = (
    "/etc/ssl/certs/ca-certificates.crt",  # Debian, Arch, Alpine
    "/etc/pki/tls/certs/ca-bundle.crt",  # Fedora, RHEL
    "/etc/ssl/ca-bundle.pem",  # openSUSE
    "/etc/ssl/cert.pem",
)


class CaError(Exception):
    """The authority cannot be used. key: of the sentence "ca.<key>"; values: its placeholders, never a secret."""

    def __init__(self, key: str, **values: str) -> None:
        super().__init__(f"{key} {values}")
        self.key = key
        self.values = values


@dataclass(frozen=True, slots=True)
class Leaf:
    """A host's certificate, ready to serve. renew_at: when a fresh one should be made."""

    context: ssl.SSLContext
    renew_at: datetime


class Authority:
    """A loaded authority. `leaf` may be called from several threads."""

    def __init__(self, folder: Path, certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey) -> None:
        self.folder = folder
        self.certificate = certificate
        self._key = key
        self._leaf_key = ec.generate_private_key(ec.SECP256R1())  # this process's own; never on a disk

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the certificate, as trust stores show it."""
        return self.certificate.fingerprint(hashes.SHA256()).hex(":").upper()

    @property
    def expires(self) -> datetime:
        return self.certificate.not_valid_after_utc

    @property
    def scope(self) -> Scope:
        """What it may sign, read from the certificate itself."""
        found = self.certificate.extensions.get_extension_for_class(x509.NameConstraints).value
        permitted = found.permitted_subtrees or []
        names = [name.value for name in permitted if isinstance(name, x509.DNSName) and name.value != _NOBODY]
        addresses = [str(name.value).partition("/")[0] for name in permitted if isinstance(name, x509.IPAddress)]
        return Scope(tuple(sorted(names)), tuple(sorted(addresses)))

    def leaf(self, host: str, now: datetime) -> Leaf:
        """A fresh certificate for one host (a canonical name or address), with its chain."""
        name: x509.GeneralName
        try:
            name = x509.IPAddress(ipaddress.ip_address(host))
        except ValueError:
            name = x509.DNSName(host)
        ends = min(now + LEAF_VALID, self.expires)
        certificate = (
            x509.CertificateBuilder()
            # No host here: OpenSSL would hold an address against the constraints on names.
            .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "intercepted by spendgate")]))
            .issuer_name(self.certificate.subject)
            .public_key(self._leaf_key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - _SKEW)
            .not_valid_after(ends)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(x509.SubjectAlternativeName([name]), critical=False)
            .add_extension(_usage(signs=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()), critical=False)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(self._leaf_key.public_key()), critical=False)
            .sign(self._key, hashes.SHA256())
        )
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.set_alpn_protocols(["http/1.1"])
        _load(context, _pem_of_key(self._leaf_key) + _pem(certificate))
        # An address has no server name (RFC 6066 §3), but some clients send one.
        context.sni_callback = _only_for(host)
        return Leaf(context, min(ends - LEAF_RENEW_BEFORE, self.expires))


def _only_for(host: str):  # type: ignore[no-untyped-def]  # the ssl module's own signature
    """Ends the handshake of a client that names another server inside the tunnel than the one it asked for."""

    def check(_connection: ssl.SSLObject, name: str | None, _context: ssl.SSLContext) -> int | None:
        if name is None or name.rstrip(".").lower() == host:
            return None
        return ssl.ALERT_DESCRIPTION_UNRECOGNIZED_NAME

    return check


# --- the folder -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Change:
    """What `ensure` or `rotate` did. kind: "kept" | "made" | "hosts" | "renewed" | "rotated"; the last four are new
    certificates, which programs must trust anew (after "hosts": for `added` hosts only; the old one still holds for the
    others)."""

    authority: Authority
    kind: str
    added: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()


def load(folder: Path) -> Authority | None:
    """The folder's authority, None where there is none yet. Raises CaError."""
    try:
        pem = (folder / CERTIFICATE).read_bytes()
        raw = _private(folder / KEY)
    except FileNotFoundError:
        if (folder / KEY).exists() != (folder / CERTIFICATE).exists():
            raise CaError("half", folder=str(folder)) from None
        return None
    except OSError as error:
        raise CaError("unreadable", folder=str(folder), why=error.strerror or "?") from None
    try:
        certificate = x509.load_pem_x509_certificate(pem)
        key = serialization.load_pem_private_key(raw, None)
    except (ValueError, TypeError):
        raise CaError("broken", folder=str(folder)) from None
    if not isinstance(key, ec.EllipticCurvePrivateKey) or key.public_key() != certificate.public_key():
        raise CaError("broken", folder=str(folder))
    return Authority(folder, certificate, key)


def ensure(folder: Path, scope: Scope, now: datetime) -> Change:
    """The folder's authority for these hosts: kept, made, or issued anew with the same key. Raises CaError."""
    with _locked(folder):
        known = load(folder)
        if known is None:
            return Change(_issue(folder, scope, ec.generate_private_key(ec.SECP256R1()), now), "made", scope.hosts)
        before = known.scope
        if before == scope and known.expires - now > RENEW_BEFORE:
            if not (folder / BUNDLE).exists():
                _write_bundle(folder, known.certificate)
            return Change(known, "kept")
        kind = "hosts" if before != scope else "renewed"
        added = tuple(host for host in scope.hosts if host not in before.hosts)
        removed = tuple(host for host in before.hosts if host not in scope.hosts)
        return Change(_issue(folder, scope, known._key, now), kind, added, removed)


def rotate(folder: Path, scope: Scope, now: datetime) -> Change:
    """A new key and certificate; whoever trusted the old one must trust anew. Raises CaError."""
    with _locked(folder):
        return Change(_issue(folder, scope, ec.generate_private_key(ec.SECP256R1()), now), "rotated", scope.hosts)


def _issue(folder: Path, scope: Scope, key: ec.EllipticCurvePrivateKey, now: datetime) -> Authority:
    name = x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, "spendgate"),
            x509.NameAttribute(NameOID.COMMON_NAME, "spendgate local authority"),
        ]
    )
    permitted: list[x509.GeneralName] = [x509.DNSName(host) for host in scope.names] or [x509.DNSName(_NOBODY)]
    permitted += [x509.IPAddress(ipaddress.ip_network(address)) for address in scope.addresses]
    excluded: list[x509.GeneralName] = []
    if not scope.addresses:  # a kind of name that no constraint mentions would be free
        excluded = [x509.IPAddress(ipaddress.ip_network("0.0.0.0/0")), x509.IPAddress(ipaddress.ip_network("::/0"))]
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _SKEW)
        .not_valid_after(now + VALID)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(signs=True), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.NameConstraints(permitted, excluded or None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    try:
        before = (folder / CERTIFICATE).read_bytes() if (folder / CERTIFICATE).exists() else b""
        _replace(folder / KEY, _pem_of_key(key), 0o600)
        _replace(folder / CERTIFICATE, _pem(certificate), 0o644)
        _write_bundle(folder, certificate)
        for bundle in folder.glob("bundle-*.pem"):  # programs that were started with one of them go on with it
            content = bundle.read_bytes()
            if before and before in content:
                _replace(bundle, content.replace(before, _pem(certificate)), 0o644)
    except OSError as error:
        raise CaError("unwritable", folder=str(folder), why=error.strerror or "?") from None
    return Authority(folder, certificate, key)


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    try:
        folder.mkdir(mode=0o755, parents=True, exist_ok=True)
        descriptor = os.open(folder / "lock", os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise CaError("unwritable", folder=str(folder), why=error.strerror or "?") from None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _private(path: Path) -> bytes:
    """A key file's content. Raises CaError where others could have read it."""
    with path.open("rb") as file:
        if stat.S_IMODE(os.fstat(file.fileno()).st_mode) & 0o077:
            raise CaError("exposed", file=str(path))
        return file.read()


def _replace(path: Path, content: bytes, mode: int) -> None:
    """Put a whole new file in the place of an old one; nobody ever sees half of it, or a key with a wider mode."""
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    with contextlib.suppress(FileNotFoundError):
        fresh.unlink()
    descriptor = os.open(fresh, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, mode)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(path)


# --- bundles ----------------------------------------------------------------------------------------------------------


def system_roots() -> Path | None:
    """The file in which this system keeps the roots that programs trust."""
    named = ssl.get_default_verify_paths().openssl_cafile
    return next((path for path in map(Path, (*_SYSTEM_ROOTS, named)) if path.is_file()), None)


def bundle_beside(folder: Path, base: Path) -> Path:
    """A bundle of another file's roots and ours, for a program that was told to trust that file. Raises OSError."""
    ours = (folder / CERTIFICATE).read_bytes()
    theirs = base.read_bytes()
    if ours in theirs:
        return base
    digest = hashes.Hash(hashes.SHA256())
    digest.update(str(base.resolve()).encode())
    path = folder / f"bundle-{digest.finalize().hex()[:8]}.pem"
    _replace(path, theirs.rstrip() + b"\n" + ours, 0o644)
    return path


def _write_bundle(folder: Path, certificate: x509.Certificate) -> None:
    roots = system_roots()
    theirs = roots.read_bytes().rstrip() + b"\n" if roots is not None else b""
    _replace(folder / BUNDLE, theirs + _pem(certificate), 0o644)


# --- pieces -----------------------------------------------------------------------------------------------------------


def spki_pin(der: bytes) -> str:
    """ "sha256/BASE64" of a certificate's public key, as RFC 7469 §2.4 and curl's --pinnedpubkey write it."""
    import base64
    import hashlib

    key = x509.load_der_x509_certificate(der).public_key()
    spki = key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    return "sha256/" + base64.b64encode(hashlib.sha256(spki).digest()).decode("ascii")


def _usage(*, signs: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs,
        crl_sign=signs,
        encipher_only=False,
        decipher_only=False,
    )


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)


def _pem_of_key(key: ec.EllipticCurvePrivateKey) -> bytes:
    encryption = serialization.NoEncryption()
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption)


def _load(context: ssl.SSLContext, chain: bytes) -> None:
    """The ssl module takes certificates from files only: from one that exists in memory alone."""
    descriptor = os.memfd_create("leaf", os.MFD_CLOEXEC)
    try:
        with os.fdopen(os.dup(descriptor), "wb") as file:
            file.write(chain)
        context.load_cert_chain(f"/proc/self/fd/{descriptor}")
    finally:
        os.close(descriptor)


def unsigned(scope: Scope, hosts: Sequence[str]) -> tuple[str, ...]:
    """Those of `hosts` that an authority of this scope cannot sign."""
    return tuple(
        host
        for host in hosts
        if host not in scope.addresses and not any(host == name or host.endswith(f".{name}") for name in scope.names)
    )
