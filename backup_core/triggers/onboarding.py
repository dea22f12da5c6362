"""The pages on which organisations and single people connect: there, to Microsoft, and back with an outcome.

What an outcome means for the registry is `backup_core.onboarding`; how it reads is `outcomes.py`. An address here leads
nowhere but to this app and to the sign-in host, and holds no secret but the state.
"""

import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Literal

import azure.durable_functions as df
import azure.functions as func

from backup_core import service as services
from backup_core.errors import AccessDenied
from backup_core.graph.sign_in_host import error_numbers
from backup_core.onboarding.connect import PERSONAL_TENANT, code_sign_in, connect, open_flow, seal_flow
from backup_core.onboarding.consent import Settled, consent_address, settle_patiently
from backup_core.onboarding.needs import Service
from backup_core.onboarding.state import KEY_INFO, STATE_SECONDS, StateRefused, States, new_binding
from backup_core.triggers import lanes, pages
from backup_core.triggers.http import Answer, Request, answer, answer_async, set_cookie

blueprint = df.Blueprint()

Way = Literal["onboard", "connect"]

WHO = "onboarding page"  # in the audit trail
_COOKIE: dict[Way, str] = {"onboard": "drivekeep-onboard", "connect": "drivekeep-connect"}
# The page is promised within 30 seconds. Whatever takes longer goes on behind it.
_ANSWER_SECONDS = 25.0
_DETAIL_MAX = 300
_GUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_BAD_REQUEST = frozenset({"expired", "error", "wrong-tenant"})


@blueprint.function_name("show_onboard")
@blueprint.route("onboard", methods=["GET"], auth_level=func.AuthLevel.ANONYMOUS)
def show_onboard(req: func.HttpRequest) -> func.HttpResponse:
    return answer(req, _with_service(onboard), page=True)


@blueprint.function_name("start_onboard")
@blueprint.route("onboard/start", methods=["GET"], auth_level=func.AuthLevel.ANONYMOUS)
def start_onboard(req: func.HttpRequest) -> func.HttpResponse:
    return answer(req, _with_service(onboard_start), page=True)


@blueprint.function_name("finish_onboard")
@blueprint.route("onboard/callback", methods=["GET"], auth_level=func.AuthLevel.ANONYMOUS)
@blueprint.durable_client_input(client_name="client")
async def finish_onboard(req: func.HttpRequest, client: df.DurableOrchestrationClient) -> func.HttpResponse:
    enrolments: list[tuple[str, str]] = []

    async def after(_: Answer) -> None:
        for tenant, prove in enrolments:
            await lanes.start_enrolment(client, tenant, prove)

    def handle(request: Request, service: Service) -> Answer:
        return onboard_callback(request, service, lambda tenant, prove: enrolments.append((tenant, prove)))

    return await answer_async(req, _with_service(handle), page=True, after=after)


@blueprint.function_name("show_connect")
@blueprint.route("connect", methods=["GET"], auth_level=func.AuthLevel.ANONYMOUS)
def show_connect(req: func.HttpRequest) -> func.HttpResponse:
    return answer(req, _with_service(connect_page), page=True)


@blueprint.function_name("start_connect")
@blueprint.route("connect/start", methods=["GET"], auth_level=func.AuthLevel.ANONYMOUS)
def start_connect(req: func.HttpRequest) -> func.HttpResponse:
    return answer(req, _with_service(connect_start), page=True)


@blueprint.function_name("finish_connect")
@blueprint.route("oauth/callback", methods=["GET"], auth_level=func.AuthLevel.ANONYMOUS)
def finish_connect(req: func.HttpRequest) -> func.HttpResponse:
    return answer(req, _with_service(connect_callback), page=True)


def onboard(_: Request, service: Service) -> Answer:
    """What will be read, and where it lies."""
    approve = service.onboarding == "approve"
    return Answer.page(pages.render("onboard", place=_place(service), approve=approve, enrol=service.enrol))


def onboard_start(request: Request, service: Service) -> Answer:
    """To Microsoft's consent page, with a state that only this browser can bring back."""
    binding = new_binding()
    address = consent_address(
        service, f"{request.base_url}/onboard/callback", _states(service).issue("onboard", binding)
    )
    return Answer.redirect(address, set_cookie(request, _COOKIE["onboard"], binding, STATE_SECONDS))


