"""The pages as text: what they are told, what they say, and what no page may ever hold."""

import datetime
import re
import tomllib
from html.parser import HTMLParser
from pathlib import Path
from typing import get_args

import jinja2
import pytest
from support.gallery import HOSTILE, NOW, gallery

from backup_core.onboarding import consent
from backup_core.triggers import outcomes, pages
from backup_core.triggers.outcomes import OUTCOMES

_ROOT = Path(__file__).parents[2]
_TRIGGERS = _ROOT / "backup_core" / "triggers"
_TEMPLATES = sorted((_TRIGGERS / "templates").iterdir())
_GALLERY = gallery()


def _rendered(name: str) -> str:
    page, data = _GALLERY[name]
    return pages.render(page, **data)


# -- what pages are told -----------------------------------------------------------------------------------------------


def _told() -> dict[str, set[str]]:
    """Per page, the names of its data as the module's description has them."""
    described = str(pages.__doc__).partition("be given):\n\n")[2]
    told: dict[str, set[str]] = {}
    for name, text in re.findall(r"^(\w+) +(.*(?:\n .*)*)", described, re.MULTILINE):
        outside = re.sub(r"\([^)]*\)", "", text)
        told[name] = {part.split()[0].partition("=")[0] for part in outside.split(",")}
    return told


def test_every_page_is_described() -> None:
    """Whoever renders a page finds in the module what it may be told; the gallery shows that no page needs more."""
    told = _told()
    assert told.keys() == pages._DEFAULTS.keys() == {path.stem for path in _TEMPLATES} - {"base", "parts"}
    for page, data in _GALLERY.values():
        assert data.keys() | pages._DEFAULTS[page].keys() <= told[page], page
    for path in _TEMPLATES:
        for name in told.get(path.stem, ()):
            assert re.search(rf"\b{name}\b", path.read_text()), f"{path.stem} does not show {name}"


@pytest.mark.parametrize("page", _told())
def test_a_page_without_its_data_is_an_error(page: str) -> None:
    """No page is shown with a hole where a fact should be."""
    told = {name: data for name, (kind, data) in _GALLERY.items() if kind == page}
    data = dict(next(iter(told.values())))
    needed = _told()[page] - pages._DEFAULTS[page].keys()
    assert needed <= data.keys()
    for name in needed:
        with pytest.raises(jinja2.UndefinedError):
            pages.render(page, **{key: value for key, value in data.items() if key != name})


@pytest.mark.parametrize(("seconds", "words"), [(-5, "just now"), (59, "just now"), (60, "1 minute ago")])
@pytest.mark.parametrize(("days", "more"), [(0, ""), (1, "1 day ago"), (2_000, "2,000 days ago")])
def test_times_are_told_in_words(seconds: int, words: str, days: int, more: str) -> None:
    """The largest whole unit; a clock that is ahead is no reason for a time in the future."""
    assert pages._ago(NOW - datetime.timedelta(days=days, seconds=seconds if not days else 0), NOW) == (more or words)


# -- what outcomes say -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", OUTCOMES)
def test_every_outcome_says_what_to_do(kind: str) -> None:
    """Each ending has what happened and the next step in whole sentences, and a button where there is a way on."""
    told = OUTCOMES[kind]
    assert told.tone in get_args(outcomes.Tone)
    for text in (told.what, told.next):
        assert text[0].isupper() or text.startswith("drivekeep")
        assert text.endswith(".")
    html = _rendered(f"outcome-{kind}")
    assert f"<h1>{told.title}</h1>" in html.replace("&#39;", "'")
    assert ('<a class="button"' in html) == bool(told.action)
    assert told.action or told.tone != "problem", "whoever failed can try again"


def test_every_way_that_consent_ends_has_its_page() -> None:
    """What onboarding can find out can be told."""
    assert set(get_args(consent.Kind)) <= OUTCOMES.keys()


def test_the_outcomes_differ() -> None:
    """Nobody reads on one page what belongs to another."""
    assert len({told.title for told in OUTCOMES.values()}) == len(OUTCOMES) == 12
    assert len({told.what for told in OUTCOMES.values()}) == len(OUTCOMES)


