"""The verb `serve`, run as a user runs it."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest
import requests
from support.sample_hub import SAMPLE_APP

from backup_core.cli import main

_ROOT = Path(__file__).parents[2]
_READY = re.compile(r"Listening on (http://127\.0\.0\.1:\d+)\n")


@contextmanager
def _serving(folder: Path, *words: str, app: Path = SAMPLE_APP, **more: str) -> Iterator[subprocess.Popen[str]]:
    """The command, started in the app's folder; killed at the end if it still runs."""
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(folder),
        "PYTHONPATH": str(_ROOT),
        "SAMPLE_NOTES": str(folder),
        "SAMPLE_SCHEDULE": "*/1 * * * * *",
        "DRIVEKEEP_SERVE_KEY": "k",
        **more,
    }
    command = [sys.executable, "-m", "backup_core.cli.main", "serve", "--port", "0", *words]
    with subprocess.Popen(
        command, cwd=app, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def _root(process: subprocess.Popen[str]) -> str:
    assert process.stdout
    ready = _READY.fullmatch(process.stdout.readline())
    assert ready, process.communicate(timeout=10)
    return ready[1]


def _ask(method: str, url: str, **more: object) -> requests.Response:
    with requests.Session() as session:
        session.trust_env = False
        return session.request(method, url, timeout=20, **more)  # type: ignore[arg-type]


def _wait_for(path: Path) -> None:
    for _ in range(400):
        if path.exists():
            return
        time.sleep(0.05)
    raise AssertionError(f"{path} never came")


def test_it_says_when_it_is_ready(tmp_path: Path) -> None:
    """One line on stdout; words on stderr that it is no production, and the made-up key; Ctrl-C ends it with 130."""
    with _serving(tmp_path, "--no-timer", DRIVEKEEP_SERVE_KEY="") as process:
        root = _root(process)
        assert _ask("GET", f"{root}/").text == "home"
        process.send_signal(signal.SIGINT)
        rest, words = process.communicate(timeout=20)
    assert (process.returncode, rest) == (130, "")
    assert "not for production" in words
    key = re.search(r"Key of the admin route, until this ends: (\S+)", words)
    assert key
    assert len(key[1]) >= 32
    assert not (tmp_path / "notes").exists()  # --no-timer


@pytest.mark.parametrize("workers", ["1", "2"])
def test_it_ends_in_the_middle_of_activities(tmp_path: Path, workers: str) -> None:
    """SIGTERM ends it within seconds with 0, whatever runs, and no process stays behind."""
    with _serving(tmp_path, "--no-timer", "--workers", workers) as process:
        root = _root(process)
        _ask("POST", f"{root}/start/fan", json={"count": 3, "seconds": 60})
        _wait_for(tmp_path / "notes")
        children = psutil.Process(process.pid).children(recursive=True)
        assert len(children) == (2 if workers == "2" else 0)
        started = time.monotonic()
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=20)
        assert time.monotonic() - started < 8
    assert process.returncode == 0
    assert not psutil.wait_procs(children, timeout=5)[1]


def test_killed_it_leaves_nobody_behind(tmp_path: Path) -> None:
    """After SIGKILL the worker processes end by themselves; another start serves at once."""
    with _serving(tmp_path, "--no-timer", "--workers", "2") as process:
        root = _root(process)
        _ask("POST", f"{root}/start/fan", json={"count": 3, "seconds": 60})
        _wait_for(tmp_path / "notes")
        children = psutil.Process(process.pid).children(recursive=True)
        process.kill()
        process.wait()
        assert not psutil.wait_procs(children, timeout=10)[1]


def test_the_timer_and_the_admin_route(tmp_path: Path) -> None:
    """The timer runs on its schedule; by hand it needs the key."""
    with _serving(tmp_path) as process:
        root = _root(process)
        assert _ask("POST", f"{root}/admin/functions/tick").status_code == 401
        assert _ask("POST", f"{root}/admin/functions/tick", headers={"x-functions-key": "k"}).status_code == 202
        _wait_for(tmp_path / "notes")
        for _ in range(100):
            if len((tmp_path / "notes").read_text().splitlines()) >= 3:
                break
            time.sleep(0.1)
        assert len((tmp_path / "notes").read_text().splitlines()) >= 3


