"""What a command writes: its report on standard output, and files that overwrite no input."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from .._io.files import check_writable
from ..errors import OutputError


def print_report(text: str) -> None:
    """Print to standard output; raises ``OutputError`` if it cannot be written there.

    Characters that its encoding lacks become question marks.
    """
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
    try:
        print(text.encode(encoding, "replace").decode(encoding), flush=True)
    except OSError as exc:
        # What is still in the buffer would fail once more when Python flushes it at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if not isinstance(exc, BrokenPipeError):  # the reader left (head, less): no failure
            raise OutputError(f"the report cannot be written: {exc.strerror}") from exc


def check_outputs(outputs: Sequence[str | None], inputs: Sequence[str | None]) -> None:
    """Find what cannot be written before there is anything to write; None is an option not given.

    Raises ``OutputError`` for a file that cannot be written, is given twice, or is read too.
    """
    taken = {os.path.realpath(path) for path in inputs if path is not None and os.path.exists(path)}
    for path in outputs:
        if path is None:
            continue
        check_writable(path)
        where = os.path.realpath(path)
        if where in taken:
            raise OutputError(f"{path}: already an input or another output; name another file")
        taken.add(where)
