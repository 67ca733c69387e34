"""The case of every benchmark: exp1_30rr, and candidates that a fit of it would try."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from pysimbind import COEFFICIENTS, NAMES, Experiment, ServerConfig, load_experiment

FloatArray = npt.NDArray[np.float64]

EXPERIMENT = "exp1_30rr"
_VOCABULARY = 151_936  # tokens that Qwen2.5 knows
_SPREAD = 0.2


@dataclass(frozen=True)
class Candidates:
    """Candidates [N, 19], and the two parts of each as the simulator takes them."""

    vectors: FloatArray
    coeffs: FloatArray
    overheads: FloatArray


def draw_candidates(count: int) -> Candidates:
    """Draw candidates around the baseline, inside the original bounds; the same in every run.

    They all differ: a processor would learn the branches of a single candidate.
    """
    experiment = load_experiment(EXPERIMENT)
    assert experiment.baseline is not None
    space = experiment.bounds["original"]
    scale = np.random.default_rng(20250701).uniform(1 - _SPREAD, 1 + _SPREAD, (count, len(NAMES)))
    vectors = np.clip(experiment.baseline.vector * scale, space.lower, space.upper)
    parts = np.split(vectors, [len(COEFFICIENTS)], axis=1)
    return Candidates(vectors, *map(np.ascontiguousarray, parts))


def settings(config: ServerConfig) -> dict[str, Any]:
    """Return the settings as the oneshot command takes them: 0 means no limit; no horizon."""
    values = config.as_dict()
    if values.pop("horizon_s") is not None:
        raise ValueError("the oneshot command has no horizon")
    return {name: 0 if value is None else value for name, value in values.items()}


def write_case(path: Path, candidate: FloatArray, experiment: Experiment) -> None:
    """Write one candidate and the whole workload as the oneshot command reads it.

    As in the original's files, each token is written out. The original prompts are not published,
    so the ids are random. Random ids share no prefix, so they simulate like the lengths alone.
    """
    rng = np.random.default_rng(1)
    workload = experiment.workload
    columns = (workload.arrival_s.tolist(), workload.input_tokens, workload.output_tokens)
    case = {
        "config": settings(experiment.config),
        "coeffs": candidate[: len(COEFFICIENTS)].tolist(),
        "overheads_us": candidate[len(COEFFICIENTS) :].tolist(),
        "requests": [
            {
                "arrival_s": arrival_s,
                "prompt_token_ids": rng.integers(_VOCABULARY, size=prompt).tolist(),
                "output_token_ids": rng.integers(_VOCABULARY, size=output).tolist(),
            }
            for arrival_s, prompt, output in zip(*columns, strict=True)
        ],
    }
    path.write_text(json.dumps(case), encoding="utf-8")
