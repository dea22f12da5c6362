"""The table of settings: name, default, other names, and what a value must look like. It reads nothing."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

# Whoever publishes a build registers a public client once and puts its id here. Until then sign-in needs
# DRIVEKEEP_CLIENT_ID: this id is registered nowhere.
PUBLIC_CLIENT_ID = "00000000-0000-0000-0000-000000000000"

SOURCES = ("onedrive", "onedrive-changes")
SECONDS_MAX = 7 * 24 * 3600  # a longer wait for one request is a typing mistake

_LOOPBACK = ("localhost", "127.0.0.1", "::1")

Check = Callable[[str], str]  # the value as it is used; ValueError says what it must be


class Cloud(NamedTuple):
    """`blob_suffix`: the end of the host name of every storage account."""

    graph_url: str
    authority_url: str
    blob_suffix: str = "core.windows.net"


_US_BLOBS = "core.usgovcloudapi.net"
CLOUDS = {
    "global": Cloud("https://graph.microsoft.com", "https://login.microsoftonline.com"),
    "usgov": Cloud("https://graph.microsoft.us", "https://login.microsoftonline.us", _US_BLOBS),
    "usgov-dod": Cloud("https://dod-graph.microsoft.us", "https://login.microsoftonline.us", _US_BLOBS),
    "china": Cloud(
        "https://microsoftgraph.chinacloudapi.cn", "https://login.partner.microsoftonline.cn", "core.chinacloudapi.cn"
    ),
}


class Setting(NamedTuple):
    """`secret` values are never shown. `flag` is the option that beats the environment, on the verbs that have it."""

    name: str
    default: str = ""
    check: Check = str
    aliases: tuple[str, ...] = ()
    secret: bool = False
    flag: str = ""

    @property
    def key(self) -> str:
        """As it is called in config.toml."""
        return key_of(self.name)


def key_of(name: str) -> str:
    return name.removeprefix("DRIVEKEEP_").lower()


def one_of(*choices: str) -> Check:
    def check(text: str) -> str:
        if text not in choices:
            raise ValueError(f"It must be one of: {', '.join(choices)}.")
        return text

    return check


def number(least: int, most: int) -> Check:
    def check(text: str) -> str:
        if not re.fullmatch(r"[0-9]{1,9}", text) or not least <= int(text) <= most:
            raise ValueError(f"It must be a whole number from {least} to {most}.")
        return text

    return check


def https_root(text: str) -> str:
    """Plain http only on this machine itself: tokens go there."""
    wanted = "It must be an address like https://graph.microsoft.com, without a path, a version or a user name."
    try:
        parts = urlsplit(text)
        usable = parts.hostname and parts.port != 0 and "@" not in parts.netloc
    except ValueError:
        raise ValueError(wanted) from None
    safe = parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in _LOOPBACK)
    if not safe or not usable or parts.path not in ("", "/") or parts.query or parts.fragment:
        raise ValueError(wanted)
    return f"{parts.scheme}://{parts.netloc}"


def host_names(text: str) -> str:
    names = [name.strip().lower() for name in text.split(",") if name.strip()]
    for name in names:
        if not re.fullmatch(r"[a-z0-9]([a-z0-9.-]*[a-z0-9])?|[0-9a-f:]*:[0-9a-f:.]*:[0-9a-f:.]*", name):
            raise ValueError("It must be host names with commas between them, without scheme, path or port.")
    return ",".join(names)


def existing_file(text: str) -> str:
    if not Path(text).expanduser().exists():
        raise ValueError("It must be the path of a file that is there.")
    return text


_TABLE = (
    Setting("DRIVEKEEP_CLOUD", "global", one_of(*CLOUDS)),
    Setting("DRIVEKEEP_GRAPH_URL", "", https_root),  # where it is not given: by the cloud, as the next one
    Setting("DRIVEKEEP_AUTHORITY_URL", "", https_root),
    Setting("DRIVEKEEP_ALLOWED_HOSTS", "", host_names),
    Setting("REQUESTS_CA_BUNDLE", "", existing_file),
    Setting("HTTPS_PROXY", aliases=("https_proxy",), secret=True),  # often holds a user name and a password
    Setting("NO_PROXY", aliases=("no_proxy",)),
    Setting("DRIVEKEEP_CLIENT_ID", PUBLIC_CLIENT_ID, aliases=("ONEDRIVE_CLIENT_ID",)),
    Setting("DRIVEKEEP_CLIENT_SECRET", secret=True),
    Setting("DRIVEKEEP_CLIENT_CERTIFICATE", "", existing_file),
    Setting("DRIVEKEEP_MANAGED_IDENTITY"),
    Setting("DRIVEKEEP_TENANT", flag="--tenant"),
    Setting("ONEDRIVE_TOKEN_FILE"),  # its default depends on the system: `Settings.token_file`
    Setting("DRIVEKEEP_SOURCE", "onedrive-changes", one_of(*SOURCES), ("CLOUDSTIC_SOURCE",), flag="--source"),
    Setting("DRIVEKEEP_REPOSITORY", flag="--repository"),
    Setting("DRIVEKEEP_STORE", aliases=("CLOUDSTIC_STORE",)),
    Setting("DRIVEKEEP_STORE_PATH", aliases=("CLOUDSTIC_STORE_PATH",)),
    Setting("DRIVEKEEP_PASSWORD", secret=True),
    Setting("DRIVEKEEP_PASSWORD_FILE", flag="--password-file"),
    Setting("AZURE_STORAGE_CONNECTION_STRING", secret=True),
    Setting("AZURE_ACCOUNT_NAME"),
    Setting("AZURE_ACCOUNT_KEY", secret=True),
    Setting("DRIVEKEEP_ACCESS_TIER", "hot", one_of("hot", "cool", "cold")),
    Setting("DRIVEKEEP_MASTER_KEY", secret=True),
    Setting("DRIVEKEEP_MASTER_KEY_PREVIOUS", secret=True),
    Setting("DRIVEKEEP_STORAGE", "AzureWebJobsStorage", secret=True),
    Setting("AzureWebJobsStorage", secret=True),  # the platform's own two: where the service's storage is not named
    Setting("AzureWebJobsStorage__accountName"),
    Setting("DRIVEKEEP_CONTAINER", "drivekeep"),
    Setting("DRIVEKEEP_SCHEDULE", "0 */15 * * * *"),
    Setting("DRIVEKEEP_DEFAULT_BACKUP_CRON", "0 2 * * *"),
    Setting("DRIVEKEEP_MAX_DRIVES_PER_TENANT", "4", number(1, 1000)),
    Setting("DRIVEKEEP_MAX_CONCURRENT_THREADS", "8", number(1, 64)),
    Setting("DRIVEKEEP_BACKUP_TASKS", "4", number(1, 1000)),
    Setting("DRIVEKEEP_RESTORE_TASKS", "2", number(1, 1000)),
    Setting("DRIVEKEEP_HTTP_VERSION", "default", one_of("default", "1.1", "2")),
    Setting("DRIVEKEEP_HTTP_RETRIES", "3", number(0, 100)),
    Setting("DRIVEKEEP_THROTTLE_PATIENCE", "900", number(0, SECONDS_MAX)),
    Setting("DRIVEKEEP_BASE_URL"),
    Setting("DRIVEKEEP_ONBOARDING", "", one_of("open", "approve")),
    Setting("DRIVEKEEP_ENROL", "all", one_of("all", "none")),
    Setting("DRIVEKEEP_API_KEY", secret=True),
    Setting("DRIVEKEEP_TRUST_PRINCIPAL", "false", one_of("true", "false")),
    Setting("DRIVEKEEP_HOME_TENANT"),
    Setting("DRIVEKEEP_WEBHOOK_URL", secret=True),  # such addresses are often a secret by themselves
    Setting("DRIVEKEEP_WEBHOOK_SECRET", secret=True),
    Setting("DRIVEKEEP_SERVE_KEY", secret=True),
)
SETTINGS = {setting.name: setting for setting in _TABLE}
