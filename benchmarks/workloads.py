"""Workloads of any size, and a server that can serve them."""

from __future__ import annotations

import numpy as np

from pysimbind import NAMES, Experiment, Parameters, ServerConfig, SimResult, Simulator, Workload

RATE_RPS = 60.0
# A decoded token takes 34 us, a prefilled one 10 us: 60 requests/s fill some 180 of 256 seats.
SERVER = Parameters.from_mapping(
    dict.fromkeys(NAMES, 0.0)
    | {
        "intercept": 5e-3,
        "sum_decode_tokens": 3.4e-5,
        "sum_prefill_tokens": 1e-5,
        "schedule_time": 500,
        "update_time": 100,
        "queue_overhead": 1000,
        "vllm_overhead": 6000,
    }
).vector
_VOCABULARY = 151_936  # tokens that Qwen2.5 knows
_PREFIXES, _PREFIX_TOKENS = (
    4,
    256,
)  # number and tokens of system prompts; each request begins with one


def plain(requests: int, output_scale: int = 1) -> tuple[Workload, ServerConfig]:
    """Return Poisson arrivals; prompts of 16 to 512 tokens, outputs of 8 to 392, times the scale.

    The first requests of a larger workload are not those of a smaller one.
    """
    rng = np.random.default_rng(1)
    arrival_s = _arrivals(rng, requests)
    prompts = rng.integers(16, 513, requests)
    outputs = rng.integers(8, 393, requests)
    return Workload(arrival_s, prompts, output_scale * outputs), ServerConfig()


def head(workload: Workload, requests: int) -> Workload:
    """Return the first requests of a workload without token ids."""
    columns = (workload.arrival_s, workload.input_tokens, workload.output_tokens)
    return Workload(*(column[:requests] for column in columns))


def shared_prefixes(requests: int, *, token_ids: bool = True) -> tuple[Workload, ServerConfig]:
    """Return a workload where every prompt begins with one of 4 system prompts of 256 tokens.

    Without token ids it has the same lengths, but no two prompts share tokens. The pool never runs
    out, so only the prefix cache makes a difference.
    """
    rng = np.random.default_rng(2)
    arrival_s = _arrivals(rng, requests)
    prefixes = rng.integers(_VOCABULARY, size=(_PREFIXES, _PREFIX_TOKENS), dtype=np.int32)
    tails = rng.integers(16, 257, requests)
    outputs = rng.integers(8, 393, requests)
    ids = None
    if token_ids:
        ids = [
            np.concatenate([prefixes[which], rng.integers(_VOCABULARY, size=tail, dtype=np.int32)])
            for which, tail in zip(rng.integers(_PREFIXES, size=requests), tails, strict=True)
        ]
    workload = Workload(arrival_s, _PREFIX_TOKENS + tails, outputs, prompt_token_ids=ids)
    return workload, ServerConfig(num_gpu_blocks=100_000)


def starved(requests: int, *, token_ids: bool = False) -> tuple[Workload, ServerConfig]:
    """Return long outputs (256 to 1024 tokens), and KV blocks for about forty of them at a time.

    Requests arrive faster than the server can serve them, so it is always full and preempts. With
    token ids, every prompt begins with one of 4 system prompts of 128 tokens, or with the part that
    fits in half of the prompt.
    """
    rng = np.random.default_rng(3)
    arrival_s = _arrivals(rng, requests)
    prompts = rng.integers(16, 513, requests)
    outputs = rng.integers(256, 1025, requests)
    ids = _short_prefixes(rng, prompts) if token_ids else None
    workload = Workload(arrival_s, prompts, outputs, prompt_token_ids=ids)
    return workload, ServerConfig(num_gpu_blocks=2000)


def starved_of_mixed_lengths(requests: int) -> tuple[Workload, ServerConfig]:
    """Return the rate and lengths of the original experiment, and KV blocks for about eighty.

    A third of the outputs have one token, so the batch changes more often than that of ``starved``.
    It equals ``starved`` in ``go_shim/sim/v1_bench_test.go``.
    """
    rng = np.random.default_rng(4)
    arrival_s = 2 * _arrivals(rng, requests)  # 30 requests/s
    prompts = rng.integers(10, 410, requests)
    outputs = np.where(rng.random(requests) < 0.35, 1, rng.integers(10, 800, requests))
    return Workload(arrival_s, prompts, outputs), ServerConfig(num_gpu_blocks=2000)


def noisy_run(requests: int) -> tuple[Experiment, SimResult]:
    """Return the server's result for the plain workload, with 5 % noise and without."""
    workload, config = plain(requests)
    with Simulator(workload, config) as simulator:
        truth = simulator.run(SERVER)
    ttft, e2e = np.exp(np.random.default_rng(5).normal(0, 0.05, (2, requests)))
    return Experiment("plain", workload, config, ttft * truth.ttft, e2e * truth.e2e), truth


def _short_prefixes(rng: np.random.Generator, prompts: np.ndarray) -> list[np.ndarray]:
    prefixes = rng.integers(_VOCABULARY, size=(_PREFIXES, 128), dtype=np.int32)
    ids = [rng.integers(_VOCABULARY, size=tokens, dtype=np.int32) for tokens in prompts]
    for prompt in ids:
        shared = min(128, len(prompt) // 2)
        prompt[:shared] = prefixes[rng.integers(_PREFIXES), :shared]
    return ids


def _arrivals(rng: np.random.Generator, requests: int) -> np.ndarray:
    times = np.cumsum(rng.exponential(1 / RATE_RPS, requests))
    return times - times[0]
