"""What the log tells of requests in time: which came too early, how many at once, and whose they were."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import requests

from backup_core.testing.fake_clock import FakeClock
from backup_core.testing.m365 import Close, Reset, Simulation, Slow, Status
from backup_core.testing.m365.log import RequestLog
from backup_core.testing.m365.parties import Party
from backup_core.testing.m365.wire import Request


class _Traffic:
    """A log whose requests are said to be of whichever party their path names: `/tenant/app/drive`."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.log = RequestLog(clock=self.clock, party_of=lambda request: Party(*request.path[1:].split("/")))

    def arrive(self, path: str, origin: Any = "graph") -> Any:
        return self.log.arrive(Request(origin, "GET", path))

    def ask(self, path: str, origin: Any = "graph", status: int = 200, retry_after: str | None = None) -> None:
        arrival = self.arrive(path, origin)
        self.log.add(arrival, status, self.clock.now(), retry_after)
        self.log.leave(arrival)


@pytest.fixture
def traffic() -> _Traffic:
    return _Traffic()


def _early(traffic: _Traffic, grace: float = 0.5) -> list[str]:
    return [entry.path for entry in traffic.log.early(grace)]


def test_a_request_before_its_time_is_told(traffic: _Traffic) -> None:
    """Who comes back before the announced second is named with how much was left; who waits is not."""
    traffic.ask("/t/a/1", status=429, retry_after="10")
    traffic.clock.advance(9)
    traffic.ask("/t/a/early")
    traffic.clock.advance(1)
    traffic.ask("/t/a/in-time")
    assert _early(traffic) == ["/t/a/early"]
    assert (traffic.log[1].early_by, traffic.log[1].known_for) == (1, 9)


def test_a_fraction_of_a_second_counts(traffic: _Traffic) -> None:
    """`2.128` is not 2."""
    traffic.ask("/t/a/1", status=429, retry_after="2.128")
    traffic.clock.advance(2.05)
    traffic.ask("/t/a/early")
    traffic.clock.advance(0.04)
    traffic.ask("/t/a/a-waking-system-may-be-so-inexact")
    assert _early(traffic) == ["/t/a/early"]


def test_who_was_on_the_way_could_not_know(traffic: _Traffic) -> None:
    """Requests shortly after the announcement are no fault, and processes may be given longer to hear of it."""
    traffic.ask("/t/a/1", status=429, retry_after="60")
    traffic.clock.advance(0.4)
    traffic.ask("/t/a/on-its-way")
    traffic.clock.advance(4)
    traffic.ask("/t/a/another-process")
    assert _early(traffic) == ["/t/a/another-process"] and not traffic.log.early(grace=5)


def test_a_later_announcement_does_not_hide_an_earlier_one(traffic: _Traffic) -> None:
    """What has been known for long stays known when somebody else is refused as well, and a shorter one shortens
    nothing."""
    traffic.ask("/t/a/1", status=429, retry_after="10")
    traffic.clock.advance(5)
    traffic.ask("/t/a/2", status=429, retry_after="1")
    traffic.clock.advance(0.1)
    traffic.ask("/t/a/3")
    assert _early(traffic) == ["/t/a/2", "/t/a/3"]
    assert traffic.log[2].early_by == pytest.approx(4.9)


def test_an_announcement_is_for_one_tenant_app_and_host(traffic: _Traffic) -> None:
    """Others need not wait."""
    traffic.ask("/t/a/1", status=429, retry_after="60")
    traffic.clock.advance(30)
    traffic.ask("/u/a/1")
    traffic.ask("/t/b/1")
    traffic.ask("/t/a/1", origin="content")
    assert not traffic.log.early()


def test_in_flight_is_counted_by_tenant(traffic: _Traffic) -> None:
    """The greatest number at once, however many came in all; signing in does not count."""
    first, second = traffic.arrive("/t/a/1"), traffic.arrive("/t/a/2")
    traffic.arrive("/t", "login")
    traffic.log.leave(first)
    traffic.log.leave(first)
    third = traffic.arrive("/t/a/3", "content")
    traffic.ask("/u/a/1")
    assert (traffic.log.peak("t"), traffic.log.peak("u"), traffic.log.peak("nobody")) == (2, 1, 0)
    traffic.log.clear()
    for arrival in (second, third):
        traffic.log.leave(arrival)
    traffic.ask("/t/a/1")
    assert traffic.log.peak("t") == 1


def test_drives_at_work_are_counted_from_first_to_last_request(traffic: _Traffic) -> None:
    """A drive that waits in the middle is still at work; one that begins when another has ended is not beside it."""
    for drive in "abacbc":
        traffic.ask(f"/t/app/{drive}")
    traffic.ask("/u/app/x")
    traffic.ask("/t/app/")
    assert traffic.log.peak_drives("t") == 2
    for drive in "deded":
        traffic.ask(f"/t/app/{drive}")
    traffic.ask("/t/app/a")
    assert traffic.log.peak_drives("t") == 3
    assert (traffic.log.peak_drives("u"), traffic.log.peak_drives("nobody")) == (1, 0)


