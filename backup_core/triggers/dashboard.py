"""`GET /`: the overview for operators, the welcome page for everybody else; and the files that pages refer to."""

import re

import azure.functions as func

from backup_core.service import Service, current
from backup_core.settings.platform import signs_people_in
from backup_core.triggers import pages
from backup_core.triggers.http import Answer, Refusal, Request, answer
from backup_core.triggers.overview import overview
from backup_core.triggers.principal import Operator, Person, find_operator, find_person
from backup_core.triggers.problems import not_here

blueprint = func.Blueprint()

# Where App Service authentication lets a person in and out; it serves these itself.
_SIGN_IN = "/.auth/login/aad?post_login_redirect_uri=/"
_SIGN_OUT = "/.auth/logout?post_logout_redirect_uri=/"

_FOR_EVER = "public, max-age=31536000, immutable"  # the name changes with the content
_TENANT_ID = re.compile(r"[0-9a-fA-F-]{36}\Z")


@blueprint.function_name("show_home")
@blueprint.route("{ignored:maxlength(0)?}", methods=["GET"], auth_level=func.AuthLevel.ANONYMOUS)
def show_home(req: func.HttpRequest) -> func.HttpResponse:
    return answer(req, lambda request: home(request, current.get()), page=True)


@blueprint.function_name("get_asset")
@blueprint.route("assets/{name}", methods=["GET"], auth_level=func.AuthLevel.ANONYMOUS)
def get_asset(req: func.HttpRequest) -> func.HttpResponse:
    return answer(req, asset, page=True)


def home(request: Request, service: Service) -> Answer:
    """The overview of what the caller may see; for anybody else, whatever proof they sent, the welcome page."""
    operator, person = _caller(request, service)
    if operator is None:
        sign_in = _SIGN_IN if _people_sign_in(service) else ""
        return Answer.page(pages.render("welcome", sign_in=sign_in, signed_in_as=person.name if person else ""))
    after = request.param("after")
    if after is not None and not _TENANT_ID.match(after):
        raise Refusal(400, "query", "after is not the id of an organisation.")
    seen = overview(service, operator.tenant, after)
    sign_out = _SIGN_OUT if person else ""
    html = pages.render(
        "dashboard", overview=seen, now=service.clock.now(), signed_in_as=operator.who, sign_out=sign_out
    )
    return Answer.page(html)


def asset(request: Request) -> Answer:
    """A stylesheet or a picture. Refusal 404 for a name that no page of this version refers to."""
    found = pages.asset(request.route.get("name", ""))
    if found is None:
        raise not_here()
    return Answer(200, found.body, found.content_type, {"Cache-Control": _FOR_EVER})


def _caller(request: Request, service: Service) -> tuple[Operator | None, Person | None]:
    try:
        return find_operator(request, service), find_person(request, service)
    except Refusal:  # a wrong key, or a principal that nobody can have sent
        return None, None


def _people_sign_in(service: Service) -> bool:
    return str(service.settings.text("DRIVEKEEP_TRUST_PRINCIPAL")) == "true" and signs_people_in()
