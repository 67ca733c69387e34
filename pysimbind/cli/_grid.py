"""The options and progress that the commands over a grid of settings share."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from typing import Any

from ..errors import InputError
from ._interrupts import Interrupts
from ._parser import Parser
from ._progress import Progress

_MOST_REPLICAS = 100_000  # more runs than anybody waits for; their list must fit into memory


def add_grid(parser: Parser) -> None:
    """Add the settings to vary, and the replicas."""
    add = parser.adder("runs")
    own = "(default: the record's)"
    add("--max-num-seqs", type=int, nargs="+", metavar="N", help=f"values to try {own}")
    add("--max-num-batched-tokens", type=int, nargs="+", metavar="N", help=f"values to try {own}")
    add(
        "--prompt-scale",
        type=float,
        nargs="+",
        default=[1.0],
        metavar="X",
        help="factors of the prompt lengths to try (default: 1)",
    )
    add(
        "--num-requests",
        type=int,
        metavar="N",
        help="simulate N requests: the record's over again, or the first of them "
        "(default: the record's)",
    )
    add(
        "--replicas",
        type=int,
        default=6,
        metavar="K",
        help="draws of the arrivals (default: %(default)s)",
    )
    add(
        "--seed",
        type=int,
        default=0,
        metavar="S",
        help="draw k uses the seed S + k (default: %(default)s)",
    )


def read_grid(args: argparse.Namespace) -> dict[str, Sequence[Any]]:
    """Return server setting -> values to try, of those that were given."""
    check_replicas(args.replicas)
    names = ("max_num_seqs", "max_num_batched_tokens")
    return {name: getattr(args, name) for name in names if getattr(args, name) is not None}


def check_replicas(replicas: int) -> None:
    """Raise ``InputError`` for a number of replicas that cannot be simulated."""
    if not 1 <= replicas <= _MOST_REPLICAS:
        raise InputError(f"--replicas must be from 1 to {_MOST_REPLICAS}, got {replicas}")


def watched(progress: Progress, what: str, ctrl_c: Interrupts) -> Callable[[int, int], None]:
    """Return what is told of each run that is done: it shows that, and looks for Ctrl-C."""

    def told(done: int, total: int) -> None:
        progress.show(what, done, total)
        ctrl_c.check()

    return told
