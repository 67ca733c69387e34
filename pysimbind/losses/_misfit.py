"""A loss bound to measured latencies: its value, and residuals whose squares sum to it.

Let e be the error of one latency, w its share of the loss, and rho as in ``Loss``. The loss is the
sum of w rho(e). Its residuals are r = √w sign(e) √rho(e), and its gradient is 2 Jᵀr. So any
least-squares method minimises the loss, robust or not.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from ..errors import FitError
from ._terms import STATISTICS, Measured, Term

FloatArray = npt.NDArray[np.float64]
IndexArray = npt.NDArray[np.intp]
Latencies = Mapping[str, FloatArray]


_Function = Callable[[FloatArray, FloatArray], FloatArray]
_Scaled = Callable[[FloatArray, float], FloatArray]


class _Error(NamedTuple):
    """An error as a function of (simulated, measured), and its derivative by simulated."""

    value: _Function
    slope: _Function


ERRORS: Mapping[str, _Error] = MappingProxyType(
    {
        "absolute": _Error(lambda s, m: s - m, lambda s, m: np.ones_like(s)),
        "relative": _Error(lambda s, m: s / m - 1, lambda s, m: 1 / m),
        "log": _Error(lambda s, m: np.log(s / m), lambda s, m: 1 / s),
    }
)
"""The definitions of an error, by name."""


class _Rho(NamedTuple):
    """r = sign(e) √rho(e) as a function of errors e and the scale C, and dr/de."""

    root: _Scaled
    slope: _Scaled


def _soft_l1(e: FloatArray, scale: float) -> FloatArray:
    # rho = e² 2 / (1 + √(1 + (e/C)²)): this form subtracts no nearly equal numbers
    root: FloatArray = e * np.sqrt(2 / (1 + np.hypot(1, e / scale)))
    return root


def _soft_l1_slope(e: FloatArray, scale: float) -> FloatArray:
    h = np.hypot(1, e / scale)
    slope: FloatArray = np.sqrt((1 + h) / 2) / h
    return slope


def _huber(e: FloatArray, scale: float) -> FloatArray:
    size = np.abs(e)
    beyond = np.sign(e) * np.sqrt(scale * np.maximum(2 * size - scale, 0))
    return np.where(size <= scale, e, beyond)


def _huber_slope(e: FloatArray, scale: float) -> FloatArray:
    return scale / np.maximum(np.abs(_huber(e, scale)), scale)


RHOS: Mapping[str, _Rho] = MappingProxyType(
    {
        "squared": _Rho(lambda e, scale: e, lambda e, scale: np.ones_like(e)),
        "soft_l1": _Rho(_soft_l1, _soft_l1_slope),
        "huber": _Rho(_huber, _huber_slope),
    }
)
"""The definitions of rho, by name."""


class _Part:
    """One term of a loss: the requests that it compares, and their measured values."""

    def __init__(self, term: Term, quantile: float | None, share: float) -> None:
        self.term, self.quantile, self.share = term, quantile, share
        self.requests: IndexArray
        self.measured: FloatArray  # [n], or [1] for a statistic
        self.divisor: FloatArray | None = None  # for TPOT: output tokens - 1

    def simulated(self, latencies: Latencies) -> FloatArray:
        """Return the term's latencies [..., n] from those of all requests [..., R]."""
        if self.divisor is None:
            # np.take keeps rows contiguous, unlike [..., requests]. So the sum of a row does not
            # depend on the batch.
            values: FloatArray = np.take(latencies[self.term.target], self.requests, axis=-1)
            return values
        e2e, ttft = (np.take(latencies[n], self.requests, axis=-1) for n in ("e2e", "ttft"))
        return (e2e - ttft) / self.divisor

    def statistic(self, values: FloatArray) -> FloatArray:
        """Return the mean or quantile [..., 1] of values [..., n], or the values themselves."""
        if not self.term.statistic:
            return values
        if self.quantile is None:
            mean: FloatArray = np.mean(values, axis=-1, keepdims=True)
            return mean
        low, high, share = _between(self.quantile, values.shape[-1])
        ordered = np.sort(values, axis=-1)
        return ordered[..., low : low + 1] * (1 - share) + ordered[..., high : high + 1] * share

    def statistic_jac(self, values: FloatArray, jac: FloatArray) -> FloatArray:
        """Return the derivatives of ``statistic``, [n or 1, P], from those of values, [n, P]."""
        if not self.term.statistic:
            return jac
        if self.quantile is None:
            mean: FloatArray = np.mean(jac, axis=0, keepdims=True)
            return mean
        low, high, share = _between(self.quantile, len(values))
        order = np.argsort(values, kind="stable")
        row: FloatArray = jac[order[low]] * (1 - share) + jac[order[high]] * share
        return row[np.newaxis]


def _between(quantile: float, count: int) -> tuple[int, int, float]:
    """Return the two order statistics around a quantile, and the share of the upper one."""
    position = quantile * (count - 1)
    low = int(position)
    return low, min(low + 1, count - 1), position - low


