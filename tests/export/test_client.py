"""The client against everything an API can answer."""

from __future__ import annotations

import gzip
import socket
import ssl
import threading
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import TYPE_CHECKING

import pytest

from myop_cdn.errors import (
    CutShort,
    DocumentError,
    ExportError,
    InputError,
    KeyRejected,
    Unreachable,
)
from myop_cdn.export import client as room
from myop_cdn.export.client import POLICY, Client, asked_at, check_url
from myop_cdn.progress import Silent
from tests.api_server import NOTHING, ApiServer, Reply
from tests.listener.certificate import make
from tests.samples import KEY

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from myop_cdn.transport import Response

BODY = b'{"some": "answer, long enough to be cut"}'
GOOD = Reply(BODY)
BUSY = Reply(b"busy", 503)
PATH = "/thing"
NOON = datetime(2026, 3, 24, 13, 37, tzinfo=UTC)


@pytest.fixture
def server() -> Iterator[ApiServer]:
    with ApiServer({PATH: BODY}) as running:
        yield running


@pytest.fixture
def tls_server(tmp_path: Path) -> Iterator[str]:
    """The URL of a server whose certificate nobody trusts."""
    certificate, key = make(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        with suppress(OSError):
            while True:
                sock, _ = listener.accept()
                with suppress(OSError), context.wrap_socket(sock, server_side=True):
                    pass

    threading.Thread(target=serve, daemon=True).start()
    yield f"https://127.0.0.1:{listener.getsockname()[1]}"
    listener.close()


class Asker:
    """A client whose pauses are noted and not waited out."""

    def __init__(self, url: str) -> None:
        self.pauses: list[float] = []
        self.client = Client(url, KEY, "MYOP_API_KEY", allow_http=True, wait=self._wait)

    def _wait(self, seconds: float) -> bool:
        self.pauses.append(seconds)
        return True

    def get(self, path: str = PATH) -> Response:
        return self.client.get(path, {}, "the thing", lambda response: response)


def test_the_key_goes_as_a_bearer_token(server: ApiServer) -> None:
    response = Asker(server.url).get()
    assert (response.status, response.body) == (200, BODY)
    assert server.tokens == {f"Bearer {KEY}"}


def test_caches_on_the_way_are_asked_to_look_again(server: ApiServer) -> None:
    Asker(server.url).get()
    assert server.cache_control == {"no-cache"}


@pytest.mark.parametrize(
    ("headers", "moment"),
    [
        ({}, None),
        ({"Date": "yesterday"}, None),
        ({"Age": "5"}, None),
        ({"Date": "Tue, 24 Mar 2026 13:37:00 GMT"}, NOON),
        ({"Date": "Tue, 24 Mar 2026 13:37:30 GMT", "Age": "30"}, NOON),
        ({"Date": "Tue, 24 Mar 2026 13:37:00 GMT", "Age": "-5"}, NOON),
        ({"Date": "Tue, 24 Mar 2026 13:37:00 GMT", "Age": "²"}, NOON),
        ({"Date": "Tue, 24 Mar 2026 13:37:00 GMT", "Age": "9" * 40}, None),
    ],
)
def test_an_answer_is_as_old_as_its_date_and_its_time_in_a_cache_say(
    server: ApiServer, headers: dict[str, str], moment: datetime | None
) -> None:
    server.script[PATH] = [Reply(BODY, headers=headers)]
    assert asked_at(Asker(server.url).get()) == moment


def test_connections_are_kept(server: ApiServer) -> None:
    asker = Asker(server.url)
    for _ in range(5):
        asker.get()
    assert server.connections == 1


@pytest.mark.parametrize(
    "spoilt",
    [
        BUSY,
        Reply(b"", 500),
        Reply(b"<html>", 502),
        Reply(b"slow down", 429),
        Reply(BODY, sent=10),
        Reply(BODY, sent=0),
        Reply(BODY, framing="chunked", sent=10),
        Reply(BODY, framing="chunked", sent=0),
        Reply(b"this is no gzip", headers={"Content-Encoding": "gzip"}),
        NOTHING,
    ],
)
def test_trouble_that_passes_is_asked_again(server: ApiServer, spoilt: Reply) -> None:
    server.script[PATH] = [spoilt, spoilt, GOOD]
    asker = Asker(server.url)
    assert asker.get().body == BODY
    assert len(server.asked) == 3
    assert len(asker.pauses) == 2


@pytest.mark.parametrize("spoilt", [BUSY, NOTHING, Reply(BODY, sent=3)])
def test_trouble_that_stays_is_given_up_in_the_end(server: ApiServer, spoilt: Reply) -> None:
    server.script[PATH] = [spoilt]
    with pytest.raises(Unreachable, match=r"the thing: 127\.0\.0\.1:.* \(asked 8 times\)"):
        Asker(server.url).get()
    assert len(server.asked) == POLICY.attempts


def test_pauses_grow_and_differ(server: ApiServer) -> None:
    server.script[PATH] = [BUSY]
    one, other = Asker(server.url), Asker(server.url)
    for asker in (one, other):
        with pytest.raises(Unreachable):
            asker.get()
    assert one.pauses != other.pauses
    assert all(0.05 * 2**n <= pause <= 0.1 * 2**n for n, pause in enumerate(one.pauses))


@pytest.mark.parametrize("value", ["2", " 2 ", "date"])
def test_retry_after_is_waited_out(server: ApiServer, value: str) -> None:
    if value == "date":
        value = format_datetime(datetime.now(UTC) + timedelta(seconds=5), usegmt=True)
    server.script[PATH] = [Reply(b"", 503, {"Retry-After": value}), GOOD]
    asker = Asker(server.url)
    asker.get()
    assert 2 <= asker.pauses[0] < 6


@pytest.mark.parametrize(
    "value", ["0", "-5", "soon", "²", "1.5", "Wed, 21 Oct 2015 07:28:00 GMT", "Wed, 99 Foo", ""]
)
def test_a_retry_after_that_says_nothing_leaves_the_usual_pause(
    server: ApiServer, value: str
) -> None:
    """Zero too: an API that is down for a second must not use all attempts up at once."""
    server.script[PATH] = [Reply(b"", 503, {"Retry-After": value}), GOOD]
    asker = Asker(server.url)
    asker.get()
    assert 0.05 <= asker.pauses[0] <= 0.1


@pytest.mark.parametrize("value", ["86400", "9" * 40, "Wed, 21 Oct 2915 07:28:00 GMT"])
def test_a_retry_after_of_a_day_is_not_waited_out(server: ApiServer, value: str) -> None:
    server.script[PATH] = [Reply(b"", 429, {"Retry-After": value}), GOOD]
    asker = Asker(server.url)
    asker.get()
    assert POLICY.longest_retry_after <= asker.pauses[0] <= POLICY.longest_retry_after + 0.1


@pytest.mark.parametrize("status", [401, 403])
def test_a_rejected_key_is_not_asked_again_and_its_source_is_told(
    server: ApiServer, status: int
) -> None:
    server.script[PATH] = [Reply(KEY.encode(), status)]
    with pytest.raises(KeyRejected, match=rf"MYOP_API_KEY \({status}\)") as caught:
        Asker(server.url).get()
    assert len(server.asked) == 1
    assert "Dashboard > Rollout > Settings > Self-Hosting" in caught.value.hint
    assert KEY not in caught.value.message + caught.value.hint


@pytest.mark.parametrize("status", [400, 404, 410, 204, 304])
def test_other_statuses_are_the_readers_to_judge(server: ApiServer, status: int) -> None:
    server.script[PATH] = [Reply(b"" if status in (204, 304) else b"x", status)]
    assert Asker(server.url).get().status == status
    assert len(server.asked) == 1


def test_what_the_reader_finds_cut_short_is_asked_again(server: ApiServer) -> None:
    server.script[PATH] = [Reply(b"{"), GOOD]

    def read(response: Response) -> bytes:
        if response.body == b"{":
            raise CutShort("the thing is cut short")
        return response.body

    assert Asker(server.url).client.get(PATH, {}, "the thing", read) == BODY
    server.script[PATH] = [Reply(b"{")]
    with pytest.raises(CutShort):
        Asker(server.url).client.get(PATH, {}, "the thing", read)


def test_a_redirect_on_the_same_host_is_followed_with_the_key(server: ApiServer) -> None:
    for location in ("/other?x=1", f"{server.url}/other"):
        server.script[PATH] = [Reply(b"moved", 302, {"Location": location})]
        server.script["/other"] = [Reply(b"there")]
        assert Asker(server.url).get().body == b"there"
    assert server.targets[1] == "/other?x=1"
    assert server.tokens == {f"Bearer {KEY}"}


@pytest.mark.parametrize(
    ("location", "words"),
    [
        ("http://127.0.0.2:1/x", r"another host \(127\.0\.0\.2:1\)"),
        ("//evil.example/x", r"another host \(evil\.example\)"),
        ("https://HOST/x", "another host"),
        ("http://127.0.0.1:1/x", "another host"),
        ("http://127.0.0.1:99999999/x", "another host"),
        ("http://[::1/x", "another host"),
        ("file:///etc/passwd", "another host"),
        (None, "nowhere"),
    ],
)
def test_a_redirect_elsewhere_is_an_error_and_the_key_stays_here(
    server: ApiServer, location: str | None, words: str
) -> None:
    location = location and location.replace("HOST", server.url.removeprefix("http://"))
    headers = {} if location is None else {"Location": location}
    server.script[PATH] = [Reply(b"", 301, headers)]
    with pytest.raises(DocumentError, match=words):
        Asker(server.url).get()
    assert server.asked == [PATH]


def test_a_circle_of_redirects_ends(server: ApiServer) -> None:
    server.script[PATH] = [Reply(b"", 308, {"Location": PATH})]
    with pytest.raises(DocumentError, match="more than 3 redirects"):
        Asker(server.url).get()
    assert len(server.asked) == 4


@pytest.mark.parametrize(
    ("base", "location", "same"),
    [
        ("https://Api.example", "https://api.example:443/x", True),
        ("http://api.example:80", "http://api.example/x", True),
        ("http://api.example", "http://api.example:8080/x", False),
        ("https://api.example", "http://api.example/x", False),
    ],
)
def test_a_schemes_own_port_is_the_same_host(base: str, location: str, same: bool) -> None:
    client = Client(base, KEY, "k", allow_http=True)
    if same:
        assert client._follow("/y", location, "the thing") == "/x"
    else:
        with pytest.raises(DocumentError):
            client._follow("/y", location, "the thing")


def test_gzip_is_decoded(server: ApiServer) -> None:
    server.script[PATH] = [Reply(gzip.compress(BODY), headers={"Content-Encoding": "gzip"})]
    assert Asker(server.url).get().body == BODY


@pytest.mark.parametrize("framing", ["length", "chunked", "close"])
@pytest.mark.parametrize("packed", [False, True])
def test_a_body_beyond_the_limit_is_an_error_at_once(
    server: ApiServer, monkeypatch: pytest.MonkeyPatch, framing: str, packed: bool
) -> None:
    monkeypatch.setattr(room, "MAX_BODY_BYTES", 2**20)
    for size, fits in ((2**20, True), (2**20 + 1, False)):
        body = b"x" * size
        headers = {"Content-Encoding": "gzip"} if packed else {}
        server.script[PATH] = [
            Reply(gzip.compress(body) if packed else body, 200, headers, framing)
        ]
        if fits:
            assert len(Asker(server.url).get().body) == size
            continue
        server.forget()
        with pytest.raises(DocumentError, match="more than 1 MiB"):
            Asker(server.url).get()
        assert len(server.asked) == 1


def test_a_slow_answer_is_given_up(server: ApiServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "SILENCE_SECONDS", 0.05)
    listener = socket.create_server(("127.0.0.1", 0))
    try:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        with pytest.raises(Unreachable, match="did not answer in time"):
            Asker(url).get()
    finally:
        listener.close()


class Hours:
    """A clock of which an hour passes with so many looks at it."""

    def __init__(self, looks: int) -> None:
        self.step = 3600 / looks
        self.now = 0.0

    def __call__(self) -> float:
        self.now += self.step
        return self.now


@pytest.mark.parametrize("by_proxy", [False, True])
def test_an_answer_that_drips_is_given_up(
    server: ApiServer, monkeypatch: pytest.MonkeyPatch, by_proxy: bool
) -> None:
    url = server.url
    if by_proxy:
        monkeypatch.setenv("http_proxy", server.url)
        url = "http://api.example"
    server.script[PATH] = [Reply(b"x" * 500, drips=True)]
    client = Client(url, KEY, "k", allow_http=True, wait=lambda _: True, clock=Hours(100))
    with pytest.raises(Unreachable, match="did not answer in time"):
        client.get(PATH, {}, "the thing", lambda response: response)


def test_all_attempts_together_have_a_time_limit(server: ApiServer) -> None:
    server.script[PATH] = [Reply(b"", 503, {"Retry-After": "30"})]
    clock = Hours(3600)

    def wait(seconds: float) -> bool:
        clock.now += 3 * seconds  # each of the eight pauses is within what is waited out
        return True

    client = Client(server.url, KEY, "k", wait=wait, clock=clock)
    with pytest.raises(Unreachable):
        client.get(PATH, {}, "the thing", lambda response: response)
    assert len(server.asked) == 4
    assert clock.now < POLICY.request_seconds


@pytest.mark.parametrize("framing", ["length", "chunked"])
def test_a_body_that_a_proxy_cuts_short_is_asked_for_again(
    server: ApiServer, monkeypatch: pytest.MonkeyPatch, framing: str
) -> None:
    monkeypatch.setenv("http_proxy", server.url)
    server.script[PATH] = [Reply(BODY, framing=framing, sent=10), GOOD]
    asker = Asker("http://api.example")
    assert asker.get().body == BODY
    assert len(asker.pauses) == 1


def test_a_server_that_is_not_there_is_unreachable() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
    with pytest.raises(Unreachable, match="can't be reached") as caught:
        Asker(url).get()
    assert "MYOP_API_URL" in caught.value.hint


def test_a_connection_that_was_closed_while_idle_costs_no_failure(server: ApiServer) -> None:
    server.script[PATH] = [Reply(BODY, headers={"Connection": "close"})]
    asker = Asker(server.url)
    for _ in range(3):
        asker.get()
    assert asker.pauses == []


def test_while_the_api_is_down_the_next_ones_try_twice(server: ApiServer) -> None:
    server.script[PATH] = [BUSY]
    asker = Asker(server.url)
    for attempts in (POLICY.attempts, 2, 2):
        server.forget()
        with pytest.raises(Unreachable):
            asker.get()
        assert len(server.asked) == attempts


def test_one_thing_that_is_never_to_be_had_does_not_shorten_the_others(server: ApiServer) -> None:
    """As soon as anything is answered again, everyone has all attempts again."""
    server.script["/never"] = [BUSY]
    server.script["/flaky"] = [BUSY, BUSY, BUSY, GOOD]
    asker = Asker(server.url)
    with pytest.raises(Unreachable):
        asker.get("/never")

    def wait(seconds: float) -> bool:
        asker.client._retries._wait = asker._wait
        return asker.get(PATH).status == 200  # another thread's request goes well meanwhile

    asker.client._retries._wait = wait
    assert asker.get("/flaky").body == BODY


def test_closing_ends_the_waiting(server: ApiServer) -> None:
    server.script[PATH] = [Reply(b"", 503, {"Retry-After": "25"})]
    client = Client(server.url, KEY, "MYOP_API_KEY")
    ended: list[type[BaseException]] = []

    def ask() -> None:
        try:
            client.get(PATH, {}, "the thing", lambda response: response)
        except Unreachable as error:
            ended.append(type(error))

    thread = threading.Thread(target=ask)
    thread.start()
    client.close()
    thread.join(20)
    assert ended == [Unreachable]


@pytest.mark.parametrize("padding", range(225, 305, 9))
def test_what_the_server_said_never_shows_a_part_of_the_key(padding: int) -> None:
    client = Client("http://127.0.0.1:1", KEY, "MYOP_API_KEY")
    said = client.excerpt(b" " * padding + KEY.encode())
    assert KEY[:12] not in said


def test_what_the_server_said_is_one_short_line() -> None:
    client = Client("http://127.0.0.1:1", KEY, "MYOP_API_KEY")
    said = client.excerpt(b"a\r\n\x1b[31m\xff" + b"x" * 5000)
    assert len(said) <= 120
    assert said.isprintable()


@pytest.mark.parametrize(
    ("url", "base"),
    [
        ("https://cloud.myop.dev/", "https://cloud.myop.dev"),
        (" HTTP://Host:8080/api/ ", "http://host:8080/api"),
        ("http://[::1]:3000", "http://[::1]:3000"),
    ],
)
def test_a_base_url_is_tidied(url: str, base: str) -> None:
    assert check_url(url, allow_http=True) == base


@pytest.mark.parametrize(
    "url",
    [
        "",
        "cloud.myop.dev",
        "ftp://cloud.myop.dev",
        "https://",
        "http://host:port",
        "http://host:99999",
        "http://[::1",
        "https://user:secret@host",
        "https://host?x=1",
        "https://host#x",
        "file:///etc/passwd",
    ],
)
def test_what_is_no_base_url_is_bad_usage(url: str) -> None:
    with pytest.raises(InputError) as caught:
        check_url(url, allow_http=True)
    assert "secret" not in caught.value.message


def test_the_environments_proxy_is_used_unless_no_proxy_says_otherwise(
    server: ApiServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.files["//api.example/thing"] = BODY
    monkeypatch.setenv("http_proxy", server.url.removeprefix("http://"))
    Asker("http://api.example").get()
    assert server.targets == ["http://api.example/thing"]
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    Asker(server.url).get()
    assert server.targets[-1] == "/thing"


def test_a_proxy_that_is_no_url_is_bad_usage(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "ftp://proxy")
    with pytest.raises(InputError, match="http_proxy"):
        Client("http://api.example", KEY, "k", allow_http=True)


@pytest.mark.parametrize("host", ["api.example", "10.0.0.7", "127.evil.example", "[fe80::1]"])
def test_the_key_does_not_go_over_plain_http_to_another_machine(host: str) -> None:
    with pytest.raises(InputError, match="over plain HTTP") as caught:
        check_url(f"http://{host}")
    assert "--allow-http" in caught.value.hint
    assert check_url(f"https://{host}") == f"https://{host}"
    assert check_url(f"http://{host}", allow_http=True) == f"http://{host}"


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "127.8.9.10", "[::1]", "api.localhost"])
def test_plain_http_on_this_machine_is_as_usual(host: str) -> None:
    assert check_url(f"http://{host}:8080") == f"http://{host}:8080"


