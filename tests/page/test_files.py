"""Pages that are files: opened from the disk, they show what they hold and ask nobody."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from myop_cdn.page import as_file
from tests.page.test_hostile import attacks, document
from tests.page.test_page import NASTY, card, few, frames, there

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.conftest import Run
    from tests.page.conftest import Visit
    from tests.page.stand import Sink, Stand


def test_status_as_a_file_shows_what_is_live_and_what_was_before(
    stand: Callable[..., Stand], visit: Callable[..., Visit], run: Run, screenshots: Path
) -> None:
    here = stand(few)
    here.release(here.put("card", "production", card("Aurora card"), "Aurora"))
    file = here.place.root / "out" / "live.html"
    ended = run("status", here.destination, "--html", file)
    assert ended.code == 0
    visitor = visit(file.as_uri())
    page = visitor.page
    there(page, ".cell iframe:not(.coming)", 5)
    assert sorted(frames(visitor))[-1] == "Aurora card"
    page.screenshot(path=screenshots / "file.png")
    page.locator("[data-key='card/production']").click()
    there(page, ".sides iframe:not(.coming)", 2)
    assert sorted(frames(visitor)) == ["Aurora card", "Classic card"]
    assert "Aurora card" in page.locator(".diff .added").inner_text()
    assert "serve incremental" in page.locator(".versions li").first.inner_text()
    page.get_by_role("link", name="Live", exact=True).first.click()
    page.get_by_role("searchbox").fill("banner")
    page.get_by_text("1 of 2 components").wait_for()
    assert {url.partition(":")[0] for url in visitor.requests} <= {"file", "data", "about"}
    assert visitor.errors == []


def test_the_report_of_a_publish_as_a_page_shows_before_and_after(
    stand: Callable[..., Stand], visit: Callable[..., Visit], run: Run, screenshots: Path
) -> None:
    here = stand(few)
    cdn, out = here.place.root / "another-cdn", here.place.root / "out"
    words = ("publish", cdn.as_uri(), "--full", "--output", out / "tree")
    env = {"MYOP_API_KEY": "myop_sk_" + "0" * 64, "MYOP_API_URL": here.api_url}
    assert run(*words, env=env).code == 0
    here.put("card", "production", card("Aurora card"), "Aurora")
    ended = run(*words, "--report", out / "report.html", env=env)
    assert ended.code == 0, ended.err
    visitor = visit((out / "report.html").as_uri())
    page = visitor.page
    there(page, ".cell iframe:not(.coming)", 1)  # what changed alone
    assert "Done" in page.locator(".tiles").inner_text()
    page.locator("[data-key='card/production']").click()
    there(page, ".sides iframe:not(.coming)", 2)
    assert sorted(frames(visitor)) == ["Aurora card", "Classic card"]
    page.screenshot(path=screenshots / "report.png", full_page=True)


def test_a_publish_that_fails_leaves_a_page_that_says_why(
    visit: Callable[..., Visit], run: Run, tmp_path: Path
) -> None:
    file = tmp_path / "report.html"
    ended = run("publish", (tmp_path / "cdn").as_uri(), "--full", "--report", file)
    assert ended.code == 2
    page = visit(file.as_uri()).page
    assert "Failed" in page.locator(".tiles").inner_text()
    assert "API key" in page.locator(".tiles").inner_text()


def test_a_document_in_a_file_reaches_nobody(
    stand: Callable[..., Stand],
    visit: Callable[..., Visit],
    run: Run,
    sink: Sink,
) -> None:
    tried = attacks(sink)
    still = (
        f"<!DOCTYPE html></script><!--<script>--><base href={sink.origin}/>"
        f"<meta http-equiv=refresh content='0;url={sink.origin}/r'><link rel=preconnect href="
        f"{sink.origin}><img src={sink.origin}/i><iframe src={sink.origin}/f></iframe>"
        f"<svg><a href={sink.origin}/s><text y=20>x</text></a></svg><object data={sink.origin}/o>"
    )

    def fill(made: Stand) -> None:
        made.put("still", "production", still, name=NASTY)
        for name, script in tried.items():
            made.put(name, "production", document(script))

    here = stand(fill)
    file = here.place.root / "live.html"
    assert run("status", here.destination, "--html", file).code == 0
    page = visit(f"{file.as_uri()}#/?environment=production").page
    page.locator(".gallery li").last.wait_for()
    for at in range(0, 24, 4):
        page.locator(".gallery li").nth(at).scroll_into_view_if_needed()
        page.wait_for_timeout(250)
    page.wait_for_timeout(500)
    assert sink.hits == []
    assert page.url.startswith(file.as_uri())
    assert page.title() == "myop-cdn"


def test_what_is_read_as_something_else_the_second_time_reaches_nobody(
    stand: Callable[..., Stand], visit: Callable[..., Visit], run: Run, sink: Sink
) -> None:
    """Links that only appear when what was made harmless is read again, or in a shadow tree."""
    link = f"<link rel='stylesheet preconnect' href={sink.origin}/{{}}>"
    quoted = link.format("m").replace("<", "&lt;").replace(">", "&gt;")
    documents = {
        "shadow": f"<div><template shadowrootmode=open>{link.format('t')}<slot></slot></template>x",
        "style": f'<math><mtext><table><mglyph><style><!--</style><img title="--&gt;{quoted}">',
        "nested": f"<form><math><mtext></form><form><mglyph><style></math>{link.format('n')}",
        "picture": "<body>x<svg><image href='data:image/png;base64,iVBORw0KGgo='></svg>"
        f"<svg><a xlink:href='{sink.origin}/x'><text y=20>y</text></a></svg>",
    }

    def fill(made: Stand) -> None:
        for name, text in documents.items():
            made.put(name, "production", text)

    here = stand(fill)
    file = here.place.root / "live.html"
    assert run("status", here.destination, "--html", file).code == 0
    page = visit(f"{file.as_uri()}#/?environment=production").page
    there(page, ".gallery iframe:not(.coming)", len(documents))
    page.wait_for_timeout(700)
    assert sink.hits == []
    whole = "".join(frame.content() for frame in page.frames[1:])
    assert "<link" not in whole
    assert "xlink" not in whole
    assert "data:image/png" in whole


def test_nothing_in_the_data_ends_its_element() -> None:
    html = as_file({"state": {"destinations": []}, "x": f"{NASTY}<!--"}).decode()
    start = html.index('<script type="application/json" id="data">') + 42
    data = html[start : html.index("</script>", start)]
    assert json.loads(data)["x"] == f"{NASTY}<!--"
