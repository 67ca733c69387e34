"""The command ``sweep``: what a server does over rates and settings."""

from __future__ import annotations

import argparse
import math
from collections.abc import Sequence

from .._io.text import table
from ..draw import plots
from ..draw.sweeps import plot_sweep
from ..plan.record import Record
from ..plan.sweep import BROKEN, SweepRow, check_table, grid, reshape, save_rows, sweep
from ._command import Command
from ._exits import EXIT_FAILED, EXIT_OK
from ._grid import add_grid, read_grid, watched
from ._interrupts import interrupts
from ._outputs import check_outputs, print_report
from ._parser import FILE, Parser
from ._progress import Progress, add_quiet
from ._record import add_record, make_record

_SHOWN = (
    "throughput_rps",
    "ttft_mean_s",
    "ttft_p99_s",
    "tpot_mean_s",
    "e2e_mean_s",
    "e2e_p99_s",
    "queue_mean_s",
    "peak_kv_blocks",
    "preemptions",
)


def _configure(parser: Parser) -> None:
    add_record(parser)
    parser.adder("runs")(
        "--rates",
        type=float,
        nargs="+",
        required=True,
        metavar="R",
        help="requests per second to try (needed)",
    )
    add_grid(parser)
    parser.adder("runs")(
        "--workers",
        type=int,
        default=0,
        metavar="N",
        help="threads (default: one for each processor)",
    )
    add = parser.adder("output")
    add(
        "--out",
        metavar="FILE",
        complete=FILE,
        help="save all metrics with intervals: .csv or .json",
    )
    add(
        "--plot",
        metavar="FILE",
        complete=FILE,
        help="draw throughput and p99 latencies: .png, .svg or .pdf",
    )
    add_quiet(parser)


def _run(args: argparse.Namespace) -> int:
    check_outputs([args.out, args.plot], [args.record, args.experiment, args.params])
    if args.out is not None:
        check_table(args.out)
    if args.plot is not None:
        plots.check_format(args.plot)
        plots.require_matplotlib()
    record = make_record(args)
    points = grid(args.rates, read_grid(args), args.prompt_scale)
    workload = reshape(record.experiment.workload, num_requests=args.num_requests)
    with interrupts() as ctrl_c:
        rows = sweep(
            record.params,
            workload,
            record.experiment.config,
            points,
            replicas=args.replicas,
            seed=args.seed,
            workers=args.workers,
            progress=watched(Progress(quiet=args.quiet), "runs", ctrl_c),
        )
    _save(args, record, rows)
    saved = [f"saved: {path}" for path in (args.out, args.plot) if path is not None]
    print_report("\n".join([_report(record, rows, args.replicas), *saved]))
    return EXIT_OK if any(row.mean["finished"] > 0 for row in rows) else EXIT_FAILED


def _save(args: argparse.Namespace, record: Record, rows: Sequence[SweepRow]) -> None:
    if args.out is not None:
        about = {
            "experiment": record.experiment.name,
            "caveat": record.experiment.caveat,
            "model": record.params.model.name,
            "params": record.params.as_dict(),
            "params_from": record.source,
            "config": record.experiment.config.as_dict(),
            "num_requests": args.num_requests or len(record.experiment.workload),
            "replicas": args.replicas,
            "seed": args.seed,
        }
        save_rows(args.out, rows, about)
    if args.plot is not None:
        plots.save_plot(plot_sweep(rows), args.plot)


def _report(record: Record, rows: Sequence[SweepRow], replicas: int) -> str:
    lines = [["rate_rps", *_SHOWN, "", ""]]
    for row in rows:
        values = [_shown(row.mean[name]) for name in _SHOWN]
        lines.append([f"{row.point.rate_rps:g}", *values, _mark(row), row.point.label])
    experiment = record.experiment
    head = f"{experiment.name}, {experiment.config.semantics}, parameters: {record.source}; "
    head += f"means over {replicas} draws of the arrivals"
    caveat = [f"caveat: {experiment.caveat}"] if experiment.caveat else []
    if any(row.outcome in BROKEN for row in rows):
        caveat.append(
            "these parameters do not reach as far as the points marked negative_step, hang or "
            "non_finite: their figures are of no use"
        )
    return "\n".join([head, table(lines, left=(len(_SHOWN) + 1, -1)), *caveat])


def _mark(row: SweepRow) -> str:
    marks = ["saturated"] if row.saturated else []
    if row.mean["finished"] < 1:
        marks.append(f"{100 * row.mean['finished']:.3g} % finished")
    if row.outcome in BROKEN:
        marks.append(row.outcome.name.lower())
    return ", ".join(marks)


def _shown(value: float) -> str:
    return f"{value:.4g}" if math.isfinite(value) else "-"


COMMAND = Command(
    "sweep",
    "predict over request rates and settings",
    "RECORD --rates R ... [OPTIONS]",
    "Predict throughput and latencies over request rates and settings.",
    _configure,
    _run,
    examples=(
        "fit.json --rates 1 2 4 8",
        "fit.json --rates 2 4 --max-num-seqs 64 128 --out sweep.csv",
    ),
    notes=("exit code 1: no request finished at any point.",),
)
