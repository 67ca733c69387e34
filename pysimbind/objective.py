"""The objective: how badly parameters explain an experiment, for our optimisers or anyone's."""

from __future__ import annotations

from collections import Counter
from types import TracebackType

import numpy as np
import numpy.typing as npt

from .errors import FitError, ParameterError
from .experiment import Experiment
from .losses import Loss, Measured, find_loss
from .parameters import NAMES, Parameters
from .results import Outcome, SimResult
from .simulator import Simulator

FloatArray = npt.NDArray[np.float64]

# Simulated latencies of one call to the simulator take at most this much memory.
_CHUNK_BYTES = 64 * 2**20


class Objective:
    """The loss of parameter vectors (all names, in order) on one experiment.

    ``loss``: a ``Loss``, or a text that ``Loss.parse`` reads. Call the objective with one vector,
    or ``batch`` with many. The loss is the sum of the squares of ``residuals``, whose derivatives
    ``jac`` gives; ``value_and_grad`` suits gradient methods. A candidate that cannot be simulated
    to its end (a step time that is negative or not finite, a simulation that hangs, a request that
    never finishes) scores infinity and is counted in ``infeasible``; its residuals are infinite,
    its derivatives NaN. Usable as a context manager; picklable, without the counts.

    Raises ``FitError`` for an unknown loss and for an experiment without measured latencies.
    """

    def __init__(self, experiment: Experiment, loss: str | Loss = "original") -> None:
        self.experiment = experiment
        self.loss = find_loss(loss)
        workload = experiment.workload
        measured = Measured(
            workload.arrival_s, experiment.ttft, experiment.e2e, workload.output_tokens
        )
        try:
            self._misfit = self.loss.against(measured)
        except FitError as exc:
            raise FitError(f"experiment {experiment.name!r} has {exc}") from None
        self._simulator = Simulator(experiment.workload, experiment.config)
        self._rows = max(1, _CHUNK_BYTES // (2 * 8 * len(experiment.workload)))
        self.nfev = 0
        self.infeasible: Counter[str] = Counter()

    def __call__(self, x: object) -> float:
        """Return the loss of one candidate: a vector, a mapping by name or ``Parameters``."""
        return float(self.batch(Parameters.of(x).vector[np.newaxis])[0])

    def batch(self, candidates: npt.ArrayLike) -> FloatArray:
        """Return the losses [N] of ``candidates`` [N, names], simulated in one batch.

        Raises ``ParameterError`` for a wrong shape or values that are not finite.
        """
        rows = _rows(candidates)
        chunks = [rows[i : i + self._rows] for i in range(0, len(rows), self._rows)]
        return np.concatenate([np.empty(0), *(self._chunk(chunk) for chunk in chunks)])

    def residuals(self, x: object) -> FloatArray:
        """Return the residuals [M] of one candidate: their squares sum up to its loss.

        One for each request and term of the loss, or one for each mean or quantile.
        """
        run = self._simulator.run(Parameters.of(x).vector)
        return self._residuals(run)[1]

    def jac(self, x: object, kind: str = "exact") -> FloatArray:
        """Return the derivatives [M, names] of the residuals, per unit of each parameter.

        ``kind``: as for ``Simulator.run_jacobian``.
        """
        return self.linearise(x, kind)[2]

    def gradient(self, x: object, kind: str = "exact") -> FloatArray:
        """Return the derivatives [names] of the loss, per unit of each parameter."""
        return self.value_and_grad(x, kind)[1]

    def value_and_grad(self, x: object, kind: str = "exact") -> tuple[float, FloatArray]:
        """Return the loss of one candidate and its ``gradient``, from one run."""
        loss, r, jac = self.linearise(x, kind)
        if np.isinf(loss):
            return loss, np.full(len(NAMES), np.nan)
        return loss, 2 * (r @ jac)

    def linearise(self, x: object, kind: str = "exact") -> tuple[float, FloatArray, FloatArray]:
        """Return the loss of one candidate, its ``residuals`` and their ``jac``, from one run."""
        jacobian = self._simulator.run_jacobian(Parameters.of(x).vector, kind)
        run = jacobian.result
        loss, r = self._residuals(run)
        if np.isinf(loss):
            return loss, r, np.full((r.size, len(NAMES)), np.nan)
        return loss, r, self._misfit.jacobian(run.ttft, run.e2e, *jacobian)

    def close(self) -> None:
        """Free the simulator; the objective cannot be evaluated any more."""
        self._simulator.close()

    def __enter__(self) -> Objective:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def __reduce__(self) -> tuple[type[Objective], tuple[Experiment, Loss]]:
        return Objective, (self.experiment, self.loss)

    def _residuals(self, run: SimResult) -> tuple[float, FloatArray]:
        self.nfev += 1
        loss, r = self._misfit.residuals(run.ttft, run.e2e)
        if run.outcome == Outcome.OK:
            return loss, r
        self.infeasible[run.outcome.name.lower()] += 1
        return np.inf, np.full_like(r, np.inf)

    def _chunk(self, rows: FloatArray) -> FloatArray:
        result = self._simulator.run_batch(rows)
        self.nfev += len(rows)
        failed = np.flatnonzero(result.outcome != Outcome.OK)
        self.infeasible.update(Outcome(int(code)).name.lower() for code in result.outcome[failed])
        loss = self._misfit.values(result.ttft, result.e2e)
        loss[failed] = np.inf
        return loss


def _rows(candidates: npt.ArrayLike) -> FloatArray:
    try:
        rows = np.ascontiguousarray(candidates, dtype=np.float64)
    except (TypeError, ValueError) as exc:
        raise ParameterError(f"candidates must be numbers (N, {len(NAMES)}): {exc}") from exc
    if rows.ndim != 2 or rows.shape[1] != len(NAMES):
        raise ParameterError(f"candidates must have shape (N, {len(NAMES)}), got {rows.shape}")
    bad = np.argwhere(~np.isfinite(rows))
    if bad.size:
        i, j = bad[0]
        raise ParameterError(f"candidate {i}: {NAMES[j]!r} is {rows[i, j]}: it must be finite")
    return rows
