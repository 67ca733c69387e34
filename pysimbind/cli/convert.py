"""The command ``convert``: a measurement file to the canonical experiment file."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from typing import Any

import numpy as np

from ..errors import OutputError
from ..experiment import Experiment
from ..formats import FORMATS
from ..vllm.settings import assumption
from ._command import Command
from ._exits import EXIT_OK
from ._outputs import check_outputs, print_report
from ._parser import FILE, Parser
from ._reading import EXPERIMENT, add_reading, read_experiment, reading_inputs
from ._server import add_server, read_settings, with_semantics

_ENDINGS = (".json", ".json.gz")
_NOTES = ("run", "arrivals", "workload", "warmup", "failed", "unsent", "prefixes", "header")


def _configure(parser: Parser) -> None:
    add = parser.adder("arguments")
    add("experiment", metavar="IN", complete=EXPERIMENT, help="a measurement file")
    add("out", metavar="OUT", complete=FILE, help="the file to write: .json or .json.gz")
    add_reading(parser)
    add_server(parser)


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


COMMAND = Command(
    "convert",
    "convert a measurement file",
    "IN OUT [OPTIONS]",
    "Convert a measurement file to one self-contained experiment file.",
    _configure,
    _run,
    examples=("results.json run.json --server-log server.log",),
    notes=(
        "It prints requests, failures, and where each server setting comes from.",
        f"formats, recognised by content: {', '.join(each.name for each in FORMATS)}",
    ),
)
