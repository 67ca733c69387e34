"""The command ``capacity``: the largest rate at which objectives hold."""

from __future__ import annotations

import argparse
import math
from collections.abc import Iterator, Mapping, Sequence

from .._io.text import table
from ..draw import plots
from ..draw.sweeps import AS_RECORDED, plot_capacity
from ..errors import InputError
from ..plan.capacity import Capacity, Slo, capacity
from ..plan.record import Record
from ..plan.sweep import Point, SweepRow, grid, reshape, sweep
from ._command import Command
from ._exits import EXIT_OK
from ._grid import add_grid, read_grid, watched
from ._interrupts import Interrupts, interrupts
from ._outputs import check_outputs, print_report
from ._parser import FILE, Parser
from ._progress import Progress, add_quiet
from ._record import add_record, make_record

_SHARES = (0.2, 0.4, 0.6, 0.7, 0.8, 0.9, 1.0, 1.1, 1.25)  # of a setting's capacity, for --plot


def _configure(parser: Parser) -> None:
    add_record(parser)
    add_grid(parser)
    add = parser.adder("search")
    add(
        "--slo",
        action="append",
        required=True,
        metavar="SLO",
        help="what must hold, as in 'p99 ttft <= 0.5' (needed; repeat for more): mean or pN; "
        "ttft, tpot or e2e; seconds, or ms where the number ends so",
    )
    add(
        "--target-rate",
        type=float,
        metavar="R",
        help="tell how many servers R requests/s need",
    )
    add = parser.adder("output")
    add(
        "--plot",
        metavar="FILE",
        complete=FILE,
        help="draw throughput against p99 with the Pareto front: .png, .svg or .pdf",
    )
    add_quiet(parser)


def _run(args: argparse.Namespace) -> int:
    slos = [Slo.parse(text) for text in args.slo]
    target = args.target_rate
    if target is not None and not 0 < target < math.inf:
        raise InputError(f"--target-rate must be a finite number > 0, got {target}")
    check_outputs([args.plot], [args.record, args.experiment, args.params])
    if args.plot is not None:
        plots.check_format(args.plot)
        plots.require_matplotlib()
    record = make_record(args)
    points = grid([1.0], read_grid(args), args.prompt_scale)
    with interrupts() as ctrl_c:
        found = {p.label or AS_RECORDED: _found(args, record, p, slos, ctrl_c) for p in points}
        rows = _curves(args, record, points, found, ctrl_c) if args.plot is not None else []
    if args.plot is not None:
        plots.save_plot(plot_capacity(rows, found, slos), args.plot)
    saved = [f"saved: {args.plot}"] if args.plot is not None else []
    print_report("\n".join([*_report(record, slos, found, target), *saved]))
    return EXIT_OK


def _found(
    args: argparse.Namespace, record: Record, point: Point, slos: Sequence[Slo], ctrl_c: Interrupts
) -> Capacity:
    experiment = record.experiment
    workload = reshape(
        experiment.workload, num_requests=args.num_requests, prompt_scale=point.prompt_scale
    )
    return capacity(
        record.params,
        workload,
        experiment.config.replace(**point.settings),
        slos,
        replicas=args.replicas,
        seed=args.seed,
        progress=watched(Progress(quiet=args.quiet), point.label or AS_RECORDED, ctrl_c),
    )


def _curves(
    args: argparse.Namespace,
    record: Record,
    settings: Sequence[Point],
    found: Mapping[str, Capacity],
    ctrl_c: Interrupts,
) -> list[SweepRow]:
    """Simulate each setting at rates around its capacity."""
    points = []
    for setting in settings:
        rate = found[setting.label or AS_RECORDED].rate_rps
        if 0 < rate < math.inf:
            points += [Point(x * rate, setting.settings, setting.prompt_scale) for x in _SHARES]
    if not points:
        raise InputError("--plot: no setting has a capacity above 0 and below infinity to draw")
    experiment = record.experiment
    return sweep(
        record.params,
        reshape(experiment.workload, num_requests=args.num_requests),
        experiment.config,
        points,
        replicas=args.replicas,
        seed=args.seed,
        progress=watched(Progress(quiet=args.quiet), "runs", ctrl_c),
    )


def _report(
    record: Record, slos: Sequence[Slo], found: Mapping[str, Capacity], target: float | None
) -> Iterator[str]:
    experiment = record.experiment
    yield f"{experiment.name}, {experiment.config.semantics}, parameters: {record.source}"
    yield f"objectives: {'; '.join(map(str, slos))}"
    rows = [["setting", "capacity [requests/s]", "95 % interval", "servers"]]
    for label, each in found.items():
        rows.append([label, f"{each.rate_rps:.4g}", _interval(each), _servers(each, target)])
    yield table(rows, left=(0,))
    for label, each in found.items():
        if each.broken:
            yield (
                f"{label}: in {each.broken} draws it is the parameters that end there (a step of "
                "negative or endless length at the next rate up), not the server"
            )
    if experiment.caveat:
        yield f"caveat: {experiment.caveat}"


def _interval(found: Capacity) -> str:
    if math.isnan(found.low_rps):
        return "-"
    return f"{found.low_rps:.4g} .. {found.high_rps:.4g}"


def _servers(found: Capacity, target: float | None) -> str:
    if target is None or found.rate_rps == 0 or found.low_rps == 0:
        return "-"
    return str(found.replicas_for(target))


COMMAND = Command(
    "capacity",
    "find the largest rate that keeps objectives",
    "RECORD --slo SLO [OPTIONS]",
    "Find the largest request rate at which service-level objectives hold.",
    _configure,
    _run,
    examples=(
        "fit.json --slo 'p99 ttft <= 0.5' --slo 'mean tpot <= 30ms'",
        "fit.json --slo 'p99 e2e <= 10' --max-num-seqs 64 256",
    ),
)
