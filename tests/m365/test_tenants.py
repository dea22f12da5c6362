"""Several tenants in one simulated world: who is in them, and that none sees another."""

import json
from typing import Any

import pytest

from backup_core.testing.fake_clock import FakeClock
from backup_core.testing.m365.directory import build_directory
from backup_core.testing.m365.tokens import Grant

ROLES = frozenset({"Files.Read.All", "User.Read.All", "Organization.Read.All"})


def _add(graph: Any, domain: str = "fabrikam.example", business: bool = True) -> Any:
    directory = build_directory(7, 2, business, graph.clock, domain)
    graph.tenants.add(directory)
    return directory


def _ids(graph: Any, tenant: Any, link: str) -> list[str]:
    graph.grant = Grant(tenant.id, "app", roles=ROLES)
    return [entry["id"] for entry in graph.get(link)["value"]]


def test_graph_answers_by_the_tenant_of_the_token(graph: Any) -> None:
    """One address, two tenants: users, organisation and drives are those of whoever asks."""
    other = _add(graph)
    assert _ids(graph, graph.tenant, "/v1.0/users") == [user.id for user in graph.directory.users]
    assert _ids(graph, other.tenant, "/v1.0/users") == [user.id for user in other.users]
    assert _ids(graph, other.tenant, "/v1.0/organization") == [other.tenant.id]
    assert graph.get(f"/v1.0/users/{other.users[1].upn}/drive")["id"] == other.users[1].drive.id


def test_nothing_of_another_tenant_can_be_read(graph: Any) -> None:
    """Users, drives and items of another tenant are as unknown as if they had never been."""
    other = _add(graph)
    item = graph.drive.put_file("/secret.txt", b"1")
    graph.grant = Grant(other.tenant.id, "app", roles=ROLES)
    for link in (f"/users/{graph.user.id}", f"/users/{graph.user.upn}/drive", f"/users/{graph.user.upn}/drives"):
        assert graph.refused("/v1.0" + link) == (404, "Request_ResourceNotFound")
    for rest in ("", "/root/delta", "/root/children", f"/items/{item.id}", f"/items/{item.id}/content"):
        assert graph.refused(graph.on_drive(rest)) == (404, "itemNotFound")
    own = other.users[0].drive.id
    assert graph.refused(f"/v1.0/drives/{own}/items/{item.id}") == (404, "itemNotFound")


def test_positions_of_another_tenants_feed_are_worth_nothing(graph: Any) -> None:
    """A delta link taken to a drive of another tenant is refused, whatever it holds."""
    other = _add(graph)
    graph.drive.put_file("/secret.txt", b"1")
    _, link = graph.delta()
    graph.grant = Grant(other.tenant.id, "app", roles=ROLES)
    response = graph.ask(link.replace(graph.drive.id, other.users[0].drive.id))
    assert response.status >= 400 and b"secret" not in response.body


def test_downloads_of_every_tenant_come_from_one_content_host(graph: Any) -> None:
    """A download link needs no token, so the host knows the drives of all tenants."""
    other = _add(graph)
    other.users[0].drive.put_file("/a.txt", b"theirs")
    graph.drive.put_file("/a.txt", b"ours")
    links = []
    for tenant, drive in ((graph.tenant, graph.drive), (other.tenant, other.users[0].drive)):
        graph.grant = Grant(tenant.id, "app", roles=ROLES)
        links.append(graph.ask(f"/v1.0/drives/{drive.id}/root:/a.txt:/content").headers["location"])
    bodies = [graph.download(link).source.read(0, 10) for link in links]
    assert bodies == [b"ours", b"theirs"]


def test_units_are_counted_by_tenant(graph: Any) -> None:
    """A tenant at its limit leaves the others theirs, and the window is as long as the switch says."""
    other = _add(graph)
    graph.switches.units_per_minute, graph.switches.units_window_seconds = 4, 5
    graph.grant = Grant(graph.tenant.id, "app", roles=ROLES)
    assert [graph.ask("/v1.0/users").status for _ in range(3)] == [200, 200, 429]
    assert graph.ask("/v1.0/users").headers["retry-after"] == "5"
    graph.grant = Grant(other.tenant.id, "app", roles=ROLES)
    assert [graph.ask("/v1.0/users").status for _ in range(3)] == [200, 200, 429]
    graph.clock.advance(5)
    assert graph.ask("/v1.0/users").status == 200


def test_permissions_cost_five(graph: Any) -> None:
    """Whoever expands permissions pays for it."""
    graph.switches.units_per_minute = 10
    graph.ask(graph.on_drive("/root?$expand=permissions"))
    assert graph.ask(graph.on_drive("/root/children?$expand=permissions")).headers["ratelimit-remaining"] == "0"


