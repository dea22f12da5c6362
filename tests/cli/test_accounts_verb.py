"""`drivekeep accounts` over a registry in memory."""

import datetime
import json
import shlex
from dataclasses import replace

import pytest
from support.office import ADA, BOB, CONTOSO, FABRIKAM, MASTER_KEY, Office

from backup_core.errors import Temporary
from backup_core.registry.accounts import LastRun
from backup_core.registry.master_key import MasterKey
from backup_core.repository.repository import Repository
from backup_core.storage.azure_client import BlobAccount
from backup_core.storage.memory import MemoryStore
from backup_core.testing.fake_clock import FakeClock

NOON = datetime.datetime(2026, 11, 25, 12, 0, tzinfo=datetime.UTC)
TOMORROW = NOON + datetime.timedelta(days=1)
PASSWORD = MasterKey.from_text(MASTER_KEY).repository_passwords(CONTOSO, ADA)[0]


@pytest.fixture
def office(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Office:
    made = Office(monkeypatch, capsys)
    for tenant, domain in ((CONTOSO, "contoso.com"), (FABRIKAM, "fabrikam.com")):
        made.add_tenant(tenant, name=domain, domain=domain, connected_at=NOON)
    saved = {"last_success_at": NOON, "next_due_at": TOMORROW, "outcome": "complete"}
    made.add(ADA, upn="ada@contoso.com", last_run=LastRun("r", "complete", NOON), **saved)
    made.add(BOB, upn="bob@contoso.com", state="guest")
    made.add(BOB, FABRIKAM, upn="bob@fabrikam.com", next_due_at=NOON)
    return made


def test_accounts_are_listed(office: Office) -> None:
    """Of all tenants or one, in all states or one."""
    assert [each["upn"] for each in office.json(["accounts", "list"])[1]] == [
        "ada@contoso.com",
        "bob@contoso.com",
        "bob@fabrikam.com",
    ]
    assert [each["id"] for each in office.json(["accounts", "list", "--tenant", "contoso.com"])[1]] == [ADA, BOB]
    assert [each["tenant"] for each in office.json(["accounts", "list", "--state", "protected"])[1]] == [
        CONTOSO,
        FABRIKAM,
    ]
    code, out = office.run("accounts", "list")
    assert (code, len(out.splitlines())) == (0, 4)


def test_an_account_is_shown_as_the_contract_says(office: Office) -> None:
    """By id or name, in any case."""
    code, document = office.json(["accounts", "show", "ADA@contoso.com"])
    assert code == 0
    assert document == {
        "id": ADA,
        "tenant": CONTOSO,
        "upn": "ada@contoso.com",
        "display_name": "",
        "drive_id": None,
        "state": "protected",
        "included": True,
        "schedule": None,
        "exclude": [],
        "tags": [],
        "last_run": {"id": "r", "state": "complete", "finished_at": "2026-11-25T12:00:00.000Z"},
        "last_success_at": "2026-11-25T12:00:00.000Z",
        "next_due_at": "2026-11-26T12:00:00.000Z",
        "repository": None,
    }
    assert office.json(["accounts", "show", ADA.upper()])[1] == document
    assert "ada@contoso.com" in office.run("accounts", "show", ADA)[1]


def test_an_account_that_several_tenants_have(office: Office) -> None:
    """Must be named with its tenant; the error names them. An unknown one, or one of another tenant, is not found."""
    code, document = office.json(["accounts", "show", BOB])
    assert (code, CONTOSO in document["message"], FABRIKAM in document["message"]) == (2, True, True)
    assert office.json(["accounts", "show", BOB, "--tenant", FABRIKAM])[1]["upn"] == "bob@fabrikam.com"
    assert office.json(["accounts", "show", "eve@contoso.com"])[0] == 1
    assert office.json(["accounts", "show", ADA, "--tenant", FABRIKAM])[0] == 1
    assert office.json(["accounts", "show", ADA, "--tenant", "nobody.com"])[0] == 1


def test_an_account_is_excluded_and_included_again(office: Office) -> None:
    """Excluded it is not due; included again it is due by its schedule. Each change is in the audit trail, once."""
    assert office.json(["accounts", "exclude", ADA])[1]["state"] == "excluded"
    assert office.registry.accounts.due(CONTOSO, TOMORROW + datetime.timedelta(days=9), 10) == []
    assert office.run("accounts", "exclude", ADA)[0] == 0
    document = office.json(["accounts", "include", ADA])[1]
    assert (document["state"], document["included"]) == ("protected", True)
    due = office.account(ADA).next_due_at
    assert due is not None
    assert 2 <= due.hour < 6
    assert office.notes() == [("command line", "account.change", ADA)] * 2


def test_an_account_never_saved_is_due_at_once(office: Office) -> None:
    """When it is included, and a schedule does not change that."""
    office.run("accounts", "exclude", "bob@fabrikam.com")
    office.run("accounts", "include", "bob@fabrikam.com")
    due = office.account(BOB, FABRIKAM).next_due_at
    assert due is not None
    assert office.json(["accounts", "schedule", "bob@fabrikam.com", "0 3 1 1 *"])[1]["schedule"] == "0 3 1 1 *"
    assert office.account(BOB, FABRIKAM).next_due_at == due
    assert due <= datetime.datetime.now(datetime.UTC)


def test_including_a_guest_makes_no_drive(office: Office) -> None:
    """The state is a fact that stays, and the command says so."""
    code, out = office.run("accounts", "include", "bob@contoso.com", "--json")
    assert (code, json.loads(out)["state"]) == (0, "guest")
    assert "guest" in office.errors


def test_who_waits_is_let_in_with_their_tenant(office: Office) -> None:
    """Where only single people of it connected, nobody would be backed up otherwise; an organisation comes first."""
    tenant = office.registry.tenants.get(FABRIKAM)
    office.add(ADA, FABRIKAM, upn="ada@fabrikam.com", state="pending")
    office.registry.tenants.save(tenant, replace(tenant, state="pending"))
    code, told = office.json(["accounts", "include", "ada@fabrikam.com"])
    assert (code, told["reason"]) == (1, "pending")
    tenant = office.registry.tenants.get(FABRIKAM)
    office.registry.tenants.save(tenant, replace(tenant, connected_at=None))
    code, document = office.json(["accounts", "include", "ada@fabrikam.com"])
    assert (code, document["state"]) == (0, "protected")
    assert office.registry.tenants.get(FABRIKAM).state == "connected"


def test_a_schedule_is_set_and_taken_back(office: Office) -> None:
    """In one word or five; the next time follows; what is no schedule is refused and changes nothing."""
    assert office.json(["accounts", "schedule", ADA, "0", "3", "1", "1", "*"])[1]["schedule"] == "0 3 1 1 *"
    due = office.account(ADA).next_due_at
    assert due is not None
    assert (due.month, due.day) == (1, 1)
    assert office.json(["accounts", "schedule", ADA, "61 * * * *"])[0] == 2
    assert office.account(ADA).schedule == "0 3 1 1 *"
    assert office.json(["accounts", "schedule", ADA, "default"])[1]["schedule"] is None
    assert len(office.notes()) == 2


@pytest.mark.parametrize(
    "words",
    [
        ["list", ADA],
        ["show"],
        ["schedule", ADA],
        ["include", ADA, "0 2 * * *"],
        ["list", "--state", "happy"],
        ["show", ADA, "--state", "left"],
        ["delete", ADA],
    ],
)
def test_words_that_do_not_fit_an_action(office: Office, words: list[str]) -> None:
    """Exit code 2, and nothing is changed."""
    assert office.json(["accounts", *words])[0] == 2
    assert office.notes() == []


# -- recovery --------------------------------------------------------------------------------------------------------


def test_recovery_by_the_account_s_key(office: Office) -> None:
    """Repository, password and key, as stock restic takes them; that somebody asked is in the audit trail."""
    code, document = office.json(["accounts", "recovery", "ada@contoso.com"])
    assert code == 0
    assert document == {
        "repository": f"azure:drivekeep:/{CONTOSO}/{ADA}",
        "password": PASSWORD,
        "env": {"AZURE_ACCOUNT_NAME": "vault", "AZURE_ACCOUNT_KEY": "c2VjcmV0PQ=="},
    }
    assert office.notes() == [("command line", "account.recovery", ADA)]
    code, out = office.run("accounts", "recovery", ADA)
    lines = [shlex.split(line) for line in out.splitlines()]
    assert ["export", f"RESTIC_PASSWORD={PASSWORD}"] in lines
    assert ["export", f"RESTIC_REPOSITORY=azure:drivekeep:/{CONTOSO}/{ADA}"] in lines


def test_recovery_by_identity(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    """A signature that only reads, and the word that restic needs for that."""
    monkeypatch.setenv("DRIVEKEEP_STORAGE", "vault")
    monkeypatch.setattr("backup_core.storage.azure_grant.read_only_signature", lambda *given: "sp=rl&sig=x")
    document = office.json(["accounts", "recovery", ADA])[1]
    assert document["env"] == {"AZURE_ACCOUNT_NAME": "vault", "AZURE_ACCOUNT_SAS": "sp=rl&sig=x"}
    assert document["args"] == ["--no-lock"]
    office.run("accounts", "recovery", ADA)
    assert "restic --no-lock snapshots" in office.errors


def test_recovery_in_another_cloud(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    """restic is told the ending of its hosts."""
    monkeypatch.setenv("DRIVEKEEP_STORAGE", "AccountName=v;AccountKey=aw==;EndpointSuffix=core.chinacloudapi.cn")
    assert office.json(["accounts", "recovery", ADA])[1]["env"]["AZURE_ENDPOINT_SUFFIX"] == "core.chinacloudapi.cn"


def test_recovery_needs_the_right_master_key(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    """None: exit code 2 and the setting's name. Another installation's: refused rather than a wrong password shown."""
    office.json(["accounts", "recovery", ADA])
    monkeypatch.setenv("DRIVEKEEP_MASTER_KEY", MASTER_KEY.replace("A", "B", 1))
    code, document = office.json(["accounts", "recovery", ADA])
    assert (code, document["reason"]) == (1, "wrong-key")
    monkeypatch.delenv("DRIVEKEEP_MASTER_KEY")
    code, document = office.json(["accounts", "recovery", ADA])
    assert (code, "DRIVEKEEP_MASTER_KEY" in str(document)) == (2, True)


def test_recovery_after_a_change_of_the_master_key(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    """The password that opens the repository is shown: a former key's until the repository has the new one."""
    office.json(["accounts", "recovery", ADA])
    new = MASTER_KEY.replace("A", "B", 1)
    monkeypatch.setenv("DRIVEKEEP_MASTER_KEY", new)
    monkeypatch.setenv("DRIVEKEEP_MASTER_KEY_PREVIOUS", MASTER_KEY)
    store = MemoryStore()
    monkeypatch.setattr(
        "backup_core.service.Service.place", lambda *given, **named: type("Place", (), {"store": store})
    )
    fresh = MasterKey.from_text(new).repository_passwords(CONTOSO, ADA)[0]
    assert office.json(["accounts", "recovery", ADA])[1]["password"] == fresh
    Repository.create(store, PASSWORD, FakeClock())
    assert office.json(["accounts", "recovery", ADA])[1]["password"] == PASSWORD


def test_recovery_works_where_nothing_can_be_written(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    """In an emergency the storage may be read-only: a warning, and the answer nevertheless."""

    def refuse(*given: object) -> None:
        raise Temporary("The registry cannot be written.")

    office.json(["accounts", "recovery", ADA])
    monkeypatch.setattr(office.table, "transact", refuse)
    code, document = office.json(["accounts", "recovery", ADA])
    assert (code, document["password"]) == (0, PASSWORD)
    assert "audit trail" in office.errors


def test_no_secret_in_what_python_prints() -> None:
    """Neither password nor key in the text of the objects that carry them."""
    from backup_core.cli.recovery import Recovery

    assert "hush" not in repr(Recovery("r", "hush", {"AZURE_ACCOUNT_KEY": "hush"}))


def test_the_signature_only_reads(monkeypatch: pytest.MonkeyPatch) -> None:
    """It lists and reads one container over https, for a day."""
    from urllib.parse import parse_qs

    from azure.storage.blob import BlobServiceClient, UserDelegationKey

    from backup_core.storage import azure_grant

    key = UserDelegationKey()
    key.signed_oid = key.signed_tid = "11111111-aaaa-4bbb-8ccc-000000000001"
    key.signed_start, key.signed_expiry = "2026-11-25T11:45:00Z", "2026-11-26T12:00:00Z"
    key.signed_service, key.signed_version, key.value = "b", "2020-02-10", "c2VjcmV0"
    asked = []
    monkeypatch.setattr(azure_grant, "identity", type("Nobody", (), {"get_token": None}))
    monkeypatch.setattr(BlobServiceClient, "get_user_delegation_key", lambda self, *span: asked.append(span) or key)
    account = BlobAccount(None, "vault", None)
    found = parse_qs(azure_grant.read_only_signature(account, "drivekeep", FakeClock(NOON), 1))
    assert (found["sp"], found["sr"], found["spr"], found["se"]) == (["rl"], ["c"], ["https"], ["2026-11-26T12:00:00Z"])
    assert asked == [(NOON - datetime.timedelta(minutes=15), TOMORROW)]
