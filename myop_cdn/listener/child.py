"""Work in a process of its own, so that publishing never gets in the way of receiving.

Parsing documents and hashing them keeps Python's interpreter lock, and the clouds' SDKs keep
tens of megabytes for good. In a child both are out of the listener's way: it stays small and
answers at once, and a publish that hangs can be cut off. The child stays for the next release,
with all that it has loaded; one that has had much to do, or grown large, is replaced.

The child holds the state folder's lock too and ends as soon as its parent is gone, however
that ended: two runs never overlap, not even around a `kill -9`. Where several listeners share a
journal, a lease takes the place of that lock: the kernel ends the child at the moment up to which
its parent surely held the lease, unless the parent renews it. A child that was stopped meanwhile
does not carry out another instruction.

Both speak in pickles. To the child go the names of modules, the work, and for each task an
`_Order`, then, while it goes on, the moments up to which it may. From it come, as long as a task
gets on, the seconds that it has waited for another run, which do not count, and then `_Ended`.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import pickle
import queue
import signal
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Generic, TypeVar

from myop_cdn.errors import LeaseLost, MyopCdnError, ProcessKilled, unexpected
from myop_cdn.report import PublishReport

if TYPE_CHECKING:
    from collections.abc import Callable

    from myop_cdn.listener import Publisher
    from myop_cdn.model import Scope
    from myop_cdn.progress import Progress

Task = TypeVar("Task")
Result = TypeVar("Result")
_BOOT = (
    "import sys, json; sys.path[:] = json.loads(sys.argv[1]); "
    "from myop_cdn.listener.child import main; main()"
)
_NICER = 5  # a child with much to do gives way to the listener where both want the processor
_MUCH = 100  # documents
_LINGER = 10 * 3600.0  # seconds that a child waits for the next run: over a working day
_LARGE = 256 * 1024 * 1024  # bytes of memory at its height after which a child is replaced
_BEAT = 1.0  # seconds between two signs of life at least
_WAITED = 0.25  # seconds of waiting that are told of together
_RENEW = 0.2  # seconds between two looks at the lease
_GONE = (EOFError, OSError, pickle.UnpicklingError)  # the other end is, perhaps within a word


@dataclass(frozen=True, slots=True)
class Limits:
    """When a task is cut off: after so many seconds in all, or so many without a sign of life.

    after: what follows, or what to do, where it was; in words.
    """

    seconds: float
    silence: float
    after: str


@dataclass(frozen=True, slots=True)
class _Order:
    """What the child is to do next. until: of the monotonic clock, when the kernel ends the child
    unless there is a renewal; None: it does not.
    """

    task: Any
    until: float | None


@dataclass(frozen=True, slots=True)
class _Ended:
    """The end of a task. is_spent: whether another child should do the next."""

    result: Any
    is_spent: bool


class Child(Generic[Task, Result]):
    """Does `work`, task by task, in a child that is started when it is needed.

    work: does one task, and raises MyopCdnError; it must be picklable, and so must be tasks and
    results. limits: of a task. lock: a descriptor that the child is to hold as long as it
    lives. linger: seconds after a task in which the child waits for the next. without:
    environment variables that the child does not get. modules: what the child loads before it
    is asked for anything. held_until: up to when (`time.monotonic`) a task may go on, asked again
    and again; None for no such limit.
    """

    def __init__(
        self,
        work: Callable[[Task, Progress], Result],
        limits: Callable[[Task], Limits],
        lock: int | None = None,
        linger: float = _LINGER,
        without: tuple[str, ...] = (),
        modules: tuple[str, ...] = (),
        held_until: Callable[[], float | None] = lambda: None,
    ) -> None:
        self._work = work
        self._limits = limits
        self._lock_descriptor = lock
        self._linger = linger
        self._without = without
        self._modules = modules
        self._held_until = held_until
        self._child: _Process | None = None
        self._guard = threading.Lock()
        self._timer: threading.Timer | None = None
        self._killed = False

    def do(self, task: Task) -> Result:
        """Have it done by the child. Raises MyopCdnError, also where the child died or hung,
        ProcessKilled where somebody else killed it, and LeaseLost where it might not go on.
        """
        limits = self._limits(task)
        with self._guard:
            if self._killed:
                raise MyopCdnError("the listener is ending")
            self._cancel()
            child = self._child or self._start()
        try:
            ended = child.run(task, limits, self._held_until)
            if ended.is_spent:
                self._dismiss(child)
        except TimeoutError as error:
            child.kill()
            self._dismiss(child)
            raise MyopCdnError(f"it was cut off: {error}", limits.after) from None
        except (OSError, EOFError, ValueError):  # ValueError: closed by kill()
            self._dismiss(child)
            kind, how = child.ending
            words = f"its process ended early ({how})"
            raise (MyopCdnError if self._killed else kind)(words, limits.after) from None
        finally:
            self._rest()
        if isinstance(ended.result, MyopCdnError):
            raise ended.result
        result: Result = ended.result
        return result

    def kill(self) -> None:
        """Cut off the run that is going on, with all that it started; no other will begin."""
        with self._guard:
            self._killed = True
            child = self._child
            self._cancel()
        if child is not None:
            child.kill()
            self._dismiss(child)

    def warm(self) -> None:
        """Start the child, so that the first task need not wait for it."""
        with self._guard:
            if self._child is None and not self._killed:
                self._start()

    def _rest(self) -> None:
        """Have a child wait for the next task, which need not wait for it then."""
        with contextlib.suppress(MyopCdnError):  # the next task will say so
            self.warm()
        with self._guard:
            if not self._killed:
                self._timer = threading.Timer(self._linger, self._expire, (self._child,))
                self._timer.daemon = True
                self._timer.start()

    def _cancel(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _expire(self, child: _Process | None) -> None:
        with self._guard:
            if self._timer is None:  # a run has begun while the timer went off
                return
            self._timer = self._child = None
        if child is not None:
            child.end()

    def _start(self) -> _Process:
        environment = {
            name: value for name, value in os.environ.items() if name not in self._without
        }
        self._child = child = _Process(environment, self._lock_descriptor)
        with contextlib.suppress(OSError):  # the answer that is missing then tells
            child.send(self._modules)
            child.send(self._work)
        return child

    def _dismiss(self, child: _Process) -> None:
        with self._guard:
            if self._child is child:
                self._child = None
        child.end()


class _Process:
    """The process. lock: a descriptor that it is to hold. Raises MyopCdnError."""

    def __init__(self, environment: dict[str, str], lock: int | None) -> None:
        try:
            self._process = subprocess.Popen(  # noqa: S603 - this very program
                # -P: the current folder must not come before the installed package.
                [sys.executable, "-P", "-c", _BOOT, json.dumps(sys.path)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                env=environment,
                pass_fds=() if lock is None else (lock,),
                start_new_session=True,  # Ctrl-C is for the listener alone
            )
        except OSError as error:
            raise MyopCdnError(f"can't start the publishing process: {error.strerror}") from None
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._stdin = self._process.stdin
        # Read by a thread, as nothing else waits for a pipe, with a limit of time, beside
        # more than a thousand connections.
        self._sent: queue.SimpleQueue[float | _Ended | None] = queue.SimpleQueue()
        threading.Thread(
            target=self._read, args=(self._process.stdout,), name="child", daemon=True
        ).start()

    def send(self, value: object) -> None:
        """Pass it on. Raises OSError or ValueError where the process has ended."""
        _send(self._stdin, value)

    def run(self, task: object, limits: Limits, held_until: Callable[[], float | None]) -> _Ended:
        """The end of a task. Raises TimeoutError where it takes longer than it may, what it
        waited not counted; EOFError, OSError or ValueError where the process ends. held_until:
        see `Child`.
        """
        silence = limits.silence
        held = held_until()
        self.send(_Order(task, held))
        until, quiet = time.monotonic() + limits.seconds, time.monotonic() + silence
        while True:
            renewed = held_until()
            if renewed is not None and renewed != held:
                held = renewed
                self.send(held)
            left = min(until, quiet) - time.monotonic()
            try:
                value = self._sent.get(timeout=max(0.0, min(left, _RENEW)))
            except queue.Empty:
                if left > _RENEW:
                    continue
                words = "it took too long" if until <= quiet else f"nothing for {silence:.0f} s"
                raise TimeoutError(words) from None
            quiet = time.monotonic() + silence
            if value is None:
                raise EOFError
            if isinstance(value, _Ended):
                return value
            until += value

    def kill(self) -> None:
        """End it now, with all that it started."""
        with contextlib.suppress(OSError):
            os.killpg(self._process.pid, signal.SIGKILL)

    def end(self) -> None:
        """Let it end, as it does when its input does, and wait for that."""
        with contextlib.suppress(OSError):
            self._stdin.close()
        try:
            self._process.wait(5)
        except subprocess.TimeoutExpired:
            self.kill()
            self._process.wait()

    @property
    def ending(self) -> tuple[type[MyopCdnError], str]:
        """What it is for whoever waits for the process that it ended so; how, in words."""
        code = self._process.returncode
        if code == -signal.SIGALRM:
            return LeaseLost, "another listener may publish there now"
        if code is not None and code < 0:
            return ProcessKilled, f"signal {-code}"
        return MyopCdnError, "unknown" if code is None else f"exit code {code}"

    def _read(self, stdout: IO[bytes]) -> None:
        try:
            with stdout, contextlib.suppress(*_GONE):
                while True:
                    self._sent.put(_receive(stdout))
        finally:
            self._sent.put(None)  # or whoever waits for it would do so to the end of its time


@dataclass(frozen=True, slots=True)
class Job:
    """What is to be published next, and for which deliveries."""

    scope: Scope
    deliveries: tuple[str, ...]

    @property
    def is_much(self) -> bool:
        """Whether it goes on for long, and leaves a process large."""
        return self.scope.kind == "full" or len(self.scope.releases) > _MUCH


@dataclass(frozen=True, slots=True)
class RunLimits:
    """How long a run may take before it is cut off, in seconds.

    silence: without any progress. full: with all documents. incremental, each: with some, and
    for each of them.
    """

    silence: float = 180.0
    full: float = 6 * 3600.0
    incremental: float = 120.0
    each: float = 2.0

    def of(self, job: Job) -> Limits:
        """Those of one run."""
        some = self.incremental + self.each * len(job.scope.releases)
        seconds = self.full if job.scope.kind == "full" else some
        return Limits(seconds, self.silence, "it is tried again")


@dataclass(frozen=True, slots=True)
class _Publishing:
    publisher: Publisher

    def __call__(self, job: Job, progress: Progress) -> PublishReport:
        return self.publisher(job.scope, progress, job.deliveries)


class ChildPublisher(Child[Job, PublishReport]):
    """Runs `publisher`, which must be picklable, in a child; see `Child`."""

    def __init__(
        self,
        publisher: Publisher,
        lock: int | None = None,
        linger: float = _LINGER,
        without: tuple[str, ...] = (),
        modules: tuple[str, ...] = (),
        limits: RunLimits = RunLimits(),
        held_until: Callable[[], float | None] = lambda: None,
    ) -> None:
        work = _Publishing(publisher)
        super().__init__(work, limits.of, lock, linger, without, modules, held_until)

    def __call__(
        self,
        scope: Scope,
        progress: Progress | None = None,  # noqa: ARG002 - Publisher
        deliveries: tuple[str, ...] = (),
    ) -> PublishReport:
        """See `Child.do`."""
        return self.do(Job(scope, deliveries))


def _send(pipe: IO[bytes], value: object) -> None:
    pipe.write(pickle.dumps(value))
    pipe.flush()


def _receive(pipe: IO[bytes]) -> Any:
    """The next value. Raises one of `_GONE` at the end."""
    # Both ends are this program, and nobody else has the pipe.
    return pickle.load(pipe)  # noqa: S301


# -- in the child


class _Alive:
    """Progress as signs of life. Called from several threads."""

    def __init__(self, sink: IO[bytes]) -> None:
        self._sink = sink
        self._lock = threading.Lock()
        self._last = 0.0
        self._waited = 0.0

    def start(self, what: str, total: int) -> None:  # noqa: ARG002 - Progress
        self.step()

    def step(self) -> None:
        now = time.monotonic()
        if now - self._last >= _BEAT:
            with self._lock:
                if now - self._last >= _BEAT:
                    self._beat()

    def note(self, message: str) -> None:  # noqa: ARG002 - Progress
        self.step()

    def waited(self, seconds: float) -> None:
        with self._lock:
            self._waited += seconds
            if self._waited >= _WAITED:
                self._beat()

    def _beat(self) -> None:
        self._last = time.monotonic()
        _send(self._sink, self._waited)
        self._waited = 0.0

    def end(self, ended: _Ended) -> None:
        with self._lock:
            _send(self._sink, ended)


class _Lease:
    """Up to when a task may go on. The kernel keeps to it, also while this process is stopped: a
    timer that has run out meanwhile ends the process before it is let go on (setitimer(2)).
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._running = False
        signal.signal(signal.SIGALRM, signal.SIG_DFL)

    def begin(self, until: float | None) -> None:
        with self._lock:
            self._running = True
            if until is not None:
                self._set(until)

    def renew(self, until: float) -> None:
        with self._lock:
            if self._running:  # else the task has ended
                self._set(until)

    def end(self) -> None:
        with self._lock:
            self._running = False
            signal.setitimer(signal.ITIMER_REAL, 0)

    def _set(self, until: float) -> None:
        signal.setitimer(signal.ITIMER_REAL, max(0.001, until - time.monotonic()))


