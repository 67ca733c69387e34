"""Step-time models.

Oracles: the quantities of each step reckoned by hand, the names of the original experiment, and for
the aliases, simulations that must not change.
"""

from __future__ import annotations

import pickle

import numpy as np
import pytest

from pysimbind import (
    MODELS,
    OVERHEADS,
    TERMS,
    Parameters,
    ServerConfig,
    SimResult,
    Simulator,
    Workload,
    find_model,
)
from pysimbind.errors import ParameterError

from .facts import facts

LISTS = ["quadratic15", "small", "extended", "D,P,ctx,out", "1,N,mixed,prompt"]


def run(
    workload: Workload,
    config: ServerConfig | None = None,
    overheads: tuple[float, ...] = (0, 0, 0, 0),
    **coeffs: float,
) -> SimResult:
    """Simulate a model of just these terms, with a trace."""
    model = ",".join(coeffs)
    with Simulator(workload, config or ServerConfig(), model) as simulator:
        return simulator.run([*coeffs.values(), *overheads], trace=True)


def test_presets() -> None:
    """As DESIGN section 9 and the original experiment list them."""
    small, extended = MODELS["small"], MODELS["extended"]
    assert small.terms == ("intercept", "sum_decode_tokens", "sum_prefill_tokens", "out")
    assert extended.terms[:5] == (*small.terms[:3], "ctx", "attn")
    assert extended.terms == find_model("1,D,P,ctx,attn,DP,PP,hinge,mixed,DD,N,out").terms
    assert MODELS["quadratic15"].terms == tuple(term.name for term in TERMS)[:15]
    for name, model in MODELS.items():
        assert find_model(name) is model
        assert str(model) == model.name == name
        assert model.names == model.terms + OVERHEADS


def test_names_of_terms_are_unambiguous() -> None:
    words = [word for term in TERMS for word in (term.name, *term.words)]
    assert len(set(words)) == len(words)
    assert [term.name for term in TERMS if term.request_side] == ["out", "prompt"]


def test_own_lists() -> None:
    """Texts and sequences; short words; the order given; a name that reads back."""
    model = find_model("out, intercept ,D2,ctx")
    assert model.terms == ("out", "intercept", "sum_decode_tokenss2", "ctx")
    assert (
        model
        == find_model(["out", "1", "DD", "ctx"])
        == find_model(model)
        == find_model(model.name)
    )
    assert len({model, find_model(model.name), find_model("ctx")}) == 2
    assert pickle.loads(pickle.dumps(model)) == model
    assert find_model("1,D,P,out") is MODELS["small"]
    assert pickle.loads(pickle.dumps(MODELS["small"])) is MODELS["small"]


def test_places_and_units() -> None:
    model = find_model("D,out")
    assert [model.index(name) for name in model.names] == list(range(6))
    assert [model.unit(name) for name in model.names] == ["s", "s", "us", "us", "us", "us"]
    with pytest.raises(ParameterError, match=facts("'vlm_overhead' .. 'vllm_overhead'")):
        model.unit("vlm_overhead")


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("extnded", "'extnded' .. 'extended'"),
        ("intercept,ctxx", "'ctxx' .. 'ctx'"),
        ("1,D,sum_decode_tokens", "'sum_decode_tokens' .. twice"),
        ("1,,D", "term ''"),
        ("", "quadratic15, small, extended"),
        ([], "term"),
        (["1", 2], "term 2"),
        (15, "int"),
    ],
)
def test_bad_models(spec: object, message: str) -> None:
    with pytest.raises(ParameterError, match=facts(message)):
        find_model(spec)  # type: ignore[arg-type]
    with pytest.raises(ParameterError, match=facts(message)):
        Simulator(model=spec)  # type: ignore[arg-type]


def test_quantities_by_hand() -> None:
    """Prompts of 5 and 3 in chunks of 4: contexts and pairs of attention, step by step."""
    workload = Workload([0.0, 0.0], [5, 3], [3, 2])
    trace = run(workload, ServerConfig(max_num_batched_tokens=4), intercept=0.01).trace
    assert trace is not None
    # first: 4 of 5. Second: its last, and 3 of the other. Third: both decode. Fourth: one does.
    assert trace.prefill_tokens.tolist() == [4, 4, 0, 0]
    assert trace.decode_tokens.tolist() == [0, 0, 2, 1]
    assert trace.attention_pairs.tolist() == [1 + 2 + 3 + 4, 5 + (1 + 2 + 3), 0, 0]
    assert trace.context_tokens.tolist() == [0, 0, 5 + 3, 6]


def test_cached_tokens_are_attended_to() -> None:
    """A prompt of 10 whose first 8 are cached: the chunk of 2 sees 9 and 10 keys."""
    ids = list(range(10))
    workload = Workload([0.0, 1.0], [10, 10], [1, 1], prompt_token_ids=[ids, ids])
    trace = run(workload, ServerConfig(block_size=4), intercept=0.01).trace
    assert trace is not None
    assert trace.attention_pairs.tolist() == [55, 9 + 10]


