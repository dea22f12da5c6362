"""The simulated Microsoft 365 as a whole: three origins, a proxy, and an end that hides nothing."""

import socket
import stat
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import requests

from backup_core.testing.fake_clock import FakeClock
from backup_core.testing.m365 import Alter, Close, Simulation, Status, WithoutLength
from backup_core.testing.m365.wire import Response


class _Client:
    def __init__(self, m365: Simulation, through_proxy: bool = False) -> None:
        self.m365 = m365
        self.session = requests.Session()
        self.session.trust_env = False  # a CA bundle of the machine would beat `verify`
        self.session.verify = str(m365.ca_file)
        if through_proxy:
            self.session.proxies = {"https": m365.proxy_url, "http": m365.proxy_url}

    def get(self, url: str, token: str | None = None, **more: Any) -> requests.Response:
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        return self.session.get(url, headers=headers, timeout=20, allow_redirects=False, **more)

    def app_token(self, authority: str) -> str:
        form = {
            "grant_type": "client_credentials",
            "client_id": self.m365.client_id,
            "client_secret": self.m365.client_secret,
            "scope": "https://graph.microsoft.com/.default",
        }
        url = f"{authority}/{self.m365.tenant.id}/oauth2/v2.0/token"
        return str(self.session.post(url, data=form, timeout=20).json()["access_token"])

    def __enter__(self) -> "_Client":
        return self

    def __exit__(self, *_: object) -> None:
        self.session.close()


@pytest.fixture
def m365() -> Iterator[Simulation]:
    with Simulation(users=2) as simulation:
        yield simulation


def test_the_way_from_sign_in_to_bytes(m365: Simulation) -> None:
    """An app signs in, lists users, follows the delta feed, and downloads a file from the content host."""
    m365.users[1].drive.put_file("/Documents/a.txt", b"hello")
    with _Client(m365) as client:
        token = client.app_token(m365.authority_url)
        users = client.get(f"{m365.graph_url}/v1.0/users", token).json()["value"]
        upn = users[1]["userPrincipalName"]
        feed = client.get(f"{m365.graph_url}/v1.0/users/{upn}/drive/root/delta", token).json()
        [item] = [item for item in feed["value"] if item["name"] == "a.txt"]
        drive = item["parentReference"]["driveId"]
        found = client.get(f"{m365.graph_url}/v1.0/drives/{drive}/items/{item['id']}/content", token)
        body = client.get(found.headers["location"])
    assert upn == m365.users[1].upn
    assert (found.status_code, body.content) == (302, b"hello")
    assert [entry.origin for entry in m365.log] == ["login", "graph", "graph", "graph", "content"]
    assert m365.log[-1].sent_bytes == 5


def test_three_origins_differ(m365: Simulation) -> None:
    """No two origins share scheme, host and port, and content lies on another host name."""
    places = [urlsplit(url) for url in (m365.graph_url, m365.authority_url, m365.content_url)]
    assert [place.hostname for place in places] == ["localhost", "localhost", "127.0.0.1"]
    assert len({place.port for place in places}) == 3
    assert {place.scheme for place in places} == {"https"}


def test_the_content_host_is_strict_unless_told_otherwise(m365: Simulation) -> None:
    """A token that follows a download link is refused, or with the lenient setting borne on business drives."""
    m365.users[0].drive.put_file("/a.txt", b"hello")
    with _Client(m365) as client:
        token = m365.users[0].access_token
        link = client.get(f"{m365.graph_url}/v1.0/me/drive/root:/a.txt:/content", token).headers["location"]
        assert client.get(link, token).status_code == 401
        assert client.get(link).content == b"hello"
        m365.switches.strict_content = False
        assert client.get(link, token).content == b"hello"


