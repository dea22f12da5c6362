"""host.json, its page, the example of local settings, and what is deployed."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from backup_core.errors import Usage
from backup_core.settings.table import SETTINGS
from backup_core.testing.durable_host.host_json import read_host_json
from backup_core.testing.durable_host.local_settings import read_local_settings

_ROOT = Path(__file__).parents[2]


def _leaves(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from _leaves(inner, f"{path}.{name}" if path else name)
    else:
        yield path, value


def test_each_value_has_its_reason() -> None:
    """docs/host.md has a row for every value of host.json, with that value, and no row for another."""
    rows = re.findall(r"^\| `([^`]+)` \| (`([^`]+)`|empty) \| .{10,} \|$", (_ROOT / "docs/host.md").read_text(), re.M)
    written = {path: {True: "true", False: "false"}.get(value, str(value)) for path, value in _leaves(_host_json())}
    assert {path: value for path, _, value in rows} == written


def test_the_host_reads_its_part() -> None:
    """The limits and the prefix are the ones that Azure will use."""
    settings = read_host_json(_ROOT, {})
    assert (settings.route_prefix, settings.hub_name) == ("", "drivekeep")
    assert (settings.limits.activities, settings.limits.orchestrators) == (4, 4)
    assert settings.limits.timeout_seconds == 1800


def test_no_retry_and_no_session_is_configured() -> None:
    """Activities are tried again by the orchestration alone, and extended sessions do not exist for Python."""
    text = (_ROOT / "host.json").read_text()
    assert "retry" not in text
    assert "extendedSessions" not in text


def test_the_example_of_local_settings() -> None:
    """It is what Azure's tools read, holds no secret, and names only settings that there are."""
    example = json.loads((_ROOT / "local.settings.json.example").read_text())
    assert example["IsEncrypted"] is False
    own = {name for name in example["Values"] if name.startswith("DRIVEKEEP_")}
    assert own <= set(SETTINGS)
    assert example["Values"]["FUNCTIONS_WORKER_RUNTIME"] == "python"
    assert " " in example["Values"]["DRIVEKEEP_MASTER_KEY"]  # words that no program takes for a key


def test_what_is_not_deployed() -> None:
    """Secrets of a developer's machine, tests and caches stay at home; the app, host.json and its needs go."""
    ignored = (_ROOT / ".funcignore").read_text().split()
    assert {"local.settings.json", "tests", ".git*", ".venv", "node_modules", "benchmarks"} <= set(ignored)
    assert not {"host.json", "function_app.py", "requirements.txt", "backup_core"} & set(ignored)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("{", "no host.json"),
        ('{"functionTimeout": "soon"}', "no host.json"),
        ('{"extensions": []}', "no host.json"),
        ('{"extensions": {"durableTask": {"hubName": "%NO_SUCH%"}}}', "NO_SUCH is missing"),
    ],
)
def test_a_host_json_that_cannot_be_used(tmp_path: Path, text: str, problem: str) -> None:
    """It is said at the start what is wrong with it."""
    with pytest.raises(Usage, match="cannot be read"):
        read_host_json(tmp_path, {})
    (tmp_path / "host.json").write_text(text)
    with pytest.raises(Usage, match=problem):
        read_host_json(tmp_path, {})


def test_local_settings(tmp_path: Path) -> None:
    """`Values` are read as Azure's tools read them; a file that cannot be used is explained, not passed over."""
    path = tmp_path / "local.settings.json"
    assert read_local_settings(tmp_path) == {}
    path.write_text('\ufeff{"Values": {"A": "1"}}', encoding="utf-8")
    assert read_local_settings(tmp_path) == {"A": "1"}
    for text in ("{", "[]", '{"Values": {"A": 1}}', '{"IsEncrypted": true, "Values": {"A": "x"}}'):
        path.write_text(text)
        with pytest.raises(Usage):
            read_local_settings(tmp_path)


def _host_json() -> Any:
    return json.loads((_ROOT / "host.json").read_text())