def test_recomputed_tokens_are_prefill() -> None:
    """Two for a pool of 6 blocks of 4: the second is preempted, and waits for the first to end.

    Its prompt of 8 and the tokens that it had been given are then one chunk.
    """
    workload = Workload([0.0, 0.0], [8, 8], [8, 8])
    config = ServerConfig(block_size=4, num_gpu_blocks=7, enable_prefix_caching=False)
    result = run(workload, config, intercept=0.01)
    trace = result.trace
    assert trace is not None
    assert result.preemptions.tolist() == [0, 1]
    again = int(np.flatnonzero(trace.prefill_tokens)[-1])
    n = int(trace.prefill_tokens[again])
    assert n > 8
    assert trace.attention_pairs[again] == n * (n + 1) // 2
    assert trace.context_tokens[again + 1] == n


@pytest.mark.parametrize("semantics", ["vllm-v1", "vllm-v1-0.9.1", "blis-2025-07"])
@pytest.mark.parametrize(
    ("term", "first", "later"),
    [
        # the first step prefills 300 tokens of one request, the next prefills 2 of another and
        # decodes, with a context of 300; then both decode, with 301 and 2, 302 and 3
        ("ctx", 0, [300, 303, 305]),
        ("attn", 45150, [3, 0, 0]),
        ("hinge", 44, [0, 0, 0]),
        ("mixed", 0, [1, 0, 0]),
    ],
)
def test_step_terms_by_hand(semantics: str, term: str, first: int, later: list[int]) -> None:
    workload = Workload([0.0, 0.005], [300, 2], [4, 3])
    config = ServerConfig(semantics=semantics)
    result = run(workload, config, **{"intercept": 0.01, term: 1e-6})
    steps = 0.01 + 1e-6 * np.array([first, *later])
    ends = steps.cumsum()
    np.testing.assert_allclose(result.ttft, [ends[0], ends[1] - 0.005], rtol=1e-12)
    np.testing.assert_allclose(result.e2e, [ends[3], ends[3] - 0.005], rtol=1e-12)
    trace = result.trace
    assert trace is not None
    np.testing.assert_allclose(trace.duration_s, steps, rtol=1e-12)


@pytest.mark.parametrize("semantics", ["vllm-v1", "blis-2025-07"])
def test_request_side_terms_by_hand(semantics: str) -> None:
    """They delay the client by its own tokens, and nobody else."""
    workload = Workload([0.0, 0.005], [300, 2], [4, 3])
    config = ServerConfig(semantics=semantics)
    plain = run(workload, config, intercept=0.01)
    late = run(workload, config, intercept=0.01, out=1e-3, prompt=1e-5)
    np.testing.assert_allclose(late.ttft - plain.ttft, [1e-3 + 3e-3, 1e-3 + 2e-5], rtol=1e-9)
    np.testing.assert_allclose(late.e2e - plain.e2e, [4e-3 + 3e-3, 3e-3 + 2e-5], rtol=1e-9)
    assert late.order_changes(plain) == 0
    assert late.steps == plain.steps


@pytest.mark.parametrize("engine", ["auto", "reference"])
def test_requests_overtake_each_other_in_closed_loop(engine: str) -> None:
    """Two seats: who ends in a later step, but has less to wait for, frees one first."""
    workload = Workload([0.0] * 4, [1, 1, 1, 1], [2, 3, 1, 1], max_concurrency=2)
    with Simulator(workload, ServerConfig(), "1,out", engine=engine) as simulator:
        # ends of steps at 10, 20 and 30 ms; a token costs 15 ms on the way: 20 + 2 x 15 = 50 and
        # 30 + 3 x 15 = 75 ms
        slow = simulator.run([0.01, 0.015, 0, 0, 0, 0])
        assert slow.sent_s.tolist() == pytest.approx([0, 0, 0.05, 0.075])
        # a token saves 15 ms: 20 - 30 and 30 - 45 ms, but not before the steps at 10 and 20 ms
        fast = simulator.run([0.01, -0.015, 0, 0, 0, 0])
        assert fast.sent_s.tolist() == pytest.approx([0, 0, 0.01, 0.02])
    workload = Workload([0.0] * 3, [1000, 1, 1], [2, 3, 1], max_concurrency=2)
    with Simulator(workload, ServerConfig(), "1,prompt", engine=engine) as simulator:
        # 20 ms + 1 s for the long prompt, 30 ms + 1 ms for the short one, which is taken
        assert simulator.run([0.01, 0.001, 0, 0, 0, 0]).sent_s[2] == pytest.approx(0.031)


def test_delays_beyond_reason_are_typed_outcomes() -> None:
    workload = Workload([0.0], [10], [3])
    for semantics in ("vllm-v1", "blis-2025-07"):
        for term in ("ctx", "attn", "out", "prompt"):
            result = run(workload, ServerConfig(semantics=semantics), **{"1": 0.01, term: 1e300})
            assert result.outcome.name == "NON_FINITE"


