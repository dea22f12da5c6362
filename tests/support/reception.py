"""The service as onboarding knows it, between a simulated Microsoft 365 and a registry in memory; and its browser."""

import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from types import SimpleNamespace
from typing import Any
from urllib.parse import parse_qs, parse_qsl, urlencode, urlsplit

import azure.functions as func
import requests

from backup_core.graph.client import GraphClient
from backup_core.graph.gate import Gate
from backup_core.graph.links import LinkRule
from backup_core.graph.sign_in import AppOnly
from backup_core.graph.sign_in_host import SignInHost
from backup_core.graph.transport import new_session
from backup_core.onboarding.enrolment import enrol_page
from backup_core.registry import audit
from backup_core.registry.accounts import Account
from backup_core.registry.master_key import MasterKey
from backup_core.registry.registry import Registry
from backup_core.registry.sealing import Sealer
from backup_core.registry.table import Table
from backup_core.registry.tenants import Tenant
from backup_core.testing.fake_clock import FakeClock
from backup_core.testing.m365 import Simulation
from backup_core.testing.memory_table import MemoryTable
from backup_core.triggers.http import Answer, Request

SITE = "https://drivekeep.example"


@dataclass
class Reception:
    """`settings`: a bag of what they would say. `secret`: what the app proves itself with, "" for the right one."""

    m365: Simulation
    clock: FakeClock
    table: Table = field(default_factory=MemoryTable)
    master: MasterKey = field(default_factory=lambda: MasterKey(secrets.token_bytes(32)))
    home_tenant: str = ""
    onboarding: str = "open"
    enrol: str = "all"
    user_credential: Any = None
    key_is_known: bool = True
    secret: str = ""

    def __post_init__(self) -> None:
        self.session = new_session(8)
        self.session.verify = str(self.m365.ca_file)
        self.client_id = self.m365.client_id
        self.registry = Registry(self.table, self.clock, lambda: self.sealer("token"))
        self.settings = SimpleNamespace(
            graph_url=self.m365.graph_url, authority_url=self.m365.authority_url, text=lambda _: "drivekeep"
        )

    @cached_property
    def sign_in_host(self) -> SignInHost:
        return SignInHost(self.m365.authority_url, self.session, Gate(self.clock), patience=120)

    def sealer(self, purpose: str) -> Sealer:
        return Sealer(self.master, purpose)

    def check_master_key(self) -> None:
        if not self.key_is_known:
            raise RuntimeError("written under an unknown key")

    def app_tokens(self, tenant: str) -> AppOnly:
        secret = self.secret or self.m365.client_secret
        return AppOnly(self.sign_in_host, tenant, self.client_id, self.m365.graph_url, secret=secret)

    def graph(self, tenant: str) -> Any:
        url, rule = self.m365.graph_url, LinkRule(self.m365.graph_url)
        tokens = self.app_tokens(tenant)
        client = GraphClient(url, tokens, rule, Gate(self.clock), self.clock, self.session, retries=1, patience=60)
        return SimpleNamespace(client=client)

    # -- what a test asks

    def tenant(self, tenant: str) -> Tenant:
        found = self.registry.tenants.get(tenant)
        assert found is not None
        return found

    def accounts(self, tenant: str) -> list[Account]:
        return self.registry.accounts.page(tenant, None, 100_000)

    def states(self, tenant: str) -> dict[str, str]:
        """Name before the @ -> state."""
        return {account.upn.split("@")[0]: account.state for account in self.accounts(tenant)}

    def account(self, tenant: str, name: str) -> Account:
        (found,) = [account for account in self.accounts(tenant) if account.upn.split("@")[0] == name]
        return found

    def is_empty(self) -> bool:
        """Whether nobody is registered anywhere."""
        return self.registry.tenants.page(None, 10) == []

    def audited(self, tenant: str) -> list[audit.AuditEntry]:
        """The audit trail, the oldest first."""
        return self.registry.audit.page(tenant, None, 10_000)[::-1]

    def read_users(self, tenant: str) -> list[dict[str, Any]]:
        """Every call of the activity until all is done."""
        cursor, results = None, []
        for _ in range(1000):
            results.append(enrol_page(self, tenant, cursor))
            cursor = results[-1]["next"]
            if cursor is None:
                return results
        raise AssertionError("the reading does not end")


@contextmanager
def reception(users: int = 1, **facts: Any) -> Iterator[Reception]:
    clock = FakeClock()
    with Simulation(clock=clock, users=users) as m365:
        made = Reception(m365, clock, **facts)
        yield made
        made.session.close()


Handler = Callable[..., Answer]


class Browser:
    """Keeps cookies, and follows a redirect to Microsoft as far as the address that leads back."""

    def __init__(self, made: Reception, site: str = SITE) -> None:
        self.made, self.site = made, site
        self.cookies: dict[str, str] = {}
        self.locations: list[str] = []

    def open(self, handle: Handler, path: str, *more: Any) -> Answer:
        """`path` with its query, as the handler answers it; Set-Cookie is obeyed."""
        cookie = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        raw = func.HttpRequest(
            method="GET",
            url=self.site + path,
            headers={"cookie": cookie} if cookie else {},
            body=b"",
            params=dict(parse_qsl(urlsplit(path).query, keep_blank_values=True)),
        )
        answer = handle(Request(raw), self.made, *more)
        if answer.cookie:
            name, _, value = answer.cookie.partition(";")[0].partition("=")
            self.cookies[name] = value
            if "Max-Age=0" in answer.cookie:
                del self.cookies[name]
        self.locations += [answer.headers["Location"]] if "Location" in answer.headers else []
        return answer

    def microsoft(self, answer: Answer) -> str:
        """Where Microsoft sends the browser back to: path and query on our site."""
        reply = requests.get(
            answer.headers["Location"], verify=str(self.made.m365.ca_file), allow_redirects=False, timeout=20
        )
        assert reply.status_code == 302, reply.text
        assert reply.headers["location"].startswith(self.site + "/")
        return reply.headers["location"].removeprefix(self.site)


def query_of(path: str) -> dict[str, str]:
    return {name: values[0] for name, values in parse_qs(urlsplit(path).query).items()}


def with_query(path: str, **changed: str | None) -> str:
    """The path with some parameters changed; None takes one away."""
    query = {name: value for name, value in (query_of(path) | changed).items() if value is not None}
    return f"{urlsplit(path).path}?{urlencode(query)}"