def test_two_tenants_of_one_name_are_refused(graph: Any) -> None:
    """A domain belongs to one tenant, and there is one tenant of all personal accounts."""
    _add(graph)
    with pytest.raises(ValueError, match=r"fabrikam\.example already"):
        _add(graph)
    _add(graph, business=False)
    with pytest.raises(ValueError, match=r"outlook\.com already"):
        _add(graph, business=False)


def test_tenants_differ_in_everything_that_is_made_up(graph: Any) -> None:
    """No id is used in two tenants, though one seed makes them all and the users have the same names."""
    other = _add(graph)
    ours, theirs = (
        {each.tenant.id, *(user.id for user in each.users), *(user.drive.id for user in each.users if user.drive)}
        for each in (graph.directory, other)
    )
    assert not ours & theirs and other.tenant.display_name == "Fabrikam"


def test_a_list_is_whole_though_people_come_and_go(graph: Any) -> None:
    """Leavers and joiners between two pages neither hide nor double anybody who stays."""
    for number in range(20):
        graph.directory.add_user(f"person{number}", with_drive=False)
    before = list(graph.directory.users)
    first = graph.get("/v1.0/users?$top=8")
    graph.directory.remove_user(before[2])
    graph.directory.remove_user(before[7])
    graph.directory.remove_user(before[8])
    graph.directory.add_user("late", with_drive=False)
    graph.directory.bring_back(before[2])
    seen, link = [user["id"] for user in first["value"]], first["@odata.nextLink"]
    while link:
        page = graph.get(link)
        seen += [user["id"] for user in page["value"]]
        link = page.get("@odata.nextLink")
    assert seen == [user.id for user in before if user is not before[8]] + [graph.directory.users[-1].id]


def test_who_people_are(graph: Any) -> None:
    """Guests, disabled people, a drive without a licence and a licence without a drive can be told apart."""
    add = graph.directory.add_user
    add("guest", guest=True, with_drive=False)
    add("off", enabled=False)
    add("unpaid", licensed=False)
    add("new", with_drive=False, licensed=True)
    shown = graph.get("/v1.0/users?$select=userType,accountEnabled,assignedLicenses")["value"][2:]
    facts = [(user["userType"], user["accountEnabled"], bool(user["assignedLicenses"])) for user in shown]
    assert facts == [
        ("Guest", True, False),
        ("Member", False, True),
        ("Member", True, False),
        ("Member", True, True),
    ]
    domain = graph.tenant.domain
    assert graph.ask(f"/v1.0/users/unpaid@{domain}/drive").status == 200
    assert graph.refused(f"/v1.0/users/new@{domain}/drive") == (404, "ResourceNotFound")


def test_each_text_of_a_missing_drive_in_one_tenant(graph: Any) -> None:
    """A user may have words of their own for having no drive."""
    for name in ("mysite-not-found", "mysite-url", "file-not-found", "no-licence"):
        graph.directory.add_user(name, with_drive=False, no_drive_text=name)
    texts = []
    for user in graph.directory.users[2:]:
        response = graph.ask(f"/v1.0/users/{user.id}/drive")
        texts.append((response.status, json.loads(response.body)["error"]["message"]))
    assert texts == [
        (404, "User's mysite not found."),
        (404, "Unable to retrieve user's mysite URL."),
        (404, "404 FILE NOT FOUND"),
        (400, "Tenant does not have a SPO license."),
    ]


def test_a_name_is_taken_once_and_can_change(graph: Any) -> None:
    """A second user of one name is a mistake; a renamed user answers to the new name alone and keeps the drive."""
    with pytest.raises(ValueError, match="there already"):
        graph.directory.add_user("ALEX")
    old, drive = graph.user.upn, graph.drive.id
    graph.directory.rename_user(graph.user, f"married@{graph.tenant.domain}")
    assert graph.refused(f"/v1.0/users/{old}") == (404, "Request_ResourceNotFound")
    assert graph.get(f"/v1.0/users/Married@{graph.tenant.domain}/drive")["id"] == drive


def test_a_drive_can_be_gone_for_good(graph: Any) -> None:
    """After the retention neither the user nor the drive's id leads anywhere."""
    graph.directory.remove_user(graph.user)
    graph.directory.remove_drive(graph.user)
    assert graph.refused(graph.on_drive("/root/delta")) == (404, "itemNotFound")


def test_a_large_directory_is_asked_as_fast_as_a_small_one() -> None:
    """Ten thousand users are found without looking at each: a miss among them costs no more than a hit."""
    directory = build_directory(7, 10_000, True, FakeClock())

    class Counted(str):
        compared = 0

        def __eq__(self, other: object) -> bool:
            Counted.compared += 1
            return str.__eq__(self, other)

        __hash__ = str.__hash__

        def lower(self) -> "Counted":
            return Counted(str.lower(self))

    last = directory.users[-1]
    assert directory.user(Counted(last.upn)) is last is directory.user(Counted(last.id))
    assert directory.user(Counted("nobody@nowhere.example")) is None
    assert Counted.compared < 20
