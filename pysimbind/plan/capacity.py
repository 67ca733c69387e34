"""The largest request rate at which a server keeps its service-level objectives."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ..config import ServerConfig
from ..errors import InputError, nearest
from ..parameters import Parameters
from ..results import Outcome, SimResult
from ..simulator import Simulator
from ..workload import Workload
from .parallel import Progress, in_threads
from .sweep import BROKEN, at_rate, interval, latency_statistic

_METRICS = ("ttft", "tpot", "e2e")
_SLO = re.compile(r"\s*(mean|p\d+(?:\.\d+)?)\s+(\w+)\s*<=\s*([\d.eE+-]+)\s*(s|ms)?\s*")
_LEAST_RPS, _MOST_RPS = 1e-3, 1e6


@dataclass(frozen=True)
class Slo:
    """A service-level objective on one latency."""

    statistic: str
    """``mean`` or a percentile, as ``p99``."""
    metric: str
    """``ttft``, ``tpot`` or ``e2e``."""
    limit_s: float
    """The largest allowed value, in seconds."""

    @classmethod
    def parse(cls, text: str) -> Slo:
        """Read ``p99 ttft <= 0.5`` (seconds) or ``<= 500ms``. Raises ``InputError``."""
        match = _SLO.fullmatch(text)
        if match is None:
            raise InputError(f"--slo {text!r}: expected as in 'p99 ttft <= 0.5' (or '<= 500ms')")
        statistic, metric, number, unit = match.groups()
        if metric not in _METRICS:
            raise InputError(
                f"--slo {text!r}: unknown latency {metric!r}{nearest(metric, _METRICS)}"
            )
        if statistic != "mean" and not 0 < float(statistic[1:]) <= 100:
            raise InputError(f"--slo {text!r}: a percentile is > 0 and <= 100, got {statistic}")
        try:
            limit_s = float(number) / (1e3 if unit == "ms" else 1.0)
        except ValueError:
            raise InputError(f"--slo {text!r}: {number!r} is not a number") from None
        if not 0 < limit_s < math.inf:
            raise InputError(f"--slo {text!r}: the limit must be a finite number > 0")
        return cls(statistic, metric, limit_s)

    def __str__(self) -> str:
        return f"{self.statistic} {self.metric} <= {self.limit_s:g} s"

    def holds(self, result: SimResult) -> bool:
        """Tell whether a run keeps the objective. A run without such a latency keeps it."""
        latencies = {"ttft": result.ttft, "tpot": result.inter_token_s, "e2e": result.e2e}
        return not latency_statistic(latencies[self.metric], self.statistic) > self.limit_s


@dataclass(frozen=True)
class Capacity:
    """The largest request rate: mean over the replicas, with a 95 % t-interval.

    The rate is 0 if the objectives hold at no rate. It is infinite if they hold at any rate: the
    workload is too short to fill the server. Then there is no interval.
    """

    rate_rps: float
    """Mean rate, in requests per second."""
    low_rps: float
    """Lower bound of the interval."""
    high_rps: float
    """Upper bound of the interval."""
    broken: int = 0
    """How many replicas broke off at the next higher rate, by a step of negative or endless length.
    There the parameters fail, not the server."""

    def replicas_for(self, target_rps: float) -> int:
        """Return how many servers keep the objectives at ``target_rps``, by the lower bound.

        Requests are assumed to be spread evenly and at random. Raises ``InputError`` if no number
        of servers suffices, or if the target is not a finite number > 0.
        """
        if not 0 < target_rps < math.inf:
            raise InputError(f"a target rate must be a finite number > 0, got {target_rps}")
        each = self.rate_rps if math.isnan(self.low_rps) else self.low_rps
        if each <= 0:
            raise InputError("the objectives hold at no rate for sure: no number of servers helps")
        return max(1, math.ceil(target_rps / each))


def capacity(
    params: Parameters,
    workload: Workload,
    config: ServerConfig,
    slos: Sequence[Slo],
    *,
    replicas: int = 6,
    seed: int = 0,
    rtol: float = 0.005,
    progress: Progress | None = None,
) -> Capacity:
    """Return the largest rate at which all ``slos`` hold and every request finishes.

    Each replica draws its arrivals once and scales them with the rate (common random numbers). A
    bisection per replica finds the rate to ``rtol`` of it. The interval is over the replicas. If
    latency is not monotonic in the rate, a bisection finds one crossing of the limit. Replicas run
    in threads. ``progress`` is called with (replicas done, of how many). Raises ``InputError``
    without objectives.
    """
    if not slos or replicas < 1 or not 0 < rtol < 1:
        raise InputError("capacity needs objectives, replicas >= 1 and 0 < rtol < 1")

    def one(draw: int) -> tuple[float, bool]:
        broke: dict[float, bool] = {}

        def holds(rate_rps: float) -> bool:
            sent = at_rate(workload, rate_rps, seed=draw)
            with Simulator(sent, config, params.model) as simulator:
                result = simulator.run(params)
            broke[rate_rps] = result.outcome in BROKEN
            return result.outcome is Outcome.OK and all(slo.holds(result) for slo in slos)

        good, bad = _largest(holds, rtol)
        return good, broke.get(bad, False)

    found = in_threads(one, range(seed, seed + replicas), progress=progress)
    rates, broken = [rate for rate, _ in found], sum(broke for _, broke in found)
    if not all(map(math.isfinite, rates)):
        return Capacity(math.inf, math.nan, math.nan, broken)
    mean, low, high = interval(rates)
    return Capacity(mean, low if math.isnan(low) else max(low, 0.0), high, broken)


def _largest(holds: Callable[[float], bool], rtol: float) -> tuple[float, float]:
    """Bisect on a logarithmic scale for the largest rate at which ``holds`` is true.

    Returns this rate, and the next higher rate that was tried, where it is false.
    """
    good, bad = 0.0, 1.0
    while holds(bad):
        good, bad = bad, 4 * bad
        if bad > _MOST_RPS:
            return math.inf, math.inf
    while good == 0.0:
        if bad < _LEAST_RPS:
            return 0.0, bad
        if holds(bad / 4):
            good = bad / 4
        else:
            bad /= 4
    while bad > good * (1 + rtol):
        middle = math.sqrt(good * bad)
        good, bad = (middle, bad) if holds(middle) else (good, middle)
    return good, bad
