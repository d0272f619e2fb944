"""HTTP/1.1 for every request that this program makes: to S3, Google's and Azure's storage, the
CDNs, Myop's API and the receivers of test deliveries.

Why not a library: measured in one run against this reader of responses (537 PUTs of 64 KB and
5,000 of 2 KB by 16 threads, and a run with nothing to do), the standard library's `http.client`
took 11, 22 and 28 % longer on the clock and 18, 32 and 15 % more CPU. Half of that is its headers'
parser, the package `email`, which takes 70 us where 8 are enough and 15 ms to load. urllib3 takes
more than that; pyreqwest is as fast, but brings 11 MB of compiled code, 15 ms of start-up and
certificates of its own. What a library would know better is small here: proxies, TLS and limits
are a hundred lines, and `response.py` is held to hostile bytes by its tests.
"""

from myop_cdn.transport.connection import Limits, Transport
from myop_cdn.transport.endpoint import Endpoint, parse_base_url
from myop_cdn.transport.errors import (
    CertificatesUnreadable,
    ConnectionFailed,
    ConnectTimeout,
    NameUnresolved,
    NotTls,
    ProtocolError,
    ProxyFailed,
    ReadTimeout,
    ResponseTooLarge,
    TlsFailed,
    TransportError,
    UntrustedCertificate,
)
from myop_cdn.transport.response import Response, gunzip

__all__ = [
    "CertificatesUnreadable",
    "ConnectTimeout",
    "ConnectionFailed",
    "Endpoint",
    "Limits",
    "NameUnresolved",
    "NotTls",
    "ProtocolError",
    "ProxyFailed",
    "ReadTimeout",
    "Response",
    "ResponseTooLarge",
    "TlsFailed",
    "Transport",
    "TransportError",
    "UntrustedCertificate",
    "gunzip",
    "parse_base_url",
]
