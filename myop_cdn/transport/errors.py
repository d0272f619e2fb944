"""Why no whole answer came. For callers, who say it in a sentence of their own.

TransportError
├── ConnectionFailed         the host or its port can't be reached; nothing was sent
│   ├── NameUnresolved       the host's name has no address
│   ├── ConnectTimeout       no connection in time
│   └── ProxyFailed          the environment's proxy gives no connection
├── UntrustedCertificate     the certificate is not trusted, or is another host's
├── NotTls                   the port does not speak TLS, plain HTTP perhaps
├── TlsFailed                the TLS handshake failed for another reason
├── CertificatesUnreadable   the file of certificates to trust can't be read
├── ReadTimeout              the connection stood, but the answer took too long
├── ProtocolError            the connection ended early, or what came is not HTTP
└── ResponseTooLarge         a body of more bytes than are taken
"""

from __future__ import annotations

from typing import ClassVar


class TransportError(Exception):
    """No whole answer came.

    phrase: completes a sentence that begins with the host: "api.example.com can't be reached".
    hint: what to do about it, "" where there is nothing in particular. temporary: whether it may
    go otherwise when it is tried again.
    """

    phrase: str = "could not be asked"
    hint: ClassVar[str] = ""
    temporary: ClassVar[bool] = True

    def __init__(self, detail: str = "") -> None:
        super().__init__(detail or self.phrase)


class ConnectionFailed(TransportError):
    """The host or its port can't be reached. Nothing was sent."""

    phrase = "can't be reached"


class NameUnresolved(ConnectionFailed):
    """The host's name has no address."""

    phrase = "has a name that can't be resolved"


class ConnectTimeout(ConnectionFailed):
    """No connection in time."""

    phrase = "took no connection in time"


class ProxyFailed(ConnectionFailed):
    """The environment's proxy gives no connection. detail: its host, port and answer."""

    hint = "check HTTPS_PROXY, HTTP_PROXY and NO_PROXY"

    def __init__(self, detail: str) -> None:
        self.phrase = f"can't be reached through the environment's proxy ({detail})"
        super().__init__(self.phrase)


class UntrustedCertificate(TransportError):
    """The certificate is not trusted, or is not of the name that was asked for."""

    phrase = "has a certificate that can't be verified"
    hint = "SSL_CERT_FILE names a file of certificates to trust, a proxy's own for instance"
    temporary = False


class NotTls(TransportError):
    """The port does not speak TLS."""

    phrase = "does not speak HTTPS at this port"
    hint = "does it speak plain HTTP? Then write http://, or give the port for HTTPS"
    temporary = False


class TlsFailed(TransportError):
    """The TLS handshake failed. detail: OpenSSL's name for the reason."""

    temporary = False

    def __init__(self, detail: str) -> None:
        self.phrase = f"broke off the TLS handshake ({detail})"
        super().__init__(self.phrase)


class CertificatesUnreadable(TransportError):
    """The certificates to trust can't be read. detail: which variable, which file, why."""

    hint = "it has to name a file of certificates (PEM)"
    temporary = False

    def __init__(self, detail: str) -> None:
        self.phrase = f"can't be asked: {detail}"
        super().__init__(self.phrase)


class ReadTimeout(TransportError):
    """The connection stood, but the answer took too long."""

    phrase = "did not answer in time"


class ProtocolError(TransportError):
    """The connection ended early, or what came is not HTTP."""

    phrase = "broke the connection off"


class ResponseTooLarge(TransportError):
    """A body of more bytes than are taken."""

    phrase = "sent a longer answer than is taken"
    temporary = False
