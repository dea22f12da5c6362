"""One HTTP request and its answer, as the routes see them. It decides nothing: not who may, not what is answered.

`answer` and `answer_async` stand between the Functions host and a handler: every error becomes an answer, every answer
carries the security headers, and nothing that went wrong inside is shown outside but a correlation id.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from http.cookies import CookieError, SimpleCookie
from typing import Any, TypeVar
from urllib.parse import parse_qsl, urlsplit

import azure.functions as func
import msgspec

from backup_core.clock import SystemClock
from backup_core.errors import DrivekeepError
from backup_core.service import current
from backup_core.triggers import problems
from backup_core.triggers.problems import Refusal
from backup_core.triggers.rate_limit import RateLimit

__all__ = ["Answer", "Refusal", "Request", "answer", "answer_async", "page_policy", "set_cookie"]

JSON = "application/json"
HTML = "text/html; charset=utf-8"

# No body that any route asks for comes near it; what is longer is refused before it is parsed.
BODY_BYTES_MAX = 64 * 1024
_QUERY_CHARS_MAX = 8192
_FIELDS_MAX = 50

# Bytes that no answer but a page needs: JSON can load nothing and be framed by nobody.
_NOTHING = "default-src 'none'; frame-ancestors 'none'"

_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",  # the address of a callback holds a state
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    "Cache-Control": "no-store",
}

# One instance serves some hundreds of requests a second. A client may send a burst of a whole page of work at once, and
# more than twice the 20 a second that it was promised; what is above that is a loop that lost its way, or worse.
_limits = RateLimit(SystemClock(), per_second=50, burst=1000)

T = TypeVar("T")


def page_policy(sign_in_url: str = "") -> str:
    """The content-security policy of a page: its own styles and pictures, forms that lead here or to the sign-in."""
    targets = f"'self' {sign_in_url}".strip()
    return (
        f"default-src 'none'; style-src 'self'; img-src 'self'; form-action {targets}; "
        "base-uri 'none'; frame-ancestors 'none'"
    )


@dataclass
class Answer:
    """`cookie`: one whole Set-Cookie, made by `set_cookie`. `tenant`: whose lanes `after` is to look at; never sent."""

    status: int = 200
    body: bytes | str = b""
    content_type: str = JSON
    headers: dict[str, str] = field(default_factory=dict)
    cookie: str | None = None
    tenant: str = ""

    @classmethod
    def json(cls, document: object, status: int = 200, headers: Mapping[str, str] | None = None) -> "Answer":
        """`document`: whatever msgspec encodes."""
        return cls(status, msgspec.json.encode(document), JSON, dict(headers or {}))

    @classmethod
    def redirect(cls, url: str, cookie: str | None = None) -> "Answer":
        return cls(302, b"", HTML, {"Location": url}, cookie)

    @classmethod
    def page(cls, html: str, status: int = 200, cookie: str | None = None) -> "Answer":
        return cls(status, html, HTML, {}, cookie)


class Request:
    """What came in. Whatever in it is malformed raises Refusal when it is asked for."""

    def __init__(self, request: func.HttpRequest, base_url: str = "") -> None:
        """`base_url`: DRIVEKEEP_BASE_URL; "" takes the address under which the request came."""
        self._request = request
        self._parts = _split(request.url)
        self._base_url = base_url.rstrip("/")
        self.method: str = request.method
        self.path = self._parts.path or "/"
        self.route: Mapping[str, str] = request.route_params

    @property
    def query(self) -> dict[str, list[str]]:
        """Every value of every parameter, in the order in which they came."""
        text = self._parts.query
        if not text:
            return {name: [str(value)] for name, value in self._request.params.items()}
        if len(text) > _QUERY_CHARS_MAX:
            raise Refusal(400, "query", f"The query is longer than {_QUERY_CHARS_MAX} characters.")
        try:
            pairs = parse_qsl(text, keep_blank_values=True, errors="strict", max_num_fields=_FIELDS_MAX)
        except ValueError:
            raise Refusal(400, "query", "The query is not UTF-8, or has too many fields.") from None
        values: dict[str, list[str]] = {}
        for name, value in pairs:
            values.setdefault(name, []).append(value)
        return values

    def param(self, name: str) -> str | None:
        """The one value of a parameter of the query; None where it is not given."""
        values = self.query.get(name, [])
        if len(values) > 1:
            raise Refusal(400, "query", f"{name} is given {len(values)} times.")
        return values[0] if values else None

    def header(self, name: str) -> str:
        return str(self._request.headers.get(name, ""))

    def cookie(self, name: str) -> str | None:
        """As `set_cookie` called it."""
        try:
            jar = SimpleCookie(self.header("cookie"))
        except CookieError:
            return None
        morsel = jar.get(_cookie_name(self, name))
        return morsel.value if morsel else None

    @property
    def body(self) -> bytes:
        return bytes(self._request.get_body() or b"")

    def json(self, shape: type[T]) -> T:
        """The body as `shape` (a msgspec Struct): 415 where it is no JSON by its type, 413 where it is too long, 400
        with the field's name where it is not what the shape asks for.
        """
        self.refuse_other_types()
        if self.header("content-type") == "":
            raise Refusal(415, "content-type", f"The body must be {JSON}.")
        if len(self.body) > BODY_BYTES_MAX:
            raise Refusal(413, "too-large", f"The body is longer than {BODY_BYTES_MAX} bytes.")
        try:
            return msgspec.json.decode(self.body, type=shape)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            raise Refusal(400, "body", _one_line(f"The body is not what this route asks for: {error}")) from None

    def refuse_other_types(self) -> None:
        """415 for a body, or the announcement of one, that is not JSON: what a form on a foreign page can send."""
        given = self.header("content-type").lower()
        kind, _, parameter = given.partition(";")
        plain = kind.strip() == JSON and parameter.replace(" ", "").replace('"', "") in ("", "charset=utf-8")
        if (given or self.body) and not plain:
            raise Refusal(415, "content-type", f"The body must be {JSON}.")

    @property
    def is_https(self) -> bool:
        """Whether the caller came by https, as the platform's front end says where there is one."""
        return (self.header("x-forwarded-proto").strip().lower() or self._parts.scheme) == "https"

    @property
    def host(self) -> str:
        """Host and port under which the request came."""
        host = (self._parts.netloc or self.header("host")).lower()
        if not host or not host.isascii() or any(character in host for character in "@/\\?#<>\"' \t\r\n"):
            raise Refusal(400, "host", "The request has no usable Host header.")
        return host

    @property
    def origin(self) -> str:
        return f"{'https' if self.is_https else 'http'}://{self.host}"

    @property
    def base_url(self) -> str:
        """The app's public root, without a slash at its end."""
        return self._base_url or self.origin

    @property
    def client(self) -> str:
        """Whom the rate limit counts: the last entry is the platform's own, the ones before it are the caller's."""
        last = self.header("x-forwarded-for").rpartition(",")[2].strip()
        address, _, port = last.rpartition(":")  # every connection has another port
        plain = address if port.isdecimal() and (":" not in address or address.endswith("]")) else last
        return plain.strip("[]")[:64] or "local"

    def refuse_foreign_origin(self) -> None:
        """403 where a page of another site sent it."""
        origin = self.header("origin").strip().lower()
        site = self.header("sec-fetch-site").strip().lower()
        if (origin and origin not in {self.origin, _origin_of(self.base_url)}) or site in ("cross-site", "same-site"):
            raise Refusal(403, "origin", "The request comes from a page of another site.")


