"""The command ``python -m pysimbind``: one command each in a module, all named in ``COMMANDS``."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from types import MappingProxyType

from ..errors import InputError, nearest
from .capacity import COMMAND as CAPACITY
from .collect import COMMAND as COLLECT
from .common import Command, Parser, guarded, program
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


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; returns its exit code, having printed at most one line about an error."""
    words = sys.argv[1:] if argv is None else list(argv)
    return guarded(lambda: _main(words))


def _main(words: Sequence[str]) -> int:
    called = program()
    parser = Parser(
        prog=called,
        description="Simulate LLM inference servers, and calibrate the simulator to measured ones.",
    )
    group = parser.add_subparsers(metavar="COMMAND", title="commands")
    parsers = {}
    for name, command in COMMANDS.items():
        prog = called if called.endswith(f".{name}") else f"{called} {name}"
        parsers[name] = group.add_parser(name, prog=prog, help=command.summary, allow_abbrev=False)
        command.configure(parsers[name])
    first = words[0] if words else ""
    if first in COMMANDS:
        return COMMANDS[first].run(parsers[first].parse_args(words[1:]))
    if first and not first.startswith("-"):
        raise InputError(
            f"unknown command {first!r}{nearest(first, COMMANDS)} (commands: {', '.join(COMMANDS)})"
        )
    parser.parse_args(words)  # --help ends here
    raise InputError(f"a command is needed: {', '.join(COMMANDS)} (see {parser.prog} --help)")


__all__ = ["COMMANDS", "main"]
