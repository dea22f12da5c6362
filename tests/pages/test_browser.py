"""Every page in Debian's Chromium, as a person meets it who sees it, hears it, or has only a keyboard."""

import itertools
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, sync_playwright
from support.gallery import HOSTILE, gallery, serve_gallery

_CHROMIUM = Path("/usr/bin/chromium")
_AXE = Path(__file__).parents[2] / "node_modules" / "axe-core" / "axe.min.js"

pytestmark = pytest.mark.skipif(
    not (_CHROMIUM.exists() and _AXE.exists()) and os.environ.get("CI") != "true",
    reason="needs Debian's chromium, and axe-core in node_modules",
)

_WIDTHS = (360, 1280)
_COLOURS = ("light", "dark")
_GALLERY = gallery()

# The policy's reports arrive as events of the page; they are collected before any script of it could run.
_COLLECT = """
window.reports = [];
document.addEventListener("securitypolicyviolation", event =>
  window.reports.push(event.violatedDirective + " " + event.blockedURI));
"""
# What sticks out at the side, of the page or of what it stands in.
_TOO_WIDE = """() => [...document.querySelectorAll("main, main *:not(svg *, .unseen), header *, footer *")]
  .filter(each => each.getBoundingClientRect().right > document.documentElement.clientWidth + 0.5
    || each.clientWidth && each.scrollWidth > each.clientWidth + 1)
  .map(each => each.outerHTML.slice(0, 120))"""
_LONGER = """() => {
  const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (texts.nextNode())
    if (texts.currentNode.data.trim()) texts.currentNode.data += " Sicherungsberechtigungsnachweis";
}"""
_SERIOUS = """async () => (await axe.run(document, {resultTypes: ['violations'], preload: false})).violations
  .filter(each => ["serious", "critical"].includes(each.impact))
  .map(each => each.id + ": " + each.nodes.map(node => node.target + " " + node.failureSummary).join("; "))"""


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    with serve_gallery() as served:
        yield served


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=_CHROMIUM, args=["--no-sandbox"])
        yield launched
        launched.close()


@pytest.fixture(scope="module")
def page(browser: Browser) -> Iterator[Page]:
    """One window for all pages; motion is reduced, so that nothing is measured halfway."""
    context = browser.new_context(reduced_motion="reduce")
    context.add_init_script(_COLLECT)
    yield context.new_page()
    context.close()


def _set_width(page: Page, width: int) -> None:
    page.set_viewport_size({"width": width, "height": 800})


@pytest.mark.parametrize("name", _GALLERY)
def test_a_page_is_sound(page: Page, address: str, name: str) -> None:
    """On a phone and on a desk, light and dark: nothing beyond the right edge, no serious finding of axe, no error on
    the console, no report of the policy.
    """
    page.goto(f"{address}/{name}")
    assert page.evaluate("getComputedStyle(document.body).display") == "flex"  # the stylesheet was let in
    assert page.evaluate("window.reports") == []
    page.evaluate(_AXE.read_text())
    for width, colours in itertools.product(_WIDTHS, _COLOURS):
        _set_width(page, width)
        page.emulate_media(color_scheme=colours)
        assert page.evaluate("document.documentElement.scrollWidth") == width
        assert page.evaluate(_TOO_WIDE) == []
        assert page.evaluate(_SERIOUS) == [], (width, colours)
    assert [*page.console_messages(), *page.page_errors()] == []


def test_each_set_of_colours_is_a_set_of_its_own(page: Page, address: str) -> None:
    """What the test above looks at twice is not the same twice."""
    page.goto(f"{address}/welcome")
    seen = set()
    for colours in _COLOURS:
        page.emulate_media(color_scheme=colours)
        seen.add(page.evaluate("getComputedStyle(document.body).backgroundColor"))
    assert len(seen) == len(_COLOURS)


@pytest.mark.parametrize("name", ["welcome", "onboard", "connect", "outcome-expired", "error", "overview-empty"])
@pytest.mark.parametrize("width", _WIDTHS)
def test_the_keyboard_reaches_the_main_button(page: Page, address: str, name: str, width: int) -> None:
    """The first key leads past the head of the page, the next ones to its button, and each place on the way is seen."""
    _set_width(page, width)
    page.goto(f"{address}/{name}")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    assert page.locator(".skip").bounding_box()["y"] >= 0
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "main"
    page.keyboard.press("Tab")
    focused = "getComputedStyle(document.activeElement)"
    assert page.evaluate("document.activeElement === document.querySelector('main .button')")
    assert page.evaluate(f"{focused}.outlineStyle") == "solid"
    assert page.evaluate(f"parseFloat({focused}.outlineWidth)") >= 2


def test_names_show_as_the_text_that_they_are(page: Page, address: str) -> None:
    """Whatever an organisation is called, that is what is read, and nothing of it acts."""
    page.goto(f"{address}/overview-hostile")
    shown = [each.text_content() for each in page.locator("h3 bdi").all()]
    assert shown == [text.replace("\x00", "") for text in HOSTILE]  # a browser passes over NUL
    for each in page.locator("h3").all():
        each.hover()
    assert page.title() == "Overview · drivekeep"
    assert page.locator("main img, main script, svg[onload]").count() == 0


@pytest.mark.parametrize("name", ["welcome", "onboard", "connect", "outcome-portal", "connected", "overview-degraded"])
@pytest.mark.parametrize("width", _WIDTHS)
def test_longer_words_and_larger_letters_fit(page: Page, address: str, name: str, width: int) -> None:
    """A translation into German, or letters of twice the size, push nothing over the edge."""
    _set_width(page, width)
    page.goto(f"{address}/{name}")
    page.evaluate(_LONGER)
    assert page.evaluate(_TOO_WIDE) == []
    page.evaluate("document.documentElement.style.fontSize = '200%'")
    assert page.evaluate(_TOO_WIDE) == []


def test_nothing_moves_for_whoever_wants_no_motion(browser: Browser, address: str) -> None:
    """The only motion there is, the button's change of colour, is left out where the system asks for that."""
    for wish, seconds in (("no-preference", "0.12s, 0.12s"), ("reduce", "0s")):
        page = browser.new_page(reduced_motion=wish)
        page.goto(f"{address}/welcome")
        assert page.locator(".button").first.evaluate("each => getComputedStyle(each).transitionDuration") == seconds
        page.close()


@pytest.mark.parametrize("name", ["overview-many", "overview-hostile"])
def test_a_page_is_small(browser: Browser, address: str, name: str) -> None:
    """With its files, a full page takes less than 100 kB: it is there at once also by telephone."""
    sizes: list[int] = []
    page = browser.new_page()
    page.on("response", lambda response: sizes.append(len(response.body())))
    page.goto(f"{address}/{name}", wait_until="networkidle")
    page.close()
    assert len(sizes) >= 3
    assert sum(sizes) < 100_000
