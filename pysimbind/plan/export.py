"""Write parameters for other simulators, with notes on what each format cannot express."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

import numpy as np

from .._io.files import dump_json
from ..errors import InputError
from ..parameters import COEFFICIENTS, Parameters
from ..results import Outcome, SimResult, traced
from ..simulator import Simulator
from ..workload import Workload
from .record import Record

_OVERHEAD_FLAGS = {
    "schedule_time": "--schedule-time",
    "update_time": "--update-time",
    "queue_overhead": "--queue-overhead-time",
    "vllm_overhead": "--vllm-overhead-time",
}
_OUTPUTS = 65  # output tokens of the probing requests, which decode for 64 steps


def to_command(record: Record) -> str:
    """Return the original simulator's command line (inference-sim of July 2025), with comments.

    The flags are those that its ``request_rate_sweep.py`` gave to ``simulation_worker run``.
    """
    config, values = record.experiment.config, record.params
    unknown = [n for n in values.model.terms if n not in COEFFICIENTS and values[n] != 0]
    if unknown:
        raise InputError(
            f"{record.source}: the original simulator has no term {unknown[0]!r}: fit with "
            "--model quadratic15 to export its command"
        )
    known = values.as_dict()
    coeffs = ",".join(repr(known.get(name, 0.0)) for name in COEFFICIENTS)
    flags = {
        "--max-num-running-reqs": config.max_num_seqs,
        "--total-kv-blocks": 2**31 - 1 if config.num_gpu_blocks is None else config.num_gpu_blocks,
        "--max-num-scheduled-tokens": config.max_num_batched_tokens,
        "--block-size-in-tokens": config.block_size,
        "--long-prefill-token-threshold": config.long_prefill_token_threshold,
        "--regression-coeffs": coeffs,
        **{flag: int(values[name]) for name, flag in _OVERHEAD_FLAGS.items()},
    }
    remarks = [
        f"parameters: {record.source}",
        "The overheads are cut to whole microseconds: the original takes integers.",
        "Add --requests-file-path FILE (requests with arrival deltas) and --rate, in requests/us.",
        f"Its scheduler is that of blis-2025-07; these parameters go with {config.semantics}.",
        "It has no flags for chunked prefill off, max_model_len, watermark, asynchronous "
        "scheduling, and always caches prefixes.",
    ]
    if config.num_gpu_blocks is None:
        remarks.append("The record's pool is unlimited: 2147483647 blocks stand for that.")
    words = " \\\n".join(f"  {flag} {value}" for flag, value in flags.items())
    return _commented(remarks) + f"./simulation_worker run \\\n{words}\n"


def to_yaml(record: Record) -> str:
    """Return parameters with units, and the server's settings, as YAML."""
    settings = record.experiment.config.as_dict()
    lines = ["params:"]
    params = record.params
    lines += [f"  {n}: {_scalar(v)}  # {_unit(params, n)}" for n, v in params.as_dict().items()]
    lines += ["config:", *(f"  {n}: {_scalar(value)}" for n, value in settings.items())]
    remarks = [f"parameters: {record.source}", *_cannot_say()]
    return _commented(remarks) + "\n".join(lines) + "\n"


def to_json(record: Record) -> str:
    """Return the same as JSON. The comments are in ``notes``, since JSON has none."""
    return (
        dump_json(
            {
                "notes": [f"parameters: {record.source}", *_cannot_say()],
                "params": record.params.as_dict(),
                "model": list(record.params.model.terms),
                "units": {n: _unit(record.params, n) for n in record.params.model.names},
                "config": record.experiment.config.as_dict(),
            }
        )
        + "\n"
    )


