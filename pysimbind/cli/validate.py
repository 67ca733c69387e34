"""The command ``python -m pysimbind validate``; exit code 3 says that the fit does not hold."""

from __future__ import annotations

import argparse

from .._io.files import write_json
from ..fit import FitResult
from ..fit.validate import validate
from ..replicas import REPLICAS
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

EXIT_DRIFT = 3


def _configure(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Tell whether a fit still predicts new runs of its server. Exit code 0: it does; 3: no."
    )
    add = parser.add_argument
    add("record", metavar="RECORD", help="a saved fit (fit --out FILE)")
    add("experiments", nargs="+", metavar="EXPERIMENT", help="new runs: measurement files")
    add_semantics(parser)
    add("--e2e-limit", type=float, metavar="PERCENT", help="of E2E MAPE and mean error")
    add("--ttft-limit", type=float, metavar="PERCENT", help="of TTFT MAPE and mean error")
    add(
        "--replicas",
        type=int,
        default=REPLICAS,
        metavar="K",
        help="predictions are means over K runs that differ in phase (default: %(default)s)",
    )
    add("--strict", action="store_true", help="refuse data that the checks find fault with")
    add("--out", metavar="FILE", help="save the verdict as JSON")
    add_reading(parser)
    add_settings(parser)


def _run(args: argparse.Namespace) -> int:
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


COMMAND = Command("validate", "tell whether a fit still holds on new runs", _configure, _run)