class Misfit:
    """A loss bound to measured latencies. Its keywords are the fields of ``Loss``.

    If a candidate never finishes some request, or a square overflows, the value and all residuals
    are infinite, and derivatives NaN. Raises ``FitError`` if a term has no measured latency.
    """

    def __init__(
        self,
        terms: Sequence[Term],
        measured: Measured,
        *,
        errors: str,
        rho: str,
        scale: float | None,
        warmup: int,
        unpaired: bool,
    ) -> None:
        self._arrival_s = measured.arrival_s
        self._unpaired = unpaired
        self._error, self._rho = ERRORS[errors], RHOS[rho]
        self._scale = 1.0 if scale is None else scale  # squared errors do not use it
        self._parts = _parts(terms, measured, warmup, zero_counts=errors == "absolute")

    @property
    def requests(self) -> IndexArray:
        """The request of each residual [M]; -1 for a mean or quantile."""
        about = [[-1] if part.term.statistic else part.requests for part in self._parts]
        return np.concatenate(about).astype(np.int64)

    def values(self, ttft: FloatArray, e2e: FloatArray) -> FloatArray:
        """Return the losses [N] of simulated latencies [N, R]; never NaN."""
        latencies = self._latencies(ttft, e2e)
        loss = np.zeros(len(ttft))
        # a square that overflows gives a loss of infinity, and so does the log of 0
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
            for part in self._parts:
                r = self._residuals(part, latencies)
                loss += np.mean(r * r, axis=-1) * part.share
        unfinished = np.isnan(ttft).any(axis=1) | np.isnan(e2e).any(axis=1)
        return np.where(unfinished | np.isnan(loss), np.inf, loss)

    def residuals(self, ttft: FloatArray, e2e: FloatArray) -> tuple[float, FloatArray]:
        """Return the loss, bit for bit as ``values``, and the residuals [M] of latencies [R]."""
        latencies = self._latencies(ttft, e2e)
        loss = 0.0
        residuals = []
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
            for part in self._parts:
                r = self._residuals(part, latencies)
                loss += float(np.mean(r * r)) * part.share
                residuals.append(r * _root(part))
        joined = np.concatenate(residuals)
        # a NaN makes the sum NaN; one sum is quicker than a test of each
        if not np.isfinite(loss + ttft.sum() + e2e.sum()):
            return np.inf, np.full_like(joined, np.inf)
        return loss, joined

    def jacobian(
        self, ttft: FloatArray, e2e: FloatArray, ttft_jac: FloatArray, e2e_jac: FloatArray
    ) -> FloatArray:
        """Return the derivatives [M, P] of the residuals, from those of the latencies [R, P]."""
        latencies = self._latencies(ttft, e2e)
        order = self._order(e2e)
        rows = {"ttft": ttft_jac, "e2e": e2e_jac if order is None else e2e_jac[order]}
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
            return np.concatenate([self._part_jac(part, latencies, rows) for part in self._parts])

    def _part_jac(self, part: _Part, latencies: Latencies, rows: Latencies) -> FloatArray:
        simulated = part.simulated(latencies)
        if part.divisor is None:
            jac = rows[part.term.target][part.requests]
        else:
            jac = (rows["e2e"] - rows["ttft"])[part.requests] / part.divisor[:, np.newaxis]
        value = part.statistic(simulated)
        e = self._error.value(value, part.measured)
        slope = self._rho.slope(e, self._scale) * self._error.slope(value, part.measured)
        return part.statistic_jac(simulated, jac) * (slope * _root(part))[:, np.newaxis]

    def _residuals(self, part: _Part, latencies: Latencies) -> FloatArray:
        """Return sign(e) √rho(e) [..., n] for the errors e of a part."""
        value = part.statistic(part.simulated(latencies))
        return self._rho.root(self._error.value(value, part.measured), self._scale)

    def _latencies(self, ttft: FloatArray, e2e: FloatArray) -> Latencies:
        order = self._order(e2e)
        paired = e2e if order is None else np.take_along_axis(e2e, order, axis=-1)
        return {"ttft": ttft, "e2e": paired}

    def _order(self, e2e: FloatArray) -> IndexArray | None:
        if not self._unpaired:
            return None
        # stable: equal times stay in request order
        return np.argsort(self._arrival_s + e2e, axis=-1, kind="stable")


def _root(part: _Part) -> float:
    return float(np.sqrt(part.share / part.measured.size))


def _parts(
    terms: Sequence[Term], measured: Measured, warmup: int, zero_counts: bool
) -> list[_Part]:
    total = sum(term.weight for term in terms)
    warm = np.ones(len(measured.arrival_s), dtype=bool)
    warm[np.argsort(measured.arrival_s, kind="stable")[:warmup]] = False
    parts = []
    for term in terms:
        part = _Part(term, STATISTICS.get(term.statistic), term.weight / total)
        values, divisor = _target(term, measured)
        known = ~np.isnan(values) & warm
        if not zero_counts:
            known &= values > 0
        part.requests = np.flatnonzero(known)
        if not part.requests.size:
            above = "" if zero_counts else " above 0"
            after = f" after a warm-up of {warmup}" if warmup else ""
            raise FitError(
                f"no measured {term.target}{above}{after}: nothing to fit to; leave "
                f"{term.target} out of the loss"
            )
        part.measured = part.statistic(values[part.requests])
        part.divisor = None if divisor is None else divisor[part.requests]
        parts.append(part)
    return parts


def _target(term: Term, measured: Measured) -> tuple[FloatArray, FloatArray | None]:
    """Return a measured latency [R], NaN if missing, and the divisor of TPOT."""
    if term.target != "tpot":
        return getattr(measured, term.target), None
    if measured.output_tokens is None:
        raise FitError("TPOT needs the output tokens of the requests: give them to Measured")
    after_first = measured.output_tokens - 1.0
    divisor = np.where(after_first > 0, after_first, np.nan)  # one token has no time between tokens
    return (measured.e2e - measured.ttft) / divisor, divisor
