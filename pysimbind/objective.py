"""The objective: how badly parameters explain an experiment, for our optimisers or anyone's."""

from __future__ import annotations

from collections import Counter
from types import TracebackType

import numpy as np
import numpy.typing as npt

from .errors import FitError, ParameterError
from .experiment import Experiment
from .losses import Measured, find_loss
from .parameters import NAMES, Parameters
from .results import Outcome
from .simulator import Simulator

FloatArray = npt.NDArray[np.float64]

# Simulated latencies of one call to the simulator take at most this much memory.
_CHUNK_BYTES = 64 * 2**20


class Objective:
    """The loss of parameter vectors (all names, in order) on one experiment.

    ``loss``: a name of ``pysimbind.losses.LOSSES``. Call it with one vector, or ``batch`` with
    many. A candidate that cannot be simulated to its end (a step time that is negative or not
    finite, a simulation that hangs, a request that never finishes) scores infinity and is counted
    in ``infeasible``. Usable as a context manager; picklable, without the counts.

    Raises ``FitError`` for an unknown loss and for an experiment without measured latencies.
    """

    def __init__(self, experiment: Experiment, loss: str = "original") -> None:
        self.experiment = experiment
        self.loss = find_loss(loss)
        for name in ("ttft", "e2e"):
            if np.isnan(getattr(experiment, name)).all():
                raise FitError(
                    f"experiment {experiment.name!r} has no measured {name}: nothing to fit to"
                )
        self._measured = Measured(experiment.workload.arrival_s, experiment.ttft, experiment.e2e)
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

    def __reduce__(self) -> tuple[type[Objective], tuple[Experiment, str]]:
        return Objective, (self.experiment, self.loss.name)

    def _chunk(self, rows: FloatArray) -> FloatArray:
        result = self._simulator.run_batch(rows)
        self.nfev += len(rows)
        failed = np.flatnonzero(result.outcome != Outcome.OK)
        self.infeasible.update(Outcome(int(code)).name.lower() for code in result.outcome[failed])
        loss = self.loss(self._measured, result.ttft, result.e2e)
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