def test_tokens_of_a_user_open_the_users_own_drive(m365: Simulation) -> None:
    """Each user's tokens are theirs alone, and a token that is taken back is refused."""
    m365.users[0].drive.put_file("/mine.txt", b"1")
    m365.users[1].drive.put_file("/theirs.txt", b"2")
    with _Client(m365) as client:
        children = f"{m365.graph_url}/v1.0/me/drive/root/children"
        names = [client.get(children, user.access_token).json()["value"][0]["name"] for user in m365.users]
        token = m365.users[0].access_token
        m365.tokens.revoke_access()
        refused = client.get(children, token)
    assert names == ["mine.txt", "theirs.txt"]
    assert (refused.status_code, refused.json()["error"]["code"]) == (401, "InvalidAuthenticationToken")


def test_an_app_token_without_the_way_through_sign_in(m365: Simulation) -> None:
    """A test that is not about signing in gets the app's token at once, with the roles that the app has then."""
    with _Client(m365) as client:
        users = f"{m365.graph_url}/v1.0/users"
        assert client.get(users, m365.app_token()).status_code == 200
        m365.app.roles = frozenset()
        assert client.get(users, m365.app_token()).status_code == 403


# --- the proxy


def test_through_the_proxy_every_link_names_microsofts_hosts(m365: Simulation) -> None:
    """A client that knows only Microsoft's hosts meets no other name, from sign-in to the bytes."""
    drive = m365.users[0].drive
    for number in range(3):
        drive.put_file(f"/{number}.txt", b"hello")
    m365.switches.page_size = 2
    with _Client(m365, through_proxy=True) as client:
        discovery = client.get("https://login.microsoftonline.com/common/v2.0/.well-known/openid-configuration").json()
        token = client.app_token("https://login.microsoftonline.com")
        page = client.get(f"https://graph.microsoft.com/v1.0/drives/{drive.id}/root/delta", token).json()
        more = client.get(page["@odata.nextLink"], token).json()
        content = client.get(f"https://graph.microsoft.com/v1.0/drives/{drive.id}/root:/1.txt:/content", token)
        body = client.get(content.headers["location"])
    assert discovery["token_endpoint"].startswith("https://login.microsoftonline.com/")
    assert page["@odata.nextLink"].startswith("https://graph.microsoft.com/v1.0/")
    assert len(more["value"]) > 0
    assert urlsplit(content.headers["location"]).netloc == "contoso-my.sharepoint.com"
    assert body.content == b"hello"
    assert m365.proxy.refused == []


def test_outside_the_proxy_links_name_this_machine(m365: Simulation) -> None:
    """The same simulation answers direct clients with its own addresses, whatever others are told at the same time."""
    m365.users[0].drive.put_file("/a.txt", b"hello")
    path = "/v1.0/me/drive/root:/a.txt:/content"
    token = m365.users[0].access_token
    with _Client(m365) as direct, _Client(m365, through_proxy=True) as proxied:
        for _ in range(2):
            there = proxied.get("https://graph.microsoft.com" + path, token).headers["location"]
            here = direct.get(m365.graph_url + path, token).headers["location"]
            assert urlsplit(there).netloc == "contoso-my.sharepoint.com"
            assert here.startswith(m365.content_url + "/")


@pytest.mark.parametrize(
    "url",
    [
        "https://example.org/",
        "https://graph.microsoft.com:8443/",
        "https://not-graph.microsoft.com/",
        "https://graph.microsoft.com.example.org/",
        "https://localhost/",
        "http://example.org/",
    ],
)
def test_the_proxy_refuses_the_rest_of_the_world(m365: Simulation, url: str) -> None:
    """No other host, no other port, no plain HTTP: 403, and the refusal is remembered."""
    with _Client(m365, through_proxy=True) as client:
        if url.startswith("https"):
            with pytest.raises(requests.exceptions.ProxyError, match="403"):
                client.get(url)
        else:
            assert client.get(url).status_code == 403
    assert len(m365.proxy.refused) == 1
    assert len(m365.log) == 0


