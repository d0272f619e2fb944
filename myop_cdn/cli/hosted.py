"""`serve` behind another HTTP server: what `myop_cdn.wsgi` and `myop_cdn.asgi` are made of.

Everything is taken from the environment, and from the file that MYOP_CDN_CONFIG names, as `serve`
takes it. What only a server of its own has use for (addresses, TLS, `--admin`) is passed over.
With a journal in PostgreSQL each process is one more listener of those that share it; without
one a release is published within the request.
"""

from __future__ import annotations

import atexit
import os
import threading
from contextlib import ExitStack

from myop_cdn.cli import cli
from myop_cdn.cli.console import Console
from myop_cdn.cli.options import filled
from myop_cdn.cli.serve import ServeSettings, check, child_of, publishers_of, settings_of
from myop_cdn.errors import InputError
from myop_cdn.inputs import webhook_secrets
from myop_cdn.listener.delivery import DeliveryChecks, DeliveryHandler
from myop_cdn.listener.hosted import PublishingStore, Receiver, publishing_receiver
from myop_cdn.listener.metrics import Metrics
from myop_cdn.listener.queued_log import QueuedLog
from myop_cdn.listener.service import open_queue
from myop_cdn.listener.worker import Worker

_GUARD = threading.Lock()
_RUNNING: dict[int, tuple[Receiver, ExitStack]] = {}  # by process: servers fork what they loaded


def receiver() -> Receiver:
    """What answers this process's requests; begun when it is first asked for.

    Raises MyopCdnError for settings that do not do.
    """
    with _GUARD:
        if os.getpid() not in _RUNNING:
            with ExitStack() as stack:
                found = _begin(stack)
                _RUNNING[os.getpid()] = found, stack.pop_all()
            atexit.register(end)
        return _RUNNING[os.getpid()][0]


def end() -> None:
    """End in order: another listener goes on at once."""
    with _GUARD:
        running = _RUNNING.pop(os.getpid(), None)
    if running is not None:
        running[1].close()


def _begin(stack: ExitStack) -> Receiver:
    settings, console = settings_from_environment()
    if not settings.publishing.deploy:
        raise InputError("there is no destination", "set MYOP_CDN_SERVE_DEPLOY")
    publishers = publishers_of(settings)
    check(settings, publishers, console)
    given = settings_of(settings)
    checks = DeliveryChecks(
        given.rules, webhook_secrets(settings.secrets.secret_file, console.warn_once)
    )
    log, metrics = QueuedLog(console), Metrics()
    stack.callback(log.close)
    if given.journal is None:
        store = PublishingStore(publishers, log)
        stack.callback(store.close)
        return publishing_receiver(checks, store, log, metrics)
    queue = open_queue(given, [publisher.name for publisher in publishers], log)
    children = [child_of(publisher, queue) for publisher in publishers]
    workers = [
        Worker(given.lane(publisher.name), queue, child, log, metrics)
        for publisher, child in zip(publishers, children, strict=True)
    ]

    def wake() -> None:
        for worker in workers:
            worker.wake()

    queue.start(wake)
    stack.callback(queue.close)
    for worker, child in zip(workers, children, strict=True):
        child.warm()  # whoever takes over has no time to lose
        stack.callback(child.kill)  # before another listener may publish
        stack.callback(worker.join, given.grace.total_seconds())
    for worker in workers:
        stack.callback(worker.stop)
        worker.start()
    handler = DeliveryHandler(checks, queue, wake, log, metrics)
    return Receiver(handler, given.rules.max_body, lambda: queue.trouble)


def settings_from_environment() -> tuple[ServeSettings, Console]:
    """The settings that `serve` would have without any word on its command line.

    Raises click.ClickException and MyopCdnError for what it could not begin with.
    """
    console = Console()
    with cli.make_context("myop-cdn", ["serve"], obj=console) as root:
        command = cli.get_command(root, "serve")
        assert command is not None
        with command.make_context("serve", [], parent=root) as ctx:
            settings = filled(ServeSettings, ctx.params)
            settings.state.postgres()  # says what is wrong with it
            return settings, console
