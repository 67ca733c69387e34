"""The fast engines against the reference engine, on random workloads, servers and candidates."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pysimbind import (
    MODELS,
    OVERHEADS,
    TERMS,
    Outcome,
    ServerConfig,
    Simulator,
    StepModel,
    Workload,
    find_model,
    load_experiment,
)

from .conftest import configs, first_starts_s, workloads
from .engine_pairs import assert_same, run_all

BASELINE = load_experiment("exp1_30rr").baseline
assert BASELINE is not None

# Whole milliseconds make steps meet arrivals; the baseline's signs make negative steps.
candidates = st.one_of(
    st.builds(
        lambda ms, over: np.r_[np.zeros(14), ms / 1e3, over],
        st.integers(0, 20),
        st.lists(st.sampled_from([0, 500, 1000]), min_size=4, max_size=4),
    ),
    st.builds(
        lambda scale: BASELINE.vector * np.array(scale),
        st.lists(st.floats(-0.5, 3), min_size=19, max_size=19),
    ),
)


# Of the order that terms have on servers, absent, or negative.
SCALES = {"intercept": 1e-3, "attn": 1e-7, "mixed": 1e-3, "hinge": 1e-4, "num_prefills": 1e-3}


@st.composite
def models(draw: st.DrawFn) -> tuple[StepModel, list[np.ndarray]]:
    """Draw a list of terms, and candidates of it."""
    terms = draw(st.lists(st.sampled_from([t.name for t in TERMS]), min_size=1, unique=True))
    model = find_model(draw(st.sampled_from([terms, "small", "extended"])))
    units = np.array([SCALES.get(name, 1e-5) for name in model.terms] + [500.0] * len(OVERHEADS))
    factors = st.sampled_from([0, 0.5, 1, 2.7, -0.1])
    row = st.lists(factors, min_size=units.size, max_size=units.size)
    return model, [units * np.array(draw(row)) for _ in range(2)]


def check(
    workload: Workload,
    config: ServerConfig,
    vectors: list[np.ndarray],
    model: StepModel = MODELS["quadratic15"],
) -> None:
    """Same latencies, counts and derivatives to the last bit, whatever "auto" chooses."""
    assert_same(run_all, workload, config, vectors, model)


@pytest.mark.parametrize("semantics", ["blis-2025-07", "vllm-v1", "vllm-v1-0.9.1"])
@given(data=st.data())
def test_engines_agree(semantics: str, data: st.DataObject) -> None:
    closed = semantics != "blis-2025-07"
    workload = data.draw(workloads(closed=closed))
    config = data.draw(configs(semantics))
    check(workload, config, data.draw(st.lists(candidates, min_size=1, max_size=3)))


@pytest.mark.parametrize("semantics", ["blis-2025-07", "vllm-v1", "vllm-v1-0.9.1"])
@given(data=st.data())
def test_engines_agree_on_any_model(semantics: str, data: st.DataObject) -> None:
    workload = data.draw(workloads(closed=semantics != "blis-2025-07"))
    model, vectors = data.draw(models())
    check(workload, data.draw(configs(semantics)), vectors, model)


@pytest.mark.parametrize("semantics", ["blis-2025-07", "vllm-v1", "vllm-v1-0.9.1"])
@given(data=st.data())
def test_a_request_is_scheduled_when_its_first_step_begins(
    semantics: str, data: st.DataObject
) -> None:
    """The oracle is the trace: what any engine tells has the same bits."""
    workload = data.draw(workloads(closed=semantics != "blis-2025-07"))
    config, vector = data.draw(configs(semantics)), data.draw(candidates)
    with Simulator(workload, config) as simulator:
        result = simulator.run(vector, trace=True)
    np.testing.assert_array_equal(result.scheduled_s, first_starts_s(result))
    assert result.trace is not None
    np.testing.assert_array_equal(result.trace.queue_time_s, result.scheduled_s - result.sent_s)


@given(data=st.data())
def test_invariants(data: st.DataObject) -> None:
    """Under vllm-v1: nothing beyond the budget, TTFT <= E2E, clock monotone, tokens conserved."""
    workload = data.draw(workloads(closed=True))
    config = data.draw(configs("vllm-v1"))
    vector = np.abs(data.draw(candidates))
    with Simulator(workload, config) as simulator:
        result = simulator.run(vector, trace=True)
    trace = result.trace
    assert trace is not None
    assert (trace.decode_tokens + trace.prefill_tokens <= config.max_num_batched_tokens).all()
    assert (trace.running <= config.max_num_seqs).all()
    assert (np.diff(trace.start_s) >= -1e-9).all()
    done = result.status == 0
    assert (result.ttft[done] <= result.e2e[done]).all()
    asked = np.maximum(workload.output_tokens, 1)
    if config.max_model_len is not None:
        asked = np.minimum(asked, config.max_model_len - workload.input_tokens)
    assert (result.generated_tokens[done] == asked[done]).all()
    assert result.steps == np.count_nonzero(trace.decode_tokens + trace.prefill_tokens)
    if result.outcome <= Outcome.UNFINISHED:  # or else a batch was composed and never ran
        assert result.preemptions.sum() == trace.preemptions.sum()
    if config.num_gpu_blocks is not None:
        assert (trace.kv_blocks < config.num_gpu_blocks).all()


@given(st.integers(1, 50), st.integers(1, 50), st.floats(1e-4, 0.1), st.floats(1e-4, 0.1))
def test_a_lone_request_is_slower_on_a_slower_server(
    prompt: int, output: int, one: float, more: float
) -> None:
    """E2E grows with the intercept."""
    with Simulator(Workload([0.0], [prompt], [output]), ServerConfig()) as simulator:
        e2e = [
            simulator.run(np.r_[np.zeros(14), intercept, np.zeros(4)]).e2e[0]
            for intercept in (one, one + more)
        ]
    assert e2e[0] < e2e[1]


def test_settings_that_never_bind_change_nothing() -> None:
    """exp1_30rr under a longer threshold and model length: the same bits."""
    experiment = load_experiment("exp1_30rr")
    wider = dataclasses.replace(
        experiment.config, max_model_len=None, long_prefill_token_threshold=0
    )
    e2e = []
    for config in (experiment.config, wider):
        with Simulator(experiment.workload, config) as simulator:
            e2e.append(simulator.run(BASELINE).e2e)
    np.testing.assert_array_equal(*e2e)
