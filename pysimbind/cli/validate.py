"""The command ``validate``; exit code 3 says that the fit does not hold."""

from __future__ import annotations

import argparse

from .._io.files import write_json
from ..fit import FitResult
from ..fit.validate import validate
from ..replicas import REPLICAS
from ._command import Command
from ._exits import EXIT_OK
from ._grid import check_replicas
from ._outputs import check_outputs, print_report
from ._parser import FILE, Parser
from ._reading import EXPERIMENT, add_reading, add_strict, read_experiment, reading_inputs
from ._server import add_server, read_settings, with_semantics

EXIT_DRIFT = 3


def _configure(parser: Parser) -> None:
    add = parser.adder("arguments")
    add("record", metavar="RECORD", complete=FILE, help="a saved fit (fit --out FILE)")
    add(
        "experiments",
        nargs="+",
        metavar="EXPERIMENT",
        complete=EXPERIMENT,
        help="new runs: measurement files",
    )
    add_reading(parser)
    add_strict(parser)
    add_server(parser)
    add = parser.adder("runs")
    own = "(default: from the fit's own errors, see docs/validate.md)"
    add(
        "--e2e-limit",
        type=float,
        metavar="PERCENT",
        help=f"largest MAPE of E2E, and error of its mean {own}",
    )
    add(
        "--ttft-limit",
        type=float,
        metavar="PERCENT",
        help=f"largest MAPE of TTFT, and error of its mean {own}",
    )
    add(
        "--replicas",
        type=int,
        default=REPLICAS,
        metavar="K",
        help="predictions are means over K runs that differ in phase (default: %(default)s)",
    )
    parser.adder("output")("--out", metavar="FILE", complete=FILE, help="save the verdict as JSON")


def _run(args: argparse.Namespace) -> int:
    check_replicas(args.replicas)
    check_outputs([args.out], [args.record, *args.experiments, *reading_inputs(args)])
    result = FitResult.load(args.record)
    settings = read_settings(args.set)
    experiments = [
        with_semantics(read_experiment(args, settings, name), args.semantics)
        for name in args.experiments
    ]
    found = validate(
        result,
        experiments,
        e2e_limit=args.e2e_limit,
        ttft_limit=args.ttft_limit,
        replicas=args.replicas,
    )
    if args.strict:
        for check in found.checks:
            check.refuse()
    if args.out is not None:
        write_json(args.out, {"record": args.record, **found.as_dict()})
    saved = "" if args.out is None else f"\nsaved: {args.out}"
    print_report(found.report() + saved)
    return EXIT_OK if found.holds else EXIT_DRIFT


COMMAND = Command(
    "validate",
    "tell whether a fit still holds on new runs",
    "RECORD EXPERIMENT ... [OPTIONS]",
    "Tell whether a fit still predicts new runs of its server.",
    _configure,
    _run,
    examples=("fit.json new_run.json", "fit.json monday.json tuesday.json --e2e-limit 10"),
    notes=("exit codes: 0 the fit holds; 3 it does not.",),
)
