"""Which certificates are trusted where the SDKs are not asked: theirs."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from myop_cdn.errors import StorageError

if TYPE_CHECKING:
    import ssl


def context(named: str | None) -> ssl.SSLContext:
    """The TLS context that trusts the file or folder that is named, or what the SDKs trust.

    Raises StorageError where it can't be read.
    """
    import ssl

    try:
        if named is not None and Path(named).is_dir():
            return ssl.create_default_context(capath=named)
        return ssl.create_default_context(cafile=named or _of_the_sdks())
    except OSError as error:  # which a file without certificates is, too
        raise StorageError(
            f"the certificates in {named} can't be read: {error.strerror}",
            "AWS_CA_BUNDLE, REQUESTS_CA_BUNDLE or CURL_CA_BUNDLE names a file of them (PEM)",
        ) from None


def context_of_requests() -> ssl.SSLContext:
    """The TLS context as the SDKs have it that ask by way of `requests`: its variables count.

    Raises StorageError where what they name can't be read.
    """
    return context(os.environ.get("REQUESTS_CA_BUNDLE") or os.environ.get("CURL_CA_BUNDLE") or None)


def _of_the_sdks() -> str | None:
    """certifi's file where it is installed, else botocore's own."""
    import importlib.util

    for package in ("certifi", "botocore"):
        spec = importlib.util.find_spec(package)
        for folder in (spec and spec.submodule_search_locations) or ():
            file = Path(folder) / "cacert.pem"
            if file.is_file():
                return str(file)
    return None
