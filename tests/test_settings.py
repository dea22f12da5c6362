"""Settings: which of several values counts, what is refused, and that no secret shows."""

import itertools
import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backup_core.errors import Usage
from backup_core.settings import Settings, config_folder, read_settings
from backup_core.settings.table import CLOUDS, SETTINGS, Setting

_SECRETS = [name for name, setting in SETTINGS.items() if setting.secret]


def _read(
    tmp_path: Path, *, flags: dict[str, str] | None = None, env: dict[str, str] | None = None, file: str = ""
) -> Settings:
    (tmp_path / "config.toml").write_text(file)
    return read_settings(flags, env or {}, tmp_path)


@pytest.mark.parametrize("levels", list(itertools.product((False, True), repeat=3)))
def test_flag_beats_environment_beats_file_beats_default(levels: tuple[bool, bool, bool], tmp_path: Path) -> None:
    """Of the levels at which a setting is given, the highest one counts, and `config show` says which that is."""
    flag, env, file = levels
    settings = _read(
        tmp_path,
        flags={"DRIVEKEEP_TENANT": "of-flag"} if flag else {},
        env={"DRIVEKEEP_TENANT": "of-environment"} if env else {},
        file='tenant = "of-file"\n' if file else "",
    )
    expected = next(
        (value for value, there in (("of-flag", flag), ("of-environment", env), ("of-file", file)) if there), ""
    )
    origins = {"of-flag": "flag", "of-environment": "environment", "of-file": "config.toml", "": "default"}
    row = next(row for row in settings.rows() if row.name == "DRIVEKEEP_TENANT")
    assert settings.text("DRIVEKEEP_TENANT") == expected
    assert (row.value, row.origin) == (expected, origins[expected])


@pytest.mark.parametrize("setting", list(SETTINGS.values()), ids=lambda setting: setting.name)
def test_every_setting_is_read_from_environment_and_file(setting: Setting, tmp_path: Path) -> None:
    """Each name of the table, and each alias, is known in both places, and none of them is called unknown."""
    for name in (setting.name, *setting.aliases):
        in_environment = _read(tmp_path, env={name: "1"})
        in_file = _read(tmp_path, file=f'{name.removeprefix("DRIVEKEEP_").lower()} = "1"\n')
        for settings in (in_environment, in_file):
            assert settings.given(setting.name)
            assert settings.warnings == ()


def test_a_name_of_its_own_beats_an_alias_at_the_same_level(tmp_path: Path) -> None:
    """DRIVEKEEP_SOURCE counts where CLOUDSTIC_SOURCE is set beside it; an alias still beats the file."""
    both = _read(tmp_path, env={"CLOUDSTIC_SOURCE": "onedrive-changes", "DRIVEKEEP_SOURCE": "onedrive"})
    assert both.text("DRIVEKEEP_SOURCE") == "onedrive"
    above_file = _read(tmp_path, env={"CLOUDSTIC_SOURCE": "onedrive"}, file='source = "onedrive-changes"')
    assert above_file.text("DRIVEKEEP_SOURCE") == "onedrive"


def test_an_empty_value_counts_as_not_given(tmp_path: Path) -> None:
    """`DRIVEKEEP_X=` in a shell switches nothing on, and does not hide what the file says."""
    settings = _read(tmp_path, env={"DRIVEKEEP_TENANT": ""}, file='tenant = "of-file"')
    assert settings.text("DRIVEKEEP_TENANT") == "of-file"


@pytest.mark.parametrize("cloud", list(CLOUDS))
def test_cloud_sets_both_hosts_unless_they_are_given(cloud: str, tmp_path: Path) -> None:
    """A national cloud is one setting; a host that is given stays as it is given."""
    settings = _read(tmp_path, env={"DRIVEKEEP_CLOUD": cloud})
    assert (settings.graph_url, settings.authority_url) == CLOUDS[cloud][:2]
    given = _read(tmp_path, env={"DRIVEKEEP_CLOUD": cloud}, file='graph_url = "https://localhost:4443/"\n')
    assert given.graph_url == "https://localhost:4443"  # and an address is used without the slash at its end
    assert given.authority_url == CLOUDS[cloud].authority_url


