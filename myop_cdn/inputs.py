"""What is read before anything begins: bodies, secrets and keys, each with a limit.

Where a function takes `warn`, that is called with what is not as it should be, though it works.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, BinaryIO, NamedTuple

from myop_cdn.errors import InputError
from myop_cdn.text import HIDDEN, line, shown_url

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    Warn = Callable[[str], None]

KEY_HINT = (
    "set MYOP_API_KEY or --api-key-file; keys are made in Dashboard > Rollout > Settings > "
    "Self-Hosting and look like myop_sk_ and 64 hex digits"
)
MAX_SECRET_BYTES = 64 * 1024
SHORT_SECRET = 16  # bytes
_CHUNK = 1 << 20
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


class Secret(NamedTuple):
    """A secret of the environment: its variable, systemd's credential, and what it is in words."""

    variable: str
    credential: str
    what: str

    def file(self) -> str | None:
        """The file that holds what the environment variable would: that of `<variable>_FILE`, as
        Docker's images have it, else systemd's credential; None where there is neither.
        """
        named = os.environ.get(f"{self.variable}_FILE")
        if named:
            return named
        folder = os.environ.get("CREDENTIALS_DIRECTORY")
        if folder:
            path = os.path.join(folder, self.credential)  # noqa: PTH118 - `verify` starts with it
            return path if os.path.isfile(path) else None  # noqa: PTH113
        return None

    def words(self, warn: Warn) -> tuple[list[bytes], str] | None:
        """The words of the secret, and where they come from: the environment variable, or the
        file in its place. None where there is neither.

        Raises InputError where both are given, or nothing is in them.
        """
        variable, value = self.variable, os.environ.get(self.variable)
        if value is not None and value.strip():
            if os.environ.get(f"{variable}_FILE"):
                raise InputError(f"{variable} and {variable}_FILE are both set: give one of them")
            return os.fsencode(value).split(), variable
        file = self.file()
        if file is not None:
            return words_of(file, self.what, warn), f"the file {file}"
        if value is not None:
            raise InputError(
                f"{variable} is empty or blank",
                "in a CI job that is a secret with another name, or one that this branch or event "
                "is not given",
            )
        return None


SIGNING_SECRET = Secret("MYOP_WEBHOOK_SECRET", "webhook-secret", "signing secret")
API_KEY = Secret("MYOP_API_KEY", "api-key", "API key")
NOTICE_URL = Secret("MYOP_CDN_NOTIFY", "notify-url", "notices' URL")
NOTICE_SECRET = Secret("MYOP_CDN_NOTIFY_SECRET", "notify-secret", "notices' secret")
SECRETS = (API_KEY, SIGNING_SECRET, NOTICE_URL, NOTICE_SECRET)


def read_input(name: str, limit: int, what: str) -> bytes | bytearray:
    """The bytes of the file `name`, or of stdin for `-`, `limit` bytes at the most.

    what: the thing in words, for messages. Raises InputError when it can't be read or is larger.
    """
    if name == "-":
        if sys.stdin is None or sys.stdin.isatty():
            raise InputError(f"no {what} on stdin", "pipe it in, or name a file")
        return _read(sys.stdin.buffer, limit, what, "stdin")
    return read_file(name, limit, what)


def read_file(name: str, limit: int, what: str) -> bytearray:
    """The bytes of the file `name`, whatever it is called. See `read_input`."""
    if not name:
        raise InputError(f"the name of the {what.removesuffix(' file')} file is empty")
    try:
        # Unbuffered, so that the body is in memory once.
        with open(name, "rb", buffering=0) as file:  # noqa: PTH123 - Path.open is the same
            return _read(file, limit, what, name)
    except OSError as error:
        if name.lstrip().startswith(("{", "[{", "[]")):
            raise InputError(
                f"the {what} itself stands where the name of its file belongs",
                "name a file, or pipe it in, with - for the name",
            ) from None
        raise InputError(f"can't read the {what} {name}: {error.strerror}") from None
    except ValueError:
        raise InputError(f"the name of the {what} holds a NUL") from None


def _read(file: BinaryIO, limit: int, what: str, where: str) -> bytearray:
    body = bytearray()
    read = getattr(file, "read1", file.read)
    try:
        while chunk := read(_CHUNK):
            body += chunk
            if len(body) > limit:
                raise InputError(f"the {what} ({where}) is larger than {_size(limit)}")
    except OSError as error:
        raise InputError(f"can't read the {what} ({where}): {error.strerror}") from None
    return body


