"""A publisher in a process of its own, so that publishing never gets in the way of receiving.

Parsing documents and hashing them keeps Python's interpreter lock, and the clouds' SDKs keep
tens of megabytes for good. In a child both are over when the run is: the listener stays small
and answers at once, and a publish that has to be cut off can be.

The child holds the state folder's lock too and ends as soon as its parent is gone, however
that ended: two runs never overlap, not even around a `kill -9`.
"""

from __future__ import annotations

import contextlib
import json
import os
import pickle
import queue
import signal
import struct
import subprocess
import sys
import threading
from typing import TYPE_CHECKING, Any, BinaryIO

from myop_cdn.errors import MyopCdnError

if TYPE_CHECKING:
    from myop_cdn.listener import Publisher
    from myop_cdn.model import Scope
    from myop_cdn.report import PublishReport

_SIZE = struct.Struct(">Q")
_BOOT = (
    "import sys, json; sys.path[:] = json.loads(sys.argv[1]); "
    "from myop_cdn.listener.child import main; main()"
)
_NICER = 5  # the child gives way to the listener where both want the processor


class ChildPublisher:
    """Runs `publisher` in a child that is started when it is needed.

    publisher: must be picklable. lock: a descriptor that the child is to hold as long as it
    lives. linger: seconds after a run in which the child waits for the next. without:
    environment variables that the child does not get.
    """

    def __init__(
        self,
        publisher: Publisher,
        lock: int | None = None,
        linger: float = 2.0,
        without: tuple[str, ...] = (),
    ) -> None:
        self._publisher = publisher
        self._lock_descriptor = lock
        self._linger = linger
        self._without = without
        self._child: subprocess.Popen[bytes] | None = None
        self._guard = threading.Lock()
        self._timer: threading.Timer | None = None
        self._killed = False

    def __call__(self, scope: Scope) -> PublishReport:
        """Have it done by the child. Raises MyopCdnError, also where the child died."""
        with self._guard:
            if self._killed:
                raise MyopCdnError("the listener is ending")
            self._cancel()
            child = self._child or self._start()
        try:
            assert child.stdin is not None
            assert child.stdout is not None
            _send(child.stdin, scope)
            answer = _receive(child.stdout)
        except (OSError, EOFError, ValueError):  # ValueError: closed by kill()
            self._dismiss(child)
            raise MyopCdnError(
                f"the publishing process ended early ({_ending(child.returncode)})"
            ) from None
        with self._guard:
            self._timer = threading.Timer(self._linger, self._expire, (child,))
            self._timer.daemon = True
            self._timer.start()
        if isinstance(answer, MyopCdnError):
            raise answer
        return answer  # type: ignore[no-any-return]  # a child sends nothing else

    def kill(self) -> None:
        """Cut off the run that is going on, with all that it started; no other will begin."""
        with self._guard:
            self._killed = True
            child = self._child
            self._cancel()
        if child is not None:
            with contextlib.suppress(OSError):
                os.killpg(child.pid, signal.SIGKILL)
            self._dismiss(child)

    def _cancel(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _expire(self, child: subprocess.Popen[bytes]) -> None:
        with self._guard:
            if self._timer is None:  # a run has begun while the timer went off
                return
            self._timer = self._child = None
        self._dismiss(child)

    def _start(self) -> subprocess.Popen[bytes]:
        environment = {
            name: value for name, value in os.environ.items() if name not in self._without
        }
        try:
            child = subprocess.Popen(  # noqa: S603 - this very program
                # -P: the current folder must not come before the installed package.
                [sys.executable, "-P", "-c", _BOOT, json.dumps(sys.path)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                env=environment,
                pass_fds=() if self._lock_descriptor is None else (self._lock_descriptor,),
                start_new_session=True,  # Ctrl-C is for the listener alone
            )
        except OSError as error:
            raise MyopCdnError(f"can't start the publishing process: {error.strerror}") from None
        self._child = child
        assert child.stdin is not None
        with contextlib.suppress(OSError):  # the answer that is missing then tells
            _send(child.stdin, self._publisher)
        return child

    def _dismiss(self, child: subprocess.Popen[bytes]) -> None:
        """Let the child end: it does when its input does."""
        with self._guard:
            if self._child is child:
                self._child = None
        for pipe in (child.stdin, child.stdout):
            with contextlib.suppress(OSError):
                if pipe is not None:
                    pipe.close()
        try:
            child.wait(5)
        except subprocess.TimeoutExpired:
            with contextlib.suppress(OSError):
                os.killpg(child.pid, signal.SIGKILL)
            child.wait()


def _ending(code: int | None) -> str:
    if code is None:
        return "unknown"
    return f"signal {-code}" if code < 0 else f"exit code {code}"


def _send(pipe: BinaryIO | Any, value: object) -> None:
    data = pickle.dumps(value)
    pipe.write(_SIZE.pack(len(data)) + data)
    pipe.flush()


def _receive(pipe: BinaryIO | Any) -> Any:
    """The next value. Raises EOFError at the end."""
    size = pipe.read(_SIZE.size)
    if len(size) < _SIZE.size:
        raise EOFError
    (length,) = _SIZE.unpack(size)
    data = pipe.read(length)
    if len(data) < length:
        raise EOFError
    # Both ends are this program, and nobody else has the pipe.
    return pickle.loads(data)  # noqa: S301


def main() -> None:
    """The child: a publisher, then scopes come in on stdin; reports go out on stdout."""
    for name in ("SIGINT", "SIGTERM", "SIGHUP"):
        if hasattr(signal, name):  # the listener says when it is over
            signal.signal(getattr(signal, name), signal.SIG_IGN)
    with contextlib.suppress(OSError, AttributeError):
        os.nice(_NICER)
    source = os.fdopen(os.dup(0), "rb")
    sink = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # whatever prints must not end up among the reports
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    scopes: queue.SimpleQueue[Any] = queue.SimpleQueue()
    threading.Thread(target=_read, args=(source, scopes), daemon=True).start()
    publisher = scopes.get()
    while True:
        _send(sink, _publish(publisher, scopes.get()))


def _read(source: BinaryIO, scopes: queue.SimpleQueue[Any]) -> None:
    """Pass on what comes in; when the parent is gone, end at once whatever is going on."""
    try:
        while True:
            scopes.put(_receive(source))
    except (EOFError, OSError):
        _end_group()


def _end_group() -> None:
    if os.getpgrp() == os.getpid():
        os.killpg(0, signal.SIGKILL)  # what the publisher started ends with it
    os._exit(1)


def _publish(publisher: Publisher, scope: Scope) -> PublishReport | MyopCdnError:
    try:
        return publisher(scope)
    except MyopCdnError as error:
        return error
    except Exception as error:
        return MyopCdnError(f"unexpected {type(error).__name__} in the publisher")