@pytest.mark.parametrize(
    ("env", "file", "location"),
    [
        ({}, "", ""),
        ({"DRIVEKEEP_REPOSITORY": "/a"}, "", "/a"),
        ({"DRIVEKEEP_STORE": "azure", "DRIVEKEEP_STORE_PATH": "box:/p"}, "", "azure:box:/p"),
        ({"CLOUDSTIC_STORE": "local", "CLOUDSTIC_STORE_PATH": "/b"}, "", "local:/b"),
        ({"CLOUDSTIC_STORE": "s3", "CLOUDSTIC_STORE_PATH": "bucket"}, "", "s3:bucket"),
        ({"DRIVEKEEP_REPOSITORY": "/a", "DRIVEKEEP_STORE": "local", "DRIVEKEEP_STORE_PATH": "/b"}, "", "/a"),
        ({"CLOUDSTIC_STORE": "local", "CLOUDSTIC_STORE_PATH": "/b"}, 'repository = "/c"', "local:/b"),
        ({"DRIVEKEEP_REPOSITORY": "/a"}, 'store = "local"\nstore_path = "/b"', "/a"),
    ],
)
def test_location_is_one_setting_or_two(env: dict[str, str], file: str, location: str, tmp_path: Path) -> None:
    """Store and store path together are a location; of both ways the higher level counts, else DRIVEKEEP_REPOSITORY."""
    assert _read(tmp_path, env=env, file=file).location == location


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("DRIVEKEEP_CLOUD", "mars"),
        ("DRIVEKEEP_SOURCE", "dropbox"),
        ("DRIVEKEEP_GRAPH_URL", "http://graph.microsoft.com"),
        ("DRIVEKEEP_GRAPH_URL", "https://graph.microsoft.com/v1.0"),
        ("DRIVEKEEP_GRAPH_URL", "https://graph.microsoft.com:nonsense"),
        ("DRIVEKEEP_GRAPH_URL", "https://someone:word@graph.microsoft.com"),
        ("DRIVEKEEP_ALLOWED_HOSTS", "https://files.example"),
        ("DRIVEKEEP_ALLOWED_HOSTS", "files.example:8443"),
        ("DRIVEKEEP_ACCESS_TIER", "archive"),
        ("DRIVEKEEP_HTTP_RETRIES", "-1"),
        ("DRIVEKEEP_HTTP_RETRIES", "three"),
        ("DRIVEKEEP_MAX_CONCURRENT_THREADS", "0"),
        ("DRIVEKEEP_CLIENT_CERTIFICATE", "/nowhere/app.pem"),
        ("REQUESTS_CA_BUNDLE", "/nowhere/ca.pem"),
    ],
)
def test_a_wrong_value_names_the_setting_and_its_origin(name: str, value: str, tmp_path: Path) -> None:
    """Usage says which setting is wrong, where it was set and what it must be; `config show` shows it too."""
    settings = _read(tmp_path, env={name: value})
    with pytest.raises(Usage) as caught:
        settings.text(name)
    assert name in caught.value.what
    assert "environment" in caught.value.why
    assert caught.value.remedy
    assert "word" not in str(caught.value)
    assert next(row.problem for row in settings.rows() if row.name == name)


@pytest.mark.parametrize("name", sorted(_SECRETS))
def test_a_key_vault_reference_left_unresolved_is_no_value(name: str, tmp_path: Path) -> None:
    """App Service hands on the reference itself where the identity may not read the secret; it is no key to be used."""
    settings = _read(tmp_path, env={name: "@Microsoft.KeyVault(SecretUri=https://v.vault.azure.net/secrets/k)"})
    with pytest.raises(Usage, match=name) as told:
        settings.text(name)
    assert told.value.reason == "key-vault"
    assert "Key Vault Secrets User" in told.value.remedy
    (row,) = [row for row in settings.rows() if row.name == name]
    assert "Key Vault" in row.problem


def test_a_wrong_value_troubles_only_who_asks_for_it(tmp_path: Path) -> None:
    """A mistake in a setting of the service does not stop a verb that has no use for it."""
    settings = _read(tmp_path, env={"DRIVEKEEP_ENROL": "some", "DRIVEKEEP_TENANT": "t"})
    assert settings.text("DRIVEKEEP_TENANT") == "t"


