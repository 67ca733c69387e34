"""Predict a server over a grid of request rates and settings, with intervals.

All points use the same replicas of the arrivals: each replica draws gamma gaps from one seed, and
scales them to the rate (common random numbers). So points differ by their settings, not by chance.
An interval is Student's t over the replicas.
"""

from __future__ import annotations

import csv
import io
import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from .._io.files import write_bytes, write_json
from ..config import ServerConfig
from ..errors import InputError, OutputError, WorkloadError
from ..parameters import Parameters
from ..results import Outcome, SimResult, Status
from ..simulator import Simulator
from ..vllm.arrivals import sequential_arrivals
from ..workload import Workload
from .parallel import Progress, in_threads

FloatArray = npt.NDArray[np.float64]

SCHEMA, VERSION = "pysimbind-sweep", 1
CONFIDENCE = 0.95
STATISTICS = ("mean", "p50", "p90", "p99")
LATENCIES = ("ttft", "tpot", "e2e", "queue")
METRICS: tuple[str, ...] = (
    "throughput_rps",
    "output_tokens_per_s",
    *(f"{name}_{statistic}_s" for name in LATENCIES for statistic in STATISTICS),
    "peak_kv_blocks",
    "preemptions",
    "finished",
)
"""The metrics of each point. ``finished`` is the share of requests that finished."""

BROKEN = (Outcome.NEGATIVE_STEP, Outcome.HANG, Outcome.NON_FINITE)
"""The outcomes of runs whose parameters make no sense at that load."""

_GROWTH = 1.2  # a steadily growing queue grows by factors 5/3 and 7/5 from quarter to quarter


@dataclass(frozen=True)
class Point:
    """One point of the grid."""

    rate_rps: float
    """Requests per second."""
    settings: Mapping[str, Any]
    """Changed server settings."""
    prompt_scale: float = 1.0
    """Factor for the prompt lengths."""

    @property
    def label(self) -> str:
        """What differs from the record apart from the rate; ``""`` if nothing does."""
        words = [f"{name} {value}" for name, value in self.settings.items()]
        if self.prompt_scale != 1:
            words.append(f"prompt_scale {self.prompt_scale:g}")
        return ", ".join(words)


@dataclass(frozen=True)
class SweepRow:
    """The metrics of a point, by name of ``METRICS``."""

    point: Point
    """The point."""
    mean: Mapping[str, float]
    """Mean over the replicas; NaN if no run had the metric."""
    low: Mapping[str, float]
    """Lower bound of the interval; NaN for a single replica."""
    high: Mapping[str, float]
    """Upper bound of the interval, as ``low``."""
    saturated: bool
    """Whether, in most replicas, the queue grew until the last arrival or requests were stuck."""
    outcome: Outcome
    """The largest outcome of the replicas. From ``NEGATIVE_STEP`` on, the parameters are not valid
    at this point, and its metrics are useless."""

    def as_dict(self) -> dict[str, Any]:
        """Return the row as columns, with None for unknown values."""
        columns: dict[str, Any] = {"rate_rps": self.point.rate_rps, **self.point.settings}
        columns["prompt_scale"] = self.point.prompt_scale
        for name in METRICS:
            columns[name] = _known(self.mean[name])
            columns[f"{name}_low"] = _known(self.low[name])
            columns[f"{name}_high"] = _known(self.high[name])
        return {**columns, "saturated": self.saturated, "outcome": self.outcome.name.lower()}


def grid(
    rates: Sequence[float],
    settings: Mapping[str, Sequence[Any]] | None = None,
    prompt_scales: Sequence[float] = (1.0,),
) -> list[Point]:
    """Return the points of all combinations. ``settings`` maps server settings to their values."""
    names = list(settings or {})
    values = itertools.product(*(settings or {}).values())
    combined = [dict(zip(names, each, strict=True)) for each in values]
    return [
        Point(float(rate), chosen, float(scale))
        for chosen in combined
        for scale in prompt_scales
        for rate in rates
    ]


