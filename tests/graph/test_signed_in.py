"""Tokens of a person who signed in: rotated, kept safely in their file, refused in words that help."""

import json
import logging
import stat
from pathlib import Path
from typing import Any

import pytest

from backup_core.errors import AccessDenied
from backup_core.graph.application import graph_resource
from backup_core.graph.gate import Gate
from backup_core.graph.sign_in import SignedIn
from backup_core.graph.sign_in_host import SignInHost
from backup_core.graph.token_file import TokenFile

LOGIN = "https://localhost:4444"
TENANT = "22222222-3333-4444-5555-666666666666"
CLIENT = "99999999-8888-7777-6666-555555555555"
GRAPH = "https://graph.microsoft.com"
SECRET = "CANARY-client-secret"


def signed_in(world: Any, path: Path, graph_url: str = GRAPH) -> SignedIn:
    host = SignInHost(LOGIN, world.session, Gate(world.clock, jitter=lambda: 1.0))
    return SignedIn(host, TokenFile(path), CLIENT, graph_url)


@pytest.fixture
def token_file(tmp_path: Path) -> Path:
    path = tmp_path / "onedrive_token.json"
    path.write_text('{"refresh_token": "CANARY-refresh-0"}')
    return path


def test_refresh_token_alone(world: Any, common: Any, token_file: Path) -> None:
    """A file that holds a refresh token alone is accepted, and replaced by msal's cache with the rotated one."""
    assert signed_in(world, token_file).token() == "CANARY-access-1"
    assert common.forms[0]["refresh_token"] == "CANARY-refresh-0"
    assert set(common.forms[0]["scope"].split()) == {
        "Files.Read", "Files.Read.All", "User.Read", "openid", "profile", "offline_access",
    }  # fmt: skip
    assert stat.S_IMODE(token_file.stat().st_mode) == 0o600
    assert "RefreshToken" in json.loads(token_file.read_text())
    assert signed_in(world, token_file).token() == "CANARY-access-2"
    assert common.forms[1]["refresh_token"] == "CANARY-refresh-1"
    assert [path.name for path in token_file.parent.iterdir()] == [token_file.name]


def test_rotated_tokens_are_kept_at_once(world: Any, common: Any, token_file: Path) -> None:
    """Each renewal uses the newest refresh token, also one that another process has put there."""
    tokens = signed_in(world, token_file)
    for number in range(1, 4):
        assert tokens.token(renew=True) == f"CANARY-access-{number}"
    token_file.write_text('{"refresh_token": "CANARY-refresh-other"}')
    tokens.token(renew=True)
    assert [form["refresh_token"].rpartition("-")[2] for form in common.forms] == ["0", "1", "2", "other"]


def test_a_host_that_does_not_rotate(world: Any, common: Any, token_file: Path) -> None:
    """Where no new refresh token comes, the file keeps the one it has."""
    common.rotates = False
    signed_in(world, token_file).token()
    assert json.loads(token_file.read_text()) == {"refresh_token": "CANARY-refresh-0"}


def test_scopes_without_an_administrator(world: Any, common: Any, token_file: Path) -> None:
    """Where the organisation reserves Files.Read.All, the narrower scopes are asked for, then and later."""
    common.refuse("invalid_grant", 65001)
    tokens = signed_in(world, token_file)
    tokens.token()
    tokens.token(renew=True)
    asked = [set(form["scope"].split()) - {"openid", "profile", "offline_access"} for form in common.forms]
    assert asked == [
        {"Files.Read", "Files.Read.All", "User.Read"},
        {"Files.Read", "User.Read"},
        {"Files.Read", "User.Read"},
    ]


@pytest.mark.parametrize("number", [70008, 700082, 50173, 70043, 50057])
def test_expired_sign_in(world: Any, common: Any, token_file: Path, number: int) -> None:
    """A refresh token that no longer works: the contract's text, exit code 13, the file left as it was."""
    common.refuse("invalid_grant", number)
    with pytest.raises(AccessDenied, match="token expired and refresh failed") as caught:
        signed_in(world, token_file).token()
    text = str(caught.value)
    assert caught.value.exit_code == 13
    for said in ("Delete the token file", "offline_access", "not corrupted", f"AADSTS{number}"):
        assert said in text
    assert ("account is disabled" in text) == (number == 50057)
    assert "CANARY" not in text
    assert "CANARY-refresh-0" in token_file.read_text()