@pytest.mark.parametrize(
    "url", ["user:pw@host", " https://user:pw@host", "HTTPS://user:pw@host:x", "ftp://user:pw@h"]
)
def test_a_url_is_shown_without_its_credentials(url: str) -> None:
    with pytest.raises(InputError) as caught:
        check_url(url)
    assert "pw" not in caught.value.message


def test_a_port_that_speaks_plain_http_is_told_as_that_and_not_asked_again(
    server: ApiServer,
) -> None:
    asker = Asker(server.url.replace("http:", "https:"))
    with pytest.raises(ExportError, match="does not speak HTTPS") as caught:
        asker.get()
    assert "http://" in caught.value.hint
    assert asker.pauses == []


def test_a_certificate_that_is_not_trusted_is_told_with_the_way_out_and_not_asked_again(
    tls_server: str,
) -> None:
    asker = Asker(tls_server)
    with pytest.raises(ExportError, match="certificate that can't be verified") as caught:
        asker.get()
    assert "SSL_CERT_FILE" in caught.value.hint
    assert asker.pauses == []


@dataclass
class Notes(Silent):
    """Progress that remembers what it was told."""

    lines: list[str] = field(default_factory=list)
    told: threading.Event = field(default_factory=threading.Event)

    def note(self, message: str) -> None:
        self.lines.append(message)
        self.told.set()


