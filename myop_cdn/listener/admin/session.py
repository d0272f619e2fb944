"""Who may act on the page: whoever knows the token, by a bearer header or by a session.

A cookie alone is not enough: browsers send it along for pages of other ports of the same host, too.
So each request that changes something also carries a key that the login answered, which the page
keeps where only its own origin can read it.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from myop_cdn.listener.http.peers import Allowance, limited_by

if TYPE_CHECKING:
    from collections.abc import Callable

    from myop_cdn.listener.http.request import Request

COOKIE = "myop_cdn_session"
KEY_HEADER = "x-myop-cdn-key"
LASTS = 12 * 3600  # seconds
_MOST = 100  # sessions; the oldest makes room
_GUESSES = (5, 0.1)  # wrong tokens of one peer: at once, then so many a second


@dataclass(frozen=True, slots=True)
class Session:
    """Somebody who has logged in. id: the cookie's value. key: for `KEY_HEADER`. token: the digest
    of the token that was given; when that goes, so does the session.
    """

    id: str
    key: str
    token: bytes
    until: float


class TooManyGuesses(Exception):
    """This peer has given too many wrong tokens. Never leaves the listener."""


class Sessions:
    """The sessions of one listener. Called on one thread.

    read_tokens: the tokens as they are now, each time somebody acts; raises MyopCdnError.
    """

    def __init__(
        self,
        read_tokens: Callable[[], tuple[bytes, ...]],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._read_tokens = read_tokens
        self._clock = clock
        self._known: dict[str, Session] = {}
        self._guesses = Allowance(*_GUESSES)

    def login(self, token: bytes, peer: str) -> Session | None:
        """A session for whoever gives a right token; None for a wrong one.

        Raises TooManyGuesses, and MyopCdnError where the tokens can't be read.
        """
        digest = self._right(token, peer)
        if digest is None:
            return None
        found = Session(
            secrets.token_urlsafe(32), secrets.token_urlsafe(32), digest, self._clock() + LASTS
        )
        while len(self._known) >= _MOST:
            self._known.pop(next(iter(self._known)))
        self._known[_hashed(found.id)] = found
        return found

    def logout(self, request: Request) -> None:
        """End the session of this request."""
        self._known.pop(_hashed(_cookie(request)), None)

    def session(self, request: Request) -> Session | None:
        """The session that the request's cookie names. Raises MyopCdnError."""
        found = self._known.get(_hashed(_cookie(request)))
        if found is None or found.until < self._clock() or found.token not in self._digests():
            return None
        return found

    def may_act(self, request: Request, peer: str) -> bool:
        """Whether the request comes from somebody who may change things.

        Raises TooManyGuesses, MyopCdnError.
        """
        given = request.values("authorization")
        if given:
            match = re.fullmatch(rb"(?i:bearer) +([\x21-\x7e]{1,512})", given[0])
            return match is not None and self._right(match[1], peer) is not None
        found = self.session(request)
        keys = request.values(KEY_HEADER)
        # A browser names the origin with every POST; whose it is was looked at before.
        nameless = request.method == "POST" and not request.values("origin")
        if found is None or not keys or nameless:
            return False
        return hmac.compare_digest(found.key.encode(), keys[0])

    def _right(self, token: bytes, peer: str) -> bytes | None:
        now, key = self._clock(), limited_by(peer)
        # Or who has guessed too often would be told by another answer that a guess was right.
        if not self._guesses.has(key, now):
            raise TooManyGuesses
        digest = hashlib.sha256(token).digest()
        # Every token is compared, in the same time whichever it is.
        right = [hmac.compare_digest(digest, one) for one in self._digests()]
        if any(right):
            return digest
        self._guesses.take(key, now)
        return None

    def _digests(self) -> tuple[bytes, ...]:
        return tuple(hashlib.sha256(token).digest() for token in self._read_tokens())


def _hashed(value: str) -> str:
    """A session's place: of its hash, so that looking it up tells nothing by its time."""
    return hashlib.sha256(value.encode()).hexdigest()


def _cookie(request: Request) -> str:
    for value in request.values("cookie"):
        for part in value.decode("latin-1").split(";"):
            name, _, found = part.strip().partition("=")
            if name == COOKIE:
                return found
    return ""
