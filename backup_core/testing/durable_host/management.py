"""The hub's HTTP interface, which the SDK's durable client speaks: starting, status, events, terminating, purging.

It knows no sockets: a request goes in, an answer comes out. Who may reach it is decided by who opens the port.
"""

import datetime
import json
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple
from urllib.parse import unquote

from backup_core.testing.durable_host.history import moment_of
from backup_core.testing.durable_host.hub import AlreadyRunning, NoSuchOrchestrator, TaskHub
from backup_core.testing.durable_host.instance import Instance

_PAGE = 100


class Reply(NamedTuple):
    """`content` None: an empty body."""

    status: int
    content: Any = None
    headers: Mapping[str, str] = {}


class Management:
    def __init__(self, hub: TaskHub, binding: Callable[[], str]) -> None:
        """`binding` gives the text of `client_binding`, whose links a started orchestration is answered with."""
        self._hub = hub
        self._binding = binding

    async def answer(self, method: str, path: str, query: Mapping[str, str], body: bytes) -> Reply:
        """`path` relative to the interface's root, still percent-encoded."""
        parts = [unquote(part) for part in path.strip("/").split("/")]
        try:
            return await self._handled(method, parts, query, body)
        except (NoSuchOrchestrator, ValueError) as error:
            return Reply(400, _exception(error, "System.ArgumentException"))
        except AlreadyRunning as error:
            return Reply(500, _exception(error, "System.InvalidOperationException"))

    async def _handled(self, method: str, parts: list[str], query: Mapping[str, str], body: bytes) -> Reply:
        match method, parts:
            case "POST", ["orchestrators", name, *rest] if len(rest) < 2:
                return self._begin(name, rest[0] if rest else None, body)
            case "GET", ["instances"]:
                return self._list(query)
            case "DELETE", ["instances"]:
                return self._purge([each for each in self._chosen(query) if each.ended])
            case _, ["instances", instance_id, *rest] if instance_id in self._hub.instances:
                return await self._of_one(method, self._hub.instances[instance_id], rest, query, body)
        return Reply(404)

    async def _of_one(
        self, method: str, instance: Instance, rest: list[str], query: Mapping[str, str], body: bytes
    ) -> Reply:
        match method, [word.lower() for word in rest]:
            case "GET", []:
                return self._status(instance, query)
            case "DELETE", []:
                return self._purge([instance])
            case "POST", ["restart"]:
                return self._restart(instance, query)
            case "POST", _ if instance.ended:
                return Reply(410)
            case "POST", ["raiseevent", _]:
                self._hub.raise_event(instance, rest[1], _json_text(body) or "null")
            case "POST", ["terminate"]:
                await self._hub.terminate(instance, query.get("reason", ""))
            case "POST", ["suspend"]:
                self._hub.suspend(instance)
            case "POST", ["resume"]:
                self._hub.resume(instance)
            case _:
                return Reply(404)
        return Reply(202)

    def _begin(self, name: str, instance_id: str | None, body: bytes) -> Reply:
        return self._started(self._hub.begin(name, _json_text(body), instance_id))

    def _restart(self, instance: Instance, query: Mapping[str, str]) -> Reply:
        new_id = None if query.get("restartWithNewInstanceId", "true").lower() == "true" else instance.id
        return self._started(self._hub.begin(instance.name, instance.input, new_id))

    def _started(self, instance_id: str) -> Reply:
        links = json.loads(self._binding())["managementUrls"]
        links = {name: link.replace("INSTANCEID", instance_id) for name, link in links.items()}
        return Reply(202, links, {"Location": links["statusQueryGetUri"], "Retry-After": "10"})

    def _status(self, instance: Instance, query: Mapping[str, str]) -> Reply:
        content = instance.described(
            with_input=_flag(query, "showInput", default=True), with_history=_flag(query, "showHistory")
        )
        return Reply(200 if instance.ended else 202, content)

    def _list(self, query: Mapping[str, str]) -> Reply:
        chosen = self._chosen(query)
        first = int(query.get("continuationToken", "0"))
        page = chosen[first : first + int(query.get("top", _PAGE))] if "top" in query else chosen
        with_input = _flag(query, "showInput")
        content = [instance.described(with_input=with_input, with_history=False) for instance in page]
        more = first + len(page) < len(chosen)
        return Reply(200, content, {"x-ms-continuation-token": str(first + len(page))} if more else {})

    def _chosen(self, query: Mapping[str, str]) -> list[Instance]:
        """Those that pass every filter, oldest first."""
        statuses = {status.lower() for status in query.get("runtimeStatus", "").split(",") if status}
        prefix = query.get("instanceIdPrefix", "")
        first, last = _time(query.get("createdTimeFrom")), _time(query.get("createdTimeTo"))
        return [
            each
            for each in self._hub.instances.values()
            if each.id.startswith(prefix)
            and (not statuses or each.status.lower() in statuses)
            and (first is None or each.created >= first)
            and (last is None or each.created <= last)
        ]

    def _purge(self, chosen: list[Instance]) -> Reply:
        for instance in chosen:
            del self._hub.instances[instance.id]
        return Reply(200, {"instancesDeleted": len(chosen)}) if chosen else Reply(404)


def _json_text(body: bytes) -> str | None:
    """The SDK sends JSON text inside a JSON string; other callers send the JSON itself."""
    if not body:
        return None
    value = json.loads(body)
    return value if isinstance(value, str) else json.dumps(value)


def _flag(query: Mapping[str, str], name: str, *, default: bool = False) -> bool:
    return query.get(name, str(default)).lower() == "true"


def _time(text: str | None) -> datetime.datetime | None:
    return moment_of(text.replace(" ", "+")) if text else None  # a plus sign that came unquoted


def _exception(error: Exception, kind: str) -> dict[str, str]:
    return {
        "Message": "Something went wrong while processing your request",
        "ExceptionMessage": str(error),
        "ExceptionType": kind,
        "StackTrace": "",
    }
