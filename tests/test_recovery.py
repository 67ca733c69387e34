"""Fits of runs whose parameters are known. The oracle: what the planted parameters predict.

Latencies are simulated with planted parameters, and used as they are or with 5 % of noise. A fit to
them must predict the noiseless mean and median E2E within 1 %, of its own runs and of one that it
has not seen. (Single E2Es can't come back that well: which step a request joins is a lottery.)
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import pytest

from pysimbind.config import ServerConfig
from pysimbind.experiment import Experiment
from pysimbind.fit import FitResult, fit
from pysimbind.models import find_model
from pysimbind.parameters import Parameters
from pysimbind.simulator import Simulator
from pysimbind.workload import Workload
from pysimbind.workloads import generate

# Steps of 10 to 30 ms, as of a 14B model on a GPU. The server can do some 34 requests/s of MIXED
# lengths.
FEW = {
    "intercept": 9e-3,
    "sum_decode_tokens": 9e-5,
    "sum_prefill_tokens": 2.5e-5,
    "vllm_overhead": 4000.0,
}
PLANTED: Mapping[str, Mapping[str, float]] = {
    "small": FEW | {"out": 2e-4},
    "quadratic15": FEW
    | {
        "num_prefills": 1e-3,
        "sum_decode_tokensmsumprefill_tokens": 5e-8,
        "sum_prefill_tokenss2": 2e-9,
        "sum_decode_tokenss2": 2e-7,
    },
    "extended": FEW
    | {
        "ctx": 2e-8,
        "attn": 2e-8,
        "sum_decode_tokensmsumprefill_tokens": 3e-8,
        "mixed": 1e-3,
        "out": 1e-4,
    },
}
REQUESTS = 1500  # of each run: fewer leave more to chance than the 1 % asked for
NOISE = 0.05  # standard deviation of the logarithm of each latency
MIXED = ("uniform:low=16,high=1024", "uniform:low=8,high=256")  # prompts and outputs
SHORT = ("uniform:low=16,high=256", "uniform:low=16,high=160")
BETWEEN = ("uniform:low=16,high=640", "uniform:low=16,high=200")


class Load(NamedTuple):
    """What arrives: requests per second, or as many at once where one leaves for one that comes."""

    lengths: tuple[str, str]
    rate_rps: float = 0.0
    in_flight: int | None = None

    def workload(self, seed: int) -> Workload:
        arrivals = f"poisson:rate={self.rate_rps}" if self.in_flight is None else "at-once"
        return generate(
            REQUESTS,
            input_tokens=self.lengths[0],
            output_tokens=self.lengths[1],
            arrivals=arrivals,
            max_concurrency=self.in_flight,
            seed=seed,
        )


class Case(NamedTuple):
    """The loads of the runs that a fit sees, and that of the run that it does not see."""

    seen: tuple[Load, ...]
    unseen: Load
    config: ServerConfig = ServerConfig()


CASES = {
    "light": Case((Load(MIXED, 2.0),), Load(MIXED, 1.5)),
    "busy": Case((Load(MIXED, 15.0),), Load(MIXED, 12.0)),
    "near saturation": Case((Load(MIXED, 22.0),), Load(MIXED, 20.0)),
    "closed loop": Case((Load(MIXED, in_flight=48),), Load(MIXED, in_flight=40)),
    "asynchronous": Case(
        (Load(MIXED, 12.0),), Load(MIXED, 10.0), ServerConfig(async_scheduling=True)
    ),
    "two runs": Case((Load(MIXED, 6.0), Load(SHORT, 25.0)), Load(BETWEEN, 15.0)),
}


def planted(model: str, workload: Workload, config: ServerConfig) -> Experiment:
    """Return the run that the planted parameters give."""
    known = find_model(model)
    truth = Parameters.of(dict.fromkeys(known.names, 0.0) | dict(PLANTED[model]), known)
    with Simulator(workload, config, known) as simulator:
        run = simulator.run(truth)
    return Experiment("planted", workload, config, run.ttft, run.e2e)


def noisy(run: Experiment, rng: np.random.Generator) -> Experiment:
    ttft, e2e = np.exp(rng.normal(0.0, NOISE, (2, run.num_requests)))
    return dataclasses.replace(run, ttft=run.ttft * ttft, e2e=run.e2e * e2e)


def e2e_errors(result: FitResult, truth: Experiment) -> dict[str, float]:
    """Return the errors of the mean and median E2E, in percent."""
    predicted = result.predict(truth).e2e
    return {
        "mean": 100 * (predicted.mean() / truth.e2e.mean() - 1),
        "median": 100 * (np.median(predicted) / np.median(truth.e2e) - 1),
    }


@pytest.mark.parametrize("noise", [False, True], ids=["exact", "noisy"])
@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=[pytest.mark.slow] * (n == "closed loop")) for n in CASES]
)
@pytest.mark.parametrize("model", PLANTED)
def test_predictions_come_back(model: str, name: str, noise: bool) -> None:
    case = CASES[name]
    runs = [planted(model, load.workload(i), case.config) for i, load in enumerate(case.seen)]
    unseen = planted(model, case.unseen.workload(50), case.config)
    rng = np.random.default_rng(1)
    result = fit([noisy(run, rng) for run in runs] if noise else runs, model=model)
    for run in (*runs, unseen):
        errors = e2e_errors(result, run)
        assert max(map(abs, errors.values())) < 1, errors


def test_one_percent_tells_servers_apart() -> None:
    """A server whose steps are 3 % longer is no recovery: the bar is not met by any fit."""
    run = planted("small", CASES["busy"].seen[0].workload(0), ServerConfig())
    result = fit(dataclasses.replace(run, e2e=1.03 * run.e2e), model="small")
    assert min(map(abs, e2e_errors(result, run).values())) > 1
