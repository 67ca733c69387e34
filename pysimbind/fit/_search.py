"""One search: it counts evaluations, keeps the best, and ends in time. Methods only propose."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ..objective import Objective
from ..parameters import Space
from ._checkpoint import Checkpoint
from .status import FitStatus

FloatArray = npt.NDArray[np.float64]
IndexArray = npt.NDArray[np.intp]

# The history records improvements by at least this share of the best loss.
_HISTORY_STEP = 1e-3
# In place of an infinite bound: this many times the change that doubles every latency.
_REACH = 2.0
# A bound this many times farther from the start of the search counts as infinite.
_FAR = 1e30


@dataclass(frozen=True)
class FitProgress:
    """The progress of a fit, given to its callback after every batch of evaluations."""

    method: str
    """Name of the method."""
    nfev: int
    """Evaluations done."""
    max_evals: int
    """Most evaluations allowed."""
    nit: int
    """Batches done."""
    fun: float
    """Loss of the best candidate, with the ridge; infinity: none was feasible yet."""
    unit: str
    """Unit of the loss."""
    x: FloatArray
    """The best candidate so far."""
    time_s: float
    """Seconds since the start."""

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
    """Ends a method from inside an evaluation. It never leaves the package."""

    def __init__(self, status: FitStatus) -> None:
        super().__init__(status)
        self.status = status


class Escape(Exception):  # noqa: N818  # never leaves the package
    """Carries an error out of a method. Scipy's methods catch some kinds, as ``ValueError``."""

    def __init__(self, error: Exception) -> None:
        super().__init__(error)
        self.error = error


@contextlib.contextmanager
def _escaping() -> Iterator[None]:
    try:
        yield
    except SearchEnd:
        raise
    except Exception as exc:
        raise Escape(exc) from exc


@dataclass(frozen=True)
class Budget:
    """The limits of a search, and the callback for its progress."""

    max_evals: int
    max_time_s: float | None
    callback: Callback | None


@dataclass(frozen=True)
class Problem:
    """What to search. Arrays are over all names of the model."""

    space: Space
    """The box, with infinite bounds allowed. A held parameter has both bounds at its value."""
    starts: tuple[tuple[str, FloatArray], ...]
    """Name and x of each point that was known or guessed before."""
    scale: FloatArray
    """Change of each parameter that doubles the mean E2E; 0: the parameter has no effect."""
    ridge: FloatArray
    """Weight of the square of each parameter in the loss, in units of its scale."""
    few: IndexArray
    """Indices of the parameters to begin with."""
    saturated: tuple[str, ...]
    """Names of the runs whose queue grows until their end."""


