"""How the sign-in host sends a browser back to an app, and the page it shows where it must not send it anywhere."""

from html import escape
from urllib.parse import urlencode, urlsplit

from backup_core.testing.m365.refusals import Refused
from backup_core.testing.m365.registrations import Registration
from backup_core.testing.m365.wire import Request, Response

_HTML = {"content-type": "text/html; charset=utf-8"}


def redirect_uri(request: Request, app: Registration) -> str:
    """Where this request wants the browser sent. Raises Refused unless the app is registered there."""
    uri = request.query.get("redirect_uri", "")
    if not uri:
        raise Refused(900971)
    if not app.redirects_to(uri):
        raise Refused(50011, uri)
    return uri


def redirect(request: Request, uri: str, answer: dict[str, str]) -> Response:
    """Sends the browser back with the answer and the request's own `state`, in the mode that the request chose."""
    fields = answer | ({"state": request.query["state"]} if "state" in request.query else {})
    if request.query.get("response_mode") == "form_post":
        inputs = "".join(f'<input type="hidden" name="{escape(k)}" value="{escape(v)}">' for k, v in fields.items())
        page = f'<!DOCTYPE html><form method="post" action="{escape(uri)}">{inputs}<button>Continue</button></form>'
        return Response(200, dict(_HTML), page.encode())
    mark = "#" if request.query.get("response_mode") == "fragment" else "&" if urlsplit(uri).query else "?"
    return Response(302, {"location": f"{uri}{mark}{urlencode(fields)}"})


def error_page(refusal: Refused) -> Response:
    """To whom it may concern: an app that is unknown here, or wrongly addressed, never gets the browser back."""
    page = f"<!DOCTYPE html><title>Sign in</title><h1>Sorry, we cannot sign you in</h1><p>{escape(str(refusal))}</p>"
    return Response(400, dict(_HTML), page.encode())