# --- on the wire


@pytest.fixture
def m365() -> Iterator[Simulation]:
    with Simulation(users=2) as simulation:
        simulation.users[0].drive.put_file("/a.txt", b"x" * 1000)
        yield simulation


def _session(m365: Simulation) -> requests.Session:
    session = requests.Session()
    session.trust_env = False
    session.verify = str(m365.ca_file)
    session.headers["Authorization"] = f"Bearer {m365.app_token()}"
    return session


def test_every_entry_says_whose_it_is(m365: Simulation) -> None:
    """Tenant, app and drive of a request to Graph, tenant and drive of a download, tenant of a sign-in."""
    drive = m365.users[0].drive
    other = m365.add_tenant("fabrikam.example")
    with _session(m365) as session:
        link = f"{m365.graph_url}/v1.0/drives/{drive.id}/root:/a.txt:/content"
        found = session.get(link, allow_redirects=False)
        del session.headers["Authorization"]
        session.get(found.headers["location"])
        session.get(found.headers["location"], headers={"Range": "bytes=0-9"})
        session.get(f"{m365.authority_url}/fabrikam.example/v2.0/.well-known/openid-configuration")
        session.get(f"{m365.graph_url}/v1.0/users")
    assert [(entry.tenant, entry.app, entry.drive) for entry in m365.log] == [
        (m365.tenant.id, m365.client_id, drive.id),
        (m365.tenant.id, "", drive.id),
        (m365.tenant.id, "", drive.id),
        (other.id, "", ""),
        ("", "", ""),
    ]
    assert m365.log.downloads() == {drive.id: 2}


@pytest.mark.parametrize("throttle", ["scripted", "by units"])
def test_early_requests_are_seen_on_the_wire(throttle: str) -> None:
    """Whether a script or the units of the tenant refused, the announcement counts for what comes after."""
    clock = FakeClock()
    with Simulation(clock=clock) as m365, _session(m365) as session:
        if throttle == "scripted":
            m365.faults.add("GET graph", Status(429, headers={"Retry-After": "60"}))
        else:
            m365.switches.units_per_minute = 1
        url = f"{m365.graph_url}/v1.0/users"
        assert session.get(url).status_code == 429
        clock.advance(30)
        session.get(url)
        assert [entry.early_by for entry in m365.log.early()] == [30]
        clock.advance(30)
        session.get(url)
        assert len(m365.log.early()) == 1


def test_requests_at_once_are_counted_on_the_wire(m365: Simulation) -> None:
    """As many as are in flight, and never one more: a client that has its answer is not in flight any longer."""
    m365.faults.add("/v1.0/users$", Slow(0.2), times=None)
    ready = threading.Barrier(3)

    def ask(_: int) -> None:
        with _session(m365) as session:
            ready.wait()
            for _ in range(2):
                session.get(f"{m365.graph_url}/v1.0/users")

    with ThreadPoolExecutor(3) as threads:
        list(threads.map(ask, range(3)))
    assert m365.log.peak(m365.tenant.id) == 3


@pytest.fixture
def slow_to_leave(m365: Simulation, monkeypatch: pytest.MonkeyPatch) -> None:
    """Counting a request out takes longer than a client needs for its next request."""
    leave, never = m365.log.leave, threading.Event()

    def slowly(arrival: Any) -> None:
        never.wait(0 if arrival.left else 0.1)
        leave(arrival)

    monkeypatch.setattr(m365.log, "leave", slowly)


@pytest.mark.usefixtures("slow_to_leave")
def test_who_has_an_answer_is_not_in_flight(m365: Simulation) -> None:
    """A client that asks one thing after the other, over two connections, is never counted twice."""
    with _session(m365) as one, _session(m365) as two:
        for ask in (one.get, two.get, one.head, two.head, one.get):
            ask(f"{m365.graph_url}/v1.0/drives/{m365.users[0].drive.id}")
    assert m365.log.peak(m365.tenant.id) == 1


@pytest.mark.usefixtures("slow_to_leave")
def test_a_broken_answer_is_not_in_flight_for_ever(m365: Simulation) -> None:
    """Whatever ends an answer ends the request."""
    link = f"{m365.graph_url}/v1.0/users"
    m365.faults.add("GET graph", Close())
    m365.faults.add("GET graph", Reset(after=5))
    for _ in range(2):
        with _session(m365) as session, pytest.raises(requests.RequestException):
            session.get(link)
    with _session(m365) as session:
        session.get(link)
    assert m365.log.peak(m365.tenant.id) == 1