def test_allowed_hosts_are_a_list(tmp_path: Path) -> None:
    """Commas, spaces and an array of config.toml mean the same; names count without their case, IP literals too."""
    assert _read(tmp_path, env={"DRIVEKEEP_ALLOWED_HOSTS": " Files.Example ,127.0.0.1,::1,"}).allowed_hosts == (
        "files.example",
        "127.0.0.1",
        "::1",
    )
    assert _read(tmp_path, file='allowed_hosts = ["a.example", "b.example"]').allowed_hosts == (
        "a.example",
        "b.example",
    )


@pytest.mark.parametrize(
    ("env", "file", "nearest"),
    [
        ({"DRIVEKEEP_REPOSITRY": "/a"}, "", "DRIVEKEEP_REPOSITORY"),
        ({"DRIVEKEEP_HTTP_RETRY": "1"}, "", "DRIVEKEEP_HTTP_RETRIES"),
        ({}, "alowed_hosts = 'a'", "allowed_hosts"),
    ],
)
def test_an_unknown_name_is_a_warning_with_the_nearest_one(
    env: dict[str, str], file: str, nearest: str, tmp_path: Path
) -> None:
    """A mistyped setting does not do nothing silently."""
    (warning,) = _read(tmp_path, env=env, file=file).warnings
    assert nearest in warning


def test_a_name_like_nothing_is_a_warning_too(tmp_path: Path) -> None:
    """Where nothing is near, nothing is guessed."""
    (warning,) = _read(tmp_path, env={"DRIVEKEEP_XQZ": "1"}).warnings
    assert warning == "DRIVEKEEP_XQZ is no setting of drivekeep."


@pytest.mark.parametrize("name", _SECRETS)
def test_secrets_never_show(name: str, tmp_path: Path) -> None:
    """Neither a row of `config show`, nor a repr, nor an error text holds the value of a secret setting."""
    settings = _read(tmp_path, env={name: "hush-hush"})
    row = next(row for row in settings.rows() if row.name == name)
    assert row.value == "********"
    assert "hush" not in repr(settings) + repr(settings._given) + "".join(map(str, settings.rows()))


def test_the_table_masks_all_that_is_secret() -> None:
    """Whoever adds a setting with a telling name must say that it is secret."""
    telling = ("SECRET", "_KEY", "CONNECTION_STRING", "PASSWORD")
    open_ones = {"DRIVEKEEP_PASSWORD_FILE"}
    for name in SETTINGS:
        assert SETTINGS[name].secret or name in open_ones or not any(word in name for word in telling), name


@pytest.mark.parametrize(
    "file", ["tenant = ", 'tenant = "a"\ntenant = "b"', "[section]\na = 1", "tenant = [1]", "client_secret = hush-hush"]
)
def test_a_file_that_cannot_be_read_is_named(file: str, tmp_path: Path) -> None:
    """Broken TOML and sections are Usage with the file's name, and no line of the file is repeated."""
    with pytest.raises(Usage) as caught:
        _read(tmp_path, file=file)
    assert "config.toml" in str(caught.value)
    assert "hush" not in str(caught.value)


