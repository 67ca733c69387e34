"""Why a fit ended."""

from __future__ import annotations

from enum import IntEnum


class FitStatus(IntEnum):
    """Why a fit ended; all but the last two are a success."""

    CONVERGED = 0
    EVALUATIONS = 1
    TIME = 2
    CALLBACK = 3
    INTERRUPTED = 4
    INFEASIBLE = 5

    @property
    def message(self) -> str:
        """The reason in words."""
        return _MESSAGES[self]

    @property
    def success(self) -> bool:
        """Whether the search ended as it was asked to, with a candidate that can be simulated."""
        return self < FitStatus.INTERRUPTED


_MESSAGES = {
    FitStatus.CONVERGED: "converged",
    FitStatus.EVALUATIONS: "all evaluations are used up",
    FitStatus.TIME: "the time is used up",
    FitStatus.CALLBACK: "stopped by the callback",
    FitStatus.INTERRUPTED: "interrupted: this is the best so far",
    FitStatus.INFEASIBLE: "no candidate could be simulated to its end: try other bounds",
}
