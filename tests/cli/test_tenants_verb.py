"""`drivekeep tenants` over a registry in memory."""

import datetime

import pytest
from support.office import ADA, CONTOSO, FABRIKAM, Office

NOON = datetime.datetime(2026, 11, 25, 12, 0, tzinfo=datetime.UTC)


@pytest.fixture
def office(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Office:
    made = Office(monkeypatch, capsys)
    made.add_tenant(CONTOSO, name="Contoso", domain="contoso.com", connected_at=NOON, users_read_at=NOON)
    made.add_tenant(FABRIKAM, name="Fabrikam", domain="fabrikam.com", state="pending", users_read_at=NOON)
    return made


def test_tenants_are_listed_with_their_accounts(office: Office) -> None:
    """The contract's tenant object, one for each; in words for a person."""
    office.add(ADA)
    code, document = office.json(["tenants", "list"])
    assert code == 0
    assert document[0] == {
        "id": CONTOSO,
        "name": "Contoso",
        "domain": "contoso.com",
        "state": "connected",
        "paused": False,
        "destination": None,
        "connected_at": "2026-11-25T12:00:00.000Z",
        "accounts": {"protected": 1},
    }
    assert [each["id"] for each in document] == [CONTOSO, FABRIKAM]
    code, out = office.run("tenants", "list")
    assert code == 0
    assert "contoso.com" in out
    assert "1 protected" in out


def test_a_tenant_is_shown_by_id_or_domain(office: Office) -> None:
    """In any case of either; an unknown one ends with exit code 1."""
    for name in (CONTOSO.upper(), "CONTOSO.com"):
        assert office.json(["tenants", "show", name])[1]["id"] == CONTOSO
    assert "Contoso" in office.run("tenants", "show", CONTOSO)[1]
    code, document = office.json(["tenants", "show", "nobody.com"])
    assert (code, document["reason"]) == (1, "not-found")
    office.add_tenant("33333333-aaaa-4bbb-8ccc-000000000003", domain="contoso.com")
    code, document = office.json(["tenants", "show", "contoso.com"])
    assert (code, CONTOSO in document["message"]) == (2, True)


def test_a_pending_tenant_is_approved_once(office: Office) -> None:
    """Connected, users to be read at the next tick, waiting people let in, one row in the audit trail."""
    office.add(ADA, FABRIKAM, state="pending")
    code, document = office.json(["tenants", "approve", "fabrikam.com"])
    assert (code, document["state"]) == (0, "connected")
    assert office.registry.tenants.get(FABRIKAM).users_read_at is None
    assert office.account(ADA, FABRIKAM).state == "protected"
    before = office.registry.tenants.get(FABRIKAM)
    assert office.run("tenants", "approve", FABRIKAM)[0] == 0
    assert office.registry.tenants.get(FABRIKAM).etag == before.etag
    assert sorted(what for _, what, _ in office.notes(FABRIKAM)) == ["account.approve", "tenant.approve"]
    assert {who for who, _, _ in office.notes(FABRIKAM)} == {"command line"}


def test_a_lost_consent_is_not_approved(office: Office) -> None:
    """Only an administrator of the tenant can give it back."""
    lost = "33333333-aaaa-4bbb-8ccc-000000000003"
    office.add_tenant(lost, state="consent-lost")
    code, document = office.json(["tenants", "approve", lost])
    assert (code, document["reason"]) == (1, "consent-lost")
    assert office.registry.tenants.get(lost).state == "consent-lost"
    assert office.notes(lost) == []


@pytest.mark.parametrize("words", [["show"], ["approve"], ["list", CONTOSO], ["forget", CONTOSO], []])
def test_words_that_do_not_fit(office: Office, words: list[str]) -> None:
    """Exit code 2."""
    assert office.json(["tenants", *words])[0] == 2


def test_no_storage_is_said(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the service's storage there is no registry: exit code 2, and the setting's name."""
    monkeypatch.undo()
    code, document = office.json(["tenants", "list"])
    assert (code, "DRIVEKEEP_STORAGE" in document["remedy"]) == (2, True)
