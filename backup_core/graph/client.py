"""Requests to Microsoft Graph, each with its token, its retries and its turn at the gate.

Downloads go to other hosts and are `download.py`; what an answer means for drives and feeds is theirs to say.
"""

import json
import re
import threading
from collections.abc import Callable, Mapping
from typing import Any, Literal, Protocol, TypeVar
from urllib.parse import quote, urlencode

import msgspec
import requests

from backup_core.clock import Clock
from backup_core.errors import AccessDenied
from backup_core.graph.attempts import Attempts, Cut
from backup_core.graph.gate import Gate
from backup_core.graph.links import LinkRule
from backup_core.graph.refusals import RETRIED, Forbidden, Refusal, Refused, read_refusal
from backup_core.graph.transport import read_body, send

Method = Literal["GET"]  # whatever writes needs its own rules of when to ask again
Answer = TypeVar("Answer")
Json = dict[str, Any]

# `400 invalidRequest` on a sound GET has been seen to pass by itself; one that does not is reported soon.
_ODD_REFUSALS_MAX = 2
_ERROR_MAX_BYTES = 1 << 20


class TokenSource(Protocol):
    """Where tokens come from. Used by many threads at once."""

    def token(self, renew: bool = False) -> str:
        """A token with some minutes to live; a new one for certain with `renew`. AccessDenied, Temporary."""


class GraphClient:
    """Shared by all threads. `retries`, `patience`: DRIVEKEEP_HTTP_RETRIES and DRIVEKEEP_THROTTLE_PATIENCE."""

    def __init__(
        self,
        graph_url: str,
        tokens: TokenSource,
        rule: LinkRule,
        gate: Gate,
        clock: Clock,
        session: requests.Session,
        retries: int = 3,
        patience: float = 900.0,
    ) -> None:
        self.base_url = graph_url.rstrip("/") + "/v1.0"
        self.requests = 0  # sent to Graph so far, retries included
        self.gate = gate
        self.rule = rule
        self._tokens, self._clock, self._session = tokens, clock, session
        self._retries, self._patience = retries, patience
        self._counting, self._renewing = threading.Lock(), threading.Lock()

    def get_json(
        self,
        path_or_link: str,
        params: Mapping[str, str] | None = None,
        *,
        valid: Callable[[Json], bool] = lambda _: True,
    ) -> Json:
        """The JSON object at a path below /v1.0, or at a link that Graph gave, which is called as it came.

        An answer that is no JSON object, or not `valid`, counts as one that broke off. Raises Refused, Forbidden,
        AccessDenied (sign in again), Temporary (`throttled`, `unreachable`), ForeignLink.
        """

        def read(response: requests.Response) -> Json:
            if not 200 <= response.status_code < 300:
                raise Cut(f"an unexpected answer ({response.status_code})")
            return _decoded(read_body(response, self._clock), valid)

        return self._call("GET", self._url(path_or_link, params), read)

    def get_redirect(self, path: str) -> str:
        """Where Graph redirects to: the caller checks the host before it goes there. Raises as `get_json`."""

        def read(response: requests.Response) -> str:
            location = response.headers.get("Location", "")
            if response.status_code not in (302, 303, 307, 308) or not location:
                raise Cut(f"an answer without the download link ({response.status_code})")
            return location

        return self._call("GET", self._url(path), read)

    def _url(self, path_or_link: str, params: Mapping[str, str] | None = None) -> str:
        url = self.base_url + path_or_link if path_or_link.startswith("/") else path_or_link
        if params:
            url += "?" + urlencode(params, safe="$,", quote_via=quote)
        return self.rule.check_graph(url)

    def _call(self, method: Method, url: str, read: Callable[[requests.Response], Answer]) -> Answer:
        attempts = Attempts(self.gate, self._retries, self._patience)
        what = _described(method, url)
        renewed, odd = False, 0
        while True:
            attempts.begin()
            token = self._tokens.token()
            try:
                answer = self._try(method, url, token, read)
            except Cut as cut:
                attempts.failed(cut, what)
                continue
            if not isinstance(answer, Refusal):
                return answer
            if answer.status == 401 and not renewed:
                self._renew(token)
                renewed = True
            elif answer.throttling:
                attempts.throttled(answer.retry_after or 0.0)
            elif _odd(answer) and odd < _ODD_REFUSALS_MAX and not attempts.exhausted:
                odd += 1
                attempts.failed(Cut(f"Microsoft answered {answer.words}"), what)
            elif answer.status in RETRIED:
                attempts.failed(Cut(f"Microsoft answered {answer.words}"), what)
            else:
                raise _error(answer, what)

    def _try(
        self, method: Method, url: str, token: str, read: Callable[[requests.Response], Answer]
    ) -> Answer | Refusal:
        with self._counting:
            self.requests += 1
        headers = {"Authorization": f"Bearer {token}", "Accept": "application/json"}
        response = send(self._session, method, url, headers=headers)
        # A connection whose answer is not read to the end is closed and not used again, as a 503 asks for.
        with response:
            self._heed(response.headers)
            if response.status_code < 400:
                return read(response)
            body = b"" if response.status_code in RETRIED else read_body(response, self._clock, _ERROR_MAX_BYTES)
            return read_refusal(response.status_code, response.headers, body, self._clock)

    def _renew(self, refused: str) -> None:
        """One thread fetches the new token; those that were refused at the same time find it there."""
        with self._renewing:
            if self._tokens.token() == refused:
                self._tokens.token(renew=True)

    def _heed(self, headers: Mapping[str, str]) -> None:
        try:
            limit, remaining, reset = (float(headers[f"RateLimit-{name}"]) for name in ("Limit", "Remaining", "Reset"))
        except (KeyError, ValueError):
            return
        self.gate.heed(limit, remaining, reset)


def _decoded(body: bytes, valid: Callable[[Json], bool]) -> Json:
    body = body.removeprefix(b"\xef\xbb\xbf")
    try:
        try:
            answer = msgspec.json.decode(body)
        except msgspec.DecodeError:
            answer = msgspec.json.decode(_with_whole_characters(body))
    except (ValueError, RecursionError):
        answer = None
    if not isinstance(answer, dict) or not valid(answer):
        raise Cut("the answer is not what Graph's answers look like")
    return answer


def _with_whole_characters(body: bytes) -> str:
    """The same JSON with U+FFFD for each half of a surrogate pair that stands alone. ValueError where it is none.

    Names are UTF-16 at Microsoft's, so one may hold such a half; it must not keep a whole drive from being read.
    """
    text = json.dumps(json.loads(body.decode()), ensure_ascii=False)
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def _odd(refusal: Refusal) -> bool:
    return refusal.status == 400 and "invalidrequest" in refusal.codes and not refusal.no_drive


def _error(refusal: Refusal, what: str) -> Exception:
    if refusal.status == 401:
        return AccessDenied(
            f"{what} failed: Microsoft answers 401 and refuses a token that it has just given.",
            why=refusal.message,
            remedy="Sign in again, or check that the app registration belongs to this tenant and is enabled.",
        )
    if refusal.status == 403 and not refusal.malware:
        return Forbidden(refusal, what)
    return Refused(refusal, what)


def _described(method: str, url: str) -> str:
    """A request in words that may be shown: without what follows the path, since links carry their tokens there."""
    path = re.sub(r"^https?://[^/]+(/v1\.0)?", "", url)
    return f"{method} {re.split(r'[?(]', path)[0]}"