def _size(limit: int) -> str:
    return f"{limit >> 20} MiB" if limit >= 1 << 20 else f"{limit >> 10} KiB"


def webhook_secrets(files: Sequence[str], warn: Warn) -> tuple[bytes, ...]:
    """The signing secrets: of `files` where any are given, else of MYOP_WEBHOOK_SECRET or the file
    in its place.

    Each holds one or several, separated by white space. Raises InputError when there are none,
    or none where there should be; no message holds any part of one. Warns, once, of short ones
    and of files that others can read.
    """
    from myop_cdn.signature import check_secrets

    found = signing_secrets(files, warn)
    secrets = () if found is None else tuple(found[0])
    check_secrets(secrets)
    if any(len(secret) < SHORT_SECRET for secret in secrets):
        warn(
            f"a signing secret is shorter than {SHORT_SECRET} bytes: it can be guessed, and "
            "whoever guesses it can announce releases"
        )
    return secrets


def signing_secrets(files: Sequence[str], warn: Warn) -> tuple[list[bytes], str] | None:
    """The same as they are, good or not, and where they come from; None where there are none."""
    if not files:
        return SIGNING_SECRET.words(warn)
    words = [word for name in files for word in words_of(name, SIGNING_SECRET.what, warn)]
    return words, ", ".join(files)


def words_of(name: str, what: str, warn: Warn) -> list[bytes]:
    """What the file of a secret, or the secret that a cloud's service keeps under this URL, holds:
    one or several words.
    """
    kept = is_kept(name)
    if shown_file(name) == HIDDEN:
        raise InputError(
            f"there is no such {what} file; its name is not shown, as it may be the {what} itself",
            "give the name of a file that holds it",
        )
    if kept:
        from myop_cdn import secretstore

        data = secretstore.read(name)
    else:
        data = bytes(read_input(name, MAX_SECRET_BYTES, f"{what} file"))
    if b"\0" in data:
        raise InputError(
            f"the {what} file {name} is not plain text", "save it as UTF-8, not UTF-16"
        )
    words = data.removeprefix(_BYTE_ORDER_MARK).split()  # some editors put one before all
    if not words:
        raise InputError(f"the {what} file {name} is empty or blank")
    if name != "-" and not kept:
        _warn_of_readers(name, what, warn)
    return words


def is_kept(name: str) -> bool:
    """Whether a secret's file is none, but the URL of a secret that a cloud's service keeps."""
    if "://" not in name:  # `verify` starts fast
        return False
    from myop_cdn import secretstore

    return secretstore.is_url(name)


def shown_file(name: str) -> str:
    """The name of a secret's file for a message; `HIDDEN` where it may be the secret itself, given
    in the place of one: there is no such file, nor a folder that the name begins with.
    """
    if is_kept(name):
        return shown_url(name)
    folder, _, base = name.rpartition("/")
    first = folder[: folder.find("/", 1)] if "/" in folder[1:] else folder
    has_ending = "." in base and "://" not in name
    if len(name) < SHORT_SECRET or has_ending or (first and os.path.isdir(first)):  # noqa: PTH112
        return line(name)
    return line(name) if os.path.exists(name) else HIDDEN  # noqa: PTH110


def _warn_of_readers(name: str, what: str, warn: Warn) -> None:
    if os.name != "posix":
        return
    try:
        found = os.stat(name)  # noqa: PTH116 - this module starts with `verify`
    except OSError:
        return
    # What somebody else gave to this user's group is theirs to mend, and right in a container.
    mode = found.st_mode & ~(0 if found.st_uid == os.geteuid() else 0o070)
    if mode & 0o077 and mode & 0o170000 == 0o100000:  # a pipe (`<(…)`) belongs to this process
        who = "everybody" if mode & 0o007 else "its group"
        warn(f"the {what} file {name} can be read by {who}: chmod 600 {name}")


def api_key(file: str | None, warn: Warn) -> tuple[str, str] | None:
    """The API key and where it came from in words, or None where there is none.

    Raises InputError when it can't be read or could not be sent in a header.
    """
    if file is not None:
        words, source = words_of(file, API_KEY.what, warn), f"the file {file}"
    else:
        found = API_KEY.words(warn)
        if found is None:
            return None
        words, source = found
    if len(words) > 1 or not all(33 <= byte <= 126 for byte in words[0]):
        raise InputError(
            f"the API key from {source} holds blanks or other characters that no key has", KEY_HINT
        )
    return words[0].decode("ascii"), source
