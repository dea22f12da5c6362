"""The command's frame: which verb runs, what it prints where, and the exit code that every kind of end has."""

import inspect
import json
import os
import signal
import subprocess
import sys
import textwrap
import types
from collections.abc import Callable
from pathlib import Path

import pytest

from backup_core import cli, errors
from backup_core.cli.main import VERBS, main
from backup_core.errors import DrivekeepError, Interrupted

Capture = pytest.CaptureFixture[str]
UseVerb = Callable[[Callable[..., int]], None]


@pytest.fixture
def use_verb(monkeypatch: pytest.MonkeyPatch) -> UseVerb:
    """Puts a function in the place of `version`'s."""

    def use(run: Callable[..., int]) -> None:
        verb = types.SimpleNamespace(HELP="test", add_arguments=lambda parser: None, run=run)
        monkeypatch.setitem(sys.modules, "backup_core.cli.version", verb)  # type: ignore[arg-type]

    return use


def _raising(error: BaseException) -> Callable[..., int]:
    def run(arguments: object) -> int:
        raise error

    return run


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_has_its_three_parts_and_help(verb: str, capsys: Capture) -> None:
    """`drivekeep VERB --help` of every verb ends with 0, on stdout, and names the options that all have."""
    assert main([verb, "--help"]) == 0
    out, err = capsys.readouterr()
    assert out.startswith(f"usage: drivekeep {verb}")
    assert {"--json", "--repository", "--password-file", "--no-color"} <= set(out.replace(",", " ").split())
    assert err == ""


def test_every_module_that_can_run_is_a_verb() -> None:
    """A verb's file that nobody can call is an oversight."""
    folder = Path(inspect.getfile(cli)).parent
    runnable = {path.stem for path in folder.glob("*.py") if "\ndef add_arguments(" in path.read_text()}
    runnable |= {path.parent.name for path in folder.glob("*/verb.py")}
    assert runnable == set(VERBS)


def test_overview_lists_every_verb(capsys: Capture) -> None:
    """`drivekeep --help` tells in one line each what the verbs do."""
    assert main(["--help"]) == 0
    lines = capsys.readouterr().out.splitlines()
    for verb in VERBS:
        assert any(line.startswith(f"  {verb} ") and len(line.split()) > 2 for line in lines), verb


def test_version_in_words_and_in_json(capsys: Capture) -> None:
    """`version` and `--version` print the version, with --json in one document."""
    assert main(["version"]) == 0
    assert main(["--version"]) == 0
    assert main(["version", "--json"]) == 0
    words, same, document = capsys.readouterr().out.splitlines()
    assert words == same == f"drivekeep {json.loads(document)['version']}"


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["--json"],
        ["frobnicate"],
        ["-x", "version"],
        ["version", "extra"],
        ["version", "--colour"],
        ["version", "--rep", "/a"],  # options are not abbreviated: the next version may have a longer one
        ["config"],
        ["config", "hide"],
        ["snapshots", "--latest", "some"],
        ["ls"],
        ["restore", "latest"],
        ["check", "--read-data-subset", "0%"],
        ["check", "--read-data-subset", "5"],
        ["check", "--read-data", "--read-data-subset", "5%"],
        ["-r"],
        ["../main"],
    ],
)
@pytest.mark.parametrize("as_json", [False, True])
def test_a_wrong_call_is_usage(words: list[str], as_json: bool, capsys: Capture) -> None:
    """What cannot be understood ends with 2, says what to do on stderr, and with --json ends stdout with an error."""
    # after the other words: with --json as the last of all, even a call that breaks off early is answered in JSON
    assert main([*words, "--json"] if as_json and "--json" not in words else words) == 2
    out, err = capsys.readouterr()
    assert err.startswith("drivekeep: ") and "--help" in err
    if as_json or "--json" in words:
        error = json.loads(out)
        assert (error["message_type"], error["code"], error["reason"]) == ("error", 2, "usage")
        assert error["message"] and error["remedy"]
    else:
        assert out == ""


def test_common_options_count_before_and_after_the_verb(use_verb: UseVerb) -> None:
    """`drivekeep -v --json -r X verb -v` and `drivekeep verb …` mean the same, and counts add up."""
    seen = []
    use_verb(lambda arguments: seen.append(vars(arguments)) or 0)
    assert main(["-v", "--json", "-r", "version", "version", "-v", "-q", "--password-file", "f"]) == 0
    (values,) = seen
    assert values["repository"] == "version" and values["password_file"] == "f"
    assert (values["json"], values["quiet"], values["verbose"], values["no_color"]) == (True, True, 2, False)


