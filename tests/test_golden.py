"""The public API against vectors recorded from the original simulator (not written by us)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pysimbind import Outcome, ServerConfig, Simulator, Workload

SEMANTICS = "blis-2025-07"


def _cases() -> list[Path]:
    root = Path(__file__).resolve().parents[2] / "shared" / "data" / "golden" / SEMANTICS
    return sorted(root.glob("*.json"))


def _spell_out(requests: list[dict[str, Any]], kind: str, unique: Any) -> list[list[int]]:
    """Token id lists; {"len": n} stands for n ids that occur nowhere else in the case."""
    return [
        [next(unique) for _ in range(r[kind]["len"])] if isinstance(r[kind], dict) else r[kind]
        for r in requests
    ]


def _workload(case: dict[str, Any]) -> Workload:
    unique = iter(range(10**6, 2**31))
    requests = case["requests"]
    prompts = _spell_out(requests, "input_tokens", unique)
    outputs = _spell_out(requests, "output_tokens", unique)
    return Workload(
        [r["arrival_us"] / 1e6 for r in requests],
        [len(p) for p in prompts],
        [len(o) for o in outputs],
        prompt_token_ids=prompts,
        output_token_ids=outputs,
        strict=False,
    )


def _config(case: dict[str, Any]) -> ServerConfig:
    given = case["config"]
    return ServerConfig(
        max_num_seqs=given["max_num_seqs"],
        max_num_batched_tokens=given["max_num_batched_tokens"],
        block_size=given["block_size"],
        num_gpu_blocks=given["num_kv_blocks"],
        horizon_s=given["horizon_us"] / 1e6,
        semantics=SEMANTICS,
    )


def _ticks(seconds: np.ndarray) -> list[int | None]:
    return [None if np.isnan(s) else round(s * 1e6) for s in seconds]


@pytest.mark.parametrize("path", _cases() or [None], ids=lambda p: p.stem if p else "none")
def test_golden(path: Path | None) -> None:
    """Every TTFT, E2E, step count and peak KV use equals the recorded one, to the tick."""
    if path is None:
        pytest.skip(f"no golden vectors of {SEMANTICS} beside this checkout")
    case = json.loads(path.read_text())
    expected = case["expected"]
    with Simulator(_workload(case), _config(case)) as simulator:
        result = simulator.run([*case["coeffs"], *case["overheads_us"]])
    assert _ticks(result.ttft) == expected["ttft_us"]
    assert _ticks(result.e2e) == expected["e2e_us"]
    if expected["outcome"] == "hangs":
        assert result.outcome is Outcome.HANG
        return
    assert result.steps == expected["steps"]
    assert result.peak_kv_blocks == expected["peak_kv_blocks"]
    assert (result.outcome is Outcome.NEGATIVE_STEP) == (expected["outcome"] == "negative")
