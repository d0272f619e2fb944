"""Every error that may reach a user, and the exit code that goes with it.

    MyopCdnError                     1   anything below that says nothing else
    ├── InputError                   2   bad usage or malformed input
    │   └── PayloadError             2   bytes that are not a payload of a known form
    ├── SignatureInvalid             1   a signature that does not match, or is too old
    ├── SignatureUncheckable         5   a CI system re-serialized the signed body
    ├── RefusedError                 3   refused for safety; nothing was changed
    ├── PartlyDone                   4   some documents or objects failed, the others are done
    ├── SecretError                  1   a service that keeps a secret does not give it
    ├── Undelivered                  1   a notice did not reach its receiver
    ├── TreeError                    1   the export folder can't be read or written
    ├── ExportError                  1   Myop's side: its API or its command-line tool
    │   ├── KeyRejected              1   401 or 403
    │   ├── Unreachable              1   no answer at all, after every retry
    │   ├── IndexFormError           1   an index that is not in the documented form
    │   └── DocumentError            1   one component document is missing or unusable
    │       └── CutShort             1   an answer that ends too early, every time
    ├── StorageError                 1   a destination failed
    │   ├── CredentialsError         1   none, expired or refused
    │   ├── AccessDenied             1   known, but not allowed
    │   ├── ContainerMissing         1   no such bucket, container or folder
    │   ├── StorageUnavailable       1   throttled or broken, after every retry
    │   │   └── StorageUnreachable   1   no connection to the service at all
    │   └── PreconditionFailed       1   somebody else changed the object meanwhile
    ├── InvalidationError            1   a CDN did not take an invalidation
    │   └── CdnUnavailable           1   as its API is busy, or gives no answer
    ├── CheckFailed                  1   what a CDN answers is not what it should
    ├── ListenerError                1   the listener can't start or keep its journal
    │   └── LeaseLost                1   another listener works the destination now
    ├── ProcessKilled                1   the process that published was killed
    └── Interrupted                130   Ctrl-C, SIGTERM or SIGHUP

A message says what happened, where, and with which value (never a secret); a hint says what
to do about it. Both are one line of plain text.
"""

from __future__ import annotations

from enum import IntEnum
from errno import ENAMETOOLONG
from typing import Any, ClassVar


class ExitCode(IntEnum):
    """What the process answers to its caller. Scripts depend on these numbers."""

    DONE = 0
    FAILED = 1
    USAGE = 2
    REFUSED = 3
    PARTLY = 4
    UNCHECKABLE = 5
    INTERRUPTED = 130

    @classmethod
    def worst(cls, *codes: ExitCode) -> ExitCode:
        """The code to exit with where several apply: the first of 130, 1, 2, 3, 4, 5, 0."""
        order = (130, 1, 2, 3, 4, 5, 0)
        return min(codes, key=order.index, default=cls.DONE)


class MyopCdnError(Exception):
    """The root of the tree: a message, a hint (may be empty) and an exit code."""

    exit_code: ClassVar[ExitCode] = ExitCode.FAILED
    is_temporary: bool = False
    """Whether the same request may succeed a little later: `retry` makes it again."""
    retry_after: float = 0.0
    """Seconds that the other side asks to be left alone (`Retry-After`); 0: it does not say."""

    def __init_subclass__(cls) -> None:
        """No error ends in success."""
        if cls.exit_code == ExitCode.DONE:
            raise TypeError(f"{cls.__name__} would end with 0")

    def __init__(
        self, message: str, hint: str = "", *, is_temporary: bool = False, retry_after: float = 0.0
    ) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.is_temporary = is_temporary or type(self).is_temporary
        self.retry_after = retry_after

    @property
    def sentence(self) -> str:
        """The message with the hint, on one line, for reports."""
        return f"{self.message} ({self.hint})" if self.hint else self.message

    def to_json(self) -> dict[str, Any]:
        """The error as the `error` member of a command's JSON report."""
        return {"message": self.message, "hint": self.hint, "exitCode": int(self.exit_code)}


class InputError(MyopCdnError):
    """Bad usage or malformed input."""

    exit_code = ExitCode.USAGE


class PayloadError(InputError):
    """Bytes that are not a payload of a known form. The message names the place."""


class SignatureInvalid(MyopCdnError):
    """A signature that does not match the body, or a signed timestamp out of range."""


