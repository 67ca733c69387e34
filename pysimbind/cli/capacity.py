"""``python -m pysimbind capacity``: the largest rate at which objectives hold."""

from __future__ import annotations

import argparse
import math

from .._cli import EXIT_OK, Command, interrupts, print_report
from .._text import table
from ..capacity import Capacity, Slo, capacity
from ..errors import InputError
from ..sweep import grid, reshape
from .grid import Bar, add_grid, named, read_grid
from .record import add_record, make_record


def _configure(parser: argparse.ArgumentParser) -> None:
    parser.description = "Find the largest request rate at which service-level objectives hold."
    add_record(parser)
    add = parser.add_argument
    add(
        "--slo",
        action="append",
        required=True,
        metavar="SLO",
        help="'p99 ttft <= 0.5' (repeat for more): mean or pN; ttft, tpot or e2e; seconds or ms",
    )
    add("--target-rate", type=float, metavar="R", help="tell the servers needed for R requests/s")
    add_grid(parser)


def _run(args: argparse.Namespace) -> int:
    slos = [Slo.parse(text) for text in args.slo]
    target = args.target_rate
    if target is not None and not 0 < target < math.inf:
        raise InputError(f"--target-rate must be a finite number > 0, got {target}")
    record = make_record(args)
    config = record.experiment.config
    points = grid([1.0], read_grid(args), args.prompt_scale)
    rows = [["setting", "capacity [requests/s]", "95 % interval", "servers"]]
    with interrupts() as ctrl_c:
        bar = Bar(ctrl_c)
        for done, point in enumerate(points, 1):
            workload = reshape(
                record.experiment.workload,
                num_requests=args.num_requests,
                prompt_scale=point.prompt_scale,
            )
            server = config.replace(**point.settings)
            found = capacity(
                record.params, workload, server, slos, replicas=args.replicas, seed=args.seed
            )
            bar(done, len(points))
            setting = named({**point.settings, "prompt_scale": point.prompt_scale})
            rows.append(
                [setting, f"{found.rate_rps:.4g}", _interval(found), _servers(found, target)]
            )
    experiment = record.experiment
    head = f"{experiment.name}, {config.semantics}, parameters: {record.source}; {args.slo}"
    caveat = [f"caveat: {experiment.caveat}"] if experiment.caveat else []
    print_report("\n".join([head, table(rows, left=(0,)), *caveat]))
    return EXIT_OK


def _interval(found: Capacity) -> str:
    if math.isnan(found.low_rps):
        return "-"
    return f"{found.low_rps:.4g} .. {found.high_rps:.4g}"


def _servers(found: Capacity, target: float | None) -> str:
    if target is None or found.rate_rps == 0 or found.low_rps == 0:
        return "-"
    return str(found.replicas_for(target))


COMMAND = Command("capacity", "find the largest rate that keeps objectives", _configure, _run)