def test_easy_auth_lets_the_principal_through(tmp_path: Path) -> None:
    """Only with the flag, and only then does the app hear that the platform authenticates."""
    for words, reaches in (((), False), (("--easy-auth",), True)):
        with _serving(tmp_path, "--no-timer", *words) as process:
            answer = _ask("GET", f"{_root(process)}/echo/x", headers={"X-MS-CLIENT-PRINCIPAL": "me"})
        assert ("x-ms-client-principal" in answer.json()["headers"]) is reaches


def test_a_failing_function_is_explained_here_alone(tmp_path: Path) -> None:
    """The stack is on stderr; the caller gets an empty 500."""
    with _serving(tmp_path, "--no-timer") as process:
        answer = _ask("GET", f"{_root(process)}/broken")
        process.send_signal(signal.SIGTERM)
        _, words = process.communicate(timeout=20)
    assert (answer.status_code, answer.text) == (500, "")
    assert "RuntimeError: a secret of the inside" in words
    assert "function_app.py" in words


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["--port", "70000"], "There is no port 70000"),
        (["--workers", "0"], "Somebody has to do the work"),
        (["--easy-auth", "--host", "0.0.0.0"], "--easy-auth is refused"),
        (["--easy-auth", "--host", "192.0.2.1"], "--easy-auth is refused"),
    ],
)
def test_what_cannot_be_served_is_refused(words: list[str], text: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A wrong option is explained with exit code 2, before anything starts."""
    assert main.main(["serve", *words]) == 2
    assert text in capsys.readouterr().err


def test_a_port_that_is_taken_is_explained(tmp_path: Path) -> None:
    """Another program may have it; the remedy is another port. Exit code 1."""
    with _serving(tmp_path, "--no-timer") as first:
        port = _root(first).rpartition(":")[2]
        with _serving(tmp_path, "--no-timer", "--port", port) as second:
            _, words = second.communicate(timeout=30)
    assert second.returncode == 1
    assert f"Port {port} of 127.0.0.1 cannot be opened." in words
    assert "Choose another --port" in words


def test_an_app_that_cannot_be_loaded_is_explained(tmp_path: Path) -> None:
    """The line that fails is named, and the exit code is 1."""
    (tmp_path / "host.json").write_text("{}")
    (tmp_path / "function_app.py").write_text("import nowhere_at_all\n")
    with _serving(tmp_path, app=tmp_path) as process:
        rest, words = process.communicate(timeout=30)
    assert (process.returncode, rest) == (1, "")
    assert "No module named 'nowhere_at_all'" in words


def test_without_an_app_here_it_serves_the_projects_own(tmp_path: Path) -> None:
    """In a folder without function_app.py it runs drivekeep's, which answers for its health without any setting."""
    with _serving(tmp_path, "--no-timer", app=tmp_path) as process:
        answer = _ask("GET", f"{_root(process)}/api/health")
    assert answer.status_code == 200
    assert answer.json()["version"]


def test_local_settings_are_read_and_beaten_by_the_environment(tmp_path: Path) -> None:
    """As Azure's own tools do with local.settings.json."""
    (tmp_path / "host.json").write_text((SAMPLE_APP / "host.json").read_text())
    (tmp_path / "function_app.py").write_text(
        "import os\nimport azure.functions as func\napp = func.FunctionApp()\n"
        '@app.route(route="env", auth_level=func.AuthLevel.ANONYMOUS)\n'
        "def env(req: func.HttpRequest) -> str:\n    return os.environ['FROM_FILE'] + os.environ['FROM_BOTH']\n"
    )
    (tmp_path / "local.settings.json").write_text('{"Values": {"FROM_FILE": "file ", "FROM_BOTH": "file"}}')
    with _serving(tmp_path, app=tmp_path, FROM_BOTH="environment") as process:
        assert _ask("GET", f"{_root(process)}/env").text == "file environment"
