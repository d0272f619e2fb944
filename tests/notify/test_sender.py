"""Notices on their way: to real receivers, and nobody waits for them."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

import pytest

from myop_cdn.errors import InputError, Undelivered
from myop_cdn.notify import sender
from myop_cdn.notify.policy import Event, Notice, Policy
from myop_cdn.notify.sender import Command, Notifier, Receiver
from myop_cdn.retry import RetryPolicy
from tests.notify.receiver import NoticeReceiver

if TYPE_CHECKING:
    from collections.abc import Iterator

NOTICE = Notice("failed", "s3://bucket", "no such bucket", "", 1.0)
ENOUGH = 60.0


@pytest.fixture
def receiver() -> Iterator[NoticeReceiver]:
    with NoticeReceiver() as running:
        yield running


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sender, "_RETRY", RetryPolicy(attempts=3, first_pause=0.0))


def failed(subject: str = "s3://bucket") -> Event:
    return Event("failed", subject, "no such bucket")


def test_a_receiver_that_is_busy_is_told_again_by_the_same_id(receiver: NoticeReceiver) -> None:
    receiver.statuses = [503, 429]
    warnings: list[str] = []
    notifier = Notifier([Receiver.at(receiver.url, [b"k" * 32])], Policy(1), warnings.append)
    notifier.tell(failed())
    notifier.close(ENOUGH)
    got = receiver.all()
    assert [one.path for one in got] == ["/secret-path?key=hidden"] * 3
    assert len({one.headers["webhook-id"] for one in got}) == 1
    assert got[0].headers["webhook-signature"].startswith("v1,")
    assert warnings == []


@pytest.mark.parametrize(("statuses", "requests"), [([404], 1), ([500] * 3, 3)])
def test_a_receiver_that_refuses_is_warned_of_without_its_url(
    receiver: NoticeReceiver, statuses: list[int], requests: int
) -> None:
    receiver.statuses = list(statuses)
    warnings: list[str] = []
    notifier = Notifier([Receiver.at(receiver.url)], Policy(1), warnings.append)
    notifier.tell(failed())
    notifier.close(ENOUGH)
    assert len(receiver.all()) == requests
    (warning,) = warnings
    assert f"it answered {statuses[0]}" in warning
    assert "secret-path" not in warning
    assert "hidden" not in warning


def test_nobody_waits_for_a_receiver_that_hangs_and_the_others_are_told(
    receiver: NoticeReceiver,
) -> None:
    receiver.hold.clear()
    warnings: list[str] = []
    with NoticeReceiver() as other:
        channels = [Receiver.at(receiver.url), Receiver.at(other.url)]
        notifier = Notifier(channels, Policy(1, 0.0), warnings.append)
        for number in range(sender._MOST_NOTICES + 5):
            notifier.tell(failed(f"s3://b{number}"))
        for _ in range(3):  # it goes on while the first one hangs
            other.got.get(timeout=ENOUGH)
        receiver.got.get(timeout=ENOUGH)
        notifier.close(0.2)  # whatever is still waiting: the end does not
    assert any("too many are waiting" in one or "in time" in one for one in warnings)


def test_a_receiver_that_is_down_is_warned_of() -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
    warnings: list[str] = []
    notifier = Notifier([Receiver.at(f"http://127.0.0.1:{port}/x")], Policy(1), warnings.append)
    notifier.tell(failed())
    notifier.close(ENOUGH)
    assert warnings == [f"a notice did not get to http://127.0.0.1:{port}/…: it can't be reached"]


@pytest.mark.parametrize(
    "url",
    [
        "hooks.slack.com/x",
        "https://",
        "ftp://h/x",
        "https://user:pw@h/x",
        "http://alerts.example.com/x",
        "https://h/x y",
        "https://h/x#f",
    ],
)
def test_a_url_that_can_t_be_a_receiver_is_refused_and_not_shown(url: str) -> None:
    with pytest.raises(InputError) as raised:
        Receiver.at(url)
    assert "/x" not in raised.value.message
    assert "pw" not in raised.value.message


def test_plain_http_to_another_machine_has_to_be_allowed() -> None:
    assert Receiver.at("http://alerts.example.com/x", allow_http=True).form == "json"


@pytest.mark.parametrize("text", ["", "'", "no-such-program-anywhere x"])
def test_a_command_that_can_t_be_run_is_refused(text: str) -> None:
    with pytest.raises(InputError):
        Command.parse(text)


def test_a_command_that_fails_is_warned_of_by_its_name_alone() -> None:
    warnings: list[str] = []
    notifier = Notifier([Command.parse("false --token=abc")], Policy(1), warnings.append)
    notifier.tell(failed())
    notifier.close(ENOUGH)
    assert warnings == ["a notice did not get to the command false: it ended with 1"]


def test_a_command_that_takes_too_long_is_ended(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sender, "_COMMAND_SECONDS", 0.2)
    with pytest.raises(Undelivered, match="was ended"):
        Command.parse("sleep 60").send(NOTICE, "", 0.0)


def test_what_comes_after_a_change_of_channels_goes_to_the_new_ones(
    receiver: NoticeReceiver,
) -> None:
    with NoticeReceiver() as other:
        notifier = Notifier([Receiver.at(other.url)], Policy(1), print)
        notifier.tell(failed("s3://before"))
        notifier.use([Receiver.at(receiver.url)])
        notifier.tell(failed("s3://after"))
        notifier.close(ENOUGH)
        assert [one.json["data"]["subject"] for one in receiver.all()] == ["s3://after"]
        assert other.got.get(timeout=ENOUGH).json["data"]["subject"] == "s3://before"


def test_no_thread_is_started_for_runs_that_nobody_is_told_of() -> None:
    notifier = Notifier([], Policy(1), print)
    notifier.tell(failed())
    notifier.close(ENOUGH)
    assert not notifier._thread.is_alive()
