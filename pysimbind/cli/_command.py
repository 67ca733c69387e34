"""What a command is: its name, its help page, and the function that runs it."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass

from ._parser import Parser, wrapped


@dataclass(frozen=True)
class Command:
    """One command of the command line."""

    name: str
    summary: str
    """What it does, in the list of commands."""
    usage: str
    """Its words after the name, without the single options."""
    description: str
    """What it does, as a sentence."""
    configure: Callable[[Parser], None]
    """Adds its options to a parser."""
    run: Callable[[argparse.Namespace], int]
    """Does the work; returns the exit code."""
    examples: tuple[str, ...]
    """Words that can follow the name."""
    notes: tuple[str, ...] = ()
    """Paragraphs for the end of the help page."""

    def epilog(self) -> str:
        """Return the end of the help page: examples, then notes."""
        examples = "\n".join(f"  pysimbind {self.name} {words}".rstrip() for words in self.examples)
        notes = [wrapped(note) for note in self.notes]
        return "\n\n".join([f"examples:\n{examples}", *notes])
