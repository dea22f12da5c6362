"""The demo's second part: an organisation consents, every drive in it is backed up, and one file is brought back.

All that the app says is compared with the simulated organisation; what differs is kept as a difference.
"""

import base64
import datetime
import json
import secrets
from collections import Counter
from collections.abc import Sequence
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

from backup_core.cli.demo.app import App, Browser, Keys
from backup_core.cli.demo.stage import Stage
from backup_core.cli.demo.story import Figures
from backup_core.cli.output import size_text
from backup_core.testing import demo_organisation
from backup_core.testing.restored_folder import compare

if TYPE_CHECKING:
    from backup_core.testing.demo_organisation import Member

_CONNECTED = "Your organisation is connected"  # the headline of the page on which a consent ends that was granted
_ENDED = ("complete", "incomplete", "failed")
_NAMED_MAX = 3  # people of one state and without a remark who are named in the table
_TARGET = "restored-file"
_SUMMED = ("files_total", "bytes_total", "bytes_added", "store_requests")


class WholeOrganisation:
    """`figures`: what its runs took; `differences`: where the app, or what came back, is not as it should be.

    `outcome`: the headline on which the administrator ended; `states`: how many accounts are in each; `results`: one
    for each drive of the scheduled run.
    """

    def __init__(self, stage: Stage, users: int) -> None:
        self.figures: list[Figures] = []
        self.differences: list[str] = []
        self.outcome = ""
        self.states: dict[str, int] = {}
        self.results: list[dict[str, Any]] = []
        self._stage, self._story = stage, stage.story
        self._users = users
        self._keys = Keys.random()
        self._settings = {
            **stage.m365.service_environment(),
            "AzureWebJobsStorage": stage.storage,
            "DRIVEKEEP_STORAGE": stage.storage,
            "DRIVEKEEP_MASTER_KEY": base64.b64encode(secrets.token_bytes(32)).decode(),
            "DRIVEKEEP_API_KEY": self._keys.api,
            "DRIVEKEEP_SERVE_KEY": self._keys.admin,
        }

    def play(self) -> None:
        self._organisation = demo_organisation.build(self._stage.m365, self._users)
        tenant, protected = self._organisation.tenant, self._organisation.protected
        held = sum(member.user.drive.root.size for member in protected)
        self._story.say(
            f"{tenant.domain} has {len(self._organisation.members)} users and {len(protected)} drives,"
            f" {size_text(held)} together. It has never heard of this app."
        )
        shell = self._stage.shell(self._settings)
        self._story.command("$ export DRIVEKEEP_STORAGE=... DRIVEKEEP_MASTER_KEY=...  # Azurite, and 32 random bytes")
        log = self._stage.scratch / "serve.log"
        with shell.serving("serve", "--port", "0", "--no-timer", log=log) as line:
            self._story.say(line)
            app = App(line.split()[-1], self._keys, log, self._stage.clock)
            self._consent(Browser(app.address, self._stage.m365.ca_file))
            self._see_enrolment(app)
            self._run_schedule(app)
            path, member = self._run_one(app)
        self._story.say()
        self._story.say("The app is stopped. What it has saved can be had without it:")
        self._restore(member, path)

    def _consent(self, browser: Browser) -> None:
        self._story.command("An administrator opens /onboard, presses the button and consents:")
        page = browser.open("/onboard")
        self._story.say(f"  {page.hops[-1].status}  {page.hops[-1].address}  {page.headline}")
        page = browser.open(page.button)
        for hop in page.hops:
            self._story.say(f"  {hop.status}  {hop.address}")
        self._story.say(f"       {page.headline}", style="green")
        self.outcome = page.headline
        self._expect("the page after the consent", page.headline, _CONNECTED)

    def _see_enrolment(self, app: App) -> None:
        path = f"/api/tenants/{self._organisation.tenant.id}/accounts"
        members = self._organisation.members
        self._story.command(f"GET {path}")

        def all_accounts() -> dict[str, str] | None:
            states = {account["upn"].lower(): account["state"] for account in app.items(path)}
            return states if len(states) >= len(members) else None

        states = app.wait_for(all_accounts, "The enrolment of all users")
        self.states = dict(Counter(states.values()))
        self._expect("the number of accounts", len(states), len(members))
        alike: dict[tuple[str, str], list[str]] = {}
        for member in members:
            state = states.get(member.user.upn.lower(), "unknown")
            self._expect(f"the state of {member.name}", state, member.state)
            alike.setdefault((state, member.remark), []).append(member.name)
        rows = [(state, len(names), _some(names), remark) for (state, remark), names in alike.items()]
        self._story.listing(("state", "users", "who", ""), rows)

    def _run_schedule(self, app: App) -> None:
        tenant = self._organisation.tenant.id
        self._story.command("POST /admin/functions/tick  # the timer does that every quarter of an hour")
        asked = self._stage.graph_requests()
        app.tick()

        def first_run() -> str | None:
            return next((f"/api/runs/{run['id']}" for run in app.items(f"/api/runs?tenant={tenant}")), None)

        run = self._follow(app, app.wait_for(first_run, "A run by schedule"))
        self._note("scheduled run", run, asked)
        by_account = {result["account"]: result for result in run["results"]}
        members = self._organisation.protected
        self._expect("the drives of the scheduled run", sorted(by_account), sorted(each.user.id for each in members))
        for member in members:
            drive, result = member.user.drive, by_account.get(member.user.id, {})
            summary = result.get("summary") or {}
            row = {
                "account": member.name,
                "state": result.get("state", "missing"),
                "files": summary.get("files_total", 0),
                "bytes": summary.get("bytes_total", 0),
                "seconds": float(summary.get("duration_seconds", 0)),
            }
            self.results.append(row)
            found = (row["state"], row["files"], row["bytes"])
            self._expect(f"the backup of {member.name}", found, ("complete", len(drive.files()), drive.root.size))
        self._story.listing(
            ("account", "state", "files", "bytes", "seconds"), [[*row.values()] for row in self.results]
        )

    def _run_one(self, app: App) -> "tuple[str, Member]":
        """The file that was edited, and whose it is."""
        member = self._organisation.protected[0]
        path = demo_organisation.edit(member)
        self._story.say()
        self._story.say(f"{member.name} edits {path}, and a program does not wait for the night:")
        wanted = {"tenant": self._organisation.tenant.id, "account": member.user.upn}
        self._story.command(f"POST /api/runs {json.dumps(wanted)}")
        asked = self._stage.graph_requests()
        address = app.start_run(wanted)
        self._story.say(f"202, Location: {address}")
        run = self._follow(app, address)
        self._note("ad-hoc run", run, asked)
        kinds = ("new", "changed", "unmodified", "deleted")
        found = [[(result["summary"] or {}).get(f"files_{kind}") for kind in kinds] for result in run["results"]]
        right = [[0, 1, len(member.user.drive.files()) - 1, 0]]
        self._expect(f"the files ({', '.join(kinds)}) of the ad-hoc run", found, right)
        return path, member

    def _follow(self, app: App, address: str) -> dict[str, Any]:
        """The run once it has ended, with all its results; progress is told as it comes."""
        told: set[str] = set()

        def ended() -> dict[str, Any] | None:
            run = dict(app.get(address))
            progress = run["progress"]
            drives = f"{progress['drives_done']} of {progress['drives_total']} drives"
            if run["state"] != "queued" and drives not in told:
                told.add(drives)
                self._story.say(f"  {run['state']:<8}  {drives}, {size_text(progress['bytes_done'])}")
            return run if run["state"] in _ENDED else None

        run = app.wait_for(ended, "The end of the run")
        following = run["results_next"]
        while following:
            more = app.get(following)
            run["results"] += more["results"]
            following = more["results_next"]
        self._expect("the state of the run", run["state"], "complete")
        return run

    def _restore(self, member: "Member", path: str) -> None:
        """The file as the ad-hoc run has saved it, from the repository that `accounts recovery` tells of."""
        shell = self._stage.shell(self._settings)
        told = shell.run("accounts", "recovery", member.user.upn, unseen=("--json",))
        recovery = json.loads(told.lines[-1])
        self._story.say(
            "It tells the repository, its password, and the storage's credentials: all that restic needs, too."
        )
        self._story.command(f"$ export DRIVEKEEP_REPOSITORY={recovery['repository']}  # and the password")
        shell = self._stage.shell(
            {
                "DRIVEKEEP_REPOSITORY": recovery["repository"],
                "DRIVEKEEP_PASSWORD": recovery["password"],
                "AZURE_STORAGE_CONNECTION_STRING": self._stage.storage,
            }
        )
        unseen = self._stage.quiet_words
        ran = shell.run("restore", "latest", "--path", path, "--target", _TARGET, unseen=unseen)
        for line in ran.lines:
            self._story.say(line)
        # The folders above the file come back with it.
        way = {path, *(str(folder) for folder in PurePosixPath(path).parents)}
        right = {place: entry for place, entry in member.user.drive.snapshot().items() if place in way}
        found = compare(self._stage.scratch / _TARGET, right)
        self.figures.append(Figures("restored file", found.files, found.bytes, None, 0, None, ran.seconds))
        self.differences += [f"{_TARGET}/{difference}" for difference in found.differences]
        if not found.differences:
            self._story.say(f"Compared with {member.name}'s drive: every byte is equal", "green")

    def _note(self, name: str, run: dict[str, Any], asked: int) -> None:
        """The run's figures, those of all its drives together."""
        total: Counter[str] = Counter()
        for result in run["results"]:
            summary = result["summary"] or {}
            total.update({each: summary.get(each, 0) for each in _SUMMED})
        begun, ended = (datetime.datetime.fromisoformat(run[each]) for each in ("requested_at", "finished_at"))
        self.figures.append(
            Figures(
                name,
                total["files_total"],
                total["bytes_total"],
                total["bytes_added"],
                self._stage.graph_requests() - asked,
                total["store_requests"],
                (ended - begun).total_seconds(),
            )
        )

    def _expect(self, what: str, found: object, right: object) -> None:
        if found != right:
            self.differences.append(f"{what}: {found}, not {right}")


def _some(names: Sequence[str]) -> str:
    """`ada, bob, cy and 10 more`."""
    more = f" and {len(names) - _NAMED_MAX} more" if len(names) > _NAMED_MAX else ""
    return ", ".join(names[:_NAMED_MAX]) + more