class Search:
    """What a method sees: the problem, and evaluations that may end the search.

    Losses are those of the objective and the ridge together. ``unit_batch`` folds every real number
    into the box: x = lower + (upper - lower) (1 - cos(pi u)) / 2. So a method never meets a bound.
    The unit interval covers the box once. x approaches both bounds quadratically in u, which
    resolves coefficients orders of magnitude smaller than their bound. Bounds at or near infinity
    are replaced by values larger than any parameter needs; ``open`` tells if any was.
    """

    def __init__(
        self,
        objective: Objective,
        problem: Problem,
        budget: Budget,
        *,
        method: str,
        checkpoint: Checkpoint,
    ) -> None:
        self.space, self.starts, self.scale = problem.space, problem.starts, problem.scale
        self.saturated = problem.saturated
        effect = problem.scale > 0
        self.free = np.flatnonzero((self.space.lower < self.space.upper) & effect)
        self.few = np.intersect1d(problem.few, self.free)
        self.cube = _finite(problem)
        ends = (self.cube.lower, self.space.lower), (self.cube.upper, self.space.upper)
        self.open = any((cube != box)[self.free].any() for cube, box in ends)
        self.max_evals = budget.max_evals
        self.unit_name = objective.loss.unit
        self.nfev = 0
        self.njev = 0
        self.nit = 0
        self.notes: list[str] = []
        self._ridge = np.sqrt(problem.ridge[effect]) / problem.scale[effect]
        self._ridged = np.flatnonzero(effect)[self._ridge > 0]
        self._ridge = self._ridge[self._ridge > 0]
        self._best: tuple[float, float, FloatArray] | None = None
        self._best_nfev = 0
        self._history: list[tuple[int, float]] = []
        self._objective = objective
        self._method = method
        self._budget = budget
        self._checkpoint = checkpoint
        self._start_s = time.perf_counter()

    @property
    def time_s(self) -> float:
        """Seconds of searching, including those before a resumption."""
        return self._checkpoint.time_s + time.perf_counter() - self._start_s

    @property
    def evaluated(self) -> bool:
        """Whether a best candidate exists."""
        return self._best is not None

    @property
    def best_loss(self) -> float:
        """The smallest loss so far, with the ridge; infinity before the first evaluation."""
        return np.inf if self._best is None else self._best[0]

    @property
    def best_x(self) -> FloatArray:
        """The candidate [names] with that loss."""
        assert self._best is not None  # used only after the first evaluation
        return self._best[2]

    @property
    def best_fun(self) -> float:
        """The loss of that candidate, without the ridge."""
        assert self._best is not None
        return self._best[1]

    @property
    def history(self) -> tuple[tuple[int, float], ...]:
        """(Evaluations, best loss with the ridge) at each improvement worth recording."""
        if self._best is None or not np.isfinite(self._best[0]):
            return ()
        last = (self._best_nfev, self._best[0])
        return (*(entry for entry in self._history if entry != last), last)

    def note(self, text: str) -> None:
        """Add a line to the report on what the method did."""
        self.notes.append(text)

    def batch(self, candidates: FloatArray) -> FloatArray:
        """Return the losses [N] of ``candidates`` [N, names]; never exceeds the budgets."""
        candidates = candidates[: self.max_evals - self.nfev]
        with _escaping():
            loss = self._checkpoint.losses(candidates, self._objective)
            return self._evaluated(candidates, loss)

    def linearise(self, x: FloatArray) -> tuple[float, FloatArray, FloatArray]:
        """Return loss, residuals [M] and their derivatives [M, names] at ``x``; may end the search.

        It counts as one evaluation. The ridge's residuals come last. If the loss is infinite, so
        are the residuals. The derivatives are of the kind "renewal": exact ones mislead on a server
        that is never idle.
        """
        with _escaping():
            fun, r, jac = self._objective.linearise(x, "renewal")
            self.njev += 1
            loss = self._evaluated(x[np.newaxis], np.array([fun]))
        rows = np.zeros((self._ridged.size, x.size))
        rows[np.arange(self._ridged.size), self._ridged] = self._ridge
        return (
            float(loss[0]),
            np.concatenate([r, self._ridge * x[self._ridged]]),
            np.concatenate([jac, rows]),
        )

    def unit_batch(self, u: npt.ArrayLike) -> FloatArray:
        """Return the losses [N] at ``u`` [N, free], folded into the box."""
        return self.batch(self.fold(np.asarray(u, dtype=np.float64)))

    def unit_linearise(self, u: FloatArray) -> tuple[float, FloatArray, FloatArray]:
        """Return loss, residuals and their derivatives by ``u`` [free], as ``linearise``."""
        loss, r, jac = self.linearise(self.fold(u[np.newaxis])[0])
        span = self.cube.upper[self.free] - self.cube.lower[self.free]
        return loss, r, jac[:, self.free] * (span * np.pi / 2 * np.sin(np.pi * u))

    def unit(self, x: FloatArray) -> FloatArray:
        """Return the ``u`` [free] in [0, 1] of a vector [names] after moving it into the box."""
        share = np.clip(self.cube.to_unit(x)[self.free], 0, 1)
        u: FloatArray = np.arccos(1 - 2 * share) / np.pi
        return u

    def fold(self, u: FloatArray) -> FloatArray:
        """Return the vectors [N, names] of ``u`` [N, free]."""
        cube = np.full((len(u), self.space.lower.size), 0.5)
        cube[:, self.free] = (1 - np.cos(np.pi * u)) / 2
        return self.cube.from_unit(cube)

    def _evaluated(self, candidates: FloatArray, fun: FloatArray) -> FloatArray:
        """Count evaluations, keep the best, call the callback, and end the search if due."""
        with np.errstate(over="ignore"):  # a square may overflow
            penalty: FloatArray = ((candidates[:, self._ridged] * self._ridge) ** 2).sum(axis=1)
        loss = fun + penalty
        self._record(candidates, fun, loss)
        if self.nfev >= self.max_evals:
            self._report()
            raise SearchEnd(FitStatus.EVALUATIONS)
        if not self._checkpoint.replaying:
            self._report()
            self._checkpoint.save_now_and_then(self.time_s)
            if self._budget.max_time_s is not None and self.time_s >= self._budget.max_time_s:
                raise SearchEnd(FitStatus.TIME)
        return loss

    def _record(self, candidates: FloatArray, fun: FloatArray, loss: FloatArray) -> None:
        i = int(np.argmin(loss))
        if self._best is None or loss[i] < self._best[0]:
            # one assignment, which Ctrl-C cannot split
            self._best = (float(loss[i]), float(fun[i]), candidates[i].copy())
            self._best_nfev = self.nfev + i + 1
            last = self._history[-1][1] if self._history else np.inf
            if self._best[0] < last * (1 - _HISTORY_STEP):
                self._history.append((self._best_nfev, self._best[0]))
        self.nfev += len(loss)
        self.nit += 1

    def _report(self) -> None:
        if self._budget.callback is None or self._best is None:
            return
        try:
            self._budget.callback(
                FitProgress(
                    method=self._method,
                    nfev=self.nfev,
                    max_evals=self.max_evals,
                    nit=self.nit,
                    fun=self.best_loss,
                    unit=self.unit_name,
                    x=self.best_x,
                    time_s=self.time_s,
                )
            )
        except StopIteration:
            raise SearchEnd(FitStatus.CALLBACK) from None


def _finite(problem: Problem) -> Space:
    """Return the box with infinite bounds replaced; parameters without effect keep theirs."""
    lower, upper = problem.space.lower, problem.space.upper
    reach = _REACH * problem.scale
    first = problem.starts[0][1]
    with np.errstate(over="ignore"):
        near_lower, near_upper = first - lower <= _FAR * reach, upper - first <= _FAR * reach
    low = np.where(near_lower, lower, np.minimum(first, 0) - reach)
    high = np.where(near_upper, upper, np.maximum(first, np.maximum(low, 0)) + reach)
    idle = problem.scale == 0
    return Space(np.where(idle, first, low), np.where(idle, first, high), problem.space.model)
