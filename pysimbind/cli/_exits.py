"""Exit codes, and errors as one line on standard error.

Exit codes: 0 it worked; 1 the job failed; 2 something given is wrong or a library is not
installed; 130 Ctrl-C.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable

from ..errors import InputError, MissingExtraError, PysimbindError

EXIT_OK, EXIT_FAILED, EXIT_USAGE, EXIT_INTERRUPTED = 0, 1, 2, 130


def guarded(work: Callable[[], int]) -> int:
    """Do the work of a command; returns its exit code, having printed one line about an error."""
    try:
        return work()
    except (InputError, MissingExtraError) as exc:
        return _complain(exc, EXIT_USAGE)
    except PysimbindError as exc:
        return _complain(exc, EXIT_FAILED)
    except OverflowError as exc:
        return _complain(f"a number that was given is too large: {exc}", EXIT_USAGE)
    except MemoryError:
        return _complain("not enough memory for this workload", EXIT_FAILED)
    except KeyboardInterrupt:
        return _complain("interrupted before there was a result", EXIT_INTERRUPTED)


def _complain(problem: object, code: int) -> int:
    if sys.stderr is not None:  # None: it was closed, and print would take standard output
        line = " ".join(str(problem).splitlines())  # a file's name may have a line break
        with contextlib.suppress(OSError, ValueError):
            print(f"pysimbind: error: {line}", file=sys.stderr)
    return code
