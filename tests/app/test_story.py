"""The whole of the app once: consent, enrolment, a tick, an ad-hoc run, and a file brought back by command line."""

from pathlib import Path

from support.served import served

from backup_core.testing.azurite import Azurite
from backup_core.testing.m365 import Simulation


def test_organisation_from_consent_to_a_restored_file(azurite: Azurite, tmp_path: Path) -> None:
    """An administrator consents once; from then on every drive is backed up, and every file can be had back."""
    with Simulation(users=5) as m365, served(m365, azurite, tmp_path / "home") as app:
        for user in m365.users:
            user.drive.put_file("/Documents/note.txt", f"note of {user.upn}".encode())
        page = app.onboard()
        assert page.status_code == 200, page.text
        assert app.url in page.url
        accounts = app.enrolled(m365.tenant.id, 5)
        assert {each["state"] for each in accounts.values()} == {"protected"}
        app.tick()
        (run,) = app.wait_for(lambda: app.items(f"/api/runs?tenant={m365.tenant.id}"))
        run = app.ended(run["id"])
        assert run["state"] == "complete", run
        assert run["progress"]["drives_done"] == 5
        first = m365.users[0]
        first.drive.put_file("/Documents/second.txt", b"second")
        asked = app.ask_run(tenant=m365.tenant.id, account=first.upn)
        done = app.ended(asked["id"])
        assert [each["summary"]["files_new"] for each in done["results"]] == [1]
        recovery = app.recovery(m365.tenant.id, first.upn)
        target = tmp_path / "restored"
        person = app.person.but(
            DRIVEKEEP_REPOSITORY=recovery["repository"],
            DRIVEKEEP_PASSWORD=recovery["password"],
            AZURE_STORAGE_CONNECTION_STRING=azurite.connection_string,
        )
        person.ok("restore", "latest", "--target", target)
        assert (target / "Documents" / "second.txt").read_bytes() == b"second"
