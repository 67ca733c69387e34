"""Runs of two engines side by side, and a report of the first request on which they differ."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from typing import Any

import numpy as np

from pysimbind import ServerConfig, SimResult, Simulator, StepModel, Workload

BY_REQUEST = ("ttft", "e2e", "sent_s", "scheduled_s", "inter_token_s", "status")
BY_REQUEST += ("cached_tokens", "preemptions", "generated_tokens")
BY_REQUEST += ("first_step", "last_step", "busy_period")
OF_A_RUN = ("steps", "outcome", "peak_kv_blocks")

# What an engine gives of a case: arrays with a row for each request, and values of the whole run.
Found = tuple[dict[str, np.ndarray], dict[str, Any]]
Run = Callable[[Workload, ServerConfig, list[np.ndarray], StepModel, str], Found]


def run_all(
    workload: Workload,
    config: ServerConfig,
    vectors: list[np.ndarray],
    model: StepModel,
    engine: str,
) -> Found:
    """Return all that an engine gives of one candidate, and the latencies of a batch of them."""
    arrays: dict[str, np.ndarray] = {}
    values: dict[str, Any] = {}
    with Simulator(workload, config, model, engine=engine) as simulator:
        batch = simulator.run_batch(vectors)
        _add(arrays, values, "run", simulator.run(vectors[0]))
        for kind in ("exact", "renewal"):
            jacobian = simulator.run_jacobian(vectors[0], kind)
            _add(arrays, values, f"{kind} derivatives", jacobian.result)
            arrays[f"{kind} ttft_jac"] = jacobian.ttft_jac
            arrays[f"{kind} e2e_jac"] = jacobian.e2e_jac
    arrays |= {"ttft of a batch": batch.ttft.T, "e2e of a batch": batch.e2e.T}
    values |= {"steps of a batch": batch.steps.tolist(), "outcomes": batch.outcome.tolist()}
    return arrays, values


def _add(arrays: dict[str, np.ndarray], values: dict[str, Any], of: str, result: SimResult) -> None:
    arrays |= {f"{name} of a {of}": getattr(result, name) for name in BY_REQUEST}
    values |= {f"{name} of a {of}": getattr(result, name) for name in OF_A_RUN}


def first_difference(got: Found, want: Found) -> str:
    """Name the first request on which two engines differ, the field and both values; or nothing."""
    first: tuple[int, str] | None = None
    for name, wanted in want[0].items():
        same = _same_bits(got[0][name], wanted).reshape(len(wanted), -1)
        if not same.all():
            i, j = np.argwhere(~same)[0]
            values = [x.reshape(len(wanted), -1)[i, j] for x in (got[0][name], wanted)]
            text = f"request {i}: {name}, place {j}: {values[0]!r}, want {values[1]!r}"
            first = min(first or (int(i), text), (int(i), text), key=lambda found: found[0])
    if first:
        return first[1]
    for name, value in want[1].items():
        if got[1][name] != value:
            return f"{name}: {got[1][name]!r}, want {value!r}"
    return ""


def _same_bits(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Tell 0 from -0, but take one NaN for another."""
    same: np.ndarray = a == b
    if a.dtype.kind == "f":
        same = same & (np.signbit(a) == np.signbit(b)) | np.isnan(a) & np.isnan(b)
    return same


def case_json(
    workload: Workload, config: ServerConfig, vectors: list[np.ndarray], model: StepModel
) -> str:
    """Write a case in full."""
    case = {
        "arrival_s": workload.arrival_s.tolist(),
        "input_tokens": workload.input_tokens.tolist(),
        "output_tokens": workload.output_tokens.tolist(),
        "max_concurrency": workload.max_concurrency,
        "prompt_token_ids": _rows(workload.prompt_ids),
        "output_token_ids": _rows(workload.output_ids),
        "config": dataclasses.asdict(config),
        "terms": list(model.terms),
        "vectors": [list(map(float, vector)) for vector in vectors],
    }
    return json.dumps(case)


def _rows(ids: tuple[np.ndarray, np.ndarray] | None) -> list[list[int]] | None:
    if ids is None:
        return None
    flat, offsets = ids
    return [row.tolist() for row in np.split(flat, offsets[1:-1])]


def assert_same(
    run: Run,
    workload: Workload,
    config: ServerConfig,
    vectors: list[np.ndarray],
    model: StepModel,
) -> None:
    """Fail where "auto" and the reference engine differ; hypothesis makes the case small."""
    got, want = (run(workload, config, vectors, model, e) for e in ("auto", "reference"))
    found = first_difference(got, want)
    assert not found, f"{found}\n{case_json(workload, config, vectors, model)}"
