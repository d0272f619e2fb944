"""The demo itself: the real listener, sync and deploy between a sandbox and a folder.

Nothing is acted: what a step tells was measured, or read back after it happened, and a step
that does not go as it should ends the demo with an error.
"""

from __future__ import annotations

import json
import secrets
import time
from contextlib import closing
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from myop_cdn import signature
from myop_cdn.demo.components import (
    AURORA,
    COMPONENTS,
    ENVIRONMENTS,
    ORGANIZATION,
    PRICING,
    Myop,
)
from myop_cdn.demo.place import snapshot
from myop_cdn.demo.receiver import Receiver
from myop_cdn.demo.story import Fact, Grid, Step
from myop_cdn.deploy.history import Selection
from myop_cdn.deploy.options import DeployOptions
from myop_cdn.deploy.target import open_targets
from myop_cdn.errors import MyopCdnError, TreeError
from myop_cdn.model import MANIFEST, PREVIEW, DocumentRef
from myop_cdn.page import as_file
from myop_cdn.page.snapshot import of_status
from myop_cdn.sandbox import REHEARSAL_KEY, Sandbox
from myop_cdn.send import body_of, post
from myop_cdn.status import read_status

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from myop_cdn.demo.place import Place
    from myop_cdn.listener import Log
    from myop_cdn.model import Release
    from myop_cdn.report import PublishReport

RELEASED_TO = ("production", "staging")
SHOWN = (*ENVIRONMENTS, PREVIEW)


class Demo:
    """One run of the demo at a fresh place. log: where the listener's words go.

    `tell` yields each step once it is done. Raises MyopCdnError where one went wrong.
    """

    def __init__(self, place: Place, log: Log) -> None:
        self.place = place
        self._log = log
        self.steps: list[Step] = []
        self._myop = Myop(place.myop)
        self._secret = secrets.token_hex(32).encode()
        self._lap = self._sent = time.monotonic()

    def tell(self) -> Iterator[Step]:
        """Do everything, step by step, and leave the folder and the page."""
        self._lap = time.monotonic()
        self._myop.write()
        with Sandbox(self.place.myop) as sandbox:
            yield self._told(_sandbox_step(sandbox))
            with self._receiver(sandbox.url) as receiver:
                yield self._told(_listener_step(receiver))
                yield self._told(self._first_publish(receiver))
                releases = self._myop.release(PRICING, AURORA, RELEASED_TO)
                yield self._told(_release_step())
                yield self._told(self._deliver(receiver, releases))
                yield self._told(self._publish(receiver, releases))
                yield self._told(self._forge(sandbox, receiver, releases))
                yield self._told(self._repeat(receiver, releases))
        self._write_page()

    def _receiver(self, api_url: str) -> Receiver:
        return Receiver(self.place, api_url, REHEARSAL_KEY, self._secret, self._log)

    def _told(self, step: Step) -> Step:
        """The step with the time since the one before it."""
        now = time.monotonic()
        step = step.lasting(now - self._lap)
        self._lap = now
        self.steps.append(step)
        return step

    def _first_publish(self, receiver: Receiver) -> Step:
        report = receiver.next_report()
        uploaded = _uploaded(report)
        _expect(MANIFEST in uploaded, "the first publish wrote no manifest")
        return Step(
            "The first full publish",
            "At its start the listener takes everything that Myop has: all documents, then "
            "the manifest, whole files only.",
            facts=(
                Fact("exported", f"{_documents(report)} documents"),
                Fact("published", f"{len(uploaded)} objects", "good"),
            ),
            grid=self._grid(),
        )

    def _deliver(self, receiver: Receiver, releases: tuple[Release, ...]) -> Step:
        body = _announcement(releases)
        self._sent = time.monotonic()
        reply = post(receiver.url, body, self._secret)
        _expect(reply.status == 200, f"a signed delivery was answered {reply.status}")
        return Step(
            "The signed webhook",
            "Myop announces the release. The listener checks the signature over the raw bytes, "
            "stores the delivery durably and answers; the work comes after the answer.",
            facts=(
                Fact("POST", receiver.url),
                Fact("signature", f"{signature.sign(body, self._secret)[:19]}…"),
                Fact("answer", f"200 after {_milliseconds(reply.seconds)}", "good"),
            ),
        )

    def _publish(self, receiver: Receiver, releases: tuple[Release, ...]) -> Step:
        report = receiver.next_report()
        taken = time.monotonic() - self._sent
        uploaded = _uploaded(report)
        for release in releases:
            held = self._variant(release.component_id, release.environment)["id"]
            _expect(held == release.variant_id, f"{release.ref.path} holds another variant")
        _expect(set(uploaded) == {one.ref.path for one in releases}, "other objects were published")
        return Step(
            "Published",
            "Only what was released is fetched and published, and the published documents hold "
            "the variant that was announced.",
            facts=(
                *(Fact("changed", key, "new") for key in uploaded),
                Fact("served", f"{_milliseconds(taken)} after the webhook was sent", "good"),
                Fact("untouched", f"{len(snapshot(self.place.cdn)) - len(uploaded)} objects"),
            ),
            grid=self._grid({(PRICING.id, name) for name in RELEASED_TO}),
        )

    def _forge(self, sandbox: Sandbox, receiver: Receiver, releases: tuple[Release, ...]) -> Step:
        before, asked = snapshot(self.place.cdn), len(sandbox.requests)
        forged = post(receiver.url, _announcement(releases), b"a guess")
        _expect(forged.status == 401, f"a forged delivery was answered {forged.status}")
        _expect(snapshot(self.place.cdn) == before, "a forged delivery changed the folder")
        _expect(len(sandbox.requests) == asked, "a forged delivery made the listener ask Myop")
        return Step(
            "A forged webhook",
            "The same announcement, signed by somebody who does not know the secret.",
            facts=(
                Fact("answer", f"401 after {_milliseconds(forged.seconds)}", "refused"),
                Fact("effect", "none: Myop was not asked, no file was touched"),
            ),
        )

    def _repeat(self, receiver: Receiver, releases: tuple[Release, ...]) -> Step:
        before = snapshot(self.place.cdn)
        reply = post(receiver.url, _announcement(releases), self._secret)
        _expect(reply.status == 200, f"a signed delivery was answered {reply.status}")
        report = receiver.next_report()
        _expect(not report.sync.changed, "a repeated release changed the exported tree")
        _expect(not _uploaded(report), "a repeated release published something")
        _expect(snapshot(self.place.cdn) == before, "a repeated release touched the folder")
        return Step(
            "The same release once more",
            "Announced again, signed, accepted, compared with what is there: unchanged.",
            facts=(
                Fact("answer", f"200 after {_milliseconds(reply.seconds)}", "good"),
                Fact("published", "0 objects; no file was touched", "good"),
            ),
        )

    def _grid(self, changed: set[tuple[str, str]] | None = None) -> Grid:
        rows = tuple(
            (one.name, tuple(self._variant(one.id, name)["name"] for name in SHOWN))
            for one in COMPONENTS
        )
        cells = {
            (row, column)
            for row, one in enumerate(COMPONENTS)
            for column, name in enumerate(SHOWN)
            if (one.id, name) in (changed or ())
        }
        return Grid(SHOWN, rows, frozenset(cells))

    def _published(self, component_id: str, environment: str) -> bytes:
        try:
            return (self.place.cdn / DocumentRef(component_id, environment).path).read_bytes()
        except OSError as error:
            raise TreeError(f"{error.filename} was not published: {error.strerror}") from None

    def _variant(self, component_id: str, environment: str) -> dict[str, str]:
        document = json.loads(self._published(component_id, environment))
        variant: dict[str, str] = document["item"]["consume_variant"][0]
        return variant

    def _write_page(self) -> None:
        options = DeployOptions()
        with closing(open_targets([self.place.cdn.as_uri()], options)[0]) as target:
            everything = Selection()
            status = read_status(target, everything, options.jobs)
            now = datetime.now(UTC)
            data = of_status(status, target, everything, options.jobs, now, "demo")
        try:
            self.place.page.write_bytes(as_file(data, trusted=True))
        except OSError as error:
            raise TreeError(f"{error.filename}: {error.strerror}") from None