def to_llm_d(record: Record) -> str:
    """Return a latency config of llm-d-inference-sim, from the latencies of lone requests.

    Keys and their formulas: ``docs/latency-simulation.md`` of llm-d/llm-d-inference-sim. Prefill
    time is a line through the TTFTs of lone requests with the record's shortest and longest prompt.
    The inter-token latency is that of a lone request. The load factor is how much longer a token
    takes while ``max_num_seqs`` requests decode. Raises ``InputError`` if a time is negative, since
    that is no duration.
    """
    config = record.experiment.config
    short, long = _prompts(record)
    first_s, last_s = (float(_alone(record, length).ttft[0]) for length in (short, long))
    per_token_s = max(0.0, (last_s - first_s) / (long - short))
    overhead_s = max(0.0, first_s - short * per_token_s)
    lone_s = _per_token_s(_alone(record, short))
    for what, seconds in (("TTFT", first_s), ("inter-token latency", lone_s)):
        if not seconds > 0:
            raise InputError(
                f"{record.source}: a lone request has a {what} of {seconds:g} s, no duration"
            )
    crowd_s = _crowded_s(record, lone_s)
    keys = {
        "max-num-seqs": config.max_num_seqs,
        "latency-calculator": "per-token",
        "prefill-overhead": _duration(overhead_s),
        "prefill-time-per-token": _duration(per_token_s),
        "inter-token-latency": _duration(lone_s),
        "time-factor-under-load": f"{max(1.0, crowd_s / lone_s):.4g}",
    }
    remarks = [
        f"parameters: {record.source}",
        f"prefill: the line through lone prompts of {short} and {long} tokens. Terms of higher "
        "order, and other requests of the same step, cannot be said.",
        "inter-token-latency: one request decoding. The factor under load grows linearly to "
        "max-num-seqs requests; the record's need not.",
        "Not said: token budget, chunked prefill, time that prefills take from decoding requests, "
        "and randomness (all -std-dev stay 0).",
        "Durations are Go's; releases that take whole milliseconds need them rounded.",
        "time-to-first-token would replace the prefill line by a constant: left out on purpose.",
    ]
    return _commented(remarks) + "".join(f"{key}: {value}\n" for key, value in keys.items())


FORMATS: Mapping[str, Callable[[Record], str]] = MappingProxyType(
    {"command": to_command, "yaml": to_yaml, "json": to_json, "llm-d": to_llm_d}
)
"""The formats by name."""


def _cannot_say() -> list[str]:
    return [
        "Left out: the loss, the bounds, the history and the measured run, which a saved fit has."
    ]


def _unit(params: Parameters, name: str) -> str:
    return "us" if params.model.unit(name) == "us" else "s per unit of its feature"


def _scalar(value: object) -> str:
    """Return a YAML scalar. YAML 1.1 reads 1e-05, without a point, as text."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    mantissa, e, exponent = str(value).partition("e")
    if isinstance(value, float) and e and "." not in mantissa:
        return f"{mantissa}.0e{exponent}"
    return str(value)


def _commented(remarks: list[str]) -> str:
    return "".join(f"# {remark}\n" for remark in remarks)


def _duration(seconds: float) -> str:
    """Return a Go duration in whole nanoseconds, Go's finest unit."""
    return f"{round(seconds * 1e9)}ns"


def _prompts(record: Record) -> tuple[int, int]:
    lengths = record.experiment.workload.input_tokens
    short = max(1, int(lengths.min()))
    return short, max(short + 1, int(lengths.max()))


def _alone(record: Record, input_tokens: int) -> SimResult:
    return _run(record, Workload([0.0], [input_tokens], [_OUTPUTS]))


def _per_token_s(result: SimResult) -> float:
    return float((result.e2e - result.ttft)[0] / (_OUTPUTS - 1))


def _crowded_s(record: Record, lone_s: float) -> float:
    """Return the time between steps that decode for ``max_num_seqs`` requests.

    The requests arrive one lone step apart: hundreds of prompts in one step are far from the data
    that parameters are fitted to.
    """
    count = record.experiment.config.max_num_seqs
    workload = Workload(
        np.arange(count) * lone_s, np.ones(count, np.int64), np.full(count, count + _OUTPUTS)
    )
    steps = traced(_run(record, workload))
    full = steps.decode_tokens == steps.decode_tokens.max()
    full &= steps.prefill_tokens == 0
    return float(np.median(np.diff(steps.start_s)[full[:-1] & full[1:]]))


def _run(record: Record, workload: Workload) -> SimResult:
    given = record.experiment.config
    config = given.replace(horizon_s=None, num_gpu_blocks=None, max_model_len=None)
    with Simulator(workload, config, record.params.model) as simulator:
        result = simulator.run(record.params, trace=True)
    if result.outcome is not Outcome.OK:
        raise InputError(
            f"{record.source}: {len(workload)} requests end as {result.outcome.name}: these "
            "parameters make no latency config"
        )
    return result
