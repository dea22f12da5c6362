"""Whose a request is: tenant, app and drive, read from it alone, for the log. It allows and refuses nothing."""

import re
from typing import NamedTuple
from urllib.parse import unquote

from backup_core.testing.m365.download_urls import read_tempauth
from backup_core.testing.m365.tenants import Tenants
from backup_core.testing.m365.tokens import TokenBook
from backup_core.testing.m365.wire import Request

_DRIVE = re.compile(r"/v1\.0/drives/([^/]+)")


class Party(NamedTuple):
    """Ids; "" for what cannot be told. `app` is known of requests to Graph, `drive` of those that name it by its id."""

    tenant: str = ""
    app: str = ""
    drive: str = ""


class Parties:
    def __init__(self, tenants: Tenants, tokens: TokenBook) -> None:
        self._tenants, self._tokens = tenants, tokens

    def of(self, request: Request) -> Party:
        if request.origin == "graph":
            return self._at_graph(request)
        if request.origin == "content":
            return self._at_content(request)
        directory = self._tenants.find(unquote(request.path.split("/")[1]))
        return Party(directory.tenant.id) if directory else Party()

    def _at_graph(self, request: Request) -> Party:
        grant = self._tokens.check(request.bearer() or "")
        if grant is None:
            return Party()
        directory, named = self._tenants.find(grant.tenant_id), _DRIVE.match(request.path)
        drive = directory.drive(unquote(named[1])) if directory and named else None
        return Party(grant.tenant_id, grant.app_id, drive.id if drive else "")

    def _at_content(self, request: Request) -> Party:
        download = read_tempauth(request.query.get("tempauth", ""), self._tenants.first.url_key)
        found = self._tenants.drive(download.drive_id) if download else None
        return Party(found[0].tenant.id, drive=found[1].id) if found else Party()
