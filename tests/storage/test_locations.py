"""Where a repository lies, as people write it."""

from pathlib import Path

import pytest

from backup_core.errors import Usage
from backup_core.storage.locations import AzureLocation, LocalLocation, parse_location


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("/srv/backup", "/srv/backup"),
        ("local:/srv/backup", "/srv/backup"),
        ("LOCAL:/srv/backup", "/srv/backup"),
        ("local:backup", "backup"),
        ("backup/ada", "backup/ada"),
        ("./a:b", "./a:b"),
        ("/srv/a:b", "/srv/a:b"),
        ("local:azure:box:/", "azure:box:/"),
        ("backup folder", "backup folder"),
    ],
)
def test_a_path_is_a_folder_of_this_machine(text: str, path: str) -> None:
    """Absolute and relative paths, with or without local:, name that folder, as in restic."""
    assert parse_location(text) == LocalLocation(Path(path))


def test_a_leading_tilde_is_the_home_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a shell would have done with ~ is done for a configuration file too."""
    monkeypatch.setenv("HOME", "/home/ada")
    assert parse_location("~/backup") == LocalLocation(Path("/home/ada/backup"))
    assert parse_location("local:~/backup") == LocalLocation(Path("/home/ada/backup"))


@pytest.mark.parametrize(
    ("text", "container", "prefix"),
    [
        ("azure:drivekeep:/", "drivekeep", ""),
        ("azure:drivekeep:", "drivekeep", ""),
        ("azure:drivekeep:/ada", "drivekeep", "ada"),
        ("azure:drivekeep:ada", "drivekeep", "ada"),
        ("azure:drivekeep:/ada/onedrive/", "drivekeep", "ada/onedrive"),
        ("azure:drivekeep://ada//./onedrive", "drivekeep", "ada/onedrive"),
        ("azure:a-b-3:/Größe x", "a-b-3", "Größe x"),
        ("Azure:drivekeep:/a:b", "drivekeep", "a:b"),
    ],
)
def test_azure_names_a_container_and_a_folder_in_it(text: str, container: str, prefix: str) -> None:
    """The prefix has no slash at its ends and none doubled, so that restic finds the same objects."""
    assert parse_location(text) == AzureLocation(container, prefix)


@pytest.mark.parametrize("kind", ["onedrive", "destination", "s3", "b2", "gs", "swift", "sftp", "rest", "rclone", "S3"])
def test_kinds_that_are_not_built_are_refused_by_name(kind: str) -> None:
    """A known kind of location that this version lacks is a usage error that names it and what there is instead."""
    with pytest.raises(Usage) as caught:
        parse_location(f"{kind}:https://user:geheim@host/bucket")
    assert caught.value.exit_code == 2
    assert f"{kind.lower()}:" in str(caught.value)
    assert "azure:container:/prefix" in caught.value.remedy
    assert "geheim" not in str(caught.value)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "  ",
        "local:",
        "a\0b",
        "foo:bar",
        "C:\\backup",
        "azure:",
        "azure:drivekeep",
        "azure::/prefix",
        "azure:ab:/x",
        "azure:Upper:/x",
        "azure:a--b:/x",
        "azure:-ab:/x",
        "azure:abc-:/x",
        "azure:a_b:/x",
        f"azure:{'a' * 64}:/x",
        "azure:box:/a/../b",
        "azure:box:/..",
        "azure:box:/a\\b",
        "azure:box:/a\nb",
        f"azure:box:/{'a' * 501}",
    ],
)
def test_what_cannot_be_meant_is_refused_with_a_remedy(text: str) -> None:
    """Empty, cut, unknown and impossible locations are usage errors that say what to write."""
    with pytest.raises(Usage) as caught:
        parse_location(text)
    assert caught.value.remedy


@pytest.mark.parametrize("text", ["/srv/backup", "azure:drivekeep:/ada/onedrive", "azure:drivekeep:/", "~", "a/b"])
def test_a_location_prints_as_what_would_be_read_again(text: str) -> None:
    """What messages show is a location that can be typed again."""
    location = parse_location(text)
    assert parse_location(str(location)) == location


def test_the_longest_container_name_is_accepted() -> None:
    """Azure allows 63 characters."""
    assert parse_location(f"azure:{'a' * 63}:/") == AzureLocation("a" * 63, "")
