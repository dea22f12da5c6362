"""Reading users in tests: pages of any size, slow questions, and what must be true of the registry afterwards."""

import threading
from collections import Counter
from typing import Any

import pytest

from backup_core.graph import users as graph_users
from backup_core.graph.users import UsersPage
from backup_core.onboarding import enrolment
from support.reception import Reception


def home(made: Reception) -> str:
    return str(made.m365.tenant.id)


def asked_for_drives(made: Reception) -> list[str]:
    return [each.path for each in made.m365.log if each.path.endswith("/drive")]


def small_pages(monkeypatch: pytest.MonkeyPatch, size: int) -> None:
    monkeypatch.setattr(graph_users, "PAGE_MAX", size)


def assert_counts(made: Reception, tenant: str) -> None:
    """The counts are those of the accounts that are there, and due is exactly who is to be backed up."""
    accounts = made.registry.accounts
    everybody = made.accounts(tenant)
    assert accounts.counts(tenant).states == dict(Counter(each.state for each in everybody))
    due = accounts.due(tenant, made.clock.now(), 10_000)
    assert sorted(due) == sorted(each.id for each in everybody if each.state == "protected" and each.included)


class SlowDrives:
    """Each question for a drive takes so many seconds of the clock."""

    def __init__(self, made: Reception, monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
        real, self.times, self._lock = graph_users.drive_of, Counter[str](), threading.Lock()

        def slow(client: Any, user_id: str) -> Any:
            with self._lock:
                self.times[user_id] += 1
            made.clock.advance(seconds)
            return real(client, user_id)

        monkeypatch.setattr(enrolment, "drive_of", slow)


def listing(monkeypatch: pytest.MonkeyPatch, *pages: UsersPage) -> list[str]:
    """Graph's list is these pages; the links that were asked for."""
    asked: list[str] = []

    def page(_: Any, link: str) -> UsersPage:
        asked.append(link)
        return pages[len(asked) - 1]

    monkeypatch.setattr(enrolment, "users_page", page)
    return asked