def main() -> None:
    """The child: modules and the work, then tasks come in on stdin; results go out on stdout."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # the listener says when it is over
    source = os.fdopen(os.dup(0), "rb")
    sink = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # whatever prints must not end up among the reports
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    given: queue.SimpleQueue[Any] = queue.SimpleQueue()
    lease = _Lease()
    threading.Thread(target=_read, args=(source, given, lease), daemon=True).start()
    for module in given.get():
        with contextlib.suppress(ImportError):  # the run will say what is missing
            importlib.import_module(module)
    work, alive = given.get(), _Alive(sink)
    if not isinstance(work, _Publishing):
        _give_way()
    while True:
        task = given.get()
        # A release is not to wait for whatever else runs on this machine.
        if much := isinstance(task, Job) and task.is_much:
            _give_way()
        try:
            result = work(task, alive)
        except MyopCdnError as error:
            result = error
        except Exception as error:
            result = unexpected(error)
        lease.end()
        alive.end(_Ended(result, much or _memory() > _LARGE))


def _read(source: IO[bytes], given: queue.SimpleQueue[Any], lease: _Lease) -> None:
    """Pass on what comes in; when the parent is gone, end at once whatever is going on."""
    try:
        with contextlib.suppress(*_GONE):
            while True:
                value = _receive(source)
                if isinstance(value, float):
                    lease.renew(value)
                elif isinstance(value, _Order):
                    lease.begin(value.until)
                    given.put(value.task)
                else:
                    given.put(value)
    finally:
        os.killpg(0, signal.SIGKILL)  # what the publisher started ends with it


def _give_way() -> None:
    """To the listener, for good."""
    with contextlib.suppress(OSError):
        os.nice(_NICER)


def _memory() -> int:
    """The most memory that this process has had, in bytes."""
    # Not getrusage(2) where there is another way: on Linux a program starts with the peak of the
    # process that started it, and a child of a large listener would be replaced after each run.
    with contextlib.suppress(OSError, ValueError):
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    import resource

    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else most * 1024