def set_cookie(request: Request, name: str, value: str, seconds: int) -> str:
    """A whole Set-Cookie. 0 seconds removes it. `value`: letters, digits and -_.~ only."""
    secure = "; Secure" if request.is_https else ""
    return f"{_cookie_name(request, name)}={value}; Max-Age={seconds}; Path=/; HttpOnly; SameSite=Lax{secure}"


def answer(request: func.HttpRequest, handle: Callable[[Request], Answer], *, page: bool = False) -> func.HttpResponse:
    """What `handle` answers, or what went wrong. `page`: errors are told to a person, not to a program."""
    return _response(request, _handled(request, handle, page), page)


async def answer_async(
    request: func.HttpRequest,
    handle: Callable[[Request], Answer],
    *,
    page: bool = False,
    after: Callable[[Answer], Awaitable[None]] | None = None,
) -> func.HttpResponse:
    """The same with `handle` in a thread of its own, and then `after`, which may use the durable client.

    `after` only hurries what the next tick would do anyway: when it fails, that is logged and the answer stands.
    """
    made = await asyncio.to_thread(_handled, request, handle, page)
    if after is not None and made.status < 400:
        try:
            await after(made)
        except Exception as error:
            problems.log(error, method=request.method, path=_split(request.url).path, level=logging.WARNING)
    return _response(request, made, page)


def _handled(request: func.HttpRequest, handle: Callable[[Request], Answer], page: bool) -> Answer:
    correlation = ""
    try:
        return handle(_admitted(request))
    except Refusal as error:
        refusal = error
    except Exception as error:
        refusal = problems.refusal_of(error)
        if refusal.status >= 500:
            correlation = problems.log(error, method=request.method, path=_split(request.url).path)
    if page:
        return Answer(refusal.status, problems.page(refusal, correlation), HTML, dict(refusal.headers))
    document = problems.document(refusal, _split(request.url).path, correlation)
    return Answer(refusal.status, msgspec.json.encode(document), problems.TYPE, dict(refusal.headers))


def _admitted(request: func.HttpRequest) -> Request:
    """The request, after the checks that no route goes without. Refusal."""
    unnamed = Request(request)
    wait = _limits.take(unnamed.client)
    if wait:
        raise Refusal(429, "rate-limit", "Too many requests. Wait as Retry-After says.", {"Retry-After": str(wait)})
    return Request(request, current.get().settings.text("DRIVEKEEP_BASE_URL"))


def _response(request: func.HttpRequest, made: Answer, page: bool) -> func.HttpResponse:
    headers = {**_HEADERS, "Content-Type": made.content_type}
    is_page = made.content_type.startswith("text/html")
    headers["Content-Security-Policy"] = page_policy(_sign_in_url()) if page and is_page else _NOTHING
    if Request(request).is_https:
        headers["Strict-Transport-Security"] = "max-age=31536000"
    headers.update(made.headers)
    if made.cookie:
        headers["Set-Cookie"] = made.cookie
    for name, value in headers.items():
        assert "\r" not in value and "\n" not in value, name
    return func.HttpResponse(made.body, status_code=made.status, headers=headers)


def _sign_in_url() -> str:
    try:
        return current.get().settings.authority_url
    except DrivekeepError:
        return ""  # the error page of an app that cannot read its settings


def _cookie_name(request: Request, name: str) -> str:
    """The prefix ties a cookie to this very host; browsers refuse it without https."""
    return f"__Host-{name}" if request.is_https else name


def _origin_of(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}".lower()


def _split(url: str) -> Any:
    try:
        return urlsplit(url)
    except ValueError:  # a bracket in the host
        return urlsplit("")


def _one_line(text: str) -> str:
    return " ".join(text.split())[:500]
