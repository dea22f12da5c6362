"""Routes of users and drives, roles and scopes, errors, limits."""

import json
from typing import Any

import pytest

READ_ONE = "/v1.0/users/{upn}/drive/root"


@pytest.mark.parametrize(
    ("link", "status"),
    [
        ("/v1.0/users", 200),
        ("/v1.0/users/{upn}", 200),
        ("/v1.0/users/{upn}/drive", 200),
        ("/v1.0/users/{upn}/drives", 200),
        ("/v1.0/users/{upn}/drive/root/delta", 200),
        ("/v1.0/organization", 403),
        ("/v1.0/me", 400),
        ("/v1.0/me/drive", 400),
    ],
)
def test_an_app_reads_what_its_two_roles_allow(graph: Any, link: str, status: int) -> None:
    """Files.Read.All and User.Read.All open users and drives; `/me` is nobody, `/organization` needs its own role."""
    assert graph.ask(link.format(upn=graph.user.upn)).status == status


@pytest.mark.parametrize(
    ("roles", "link", "allowed"),
    [
        ((), "/v1.0/users", False),
        (("Files.Read.All",), "/v1.0/users", False),
        (("User.Read.All",), "/v1.0/users", True),
        (("User.Read.All",), READ_ONE, False),
        (("Files.Read.All",), READ_ONE, True),
        (("Sites.Read.All",), READ_ONE, True),
        (("Files.ReadWrite.All",), READ_ONE + "/children", True),
        (("Files.Read",), READ_ONE, False),
        (("Organization.Read.All",), "/v1.0/organization", True),
    ],
)
def test_each_route_asks_for_its_role(graph: Any, roles: tuple[str, ...], link: str, allowed: bool) -> None:
    """Without the role the answer is 403, with it 200; a delegated scope is no role."""
    graph.act_as_app(*roles)
    assert graph.ask(link.format(upn=graph.user.upn)).status == (200 if allowed else 403)


@pytest.mark.parametrize(
    ("scopes", "link", "status"),
    [
        (("Files.Read",), "/v1.0/me/drive/root/children", 200),
        (("Files.Read",), "/v1.0/me/drives", 200),
        (("Files.Read",), "/v1.0/me", 403),
        (("User.Read",), "/v1.0/me", 200),
        (("User.Read",), "/v1.0/me/drive", 403),
        (("User.Read",), "/v1.0/users", 403),
        (("User.Read.All",), "/v1.0/users", 200),
        (("User.Read",), "/v1.0/users/{upn}", 200),
        (("User.Read",), "/v1.0/users/{other}", 403),
        (("Files.Read.All",), "/v1.0/users/{other}/drive", 403),
        (("User.Read",), "/v1.0/organization", 200),
    ],
)
def test_a_person_reads_their_own(graph: Any, scopes: tuple[str, ...], link: str, status: int) -> None:
    """A signed-in user's app sees the user and their drive, and nobody else's drive."""
    graph.sign_in(*scopes)
    assert graph.ask(link.format(upn=graph.user.upn, other=graph.directory.users[1].upn)).status == status


def test_a_missing_role_is_said_in_the_words_of_its_service(graph: Any) -> None:
    """Drives say accessDenied, the directory Authorization_RequestDenied."""
    graph.act_as_app()
    assert graph.refused(READ_ONE.format(upn=graph.user.upn)) == (403, "accessDenied")
    assert graph.refused("/v1.0/users") == (403, "Authorization_RequestDenied")


@pytest.mark.parametrize("token", [None, "bad"])
def test_no_token_and_a_wrong_one_are_401(graph: Any, token: str | None) -> None:
    """Every route asks for a valid token first, also one that does not exist."""
    for link in ("/v1.0/users", "/v1.0/me/drive", "/v1.0/nothing"):
        assert graph.refused(link, token=token) == (401, "InvalidAuthenticationToken")


def test_a_token_of_another_tenant_opens_nothing(graph: Any, personal: Any) -> None:
    """A grant of one tenant is no grant in another."""
    graph.grant = personal.grant
    assert graph.refused("/v1.0/me/drive")[0] == 401


