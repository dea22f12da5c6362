"""The hub's HTTP interface: filters, purging, restarting and what is refused."""

import datetime
import json
from typing import Any

from backup_core.testing.durable_host.client_binding import client_binding
from backup_core.testing.durable_host.management import Management


def _management(sample: Any) -> Management:
    return Management(sample.hub, lambda: client_binding("http://127.0.0.1:1/durabletask/", "Sample"))


def test_who_is_listed_and_purged(sample: Any) -> None:
    """By time of creation, status and prefix; what runs is never purged by a filter."""

    async def work(sample: Any) -> None:
        management = _management(sample)
        for number in range(3):
            await sample.result("one", "1", f"old-{number}")
        sample.clock.advance(8 * 86400)
        await sample.result("stern", None, "new-failed")
        sample.hub.alarms.skip = None
        sample.hub.begin("patient", None, "new-waiting")

        async def ids(**query: str) -> list[str]:
            reply = await management.answer("GET", "instances/", query, b"")
            return [each["instanceId"] for each in reply.content]

        week_ago = (sample.clock.now() - datetime.timedelta(days=7)).isoformat()
        assert await ids() == ["old-0", "old-1", "old-2", "new-failed", "new-waiting"]
        assert await ids(createdTimeTo=week_ago) == ["old-0", "old-1", "old-2"]
        assert await ids(createdTimeFrom=week_ago.replace("+", " ")) == ["new-failed", "new-waiting"]
        assert await ids(runtimeStatus="Failed,Terminated") == ["new-failed"]
        assert await ids(instanceIdPrefix="new-") == ["new-failed", "new-waiting"]
        page = await management.answer("GET", "instances/", {"top": "2"}, b"")
        assert len(page.content) == 2
        assert await ids(top="9", continuationToken=page.headers["x-ms-continuation-token"]) == (await ids())[2:]
        purge = {"createdTimeTo": week_ago, "runtimeStatus": "Completed"}
        assert (await management.answer("DELETE", "instances/", purge, b"")).content == {"instancesDeleted": 3}
        assert (await management.answer("DELETE", "instances/", purge, b"")).status == 404
        assert (await management.answer("DELETE", "instances/", {}, b"")).content == {"instancesDeleted": 1}
        assert await ids() == ["new-waiting"]
        assert (await management.answer("DELETE", "instances/new-waiting", {}, b"")).status == 200
        assert await ids() == []

    sample.in_hub(work)


def test_one_instance_through_its_life(sample: Any) -> None:
    """Started, asked, suspended, resumed, told of an event, ended; then it takes no more, and can be started anew."""

    async def work(sample: Any) -> None:
        sample.hub.alarms.skip = None
        management = _management(sample)

        async def post(path: str, body: Any = None, **query: str) -> int:
            data = b"" if body is None else json.dumps(json.dumps(body)).encode()
            return (await management.answer("POST", path, query, data)).status

        started = await management.answer("POST", "orchestrators/patient/p%201", {}, b"")
        assert started.content["id"] == "p 1"
        assert (await management.answer("GET", "instances/p%201", {"showHistory": "true"}, b"")).status == 202
        assert await post("instances/p 1/suspend") == 202
        assert await post("instances/p 1/resume") == 202
        assert await post("instances/p 1/raiseEvent/go", {"a": 1}) == 202
        await sample.hub.ended("p 1")
        ended = await management.answer("GET", "instances/p%201", {"showHistory": "true", "showInput": "false"}, b"")
        assert (ended.status, ended.content["output"]) == (200, {"event": {"a": 1}})
        assert ended.content["historyEvents"]
        assert await post("instances/p 1/raiseEvent/go") == 410
        assert await post("instances/p 1/terminate", reason="late") == 410
        assert await post("instances/p 1/restart", restartWithNewInstanceId="false") == 202
        assert await post("orchestrators/patient/p 1") == 500
        assert await post("instances/p 1/terminate", reason="enough") == 202
        assert sample.hub.instances["p 1"].output == "enough"

    sample.in_hub(work)


def test_what_is_refused(sample: Any) -> None:
    """An unknown orchestrator and a body that is no JSON are 400 with the text that the SDK shows; all else is 404."""

    async def work(sample: Any) -> None:
        management = _management(sample)
        for path, body in (("orchestrators/nowhere", b""), ("orchestrators/one", b"{")):
            reply = await management.answer("POST", path, {}, body)
            assert reply.status == 400
            assert reply.content["ExceptionMessage"]
        for method, path in (
            ("GET", "instances/nowhere"),
            ("POST", "instances/nowhere/terminate"),
            ("PUT", "instances"),
            ("GET", "entities"),
            ("GET", ""),
        ):
            assert (await management.answer(method, path, {}, b"")).status == 404

    sample.in_hub(work)