def busy() -> Workload:
    """Requests of mixed lengths, some of which meet a busy server, in closed loop."""
    rng = np.random.default_rng(11)
    arrivals = np.cumsum(rng.exponential(0.02, 40))
    return Workload(arrivals, rng.integers(1, 400, 40), rng.integers(1, 60, 40), max_concurrency=12)


@pytest.mark.parametrize("spec", LISTS)
def test_aliases_change_no_simulated_time(spec: str) -> None:
    """Moving along an alias leaves every latency; what is left can be told apart.

    The Jacobians of a run with mixed lengths have the rank that the aliases leave, or less where a
    model is rich: but never more.
    """
    model = find_model(spec)
    scale = {"intercept": 1e-2, "sum_decode_tokens": 1e-4, "num_prefills": 1e-3, "out": 1e-5}
    x = np.array([scale.get(name, 1e-9) for name in model.terms] + [500, 80, 1000, 6000.0])
    with Simulator(busy(), ServerConfig(), model) as simulator:
        before = simulator.run(x)
        for alias in model.aliases:
            moved = x.copy()
            for name, change in alias.items():
                moved[model.index(name)] += 50 * change
            after = simulator.run(moved)
            np.testing.assert_allclose(after.ttft, before.ttft, rtol=1e-9)
            np.testing.assert_allclose(after.e2e, before.e2e, rtol=1e-9)
        rows = np.vstack([*simulator.run_jacobian(x, "exact")])
    rank = np.linalg.matrix_rank(rows / np.abs(rows).max(axis=0), tol=1e-9)
    assert rank <= model.identifiable == len(model.names) - len(model.aliases)
    if len(model.terms) <= 5:
        assert rank == model.identifiable


@pytest.mark.parametrize("spec", LISTS)
def test_holding_the_first_name_of_each_alias_leaves_none(spec: str) -> None:
    """Without those columns, no combination of the aliases is left."""
    model = find_model(spec)
    rows = np.zeros((len(model.aliases), len(model.names)))
    for row, alias in zip(rows, model.aliases, strict=True):
        for name, change in alias.items():
            row[model.index(name)] = change
    held = [model.index(next(iter(alias))) for alias in model.aliases]
    assert np.linalg.matrix_rank(rows[:, held]) == len(model.aliases)


@pytest.mark.parametrize("spec", LISTS)
def test_models_travel(spec: str) -> None:
    """A pickled simulator keeps its model; its Jacobian says whose columns it has."""
    with Simulator(busy(), ServerConfig(), spec) as simulator:
        x = Parameters.from_vector(np.full(len(simulator.model.names), 1e-6), spec)
        copy = pickle.loads(pickle.dumps(simulator))
        assert copy.model == simulator.model == find_model(spec)
        np.testing.assert_array_equal(copy.run(x).e2e, simulator.run(x).e2e)
        jacobian = simulator.run_jacobian(x)
        assert jacobian.names == simulator.model.names
        assert jacobian.e2e_jac.shape == (40, len(simulator.model.names))
        np.testing.assert_array_equal(
            simulator.run_batch([x.vector] * 3).e2e, [simulator.run(x).e2e] * 3
        )
        with pytest.raises(ParameterError, match=facts(f"ctx .. {simulator.model.name}")):
            simulator.run(Parameters.from_vector(np.ones(5), "ctx"))
        with pytest.raises(ParameterError, match=facts("shape")):
            simulator.run(np.ones(3))


def test_a_term_of_zero_is_as_good_as_none() -> None:
    """The same bits in every result, from the model that lacks it."""
    small, more = find_model("1,D,P"), find_model("ctx,P,attn,1,out,D,hinge,mixed,prompt")
    x = {"intercept": 0.01, "sum_decode_tokens": 1e-4, "sum_prefill_tokens": 1e-5}
    x |= dict.fromkeys(OVERHEADS, 300.0)
    with Simulator(busy(), model=small) as one, Simulator(busy(), model=more) as other:
        padded = dict.fromkeys(more.names, 0.0) | x
        np.testing.assert_array_equal(one.run(x).e2e, other.run(padded).e2e)
        few, many = one.run_jacobian(x), other.run_jacobian(padded)
    columns = [more.index(name) for name in small.names]
    np.testing.assert_array_equal(few.e2e_jac, many.e2e_jac[:, columns])


def test_engines_agree_with_growing_contexts() -> None:
    rng = np.random.default_rng(5)
    model = MODELS["extended"]
    arrival_s = np.sort(rng.uniform(0, 3, 60))
    workload = Workload(arrival_s, rng.integers(1, 900, 60), rng.integers(1, 200, 60))
    x = np.array(
        [6e-3, 1e-4, 3e-5, 2e-7, 1e-9, 1e-8, 1e-9, 1e-6, 1e-3, 1e-6, 1e-4, 1e-4, 0, 0, 0, 9]
    )
    assert x.size == len(model.names)
    runs = []
    for engine in ("leap", "reference"):
        with Simulator(workload, ServerConfig(), model, engine=engine) as simulator:
            runs.append(simulator.run(x))
    assert runs[0].ttft.tobytes() == runs[1].ttft.tobytes()
    assert runs[0].e2e.tobytes() == runs[1].e2e.tobytes()
