"""The record that a command predicts from."""

from __future__ import annotations

import argparse
import dataclasses

from ..config import SEMANTICS
from ..errors import ParameterError
from ..parameters import OVERHEADS, Parameters
from ..plan.record import Record, load_record
from .common import add_reading, read_settings, reading_options, with_semantics
from .scenario import add_model, read_parameters


def add_record(parser: argparse.ArgumentParser) -> None:
    """Add the options that ``make_record`` reads."""
    add = parser.add_argument
    add("record", metavar="RECORD", help="a saved fit, a bundled experiment or a measurement file")
    add("--semantics", metavar="NAME", help=f"{', '.join(SEMANTICS)} (default: the record's)")
    add("--set", action="append", default=[], metavar="SETTING=VALUE", help="as for simulate")
    add("--experiment", metavar="EXPERIMENT", help="take the requests from here")
    add("--params", metavar="FILE", help="other parameters: a JSON file {name: value}")
    add_model(parser)
    add(
        "--regression-coeffs",
        metavar="C,C,...",
        help="other parameters: coefficients as the original simulator took them; with --overheads",
    )
    names = ",".join(OVERHEADS)
    add("--overheads", metavar="US,US,US,US", help=f"{names} in microseconds")
    add_reading(parser)


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
