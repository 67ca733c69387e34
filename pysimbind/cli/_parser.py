"""The parser of every command, which gives all help pages one layout.

A help page is a usage line, a sentence, the options in groups, and examples. The groups have the
same titles in the same order everywhere.
"""

from __future__ import annotations

import argparse
import re
import textwrap
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn, Protocol

from ..errors import InputError, nearest
from ._outputs import print_report

GROUPS = (
    "arguments",
    "measurement file",
    "server",
    "parameters",
    "workload",
    "runs",
    "search",
    "output",
    "help",
)
"""The titles of the groups of options, in the order of a help page."""

WIDTH = 78
"""The columns of the parts of a help page that argparse does not wrap."""

_NEGATIVE = re.compile(r"-\.?\d")


def wrapped(text: str, width: int = WIDTH) -> str:
    """Return the text in lines that are cut between words only."""
    return textwrap.fill(text, width, break_on_hyphens=False)


@dataclass(frozen=True)
class Complete:
    """How a shell completes a value: one of some words, a file, or a folder."""

    words: Collection[str] = ()
    files: bool = False
    folders: bool = False


FILE = Complete(files=True)
FOLDER = Complete(folders=True)


class Adder(Protocol):
    """Adds an argument to a parser, as ``add_argument`` of argparse does."""

    def __call__(self, *names: str, complete: Complete | None = None, **kwargs: Any) -> None:
        """Add the argument; ``complete`` says how a shell completes its value."""


class Parser(argparse.ArgumentParser):
    """A parser that raises ``InputError`` in place of printing its usage.

    ``completions``: how a shell completes the value of each argument that has a ``Complete``.
    """

    def __init__(
        self, *, prog: str, usage: str, groups: Sequence[str] = GROUPS, **kwargs: Any
    ) -> None:
        super().__init__(
            prog=prog,
            usage=f"{prog} {usage}".rstrip(),
            add_help=False,
            allow_abbrev=False,
            formatter_class=argparse.RawDescriptionHelpFormatter,
            **kwargs,
        )
        self.completions: list[tuple[argparse.Action, Complete]] = []
        self._options: list[str] = []
        self._one_value: set[str] = set()  # the options that take exactly one
        self._titled: dict[str, Any] = {}
        self.add_groups(groups)

    def add_groups(self, titles: Sequence[str]) -> None:
        """Add groups of options, which stand in this order; the empty ones are not shown."""
        self._titled |= {title: self.add_argument_group(title) for title in titles}

    def adder(self, title: str, description: str | None = None, *, one: bool = False) -> Adder:
        """Return what adds arguments to the group of this title.

        ``description`` is shown below the title. ``one``: at most one of the arguments added may
        be given.
        """
        group = self._titled[title]
        if description is not None:
            group.description = wrapped(description, WIDTH - 2)  # it is indented
        add_argument = (group.add_mutually_exclusive_group() if one else group).add_argument

        def add(*names: str, complete: Complete | None = None, **kwargs: Any) -> None:
            action = add_argument(*names, **kwargs)
            self._options += action.option_strings
            if action.nargs is None:
                self._one_value.update(action.option_strings)
            if complete is not None:
                self.completions.append((action, complete))

        return add

    def read(self, words: Sequence[str]) -> argparse.Namespace:
        """Parse the words; raises ``InputError`` for what cannot be understood."""
        args, unknown = self.parse_known_args(self._joined(words))
        if unknown:
            option = unknown[0].partition("=")[0]
            hint = nearest(option, self._options) if option.startswith("--") else ""
            self.error(f"unrecognized arguments: {' '.join(unknown)}{hint}")
        for action, complete in self.completions:
            given = getattr(args, action.dest)
            if (complete.files or complete.folders) and _has_empty(given):
                name = "/".join(action.option_strings) or action.metavar
                self.error(f"argument {name}: the name of a file is needed, got ''")
        return args

    def error(self, message: str) -> NoReturn:
        """Raise what is wrong, and say where to read more."""
        raise InputError(f"{message} (see {self.prog} --help)")

    def print_help(self, file: object = None) -> None:
        """Print the help page to standard output; raises ``OutputError`` where that fails."""
        print_report(self.format_help().rstrip("\n"))

    def _joined(self, words: Sequence[str]) -> list[str]:
        """Join an option and a value that begins as a negative number: ``--coeffs=-1e-05,2``.

        Alone, argparse would take the value for an option.
        """
        joined: list[str] = []
        for word in words:
            if (
                joined
                and joined[-1] in self._one_value
                and _NEGATIVE.match(word)
                and "--" not in joined
            ):
                joined[-1] += f"={word}"
            else:
                joined.append(word)
        return joined


def add_help(parser: Parser) -> None:
    """Add ``--help`` as the last option of the page."""
    parser.adder("help")("-h", "--help", action="help", help="show this page and exit")


def _has_empty(given: object) -> bool:
    return given == "" or (isinstance(given, list) and "" in given)
