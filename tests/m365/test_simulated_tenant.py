"""Several tenants of one running simulation, as a test holds and changes them."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from queue import SimpleQueue
from typing import Any

import pytest
import requests

from backup_core.testing.m365 import Simulation


class _Client:
    """A session that trusts the simulation alone and follows nothing."""

    def __init__(self, m365: Simulation) -> None:
        self.session = requests.Session()
        self.session.trust_env = False
        self.session.verify = str(m365.ca_file)

    def get(self, url: str, token: str | None = None) -> requests.Response:
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        return self.session.get(url, headers=headers, timeout=20, allow_redirects=False)

    def __enter__(self) -> "_Client":
        return self

    def __exit__(self, *_: object) -> None:
        self.session.close()


@pytest.fixture
def m365() -> Iterator[Simulation]:
    with Simulation(users=2) as simulation:
        yield simulation


def test_a_tenant_is_changed_by_its_handle(m365: Simulation) -> None:
    """Joiners, leavers, returners and new names show in Graph at once, and in no other tenant."""
    fabrikam = m365.add_tenant("fabrikam.example", users=2)
    assert [tenant.domain for tenant in m365.tenants] == [m365.tenant.domain, "fabrikam.example"]
    guest = fabrikam.add_user("sam", guest=True, with_drive=False)
    fabrikam.rename(fabrikam.user("alex"), "lee@fabrikam.example")
    blake = fabrikam.user("blake")
    with _Client(m365) as client:

        def listed(tenant: Any) -> list[str]:
            users = client.get(f"{m365.graph_url}/v1.0/users", tenant.app_token()).json()["value"]
            return [user["userPrincipalName"] for user in users]

        ours = listed(m365.tenant)
        assert listed(fabrikam) == ["lee@fabrikam.example", "blake@fabrikam.example", guest.upn]
        fabrikam.remove(blake)
        assert listed(fabrikam) == ["lee@fabrikam.example", guest.upn]
        drive = f"{m365.graph_url}/v1.0/drives/{blake.drive.id}"
        assert client.get(drive, fabrikam.app_token()).status_code == 200
        fabrikam.bring_back(blake)
        assert listed(fabrikam) == ["lee@fabrikam.example", "blake@fabrikam.example", guest.upn]
        assert listed(m365.tenant) == ours
    with pytest.raises(LookupError, match="no user alex"):
        fabrikam.user("alex")


def test_no_app_reads_personal_accounts_by_itself(m365: Simulation) -> None:
    """Personal accounts stand beside the organisations; their people have tokens, the app alone has none."""
    personal = m365.add_personal(users=1)
    personal.users[0].drive.put_file("/mine.txt", b"1")
    with _Client(m365) as client:
        link = f"{m365.graph_url}/v1.0/me/drive/root/children"
        assert [item["name"] for item in client.get(link, personal.users[0].access_token).json()["value"]] == [
            "mine.txt"
        ]
    with pytest.raises(LookupError, match="personal"):
        personal.app_token()


def test_many_accounts_of_several_tenants_at_once() -> None:
    """Two hundred drives in three tenants, eight readers: each gets its own files, and the log's counts are right."""
    with Simulation(users=66) as m365:
        tenants = [m365.tenant, m365.add_tenant("one.example", users=67), m365.add_tenant("two.example", users=67)]
        work = [(tenant, user, tenant.app_token()) for tenant in tenants for user in tenant.users]
        for _, user, _ in work:
            user.drive.put_file("/Documents/me.txt", user.id.encode())
        clients: SimpleQueue[_Client] = SimpleQueue()
        for _ in range(8):
            clients.put(_Client(m365))

        def read(job: Any) -> bool:
            _, user, token = job
            client = clients.get()
            drive = f"{m365.graph_url}/v1.0/drives/{user.drive.id}"
            found = client.get(f"{drive}/root:/Documents/me.txt:/content", token)
            body = client.get(found.headers["location"]).content
            clients.put(client)
            return bool(body == user.id.encode())

        with ThreadPoolExecutor(8) as threads:
            assert all(threads.map(read, work))
        for _ in range(8):
            clients.get().session.close()
        assert set(m365.log.downloads().values()) == {1} and len(m365.log.downloads()) == 200
        for tenant in tenants:
            assert 1 <= m365.log.peak(tenant.id) <= 8 and 1 <= m365.log.peak_drives(tenant.id) <= 8
