"""The options and progress that the commands over a grid of settings share."""

from __future__ import annotations

import argparse
import contextlib
import sys
from collections.abc import Sequence
from typing import Any

from ..errors import InputError
from .common import Interrupts

_BAR = 20


def add_grid(parser: argparse.ArgumentParser) -> None:
    """Add the settings to vary, and the replicas."""
    add = parser.add_argument
    add("--max-num-seqs", type=int, nargs="+", metavar="N", help="(default: the record's)")
    add("--max-num-batched-tokens", type=int, nargs="+", metavar="N", help="as max-num-seqs")
    add("--prompt-scale", type=float, nargs="+", default=[1.0], metavar="X", help="(default: 1)")
    add("--num-requests", type=int, metavar="N", help="the record's requests over again, up to N")
    add("--replicas", type=int, default=6, metavar="K", help="draws of the arrivals (default: 6)")
    add("--seed", type=int, default=0, metavar="S", help="replica k draws by S + k (default: 0)")


def read_grid(args: argparse.Namespace) -> dict[str, Sequence[Any]]:
    """Return server setting -> values to try, of those that were given."""
    if args.replicas < 1:
        raise InputError(f"--replicas must be >= 1, got {args.replicas}")
    names = ("max_num_seqs", "max_num_batched_tokens")
    return {name: getattr(args, name) for name in names if getattr(args, name) is not None}


class Bar:
    """What is done of ``what``, as one line on a terminal; Ctrl-C is looked for at each."""

    def __init__(self, ctrl_c: Interrupts, what: str = "runs") -> None:
        self._ctrl_c, self._what = ctrl_c, what
        self._shown = sys.stderr is not None and sys.stderr.isatty()

    def __call__(self, done: int, total: int) -> None:
        """Show that so many of ``total`` points are done."""
        if self._shown:
            filled = _BAR * done // total
            end = "\n" if done == total else ""
            with contextlib.suppress(OSError):
                print(
                    f"\r[{'#' * filled}{'.' * (_BAR - filled)}] {done}/{total} {self._what}",
                    end=end,
                    file=sys.stderr,
                    flush=True,
                )
        self._ctrl_c.check()
