"""Very many drives of several organisations at once, while Microsoft throttles: all of them come, none too early."""

import contextlib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.crowd import MIB, HeldBody, all_of_run, judge_of
from support.judge import require_restic
from support.served import Served, served

from backup_core.clock import SystemClock
from backup_core.service import Service
from backup_core.service.service import SAVES_AT_ONCE
from backup_core.settings import read_settings
from backup_core.testing.azurite import Azurite
from backup_core.testing.m365 import Alter, Simulation, Status
from backup_core.testing.m365.simulated_tenant import SimulatedTenant
from backup_core.testing.m365.wire import Response

DRIVES_AT_ONCE = 4
FILES = 3
UNITS, WINDOW_SECONDS = 12, 2.0  # of a tenant: fewer than its drives want at once on a quick machine
# Requests that are refused on any machine, and their Retry-After: one is longer than the time in which other processes
# must have heard of it.
REFUSED = {10: 8, 40: 2}
GRACE_SECONDS = {1: 0.5, 4: 5.0}  # under way when the refusal left; until other processes have heard of it


@pytest.mark.parametrize("workers", [1, 4])
@pytest.mark.parametrize(
    ("accounts", "checked"), [(20, 1), pytest.param(200, 200, marks=pytest.mark.soak)], ids=["20", "200"]
)
def test_every_drive_of_three_organisations(
    accounts: int, checked: int, workers: int, azurite: Azurite, tmp_path: Path
) -> None:
    """One tick backs all of them up, each once, with never more of a tenant at once than is allowed and as many as
    that, and no request before its time; two drives that take for ever delay no other.
    """
    require_restic()
    words = ("--workers", str(workers)) if workers > 1 else ()
    with (
        crowd(accounts) as m365,
        held_files(m365) as held,
        served(m365, azurite, tmp_path / "home", *words, DRIVEKEEP_MAX_DRIVES_PER_TENANT=str(DRIVES_AT_ONCE)) as app,
    ):
        onboard_all(app, m365)
        m365.log.clear()
        for number, wait in REFUSED.items():
            refusal = Status(429, headers={"Retry-After": str(wait)})
            m365.faults.add(r"GET graph /v1.0/drives", refusal, nth=number)
        m365.faults.add(r"GET graph ", Alter(without_warning), times=None)
        m365.switches.units_per_minute, m365.switches.units_window_seconds = UNITS, WINDOW_SECONDS
        clock = SystemClock()
        begun = clock.monotonic()
        app.tick()
        most = watch(app, m365, lambda done: done == accounts - len(held))
        seconds = clock.monotonic() - begun
        assert all(each.begun.is_set() for each in held), "a slow drive had not begun, so it has delayed nobody"
        for each in held:
            each.let_go.set()
        watch(app, m365, lambda done: done == accounts)
        m365.switches.units_per_minute = None
        refused = sum(each.status == 429 for each in m365.log.of("graph"))
        print(
            f"\n{accounts} drives, {workers} process(es): {seconds:.1f} s, {refused} refusals, most at once {most},"
            f" early by {early(m365)}, graph requests {len(m365.log.of('graph'))}"
        )
        assert refused >= len(REFUSED)
        assert m365.log.early(GRACE_SECONDS[workers]) == []
        for tenant in m365.tenants:
            assert most[tenant.id] == DRIVES_AT_ONCE
            assert m365.log.peak_drives(tenant.id) <= DRIVES_AT_ONCE
            assert_complete(app, tenant)
            for user in tenant.users[:checked]:
                judge_of(app, azurite, tenant.id, user.id, tmp_path / user.id).check()
        assert set(m365.log.downloads().values()) == {FILES}


@contextlib.contextmanager
def crowd(accounts: int) -> Iterator[Simulation]:
    """Three organisations of almost equal size; every drive has its own few files."""
    share = accounts // 3
    with Simulation(users=accounts - 2 * share) as m365:
        for domain in ("fabrikam.example", "tailspin.example"):
            m365.add_tenant(domain, users=share)
        for tenant in m365.tenants:
            for user in tenant.users:
                for number in range(FILES):
                    user.drive.put_file(f"/Papers/{number}.txt", f"{number} of {user.upn}".encode() * 50)
        yield m365


@contextlib.contextmanager
def held_files(m365: Simulation) -> Iterator[list[HeldBody]]:
    """A large file in each of two drives whose turn comes first in their organisations. That is as many as one process
    saves at once. Nobody waits for them when the test has ended.
    """
    bodies = [HeldBody(64 * MIB, number) for number in range(SAVES_AT_ONCE)]
    for body, tenant in zip(bodies, m365.tenants, strict=False):
        first = min(tenant.users, key=lambda user: user.id)
        first.drive.put_file("/Papers/0.txt", body)
    try:
        yield bodies
    finally:
        for body in bodies:
            body.let_go.set()


def onboard_all(app: Served, m365: Simulation) -> None:
    for tenant in m365.tenants:
        m365.consent.tenant = tenant.directory.tenant
        assert app.onboard().status_code == 200
    for tenant in m365.tenants:
        app.enrolled(tenant.id, len(tenant.users))


def without_warning(response: Response) -> Response:
    """Microsoft need not say how much is left, and then nobody can go slower before it refuses."""
    for name in ("ratelimit-limit", "ratelimit-remaining", "ratelimit-reset"):
        response.headers.pop(name, None)
    return response


def watch(app: Served, m365: Simulation, wanted: Any) -> Counter[str]:
    """Until as many drives have ended as are wanted; how many of each tenant were claimed at once meanwhile."""
    service = Service(read_settings(environment=app.person.environment, folder=app.person.home), SystemClock())
    most: Counter[str] = Counter()

    def look() -> bool:
        done = 0
        for tenant in m365.tenants:
            most[tenant.id] = max(most[tenant.id], len(service.runs.active(tenant.id)))
            run = all_of_run(app, tenant.id)
            done += run["progress"]["drives_done"] if run else 0
        return bool(wanted(done))

    app.wait_for(look, 1800)
    return most


def assert_complete(app: Served, tenant: SimulatedTenant) -> None:
    """Every account once, with a snapshot of its own."""
    run = all_of_run(app, tenant.id)
    results = app.results(run)
    assert run["state"] == "complete", [each for each in results if each["state"] != "complete"]
    assert sorted(each["upn"] for each in results) == sorted(user.upn for user in tenant.users)
    assert len({each["snapshot_id"] for each in results}) == len(results)


def early(m365: Simulation) -> list[float]:
    """For how long the refusals were known that requests came too early for."""
    return sorted((round(each.known_for, 2) for each in m365.log.early(0.0)), reverse=True)[:10]
