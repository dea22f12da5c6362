"""From a route of the table and its handler to a function that the Functions host calls. It knows no single route."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import azure.durable_functions as df
import azure.functions as func
import msgspec

from backup_core.service import Service, current
from backup_core.triggers.http import Answer, Refusal, Request, answer, answer_async
from backup_core.triggers.principal import Operator, find_operator, require_operator
from backup_core.triggers.routes import Route
from backup_core.triggers.shapes import NoBody

Q = TypeVar("Q", bound=msgspec.Struct)
B = TypeVar("B", bound=msgspec.Struct)
R = TypeVar("R")


@dataclass(frozen=True)
class Call(Generic[Q, B, R]):
    """A request that may be made, with what it asks for decoded. `caller`: None only where anyone may."""

    route: Route[Q, B, R]
    request: Request
    service: Service
    caller: Operator | None
    query: Q
    body: B

    @property
    def operator(self) -> Operator:
        assert self.caller is not None, "the route is for operators"
        return self.caller

    def answer(self, document: R, headers: Mapping[str, str] | None = None, tenant: str = "") -> Answer:
        """`tenant`: whose lanes are to be looked at when the answer is made."""
        made = Answer.json(document, self.route.status, headers)
        made.tenant = tenant
        return made


Handle = Callable[[Call[Q, B, R]], Answer]
After = Callable[[df.DurableOrchestrationClient, Answer], Awaitable[None]]


def carry_out(route: Route[Q, B, R], handle: Handle[Q, B, R], request: Request, service: Service) -> Answer:
    """Who may, then what is asked, then the handler: a stranger learns nothing of what a route takes. Refusal."""
    caller = require_operator(request, service) if route.who == "operator" else _known(request, service)
    if route.writes:
        request.refuse_foreign_origin()
        request.refuse_other_types()
    query = _query(request, route.query)
    return handle(Call(route, request, service, caller, query, _body(request, route)))


def serve(blueprint: func.Blueprint | df.Blueprint, route: Route[Q, B, R], handle: Handle[Q, B, R]) -> None:
    """Register the route's function."""

    def function(req: func.HttpRequest) -> func.HttpResponse:
        return answer(req, _with_service(route, handle))

    _registered(blueprint, route, function)


def serve_then(blueprint: df.Blueprint, route: Route[Q, B, R], handle: Handle[Q, B, R], after: After) -> None:
    """The same, and then `after` with the durable client."""

    async def function(req: func.HttpRequest, client: df.DurableOrchestrationClient) -> func.HttpResponse:
        async def then(made: Answer) -> None:
            await after(client, made)

        return await answer_async(req, _with_service(route, handle), after=then)

    _registered(blueprint, route, blueprint.durable_client_input(client_name="client")(function))


def _with_service(route: Route[Q, B, R], handle: Handle[Q, B, R]) -> Callable[[Request], Answer]:
    return lambda request: carry_out(route, handle, request, current.get())


def _registered(blueprint: func.Blueprint | df.Blueprint, route: Route[Any, Any, Any], function: Any) -> None:
    routed = blueprint.route(route=route.path, methods=[route.method], auth_level=func.AuthLevel.ANONYMOUS)
    blueprint.function_name(route.name)(routed(function))


def _known(request: Request, service: Service) -> Operator | None:
    """Where anyone may: a key or principal that is none makes nobody, not an error."""
    try:
        return find_operator(request, service)
    except Refusal:
        return None


def _query(request: Request, shape: type[Q]) -> Q:
    """The query as `shape`; Refusal 400 names the parameter."""
    given = {name: request.param(name) for name in request.query}
    try:
        return msgspec.convert(given, shape, strict=False)
    except msgspec.ValidationError as error:
        raise Refusal(400, "query", f"The query is not what this route asks for: {error}"[:500]) from None


def _body(request: Request, route: Route[Q, B, R]) -> B:
    """The body as the route has it. Refusal."""
    if not route.writes and request.body:
        raise Refusal(400, "body", "This route takes no body.")
    if route.body is NoBody and not request.body:
        return route.body()
    return request.json(route.body)