def test_an_outcome_leads_back_to_the_way_it_came() -> None:
    """Who connected one account starts again there, and not with a whole organisation."""
    assert 'href="/connect">Start again' in pages.render("outcome", kind="expired", way="connect")
    assert "Ask an administrator" in _rendered("outcome-not-admin-one")
    assert 'href="/onboard">Start again' in pages.render("outcome", kind="expired")
    assert 'href="/">Open the overview' in pages.render("outcome", kind="already-connected", way="connect")


# -- what no page holds ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", _GALLERY)
def test_a_page_holds_nothing_that_the_policy_forbids(name: str) -> None:
    """No script, no style in the page, nothing from another host: the strict policy costs nothing."""
    tags = _tags(_rendered(name))
    assert not {tag for tag, _ in tags} & {"script", "style", "iframe", "object", "embed", "base", "form"}
    assert not [given for _, attributes in tags for given in attributes if re.match(r"style$|on", given)]
    loaded = [given.get("href") or given["src"] for tag, given in tags if tag in ("link", "img")]
    assert len(loaded) >= 3
    assert all(pages.asset(address.removeprefix("/assets/")) for address in loaded)
    for address in [given["href"] for tag, given in tags if tag == "a"]:
        assert re.match(r"/(?!/)|#main$|https://(account|myapplications)\.microsoft\.com(/|$)", address)


def _tags(html: str) -> list[tuple[str, dict[str, str]]]:
    """Every tag of a page with its attributes, as a browser reads them."""
    found: list[tuple[str, dict[str, str]]] = []

    class Reader(HTMLParser):
        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            found.append((tag, {name: value or "" for name, value in attrs}))

    Reader().feed(html)
    return found


def test_nothing_that_a_page_is_told_becomes_markup() -> None:
    """Every value that somebody else can choose is escaped, wherever it stands."""
    for name in ("overview-hostile", "outcome-hostile", "connected-hostile", "error-hostile"):
        html = _rendered(name)
        for forbidden in ("<script", "<img src=x", "<svg onload", "onmouseover='", "49"):
            assert forbidden not in html, name
    assert "&lt;script&gt;" in _rendered("overview-hostile")


def test_templates_never_trust_a_value() -> None:
    """There is no way around the escaping in any template."""
    for path in _TEMPLATES:
        assert not re.search(r"\|\s*safe\b|autoescape|Markup", path.read_text()), path.name


def test_values_do_not_run_as_templates() -> None:
    """A name is data also for the template engine."""
    assert "{{7*7}}" in pages.render("connected", name=HOSTILE[5])


# -- files -------------------------------------------------------------------------------------------------------------


def test_files_are_named_by_their_content() -> None:
    """A browser may keep a file for ever, since another content has another name; no other name leads to any file."""
    names = re.findall(r'"/assets/([^"]+)"', _rendered("overview-safe"))
    assert len(names) == 4
    for name in names:
        found = pages.asset(name)
        assert found is not None
        assert found.body
        assert re.fullmatch(r"[a-z]+\.[0-9a-f]{12}\.(css|svg)", name)
    for name in ("", "app.css", "../pages.py", "..%2fpages.py", names[0].upper(), f"{names[0]}/", "\x00"):
        assert pages.asset(name) is None


def test_every_file_travels_with_the_package() -> None:
    """An installed wheel has the templates and what they refer to."""
    packaged = tomllib.loads((_ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["package-data"]
    found = {path for pattern in packaged["backup_core"] for path in (_ROOT / "backup_core").glob(pattern)}
    assert set(_TEMPLATES) | set((_TRIGGERS / "assets").iterdir()) <= found


def test_styles_ask_no_other_host() -> None:
    """No font, picture or sheet is fetched from anywhere."""
    for path in (_TRIGGERS / "assets").iterdir():
        assert not re.search(r"url\(|@import|@font-face|<script|href=", path.read_text()), path.name
