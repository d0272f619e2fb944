"""A real browser for the page, and folders for what it looked like."""

from __future__ import annotations

import os
import shutil
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.page.stand import Sink, Stand

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from playwright.sync_api import Browser, ConsoleMessage, Page

WIDE = {"width": 1280, "height": 900}
PHONE = {"width": 390, "height": 844}
_FLAGS = ("--no-sandbox", "--disable-dev-shm-usage", "--allow-loopback-in-peer-connection")


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """Debian's Chromium, driven by playwright."""
    api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    path = shutil.which("chromium") or shutil.which("google-chrome")
    if path is None:
        pytest.skip("there is no Chromium (Debian: apt-get install chromium)")
    with api.sync_playwright() as driver:
        found = driver.chromium.launch(executable_path=path, args=list(_FLAGS))
        yield found
        found.close()


class Visit:
    """One visitor's tab. requests: of everything in it; errors: of the page's own script."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.requests: list[str] = []
        self.errors: list[str] = []
        page.set_default_timeout(15_000)
        page.on("request", lambda request: self.requests.append(request.url))
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.on("console", self._heard)

    def _heard(self, said: ConsoleMessage) -> None:
        """What the page's own policy refuses the page is a defect of the page."""
        if "Content Security Policy" in said.text and "page/document" not in said.location["url"]:
            self.errors.append(said.text)


@pytest.fixture
def visit(browser: Browser) -> Iterator[Callable[..., Visit]]:
    """Opens a tab at an address; everything of it is closed with the test."""
    with ExitStack() as stack:

        def opened(url: str, **options: Any) -> Visit:
            context = browser.new_context(**{"viewport": WIDE, "locale": "en-GB", **options})
            stack.callback(context.close)
            visitor = Visit(context.new_page())
            visitor.page.goto(url)
            return visitor

        yield opened


@pytest.fixture
def stand(tmp_path: Path) -> Iterator[Callable[..., Stand]]:
    """Makes a stand, to be filled before it is entered with `with`-less `start`."""
    with ExitStack() as stack:

        def started(fill: Callable[[Stand], object], **admin: Any) -> Stand:
            made = Stand(tmp_path / "stand", **admin)
            fill(made)
            return stack.enter_context(made)

        yield started


@pytest.fixture
def sink() -> Iterator[Sink]:
    """Somewhere on the network that nobody should reach."""
    made = Sink()
    yield made
    made.close()


@pytest.fixture(scope="session")
def screenshots(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the tests leave what the page looked like: TEST_SCREENSHOTS, or a temporary folder."""
    given = os.environ.get("TEST_SCREENSHOTS")
    folder = Path(given) if given else tmp_path_factory.mktemp("screenshots")
    folder.mkdir(parents=True, exist_ok=True)
    return folder