def _sandbox_step(sandbox: Sandbox) -> Step:
    return Step(
        "A Myop of its own",
        "A sandbox answers as Myop's API does, with three components made by hand. No account, "
        "no network, no configuration.",
        facts=(
            Fact("API", sandbox.url),
            Fact("components", ", ".join(one.name for one in COMPONENTS)),
            Fact("environments", ", ".join(SHOWN)),
        ),
    )


def _listener_step(receiver: Receiver) -> Step:
    return Step(
        "The listener",
        "The one that myop-cdn serve starts. It takes signed deliveries only and keeps them "
        "in a journal until they are published.",
        facts=(
            Fact("webhook", receiver.url),
            Fact("publishes to", receiver.destination),
        ),
    )


def _release_step() -> Step:
    live = PRICING.in_environment(RELEASED_TO[0])
    return Step(
        "A release in Myop",
        f"Somebody releases a new variant of the {PRICING.name}. From now on Myop's API answers "
        "with it; the CDN does not know yet.",
        facts=(
            Fact("variant", f"{live.name} → {AURORA.name}", "new"),
            Fact("released to", ", ".join(RELEASED_TO)),
        ),
    )


def _announcement(releases: Sequence[Release]) -> bytes:
    return body_of(releases, now=datetime.now(UTC), organization=ORGANIZATION)


def _uploaded(report: PublishReport) -> tuple[str, ...]:
    if report.deploy is None:
        return ()
    return tuple(up.key for one in report.deploy.destinations for up in one.uploaded)


def _documents(report: PublishReport) -> int:
    return sum(path != MANIFEST for path in (*report.sync.added, *report.sync.updated))


def _milliseconds(seconds: float) -> str:
    return f"{max(1, round(seconds * 1000))} ms"


def _expect(holds: bool, otherwise: str) -> None:
    if not holds:
        raise MyopCdnError(f"the demo went wrong: {otherwise}", "this is a defect of myop-cdn")