def _error_classes() -> list[type[DrivekeepError]]:
    found = [each for each in vars(errors).values() if isinstance(each, type) and issubclass(each, DrivekeepError)]
    assert len(found) > 10
    return found


@pytest.mark.parametrize("kind", _error_classes(), ids=lambda kind: kind.__name__)
def test_every_error_ends_with_its_code_and_three_lines(
    kind: type[DrivekeepError], use_verb: UseVerb, capsys: Capture
) -> None:
    """Each class of the tree becomes its exit code; JSON and stderr tell the same."""
    error = kind("It happened.")
    error.why, error.remedy = "This is why.", "Do that."
    use_verb(_raising(error))
    assert main(["version", "--json"]) == kind.exit_code
    out, err = capsys.readouterr()
    assert err == "drivekeep: It happened.\n  This is why.\n  Do that.\n"
    assert json.loads(out.splitlines()[-1]) == {
        "message_type": "error",
        "code": kind.exit_code,
        "reason": kind.reason,
        "message": "It happened. This is why.",
        "remedy": "Do that.",
    }


def test_interrupts_have_their_own_codes(use_verb: UseVerb, capsys: Capture) -> None:
    """An Interrupted that says 143 ends with 143."""
    use_verb(_raising(Interrupted("Terminated.", exit_code=143)))
    assert main(["version"]) == 143
    assert "goes on with what was saved" in capsys.readouterr().err


_SECRET = "hush-hush"


@pytest.mark.parametrize("flags", [[], ["-v"], ["-vv"], ["-v", "-v"]])
def test_an_unknown_exception_is_a_fault_of_ours(flags: list[str], use_verb: UseVerb, capsys: Capture) -> None:
    """It ends with 1 and `internal`, without its own text, which may hold a secret; -v -v shows the way there."""

    def run(arguments: object) -> int:
        try:
            raise KeyError(f"https://host/x?tempauth={_SECRET}")
        except KeyError as error:
            raise ValueError(_SECRET) from error

    use_verb(run)
    assert main(["version", "--json", *flags]) == 1
    out, err = capsys.readouterr()
    assert json.loads(out)["reason"] == "internal"
    assert "fault in drivekeep: ValueError at main.py" in err
    assert "hush" not in out + err
    assert ("KeyError" in err) == (len("".join(flags).replace("-", "")) == 2)
    assert "Traceback" not in err


