"""The one place that builds components from settings. It decides nothing that a setting or an argument has not said.

Each function imports the rooms that it builds from: who lists the snapshots of a folder need not wait until the SDKs of
Azure and of Microsoft's sign-in are loaded, which take half a second.
"""
# ruff: noqa: PLC0415

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from backup_core.clock import Clock
from backup_core.errors import AlreadyExists, NoRepository, NotFound, Usage
from backup_core.repository import layout
from backup_core.repository.repository import Repository
from backup_core.settings import Settings
from backup_core.settings.table import CLOUDS
from backup_core.storage.locations import AzureLocation, Location, parse_location
from backup_core.storage.memory import MemoryStore
from backup_core.storage.metered import MeteredStore
from backup_core.storage.read_only import ReadOnlyStore
from backup_core.storage.store import Store

if TYPE_CHECKING:
    import requests

    from backup_core.backup.job import Components
    from backup_core.graph.client import GraphClient, TokenSource
    from backup_core.graph.credential import ManagedIdentity
    from backup_core.graph.download import Downloads
    from backup_core.graph.gate import Gate
    from backup_core.graph.rate_limit import RateLimit
    from backup_core.graph.sign_in_host import SignInHost
    from backup_core.storage.azure_client import BlobAccount


MIB = 1 << 20
# A bigger pack costs fewer requests and more memory: on Azure requests are billed and slow, on a disk they are neither.
LOCAL_PACK_BYTES, AZURE_PACK_BYTES = 16 * MIB, 32 * MIB

_OTHER_STORE_THREADS = 8  # those that put packs, read the state and refresh the lock, beside the downloads

_SECRET, _CERTIFICATE, _IDENTITY = (
    "DRIVEKEEP_CLIENT_SECRET",
    "DRIVEKEEP_CLIENT_CERTIFICATE",
    "DRIVEKEEP_MANAGED_IDENTITY",
)

Password = Callable[[], str]


@dataclass(frozen=True)
class Place:
    """Where a repository lies, or will lie. `content_store`: the same objects, where data packs are put."""

    location: Location
    store: MeteredStore
    content_store: Store
    pack_bytes: int


def place_for(settings: Settings, clock: Clock, *, read_only: bool = False) -> Place:
    """Usage where no location is given, or one that cannot be served. `read_only`: nothing there can be changed."""
    settings.lend_to_libraries()
    location = parse_location(settings.location)
    if isinstance(location, AzureLocation):
        return _azure_place(settings, location, clock, read_only)
    from backup_core.storage.local_folder import LocalFolderStore

    folder = LocalFolderStore(location.path.expanduser())
    store = MeteredStore(ReadOnlyStore(folder) if read_only else folder)
    return Place(location, store, store, LOCAL_PACK_BYTES)


def _azure_place(settings: Settings, location: AzureLocation, clock: Clock, read_only: bool) -> Place:
    from backup_core.storage.azure_client import BlobAccount

    account = BlobAccount(
        settings.text("AZURE_STORAGE_CONNECTION_STRING") or None,
        settings.text("AZURE_ACCOUNT_NAME") or None,
        settings.text("AZURE_ACCOUNT_KEY") or None,
        CLOUDS[settings.text("DRIVEKEEP_CLOUD")].blob_suffix,
    )
    return azure_place(settings, account, location, clock, read_only=read_only)


def azure_place(
    settings: Settings, account: "BlobAccount", location: AzureLocation, clock: Clock, *, read_only: bool = False
) -> Place:
    """A place in an account that may be another than the settings' own; nothing is sent yet."""
    from backup_core.storage.azure_blob import HOT, AzureBlobStore

    def open_store(tier: str) -> Store:
        store = AzureBlobStore(
            account,
            location.container,
            location.prefix,
            clock=clock,
            tier_of=lambda name: tier,
            connections=settings.number("DRIVEKEEP_MAX_CONCURRENT_THREADS") + _OTHER_STORE_THREADS,
            retries=settings.number("DRIVEKEEP_HTTP_RETRIES"),
        )
        return ReadOnlyStore(store) if read_only else store

    tier = settings.text("DRIVEKEEP_ACCESS_TIER")
    store = MeteredStore(open_store(HOT))
    content_store = store if tier == HOT else MeteredStore(open_store(tier), store.meter)
    return Place(location, store, content_store, AZURE_PACK_BYTES)


def place_in_memory(place: Place, clock: Clock) -> Place:
    """Stands in a dry run for a repository that is not there; it is gone when the program ends."""
    store = MeteredStore(MemoryStore(clock))
    return replace(place, store=store, content_store=store)


def is_there(place: Place) -> bool:
    """Whether there is a repository."""
    try:
        place.store.size(layout.CONFIG)
    except NotFound:
        return False
    return True


def open_repository(place: Place, password: Password) -> Repository:
    """NoRepository, before anybody is asked for a password; WrongPassword."""
    if not is_there(place):
        raise NoRepository(
            f"There is no repository at {place.location}.",
            why="It has no `config`.",
            remedy="Check the location (-r, DRIVEKEEP_REPOSITORY), or make a repository there with `drivekeep init`.",
        )
    return Repository.open(place.store, password(), place.content_store)


def make_repository(place: Place, clock: Clock, password: Password) -> Repository:
    """A new one. AlreadyExists where there is one; NoRepository where something else lies."""
    if is_there(place):
        raise AlreadyExists(
            f"There is a repository at {place.location} already.",
            remedy="Use it as it is, or choose an empty place for a new one.",
        )
    return Repository.create(place.store, password(), clock, place.content_store)


def open_or_make_repository(place: Place, clock: Clock, password: str) -> Repository:
    """For a backup, whose first one makes the repository. NoRepository where something else lies."""
    return Repository.open_or_create(place.store, password, clock, place.content_store)


