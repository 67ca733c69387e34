"""The closing table of a simulation, as plain ASCII text."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

from .._io.text import table
from ..experiment import Experiment
from ..results import Outcome, SimResult, Status
from ._scenario import Scenario

FloatArray = npt.NDArray[np.float64]

_QUANTILES = (50, 90, 99)
_OUTCOMES = {
    Outcome.OK: "every request finished",
    Outcome.UNFINISHED: "some requests never finish: they are stuck, or were dropped",
    Outcome.HORIZON: "stopped at the horizon",
    Outcome.NEGATIVE_STEP: "these parameters give a step a negative length",
    Outcome.HANG: "steps would go on for ever without progress",
    Outcome.NON_FINITE: "these parameters give a step no finite length, or one of days",
}


def summary(scenario: Scenario, result: SimResult) -> str:
    """Return the run in numbers, simulated beside measured, and what it rests on."""
    experiment = scenario.experiment
    head = (
        f"{experiment.name}, {experiment.config.semantics}: {experiment.num_requests:,} requests, "
        f"parameters: {scenario.source}"
    )
    lines = [head, *_counts(experiment, result), "", _latencies(experiment, result)]
    caveat = [f"caveat: {experiment.caveat}"] if experiment.caveat else []
    notes = [*caveat, *scenario.notes]
    return "\n".join([*lines, *([""] if notes else []), *notes])


def _counts(experiment: Experiment, result: SimResult) -> Iterable[str]:
    finished = int((result.status == Status.FINISHED).sum())
    yield (
        f"{result.outcome.name}: {_OUTCOMES[result.outcome]} "
        f"({finished:,} of {experiment.num_requests:,} finished)"
    )
    tokens_s = result.sent_s + np.fmax(result.ttft, result.e2e)
    last_s = float(np.max(tokens_s, initial=0, where=np.isfinite(tokens_s)))
    pool = experiment.config.num_gpu_blocks
    of = "" if pool is None else f" of {pool:,}"
    yield (
        f"{result.steps:,} steps, the last token after {last_s:,.3f} s, "
        f"at most {result.peak_kv_blocks:,}{of} KV blocks in use"
    )
    yield (
        f"{int(result.preemptions.sum()):,} preemptions, "
        f"{int(result.cached_tokens.sum()):,} prompt tokens from the prefix cache"
    )


def _latencies(experiment: Experiment, result: SimResult) -> str:
    header = ["[ms]", "", "requests", "mean", *(f"p{q}" for q in _QUANTILES)]
    rows = [
        _row("TTFT", "simulated", result.ttft),
        _row("", "measured", experiment.ttft),
        _row("E2E", "simulated", result.e2e),
        _row("", "measured", experiment.e2e),
        _row("TPOT", "simulated", result.inter_token_s),
        _row("", "measured", _time_per_token(experiment)),
        _row("queue time", "simulated", result.queue_time_s),
    ]
    return table([header, *(row for row in rows if row[1] == "simulated" or row[2] != "0")], (0, 1))


def _row(what: str, which: str, seconds: FloatArray) -> list[str]:
    known = seconds[np.isfinite(seconds)]
    if not known.size:
        return [what, which, "0", *["-"] * (1 + len(_QUANTILES))]
    values = [known.mean(), *np.percentile(known, _QUANTILES)]
    return [what, which, f"{known.size:,}", *(f"{1e3 * value:,.2f}" for value in values)]


def _time_per_token(experiment: Experiment) -> FloatArray:
    """Return the measured mean time between tokens [R]; NaN for requests of fewer than two."""
    outputs = experiment.workload.output_tokens
    gaps = np.where(outputs > 1, outputs - 1.0, np.nan)
    between: FloatArray = (experiment.e2e - experiment.ttft) / gaps
    return between
