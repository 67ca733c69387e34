"""``python -m pysimbind export``: parameters for other simulators."""

from __future__ import annotations

import argparse

from .._io.files import write_bytes
from ..errors import InputError, nearest
from ..plan.export import FORMATS
from .common import EXIT_OK, Command, check_outputs, print_report
from .record import add_record, make_record


def _configure(parser: argparse.ArgumentParser) -> None:
    parser.description = "Write parameters in another simulator's format, to a file or the screen."
    add_record(parser)
    parser.add_argument("--format", default="yaml", help=f"{', '.join(FORMATS)} (default: yaml)")
    parser.add_argument("--out", metavar="FILE", help="save it instead of printing it")


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


COMMAND = Command("export", "write parameters for other simulators", _configure, _run)