def test_users_come_in_pages(graph: Any) -> None:
    """100 a page unless `$top` says otherwise, 999 at most, 1000 is refused, and every user once."""
    for number in range(250):
        graph.directory.add_user(f"person{number}", with_drive=False)
    link, ids, lengths = "/v1.0/users?$select=id,userPrincipalName", [], []
    while link:
        page = graph.get(link)
        lengths.append(len(page["value"]))
        ids += [user["id"] for user in page["value"]]
        link = page.get("@odata.nextLink")
    assert lengths == [100, 100, 52] and ids == [user.id for user in graph.directory.users]
    assert len(graph.get("/v1.0/users?$top=999")["value"]) == 252
    assert graph.refused("/v1.0/users?$top=1000") == (400, "Request_BadRequest")
    assert graph.ask("/v1.0/users?$filter=userType").status == 501
    assert graph.refused("/v1.0/users?$skiptoken=rubbish") == (400, "invalidRequest")


def test_a_user_shows_who_they_are(graph: Any) -> None:
    """Few properties without `$select`, the asked ones with it; guests and disabled people are told apart."""
    guest = graph.directory.add_user("sam", guest=True, with_drive=False)
    graph.user.enabled = False
    assert set(graph.get(f"/v1.0/users/{graph.user.id}")) == {
        "@odata.context",
        "id",
        "displayName",
        "mail",
        "userPrincipalName",
    }
    select = "$select=userType,accountEnabled,assignedLicenses"
    shown = graph.get(f"/v1.0/users/{guest.upn.replace('#', '%23')}?{select}")
    assert (shown["userType"], shown["accountEnabled"], shown["assignedLicenses"]) == ("Guest", True, [])
    assert graph.get(f"/v1.0/users/{graph.user.upn}?{select}")["accountEnabled"] is False
    assert graph.refused("/v1.0/users/nobody@nowhere.example") == (404, "Request_ResourceNotFound")
    assert graph.refused("/v1.0/users/nobody@nowhere.example/drive") == (404, "Request_ResourceNotFound")


@pytest.mark.parametrize(
    ("text", "refusal"),
    [
        ("mysite-not-found", (404, "ResourceNotFound")),
        ("mysite-url", (404, "UnknownError")),
        ("file-not-found", (404, "UnknownError")),
        ("no-licence", (400, "BadRequest")),
    ],
)
def test_somebody_without_a_drive(graph: Any, text: str, refusal: tuple[int, str]) -> None:
    """The four ways in which Microsoft says that there is no OneDrive."""
    graph.directory.add_user("new", with_drive=False)
    graph.switches.no_drive_text = text
    for rest in ("drive", "drive/root/delta", "drives"):
        assert graph.refused(f"/v1.0/users/new@{graph.tenant.domain}/{rest}") == refusal


def test_a_drive_says_whose_it_is(graph: Any) -> None:
    """Id, kind, owner and quota; further drives are listed and read, and come second."""
    graph.drive.put_file("a", b"12345")
    shown = graph.get(f"/v1.0/users/{graph.user.upn}/drive")
    assert (shown["id"], shown["driveType"], shown["name"]) == (graph.drive.id, "business", "OneDrive")
    assert shown["owner"]["user"]["id"] == graph.user.id and shown["quota"]["used"] == 5
    second = graph.directory.add_drive(graph.user, "Archive")
    listed = graph.get(f"/v1.0/users/{graph.user.upn}/drives")["value"]
    assert [drive["name"] for drive in listed] == ["OneDrive", "Archive"]
    assert graph.get(f"/v1.0/drives/{second.id}?$select=id") == {
        "@odata.context": "https://localhost:1/v1.0/$metadata#drives/$entity",
        "id": second.id,
    }
    assert graph.refused("/v1.0/drives/b!nothing") == (404, "itemNotFound")


def test_a_leaver_is_gone_and_the_drive_is_not(graph: Any) -> None:
    """A removed user answers 404, their drive stays readable by its id; a replaced drive has a new id."""
    old = graph.drive.id
    new = graph.directory.replace_drive(graph.user)
    assert new.id != old and graph.refused(f"/v1.0/drives/{old}") == (404, "itemNotFound")
    graph.directory.remove_user(graph.user)
    assert graph.refused(f"/v1.0/users/{graph.user.id}/drive") == (404, "Request_ResourceNotFound")
    assert graph.get(f"/v1.0/drives/{new.id}")["id"] == new.id


def test_the_same_seed_gives_the_same_world(graph: Any, make_graph: Any) -> None:
    """Two simulations of one seed have the same tenant, users, drives and items."""
    again = make_graph()
    assert again.tenant == graph.tenant and again.user.id == graph.user.id and again.drive.id == graph.drive.id
    assert again.drive.put_file("a", b"1").id == graph.drive.put_file("a", b"1").id


