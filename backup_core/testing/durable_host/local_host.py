"""The host itself: a worker, the task hub, the timers, the public port and the hub's own port, put together.

What answers on the public port are the app's functions and the admin route of its timers, nothing else: the hub's
interface has a port of its own, on loopback, behind a path that only this process and its workers know.
"""

import asyncio
import contextlib
import hmac
import logging
import secrets
from collections.abc import Callable, Mapping

from aiohttp import web

from backup_core.clock import Clock
from backup_core.errors import Usage
from backup_core.testing.durable_host.client_binding import client_binding
from backup_core.testing.durable_host.host_json import HostSettings, expanded
from backup_core.testing.durable_host.http_door import answered, closed, opened, received
from backup_core.testing.durable_host.hub import TaskHub
from backup_core.testing.durable_host.management import Management
from backup_core.testing.durable_host.routes import Route, RouteTable
from backup_core.testing.durable_host.schedule import Schedule, Timer
from backup_core.testing.durable_host.worker import FunctionFailed, FunctionInfo, Payload, Worker, WorkerLost

_log = logging.getLogger(__name__)
_ADMIN = ["admin", "functions"]


class LocalHost:
    """Everything runs on the event loop on which `start` is called."""

    def __init__(
        self,
        worker: Worker,
        settings: HostSettings,
        environment: Mapping[str, str],
        clock: Clock,
        *,
        key: str,
        easy_auth: bool = False,
        timers: bool = True,
        skip: Callable[[float], None] | None = None,
    ) -> None:
        """`key` opens the admin route and functions that are not anonymous; `skip` is for tests, see Alarms."""
        self.worker = worker
        self._settings = settings
        self._environment = environment
        self._clock = clock
        self._key = key
        self._easy_auth = easy_auth
        self._with_timers = timers
        self._skip = skip
        self._runners: list[web.AppRunner] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._rpc_url = ""
        self.timers: dict[str, Timer] = {}
        self.hub: TaskHub
        self.port = 0

    async def start(self, host: str = "127.0.0.1", port: int = 0) -> None:
        """Returns when requests are answered. DrivekeepError for an app that cannot run, OSError for the port."""
        await self.worker.start()
        functions = self.worker.functions
        self._routes = RouteTable(functions.values(), self._settings.route_prefix)
        self.hub = TaskHub(self.worker, self._clock, limits=self._settings.limits, skip=self._skip)
        self.timers = {name: self._timer(each) for name, each in functions.items() if each.kind == "timerTrigger"}
        await self._open_hub()
        runner, self.port = await opened(self._serve, host, port)
        self._runners.append(runner)
        self.hub.start()
        if self._with_timers:
            for timer in self.timers.values():
                self._spawn(timer)

    async def stop(self) -> None:
        """Functions that are at work are left to themselves."""
        for task in list(self._tasks):
            task.cancel()
        with contextlib.suppress(AttributeError):  # it never came to a hub
            await self.hub.stop()
        await self.worker.stop()
        await closed(self._runners)

    def binding(self) -> str:
        """What a durable client is given."""
        return client_binding(self._rpc_url, self._settings.hub_name)

    # -- timers --------------------------------------------------------------------------------------------------------

    def _timer(self, function: FunctionInfo) -> Timer:
        async def fire(info: str) -> None:
            try:
                await self._call(function, ("json", info))
            except (FunctionFailed, WorkerLost) as error:
                self._log_failure(function.name, error)  # the next run may do better

        try:
            return Timer(Schedule(expanded(function.trigger["schedule"], self._environment)), self._clock, fire)
        except Usage as error:
            raise Usage(
                f"The timer {function.name} cannot be started. {error.what}", why=error.why, remedy=error.remedy
            ) from None

    def _spawn(self, timer: Timer, *, now: bool = False) -> None:
        task = asyncio.get_running_loop().create_task(timer.run_now() if now else timer.run())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    # -- the public port -----------------------------------------------------------------------------------------------

    async def _serve(self, request: web.Request) -> web.StreamResponse:
        path = request.raw_path.partition("?")[0]
        if "%00" in path or "\0" in path:
            return web.Response(status=400)
        if [part.lower() for part in path.split("/")[1:3]] == _ADMIN:
            return self._admin(request, path.split("/")[3:])
        found = self._routes.find(request.method, path)
        if found is None:
            return web.Response(status=404)
        route, values = found
        if route.level != "ANONYMOUS" and not self._has_key(request):
            return web.Response(status=401)
        return await self._answer(request, route, values)

    async def _answer(self, request: web.Request, route: Route, values: dict[str, str]) -> web.StreamResponse:
        call = await received(request, values, keep_principal=self._easy_auth)
        try:
            return answered(await self._call(self.worker.functions[route.function], ("http", call)))
        except (FunctionFailed, WorkerLost) as error:
            self._log_failure(route.function, error)
            return web.Response(status=500)

    def _admin(self, request: web.Request, rest: list[str]) -> web.Response:
        """Azure's way to run a function by hand; here only for timers."""
        if not self._has_key(request):
            return web.Response(status=401)
        if request.method != "POST" or len(rest) != 1 or rest[0] not in self.timers:
            return web.Response(status=404)
        self._spawn(self.timers[rest[0]], now=True)
        return web.Response(status=202)

    def _has_key(self, request: web.Request) -> bool:
        given = request.headers.get("x-functions-key") or request.query.get("code") or ""
        return hmac.compare_digest(given.encode(errors="surrogateescape"), self._key.encode())

    async def _call(self, function: FunctionInfo, trigger: Payload) -> Payload | None:
        inputs: dict[str, Payload] = {name: ("string", self.binding()) for name in function.clients}
        inputs[function.trigger["name"]] = trigger
        return await self.worker.call(function.name, inputs, self._settings.limits.timeout_seconds)

    def _log_failure(self, name: str, error: Exception) -> None:
        """The stack is for the person at this machine; it never leaves by HTTP."""
        _log.warning("function %s failed: %s", name, error)
        if isinstance(error, FunctionFailed):
            for line in error.stack.splitlines():
                _log.info("%s: %s", name, line)

    # -- the hub's own port --------------------------------------------------------------------------------------------

    async def _open_hub(self) -> None:
        secret = secrets.token_urlsafe(16)  # so that no page in a browser of this machine can start orchestrations
        management = Management(self.hub, self.binding)
        root = f"/{secret}/durabletask/"

        async def serve(request: web.Request) -> web.StreamResponse:
            path = request.raw_path.partition("?")[0]
            if not path.startswith(root):
                return web.Response(status=404)
            body = await request.read()
            reply = await management.answer(request.method, path.removeprefix(root), dict(request.query), body)
            if reply.content is None:
                return web.Response(status=reply.status, headers=reply.headers)
            return web.json_response(reply.content, status=reply.status, headers=reply.headers)

        runner, port = await opened(serve, "127.0.0.1", 0)
        self._runners.append(runner)
        self._rpc_url = f"http://127.0.0.1:{port}{root}"
