"""A first guess of the parameters from the measured latencies alone, without simulation."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..checks.together import mean_count
from ..experiment import Experiment
from ..models import StepModel
from ._search import FloatArray

# A TTFT is at least the time of the request's own prefill. Few requests waited for nothing else.
_UNDISTURBED = 10  # percentile
_NETWORK_US = 1000.0  # to the server and back, with its front end's work


def guess(experiments: Sequence[Experiment], model: StepModel) -> FloatArray:
    """Return parameters [names]: intercept, decoded tokens and prefilled tokens; zeros elsewhere.

    The time between a request's tokens is the length of the steps that made them. It is regressed
    on the mean number of requests that decoded meanwhile. The measurement gives both.
    """
    step_s, decode_s = _decoding(experiments)
    values = {
        "intercept": step_s,
        "sum_decode_tokens": decode_s,
        "sum_prefill_tokens": _prefilling(experiments),
        "vllm_overhead": _NETWORK_US,
    }
    return np.array([values.get(name, 0.0) for name in model.names])


def _decoding(experiments: Sequence[Experiment]) -> tuple[float, float]:
    """Return the length of a step [s] and the time per decoding request [s], both >= 0."""
    from scipy.optimize import nnls  # here: it takes a tenth of a second to import

    parts = [_token_times(experiment) for experiment in experiments]
    companions, tpot = (np.concatenate(part) for part in zip(*parts, strict=True))
    if not tpot.size:
        first = np.concatenate([e.ttft[e.ttft > 0] for e in experiments])
        return (float(first.min()) / 2 if first.size else 0.0), 0.0
    design = np.stack([np.ones_like(companions), companions], axis=1)
    step_s, decode_s = nnls(design / tpot[:, np.newaxis], np.ones_like(tpot))[0]
    return float(step_s), float(decode_s)


def _token_times(experiment: Experiment) -> tuple[FloatArray, FloatArray]:
    """Return how many requests decoded meanwhile, and the TPOT [s], per request of several tokens.

    A request without a TTFT, from a client that does not stream, counts as decoding from its
    arrival.
    """
    output = experiment.workload.output_tokens
    ttft = np.nan_to_num(experiment.ttft)
    known = (experiment.e2e > ttft) & (output > 1)
    if not known.any():
        return np.empty(0), np.empty(0)
    arrival = experiment.workload.arrival_s[known]
    first, last = arrival + ttft[known], arrival + experiment.e2e[known]
    return mean_count(first, last), (last - first) / (output[known] - 1)


def _prefilling(experiments: Sequence[Experiment]) -> float:
    """Return the time per prompt token [s]."""
    ratios = [e.ttft / np.maximum(e.workload.input_tokens, 1) for e in experiments]
    known = np.concatenate([ratio[ratio > 0] for ratio in ratios])
    return float(np.percentile(known, _UNDISTURBED)) if known.size else 0.0
