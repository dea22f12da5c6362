"""What every test gets: no settings of this machine's owner, and the share of generated tests that `make test` runs."""

import os

import pytest
from hypothesis import HealthCheck, settings

pytest_plugins = ["backup_core.testing.azurite_fixture"]

settings.register_profile(
    "fast", max_examples=25, derandomize=True, deadline=None, suppress_health_check=[*HealthCheck]
)
settings.register_profile("soak", max_examples=1000, deadline=None, suppress_health_check=[*HealthCheck])
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "fast"))

_FOREIGN = (
    "REQUESTS_CA_BUNDLE",
    "CURL_CA_BUNDLE",
    "SSL_CERT_",
    "DRIVEKEEP_",
    "ONEDRIVE_",
    "CLOUDSTIC_",
    "AZURE_",
    "RESTIC_",
    "RCLONE_",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "NO_PROXY",
)


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    """A test sees only the settings that it makes itself, and a home folder of its own."""
    for name in list(os.environ):
        if name.upper().startswith(_FOREIGN):
            monkeypatch.delenv(name)
    home = tmp_path_factory.mktemp("home")
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(home / ".config"))
