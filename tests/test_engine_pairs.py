"""A case on which engines differ is reported by its first request, and made small.

The oracle is a planted fault: an engine that tells a wrong E2E of long prompts.
"""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pysimbind import MODELS, ServerConfig, StepModel, Workload

from .conftest import configs, workloads
from .engine_pairs import Found, assert_same, first_difference, run_all

VECTOR = np.r_[np.zeros(14), 0.01, np.zeros(4)]
MODEL = MODELS["quadratic15"]


def with_fault(
    workload: Workload,
    config: ServerConfig,
    vectors: list[np.ndarray],
    model: StepModel,
    engine: str,
) -> Found:
    arrays, values = run_all(workload, config, vectors, model, engine)
    if engine == "auto":
        e2e = arrays["e2e of a run"]
        arrays["e2e of a run"] = np.where(workload.input_tokens >= 7, e2e * 2, e2e)
    return arrays, values


@pytest.mark.slow
def test_the_smallest_case_with_a_fault_is_printed() -> None:
    """One request of 7 prompt tokens, of random workloads of up to 30."""

    @settings(max_examples=50)
    @given(workloads(), configs("vllm-v1"))
    def agree(workload: Workload, config: ServerConfig) -> None:
        assert_same(with_fault, workload, config, [VECTOR], MODEL)

    with pytest.raises(AssertionError) as caught:
        agree()
    report, case = str(caught.value).splitlines()[:2]
    assert report.startswith("request 0: e2e of a run, place 0: ")
    small = json.loads(case)
    assert small["input_tokens"] == [7]
    assert (small["output_tokens"], small["prompt_token_ids"]) == ([1], None)
    assert small["terms"] == list(MODEL.terms)


def test_the_first_request_that_differs_is_named() -> None:
    want: Found = ({"a": np.zeros(3), "rows": np.zeros((3, 2))}, {"steps": 5})
    nan = np.array([0, np.nan, 0.0])
    assert first_difference(want, want) == ""
    assert first_difference(({"a": nan}, {}), ({"a": nan.copy()}, {})) == ""
    got: Found = ({"a": np.zeros(3), "rows": np.zeros((3, 2))}, {"steps": 6})
    assert first_difference(got, want) == "steps: 6, want 5"
    got[0]["a"][2] = 1
    assert first_difference(got, want).startswith("request 2: a, place 0: ")
    got[0]["rows"][1, 1] = 8
    assert first_difference(got, want).startswith("request 1: rows, place 1: ")
    got[0]["a"][0] = -0.0
    assert first_difference(got, want).startswith("request 0: a, place 0: ")


@given(data=st.data())
def test_a_case_is_written_in_full(data: st.DataObject) -> None:
    """What is printed makes the same workload and server again."""
    workload, config = data.draw(workloads(closed=True)), data.draw(configs("vllm-v1"))
    with pytest.raises(AssertionError) as caught:
        assert_same(always_wrong, workload, config, [VECTOR], MODEL)
    case = json.loads(str(caught.value).splitlines()[1])
    names = ("prompt_token_ids", "output_token_ids", "max_concurrency")
    again = Workload(
        *(case[name] for name in ("arrival_s", "input_tokens", "output_tokens")),
        **{name: case[name] for name in names},
        strict=False,
    )
    assert again == workload
    assert ServerConfig(**case["config"]) == config
    assert case["vectors"] == [VECTOR.tolist()]


def always_wrong(
    workload: Workload,
    config: ServerConfig,
    vectors: list[np.ndarray],
    model: StepModel,
    engine: str,
) -> Found:
    return {}, {"engine": engine}