def test_a_client_that_needs_a_secret(world: Any, common: Any, token_file: Path) -> None:
    """A refusal of the app, not of the person, is told as such."""
    common.refuse("invalid_client", 7000218, status=401)
    with pytest.raises(AccessDenied, match="oauth2: cannot fetch token") as caught:
        signed_in(world, token_file).token()
    assert "public client" in str(caught.value)


@pytest.mark.parametrize(
    "content",
    [
        "",
        "{",
        "[]",
        '{"refresh_token": ""}',
        '{"refresh_token": 7}',
        "{}",
        '{"RefreshToken": []}',
        '{"RefreshToken": {"k": 7}}',
        '{"RefreshToken": {"k": {"client_id": "CLIENT", "environment": "localhost"}}}',
        '{"RefreshToken": {"k": {"client_id": "CLIENT", "environment": "other.example", "secret": "CANARY"}}}',
        '{"RefreshToken": {"k": {"client_id": "other", "environment": "localhost", "secret": "CANARY"}}}',
        "\ud800",
    ],
)
def test_unusable_token_file(world: Any, common: Any, tmp_path: Path, content: str) -> None:
    """A corrupted file, or one for another app or host, is an expired sign-in; nothing of it is sent or changed."""
    path = tmp_path / "token.json"
    path.write_bytes(content.replace("CLIENT", CLIENT).encode("utf-8", "surrogatepass"))
    before = path.read_bytes()
    with pytest.raises(AccessDenied, match="token expired and refresh failed") as caught:
        signed_in(world, path).token()
    assert str(path) in str(caught.value)
    assert (path.read_bytes(), common.forms) == (before, [])
    assert "CANARY" not in str(caught.value)


def test_no_token_file(world: Any, tmp_path: Path) -> None:
    """Nobody signed in: what to put where, and exit code 13."""
    with pytest.raises(AccessDenied, match="oauth2: cannot fetch token") as caught:
        signed_in(world, tmp_path / "missing.json").token()
    assert "refresh_token" in caught.value.remedy


def test_a_file_that_cannot_be_replaced(
    world: Any, common: Any, token_file: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A read-only place keeps the run going: the new token works, and a warning says what was not kept."""

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("tempfile.mkstemp", refuse)
    assert signed_in(world, token_file).token() == "CANARY-access-1"
    assert "could not be written" in caplog.text


def test_a_link_stays_a_link(world: Any, common: Any, token_file: Path) -> None:
    """A token file that is a link, as mounted secrets are, is replaced where it leads."""
    link = token_file.parent / "link.json"
    link.symlink_to(token_file)
    signed_in(world, link).token()
    assert link.is_symlink()
    assert "CANARY-refresh-1" in token_file.read_text()


def test_whose_scopes(world: Any, common: Any, token_file: Path) -> None:
    """A national cloud's scopes name its Graph; a Graph at any other address stands for the worldwide one."""
    assert graph_resource("https://graph.microsoft.us/") == "https://graph.microsoft.us"
    assert graph_resource("https://localhost:4443") == GRAPH
    signed_in(world, token_file, "https://graph.microsoft.us").token()
    assert "https://graph.microsoft.us/Files.Read" in common.forms[0]["scope"].split()


def test_no_secret_in_any_log(world: Any, common: Any, token_file: Path, caplog: pytest.LogCaptureFixture) -> None:
    """At debug level neither msal nor we write a secret or a token anywhere."""
    caplog.set_level(logging.DEBUG)
    tokens = signed_in(world, token_file)
    tokens.token()
    common.refuse("invalid_grant", 70008)
    with pytest.raises(AccessDenied):
        tokens.token(renew=True)
    assert "CANARY" not in caplog.text + repr(tokens) + repr(vars(tokens).get("_kept"))
