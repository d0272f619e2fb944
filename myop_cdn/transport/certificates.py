"""Which certificates are trusted: one rule for every service.

Those in all the files and folders that SSL_CERT_FILE, SSL_CERT_DIR, REQUESTS_CA_BUNDLE and
CURL_CA_BUNDLE name, and none beside them; without any, the system's own; where the system has
none (Python from python.org on macOS), those of the package certifi or botocore. AWS_CA_BUNDLE
counts like the others, but for AWS's services alone, as in every tool of theirs.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from myop_cdn.transport.errors import CertificatesUnreadable

if TYPE_CHECKING:
    import ssl
    from collections.abc import Sequence

VARIABLES = ("SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")
AWS_VARIABLES = (*VARIABLES, "AWS_CA_BUNDLE")


def trusting_context(variables: Sequence[str] = VARIABLES) -> ssl.SSLContext:
    """A TLS context for clients that trusts by the rule above.

    Raises CertificatesUnreadable where what a variable names can't be read.
    """
    import ssl

    named = [(variable, value) for variable in variables if (value := os.environ.get(variable))]
    if not named:
        return ssl.create_default_context(cafile=_bundle() if _system_has_none() else None)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # verifies certificates and host names
    for variable, value in named:
        # SSL_CERT_DIR may hold several, as OpenSSL reads it.
        several = value.split(os.pathsep) if variable == "SSL_CERT_DIR" else [value]
        for path in several:
            _load(context, variable, path)
    return context


def named_file(variables: Sequence[str] = VARIABLES) -> str | None:
    """The first file or folder that a variable names, for libraries that take but one."""
    return next((value for name in variables if (value := os.environ.get(name))), None)


def _load(context: ssl.SSLContext, variable: str, path: str) -> None:
    try:
        if Path(path).is_dir():
            context.load_verify_locations(capath=path)
        else:
            context.load_verify_locations(cafile=path)
    except OSError as error:  # which a file without certificates is, too
        reason = error.strerror or "no certificates in it"
        raise CertificatesUnreadable(f"{path} ({variable}) can't be read: {reason}") from None


def _system_has_none() -> bool:
    import ssl

    paths = ssl.get_default_verify_paths()
    if paths.cafile:
        return False
    try:
        return not (paths.capath and any(Path(paths.capath).iterdir()))
    except OSError:
        return True


def _bundle() -> str | None:
    import importlib.util

    for package in ("certifi", "botocore"):
        spec = importlib.util.find_spec(package)
        for folder in (spec and spec.submodule_search_locations) or ():
            file = Path(folder) / "cacert.pem"
            if file.is_file():
                return str(file)
    return None
