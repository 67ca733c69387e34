"""A latency to predict: one statistic of one target, on its own workload and server."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from ..config import ServerConfig
from ..errors import FitError, nearest
from ..losses import STATISTICS
from ..models import ModelLike
from ..results import Outcome
from ..simulator import Simulator
from ..workload import Workload

FloatArray = npt.NDArray[np.float64]

PREDICTED: tuple[str, ...] = ("ttft", "e2e")
"""The latencies that can be predicted here."""

_WINDOW = 0.01  # share of the requests, on each side of a quantile, whose derivatives are averaged


@dataclass(frozen=True, eq=False)
class Prediction:
    """A statistic of the latencies of a workload on a server, in seconds.

    Raises ``FitError`` for an unknown statistic.
    """

    workload: Workload
    """The requests."""
    config: ServerConfig = field(default_factory=ServerConfig)
    """The settings of the server."""
    statistic: str = "p99 e2e"
    """One of mean, p50, p90 and p99, then one of ``PREDICTED``: ``"p99 e2e"``."""
    name: str = ""
    """Name in reports."""

    def __post_init__(self) -> None:
        words = self.statistic.split()
        if len(words) != 2:
            raise FitError(f"statistic {self.statistic!r}: expected two words, as in 'p99 e2e'")
        for word, known in zip(words, (STATISTICS, PREDICTED), strict=True):
            if word not in known:
                raise FitError(
                    f"statistic {self.statistic!r}: unknown word {word!r}{nearest(word, known)} "
                    f"(expected one of {', '.join(known)})"
                )

    @property
    def label(self) -> str:
        """The name, if it has one, and the statistic."""
        return f"{self.name} {self.statistic}".strip()

    @property
    def target(self) -> str:
        """``"ttft"`` or ``"e2e"``."""
        return self.statistic.split()[1]

    @property
    def quantile(self) -> float | None:
        """The quantile, from 0 to 1; None for a mean."""
        return STATISTICS[self.statistic.split()[0]]

    def simulator(self, model: ModelLike) -> Simulator:
        """Return the simulator of the workload and server, for parameters of ``model``."""
        return Simulator(self.workload, self.config, model)

    def values(self, simulator: Simulator, candidates: FloatArray) -> FloatArray:
        """Return the statistic [N] of candidates [N, P], simulated in one batch.

        NaN if a candidate cannot be simulated to its end.
        """
        result = simulator.run_batch(candidates)
        latencies: FloatArray = getattr(result, self.target)
        values = self.of(latencies)
        return np.where(result.outcome == Outcome.OK, values, np.nan)

    def of(self, latencies: FloatArray) -> FloatArray:
        """Return the statistic [...] of latencies [..., R], by linear interpolation."""
        if self.quantile is None:
            return np.asarray(np.mean(latencies, axis=-1))
        return np.asarray(np.quantile(latencies, self.quantile, axis=-1))

    def gradient(self, simulator: Simulator, x: FloatArray) -> FloatArray:
        """Return the derivatives [P] of the statistic at ``x``, in seconds per unit.

        They are renewal derivatives. For a mean, they are averaged over all requests. For a
        quantile, they are averaged over the requests with latencies around it: the derivatives of a
        single request say little about the order of requests. Raises ``FitError`` if ``x`` cannot
        be simulated to its end.
        """
        jacobian = simulator.run_jacobian(x, "renewal")
        if jacobian.result.outcome != Outcome.OK:
            raise FitError(
                f"prediction {self.label!r} cannot be simulated to its end: "
                f"{jacobian.result.outcome.name.lower()}"
            )
        rows: FloatArray = getattr(jacobian, f"{self.target}_jac")
        if self.quantile is not None:
            latencies = getattr(jacobian.result, self.target)
            rows = rows[_around(latencies, self.quantile)]
        return np.asarray(np.mean(rows, axis=0))


def _around(latencies: FloatArray, quantile: float) -> npt.NDArray[np.int64]:
    """Return the requests with latencies near a quantile: at least the two beside it."""
    position = quantile * (latencies.size - 1)
    reach = _WINDOW * latencies.size
    low = max(0, int(np.floor(position - reach)))
    high = min(latencies.size - 1, int(np.ceil(position + reach)))
    order = np.argsort(latencies, kind="stable")
    return np.asarray(order[low : high + 1])