def test_what_is_asked_for_again_is_said_once_for_all_threads(server: ApiServer) -> None:
    server.script[PATH] = [BUSY, BUSY, BUSY, GOOD]
    notes = Notes()
    client = Client(server.url, KEY, "k", notes, wait=lambda _: True)
    client.get(PATH, {}, "the thing", lambda response: response)
    what = f"the thing: {server.url.removeprefix('http://')} answered 503 (asked once)"
    assert notes.lines == [f"{what}; trying again (2 of 8)"]


def test_an_api_that_does_not_answer_is_named_while_it_is_waited_for() -> None:
    notes = Notes()
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        client = Client(url, KEY, "k", notes, wait=lambda _: False, notice_seconds=0.0)
        assert notes.told.wait(20)
        client.close()
    assert notes.lines == [f"waiting for an answer from {url.removeprefix('http://')}"]


def test_an_api_that_answers_is_not_talked_about(server: ApiServer) -> None:
    notes = Notes()
    client = Client(server.url, KEY, "k", notes)
    client.get(PATH, {}, "the thing", lambda response: response)
    client._notice.join(20)
    assert notes.lines == []


@pytest.mark.parametrize("members", [2, 50_000])
def test_gzip_of_many_empty_members_costs_no_more_than_its_bytes(
    server: ApiServer, members: int
) -> None:
    body = gzip.compress(b"") * members
    server.script[PATH] = [Reply(body, headers={"Content-Encoding": "gzip"})]
    if members == 2:
        assert Asker(server.url).get().body == b""
        return
    with pytest.raises(Unreachable):
        Asker(server.url).get()


def test_all_that_a_run_waits_for_a_server_that_asks_it_to_is_limited(server: ApiServer) -> None:
    server.script[PATH] = [Reply(b"", 503, {"Retry-After": "999999999"})]
    now = [0.0]

    def wait(seconds: float) -> bool:
        now[0] += seconds
        return True

    client = Client(server.url, KEY, "k", wait=wait, clock=lambda: now[0])
    for _ in range(100):
        with pytest.raises(Unreachable):
            client.get(PATH, {}, "the thing", lambda response: response)
    assert now[0] <= POLICY.waiting_seconds
