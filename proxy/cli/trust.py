"""Which environment variables make programs trust the local certificate authority, whatever they are written in.

Decides the variables and the file that each names. A variable that a person has set already keeps what it trusted: its
program gets a bundle of that file's certificates and ours.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

# Each takes one file that replaces the program's own roots, so it must hold those and ours.
WHOLE_BUNDLES = (
    "SSL_CERT_FILE",  # OpenSSL and so urllib, aiohttp, httpx, Ruby, PHP; Go; rustls-native-certs; uv
    "REQUESTS_CA_BUNDLE",  # requests
    "CURL_CA_BUNDLE",  # curl
    "AWS_CA_BUNDLE",  # AWS CLI, boto3
    "GIT_SSL_CAINFO",  # git
    "PIP_CERT",  # pip
    "GRPC_DEFAULT_SSL_ROOTS_FILE_PATH",  # gRPC
    "CARGO_HTTP_CAINFO",  # cargo
    "HTTPLIB2_CA_CERTS",  # httplib2, older Google clients
    "CLOUDSDK_CORE_CUSTOM_CA_CERTS_FILE",  # gcloud
    "PERL_LWP_SSL_CA_FILE",  # libwww-perl
    "NIX_SSL_CERT_FILE",  # Nix
)
# Each takes a file of certificates to trust beside the program's own roots.
ADDITIONAL = (
    "NODE_EXTRA_CA_CERTS",  # Node.js, Bun
    "DENO_CERT",  # Deno
)


def variables(folder: Path, environ: Mapping[str, str]) -> dict[str, str]:
    """Name -> file. folder: of the authority, with its files made. Raises OSError where a bundle cannot be written."""
    from proxy.data import ca

    folder = folder.resolve()
    found: dict[str, str] = {}
    for name in WHOLE_BUNDLES:
        found[name] = str(_beside(folder, environ.get(name), folder / ca.BUNDLE))
    for name in ADDITIONAL:
        found[name] = str(_beside(folder, environ.get(name), folder / ca.CERTIFICATE))
    return found


def _beside(folder: Path, present: str | None, otherwise: Path) -> Path:
    from proxy.data import ca

    if not present or Path(present).resolve() == otherwise or not Path(present).is_file():
        return otherwise
    return ca.bundle_beside(folder, Path(present))
