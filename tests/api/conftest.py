"""An app over a registry in memory, with two tenants and the home tenant, and nobody limited or woken."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.api import Api, ApiService, given_repository, new_service

from backup_core.service import current
from backup_core.testing.fake_clock import FakeClock
from backup_core.triggers import api_snapshots, http, lanes
from backup_core.triggers.rate_limit import RateLimit


@pytest.fixture
def service(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ApiService]:
    monkeypatch.setenv("WEBSITE_AUTH_ENABLED", "True")
    monkeypatch.setattr(http, "_limits", RateLimit(FakeClock(), per_second=50, burst=1_000_000))
    monkeypatch.setattr(api_snapshots, "open_account_repository", given_repository)
    yield new_service(tmp_path)
    current.use(None)


@pytest.fixture
def api(service: ApiService, woken: list[tuple[str, str]]) -> Api:
    return Api(service)


@pytest.fixture
def woken(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str]]:
    """What was started behind an answer: ("lanes" or "enrolment", tenant)."""
    started: list[tuple[str, str]] = []

    async def start_lanes(client: Any, tenants: list[str], per_tenant: int) -> None:
        started.extend(("lanes", tenant) for tenant in tenants)

    async def start_enrolment(client: Any, tenant: str, prove: str = "") -> None:
        started.append(("enrolment", tenant))

    monkeypatch.setattr(lanes, "start_lanes", start_lanes)
    monkeypatch.setattr(lanes, "start_enrolment", start_enrolment)
    return started


@pytest.fixture(scope="module")
def shared_api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    """For generated requests, which share what they change."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("WEBSITE_AUTH_ENABLED", "True")
        patch.setattr(http, "_limits", RateLimit(FakeClock(), per_second=50, burst=10_000_000))
        patch.setattr(api_snapshots, "open_account_repository", given_repository)
        patch.setattr(lanes, "start_lanes", _nothing)
        patch.setattr(lanes, "start_enrolment", _nothing)
        yield Api(new_service(tmp_path_factory.mktemp("shared")))
    current.use(None)


async def _nothing(*_arguments: Any) -> None:
    """Nobody is woken."""
