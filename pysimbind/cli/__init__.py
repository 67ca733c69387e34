"""The command ``pysimbind``: one command in each module whose name has no underscore.

Those are all named in ``COMMANDS``; the modules with an underscore are what they share.
"""

from __future__ import annotations

import argparse
import itertools
import sys
from collections.abc import Mapping, Sequence
from types import MappingProxyType

from ..errors import InputError, nearest
from ._command import Command
from ._completion import SHELLS, completion_script
from ._exits import EXIT_OK, guarded
from ._interrupts import leave
from ._outputs import print_report
from ._parser import Complete, Parser, add_help
from ._version import versions
from .capacity import COMMAND as CAPACITY
from .collect import COMMAND as COLLECT
from .convert import COMMAND as CONVERT
from .experiments import COMMAND as EXPERIMENTS
from .export import COMMAND as EXPORT
from .fit import COMMAND as FIT
from .simulate import COMMAND as SIMULATE
from .sweep import COMMAND as SWEEP
from .validate import COMMAND as VALIDATE

COMMANDS: Mapping[str, Command] = MappingProxyType(
    {
        command.name: command
        for command in (
            *(SIMULATE, FIT, VALIDATE, SWEEP, CAPACITY, EXPORT),
            *(CONVERT, COLLECT, EXPERIMENTS),
        )
    }
)
"""The commands by name."""

_SCRIPT = "pysimbind"


def script() -> int:
    """Run the command as the installed script does: an exit code that Ctrl-C cannot change."""
    return leave(main())


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; returns its exit code, having printed at most one line about an error."""
    words = sys.argv[1:] if argv is None else list(argv)
    return guarded(lambda: _main(words))


def _main(words: Sequence[str]) -> int:
    called = _called()
    parser, parsers = _parsers(called)
    first = words[0] if words else "-"
    if first in COMMANDS:
        return COMMANDS[first].run(parsers[first].read(words[1:]))
    if not first.startswith("-"):
        raise InputError(
            f"unknown command {first!r}{nearest(first, COMMANDS)} (commands: {', '.join(COMMANDS)})"
        )
    return _without_command(parser.read(words), called)  # --help ends here


def _without_command(args: argparse.Namespace, called: str) -> int:
    if args.version:
        print_report(versions())
    elif args.print_completion is not None:
        print_report(completion_script(*_parsers(_SCRIPT), _SCRIPT, args.print_completion))
    else:
        raise InputError(f"a command is needed: {', '.join(COMMANDS)} (see {called} --help)")
    return EXIT_OK


def _parsers(called: str) -> tuple[Parser, dict[str, Parser]]:
    """Return the parser that knows all commands, and that of each."""
    parser = Parser(
        prog=called,
        usage="[OPTIONS] COMMAND ...",
        description="Simulate LLM inference servers, and calibrate the simulator to measured ones.",
        epilog=f"{called} COMMAND --help shows the options of a command.",
        groups=(),
    )
    commands = parser.add_subparsers(metavar="COMMAND", title="commands")
    parsers = {}
    for name, command in COMMANDS.items():
        prog = called if called.endswith(f".{name}") else f"{called} {name}"
        parsers[name] = commands.add_parser(
            name,
            prog=prog,
            usage=command.usage,
            help=command.summary,
            description=command.description,
            epilog=command.epilog(),
        )
        command.configure(parsers[name])
        add_help(parsers[name])
    parser.add_groups(("help",))
    add = parser.adder("help")
    add("--version", action="store_true", help="show the versions of package, engine and Go")
    add(
        "--print-completion",
        metavar="SHELL",
        complete=Complete(SHELLS),
        help=f"print the script with which a shell completes commands: {', '.join(SHELLS)}",
    )
    add_help(parser)
    return parser, parsers


def _called() -> str:
    """Return how this process was called, for usage lines and errors."""
    for dash_m, module in itertools.pairwise(sys.orig_argv):
        if dash_m == "-m" and module.partition(".")[0] == _SCRIPT:
            return f"python -m {module}"
    return _SCRIPT


__all__ = ["COMMANDS", "main", "script"]
