"""Compare predicted latencies with measured ones, and with the best agreement possible.

``Errors`` and ``PhaseFloor`` define every number. Errors are in percent of the measured value.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from ._io.text import table
from .errors import InputError, nearest
from .experiment import Experiment
from .losses import STATISTICS, TARGETS

FloatArray = npt.NDArray[np.float64]
Run: TypeAlias = tuple[Experiment, npt.ArrayLike, npt.ArrayLike]
"""A measured experiment with its predicted TTFTs [R] and E2Es [R], in seconds."""

PARTS: tuple[str, ...] = ("training", "held-out")
"""How the fit used a run: to fit the parameters (training), or not (held-out)."""


@dataclass(frozen=True)
class Errors:
    """Errors of one latency over n requests, in percent. m is measured, p is predicted.

    For a mean or a quantile, P is its value over the p, and M its value over the m. Quantiles are
    interpolated linearly. All numbers are NaN if n is 0.
    """

    mape: float
    """Mean absolute percentage error: the mean of 100 |p/m - 1|."""
    mean: float
    """Signed error of the mean: 100 (P/M - 1)."""
    p50: float
    """Signed error of the median: 100 (P/M - 1)."""
    p90: float
    """Signed error of the 90 % quantile: 100 (P/M - 1)."""
    p99: float
    """Signed error of the 99 % quantile: 100 (P/M - 1)."""
    pearson_r: float
    """Correlation of p and m, from -1 to 1; NaN if p or m is constant."""
    requests: int
    """Number of requests compared, n."""

    def as_dict(self) -> dict[str, float | int | None]:
        """Return the numbers by name, with None for NaN."""
        return _numbers_dict(self)


@dataclass(frozen=True)
class Accuracy:
    """Errors of TTFT, E2E and TPOT = (E2E - TTFT) / (output tokens - 1).

    A request counts for a latency if that latency is predicted, and measured above 0.
    """

    ttft: Errors
    """Errors of the time to first token."""
    e2e: Errors
    """Errors of the end-to-end latency."""
    tpot: Errors
    """Errors of the time per output token, over requests with more than one output token."""
    requests: int
    """Number of requests in the workload."""
    left_out: int
    """Number of requests whose TTFT or E2E cannot be compared."""

    def as_dict(self) -> dict[str, Any]:
        """Return JSON values. ``from_dict`` makes an equal accuracy from them."""
        latencies = {name: getattr(self, name).as_dict() for name in TARGETS}
        return {**latencies, "requests": self.requests, "left_out": self.left_out}

    @classmethod
    def from_dict(cls, obj: Mapping[str, Any]) -> Accuracy:
        """Read the values that ``as_dict`` returns. Raises ``InputError`` for anything else."""
        values = _known(obj, cls)
        latencies = {name: _numbers(values[name], Errors) for name in TARGETS}
        counts = {name: values[name] for name in ("requests", "left_out")}
        for name, count in counts.items():
            if isinstance(count, bool) or not isinstance(count, int) or count < 0:
                raise InputError(f"saved accuracy: {name} must be an integer, got {count!r:.40}")
        return cls(**latencies, **counts)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Accuracy):
            return NotImplemented
        return self.as_dict() == other.as_dict()  # in a dict, NaN is None: equal to itself

    __hash__ = None  # type: ignore[assignment]  # no hash of NaN agrees with this equality


@dataclass(frozen=True)
class PhaseFloor:
    """How much replicas differ that differ only in the phase of their arrivals, in percent.

    The phase is where in a step of the engine a request arrives. Each number is the mean, over
    requests and over pairs of replicas a and b, of 200 |a - b| / (a + b). The phase on the real
    server is unknown, so predictions of single requests rarely fall below 0.75 of this floor. A
    number is NaN if nothing can be compared.
    """

    ttft: float
    """Floor of the time to first token."""
    e2e: float
    """Floor of the end-to-end latency."""
    tpot: float
    """Floor of the time per output token."""

    def as_dict(self) -> dict[str, float | int | None]:
        """Return the numbers by name, with None for NaN. ``from_dict`` reads them."""
        return _numbers_dict(self)

    @classmethod
    def from_dict(cls, obj: Mapping[str, Any]) -> PhaseFloor:
        """Read the values that ``as_dict`` returns. Raises ``InputError`` for anything else."""
        floor: PhaseFloor = _numbers(obj, cls)
        return floor


@dataclass(frozen=True)
class Row:
    """One run in ``format_table``. Raises ``InputError`` for an unknown part."""

    name: str
    """Name of the run."""
    accuracy: Accuracy
    """Errors of its predictions."""
    part: str = ""
    """One of ``PARTS``; ``""`` for a row over runs of both parts."""
    floor: PhaseFloor | None = None
    """Its phase floor, if known."""

    def __post_init__(self) -> None:
        if self.part not in ("", *PARTS):
            raise InputError(
                f"{self.name}: unknown part {self.part!r}{nearest(str(self.part), PARTS)} "
                f"(known: {', '.join(PARTS)})"
            )

    def as_dict(self) -> dict[str, Any]:
        """Return JSON values. ``from_dict`` makes an equal row from them."""
        floor = None if self.floor is None else self.floor.as_dict()
        return {"run": self.name, "part": self.part, **self.accuracy.as_dict(), "floor": floor}

    @classmethod
    def from_dict(cls, obj: Mapping[str, Any]) -> Row:
        """Read the values that ``as_dict`` returns. Raises ``InputError`` for anything else."""
        for key in ("run", "part", "floor"):
            if not isinstance(obj, Mapping) or key not in obj:
                raise InputError(f"saved accuracy: key {key!r} is missing")
        rest = {key: obj[key] for key in obj if key not in ("run", "part", "floor")}
        floor = None if obj["floor"] is None else PhaseFloor.from_dict(obj["floor"])
        return cls(str(obj["run"]), Accuracy.from_dict(rest), obj["part"], floor)


def accuracy(measured: Experiment, ttft: npt.ArrayLike, e2e: npt.ArrayLike) -> Accuracy:
    """Return the errors of predicted TTFTs [R] and E2Es [R], in seconds; NaN: no prediction.

    A measured latency of NaN or 0 counts as missing. Raises ``InputError`` for a wrong shape.
    """
    return pooled([(measured, ttft, e2e)])


def pooled(runs: Iterable[Run]) -> Accuracy:
    """Return the errors over the requests of all runs together; all requests weigh the same.

    Raises ``InputError`` if there is no run, or predictions have a wrong shape.
    """
    pairs = [_pairs(*run) for run in runs]
    if not pairs:
        raise InputError("no run to judge: give at least one measured run with its prediction")
    joined = {name: np.concatenate([pair[name] for pair in pairs], axis=1) for name in TARGETS}
    known = {name: ~np.isnan(joined[name]).any(axis=0) for name in TARGETS}
    return Accuracy(
        **{name: _errors(*joined[name][:, known[name]]) for name in TARGETS},
        requests=known["e2e"].size,
        left_out=int(np.count_nonzero(~(known["ttft"] & known["e2e"]))),
    )


def phase_floor(
    ttft: npt.ArrayLike, e2e: npt.ArrayLike, output_tokens: npt.ArrayLike | None = None
) -> PhaseFloor:
    """Return how much K replicas differ: TTFTs [K, R] and E2Es [K, R] in seconds, K >= 2.

    The replicas simulate one workload with the same parameters. They differ only in the phase of
    their arrivals. The floor of TPOT needs ``output_tokens`` [R], and is NaN without them. Raises
    ``InputError`` for other shapes.
    """
    first, last = (np.asarray(values, dtype=np.float64) for values in (ttft, e2e))
    if first.ndim != 2 or first.shape != last.shape or len(first) < 2:
        raise InputError(
            "replicas must be two arrays [K, R] with K >= 2, "
            f"got TTFTs {first.shape} and E2Es {last.shape}"
        )
    tpot = np.full(first.shape, np.nan)
    if output_tokens is not None:
        tokens = np.asarray(output_tokens)
        if tokens.shape != first.shape[1:]:
            raise InputError(
                f"output_tokens has shape {tokens.shape} for {first.shape[1]} requests"
            )
        tpot = _tpot(first, last, tokens)
    return PhaseFloor(ttft=_spread(first), e2e=_spread(last), tpot=_spread(tpot))


def format_table(rows: Sequence[Row]) -> str:
    """Return a text table with one line per row and latency. It shows floors that are known.

    Raises ``InputError`` if there are no rows.
    """
    if not rows:
        raise InputError("no rows to print")
    floors = any(row.floor is not None for row in rows)
    header = ["run", "part", "error [%]", "requests", "MAPE", *(["floor"] if floors else [])]
    header += [*STATISTICS, "r"]
    cells = [_cells(row, name, floors) for row in rows for name in TARGETS]
    return table([header, *cells], left=(0, 1, 2))


def _cells(row: Row, latency: str, floors: bool) -> list[str]:
    errors: Errors = getattr(row.accuracy, latency)
    first = latency == TARGETS[0]
    cells = [row.name if first else "", (row.part or "-") if first else "", latency.upper()]
    cells += [f"{errors.requests:,}", _cell(errors.mape, ".1f")]
    if floors:
        cells.append(_cell(math.nan if row.floor is None else getattr(row.floor, latency), ".1f"))
    cells += [_cell(getattr(errors, statistic), "+.1f") for statistic in STATISTICS]
    return [*cells, _cell(errors.pearson_r, ".3f")]


def _cell(value: float, how: str) -> str:
    return format(value, how) if math.isfinite(value) else "-"


def _tpot(ttft: FloatArray, e2e: FloatArray, output_tokens: npt.NDArray[Any]) -> FloatArray:
    after_first = output_tokens - 1.0
    tpot: FloatArray = (e2e - ttft) / np.where(after_first > 0, after_first, np.nan)
    return tpot


def _pairs(measured: Experiment, ttft: npt.ArrayLike, e2e: npt.ArrayLike) -> dict[str, FloatArray]:
    """Return measured and predicted [2, R] for each latency; NaN where either is missing."""
    rows = []
    for name, values in (("ttft", ttft), ("e2e", e2e)):
        predicted = np.asarray(values, dtype=np.float64)
        if predicted.shape != (measured.num_requests,):
            raise InputError(
                f"{measured.name}: predicted {name} has shape {predicted.shape} for "
                f"{measured.num_requests} requests"
            )
        rows.append(np.stack([getattr(measured, name), predicted]))
    first, last = rows
    pairs = {"ttft": first, "e2e": last}
    pairs["tpot"] = _tpot(first, last, measured.workload.output_tokens)
    return {name: _both(pair) for name, pair in pairs.items()}


def _both(pair: FloatArray) -> FloatArray:
    good = (pair[0] > 0) & np.isfinite(pair).all(axis=0)
    return np.where(good, pair, np.nan)


def _errors(measured: FloatArray, predicted: FloatArray) -> Errors:
    if not measured.size:
        nan = math.nan
        return Errors(nan, nan, nan, nan, nan, nan, 0)
    statistics = {
        name: _percent(_statistic(predicted, quantile), _statistic(measured, quantile))
        for name, quantile in STATISTICS.items()
    }
    return Errors(
        mape=float(100 * np.mean(np.abs(predicted / measured - 1))),
        **statistics,
        pearson_r=_pearson(measured, predicted),
        requests=int(measured.size),
    )


def _statistic(values: FloatArray, quantile: float | None) -> float:
    return float(np.mean(values) if quantile is None else np.quantile(values, quantile))


def _percent(predicted: float, measured: float) -> float:
    return 100 * (predicted / measured - 1)


def _pearson(a: FloatArray, b: FloatArray) -> float:
    if not (np.ptp(a) > 0 and np.ptp(b) > 0):
        return math.nan
    return float(np.corrcoef(a, b)[0, 1])


def _spread(replicas: FloatArray) -> float:
    total, count = 0.0, 0
    for a, b in itertools.combinations(replicas, 2):
        known = a + b > 0  # False where either is NaN
        total += float(np.sum(200 * np.abs(a - b)[known] / (a + b)[known]))
        count += int(np.count_nonzero(known))
    return total / count if count else math.nan


def _numbers_dict(numbers: Errors | PhaseFloor) -> dict[str, float | int | None]:
    values = dataclasses.asdict(numbers)
    return {name: None if math.isnan(value) else value for name, value in values.items()}


def _numbers(obj: Any, kind: type[Any]) -> Any:
    values = _known(obj, kind)
    for name, value in values.items():
        if isinstance(value, bool) or not isinstance(value, (int, float, type(None))):
            raise InputError(f"saved accuracy: {name} must be a number or null, got {value!r:.40}")
    return kind(**{name: math.nan if value is None else value for name, value in values.items()})


def _known(obj: Any, kind: type[Any]) -> dict[str, Any]:
    """Return the fields of a saved ``kind``; refuse missing and unknown keys."""
    names = [field.name for field in dataclasses.fields(kind)]
    if not isinstance(obj, Mapping):
        raise InputError(f"saved accuracy: expected a mapping of {', '.join(names)}")
    for key in obj:
        if key not in names:
            raise InputError(f"saved accuracy: unknown key {key!r}{nearest(str(key), names)}")
    missing = [name for name in names if name not in obj]
    if missing:
        raise InputError(f"saved accuracy: key {missing[0]!r} is missing")
    return dict(obj)