def test_a_warning_about_settings_is_on_stderr(monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    """An unknown DRIVEKEEP_ name is told with the nearest one, and leaves stdout to the data."""
    monkeypatch.setenv("DRIVEKEEP_REPOSITRY", "/a")
    assert main(["config", "show", "--json"]) == 0
    out, err = capsys.readouterr()
    assert "DRIVEKEEP_REPOSITORY" in err
    json.loads(out)


def test_config_show_tells_value_and_origin(monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    """Flags, environment and file show up with their values; secrets and users in addresses are masked."""
    folder = Path(os.environ["HOME"]) / ".config" / "drivekeep"
    folder.mkdir(parents=True)
    (folder / "config.toml").write_text('http_retries = 7\nclient_secret = "hush-hush"\n')
    monkeypatch.setenv("CLOUDSTIC_SOURCE", "onedrive")
    monkeypatch.setenv("DRIVEKEEP_GRAPH_URL", "https://ada:hush-hush@graph.example")
    monkeypatch.setenv("HTTPS_PROXY", "http://ada:hush-hush@proxy.example:3128")
    assert main(["config", "show", "--json", "-r", "/backup"]) == 0
    assert main(["config", "show", "-r", "/backup"]) == 0
    first, *lines = capsys.readouterr().out.splitlines()
    rows = {row["name"]: row for row in json.loads(first)["settings"]}
    assert json.loads(first)["config_file"] == str(folder / "config.toml")
    for name, expected in {
        "DRIVEKEEP_REPOSITORY": ("/backup", "flag", "--repository"),
        "DRIVEKEEP_SOURCE": ("onedrive", "environment", "CLOUDSTIC_SOURCE"),
        "DRIVEKEEP_HTTP_RETRIES": ("7", "config.toml", "http_retries"),
        "DRIVEKEEP_CLIENT_SECRET": ("********", "config.toml", "client_secret"),
        "DRIVEKEEP_THROTTLE_PATIENCE": ("900", "default", ""),
    }.items():
        assert (rows[name]["value"], rows[name]["origin"], rows[name]["given_as"]) == expected
    assert rows["DRIVEKEEP_GRAPH_URL"]["problem"]
    assert any(line.split()[:2] == ["DRIVEKEEP_HTTP_RETRIES", "7"] for line in lines)
    assert "hush" not in first + "".join(lines)


# -- processes of their own: what a shell sees -------------------------------------------------------------------------

_PROGRAM = textwrap.dedent("""
    import sys, threading, types
    from backup_core.cli import main as frame
    {body}
    sys.modules["backup_core.cli.version"] = types.SimpleNamespace(HELP="t", add_arguments=lambda p: None, run=run)
    sys.exit(frame.main(["version", "--json"]))
""")

_WAITING = """
def run(arguments):
    try:
        print("ready", flush=True)
        threading.Event().wait()
    finally:
        {on_the_way_out}
"""


def _start(body: str, **streams: object) -> subprocess.Popen[str]:
    program = _PROGRAM.format(body=textwrap.indent(textwrap.dedent(body), "    ").strip().replace("\n    ", "\n"))
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **streams}
    return subprocess.Popen([sys.executable, "-c", program], text=True, cwd=_ROOT, **streams)  # type: ignore[call-overload,no-any-return]


_ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_cleanly_with_its_code(number: signal.Signals, code: int) -> None:
    """Ctrl-C and SIGTERM run what cleans up, also where it fails, and end with 130 and 143, in JSON too."""
    process = _start(_WAITING.format(on_the_way_out="print('cleaned', flush=True); raise KeyError"))
    assert process.stdout is not None and process.stdout.readline() == "ready\n"
    process.send_signal(number)
    out, err = process.communicate(timeout=30)
    cleaned, error = out.splitlines()
    assert cleaned == "cleaned"
    assert (json.loads(error)["code"], json.loads(error)["reason"]) == (code, "interrupted")
    assert process.returncode == code
    assert "Traceback" not in err


def test_a_second_signal_ends_at_once() -> None:
    """Whoever presses Ctrl-C twice does not wait for what hangs on the way out."""
    process = _start(_WAITING.format(on_the_way_out="print('hangs', flush=True); threading.Event().wait()"))
    assert process.stdout is not None and process.stdout.readline() == "ready\n"
    process.send_signal(signal.SIGINT)
    assert process.stdout.readline() == "hangs\n"
    process.send_signal(signal.SIGINT)
    out, _ = process.communicate(timeout=30)
    assert (process.returncode, out) == (130, "")


def test_a_full_disk_behind_stdout_is_not_success() -> None:
    """Data that could not be written is an error, and no traceback of Python's own end follows."""
    with Path("/dev/full").open("w") as full:
        process = _start("def run(arguments): print('data'); return 0", stdout=full)
        _, err = process.communicate(timeout=30)
    assert process.returncode == 1
    assert "Traceback" not in err and "Exception ignored" not in err


def test_a_reader_that_went_away_ends_quietly() -> None:
    """`drivekeep ls | head` prints nothing on stderr."""
    read, write = os.pipe()
    os.close(read)
    process = _start("def run(arguments): print('data' * 100000); return 0", stdout=write)
    os.close(write)
    _, err = process.communicate(timeout=30)
    assert (process.returncode, err) == (1, "")


def test_starting_loads_no_sdk() -> None:
    """`version` and `--help` load none of the modules that take long to load; that is what keeps them under 150 ms."""
    program = textwrap.dedent("""
        import sys
        from backup_core.cli.main import main
        main(["version"]); main(["--help"])
        heavy = {"azure", "msal", "requests", "rich", "msgspec", "cryptography", "urllib3", "asyncio", "http", "ssl"}
        sys.exit(", ".join(heavy & {name.split(".")[0] for name in sys.modules}) or 0)
    """)
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=_ROOT, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_the_module_runs_as_a_program() -> None:
    """`python -m backup_core.cli.main` hands its exit code to the shell."""
    done = subprocess.run(
        [sys.executable, "-m", "backup_core.cli.main", "nothing", "--json"],
        capture_output=True,
        text=True,
        cwd=_ROOT,
        check=False,
    )
    assert done.returncode == 2
    assert json.loads(done.stdout)["code"] == 2