def test_the_proxy_passes_large_bodies_and_cuts(m365: Simulation) -> None:
    """Megabytes come through whole, and a cut arrives as a cut."""
    m365.users[0].drive.put_file("/big.bin", bytes(5_000_000))
    m365.faults.add("GET content", WithoutLength(after=1_234_567), nth=2)
    with _Client(m365, through_proxy=True) as client:
        token = m365.users[0].access_token
        where = "https://graph.microsoft.com/v1.0/me/drive/root:/big.bin:/content"
        link = client.get(where, token).headers["location"]
        assert client.get(link).content == bytes(5_000_000)
        assert client.get(link).content == bytes(1_234_567)


def test_a_proxied_client_that_leaves_frees_its_threads(m365: Simulation) -> None:
    """A tunnel ends with either side."""
    m365.users[0].drive.put_file("/a.txt", b"hello")
    with _Client(m365, through_proxy=True) as client:
        client.get("https://graph.microsoft.com/v1.0/me", m365.users[0].access_token)
    with socket.create_connection(("127.0.0.1", urlsplit(m365.proxy_url).port or 0), timeout=10) as bare:
        bare.sendall(b"CONNECT graph.microsoft.com:443 HTTP/1.1\r\n\r\n")
        assert bare.recv(100).startswith(b"HTTP/1.1 200")
    deadline = threading.Event()
    for _ in range(1000):
        if not [thread for thread in threading.enumerate() if thread.name == "m365-proxy-up"]:
            break
        deadline.wait(0.005)
    assert not [thread for thread in threading.enumerate() if thread.name == "m365-proxy-up"]


# --- settings for a command


def test_the_environment_leads_a_command_here(m365: Simulation) -> None:
    """A user's settings name both URLs, the hosts, the CA and a token file that only the owner may read."""
    settings = m365.environment(user=1)
    token_file = Path(settings["ONEDRIVE_TOKEN_FILE"])
    assert stat.S_IMODE(token_file.stat().st_mode) == 0o600
    assert settings["DRIVEKEEP_GRAPH_URL"] == m365.graph_url
    assert settings["DRIVEKEEP_AUTHORITY_URL"] == m365.authority_url
    assert settings["DRIVEKEEP_ALLOWED_HOSTS"] == "127.0.0.1"
    assert Path(settings["REQUESTS_CA_BUNDLE"]).read_text().startswith("-----BEGIN CERTIFICATE-----")
    assert "PRIVATE" not in Path(settings["REQUESTS_CA_BUNDLE"]).read_text()
    assert m365.environment(user=1)["ONEDRIVE_TOKEN_FILE"] != str(token_file)


def test_the_apps_environment_has_its_secret(m365: Simulation) -> None:
    """App-only settings carry tenant and secret, and no user's tokens."""
    settings = m365.environment(user=None)
    assert settings["DRIVEKEEP_CLIENT_SECRET"] == m365.client_secret
    assert settings["DRIVEKEEP_TENANT"] == m365.tenant.id
    assert "ONEDRIVE_TOKEN_FILE" not in settings


def test_the_services_environment_names_no_tenant(m365: Simulation) -> None:
    """A service learns its tenants by their consent; it has a secret or an identity, never both."""
    by_secret, by_identity = m365.service_environment(), m365.service_environment(managed_identity=True)
    for settings in (by_secret, by_identity):
        assert settings["DRIVEKEEP_CLIENT_ID"] == m365.client_id
        assert not {"DRIVEKEEP_TENANT", "ONEDRIVE_TOKEN_FILE"} & settings.keys()
    assert by_secret["DRIVEKEEP_CLIENT_SECRET"] == m365.client_secret
    assert not {name for name in by_secret if "IDENTITY" in name}
    assert "DRIVEKEEP_CLIENT_SECRET" not in by_identity
    assert by_identity["DRIVEKEEP_MANAGED_IDENTITY"] == m365.identity.client_id
    assert by_identity["IDENTITY_ENDPOINT"].startswith("http://127.0.0.1:")


def test_no_private_key_lies_on_the_disk(m365: Simulation) -> None:
    """Whoever trusts the CA file trusts nothing that anybody could sign with later."""
    texts = [path.read_text() for path in m365.folder.rglob("*") if path.is_file()]
    assert texts
    assert not any("PRIVATE KEY" in text for text in texts)


