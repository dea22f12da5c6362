"""Components as the settings ask for them. Nothing is sent."""

from pathlib import Path

import pytest

from backup_core import wiring
from backup_core.errors import AccessDenied, Usage
from backup_core.settings import read_settings
from backup_core.storage.locations import AzureLocation
from backup_core.testing.fake_clock import FakeClock

_KEY = "aHVzaC1odXNo"  # base64 of "hush-hush"


def _place(tmp_path: Path, **environment: str) -> wiring.Place:
    return wiring.place_for(read_settings({}, environment, tmp_path), FakeClock())


def test_a_folder_takes_small_packs_in_one_store(tmp_path: Path) -> None:
    """A folder is metered, takes packs of 16 MiB, and `~` in its location is the home folder."""
    place = _place(tmp_path, DRIVEKEEP_REPOSITORY="~/backup")
    assert place.pack_bytes == 16 << 20
    assert place.content_store is place.store
    place.store.put_new("config", b"x")
    assert (Path.home() / "backup" / "config").read_bytes() == b"x"
    assert (place.store.requests, place.store.bytes_written) == (1, 1)


def test_a_place_for_reading_cannot_be_changed(tmp_path: Path) -> None:
    """Whatever a dry run calls, nothing is written and nothing deleted."""
    settings = read_settings({}, {"DRIVEKEEP_REPOSITORY": str(tmp_path / "r")}, tmp_path)
    place = wiring.place_for(settings, FakeClock(), read_only=True)
    for store in (place.store, place.content_store):
        with pytest.raises(Usage):
            store.put_new("config", b"x")
        with pytest.raises(Usage):
            store.delete("config")
    assert not (tmp_path / "r").exists()


def test_azure_by_account_and_key(tmp_path: Path) -> None:
    """A container takes packs of 32 MiB; the key is in no repr."""
    place = _place(
        tmp_path, DRIVEKEEP_REPOSITORY="azure:backups:/ada/", AZURE_ACCOUNT_NAME="contoso", AZURE_ACCOUNT_KEY=_KEY
    )
    assert place.location == AzureLocation("backups", "ada")
    assert place.pack_bytes == 32 << 20
    assert place.content_store is place.store
    assert _KEY not in repr(place)


@pytest.mark.parametrize(
    ("cloud", "host"),
    [
        ("global", "contoso.blob.core.windows.net"),
        ("usgov", "contoso.blob.core.usgovcloudapi.net"),
        ("china", "contoso.blob.core.chinacloudapi.cn"),
    ],
)
def test_azure_of_a_national_cloud(cloud: str, host: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An account name means the account of the cloud that is set."""
    from backup_core.storage import azure_blob

    seen = []
    monkeypatch.setattr(azure_blob, "connect", lambda account, container, **_: seen.append(account))
    _place(
        tmp_path,
        DRIVEKEEP_REPOSITORY="azure:backups:/",
        AZURE_ACCOUNT_NAME="contoso",
        AZURE_ACCOUNT_KEY=_KEY,
        DRIVEKEEP_CLOUD=cloud,
    )
    assert f"{seen[0].account_name}.blob.{seen[0].endpoint_suffix}" == host


def test_a_cooler_tier_is_for_content_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With DRIVEKEEP_ACCESS_TIER data packs go to a store of that tier; all else stays hot."""
    from backup_core.storage import azure_blob

    tiers = []
    monkeypatch.setattr(
        azure_blob.AzureBlobStore, "put_new", lambda self, name, data: tiers.append(self._tier_of(name))
    )
    place = _place(
        tmp_path,
        DRIVEKEEP_REPOSITORY="azure:backups:/",
        AZURE_ACCOUNT_NAME="contoso",
        AZURE_ACCOUNT_KEY=_KEY,
        DRIVEKEEP_ACCESS_TIER="cool",
    )
    place.content_store.put_new("data/aa/aa", b"")
    place.store.put_new("data/bb/bb", b"")
    assert tiers == ["cool", "hot"]


def test_app_only_takes_one_proof(tmp_path: Path) -> None:
    """A secret in the environment counts above a certificate in the file; a certificate that is none is refused."""
    (tmp_path / "app.pem").write_text("no certificate")
    (tmp_path / "config.toml").write_text(f'client_certificate = "{tmp_path / "app.pem"}"\nclient_id = "c"\n')
    secret = read_settings({}, {"DRIVEKEEP_CLIENT_SECRET": "s", "DRIVEKEEP_TENANT": "t"}, tmp_path)
    wiring.graph_for(secret, FakeClock(), app_only=True)
    certificate = read_settings({}, {"DRIVEKEEP_TENANT": "t"}, tmp_path)
    with pytest.raises(Usage, match=r"app\.pem"):
        wiring.graph_for(certificate, FakeClock(), app_only=True)


def test_signed_in_reads_the_token_file_that_is_set(tmp_path: Path) -> None:
    """The token file is looked for where the settings say, and not before a token is needed."""
    settings = read_settings({}, {"ONEDRIVE_TOKEN_FILE": str(tmp_path / "mine.json")}, tmp_path)
    graph = wiring.graph_for(settings, FakeClock(), app_only=False)
    with pytest.raises(AccessDenied, match=r"mine\.json"):
        graph.client.get_json("/me")


def test_a_limit_on_downloads_is_handed_on(tmp_path: Path) -> None:
    """Without --limit-download nothing slows a download; with it one limit is shared by all."""
    settings = read_settings({}, {}, tmp_path)
    assert wiring.graph_for(settings, FakeClock(), app_only=False).downloads.limit is None
    limited = wiring.graph_for(settings, FakeClock(), app_only=False, download_bytes_per_second=1024.0)
    assert limited.downloads.limit is not None
