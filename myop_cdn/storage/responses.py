"""What a storage service's responses mean, in the words of this program: the same for all."""

from __future__ import annotations

import json
from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple

from myop_cdn.errors import (
    AccessDenied,
    ContainerMissing,
    CredentialsError,
    PreconditionFailed,
    StorageError,
    StorageUnavailable,
    StorageUnreachable,
)
from myop_cdn.text import shown, without_credentials
from myop_cdn.transport import ConnectionFailed, ResponseTooLarge, TransportError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from myop_cdn.transport import Response

PAGE_BYTES = 16 * 2**20  # of a listing's page; the services' longest are half of that
FACTS_BYTES = 2**20  # of a response that tells about one object, and of a refusal's
_MAX_JSON_PARTS = 10**6  # lists and objects; each takes 20 times the bytes that it is written in


class Service(NamedTuple):
    """What a service's users can do about its refusals, and its codes for them.

    container: what it calls the place that holds the objects. credentials, access, network: hints
    for refused credentials, for what is not allowed, and for no connection. unknown: codes about
    credentials. busy: codes about a state that passes.
    """

    container: str
    credentials: str
    access: str
    network: str
    unknown: frozenset[str] = frozenset()
    busy: frozenset[str] = frozenset()

    def refusal(
        self,
        where: str,
        response: Response,
        code: str = "",
        message: str = "",
        *,
        conditional: bool = False,
        about_container: bool = False,
    ) -> StorageError:
        """The error that a refusing response stands for.

        where: destination and key. code, message: the service's own. conditional: whether the
        request had a condition, which is then what a 404 or 409 is about. about_container:
        whether the response says that the container is missing.
        """
        status, code = response.status, shown(code)
        if status == 401 or code in self.unknown:
            return CredentialsError(
                f"{where}: the credentials were refused or have expired ({code or status})",
                self.credentials,
            )
        if about_container:
            return ContainerMissing(
                f"{where}: no such {self.container}",
                "check the name, or create it first: that is not done for you",
            )
        if status == 412 or (conditional and status in (404, 409)):
            return PreconditionFailed(f"{where}: was changed by somebody else")
        if status == 403:
            return AccessDenied(f"{where}: not allowed ({code or status})", self.access)
        said = " ".join(filter(None, (f"{status}", code)))
        if status in (408, 429) or status >= 500 or code in self.busy:
            busy = StorageUnavailable(f"{where}: the service answered {said}")
            busy.retry_after = response.retry_after()
            return busy
        message = shown(without_credentials(" ".join(message[:1000].split())), 200)
        said += f": {message}" if message else ""
        return StorageError(f"{where}: the service answered {said}")

    @contextmanager
    def answering(self, where: str, netloc: str, limit: int) -> Iterator[None]:
        """Make a StorageError of a request's TransportError.

        netloc: the service's host. limit: bytes of the response that are read.
        """
        try:
            yield
        except ConnectionFailed as error:
            raise StorageUnreachable(
                f"{where}: {netloc} {error.phrase}", error.hint or self.network
            ) from None
        except ResponseTooLarge:
            raise StorageError(
                f"{where}: {netloc} answered with more than the {limit} bytes that are read"
            ) from None
        except TransportError as error:
            kind = StorageUnavailable if error.temporary else StorageError
            raise kind(f"{where}: {netloc} {error.phrase}", error.hint) from None


def content(where: str, response: Response, limit: int) -> bytes:
    """The response's body. Raises StorageError for one of more than `limit` bytes: a request for
    content takes `FACTS_BYTES` at least, so that a refusal can be read whatever the limit is.
    """
    if len(response.body) > limit:
        raise StorageError(f"{where}: there are more than the {limit} bytes that are read")
    return response.body


@contextmanager
def readable(where: str) -> Iterator[None]:
    """Make a StorageError of what reading an answer's fields raises."""
    try:
        yield
    except (ValueError, TypeError, LookupError, AttributeError, RecursionError) as error:
        raise StorageError(
            f"{where}: the service's answer can't be read ({type(error).__name__})"
        ) from None


def json_object(response: Response) -> Mapping[str, object]:
    """The JSON object in a response. Raises ValueError, RecursionError for anything else."""
    body = response.body
    if body.count(b"[") + body.count(b"{") > _MAX_JSON_PARTS:
        raise ValueError("too many parts")
    value = json.loads(body)
    if not isinstance(value, dict):
        raise ValueError("not an object")
    return value
