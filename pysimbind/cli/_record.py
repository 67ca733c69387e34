"""The record that a command predicts from."""

from __future__ import annotations

import argparse
import dataclasses

from ..errors import ParameterError
from ..parameters import OVERHEADS, Parameters
from ..plan.record import Record, load_record
from ._parser import FILE, Parser
from ._reading import EXPERIMENT, add_reading, reading_options
from ._scenario import add_model, read_parameters
from ._server import add_server, read_settings, with_semantics


def add_record(parser: Parser) -> None:
    """Add the options that ``make_record`` reads."""
    parser.adder("arguments")(
        "record",
        metavar="RECORD",
        complete=EXPERIMENT,
        help="a saved fit, a bundled experiment or a measurement file",
    )
    parser.adder("measurement file")(
        "--experiment",
        metavar="EXPERIMENT",
        complete=EXPERIMENT,
        help="take the requests from here (default: from the record)",
    )
    add_reading(parser)
    add_server(parser, "the record's")
    add = parser.adder("parameters")
    add(
        "--params",
        metavar="FILE",
        complete=FILE,
        help="other parameters: a JSON file {name: value} (default: the record's)",
    )
    add_model(parser)
    add(
        "--regression-coeffs",
        metavar="C,C,...",
        help="other parameters: coefficients as the original simulator took them; "
        "needs --overheads",
    )
    names = ", ".join(OVERHEADS)
    add("--overheads", metavar="US,US,US,US", help=f"in microseconds: {names}")


def make_record(args: argparse.Namespace) -> Record:
    """Load what the options name; raises ``InputError`` where they name nothing good."""
    record = load_record(args.record, args.experiment, _parameters(args), **reading_options(args))
    experiment = with_semantics(record.experiment, args.semantics)
    config = experiment.config.replace(**read_settings(args.set))
    return dataclasses.replace(record, experiment=dataclasses.replace(experiment, config=config))


def _parameters(args: argparse.Namespace) -> Parameters | None:
    if (args.regression_coeffs is None) != (args.overheads is None):
        raise ParameterError("--regression-coeffs and --overheads go together: give both")
    if args.params is not None and args.overheads is not None:
        raise ParameterError("--params and --regression-coeffs: give one of them")
    if args.params is not None:
        return read_parameters(args.params, args.model)
    if args.model is not None:
        raise ParameterError("--model says what the names in --params FILE mean: give both")
    if args.overheads is None:
        return None
    coeffs = _numbers("--regression-coeffs", args.regression_coeffs)
    return Parameters(coeffs, _numbers("--overheads", args.overheads))


def _numbers(option: str, text: str) -> list[float]:
    numbers = []
    for i, word in enumerate(text.split(",")):
        try:
            numbers.append(float(word))
        except ValueError:
            raise ParameterError(f"{option}: value {i + 1}, {word!r}, is not a number") from None
    return numbers
