"""Whose drive, and single items: what Graph's answers and refusals mean."""

from collections.abc import Callable
from typing import Any

import pytest
import responses

from backup_core.errors import DrivekeepError, NotFound, Usage
from backup_core.graph.drives import Account, Drive, get_item, item_at_path, my_drive, root_item, user_drive
from backup_core.graph.refusals import Forbidden

ROOT = "https://graph.microsoft.com/v1.0"
DRIVE = {"id": "b!abc-DEF", "driveType": "business", "name": "OneDrive"}
OTHER = {"id": "b!other", "driveType": "documentLibrary", "name": "Archive"}
USER = {"id": "11111111-2222-3333-4444-555555555555", "userPrincipalName": "alex@contoso.example"}
FILE = {"id": "01FILE", "name": "a.txt", "size": 3, "file": {}}

Graph = responses.RequestsMock
Body = Callable[..., dict[str, object]]


def test_my_drive(world: Any, graph: Graph) -> None:
    """The signed-in user's own drive, with who that is."""
    graph.get(f"{ROOT}/me", json=USER)
    graph.get(f"{ROOT}/me/drive", json=DRIVE)
    account = Account(USER["id"], USER["userPrincipalName"])
    assert my_drive(world.client()) == Drive("b!abc-DEF", "OneDrive", "business", account)


def test_a_personal_drive(world: Any, graph: Graph) -> None:
    """A personal drive's id comes in one spelling, whatever Graph does to it today."""
    graph.get(f"{ROOT}/me", json={"id": "1B2C3D4E5F60718"})
    graph.get(f"{ROOT}/me/drive", json={"id": "1B2C3D4E5F60718", "driveType": "personal"})
    drive = my_drive(world.client())
    assert (drive.id, drive.account.upn) == ("01b2c3d4e5f60718", "1B2C3D4E5F60718")


@pytest.mark.parametrize("wanted", ["b!other", "Archive", "archive"])
def test_another_drive_of_theirs(world: Any, graph: Graph, wanted: str) -> None:
    """Another drive is named by id, or by name in any case, wherever in a list of several pages it is."""
    graph.get(f"{ROOT}/me", json=USER)
    graph.get(f"{ROOT}/me/drives", json={"value": [DRIVE], "@odata.nextLink": f"{ROOT}/me/drives?page=2"})
    graph.get(f"{ROOT}/me/drives?page=2", json={"value": [OTHER]})
    assert my_drive(world.client(), wanted).id == "b!other"


@pytest.mark.parametrize(("wanted", "said"), [("nothing", "no drive"), ("OneDrive", "several drives")])
def test_no_such_drive(world: Any, graph: Graph, wanted: str, said: str) -> None:
    """A name that fits none, or more than one, is refused with the drives there are."""
    graph.get(f"{ROOT}/me", json=USER)
    graph.get(f"{ROOT}/me/drives", json={"value": [DRIVE, {**OTHER, "name": "OneDrive"}]})
    with pytest.raises(NotFound, match=said) as caught:
        my_drive(world.client(), wanted)
    assert "b!other" in str(caught.value)


def test_a_users_drive(world: Any, graph: Graph) -> None:
    """By UPN, whose odd characters are encoded; then by the object id."""
    graph.get(f"{ROOT}/users/o%27neil%23EXT%23%40contoso.example", json=USER)
    graph.get(f"{ROOT}/users/{USER['id']}/drive", json=DRIVE)
    assert user_drive(world.client(), "o'neil#EXT#@contoso.example").account.id == USER["id"]


def test_unknown_account(world: Any, graph: Graph, error_body: Body) -> None:
    """An account that the directory does not know: exit code 1, reason account-gone."""
    graph.get(f"{ROOT}/users/nobody", status=404, json=error_body("Request_ResourceNotFound", "does not exist"))
    with pytest.raises(DrivekeepError) as caught:
        user_drive(world.client(), "nobody")
    assert (caught.value.exit_code, caught.value.reason) == (1, "account-gone")
    assert caught.value.remedy


