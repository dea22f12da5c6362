"""What tokens allow, how long, and how often."""

import base64
import json
from typing import Any

import jwt
import pytest

from backup_core.testing.fake_clock import FakeClock
from backup_core.testing.m365.refusals import Refused
from backup_core.testing.m365.tokens import CONSUMERS, Grant, Session, TokenBook, public_keys

APP = Grant("tenant", "app", roles=frozenset({"Files.Read.All", "User.Read.All"}))
USER = Grant("tenant", "app", user="oid", scopes=frozenset({"User.Read", "Files.Read"}))
SESSION = Session("tenant", "oid")


@pytest.fixture
def book() -> TokenBook:
    return TokenBook(FakeClock())


def _clock(book: TokenBook) -> FakeClock:
    assert isinstance(book.clock, FakeClock)
    return book.clock


def _claims(token: str) -> dict[str, Any]:
    part = token.split(".")[1]
    return dict(json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))))


def test_an_access_token_holds_for_its_time(book: TokenBook) -> None:
    """It stands for its grant until the simulation's clock passes its end."""
    token = book.issue(APP, seconds=100)
    assert book.check(token) == APP
    _clock(book).advance(99.9)
    assert book.check(token) == APP
    _clock(book).advance(0.1)
    assert book.check(token) is None


def test_a_changed_token_is_no_token(book: TokenBook) -> None:
    """Claims cannot be edited, nor signatures left out, nor tokens made up."""
    head, claims, signature = book.issue(APP).split(".")
    forged = base64.urlsafe_b64encode(json.dumps(_claims(f"{head}.{claims}.") | {"roles": ["Everything"]}).encode())
    for token in ("", "x", f"{head}.{claims}.", f"{head}.{forged.decode().rstrip('=')}.{signature}"):
        assert book.check(token) is None


def test_a_token_shows_what_it_allows_as_microsofts_do(book: TokenBook) -> None:
    """An app's own token carries `roles`, a user's `scp`; both name tenant, app and end."""
    app, user = _claims(book.issue(APP)), _claims(book.issue(USER))
    assert (app["roles"], "scp" in app) == (["Files.Read.All", "User.Read.All"], False)
    assert (user["scp"], "roles" in user, user["oid"]) == ("Files.Read User.Read", False, "oid")
    assert (app["tid"], app["appid"], app["exp"] - app["iat"]) == ("tenant", "app", 3600)


def test_signatures_verify_with_the_published_keys(book: TokenBook) -> None:
    """A library that nobody here wrote verifies a token with the key set of the sign-in host."""
    [key] = jwt.PyJWKSet.from_dict(public_keys()).keys
    claims = jwt.decode(
        book.issue(APP),
        key,
        algorithms=["RS256"],
        audience="https://graph.microsoft.com",
        options={"verify_exp": False, "verify_nbf": False, "verify_iat": False},
    )
    assert claims["appid"] == "app"


def test_a_personal_token_is_opaque(book: TokenBook) -> None:
    """A client that takes personal tokens for JWTs is found out."""
    token = book.issue(Grant(CONSUMERS, "app", user="oid"))
    assert "." not in token
    assert book.check(token) is not None


def test_access_can_be_taken_away_at_once(book: TokenBook) -> None:
    """One token, or all, can be made to answer 401; later ones are good."""
    first, second, third = (book.issue(APP) for _ in range(3))
    assert len({first, second, third}) == 3
    book.revoke_access(first)
    assert [book.check(token) for token in (first, second)] == [None, APP]
    book.revoke_access()
    assert [book.check(token) for token in (second, third)] == [None, None]
    assert book.check(book.issue(APP)) == APP


def test_a_refresh_token_is_honoured_twice(book: TokenBook) -> None:
    """The old one is good once more after its first use, so that a lost reply costs nobody the session."""
    token = book.issue_refresh(SESSION)
    assert [book.redeem(token, "app").user for _ in range(2)] == ["oid", "oid"]
    with pytest.raises(Refused) as refusal:
        book.redeem(token, "app")
    assert refusal.value.number == 70000


def test_a_stricter_host_honours_it_once(book: TokenBook) -> None:
    """`refresh_uses` 1 finds the client that does not store the newest token."""
    book.refresh_uses = 1
    token = book.issue_refresh(SESSION)
    book.redeem(token, "app")
    with pytest.raises(Refused):
        book.redeem(token, "app")


def test_a_refresh_token_belongs_to_the_app_that_got_it(book: TokenBook) -> None:
    """Another app cannot use it; one that nobody has used yet is anybody's."""
    free = book.issue_refresh(SESSION)
    assert book.redeem(free, "one").app_id == "one"
    bound = book.issue_refresh(book.redeem(free, "one"))
    with pytest.raises(Refused) as refusal:
        book.redeem(bound, "two")
    assert refusal.value.number == 70000
    assert book.redeem(bound, "one").user == "oid"


@pytest.mark.parametrize(("days", "good"), [(89, True), (91, False)])
def test_a_refresh_token_ends_after_ninety_idle_days(book: TokenBook, days: int, good: bool) -> None:
    """Whoever does not come for 90 days must sign in again."""
    token = book.issue_refresh(SESSION)
    _clock(book).advance(days * 86400)
    if good:
        assert book.redeem(token, "app").user == "oid"
    else:
        with pytest.raises(Refused) as refusal:
            book.redeem(token, "app")
        assert refusal.value.number == 700082


def test_revoked_sessions_end(book: TokenBook) -> None:
    """One user's sessions can be ended without touching another's."""
    mine, theirs = book.issue_refresh(SESSION), book.issue_refresh(Session("tenant", "other"))
    book.revoke_refresh("oid")
    with pytest.raises(Refused) as refusal:
        book.redeem(mine, "app")
    assert refusal.value.number == 50173
    assert book.redeem(theirs, "app").user == "other"


def test_nothing_else_is_a_refresh_token(book: TokenBook) -> None:
    """Neither an access token nor nonsense can be redeemed."""
    for token in (book.issue(USER), "", "0.AXQA"):
        with pytest.raises(Refused):
            book.redeem(token, "app")
