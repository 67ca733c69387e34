"""The leap engine against the reference engine, on random workloads, servers and candidates."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from pysimbind import ServerConfig, Simulator, Workload, load_experiment

BASELINE = load_experiment("exp1_30rr").baseline
assert BASELINE is not None


@st.composite
def workloads(draw: st.DrawFn) -> Workload:
    """Arrivals on a coarse or a fine grid, so that ties with steps and with each other occur."""
    grid_us = draw(st.sampled_from([1, 500, 20_000]))
    gaps = draw(st.lists(st.integers(0, 60), min_size=1, max_size=30))
    arrivals = np.cumsum(gaps) * grid_us / 1e6
    count = st.lists(st.integers(1, 60), min_size=len(gaps), max_size=len(gaps))
    return Workload(arrivals, draw(count), [n - 1 for n in draw(count)], strict=False)


configs = st.builds(
    ServerConfig,
    max_num_seqs=st.sampled_from([1, 2, 8, 256]),
    max_num_batched_tokens=st.sampled_from([16, 64, 2048]),
    block_size=st.sampled_from([1, 16]),
    num_gpu_blocks=st.sampled_from([None, 20, 5000]),
    horizon_s=st.sampled_from([None, 0.3]),
    semantics=st.just("blis-2025-07"),
)

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


@given(workloads(), configs, st.lists(candidates, min_size=1, max_size=4))
def test_engines_agree(workload: Workload, config: ServerConfig, vectors: list[np.ndarray]) -> None:
    """Same latencies, steps, outcome and peak KV use to the last bit, wherever "auto" leaps."""
    with (
        Simulator(workload, config) as auto,
        Simulator(workload, config, engine="reference") as reference,
    ):
        got, want = auto.run_batch(vectors), reference.run_batch(vectors)
        one, other = auto.run(vectors[0]), reference.run(vectors[0])
    np.testing.assert_array_equal(got.ttft, want.ttft)
    np.testing.assert_array_equal(got.e2e, want.e2e)
    np.testing.assert_array_equal(got.steps, want.steps)
    np.testing.assert_array_equal(got.outcome, want.outcome)
    np.testing.assert_array_equal(got.peak_kv_blocks, want.peak_kv_blocks)
    np.testing.assert_array_equal(one.status, other.status)
    np.testing.assert_array_equal(one.cached_tokens, other.cached_tokens)
