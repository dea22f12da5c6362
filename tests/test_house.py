"""The house as a whole: what the documents say is what the code has, and every file is of a size to be read."""

import argparse
import ast
import importlib
import re
import shlex
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from backup_core import errors
from backup_core.cli import main as command
from backup_core.cli.options import Parser, add_common
from backup_core.drive_state import head
from backup_core.errors import DrivekeepError
from backup_core.repository import layout, node
from backup_core.settings.table import SETTINGS

_ROOT = Path(__file__).parents[1]
_README = (_ROOT / "README.md").read_text()
_FORMAT = (_ROOT / "docs" / "repository.md").read_text()
_LINES_MAX = 400
_FUNCTION_LINES_MAX = 60
_PARTS = ("backup_core", "benchmarks", "tests", "tools")


def _files() -> list[Path]:
    found = [path for part in _PARTS for path in sorted((_ROOT / part).rglob("*.py")) if path.stat().st_size]
    assert len(found) > 100
    return found


def _name(path: Path) -> str:
    return path.relative_to(_ROOT).as_posix()


# -- README ------------------------------------------------------------------------------------------------------------


def _typed() -> Iterator[str]:
    """Every line of the README's code blocks."""
    for block in re.findall(r"```sh\n(.*?)```", _README, re.DOTALL):
        yield from block.splitlines()


def test_readme_has_every_verb_and_no_other() -> None:
    """The table of commands is the command's own list."""
    listed = re.findall(r"^\| `drivekeep ([a-z]+)", _README, re.MULTILINE)
    assert sorted(listed) == sorted(command.VERBS)


def test_readme_has_every_setting_and_no_other() -> None:
    """Whoever reads the README knows all settings, and finds none that is not there."""
    ours = r"\b(?:DRIVEKEEP|AZURE|ONEDRIVE)_[A-Z_]+[A-Z]\b"
    others = r"AzureWebJobsStorage(?:__accountName)?|HTTPS_PROXY|NO_PROXY|REQUESTS_CA_BUNDLE"
    named = set(re.findall(f"{ours}|{others}", _README))
    assert named == set(SETTINGS)


def test_readme_has_every_option_of_every_verb() -> None:
    """No option is hidden: what a verb's help lists is in its line of the table; what all have stands below it."""
    rows = dict(re.findall(r"^\| `drivekeep ([a-z]+)(.*)$", _README, re.MULTILINE))
    for verb in command.VERBS:
        parser = argparse.ArgumentParser(add_help=False)
        importlib.import_module(f"backup_core.cli.{verb}").add_arguments(parser)
        for action in parser._actions:
            if action.option_strings and action.help != argparse.SUPPRESS:
                assert action.option_strings[0] in rows[verb], verb
    everywhere = argparse.ArgumentParser(add_help=False)
    add_common(everywhere)
    (line,) = [line for line in _README.splitlines() if line.startswith("Everywhere:")]
    for action in everywhere._actions:
        assert any(f"`{spelling}" in line for spelling in action.option_strings), action.option_strings


@pytest.mark.parametrize("line", [line for line in _typed() if re.search(r"(^|\s)drivekeep ", line)])
def test_readme_commands_are_understood(line: str) -> None:
    """Every command that the README shows can be typed as it stands."""
    words = shlex.split(line, comments=True)
    _, verb, *rest = words[words.index("drivekeep") :]
    parser = Parser(prog=f"drivekeep {verb}")
    importlib.import_module(f"backup_core.cli.{verb}").add_arguments(parser)
    add_common(parser)
    parser.parse_args(rest)


def test_readme_make_commands_exist() -> None:
    """`make X` in the README is a target of the Makefile, and every target for people is in the README."""
    targets = set(re.findall(r"^([a-z]+):", (_ROOT / "Makefile").read_text(), re.MULTILINE))
    assert set(re.findall(r"\bmake ([a-z]+)", "\n".join(_typed()) + "\nmake setup")) == targets - {"clean"}
    assert {"demo", "test"} <= targets


