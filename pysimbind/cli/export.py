"""The command ``export``: parameters for other simulators."""

from __future__ import annotations

import argparse

from .._io.files import write_bytes
from ..errors import InputError, nearest
from ..plan.export import FORMATS
from ._command import Command
from ._exits import EXIT_OK
from ._outputs import check_outputs, print_report
from ._parser import FILE, Complete, Parser
from ._record import add_record, make_record


def _configure(parser: Parser) -> None:
    add_record(parser)
    add = parser.adder("output")
    add(
        "--format",
        default="yaml",
        metavar="NAME",
        complete=Complete(FORMATS),
        help=f"{', '.join(FORMATS)} (default: %(default)s)",
    )
    add("--out", metavar="FILE", complete=FILE, help="save it (default: print it)")


def _run(args: argparse.Namespace) -> int:
    if args.format not in FORMATS:
        raise InputError(
            f"--format: unknown format {args.format!r}{nearest(args.format, FORMATS)} "
            f"(formats: {', '.join(FORMATS)})"
        )
    check_outputs([args.out], [args.record, args.experiment, args.params])
    text = FORMATS[args.format](make_record(args))
    if args.out is None:
        print_report(text.rstrip("\n"))
    else:
        write_bytes(args.out, text.encode())
        print_report(f"saved: {args.out}")
    return EXIT_OK


COMMAND = Command(
    "export",
    "write parameters for other simulators",
    "RECORD [OPTIONS]",
    "Write parameters in another simulator's format.",
    _configure,
    _run,
    examples=("fit.json", "fit.json --format json --out params.json"),
)
