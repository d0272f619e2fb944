"""A listener with its page, between a sandbox for Myop and a folder for the CDN, all real."""

from __future__ import annotations

import re
import secrets
import socket
import threading
import time
from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from myop_cdn import jsontext
from myop_cdn.demo.place import Place
from myop_cdn.demo.receiver import Receiver
from myop_cdn.deploy.options import DeployOptions
from myop_cdn.listener.admin.desk import DestinationDesk
from myop_cdn.listener.admin.handler import Admin
from myop_cdn.listener.http.sockets import Address, listen
from myop_cdn.model import MANIFEST, DocumentRef, Release
from myop_cdn.sandbox import REHEARSAL_KEY, Sandbox
from myop_cdn.send import body_of, post
from myop_cdn.tree import Tree
from tests.listener.rig import Lines, until

if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType

    from myop_cdn.listener.admin.desk import Task
    from myop_cdn.progress import Progress

ORGANIZATION = "an-organization"


class Stand:
    """What Myop has (`put`), what it announces (`release`), and the page at `url`."""

    def __init__(self, folder: Path, **admin: Any) -> None:
        self.place = Place(folder)
        self.log = Lines()
        self.place.myop.mkdir(parents=True)
        self._tree = Tree(self.place.myop)
        self._names: dict[str, tuple[str, set[str]]] = {}
        self._secret = secrets.token_hex(32).encode()
        self.sandbox = Sandbox(self.place.myop)
        self._options = admin

    def put(
        self,
        component: str,
        environment: str,
        html: str,
        variant: str = "First",
        name: str | None = None,
    ) -> Release:
        """Myop has this from now on. variant: its name; its id is made of that."""
        variant_id = re.sub("[^a-z0-9]+", "-", variant.lower())[:40]
        loader = {"type": "HTMLLoader", "shadowRootMode": "localFrame", "HTML": html}
        called, environments = self._names.setdefault(component, (name or component.title(), set()))
        environments.add(environment)
        item = {
            "name": called,
            "id": component,
            "organizationId": ORGANIZATION,
            "consume_variant": [{"id": variant_id, "name": variant, "loader": loader}],
        }
        body = jsontext.dumps({"version": "0.2.10", "item": item})
        self._tree.write(DocumentRef(component, environment).path, body)
        self._tree.write(DocumentRef(component, "preview").path, body)
        self._tree.write(MANIFEST, self._manifest())
        return Release(component, environment, variant_id, f"env-{environment}")

    def _manifest(self) -> bytes:
        return jsontext.dumps(
            {
                "version": 1,
                "exportedAt": "2026-03-24T10:00:00.000Z",
                "organization": ORGANIZATION,
                "components": [
                    {"id": one, "name": name, "environments": sorted(environments - {"preview"})}
                    for one, (name, environments) in self._names.items()
                ],
            }
        )

    def __enter__(self) -> Stand:
        sandbox = self.sandbox.__enter__()
        self.api_url = sandbox.url
        self.receiver = Receiver(
            self.place, sandbox.url, REHEARSAL_KEY, self._secret, self.log
        ).__enter__()
        self.destination = self.receiver.destination
        self.listener = self.receiver.listener
        found = listen(Address("127.0.0.1", 0))
        self.port = found[0].getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}/"
        desk = DestinationDesk({self.destination: self.destination}, DeployOptions())
        acting = DestinationDesk({self.destination: self.destination}, DeployOptions())
        given = {"desk": desk, "acting": acting} | self._options
        self.admin = Admin(self.listener, found, self.log, **given)
        self.admin.start()
        self._published()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.admin.stop()
        self.receiver.__exit__(kind, error, trace)
        self.sandbox.__exit__(kind, error, trace)

    def release(self, *releases: Release) -> str:
        """Announce them, and wait until they are published; the delivery's id."""
        body = body_of(releases, now=datetime.now(UTC), organization=ORGANIZATION)
        reply = post(self.receiver.url, body, self._secret)
        assert reply.status == 200, reply
        self._published()
        return str(self.listener.queue.deliveries(1)[0].id)

    def _published(self) -> None:
        self.receiver.next_report()
        until(lambda: self.listener.queue.runs(1)[0].state != "running", "the end of the run")


class Hanging:
    """Work for a child that comes to no end."""

    def __call__(self, task: Task, progress: Progress | None = None) -> bytes:
        time.sleep(600)
        raise AssertionError(task, progress)


class Sink:
    """Where documents try to get to: counts whoever connects, by TCP or UDP."""

    def __init__(self) -> None:
        self.hits: list[bytes] = []
        self._tcp = socket.create_server(("127.0.0.1", 0))
        self._udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._udp.bind(("127.0.0.1", 0))
        self.origin = f"http://127.0.0.1:{self._tcp.getsockname()[1]}"
        self.udp_port = self._udp.getsockname()[1]
        for work in (self._accept, self._receive):
            threading.Thread(target=work, daemon=True).start()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                sock, _ = self._tcp.accept()
                sock.settimeout(1)
                head = b""
                with suppress(OSError):
                    head = sock.recv(200)
                self.hits.append(b"tcp " + head.split(b"\r\n")[0])
                sock.close()

    def _receive(self) -> None:
        with suppress(OSError):
            while True:
                self.hits.append(b"udp " + self._udp.recv(2000)[:20])

    def close(self) -> None:
        """No more of it."""
        self._tcp.close()
        self._udp.close()
