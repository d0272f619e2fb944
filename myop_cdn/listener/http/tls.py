"""The server's side of TLS."""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING

from myop_cdn.errors import InputError

if TYPE_CHECKING:
    from pathlib import Path


def server_context(certificate: Path, key: Path | None) -> ssl.SSLContext:
    """What speaks HTTPS with a certificate; see `load_certificate`. Raises InputError."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    load_certificate(context, certificate, key)
    return context


def load_certificate(context: ssl.SSLContext, certificate: Path, key: Path | None) -> None:
    """Read a certificate chain (PEM) and its key, which may be in the same file; connections to
    come use them. Raises InputError.
    """
    try:
        # Without a password asked for: nobody is there to type it.
        context.load_cert_chain(certificate, key, password=lambda: b"")
    except (OSError, ValueError) as error:
        raise InputError(f"can't use the certificate {certificate}: {_reason(error)}") from None


def _reason(error: OSError | ValueError) -> str:
    if not isinstance(error, ssl.SSLError):
        return getattr(error, "strerror", None) or "unusable"
    if error.reason == "KEY_VALUES_MISMATCH":
        return "the private key is another one's"
    return "it, or its private key, is not there in PEM form, or has a password"
