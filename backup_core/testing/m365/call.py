"""One authenticated request to Graph, with everything that a route needs to answer it."""

from dataclasses import dataclass

from backup_core.clock import Clock
from backup_core.testing.m365.directory import Directory, User
from backup_core.testing.m365.download_urls import DownloadUrls
from backup_core.testing.m365.drive import Drive
from backup_core.testing.m365.feed import Feed
from backup_core.testing.m365.graph_errors import GraphError, invalid_request, no_such_user, not_simulated
from backup_core.testing.m365.rendering import ItemRenderer
from backup_core.testing.m365.select import Selection, option
from backup_core.testing.m365.switches import Switches
from backup_core.testing.m365.tokens import Grant
from backup_core.testing.m365.wire import Request


class World:
    """What all requests share. `feeds`: by drive id, each made at the first delta request."""

    def __init__(self, directory: Directory, switches: Switches, clock: Clock) -> None:
        self.directory = directory
        self.switches = switches
        self.clock = clock
        self._feeds: dict[str, Feed] = {}

    def feed(self, drive: Drive) -> Feed:
        with drive.lock:
            if drive.id not in self._feeds:
                self._feeds[drive.id] = Feed(drive, self.switches, self.clock)
            return self._feeds[drive.id]


@dataclass(frozen=True)
class Call:
    """`graph_base` ends with the version; `turn` numbers the request."""

    request: Request
    grant: Grant
    world: World
    graph_base: str
    content_base: str
    turn: int

    @property
    def switches(self) -> Switches:
        return self.world.switches

    @property
    def directory(self) -> Directory:
        return self.world.directory

    def option(self, name: str) -> str | None:
        return option(self.request.query, name)

    def refuse_options(self, *names: str) -> None:
        """A query option that the simulator would have to ignore is refused: an ignored filter is a lie."""
        for name in names:
            if self.option(name) is not None:
                raise not_simulated(f"the query option ${name} here")

    def page_size(self, most: int) -> int:
        """`$top` can only lower what the switch says."""
        top = self.option("top")
        if top is None:
            return most
        if not top.isdigit() or int(top) == 0:
            raise invalid_request(f"Invalid page size specified: '{top}'.")
        return min(most, int(top))

    def me(self) -> User:
        """The signed-in user."""
        if self.grant.user is None:
            raise GraphError(400, "BadRequest", "/me request is only valid with delegated authentication flow.")
        user = self.directory.user(self.grant.user)
        if user is None:
            raise no_such_user(self.grant.user)
        return user

    def renderer(self, drive: Drive, *, in_feed: bool = False) -> ItemRenderer:
        downloads = DownloadUrls(
            self.content_base, self.directory.url_key, self.world.clock.now(), self.switches.download_url_seconds
        )
        selection = Selection.of(self.request.query)
        return ItemRenderer(drive, self.switches, downloads, selection, self.turn, in_feed=in_feed)