class SignatureUncheckable(MyopCdnError):
    """The body was re-serialized on its way (GitLab): no signature can match it."""

    exit_code = ExitCode.UNCHECKABLE


class RefusedError(MyopCdnError):
    """Refused for safety. Nothing at all was changed."""

    exit_code = ExitCode.REFUSED


class PartlyDone(MyopCdnError):
    """Some documents or objects failed; the others are done. It is safe to run again."""

    exit_code = ExitCode.PARTLY


class SecretError(MyopCdnError):
    """A service that keeps a secret does not give it."""


class Undelivered(MyopCdnError):
    """A notice did not reach its receiver. The message does not show the receiver's URL."""


class TreeError(MyopCdnError):
    """The export folder can't be read or written."""


class ExportError(MyopCdnError):
    """Myop's side failed: its API or its command-line tool."""


class KeyRejected(ExportError):
    """Myop answered 401 or 403. Asking again is of no use."""


class Unreachable(ExportError):
    """No answer at all, or none but server errors, after every retry."""

    is_temporary = True


class IndexFormError(ExportError):
    """The API's index is not in the documented form."""


class DocumentError(ExportError):
    """One component document is missing or unusable. The message names it."""


class CutShort(DocumentError):
    """An answer that is empty or ends in the middle; asking again may help."""

    is_temporary = True


class StorageError(MyopCdnError):
    """A destination failed."""


class CredentialsError(StorageError):
    """No credentials, expired ones, or ones the service does not know."""


class AccessDenied(StorageError):
    """The credentials are good but do not allow this."""


class ContainerMissing(StorageError):
    """No such bucket, container or folder."""


class StorageUnavailable(StorageError):
    """Throttled, broken or out of reach, after every retry."""

    is_temporary = True


class StorageUnreachable(StorageUnavailable):
    """No connection to the service at all."""


class PreconditionFailed(StorageError):
    """A conditional write lost: somebody else changed the object meanwhile."""


class InvalidationError(MyopCdnError):
    """A CDN did not take an invalidation."""


class CdnUnavailable(InvalidationError):
    """The CDN's API is busy, or gives no answer."""

    is_temporary = True


class CheckFailed(MyopCdnError):
    """What a CDN answers, or what doctor looked at, is not what it should be."""


class ListenerError(MyopCdnError):
    """The listener can't start, or can't keep its journal."""


class LeaseLost(ListenerError):
    """Another listener works the destination now: what a run here came to is of no use."""


class ProcessKilled(MyopCdnError):
    """The process that published was killed, by somebody or for want of memory: nothing speaks
    against the same run once more.
    """


class Interrupted(MyopCdnError):
    """Somebody pressed Ctrl-C, or ended the process in order."""

    exit_code = ExitCode.INTERRUPTED

    def __init__(self) -> None:
        super().__init__("interrupted", "it is safe to run again")


def unexpected(error: BaseException) -> MyopCdnError:
    """What nobody foresaw, as an error: its kind, where in the program it was raised, and the
    file that the operating system refused. Not its message, which could quote a secret.
    """
    from pathlib import PurePath  # takes 5 ms to load, which no other error needs

    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    if isinstance(error, OSError) and error.errno == ENAMETOOLONG:
        return InputError(f"a file's name is too long: {str(error.filename or '')[:40]!a}…")
    what = f"unexpected {type(error).__name__}"
    if trace is not None:
        what += f" at {PurePath(trace.tb_frame.f_code.co_filename).name}:{trace.tb_lineno}"
    if isinstance(error, OSError) and isinstance(error.filename, str):
        what += f", about {error.filename!a}: {error.strerror}"
    return MyopCdnError(what, "this is a defect of myop-cdn: run again with -vv, and report it")


def how_to_install(package: str) -> str:
    """The command that adds a package to the environment that this program runs in, as a hint.

    package: as pip has it. Sources: pipx keeps `pipx_metadata.json`, and uv `uv-receipt.toml`, at
    the root of a tool's environment.
    """
    import shlex
    import sys
    from pathlib import Path

    root, wanted = Path(sys.prefix), shlex.quote(package)
    if (root / "pipx_metadata.json").exists():
        return f"pipx inject {shlex.quote(root.name)} {wanted}"
    python = shlex.quote(sys.executable)
    if (root / "uv-receipt.toml").exists():
        return f"uv pip install --python {python} {wanted}"
    return f"{python} -m pip install {wanted}"
