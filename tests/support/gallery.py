"""Every page in every state that a person can meet it in, for the browser that judges them and for the screenshots."""

import datetime
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

from backup_core.registry.tenants import Tenant
from backup_core.runs.run import Run
from backup_core.service import Problem
from backup_core.triggers import pages
from backup_core.triggers.http import page_policy
from backup_core.triggers.outcomes import OUTCOMES
from backup_core.triggers.overview import Line, Overview, Tally

NOW = datetime.datetime(2026, 11, 25, 8, 30, tzinfo=datetime.UTC)
PLACE = "In the container drivekeep of this installation's own Azure storage"
SIGN_IN_HOST = "https://login.microsoftonline.com"

HOSTILE = (
    "<script>document.title='owned'</script>",
    '"><img src=x onerror="document.title=\'owned\'">',
    "'-alert(1)-' onmouseover='alert(1)",
    "</title></style></textarea><svg onload=alert(1)>",
    "javascript:alert(1)//",
    "{{7*7}}${7*7}<%= 7*7 %>#{7*7}",
    "&lt;b&gt;&#60;i&#62;\x00\x0b",
    "\u202egnp.evil\u202c مؤسسة الاختبار עברית",
    "👩\u200d💻🏳️\u200d🌈 Ünïcödé 株式会社テスト",
    "Rindfleischetikettierungsüberwachungsaufgabenübertragungsgesetz" * 3,
    "W" * 200,
)


def line(number: int, name: str, tally: Tally, *, run_state: str = "complete", hours: float = 6, **more: Any) -> Line:
    """One organisation; `run_state`: of its last run, "" for none."""
    behind = more.pop("behind", False)
    tenant = Tenant(f"{number:08x}-0000-4000-8000-000000000000", name, f"org{number}.example", **more)
    at = NOW - datetime.timedelta(hours=hours)
    run = Run(f"run-{number}", tenant.id, None, "schedule", at, state=run_state, finished_at=at) if run_state else None
    return Line(tenant, tally, behind, run)


MIXED = Overview(
    [],
    [
        line(1, "Contoso", Tally(safe=146, stale=2, failing=2, other=9)),
        line(2, "Fabrikam", Tally(safe=38, other=4), hours=5.2),
        line(3, "Wingtip Toys", Tally(safe=11, failing=1, pending=2), run_state="incomplete", hours=0.6),
        line(4, "Tailspin", Tally(), run_state="", state="pending"),
        line(5, "Litware", Tally(stale=64), run_state="failed", hours=55, state="consent-lost", behind=True),
    ],
)
SAFE = Overview([], [line(1, "Contoso", Tally(safe=150, other=9)), line(2, "Fabrikam", Tally(safe=38))])
PROBLEMS = [
    Problem(
        "key-vault",
        "The master key could not be read: the setting DRIVEKEEP_MASTER_KEY holds a Key Vault reference that the "
        "platform did not resolve.",
        "Give the app's identity the role Key Vault Secrets User on the vault, then restart the app.",
    )
]

UNREACHABLE = Problem(
    "storage-unreachable",
    "The table registry cannot be reached.",
    "Check the storage account's network rules; then open this page again.",
)


def gallery() -> dict[str, tuple[str, dict[str, Any]]]:
    """Name -> the page and what it is told."""
    shown: dict[str, tuple[str, dict[str, Any]]] = {
        "welcome": ("welcome", {"sign_in": "/.auth/login/aad"}),
        "welcome-no-operator": ("welcome", {"signed_in_as": "alex@contoso.example"}),
        "onboard": ("onboard", {"place": PLACE}),
        "onboard-approve": ("onboard", {"place": PLACE, "approve": True, "enrol": "none"}),
        "connect": ("connect", {"place": PLACE, "start_url": "/connect/start", "approve": True}),
        "connected": ("connected", {"name": "Alex Wilber", "upn": "alex@contoso.example"}),
        "connected-pending": ("connected", {"name": "Alex Wilber", "pending": True}),
        "error": ("error", {"status": 500, "title": "Something went wrong", "reference": "5f1d07c2a9be4460"}),
    }
    told = {
        "missing-permission": {"missing": ("User.Read.All",)},
        "error": {"detail": "AADSTS90033: A transient error has occurred.", "reference": "5f1d07c2a9be4460"},
    }
    for kind in OUTCOMES:
        shown[f"outcome-{kind}"] = ("outcome", {"kind": kind, "organization": "Contoso", **told.get(kind, {})})
    shown["outcome-not-admin-one"] = ("outcome", {"kind": "not-admin", "way": "connect"})
    many = [line(number, f"Organisation {number}", Tally(safe=number)) for number in range(1, 26)]
    states = {
        "mixed": MIXED,
        "safe": SAFE,
        "empty": Overview([]),
        "degraded": replace(MIXED, problems=PROBLEMS),
        "unknown": Overview([*PROBLEMS, UNREACHABLE], is_known=False),
        "many": Overview([], many, after=many[-1].tenant.id, is_part=True),
        "hostile": Overview(
            [Problem("x", text, text) for text in HOSTILE[:4]],
            [line(number, text, Tally(safe=1, stale=987_654)) for number, text in enumerate(HOSTILE, 1)],
        ),
    }
    person = {"signed_in_as": "megan@contoso.example", "sign_out": "/.auth/logout"}
    for name, overview in states.items():
        shown[f"overview-{name}"] = ("dashboard", {"overview": overview, "now": NOW, **person})
    odd = {"organization": HOSTILE[1], "detail": "\n".join(HOSTILE), "missing": HOSTILE, "reference": HOSTILE[0]}
    shown["outcome-hostile"] = ("outcome", {"kind": "error", **odd})
    shown["connected-hostile"] = ("connected", {"name": "".join(HOSTILE)[:400], "upn": HOSTILE[1]})
    shown["error-hostile"] = (
        "error",
        {"status": 404, "title": HOSTILE[9], "detail": HOSTILE[3], "reference": "x" * 80},
    )
    return shown


@contextmanager
def serve_gallery() -> Iterator[str]:
    """The address under which each page of the gallery is served, with the policy that the app sends."""
    shown = gallery()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            folder, _, name = self.path.strip("/").partition("/")
            file = pages.asset(name) if folder == "assets" else None
            if file:
                self._send(200, file.content_type, file.body)
            elif folder in shown:
                page, data = shown[folder]
                self._send(200, "text/html; charset=utf-8", pages.render(page, **data).encode())
            else:
                self._send(404, "text/plain", b"no such page")

        def _send(self, status: int, content_type: str, body: bytes) -> None:
            self.send_response(status)
            headers = {
                "Content-Type": content_type,
                "Content-Length": str(len(body)),
                "X-Content-Type-Options": "nosniff",
            }
            for header, value in {**headers, "Content-Security-Policy": page_policy(SIGN_IN_HOST)}.items():
                self.send_header(header, value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