# --- start and end


def test_ids_depend_on_the_seed_alone() -> None:
    """Two simulations of one seed are the same tenant with the same users; another seed is another."""

    def names(seed: int) -> list[str]:
        with Simulation(seed=seed, clock=FakeClock()) as made:
            return [made.tenant.id, made.client_id, *(user.id for user in made.users), made.users[0].drive.id]

    assert names(1) == names(1)
    assert not set(names(1)) & set(names(2))


def test_a_fault_that_never_came_fails_the_test() -> None:
    """Leaving the simulation names the fault that nothing met."""
    with pytest.raises(AssertionError, match="GET /never"), Simulation() as simulation:
        simulation.faults.add("GET /never", Close())


def test_an_unfired_fault_does_not_hide_a_failure() -> None:
    """Where the body fails by itself, that failure is what is seen."""
    with pytest.raises(ZeroDivisionError), Simulation() as simulation:
        simulation.faults.add("GET /never", Close())
        raise ZeroDivisionError


def test_a_mistake_of_the_simulator_fails_the_test() -> None:
    """A route that raises cannot be passed over as one more 500."""

    def broken(_: Response) -> Response:
        raise LookupError("broken")

    with pytest.raises(LookupError, match="broken"), Simulation() as simulation, _Client(simulation) as client:
        simulation.faults.add("GET /v1.0/me", Alter(broken))
        assert client.get(f"{simulation.graph_url}/v1.0/me").status_code == 500


def test_nothing_is_left_behind() -> None:
    """No thread, no port and no file outlives a simulation."""
    with Simulation() as simulation, _Client(simulation) as client:
        client.get(f"{simulation.graph_url}/v1.0/me")
        folder, port = simulation.folder, urlsplit(simulation.graph_url).port or 0
    assert not folder.exists()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("m365-")]
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port), timeout=5)


def test_a_port_that_is_taken_leaves_nothing_behind() -> None:
    """A simulation that cannot start lets go of what it had opened."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        wanted = taken.getsockname()[1]
        simulation = Simulation(port=wanted - 1)
        with pytest.raises(OSError, match="in use"):
            simulation.__enter__()
    assert not simulation.folder.exists()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("m365-")]
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", wanted - 1), timeout=5)


def test_time_is_the_clock_that_was_given() -> None:
    """Tokens and download links expire by the simulation's clock, in no real time."""
    clock = FakeClock()
    with Simulation(clock=clock) as simulation, _Client(simulation) as client:
        simulation.users[0].drive.put_file("/a.txt", b"hello")
        token = simulation.users[0].access_token
        where = f"{simulation.graph_url}/v1.0/me/drive/root:/a.txt:/content"
        link = client.get(where, token).headers["location"]
        clock.advance(3601)
        assert client.get(link).status_code == 401
        assert client.get(where, token).status_code == 401
        assert client.get(where, simulation.users[0].access_token).status_code == 302


def test_a_user_without_a_drive_says_so(m365: Simulation) -> None:
    """Asking a test's user for a drive that they do not have is a clear error."""
    m365.directory.add_user("nobody", with_drive=False)
    with pytest.raises(LookupError, match="nobody@contoso"):
        _ = m365.users[2].drive


def test_faults_reach_each_origin(m365: Simulation) -> None:
    """The script covers sign-in as well as Graph and content."""
    m365.faults.add("POST login", Status(503, headers={"Retry-After": "1"}))
    m365.faults.add("GET graph /v1.0/me", Status(429))
    m365.faults.add("GET content", Status(502, "<html>"))
    with _Client(m365) as client:
        url = f"{m365.authority_url}/common/oauth2/v2.0/token"
        assert client.session.post(url, data={}, timeout=20).status_code == 503
        assert client.get(f"{m365.graph_url}/v1.0/me").status_code == 429
        assert client.get(f"{m365.content_url}/x").status_code == 502
