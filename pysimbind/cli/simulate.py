"""The command ``simulate``: run a workload once, and look at it."""

from __future__ import annotations

import argparse

from ..draw import plots
from ..draw.chrome_trace import save_chrome_trace
from ..results import Outcome, SimResult
from ..simulator import Simulator
from ._command import Command
from ._exits import EXIT_FAILED, EXIT_OK
from ._outputs import check_outputs, print_report
from ._parser import FILE, Parser
from ._reading import BUNDLED, reading_inputs
from ._requests import check_ending, save_requests
from ._scenario import Scenario, add_scenario, make_scenario
from ._summary import summary
from ._workload import workload_files


def _configure(parser: Parser) -> None:
    add_scenario(parser)
    add = parser.adder("output")
    add(
        "--out",
        metavar="FILE",
        complete=FILE,
        help="save a row for each request: .csv, or .json with all else",
    )
    add(
        "--trace",
        metavar="FILE",
        complete=FILE,
        help="save the steps as JSON for https://ui.perfetto.dev",
    )
    add(
        "--plot",
        metavar="FILE",
        complete=FILE,
        help="draw running, waiting and KV blocks: .png, .svg or .pdf",
    )


def _run(args: argparse.Namespace) -> int:
    _check_outputs(args)
    scenario = make_scenario(args)
    experiment, params = scenario.experiment, scenario.params
    with Simulator(experiment.workload, experiment.config, params.model) as simulator:
        result = simulator.run(params, trace=args.trace is not None or args.plot is not None)
    saved = _save(args, scenario, result)
    print_report("\n".join([summary(scenario, result), *(f"saved: {path}" for path in saved)]))
    return EXIT_OK if result.outcome in (Outcome.OK, Outcome.HORIZON) else EXIT_FAILED


def _check_outputs(args: argparse.Namespace) -> None:
    inputs = [args.experiment, *reading_inputs(args), args.params, args.fit, *workload_files(args)]
    check_outputs([args.out, args.trace, args.plot], inputs)
    if args.out is not None:
        check_ending(args.out)
    if args.plot is not None:
        plots.check_format(args.plot)
        plots.require_matplotlib()


def _save(args: argparse.Namespace, scenario: Scenario, result: SimResult) -> list[str]:
    if args.out is not None:
        save_requests(scenario, result, args.out)
    if args.trace is not None:
        save_chrome_trace(result, args.trace)
    if args.plot is not None:
        config = scenario.experiment.config
        title = f"{scenario.experiment.name}, {config.semantics}"
        figure = plots.plot_run(result, title=title, kv_capacity=config.num_gpu_blocks)
        plots.save_plot(figure, args.plot)
    return [path for path in (args.out, args.trace, args.plot) if path is not None]


COMMAND = Command(
    "simulate",
    "simulate a workload once, and look at it",
    "[EXPERIMENT] [OPTIONS]",
    "Simulate a workload once, and print its latencies beside the measured ones.",
    _configure,
    _run,
    examples=(
        "exp1_30rr --set max_num_seqs=64",
        "run.json --fit fit.json --trace steps.json",
        "--num-requests 50 --input-tokens 512 --output-tokens 64",
    ),
    notes=(
        BUNDLED,
        "exit code 1: some request did not finish, though no horizon was set, or the "
        "parameters make no simulation.",
    ),
)