def onboard_callback(request: Request, service: Service, enrol: Callable[[str, str], None]) -> Answer:
    """How the consent ended. `enrol(tenant, prove)`: users are to be read; `prove`: after a consent that is slow."""
    given = _answer_of(request)
    if "error" in given or given.get("admin_consent", "true").lower() != "true":
        return _refused("onboard", given)
    if "state" not in given:
        return _outcome("onboard", "portal")
    try:
        _states(service).redeem(given["state"], "onboard", request.cookie(_COOKIE["onboard"]))
    except StateRefused:
        return _outcome("onboard", "expired")
    gone = set_cookie(request, _COOKIE["onboard"], "", 0)
    tenant = given.get("tenant", "").lower()
    if not _GUID.fullmatch(tenant) or tenant == PERSONAL_TENANT:
        return _outcome("onboard", "error", gone)
    settled = _settled(service, tenant)
    if settled.kind == "waiting":
        enrol(tenant, WHO)
    elif settled.kind in ("granted", "already-connected"):
        enrol(tenant, "")
    return _outcome("onboard", settled.kind, gone, organization=settled.organization, missing=settled.missing)


def connect_page(_: Request, service: Service) -> Answer:
    """What a person agrees to."""
    approve = service.onboarding == "approve"
    html = pages.render("connect", place=_place(service), start_url="/connect/start", approve=approve)
    return Answer.page(html)


def connect_start(request: Request, service: Service) -> Answer:
    """To Microsoft's sign-in. The flow goes with the browser, sealed: nothing of it is kept here."""
    binding = new_binding()
    state = _states(service).issue("connect", binding)
    address, flow = code_sign_in(service).start(f"{request.base_url}/oauth/callback", state)
    sealed = seal_flow(service, flow, binding)
    return Answer.redirect(address, set_cookie(request, _COOKIE["connect"], sealed, STATE_SECONDS))


def connect_callback(request: Request, service: Service) -> Answer:
    """How the sign-in ended."""
    given = _answer_of(request)
    if "error" in given:
        return _refused("connect", given)
    flow, binding = open_flow(service, request.cookie(_COOKIE["connect"]) or "")
    try:
        _states(service).redeem(given.get("state", ""), "connect", binding)
    except StateRefused:
        return _outcome("connect", "expired")
    gone = set_cookie(request, _COOKIE["connect"], "", 0)
    if not given.get("code"):
        return _outcome("connect", "error", gone)
    try:
        signed_in = code_sign_in(service).finish(flow, given["code"])
    except AccessDenied:
        return _outcome("connect", "error", gone)
    connected = connect(service, signed_in)
    person = signed_in.person
    html = pages.render("connected", name=person.name, upn=person.upn, pending=connected.pending)
    return Answer.page(html, cookie=gone)


def _settled(service: Service, tenant: str) -> Settled:
    """Within the time that a browser waits, whatever Microsoft's servers do."""
    pool = ThreadPoolExecutor(1)
    try:
        return pool.submit(settle_patiently, service, tenant, WHO).result(_ANSWER_SECONDS)
    except TimeoutError:
        return Settled("waiting")
    finally:
        pool.shutdown(wait=False)


def _answer_of(request: Request) -> dict[str, str]:
    """Each parameter's one value. Refusal where one is given twice: which of them would count?"""
    return {name: request.param(name) or "" for name in request.query}


def _refused(way: Way, given: dict[str, str]) -> Answer:
    """Microsoft's error in this house's words; its own words are shown as text, as far as they say anything."""
    description = given.get("error_description", "")
    detail = " ".join("".join(each if each.isprintable() else " " for each in description).split())[:_DETAIL_MAX]
    return _outcome(way, _kind_of(way, given), detail=detail)


def _kind_of(way: Way, given: dict[str, str]) -> str:
    numbers = error_numbers(given)
    if 90095 in numbers:
        return "approval"
    if numbers & {90093, 90094}:
        return "not-admin"
    if numbers & {65004} or given.get("error_subcode") == "cancel":
        return "denied"
    if way == "connect" and (65001 in numbers or given.get("error") == "consent_required"):
        return "not-admin"
    return "denied" if given.get("error") in ("access_denied", "permission_denied", None) else "error"


def _outcome(way: Way, kind: str, cookie: str | None = None, **data: Any) -> Answer:
    status = 400 if kind in _BAD_REQUEST else 200
    return Answer.page(pages.render("outcome", kind=kind, way=way, **data), status, cookie)


def _states(service: Service) -> States:
    return States(service.master.derive(KEY_INFO), service.registry.nonces, service.clock)


def _place(service: Service) -> str:
    return f"In the container {service.settings.text('DRIVEKEEP_CONTAINER')} of this installation's own Azure storage"


def _with_service(handle: Callable[[Request, Service], Answer]) -> Callable[[Request], Answer]:
    return lambda request: handle(request, services.current.get())