def at_rate(workload: Workload, rate_rps: float, *, seed: int, burstiness: float = 1.0) -> Workload:
    """Return the same requests, sent at ``rate_rps`` with arrivals drawn by ``seed``.

    With equal seeds, the gaps at two rates are the same draws, scaled. Raises ``WorkloadError`` for
    a rate that is not a finite number > 0.
    """
    if not 0 < rate_rps < math.inf:
        raise WorkloadError(f"a rate must be a finite number of requests/s > 0, got {rate_rps}")
    arrival_s = sequential_arrivals(len(workload), rate_rps, seed=seed, burstiness=burstiness)
    return Workload(
        arrival_s,
        workload.input_tokens,
        workload.output_tokens,
        prompt_token_ids=_lists(workload.prompt_ids),
        output_token_ids=_lists(workload.output_ids),
        max_concurrency=workload.max_concurrency,
        strict=workload.strict,
    )


def reshape(
    workload: Workload, *, num_requests: int | None = None, prompt_scale: float = 1.0
) -> Workload:
    """Return ``num_requests`` requests, repeating the given ones, with scaled prompts.

    All arrivals are 0: see ``at_rate``. Raises ``WorkloadError`` for values out of range, and for a
    workload with token ids: to repeat or stretch it would change its cache hits.
    """
    if num_requests is None and prompt_scale == 1.0:
        return workload
    if not 0 < prompt_scale < math.inf:
        raise WorkloadError(f"prompt_scale must be a finite number > 0, got {prompt_scale}")
    if num_requests is not None and num_requests < 1:
        raise WorkloadError(f"num_requests must be >= 1, got {num_requests}")
    if workload.prompt_ids is not None:
        raise WorkloadError("a workload with token ids keeps its number and length of prompts")
    count = num_requests or len(workload)
    inputs = np.rint(np.resize(workload.input_tokens, count) * prompt_scale)
    return Workload(
        np.zeros(count),
        np.clip(inputs, 1, 2**26).astype(np.int64),
        np.resize(workload.output_tokens, count),
        max_concurrency=workload.max_concurrency,
        strict=workload.strict,
    )


def sweep(
    params: Parameters,
    workload: Workload,
    config: ServerConfig,
    points: Sequence[Point],
    *,
    replicas: int = 6,
    seed: int = 0,
    burstiness: float = 1.0,
    workers: int = 0,
    progress: Progress | None = None,
) -> list[SweepRow]:
    """Simulate every point with ``replicas`` draws of the arrivals; one row each, in order.

    Replica k draws with ``seed + k``. ``workers``: threads (0: one per processor); the rows do not
    depend on it. ``progress`` is called with (runs done, of how many) in the caller's thread.
    Raises ``InputError`` for no points or fewer than one replica, and the errors of its parts.
    """
    if not points or replicas < 1 or workers < 0:
        raise InputError(
            "a sweep needs points, replicas >= 1 and workers >= 0, got "
            f"{len(points)} points, {replicas} replicas and {workers} workers"
        )

    def one(item: tuple[Point, int]) -> dict[str, float]:
        point, draw = item
        requests = reshape(workload, prompt_scale=point.prompt_scale)
        sent = at_rate(requests, point.rate_rps, seed=draw, burstiness=burstiness)
        with Simulator(sent, config.replace(**point.settings), params.model) as simulator:
            return measure(sent, simulator.run(params))

    items = list(itertools.product(points, range(seed, seed + replicas)))
    runs = in_threads(one, items, workers, progress)
    return [_row(point, runs[i * replicas : (i + 1) * replicas]) for i, point in enumerate(points)]


def measure(workload: Workload, result: SimResult) -> dict[str, float]:
    """Return the metrics of one run, ``saturated`` as 0 or 1, and the number of ``outcome``.

    Throughput counts from the first sending to the last completion. NaN: no request had the
    latency.
    """
    done = result.status == Status.FINISHED
    end_s = (result.sent_s + result.e2e)[done].max(initial=-np.inf)
    span_s = end_s - workload.arrival_s.min()
    per_s = 1.0 / span_s if span_s > 0 and math.isfinite(span_s) else math.nan
    latencies = (result.ttft, result.inter_token_s, result.e2e, result.queue_time_s)
    found = {
        "throughput_rps": per_s * np.count_nonzero(done),
        "output_tokens_per_s": per_s * float(result.generated_tokens.sum()),
        "peak_kv_blocks": float(result.peak_kv_blocks),
        "preemptions": float(result.preemptions.sum()),
        "finished": float(done.mean()),
        "saturated": float(_saturated(workload, result)),
        "outcome": float(result.outcome),
    }
    for name, seconds in zip(LATENCIES, latencies, strict=True):
        for statistic in STATISTICS:
            found[f"{name}_{statistic}_s"] = latency_statistic(seconds, statistic)
    return found