def test_errors_come_in_graphs_envelope(graph: Any) -> None:
    """Code, message, date and both request ids, in the spelling of the day; the headers name the request too."""
    response = graph.ask(graph.on_drive("/root:/no"), client_request_id="mine")
    error = json.loads(response.body)["error"]
    assert error["code"] == "itemNotFound" and error["message"]
    assert error["innerError"]["client-request-id"] == "mine" == response.headers["client-request-id"]
    assert error["innerError"]["request-id"] == response.headers["request-id"]
    assert error["innerError"]["date"] == "2026-03-01T12:00:00"
    graph.switches.inner_error_key = "innererror"
    assert "innererror" in json.loads(graph.ask(graph.on_drive("/root:/no")).body)["error"]


def test_every_answer_names_its_request(graph: Any) -> None:
    """Two answers never share a request id, and JSON comes as Graph's kind of JSON."""
    first, second = graph.ask("/v1.0/users"), graph.ask("/v1.0/users")
    assert first.headers["request-id"] != second.headers["request-id"]
    assert first.headers["content-type"].startswith("application/json;odata.metadata=minimal")
    assert "x-ms-ags-diagnostic" in first.headers


@pytest.mark.parametrize("link", ["/v1.0/sites", "/v1.0/groups/1/drive", "/beta/users", "/v1.0/me/messages", "/"])
def test_an_unknown_route_is_the_simulators_own_refusal(graph: Any, link: str) -> None:
    """Nobody takes a hole in the simulator for Microsoft's answer."""
    response = graph.ask(link)
    assert response.status == 501 and b"simulated Microsoft 365 does not know" in response.body


def test_an_app_is_throttled_by_its_resource_units(graph: Any) -> None:
    """Lists cost two, one item one; from 80 % the limits are told; beyond them comes 429 until the minute is over."""
    graph.switches.units_per_minute = 10
    one, many = graph.on_drive("/root"), graph.on_drive("/root/children")
    assert "ratelimit-limit" not in graph.ask(many).headers  # 2
    assert "ratelimit-limit" not in graph.ask(many).headers  # 4
    graph.clock.advance(20)
    graph.ask(many)  # 6
    told = graph.ask(many).headers  # 8
    assert (told["ratelimit-limit"], told["ratelimit-remaining"], told["ratelimit-reset"]) == ("10", "2", "40")
    assert graph.ask(one).status == graph.ask(one).status == 200  # 10
    refused = graph.ask(one)
    error = json.loads(refused.body)["error"]
    assert refused.status == 429 and error["code"] == "activityLimitReached"
    assert error["innerError"]["code"] == "throttledRequest" and error["innerError"]["innerError"]["code"] == "quota"
    assert refused.headers["retry-after"] == refused.headers["ratelimit-reset"] == "40"
    graph.switches.fractional_retry_after = True
    assert graph.ask(one).headers["retry-after"] == "40.128"
    graph.clock.advance(40)
    assert graph.ask(one).status == 200


def test_refused_requests_count_and_others_are_not_touched(graph: Any) -> None:
    """A throttled request is charged too; another app has a limit of its own; people see no RateLimit headers."""
    graph.switches.units_per_minute = 2
    link = graph.on_drive("/root/children")
    assert graph.ask(link).status == 200
    assert graph.ask(link).status == 429
    graph.switches.units_per_minute = 4
    assert graph.ask(link).status == 429
    graph.sign_in()
    mine = "/v1.0/me/drive/root/children"
    first = graph.ask(mine), graph.ask(mine)
    assert [answer.status for answer in first] == [200, 200]
    assert "ratelimit-limit" not in first[1].headers
    assert "ratelimit-limit" not in graph.ask(mine).headers


def test_a_delta_with_a_token_is_cheaper(graph: Any) -> None:
    """One unit with a token, two without."""
    link = graph.delta()[1]
    graph.switches.units_per_minute = 100
    graph.ask(graph.on_drive("/root/delta"))
    graph.ask(link)
    graph.ask(graph.on_drive("/root/delta(token='latest')"))
    graph.switches.units_per_minute = 5
    assert graph.ask(graph.on_drive("/root")).headers["ratelimit-remaining"] == "0"
