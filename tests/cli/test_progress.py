"""Progress: the right kind for where it goes, at the right times, and never in the way of the run."""

import io
import json
import sys
import threading

import pytest

from backup_core.backup.progress import NoProgress, Progress
from backup_core.cli.output import Output
from backup_core.cli.progress import Bar, BarWithStatusLines, Count, PlainLines, StatusLines, shown_progress
from backup_core.testing.fake_clock import FakeClock


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_plain_lines_come_every_ten_seconds(capsys: pytest.CaptureFixture[str]) -> None:
    """A log gets a line at most every ten seconds, with what is done, of how much, how fast and how long still."""
    clock = FakeClock()
    lines = PlainLines(Output(), clock)
    lines.stage("Saving", files=40, bytes=40 << 20)
    for _ in range(20):
        clock.advance(1.5)
        lines.advance(files=1, bytes=1 << 20)
    assert capsys.readouterr().err.splitlines() == [
        "Saving: 7 of 40 files, 7.0 MiB of 40.0 MiB, 682.7 KiB/s, 0:50 left",
        "Saving: 14 of 40 files, 14.0 MiB of 40.0 MiB, 682.7 KiB/s, 0:39 left",
    ]


def test_status_lines_are_json_on_stdout(capsys: pytest.CaptureFixture[str]) -> None:
    """A program gets one status a second at most, and stderr stays empty."""
    clock = FakeClock()
    lines = StatusLines(Output(as_json=True), clock)
    lines.stage("Saving")
    lines.total(10, 0)
    for _ in range(4):
        clock.advance(0.6)
        lines.advance(files=1)
    out, err = capsys.readouterr()
    assert [json.loads(line) for line in out.splitlines()] == [
        {
            "message_type": "status",
            "stage": "Saving",
            "files_done": done,
            "files_total": 10,
            "bytes_done": 0,
            "bytes_total": None,
            "seconds_elapsed": elapsed,
        }
        for done, elapsed in ((2, 1.2), (4, 2.4))
    ]
    assert err == ""


@pytest.mark.parametrize("kind", [StatusLines, PlainLines])
def test_nothing_is_said_after_the_end(
    kind: type[StatusLines] | type[PlainLines], capsys: pytest.CaptureFixture[str]
) -> None:
    """Threads of a run that was stopped may go on for a moment; the error or the summary stays the last line."""
    clock = FakeClock()
    with kind(Output(as_json=True), clock) as lines:
        lines.stage("Saving")
    clock.advance(60)
    lines.advance(files=1)
    lines.waiting(30)
    lines.message("late")
    assert capsys.readouterr() == ("", "")


def test_a_new_stage_counts_from_zero() -> None:
    """What the stage before has done is not taken for work of this one."""
    clock = FakeClock()
    lines = PlainLines(Output(quiet=True), clock)
    lines.stage("One", files=5)
    lines.advance(files=5)
    lines.stage("Two", files=3)
    assert lines._count == Count("Two", files_total=3)


def test_the_kind_suits_where_it_goes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing with -q, JSON with --json, a bar on a terminal, lines in a pipe and on a dumb terminal.

    With --json a bar comes as well, unless the JSON goes to the terminal too, where they would run into each other.
    """
    clock = FakeClock()

    def kind(output: Output, *, terminal: bool = False, out_too: bool = False, term: str = "xterm") -> type[Progress]:
        with monkeypatch.context() as patch:
            patch.setattr(sys, "stderr", _Terminal() if terminal else io.StringIO())
            patch.setattr(sys, "stdout", _Terminal() if out_too else io.StringIO())
            patch.setenv("TERM", term)
            with shown_progress(output, clock) as progress:
                return type(progress)

    assert kind(Output(quiet=True, as_json=True)) is NoProgress
    assert kind(Output(as_json=True)) is StatusLines
    assert kind(Output(as_json=True), terminal=True) is BarWithStatusLines
    assert kind(Output(as_json=True), terminal=True, term="dumb") is StatusLines
    assert kind(Output(as_json=True), terminal=True, out_too=True) is StatusLines
    assert kind(Output(), terminal=True) is Bar
    assert kind(Output()) is PlainLines
    assert kind(Output(), terminal=True, term="dumb") is PlainLines


def test_the_bar_leaves_nothing_but_messages(monkeypatch: pytest.MonkeyPatch) -> None:
    """A bar shows figures and the wait for Microsoft; what names it is given cannot style or move the terminal."""
    terminal = _Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("TERM", "xterm")
    with Bar(Output(), FakeClock()) as bar:
        bar.stage("Saving [bold]\x1b[31m", files=2, bytes=10)
        bar.advance(files=1, bytes=5)
        bar.waiting(31)
        bar.message("[red]a/b\x07")
        bar._bar.refresh()
        shown = terminal.getvalue()
    assert "Saving [bold]\\x1b[31m" in shown
    assert "1 of 2 files, 5 B of 10 B" in shown
    assert "Microsoft asked us to wait 31 s" in shown
    assert "[red]a/b\\x07" in shown
    assert "\x1b[31mS" not in shown and "\x07" not in shown


def test_a_bar_and_status_lines_keep_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    """The terminal gets the bar and the wait, once; stdout nothing but JSON lines, even while the bar is drawn."""
    terminal, pipe, clock = _Terminal(), io.StringIO(), FakeClock()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setattr(sys, "stdout", pipe)
    monkeypatch.setenv("TERM", "xterm")
    with BarWithStatusLines(Output(as_json=True), clock) as both:
        both.stage("Saving", files=1)
        both.total(2, 10)
        clock.advance(2)
        both.advance(files=1, bytes=5)
        both.waiting(31)
        both._bar.refresh()
        shown = terminal.getvalue()
    (line,) = pipe.getvalue().splitlines()
    status = json.loads(line)
    assert (status["stage"], status["files_done"], status["files_total"], status["bytes_total"]) == ("Saving", 1, 2, 10)
    assert "1 of 2 files, 5 B of 10 B" in shown and "{" not in shown
    assert shown.count("asked us to wait") == 1


def test_no_color_draws_the_bar_without_colours(monkeypatch: pytest.MonkeyPatch) -> None:
    """With NO_COLOR the bar is drawn, and no colour code is in it."""
    terminal = _Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("NO_COLOR", "1")
    with Bar(Output(), FakeClock()) as bar:
        bar.stage("Saving", files=2, bytes=10)
        bar.advance(files=1, bytes=5)
        bar._bar.refresh()
    assert "Saving" in terminal.getvalue()
    assert "\x1b[3" not in terminal.getvalue()


def test_a_reader_that_went_away_does_not_end_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """A status line that nobody takes is dropped, and no further one is tried."""

    class _Closed(io.StringIO):
        tried = 0

        def write(self, text: str) -> int:
            self.tried += 1
            raise BrokenPipeError

    closed = _Closed()
    monkeypatch.setattr(sys, "stdout", closed)
    clock = FakeClock()
    lines = StatusLines(Output(as_json=True), clock)
    for _ in range(3):
        clock.advance(5)
        lines.advance(files=1)
    assert closed.tried == 1


def test_counts_of_many_threads_add_up() -> None:
    """No call is lost when all threads of a run report at once."""
    lines = PlainLines(Output(quiet=True), FakeClock())
    lines.stage("Saving")
    threads = [threading.Thread(target=lambda: [lines.advance(1, 10) for _ in range(500)]) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (lines._count.files, lines._count.bytes) == (4000, 40000)
