"""The options that say what to read, and how to read a measurement file."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from typing import Any

from ..experiment import Experiment
from ..formats import experiment_names, load_experiment
from ._parser import FILE, Complete, Parser

DEFAULT_EXPERIMENT = "exp1_30rr"

EXPERIMENT = Complete(experiment_names(), files=True)
"""How a shell completes an experiment."""

BUNDLED = f"bundled experiments: {', '.join(experiment_names())}"
"""A line of help."""

_READING = (
    "server_log",
    "server_args",
    "arrivals",
    "workload",
    "columns",
    "run",
    "drop_warmup",
)


def add_reading(parser: Parser) -> None:
    """Add the options that ``read_experiment`` reads: what a measurement file may not tell."""
    add = parser.adder("measurement file", "How to read it (docs/formats.md).")
    add(
        "--server-log",
        metavar="FILE",
        complete=FILE,
        help="log of the vLLM server: its settings and KV blocks",
    )
    add(
        "--server-args",
        metavar="TEXT",
        help="its command line, as in 'vllm serve ...'",
    )
    add(
        "--arrivals",
        metavar="SPEC",
        help="draw the arrivals as the client did, as in seed=0,rate=8; also: burstiness=B, "
        "generator=sequential or generator=rescaled",
    )
    add("--workload", metavar="FILE", complete=FILE, help="token counts, for files that have none")
    add("--columns", metavar="MAP", help="columns of a table: arrival=NAME,ttft=NAME:ms,...")
    add("--run", type=int, metavar="N", help="which of several runs in the file, from 1")
    add(
        "--drop-warmup",
        action="store_true",
        help="leave warm-up requests out; without it they are simulated but not compared",
    )


def add_strict(parser: Parser) -> None:
    """Add ``--strict``."""
    parser.adder("measurement file")(
        "--strict", action="store_true", help="refuse data in which the checks find faults"
    )


def read_experiment(
    args: argparse.Namespace,
    settings: Mapping[str, Any] | None = None,
    experiment: str | None = None,
) -> Experiment:
    """Load the experiment and what ``add_reading`` asks for.

    ``settings`` win over all that is known of the server; ``experiment`` is read in place of the
    one that the options name. Raises ``InputError`` where they name nothing good.
    """
    name = args.experiment if experiment is None else experiment
    return load_experiment(name, settings=settings or None, **reading_options(args))


def reading_options(args: argparse.Namespace) -> dict[str, Any]:
    """Return what ``add_reading`` asks for, as options of ``load_experiment``."""
    return {name: getattr(args, name) for name in _READING}


def reading_inputs(args: argparse.Namespace) -> list[str | None]:
    """Return the files beside the experiment that ``read_experiment`` reads."""
    return [args.server_log, args.workload]