def latency_statistic(seconds: FloatArray, statistic: str) -> float:
    """Return the mean or a percentile (``p99``) of the known latencies; NaN: none."""
    known = seconds[np.isfinite(seconds)]
    if not known.size:
        return math.nan
    if statistic == "mean":
        return float(known.mean())
    return float(np.percentile(known, float(statistic.removeprefix("p"))))


def interval(values: Sequence[float]) -> tuple[float, float, float]:
    """Return mean, low and high of the 95 % t-interval; bounds NaN for fewer than two values."""
    known = np.array([value for value in values if math.isfinite(value)])
    if not known.size:
        return math.nan, math.nan, math.nan
    mean = float(known.mean())
    if known.size < 2:
        return mean, math.nan, math.nan
    from scipy import stats  # here: it takes half a second to import

    quantile = stats.t.ppf((1 + CONFIDENCE) / 2, known.size - 1)
    half = float(quantile * known.std(ddof=1) / math.sqrt(known.size))
    return mean, mean - half, mean + half


def save_rows(path: str, rows: Sequence[SweepRow], about: Mapping[str, Any]) -> None:
    """Write the table: ``.csv``, or ``.json`` with what it is ``about``; gzip for ``.gz``.

    Raises ``OutputError`` for another ending, or if the file cannot be written.
    """
    check_table(path)
    table = [row.as_dict() for row in rows]
    if Path(path.removesuffix(".gz")).suffix == ".json":
        write_json(path, {"schema": SCHEMA, "version": VERSION, **about, "rows": table})
        return
    text = io.StringIO()
    writer = csv.DictWriter(text, list(table[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(table)
    write_bytes(path, text.getvalue().encode())


def check_table(path: str) -> None:
    """Raise ``OutputError`` unless the name says in which format to write the table."""
    if not path.endswith((".csv", ".json", ".csv.gz", ".json.gz")):
        raise OutputError(f"{path}: in which format? end it with .csv or .json")


def _row(point: Point, runs: Sequence[Mapping[str, float]]) -> SweepRow:
    found = {name: interval([run[name] for run in runs]) for name in METRICS}
    mean, low, high = ({name: each[i] for name, each in found.items()} for i in range(3))
    saturated = float(np.mean([run["saturated"] for run in runs])) > 0.5
    return SweepRow(
        point, mean, low, high, saturated, Outcome(max(int(r["outcome"]) for r in runs))
    )


def _saturated(workload: Workload, result: SimResult) -> bool:
    """Tell whether requests were stuck, or the queue grew from quarter to quarter of the arrivals.

    Requests held back by the client's limit count as part of the queue. A run that broke off counts
    as not saturated.
    """
    if result.outcome is Outcome.UNFINISHED:
        return True
    if result.outcome in BROKEN and not np.all(result.status == Status.FINISHED):
        return False
    come_s = np.sort(workload.arrival_s)
    scheduled_s = np.sort(result.scheduled_s)  # NaN goes last
    waiting = np.arange(1, come_s.size + 1) - np.searchsorted(scheduled_s, come_s, side="right")
    quarters = [float(part.mean()) for part in np.array_split(waiting, 4) if part.size]
    if len(quarters) < 4:
        return False
    _, second, third, last = quarters
    return last >= 1 and last >= _GROWTH * third and third >= _GROWTH * second


def _lists(ids: Any) -> list[Any] | None:
    return None if ids is None else np.split(ids[0], ids[1][1:-1])


def _known(value: float) -> float | None:
    return value if math.isfinite(value) else None