@dataclass(frozen=True)
class Graph:
    """The way to Microsoft, signed in when the first request is sent."""

    client: "GraphClient"
    downloads: "Downloads"


def graph_for(
    settings: Settings,
    clock: Clock,
    *,
    app_only: bool,
    on_wait: Callable[[float], None] | None = None,
    download_bytes_per_second: float | None = None,
) -> Graph:
    """`app_only`: with the app's own access to a tenant's drives; otherwise with that of the signed-in user.

    Usage where a setting that this needs is missing or cannot be used; nothing is sent yet.
    """
    from backup_core.graph.gate import Gate
    from backup_core.graph.rate_limit import RateLimit
    from backup_core.graph.transport import new_session

    settings.lend_to_libraries()
    if settings.text("DRIVEKEEP_HTTP_VERSION") == "2":
        raise _not_built("DRIVEKEEP_HTTP_VERSION=2", "Leave it out: HTTP/1.1 is used.")
    session = new_session(settings.number("DRIVEKEEP_MAX_CONCURRENT_THREADS"))
    patience = settings.number("DRIVEKEEP_THROTTLE_PATIENCE")
    host = sign_in_host(settings, clock, session, patience, on_wait)
    tokens = (
        app_only_tokens(settings, host, settings.text("DRIVEKEEP_TENANT")) if app_only else _signed_in(settings, host)
    )
    limit = RateLimit(download_bytes_per_second, clock) if download_bytes_per_second else None
    return graph_with(settings, clock, session, tokens, Gate(clock, on_wait), patience, limit)


def sign_in_host(
    settings: Settings,
    clock: Clock,
    session: "requests.Session",
    patience: float,
    on_wait: Callable[[float], None] | None = None,
) -> "SignInHost":
    """It has a gate of its own: throttling there says nothing about Graph."""
    from backup_core.graph.gate import Gate
    from backup_core.graph.sign_in_host import SignInHost

    retries = settings.number("DRIVEKEEP_HTTP_RETRIES")
    return SignInHost(settings.authority_url, session, Gate(clock, on_wait), retries, patience)


def graph_with(
    settings: Settings,
    clock: Clock,
    session: "requests.Session",
    tokens: "TokenSource",
    gate: "Gate",
    patience: float,
    limit: "RateLimit | None" = None,
) -> Graph:
    """A client whose counters begin at zero; session, tokens and gate may be shared with others."""
    from backup_core.graph.client import GraphClient
    from backup_core.graph.download import Downloads
    from backup_core.graph.links import LinkRule

    retries = settings.number("DRIVEKEEP_HTTP_RETRIES")
    rule = LinkRule(settings.graph_url, settings.allowed_hosts, settings.text("DRIVEKEEP_CLOUD"))
    client = GraphClient(settings.graph_url, tokens, rule, gate, clock, session, retries, patience)
    return Graph(client, Downloads(client, session, rule, gate, clock, retries, patience, limit))


def components_for(place: Place, repository: Repository, graph: Graph, clock: Clock) -> "Components":
    """What a backup works with."""
    from backup_core.backup.job import Components

    return Components(repository, graph.client, graph.downloads, clock, place.store, place.pack_bytes)


class Proof(NamedTuple):
    """What the app proves itself with: exactly one of the three is given."""

    secret: str | None = None
    certificate: Path | None = None
    identity: "ManagedIdentity | None" = None


def proof_of(settings: Settings, clock: Clock) -> Proof:
    """Usage where it is none or several."""
    given = settings.strongest(_SECRET, _CERTIFICATE, _IDENTITY)
    if len(given) != 1:
        raise Usage(
            f"{' and '.join(given)} are set." if given else "The app has nothing to prove itself with.",
            why="App-only access needs exactly one proof.",
            remedy=f"Set exactly one of {_IDENTITY}, {_CERTIFICATE} and {_SECRET}.",
        )
    text = settings.text(given[0])
    if given == [_SECRET]:
        return Proof(secret=text)
    if given == [_CERTIFICATE]:
        return Proof(certificate=Path(text).expanduser())
    from backup_core.graph.credential import AUDIENCES, ManagedIdentity

    audience, retries = AUDIENCES[settings.text("DRIVEKEEP_CLOUD")], settings.number("DRIVEKEEP_HTTP_RETRIES")
    return Proof(identity=ManagedIdentity(text, clock, audience=audience, retries=retries))


def app_only_tokens(settings: Settings, host: "SignInHost", tenant: str, proof: Proof | None = None) -> "TokenSource":
    """The app's own access to a tenant. Usage where there is no registration, or nothing to prove it with."""
    from backup_core.graph.sign_in import AppOnly

    if not settings.own_client:
        raise Usage(
            "DRIVEKEEP_CLIENT_ID is not set.",
            why="Access to other people's drives needs an app registration of your own.",
            remedy="Set it to the application id of a registration that has the role Files.Read.All.",
        )
    proof = proof or proof_of(settings, host.gate.clock)
    client_id = settings.text("DRIVEKEEP_CLIENT_ID")
    return AppOnly(host, tenant, client_id, settings.graph_url, **proof._asdict())


def _signed_in(settings: Settings, host: "SignInHost") -> "TokenSource":
    from backup_core.graph.sign_in import SignedIn
    from backup_core.graph.token_file import TokenFile

    kept, tenant = TokenFile(settings.token_file), settings.text("DRIVEKEEP_TENANT") or "common"
    return SignedIn(host, kept, settings.text("DRIVEKEEP_CLIENT_ID"), settings.graph_url, tenant)


def _not_built(what: str, remedy: str) -> Usage:
    return Usage(f"{what} is not supported by this version.", remedy=remedy)
