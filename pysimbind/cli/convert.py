"""``python -m pysimbind convert``: a measurement file to the canonical experiment file."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from typing import Any

import numpy as np

from ..errors import OutputError
from ..experiment import Experiment
from ..formats import FORMATS
from ..vllm.settings import assumption
from .common import (
    EXIT_OK,
    Command,
    add_reading,
    add_semantics,
    add_settings,
    check_outputs,
    print_report,
    read_experiment,
    read_settings,
    reading_inputs,
    with_semantics,
)

_ENDINGS = (".json", ".json.gz")
_NOTES = ("run", "arrivals", "workload", "warmup", "failed", "unsent", "prefixes", "header")


def _configure(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Convert a measurement file to one self-contained experiment file, and print what is in "
        "it: requests, failures, and where each server setting comes from."
    )
    parser.epilog = f"formats, recognised by content: {', '.join(each.name for each in FORMATS)}"
    parser.add_argument("experiment", metavar="IN", help="a measurement file")
    parser.add_argument("out", metavar="OUT", help="the file to write: .json or .json.gz")
    add_semantics(parser)
    add_settings(parser)
    add_reading(parser)


def _run(args: argparse.Namespace) -> int:
    if not args.out.endswith(_ENDINGS):
        raise OutputError(f"{args.out}: in which format? end it with {' or '.join(_ENDINGS)}")
    check_outputs([args.out], [args.experiment, *reading_inputs(args)])
    experiment = with_semantics(read_experiment(args, read_settings(args.set)), args.semantics)
    experiment.save(args.out)
    print_report("\n".join([*_report(experiment), f"saved: {args.out}"]))
    return EXIT_OK


def _report(experiment: Experiment) -> Iterator[str]:
    told = experiment.provenance
    workload = experiment.workload
    yield f"{experiment.name}: {told.get('source', 'source not told')}"
    yield (
        f"{experiment.num_requests:,} requests over {float(workload.arrival_s.max()):,.3f} s, "
        f"{int(workload.input_tokens.sum()):,} prompt and "
        f"{int(workload.output_tokens.sum()):,} output tokens; measured: "
        f"{int(np.isfinite(experiment.ttft).sum()):,} TTFTs, "
        f"{int(np.isfinite(experiment.e2e).sum()):,} E2Es"
    )
    yield from (f"{key}: {told[key]}" for key in _NOTES if key in told)
    if experiment.caveat:
        yield f"caveat: {experiment.caveat}"
    if isinstance(told.get("server"), dict):
        yield from _server(experiment, told["server"])


def _server(experiment: Experiment, report: dict[str, Any]) -> Iterator[str]:
    values = experiment.config.as_dict()
    if "vllm_version" in report:
        yield f"vLLM {report['vllm_version']}"
    for name, where in report.get("sources", {}).items():
        yield f"{name} = {values[name]} ({where})"
    for name in report.get("assumed", {}):
        yield f"{name} = {values[name]} (not told: {assumption(name)})"


COMMAND = Command("convert", "convert a measurement file", _configure, _run)
