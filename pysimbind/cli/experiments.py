"""The command ``experiments``: what is bundled, and what it rests on."""

from __future__ import annotations

import argparse

import numpy as np

from .._io.text import table
from ..experiment import Experiment
from ..formats import experiment_names, load_experiment
from ._command import Command
from ._exits import EXIT_OK
from ._outputs import print_report
from ._parser import Parser


def _configure(parser: Parser) -> None:
    """Add nothing: it lists all."""


def _run(args: argparse.Namespace) -> int:
    experiments = [load_experiment(name) for name in experiment_names()]
    rows = [["name", "requests", "over [s]", "prompt tokens", "output tokens", "measured"]]
    rows[0] += ["semantics", "bounds, baseline"]
    rows += [_row(experiment) for experiment in experiments]
    caveats = [f"{each.name}: {each.caveat}" for each in experiments if each.caveat]
    print_report("\n".join([table(rows, left=(0, 6, 7)), *([""] if caveats else []), *caveats]))
    return EXIT_OK


def _row(experiment: Experiment) -> list[str]:
    workload = experiment.workload
    known = [*experiment.bounds, *(["baseline"] if experiment.baseline is not None else [])]
    return [
        experiment.name,
        f"{experiment.num_requests:,}",
        f"{float(np.max(workload.arrival_s)):.1f}",
        f"{int(workload.input_tokens.sum()):,}",
        f"{int(workload.output_tokens.sum()):,}",
        f"{int(np.isfinite(experiment.e2e).sum()):,}",
        experiment.config.semantics,
        ", ".join(known) or "-",
    ]


COMMAND = Command(
    "experiments",
    "list the bundled experiments",
    "[OPTIONS]",
    "List the bundled experiments with their counts, semantics and caveats.",
    _configure,
    _run,
    examples=("",),
)
