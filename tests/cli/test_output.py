"""What commands print: safe for terminals, readable for programs, and honest when nobody reads."""

import io
import json
import logging
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backup_core.cli.logs import shown_logs
from backup_core.cli.output import Output, duration_text, printable, size_text
from backup_core.errors import Damaged, DrivekeepError


@given(st.text())
def test_printable_is_one_line_without_controls(text: str) -> None:
    """Whatever a file is called, its line stays one line and holds nothing that a terminal would obey."""
    shown = printable(text)
    assert len(shown.splitlines()) <= 1
    assert not any(ord(c) < 32 or 0x7F <= ord(c) < 0xA0 or 0xD800 <= ord(c) < 0xE000 for c in shown)
    shown.encode()


def test_printable_keeps_ordinary_names() -> None:
    """Names in any script, with their own spaces, are shown as they are."""
    for name in ("Überblick (1).docx", "家族\u3000写真.jpg", "a\u00a0b", "👩\u200d🚀.png"):
        assert printable(name) == name


def test_printable_shows_direction_marks() -> None:
    """A name that would read backwards shows what it is made of."""
    assert printable("a\u202egpj.exe") == "a\\u202egpj.exe"


@given(st.text())
def test_json_survives_any_name(text: str) -> None:
    """A JSON line is ASCII and gives back the very text, lone surrogates included."""
    stream = io.StringIO()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "stdout", stream)
        Output(as_json=True).document({"path": text})
    assert stream.getvalue().isascii() and stream.getvalue().count("\n") == 1
    assert json.loads(stream.getvalue())["path"] == text


def test_an_encoding_that_lacks_a_letter_ends_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a terminal of another encoding a foreign letter is escaped, and the command goes on."""
    raw = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, encoding="ascii", write_through=True))
    Output().data("naïve")
    assert raw.getvalue() == b"na\\xefve\n"


def test_quiet_silences_messages_only(capsys: pytest.CaptureFixture[str]) -> None:
    """With -q, messages and details go, warnings and errors stay."""
    output = Output(quiet=True, verbosity=1)
    output.message("message")
    output.detail("detail")
    output.warning("warning")
    output.error(DrivekeepError("error"))
    assert capsys.readouterr() == ("", "warning\ndrivekeep: error\n")


def test_details_need_verbosity(capsys: pytest.CaptureFixture[str]) -> None:
    """A detail is shown with -v, and not without."""
    Output().detail("hidden")
    Output(verbosity=1).detail("shown")
    assert capsys.readouterr().err == "shown\n"


def test_error_is_three_lines_and_in_json_the_last_line(capsys: pytest.CaptureFixture[str]) -> None:
    """What, why and remedy on stderr; code, reason, message and remedy on stdout."""
    error = Damaged("A pack is damaged.", why="Its hash differs.", remedy="Run check.")
    Output(as_json=True).error(error)
    out, err = capsys.readouterr()
    assert err == "drivekeep: A pack is damaged.\n  Its hash differs.\n  Run check.\n"
    assert json.loads(out) == {
        "message_type": "error",
        "code": 14,
        "reason": "damaged",
        "message": "A pack is damaged. Its hash differs.",
        "remedy": "Run check.",
    }


def test_colours_only_on_a_terminal_that_wants_them(monkeypatch: pytest.MonkeyPatch) -> None:
    """Escape codes go to a terminal alone, and not with NO_COLOR, --no-color or a dumb terminal."""

    class _Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    def shown(colour: bool = True, stream: type[io.StringIO] = _Terminal, **environment: str) -> bool:
        terminal = stream()
        with monkeypatch.context() as patch:
            patch.delenv("NO_COLOR", raising=False)
            patch.setenv("TERM", "xterm")
            for name, value in environment.items():
                patch.setenv(name, value)
            patch.setattr(sys, "stderr", terminal)
            Output(colour=colour).warning("careful")
        return "\x1b" in terminal.getvalue()

    assert shown()
    assert not shown(stream=io.StringIO)
    assert not shown(colour=False)
    assert not shown(NO_COLOR="1")
    assert not shown(TERM="dumb")


def test_a_reader_of_stderr_that_went_away_ends_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """A backup goes on when nobody listens to its messages any more."""

    class _Closed(io.StringIO):
        def write(self, text: str) -> int:
            raise BrokenPipeError

    monkeypatch.setattr(sys, "stderr", _Closed())
    Output().message("to nobody")
    Output().warning("to nobody")


def test_table_columns_are_aligned_and_whole(capsys: pytest.CaptureFixture[str]) -> None:
    """Columns start below their headings, no cell is cut, no line ends in spaces, no cell breaks its line."""
    Output().table(("A", "BB"), [("x" * 200, "y"), ("z", "one\ntwo")])
    lines = capsys.readouterr().out.splitlines()
    assert lines == ["A" + " " * 201 + "BB", "x" * 200 + "  y", "z" + " " * 201 + "one\\ntwo"]


def test_sizes_and_durations_read_well() -> None:
    """Bytes in binary units with one digit, durations in minutes and hours."""
    assert [size_text(n) for n in (0, 1023, 1024, 3 << 40)] == ["0 B", "1023 B", "1.0 KiB", "3.0 TiB"]
    assert [duration_text(n) for n in (0.4, 59.6, 3600, 3723)] == ["0:00", "1:00", "1:00:00", "1:02:03"]


def test_our_warnings_are_shown_and_foreign_ones_are_not(capsys: pytest.CaptureFixture[str]) -> None:
    """A room's log warning reaches the person; a library's, which may hold an address with a token, reaches nobody."""
    with shown_logs(Output()):
        logging.getLogger("backup_core.graph.token_file").warning("The file %s is full.", "x")
        logging.getLogger("backup_core.graph.token_file").info("hidden")
        logging.getLogger("urllib3.connectionpool").warning("Retrying /x?tempauth=hush")
    logging.getLogger("backup_core").info("after it, nothing is left behind")
    assert capsys.readouterr() == ("", "The file x is full.\n")
    assert logging.getLogger("backup_core").handlers == []