@given(st.binary(max_size=80))
def test_any_bytes_in_the_file_are_settings_or_usage(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    """No content of config.toml ends in anything but settings or Usage."""
    folder = tmp_path_factory.mktemp("config")
    (folder / "config.toml").write_bytes(data)
    try:
        read_settings({}, {}, folder)
    except Usage:
        with pytest.raises((tomllib.TOMLDecodeError, UnicodeDecodeError, AssertionError)):
            document = tomllib.loads(data.decode())
            assert all(isinstance(value, str | int | float) for value in document.values())


def test_numbers_and_truth_of_the_file(tmp_path: Path) -> None:
    """TOML's own numbers and booleans mean what their texts in the environment mean."""
    settings = _read(tmp_path, file="http_retries = 5\ntrust_principal = true\n")
    assert settings.number("DRIVEKEEP_HTTP_RETRIES") == 5
    assert settings.text("DRIVEKEEP_TRUST_PRINCIPAL") == "true"


@pytest.mark.parametrize(
    ("platform", "environment", "folder"),
    [
        ("linux", {"HOME": "/home/ada"}, Path("/home/ada/.config/drivekeep")),
        ("darwin", {"HOME": "/Users/ada"}, Path("/Users/ada/.config/drivekeep")),
        ("win32", {"APPDATA": "/roaming", "HOME": "/home/ada"}, Path("/roaming/drivekeep")),
    ],
)
def test_where_the_file_lies(platform: str, environment: dict[str, str], folder: Path) -> None:
    """config.toml and the token file lie in the folder that the system's users expect."""
    assert config_folder(environment, platform) == folder


def test_token_file_by_default_and_given(tmp_path: Path) -> None:
    """ONEDRIVE_TOKEN_FILE counts, `~` in it is the home folder; without it the token lies beside config.toml."""
    assert _read(tmp_path).token_file == tmp_path / "onedrive_token.json"
    assert _read(tmp_path, env={"ONEDRIVE_TOKEN_FILE": "~/t.json"}).token_file == Path.home() / "t.json"


def test_strongest_names_the_rivals_at_the_highest_level(tmp_path: Path) -> None:
    """A secret in the environment beats a certificate in the file; two at one level are both named."""
    names = ("DRIVEKEEP_CLIENT_SECRET", "DRIVEKEEP_CLIENT_CERTIFICATE")
    env = {"DRIVEKEEP_CLIENT_SECRET": "s"}
    assert _read(tmp_path, env=env, file='client_certificate = "c"').strongest(*names) == [names[0]]
    assert _read(tmp_path, env={**env, "DRIVEKEEP_CLIENT_CERTIFICATE": "c"}).strongest(*names) == list(names)
    assert _read(tmp_path).strongest(*names) == []


def test_what_the_file_says_of_the_network_reaches_the_libraries(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A proxy in config.toml is what requests and azure-core use; one in the environment is left alone."""
    import requests.utils

    monkeypatch.delenv("https_proxy", raising=False)
    monkeypatch.setenv("HTTPS_PROXY", "https://before.example")  # so that the fixture takes the change back
    monkeypatch.delenv("HTTPS_PROXY")
    _read(tmp_path, file='https_proxy = "http://proxy.example:3128"').lend_to_libraries()
    assert requests.utils.getproxies()["https"] == "http://proxy.example:3128"
    _read(tmp_path, env={"HTTPS_PROXY": "http://other.example"}).lend_to_libraries()
    assert requests.utils.getproxies()["https"] == "http://proxy.example:3128"


@pytest.mark.parametrize(
    ("env", "expected"),
    [
        ({"DRIVEKEEP_STORAGE": "AccountName=a;AccountKey=k"}, ("AccountName=a;AccountKey=k", None)),
        ({"DRIVEKEEP_STORAGE": "backups", "AzureWebJobsStorage": "AccountName=host"}, (None, "backups")),
        ({"AzureWebJobsStorage": "AccountName=host"}, ("AccountName=host", None)),
        ({"AzureWebJobsStorage__accountName": "hosts"}, (None, "hosts")),
    ],
)
def test_where_the_service_keeps_its_things(
    env: dict[str, str], expected: tuple[str | None, ...], tmp_path: Path
) -> None:
    """Its own setting comes first, then the Functions host's own storage, by key or by identity."""
    assert _read(tmp_path, env=env).service_storage == expected


def test_shorthand_for_azurite_is_spelt_out(tmp_path: Path) -> None:
    """`UseDevelopmentStorage=true` is Azurite at its own ports, as for every tool of Azure."""
    access = _read(tmp_path, env={"AzureWebJobsStorage": "UseDevelopmentStorage=true"}).service_storage
    assert "127.0.0.1:10000" in (access.connection_string or "")
    assert "Account" not in repr(access)


def test_service_without_storage_says_so(tmp_path: Path) -> None:
    """Where neither is set, the error names both."""
    with pytest.raises(Usage) as caught:
        _ = _read(tmp_path).service_storage
    assert "DRIVEKEEP_STORAGE" in str(caught.value)
