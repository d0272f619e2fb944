"""What a queue of deliveries is to the rest of the listener, whatever engine keeps it.

A delivery is accepted once and worked by each lane for itself; a lane is one destination. What a
lane is to do next, and what follows from a run, is decided in `agenda` and `outcome`, which are
pure; a queue only keeps it. Every queue passes the contract in tests/listener/queue/contract.py.

Times are seconds since the epoch.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Literal, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from myop_cdn.errors import ListenerError
    from myop_cdn.listener.queue.agenda import Agenda, FullDue, Outage, Retry
    from myop_cdn.model import DocumentRef, Release

KEPT = timedelta(days=30)  # deliveries, and the hashes that tell replays
KEPT_MOST = 10_000  # deliveries

DeliveryState = Literal["waiting", "retrying", "done", "failed", "ignored"]
RunState = Literal["running", "done", "partly", "failed", "interrupted"]


@dataclass(frozen=True, slots=True)
class Record:
    """A delivery as it is stored.

    announced: the signed timestamp, or when it was received. once: whether its hash is kept
    for ever, because nothing else would show a replay of it.
    """

    id: str
    sha256: bytes
    received: float
    announced: float
    peer: str
    headers: dict[str, str]
    secret: int
    event: str | None
    kind: str
    body: bytes
    state: str
    once: bool


@dataclass(frozen=True, slots=True)
class Delivered:
    """A delivery that is to be worked. seq: its place in the order of arrival."""

    seq: int
    id: str
    announced: float
    body: bytes


@dataclass(frozen=True, slots=True)
class Lane:
    """Who works deliveries: its name (the destination as shown), and whether the schedule has
    full syncs for it: every so many seconds, 0 for none.
    """

    name: str
    full_every: float = 0.0


@dataclass(frozen=True, slots=True)
class Need:
    """A document that a delivery announced and that a lane has not published yet."""

    seq: int
    delivery: str
    release: Release
    announced: float


@dataclass(frozen=True, slots=True)
class LiveDocument:
    """What a lane published for one document.

    name: the component's. variant: an id with its name, of the variant the document holds (the
    announced one, if it holds several). announced, announced_by: the newest announcement that
    was met, and the delivery it came with.
    """

    ref: DocumentRef
    name: str
    variant_id: str | None
    variant_name: str
    since: float
    announced: float | None = None
    announced_by: str | None = None


@dataclass(frozen=True, slots=True)
class Settlement:
    """What became of a delivery in one lane.

    state: `waiting` is worked again with the next run; `open` waits for the documents in
    `needs`, or for the full sync that is due. note: by what it was overtaken, or why it is open.
    """

    seq: int
    state: Literal["waiting", "open", "done"]
    needs: tuple[Need, ...] = ()
    full: bool = False
    note: str | None = None
    error: str | None = None


@dataclass(frozen=True, slots=True)
class RunEnd:
    """How a run ended."""

    run: int
    state: RunState
    uploaded: int
    error: str | None
    ended: float


@dataclass(frozen=True, slots=True)
class LaneState:
    """What a lane has open, for a decision about it.

    needs: of the documents in question. full_waiting: the deliveries that wait for a full sync.
    """

    retries: Mapping[DocumentRef, Retry]
    needs: tuple[Need, ...]
    full_waiting: tuple[int, ...]
    outage: Outage | None
    full: FullDue | None
    next_full: float | None


@dataclass(frozen=True, slots=True)
class Changes:
    """What follows from a run in its lane.

    position: deliveries up to here have been taken; None leaves it. retries: to be tried again;
    resolved: no more. note: what comes next, in words, where something is left.
    """

    end: RunEnd
    settlements: tuple[Settlement, ...]
    position: int | None
    retries: tuple[Retry, ...] = ()
    resolved: tuple[DocumentRef, ...] = ()
    outage: Outage | None = None
    full: FullDue | None = None
    next_full: float | None = None
    note: str | None = None


@dataclass(frozen=True, slots=True)
class Batch:
    """The deliveries that wait in a lane, oldest first, and the journal that they are of."""

    journal: str
    deliveries: tuple[Delivered, ...] = ()


@dataclass(frozen=True, slots=True)
class LaneView:
    """A lane as an operator sees it. pending: deliveries that it has not done yet."""

    name: str
    agenda: Agenda
    pending: int
    last_success: float | None
    documents: int


@dataclass(frozen=True, slots=True)
class RunView:
    """A run as an operator sees it."""

    run: int
    lane: str
    kind: str
    reason: str
    started: float
    ended: float | None
    state: str
    deliveries: int
    uploaded: int
    error: str | None


@dataclass(frozen=True, slots=True)
class DeliveryView:
    """A delivery as an operator sees it. lacking: the lanes that have not done it, each with why.

    size: of the body in bytes. headers and body: only where one delivery was asked for.
    """

    id: str
    received: float
    announced: float
    event: str | None
    kind: str
    size: int
    state: str
    attempts: int
    run: int | None
    error: str | None
    note: str | None
    finished: float | None
    peer: str
    secret: int
    sha256: bytes
    releases: tuple[NamedRelease, ...] = ()
    lacking: Mapping[str, str | None] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""


@dataclass(frozen=True, slots=True)
class NamedRelease:
    """An announced release with the names of its component and variant, "" where unknown."""

    release: Release
    name: str = ""
    variant_name: str = ""


@dataclass(frozen=True, slots=True)
class Overview:
    """The queue at one moment. waiting: deliveries that are not done, and when the oldest of
    them was received.
    """

    waiting: int
    oldest: float | None
    lanes: tuple[LaneView, ...]


@dataclass(frozen=True, slots=True)
class LiveQuery:
    """Which components with something live in `lane` are wanted: those whose name, id or a
    variant's name holds `search` ("" for any), of these that are in `environment` ("" for any);
    `limit` of them, by name, from the one at `offset` on.
    """

    lane: str
    search: str = ""
    environment: str = ""
    offset: int = 0
    limit: int = 24


@dataclass(frozen=True, slots=True)
class LivePage:
    """What a `LiveQuery` found. components: how many there are in the lane; matched: how many of
    them fit. environments: of the lane, with the number of documents in each. documents: all of
    the components on this page, component by component.
    """

    components: int
    matched: int
    environments: Mapping[str, int]
    documents: tuple[LiveDocument, ...]


class Queue(Protocol):
    """Keeps deliveries and what is open in each lane.

    Methods are called from several threads. All but `start`, `store` and `request_full_sync`
    raise ListenerError while the journal can't be read or written; nothing is lost by it. Those
    that record what a run came to raise LeaseLost where another process works the lane by now.
    """

    @property
    def trouble(self) -> str | None:
        """Why the journal can't be written, None when it can."""

    @property
    def notice(self) -> str | None:
        """What happened to the journal since the start that somebody should look at."""

    def start(self, wake: Callable[[], None] = ...) -> None:
        """Begin. Raises ListenerError when there can't be a journal at all.

        wake: called when something may be due that did not come in here.
        """

    def close(self) -> None:
        """End in order: nothing is being worked any more. Commits what was handed in."""

    def store(
        self, record: Record, done: Callable[[str | None, ListenerError | None], None]
    ) -> None:
        """Keep a delivery. `done` is called after the commit, on another thread: with the id
        of the earlier delivery where the body was taken before, or with an error.
        """

    def request_full_sync(self, reason: str, throttle: float) -> None:
        """Make a full sync due in every lane, unless one was requested so within `throttle`
        seconds. Returns at once.
        """

    def held_until(self, lane: str) -> float | None:
        """Up to which moment of `time.monotonic` this process alone works the lane; None: as
        long as it likes. A moment that has passed: another one may work it.
        """

    def let_go(self, lane: str) -> None:
        """Nothing of the lane is worked here any more: another process may."""

    def agenda(self, lane: str) -> Agenda:
        """All that there is to be done in a lane now. Of its retries only those that are due, as
        many as a run takes, and the next one that will be: it is asked for every second.
        """

    def batch(self, lane: str, most: int) -> Batch:
        """The oldest deliveries that wait in a lane, so many at most."""

    def begin(self, lane: str, kind: str, reason: str, deliveries: int) -> int:
        """Record that a run begins; its number. Does not wait for the commit."""

    def live(
        self, lane: str, refs: Iterable[DocumentRef] | None
    ) -> dict[DocumentRef, LiveDocument]:
        """What a lane has published, of these documents or (None) of all."""

    def set_live(
        self, lane: str, documents: Sequence[LiveDocument], gone: Sequence[DocumentRef]
    ) -> None:
        """Note what a lane has published now, in small commits."""

    def finish(
        self,
        lane: str,
        journal: str,
        refs: frozenset[DocumentRef] | None,
        decide: Callable[[LaneState], Changes],
    ) -> Changes:
        """Record what follows from a run, decided on the lane's state (with the needs of `refs`,
        None: all) in the same transaction. Deliveries of another `journal` are left alone.
        """

    def probe(self, seconds: float) -> None:
        """Commit something, to see that it can be done. Raises ListenerError after `seconds`."""

    def prune(self, most: int) -> int:
        """Forget what is over the limits of the history, so many deliveries at most; how many.

        Only of what is done or ignored: what failed is shown until somebody has seen to it.
        """

    def overview(self) -> Overview:
        """What is open, in all and in each lane."""

    def state(self, lane: str, refs: frozenset[DocumentRef] | None) -> LaneState:
        """What a lane has open. refs: the documents whose needs are wanted, None for all."""

    def runs(self, limit: int) -> list[RunView]:
        """The newest runs, newest first."""

    def deliveries(self, limit: int) -> list[DeliveryView]:
        """The newest deliveries, newest first, without headers and bodies."""

    def page(
        self, limit: int, after: tuple[str, str, str] | None
    ) -> list[tuple[str, LiveDocument]]:
        """What is live, with its lane, in the order of component, environment, lane, from the
        one after `after` on.
        """

    def search(self, query: LiveQuery) -> LivePage:
        """A page of components with what is live of them in one lane."""

    def version(self) -> str:
        """Something that changes with every commit, and is cheap to look at."""

    def delivery(self, delivery_id: str) -> DeliveryView | None:
        """One delivery with headers and body, None where there is none of that id."""

    def retry(self, delivery_id: str) -> bool:
        """Put a delivery back among those that wait; False where there is none of that id."""

    def forget(self, delivery_id: str) -> bool:
        """Drop a delivery, but not its hash; False where there is none of that id."""