def test_readme_has_the_exit_codes() -> None:
    """The table of exit codes has each code of the error tree, those of a finished run, and no other."""
    classes = [each for each in vars(errors).values() if isinstance(each, type) and issubclass(each, DrivekeepError)]
    table = _README.partition("| exit code |")[2].partition("\n\n")[0]
    listed = {int(code) for row in re.findall(r"^\| ([\d, ]+) \|", table, re.MULTILINE) for code in row.split(",")}
    assert listed == {each.exit_code for each in classes} | {0, 3, 4, 143}


def test_readme_leads_only_to_what_is_there() -> None:
    """Links and the files that its tables name exist."""
    links = [link for link in re.findall(r"\]\(([^)]+)\)", _README) if not link.startswith("https://")]
    assert "docs/demo.svg" in links
    for link in links:
        assert (_ROOT / link).exists(), link
    named = re.findall(r"`([a-z_0-9/]+\.(?:py|md|toml))`", _README)
    assert len(named) > 20
    for name in named:
        assert (_ROOT / name).exists() or (_ROOT / "backup_core" / name).exists(), name


def test_the_picture_asks_nobody_for_anything() -> None:
    """It shows without the network, and shows no path of the machine on which it was made."""
    picture = (_ROOT / "docs" / "demo.svg").read_text()
    assert "Everything" in picture
    assert not re.search(r"url\(.?https?:|@import|<image|<script|/root/|/home/|/tmp/", picture)


# -- the description of the format -------------------------------------------------------------------------------------


def test_every_attribute_is_described() -> None:
    """The page on the format has exactly the attributes that nodes are written with."""
    code = {value for value in vars(node).values() if isinstance(value, str) and value.startswith("user.drivekeep.")}
    assert set(re.findall(r"user\.drivekeep\.[a-z]+", _FORMAT)) == code - {node._PREFIX}


def test_every_stored_name_is_described() -> None:
    """The page on the format has every folder of a repository, and the fields of the head."""
    folders = [value for name, value in vars(layout).items() if name.isupper() and isinstance(value, str)]
    assert len(folders) > 8
    for folder in folders:
        assert folder in _FORMAT, folder
    described = set(re.findall(r"`([a-z_]+)`", _FORMAT.partition("**Head**")[2].partition("**Maps.**")[0]))
    assert set(head.Head.__struct_fields__) <= described
    assert head.FORMAT in _FORMAT


# -- the code ----------------------------------------------------------------------------------------------------------


def test_every_file_says_what_it_is() -> None:
    """A module begins with a sentence for whoever opens it."""
    assert [_name(path) for path in _files() if not ast.get_docstring(ast.parse(path.read_text()))] == []


def test_no_file_is_too_long() -> None:
    """A file that does not fit a reader's head is two files."""
    lengths = {_name(path): len(path.read_text().splitlines()) for path in _files()}
    assert {name: length for name, length in lengths.items() if length > _LINES_MAX} == {}


def test_no_function_is_too_long() -> None:
    """The same of functions of the product."""
    long = []
    for path in _files():
        for each in ast.walk(ast.parse(path.read_text())):
            if isinstance(each, ast.FunctionDef) and (each.end_lineno or 0) - each.lineno >= _FUNCTION_LINES_MAX:
                long.append(f"{_name(path)}: {each.name}")
    assert long == []


def test_every_test_states_its_promise() -> None:
    """A test has a sentence that says what it holds the code to."""
    silent = [
        f"{_name(path)}: {each.name}"
        for path in _files()
        for each in ast.walk(ast.parse(path.read_text()))
        if isinstance(each, ast.FunctionDef) and each.name.startswith("test_") and not ast.get_docstring(each)
    ]
    assert silent == []


def test_the_two_lists_of_requirements_agree() -> None:
    """A wheel installs the very versions that `make setup` and Azure install."""
    project = tomllib.loads((_ROOT / "pyproject.toml").read_text())["project"]
    lines = (_ROOT / "requirements.txt").read_text().splitlines()
    pinned = [line for line in lines if line and not line.startswith("#")]
    assert set(project["dependencies"]) <= set(pinned)
    assert all(re.fullmatch(r"[A-Za-z0-9_.-]+==[^ ]+( ?; .+)?", line) for line in pinned)
