"""The running app as the demo meets it over HTTP: as a browser that follows links, and as a program with a key."""

import html
import re
import secrets
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, TypeVar
from urllib.parse import urljoin, urlsplit

import requests

from backup_core.cli.shell import last_words
from backup_core.clock import Clock
from backup_core.errors import DrivekeepError

_ANSWER_SECONDS = 60.0  # a consent that is slow to arrive is waited for within the app's 30
_LOOK_SECONDS = 0.5  # between two looks at something that is going on
_PATIENCE_SECONDS = 180.0  # for one step of the story; on two quiet cores the longest takes ten
_BUTTON = re.compile(r'<a class="button" href="([^"]+)"')
_HEADLINE = re.compile(r"<h1>(.*?)</h1>", re.DOTALL)

T = TypeVar("T")


@dataclass(frozen=True)
class Keys:
    """What the app must be told before it starts: for programs, and for its admin route."""

    api: str = field(repr=False)
    admin: str = field(repr=False)

    @classmethod
    def random(cls) -> "Keys":
        return cls(secrets.token_urlsafe(24), secrets.token_urlsafe(24))


class Hop(NamedTuple):
    """One request of the browser. `address` is told without its query: that holds states, and later codes."""

    status: int
    address: str


class Page(NamedTuple):
    """Where the browser has arrived. `button`: the link that stands out on it, "" where none does."""

    hops: list[Hop]
    headline: str
    button: str


class Browser:
    """Keeps cookies and follows redirects, to the sign-in host and back; each click starts from the page before it."""

    def __init__(self, app: str, ca_file: Path) -> None:
        self._at = app
        self._session = requests.Session()
        self._session.trust_env = False  # a proxy of the machine's owner leads to no simulated host
        self._session.verify = str(ca_file)

    def open(self, link: str) -> Page:
        """Raises DrivekeepError where it does not end on a page of status 200."""
        response = _answered(lambda: self._session.get(urljoin(self._at, link), timeout=_ANSWER_SECONDS))
        self._at = response.url
        hops = [Hop(each.status_code, _without_query(each.url)) for each in (*response.history, response)]
        _check(response, 200)
        headline, button = _HEADLINE.search(response.text), _BUTTON.search(response.text)
        return Page(
            hops,
            html.unescape(headline[1]).strip() if headline else "",
            html.unescape(button[1]) if button else "",
        )


class App:
    """The JSON routes and the admin route. Whatever is not answered as it should be raises DrivekeepError."""

    def __init__(self, address: str, keys: Keys, log: Path, clock: Clock) -> None:
        self.address = address
        self._keys, self._log, self._clock = keys, log, clock
        self._session = requests.Session()
        self._session.trust_env = False

    def get(self, path: str) -> Any:
        return self._ask("GET", path, 200).json()

    def items(self, path: str) -> Iterator[Any]:
        """Everything in a list, page after page."""
        following: str | None = path
        while following:
            page = self.get(following)
            yield from page["items"]
            following = page["next"]

    def start_run(self, wanted: Mapping[str, str]) -> str:
        """The address at which the run can be followed."""
        return str(self._ask("POST", "/api/runs", 202, json=wanted).headers["Location"])

    def tick(self) -> None:
        """The timer's function, now."""
        self._ask("POST", "/admin/functions/tick", 202, json={}, headers={"x-functions-key": self._keys.admin})

    def wait_for(self, look: Callable[[], T | None], what: str) -> T:
        """What `look` finds as soon as it finds something. DrivekeepError after some minutes."""
        deadline = self._clock.monotonic() + _PATIENCE_SECONDS
        while (found := look()) is None:
            if self._clock.monotonic() > deadline:
                raise DrivekeepError(
                    f"{what} did not come about within {_PATIENCE_SECONDS:.0f} seconds.",
                    why=f"The app said last: {last_words(self._log)}",
                    remedy="Run the demo again when the machine is less busy; else please report it.",
                )
            self._clock.sleep(_LOOK_SECONDS)
        return found

    def _ask(
        self, method: str, path: str, status: int, *, json: Any = None, headers: Mapping[str, str] | None = None
    ) -> requests.Response:
        response = _answered(
            lambda: self._session.request(
                method,
                urljoin(self.address, path),
                json=json,
                headers=headers or {"x-drivekeep-key": self._keys.api},
                timeout=_ANSWER_SECONDS,
                allow_redirects=False,
            )
        )
        _check(response, status)
        return response


def _answered(ask: Callable[[], requests.Response]) -> requests.Response:
    try:
        return ask()
    except requests.RequestException as error:  # its text may be an address with a state in it
        raise DrivekeepError(
            f"The app does not answer: {type(error).__name__}.",
            why="Either it has ended, or the machine is too busy.",
            remedy="Run the demo again; with --keep its log stays in the folder that is named.",
        ) from None


def _check(response: requests.Response, status: int) -> None:
    if response.status_code != status:
        method, address = response.request.method, _without_query(response.url)
        raise DrivekeepError(
            f"{method} {address} was answered with {response.status_code} instead of {status}.",
            remedy="This must not happen: please report it to the project.",
        )


def _without_query(address: str) -> str:
    return urlsplit(address)._replace(query="", fragment="").geturl()
