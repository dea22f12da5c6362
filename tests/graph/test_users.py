"""The users of a tenant, page by page; what it is called; who has a drive, in all the ways that Microsoft says no."""

from typing import Any

import pytest
import responses

from backup_core.errors import Temporary
from backup_core.graph.refusals import Forbidden, Refused
from backup_core.graph.users import (
    Organization,
    User,
    UsersDrive,
    domain_of,
    drive_of,
    is_expired_link,
    organization,
    users_page,
)

V1 = "https://graph.microsoft.com/v1.0"
ID = "46ce830f-8be4-a6ef-86db-62ccade19076"


def test_a_page(world: Any, graph: responses.RequestsMock) -> None:
    """As many users as Graph allows are asked for; ids come in lower case; guests are told apart."""
    link = f"{V1}/users?$skiptoken=abc"
    people = [
        {"id": ID.upper(), "userPrincipalName": "Ann@x.example", "displayName": "Ann", "userType": "Member"},
        {"id": "g", "userPrincipalName": "g#EXT#@x.example", "displayName": "G", "userType": "Guest"},
        {"id": "n", "userPrincipalName": None, "displayName": None, "userType": None},
        {"id": ""},
        {"id": 7},
        "odd",
    ]
    graph.get(f"{V1}/users", json={"value": people, "@odata.nextLink": link})
    graph.get(link, json={"value": []})
    page = users_page(world.client())
    assert page.users == [
        User(ID, "Ann@x.example", "Ann", False),
        User("g", "g#EXT#@x.example", "G", True),
        User("n", "n", "n", False),
    ]
    assert page.next_link == link
    assert users_page(world.client(), page.next_link) == ([], "")
    first, second = (call.request.url for call in graph.calls)
    assert "$top=999" in first
    assert "userType" in first
    assert second == link


def test_a_page_that_is_none(world: Any, graph: responses.RequestsMock) -> None:
    """An answer without a list is asked for again, and is never taken for an empty list."""
    for _ in range(4):
        graph.get(f"{V1}/users", json={"odd": 1})
    with pytest.raises(Temporary):
        users_page(world.client())


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (
            {"displayName": "Contoso", "verifiedDomains": [{"name": "a.example"}, {"name": "b", "isDefault": True}]},
            Organization("Contoso", "b"),
        ),
        ({"displayName": "Contoso", "verifiedDomains": [{"name": "a.example"}]}, Organization("Contoso", "a.example")),
        ({"displayName": None, "verifiedDomains": "odd"}, Organization("", "")),
    ],
)
def test_organization(world: Any, graph: responses.RequestsMock, body: dict[str, Any], expected: Organization) -> None:
    """Its name, and the domain that it uses by default."""
    graph.get(f"{V1}/organization", json={"value": [body]})
    assert organization(world.client()) == expected


def test_organization_that_may_not_be_read(world: Any, graph: responses.RequestsMock) -> None:
    """A refusal fails nothing: the permission is optional."""
    graph.get(f"{V1}/organization", status=403, json={"error": {"code": "Authorization_RequestDenied"}})
    graph.get(f"{V1}/organization", json={"value": []})
    assert organization(world.client()) is None
    assert organization(world.client()) == Organization("", "")


@pytest.mark.parametrize(
    ("status", "code", "message", "expected"),
    [
        (404, "ResourceNotFound", "User's mysite not found.", "none"),
        (404, "UnknownError", "Unable to retrieve user's mysite URL.", "none"),
        (404, "UnknownError", "404 FILE NOT FOUND", "none"),
        (404, "itemNotFound", "", "none"),
        (400, "BadRequest", "Tenant does not have a SPO license.", "none"),
        (404, "Request_ResourceNotFound", "Resource 'x' does not exist.", "gone"),
        (423, "notAllowed", "Access to this site has been blocked.", "closed"),
        (403, "accessDenied", "Access denied", "closed"),
        (400, "invalidRequest2", "odd", "closed"),
    ],
)
def test_no_drive(
    world: Any, graph: responses.RequestsMock, status: int, code: str, message: str, expected: str
) -> None:
    """Every refusal is about this one user: it says what to think of the drive, and is not raised."""
    graph.get(f"{V1}/users/{ID}/drive", status=status, json={"error": {"code": code, "message": message}})
    assert drive_of(world.client(), ID) == UsersDrive(expected)  # type: ignore[arg-type]


def test_a_drive(world: Any, graph: responses.RequestsMock) -> None:
    """Its id, in the spelling that everything else uses; a user id cannot lead to another address."""
    graph.get(f"{V1}/users/{ID}/drive", json={"id": "b!Abc"})
    graph.get(f"{V1}/users/..%2Fme%3F/drive", json={"id": "b!d"})
    assert drive_of(world.client(), ID) == UsersDrive("readable", "b!Abc")
    assert drive_of(world.client(), "../me?") == UsersDrive("readable", "b!d")


def test_trouble_that_is_everybodys(world: Any, graph: responses.RequestsMock) -> None:
    """Throttling is no statement about a drive."""
    graph.get(f"{V1}/users/{ID}/drive", status=429, headers={"Retry-After": "900"})
    with pytest.raises(Temporary):
        drive_of(world.client(patience=10.0), ID)


@pytest.mark.parametrize(
    ("upn", "expected"),
    [
        ("ann@Contoso.Example", "contoso.example"),
        ("ann_partner.example#EXT#@contoso.example", ""),
        ("ann", ""),
        ("", ""),
        ("a@b@c", ""),
        ("@x.example", ""),
    ],
)
def test_domain(upn: str, expected: str) -> None:
    """The domain of a member's name; a guest's says nothing about the tenant."""
    assert domain_of(upn) == expected


def test_expired_link(world: Any, graph: responses.RequestsMock) -> None:
    """A list that cannot be read on is told from a refusal of the whole."""
    graph.get(f"{V1}/users", status=400, json={"error": {"code": "Directory_ExpiredPageToken"}})
    graph.get(f"{V1}/users", status=403)
    with pytest.raises(Refused) as refused:
        users_page(world.client())
    with pytest.raises(Forbidden) as forbidden:
        users_page(world.client())
    assert is_expired_link(refused.value)
    assert not is_expired_link(forbidden.value)
