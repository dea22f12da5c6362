"""Between a socket and a function: an HTTP request becomes what a worker is told of it, and its answer goes back.

It does not know which functions there are; `local_host.py` does.
"""

from collections.abc import Awaitable, Callable, Iterable

from aiohttp import web
from multidict import CIMultiDict

from backup_core.testing.durable_host.worker import HttpCall, HttpReply, Payload

BODY_BYTES_MAX = 100 * 1024 * 1024  # as in Azure, where the front end cuts off there

_PRINCIPAL = ("x-ms-client-principal", "x-ms-token-")  # headers that only App Service authentication may set

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


async def received(request: web.Request, route: dict[str, str], *, keep_principal: bool) -> HttpCall:
    """Raises web.HTTPRequestEntityTooLarge."""
    headers: dict[str, str] = {}
    for spelt, value in request.headers.items():
        name = spelt.lower()
        if keep_principal or not name.startswith(_PRINCIPAL):
            headers[name] = f"{headers[name]}, {value}" if name in headers else value
    query: dict[str, str] = {}
    for name, value in request.query.items():
        if value:  # Azure leaves empty ones out; the whole query is in the URL
            query[name] = f"{query[name]},{value}" if name in query else value
    url = f"{request.scheme}://{request.host}{request.raw_path}"
    return HttpCall(request.method, url, headers, query, route, await request.read())


def answered(payload: Payload | None) -> web.Response:
    """A function may return nothing (204), text, or a whole answer."""
    if payload is None:
        return web.Response(status=204)
    kind, value = payload
    if kind != "http":
        return web.Response(text=str(value))
    assert isinstance(value, HttpReply)
    headers: CIMultiDict[str] = CIMultiDict(value.headers)
    headers.popall("content-length", None)
    for cookie in value.cookies:
        headers.add("Set-Cookie", cookie)
    return web.Response(status=value.status, headers=headers, body=value.body)


async def opened(handler: Handler, host: str, port: int) -> tuple[web.AppRunner, int]:
    """Serve every path and method with one handler; the port that was taken. Raises OSError."""
    app = web.Application(client_max_size=BODY_BYTES_MAX)
    app.router.add_route("*", "/{path:.*}", handler)
    app.on_response_prepare.append(_without_server)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0, handle_signals=False)
    await runner.setup()
    try:
        await web.TCPSite(runner, host, port).start()
    except OSError:
        await runner.cleanup()
        raise
    return runner, runner.addresses[0][1]


async def closed(runners: Iterable[web.AppRunner]) -> None:
    for runner in runners:
        await runner.cleanup()


async def _without_server(request: web.Request, response: web.StreamResponse) -> None:
    response.headers.popall("Server", None)  # versions of libraries are nobody's business