@pytest.mark.parametrize(
    ("status", "code", "message"),
    [
        (404, "ResourceNotFound", "User's mysite not found."),
        (404, "UnknownError", "Unable to retrieve user's mysite URL."),
        (404, "itemNotFound", "404 FILE NOT FOUND"),
        (400, "invalidRequest", "Tenant does not have a SPO license."),
    ],
)
def test_no_drive(world: Any, graph: Graph, error_body: Body, status: int, code: str, message: str) -> None:
    """Microsoft's ways to say that there is no OneDrive: exit code 1, reason no-drive, asked once."""
    graph.get(f"{ROOT}/users/x", json=USER)
    graph.get(f"{ROOT}/users/{USER['id']}/drive", status=status, json=error_body(code, message))
    with pytest.raises(DrivekeepError) as caught:
        user_drive(world.client(), "x")
    assert (caught.value.exit_code, caught.value.reason, len(graph.calls)) == (1, "no-drive", 2)


def test_blocked_drive(world: Any, graph: Graph, error_body: Body) -> None:
    """A site that an administrator has locked: exit code 1, reason drive-blocked."""
    graph.get(
        f"{ROOT}/drives/b!x/root", status=423, json=error_body("notAllowed", "Access to this site has been blocked.")
    )
    with pytest.raises(DrivekeepError) as caught:
        root_item(world.client(), "b!x")
    assert (caught.value.exit_code, caught.value.reason) == (1, "drive-blocked")


def test_forbidden_is_no_missing_drive(world: Any, graph: Graph, error_body: Body) -> None:
    """403 means a missing permission, and stays that."""
    graph.get(f"{ROOT}/users/x", status=403, json=error_body("Authorization_RequestDenied"))
    with pytest.raises(Forbidden):
        user_drive(world.client(), "x")


def test_an_item_with_its_link(world: Any, graph: Graph) -> None:
    """The item as it is now and the link to its content; or none, where Graph gives none."""
    link = "https://contoso-my.sharepoint.com/x?tempauth=1"
    graph.get(f"{ROOT}/drives/b!x/items/01FILE", json={**FILE, "@microsoft.graph.downloadUrl": link})
    graph.get(f"{ROOT}/drives/b!x/items/01FILE", json=FILE)
    item, found = get_item(world.client(), "b!x", "01FILE")
    assert (item.name, item.size, found) == ("a.txt", 3, link)
    assert get_item(world.client(), "b!x", "01FILE")[1] is None
    assert "content.downloadUrl" in graph.calls[0].request.params["$select"]


def test_a_missing_item(world: Any, graph: Graph, error_body: Body) -> None:
    """404 for an item is NotFound, which nothing else is."""
    graph.get(f"{ROOT}/drives/b!x/items/01FILE", status=404, json=error_body("itemNotFound"))
    with pytest.raises(NotFound):
        get_item(world.client(), "b!x", "01FILE")


def test_item_at_path(world: Any, graph: Graph) -> None:
    """Each part of a path is encoded by itself; slashes around it do not matter; the empty path is the root."""
    graph.get(f"{ROOT}/drives/b!x/root:/a%20b/50%25%20%23%3A%C3%A9", json={**FILE, "folder": {}})
    graph.get(f"{ROOT}/drives/b!x/root", json={"id": "01R", "root": {}})
    assert item_at_path(world.client(), "b!x", "/a b/50% #:é/").id == "01FILE"
    assert item_at_path(world.client(), "b!x", "/").root


@pytest.mark.parametrize("path", ["../../me", "a/../b", ".", "a/."])
def test_a_path_leads_nowhere_else(world: Any, path: str) -> None:
    """Steps upwards would make another request of it: refused before anything is sent."""
    with pytest.raises(Usage):
        item_at_path(world.client(), "b!x", path)
