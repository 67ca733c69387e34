"""Measured runs made up from known parameters: what fits and validations are tested with."""

from __future__ import annotations

import numpy as np

from pysimbind import Experiment, Parameters, ServerConfig, Simulator, Workload, find_model

MODEL = find_model("small")
TRUTH = Parameters.from_mapping(
    {
        "intercept": 6e-3,
        "sum_decode_tokens": 1e-4,
        "sum_prefill_tokens": 2e-5,
        "out": 1e-4,
        "schedule_time": 0,
        "update_time": 0,
        "queue_overhead": 0,
        "vllm_overhead": 4000,
    },
    MODEL,
)


def planted(
    name: str = "planted",
    *,
    seed: int = 0,
    rate_rps: float = 6.0,
    requests: int = 150,
    noise: float = 0.02,
    truth: Parameters = TRUTH,
    config: ServerConfig | None = None,
) -> Experiment:
    """Return a run of ``truth`` with mixed lengths and lognormal noise on its latencies."""
    rng = np.random.default_rng(seed)
    workload = Workload(
        np.cumsum(rng.exponential(1 / rate_rps, requests)),
        rng.integers(20, 800, requests),
        rng.integers(2, 200, requests),
    )
    config = ServerConfig() if config is None else config
    with Simulator(workload, config, truth.model) as simulator:
        run = simulator.run(truth)
    errors = np.exp(noise * rng.standard_normal((2, requests)))
    ttft = run.ttft * errors[0]
    return Experiment(name, workload, config, ttft, np.maximum(run.e2e * errors[1], ttft))
