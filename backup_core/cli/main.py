"""The command `drivekeep`: finds the verb, runs it, and turns whatever goes wrong into an exit code and three lines.

It imports only the chosen verb, and a verb only what it works with, so that short commands answer at once.
"""

import argparse
import contextlib
import importlib
import os
import sys
import threading
import traceback
from collections.abc import Sequence
from typing import Any

from backup_core import __version__
from backup_core.cli.logs import shown_logs
from backup_core.cli.options import Parser, add_common
from backup_core.cli.output import Output
from backup_core.cli.stopping import Stopping
from backup_core.clock import SystemClock
from backup_core.errors import DrivekeepError, Usage

# Each is a module of this package with HELP, add_arguments(parser) and run(arguments) -> exit code.
VERBS = (
    "init",
    "backup",
    "snapshots",
    "ls",
    "restore",
    "check",
    "unlock",
    "accounts",
    "tenants",
    "serve",
    "config",
    "simulate",
    "demo",
    "version",
)

_GRACE_SECONDS = 3.0  # for threads to end by themselves once a person has asked


def main(words: Sequence[str] | None = None) -> int:
    """Run one command, given without the program's name; the exit code is returned."""
    words = sys.argv[1:] if words is None else words
    output = Output(as_json="--json" in words)  # before the words are understood, a complaint must know its form
    clock = SystemClock()
    stopping = Stopping(clock)
    try:
        arguments, verb = _understand(words)
        output = Output(
            as_json=arguments.json,
            quiet=arguments.quiet,
            verbosity=arguments.verbose,
            colour=not arguments.no_color,
        )
        arguments.output, arguments.clock = output, clock
        with shown_logs(output), stopping:
            code = int(verb.run(arguments))
        output.flush()
        return code
    except SystemExit as end:  # argparse has printed help or the version
        return int(end.code or 0)
    except BrokenPipeError:
        _forget_stdout()
        return 1
    except Exception as error:
        code = _fail(output, stopping.asked or error)
        if stopping.asked:
            _end_now(code, clock)
        return code


def _understand(words: Sequence[str]) -> tuple[argparse.Namespace, Any]:
    """What was asked for, and the module of its verb."""
    top = _top_parser()
    arguments = top.parse_args(words)
    if arguments.verb not in VERBS:
        raise Usage(
            f"There is no command {arguments.verb}." if arguments.verb else "No command is given.",
            why=f"The commands are: {', '.join(VERBS)}.",
            remedy="`drivekeep --help` explains them.",
        )
    verb = importlib.import_module(f"backup_core.cli.{arguments.verb}")
    parser = Parser(prog=f"drivekeep {arguments.verb}", description=verb.HELP[:1].upper() + verb.HELP[1:] + ".")
    verb.add_arguments(parser)
    add_common(parser)
    return parser.parse_args(arguments.rest, arguments), verb


def _top_parser() -> Parser:
    parser = _TopParser(
        prog="drivekeep", usage="drivekeep VERB [options]", formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("verb", metavar="VERB", nargs="?", help=argparse.SUPPRESS)
    parser.add_argument("rest", nargs=argparse.REMAINDER, help=argparse.SUPPRESS)
    parser.add_argument("--version", action="version", version=f"drivekeep {__version__}")
    add_common(parser)
    return parser


class _TopParser(Parser):
    """Its help lists the verbs below the description; only for that are all of them imported."""

    def format_help(self) -> str:
        verbs = [(verb, importlib.import_module(f"backup_core.cli.{verb}").HELP) for verb in VERBS]
        listed = "\n".join(f"  {verb:<10} {words}" for verb, words in verbs)
        self.description = (
            "Backs up OneDrives into standard restic repositories, and brings them back.\n\n"
            f"verbs:\n{listed}\n\n`drivekeep VERB --help` lists a verb's own options."
        )
        return super().format_help()


def _fail(output: Output, error: Exception) -> int:
    known = error if isinstance(error, DrivekeepError) else _as_known(error)
    try:
        output.error(known)
        if output.verbosity > 1:
            _show_way(error)
        output.flush()
    except OSError:
        _forget_stdout()
    return known.exit_code


def _as_known(error: Exception) -> DrivekeepError:
    """An exception that no room has translated; its own text stays hidden: it may be an address with a token in it."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if "backup_core" in frame.filename] or frames
    place = f" at {os.path.basename(own[-1].filename)}:{own[-1].lineno}" if own else ""  # noqa: PTH119 - no path opened
    return DrivekeepError(
        f"This is a fault in drivekeep: {type(error).__name__}{place}.",
        why="It met something that it does not know; what was saved so far stays.",
        remedy="Please report it to the project with this text, and with what `-v -v` prints.",
        reason="internal",
    )


def _show_way(error: BaseException | None) -> None:
    """The calls that led to an error, without the texts of foreign exceptions, which may hold secrets."""
    while error is not None:
        print("".join(traceback.format_tb(error.__traceback__)) + type(error).__name__, file=sys.stderr)
        error = error.__cause__ or error.__context__


def _end_now(code: int, clock: SystemClock) -> None:
    """Threads that hang in a download must not hold up a person who has pressed Ctrl-C: Python would wait for them."""
    deadline = clock.monotonic() + _GRACE_SECONDS
    for thread in threading.enumerate():
        if thread is not threading.current_thread() and not thread.daemon:
            with contextlib.suppress(RuntimeError):  # one that was being started when the signal came
                thread.join(max(0.0, deadline - clock.monotonic()))
            if thread.is_alive():
                os._exit(code)


def _forget_stdout() -> None:
    """Whoever read it is gone: what is left in the buffer must not fail once more when Python ends."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)


if __name__ == "__main__":
    sys.exit(main())
