"""One search: counts evaluations, remembers the best, knows when to stop. Methods only propose."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ..objective import Objective
from ..parameters import NAMES, Space
from .status import FitStatus

FloatArray = npt.NDArray[np.float64]

# An improvement by less than this share of the best loss is not worth a line of history.
_HISTORY_STEP = 1e-3


@dataclass(frozen=True)
class FitProgress:
    """How far a fit is, given to its callback after every batch of evaluations.

    ``nfev`` of at most ``max_evals`` evaluations are done, in ``nit`` batches and ``time_s``
    seconds; ``x`` with loss ``fun`` is the best so far (infinity: none was feasible yet).
    """

    method: str
    nfev: int
    max_evals: int
    nit: int
    fun: float
    unit: str
    x: FloatArray
    time_s: float

    @property
    def evals_per_s(self) -> float:
        """Evaluations per second since the start."""
        return self.nfev / self.time_s if self.time_s > 0 else 0.0

    @property
    def time_left_s(self) -> float:
        """Seconds until ``max_evals`` at this rate."""
        return self.time_s * (self.max_evals - self.nfev) / self.nfev if self.nfev else 0.0


Callback = Callable[[FitProgress], object]


class SearchEnd(Exception):  # noqa: N818  # an end, not an error
    """Ends a method from within an evaluation; never leaves the package."""

    def __init__(self, status: FitStatus) -> None:
        super().__init__(status)
        self.status = status


class Search:
    """What a method sees: the free parameters as a cube, and an evaluation that may end it.

    ``unit_batch`` folds every real number into the box, so that no method meets a wall:
    x = lower + (upper - lower) (1 - cos(pi u)) / 2. The unit interval covers the box once, and
    both bounds are approached quadratically, which resolves coefficients orders of magnitude
    smaller than their bound.
    """

    def __init__(
        self,
        objective: Objective,
        space: Space,
        *,
        method: str,
        max_evals: int,
        max_time_s: float | None,
        callback: Callback | None,
    ) -> None:
        self.space = space
        self.free = np.flatnonzero(space.lower < space.upper)
        self.max_evals = max_evals
        self.nfev = 0
        self.njev = 0
        self.nit = 0
        self.best: tuple[float, FloatArray] | None = None
        self._best_nfev = 0
        self._history: list[tuple[int, float]] = []
        self._objective = objective
        self._method = method
        self._max_time_s = max_time_s
        self._callback = callback
        self._start_s = time.perf_counter()

    @property
    def time_s(self) -> float:
        """Seconds since the search began."""
        return time.perf_counter() - self._start_s

    @property
    def history(self) -> tuple[tuple[int, float], ...]:
        """(Evaluations, best loss) at each improvement worth telling, and at the last one."""
        if self.best is None or not np.isfinite(self.best[0]):
            return ()
        last = (self._best_nfev, self.best[0])
        return (*(entry for entry in self._history if entry != last), last)

    def unit_batch(self, u: npt.ArrayLike) -> FloatArray:
        """Return the losses [N] at ``u`` [N, free], folded into the box."""
        return self.batch(self._fold(np.asarray(u, dtype=np.float64)))

    def linearise(self, u: FloatArray) -> tuple[float, FloatArray, FloatArray]:
        """Return loss, residuals [M] and their derivatives [M, free] by ``u`` [free]; may end it.

        It counts as one evaluation. Where the loss is infinite, so are the residuals. The
        derivatives are of the kind "renewal": exact ones mislead on a server that is never idle.
        """
        x = self._fold(u[np.newaxis])
        loss, r, jac = self._objective.linearise(x[0], "renewal")
        self.njev += 1
        self._evaluated(x, np.array([loss]))
        span = self.space.upper[self.free] - self.space.lower[self.free]
        return loss, r, jac[:, self.free] * (span * np.pi / 2 * np.sin(np.pi * u))

    def unit(self, x: FloatArray) -> FloatArray:
        """Return the ``u`` [free] in [0, 1] of a vector [names], moved into the box."""
        share = np.clip(self.space.to_unit(x)[self.free], 0, 1)
        u: FloatArray = np.arccos(1 - 2 * share) / np.pi
        return u

    @property
    def baseline(self) -> FloatArray | None:
        """The parameters [names] known before, if any."""
        baseline = self._objective.experiments[0].baseline
        return None if baseline is None else baseline.vector

    def batch(self, candidates: FloatArray) -> FloatArray:
        """Return the losses [N] of ``candidates`` [N, names]; never exceeds the budgets."""
        candidates = candidates[: self.max_evals - self.nfev]
        loss = self._objective.batch(candidates)
        self._evaluated(candidates, loss)
        return loss

    def _fold(self, u: FloatArray) -> FloatArray:
        cube = np.full((len(u), len(NAMES)), 0.5)
        cube[:, self.free] = (1 - np.cos(np.pi * u)) / 2
        return self.space.from_unit(cube)

    def _evaluated(self, candidates: FloatArray, loss: FloatArray) -> None:
        self._record(candidates, loss)
        self._report()
        if self.nfev >= self.max_evals:
            raise SearchEnd(FitStatus.EVALUATIONS)
        if self._max_time_s is not None and self.time_s >= self._max_time_s:
            raise SearchEnd(FitStatus.TIME)

    def _record(self, candidates: FloatArray, loss: FloatArray) -> None:
        i = int(np.argmin(loss))
        value = float(loss[i])
        if self.best is None or value < self.best[0]:
            self.best = (value, candidates[i].copy())  # one assignment: Ctrl-C can't split it
            self._best_nfev = self.nfev + i + 1
            last = self._history[-1][1] if self._history else np.inf
            if value < last * (1 - _HISTORY_STEP):
                self._history.append((self._best_nfev, value))
        self.nfev += len(loss)
        self.nit += 1

    def _report(self) -> None:
        if self._callback is None or self.best is None:
            return
        fun, x = self.best
        try:
            self._callback(
                FitProgress(
                    method=self._method,
                    nfev=self.nfev,
                    max_evals=self.max_evals,
                    nit=self.nit,
                    fun=fun,
                    unit=self._objective.loss.unit,
                    x=x,
                    time_s=self.time_s,
                )
            )
        except StopIteration:
            raise SearchEnd(FitStatus.CALLBACK) from None
