"""Routes of drives: whose they are, what they are called; and the way from a drive's URL to its items."""

from typing import Any

from backup_core.testing.m365.call import Call
from backup_core.testing.m365.directory import User
from backup_core.testing.m365.drive import Drive
from backup_core.testing.m365.graph_errors import GraphError, item_not_found, no_such_user, site_blocked
from backup_core.testing.m365.ids import with_defects
from backup_core.testing.m365.permissions import require_drive, require_files
from backup_core.testing.m365.rendering import moment, person
from backup_core.testing.m365.routes_items import answer_item
from backup_core.testing.m365.select import Selection
from backup_core.testing.m365.wire import Response

# The ways in which Microsoft says that somebody has no OneDrive.
_NO_DRIVE = {
    "mysite-not-found": (404, "ResourceNotFound", "User's mysite not found."),
    "mysite-url": (404, "UnknownError", "Unable to retrieve user's mysite URL."),
    "file-not-found": (404, "UnknownError", "404 FILE NOT FOUND"),
    "no-licence": (400, "BadRequest", "Tenant does not have a SPO license."),
}


def my_drive(call: Call, rest: str) -> Response:
    require_files(call.grant)
    return _answer(call, _default_drive(call, call.me()), rest)


def users_drive(call: Call, key: str, rest: str) -> Response:
    require_files(call.grant)
    return _answer(call, _default_drive(call, _user(call, key)), rest)


def drive_by_id(call: Call, drive_id: str, rest: str) -> Response:
    require_files(call.grant)
    drive = call.directory.drive(drive_id)
    if drive is None:
        raise item_not_found()
    return _answer(call, drive, rest)


def my_drives(call: Call) -> Response:
    require_files(call.grant)
    return _list(call, call.me())


def users_drives(call: Call, key: str) -> Response:
    require_files(call.grant)
    return _list(call, _user(call, key))


def _answer(call: Call, drive: Drive, rest: str) -> Response:
    require_drive(call.grant, drive)
    if drive.blocked:
        raise site_blocked()
    if rest.strip("/"):
        return answer_item(call, drive, rest)
    return Response.of_json({"@odata.context": f"{call.graph_base}/$metadata#drives/$entity", **_drive(call, drive)})


def _list(call: Call, user: User) -> Response:
    _default_drive(call, user)
    for drive in user.drives:
        require_drive(call.grant, drive)
    value = [_drive(call, drive) for drive in user.drives]
    return Response.of_json({"@odata.context": f"{call.graph_base}/$metadata#drives", "value": value})


def _user(call: Call, key: str) -> User:
    user = call.directory.user(key)
    if user is None:
        raise no_such_user(key)
    return user


def _default_drive(call: Call, user: User) -> Drive:
    if user.drive is None:
        raise GraphError(*_NO_DRIVE[user.no_drive_text or call.switches.no_drive_text])
    return user.drive


def _drive(call: Call, drive: Drive) -> dict[str, Any]:
    defects = call.switches.personal_id_defects and drive.type == "personal"
    with drive.lock:
        used = drive.root.size
        modified = drive.root.served_modified
    quota = {
        "total": drive.quota_bytes,
        "used": used,
        "remaining": max(0, drive.quota_bytes - used),
        "deleted": 0,
        "state": "normal" if used < drive.quota_bytes else "exceeded",
    }
    every = {
        "createdDateTime": moment(drive.root.created),
        "id": with_defects(drive.id, call.turn) if defects else drive.id,
        "lastModifiedDateTime": moment(modified),
        "name": drive.name,
        "webUrl": drive.web_url,
        "driveType": drive.type,
        "createdBy": person(drive),
        "owner": person(drive),
        "quota": quota,
    }
    selection = Selection.of(call.request.query)
    return {name: value for name, value in every.items() if name in selection}
