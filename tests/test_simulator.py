"""simulate, simulate_batch, Simulator: results, typed outcomes, and every way to misuse them."""

from __future__ import annotations

import pickle
import threading

import numpy as np
import pytest

from pysimbind import (
    COEFFICIENTS,
    OVERHEADS,
    HandleError,
    InputError,
    Outcome,
    ParameterError,
    Parameters,
    ServerConfig,
    Simulator,
    Status,
    Workload,
    WorkloadError,
    load_experiment,
    simulate,
    simulate_batch,
)

from .facts import facts

INTERCEPT = COEFFICIENTS.index("intercept")
BASELINE = load_experiment("exp1_30rr").baseline
assert BASELINE is not None
COEFFS, OVER = np.array(BASELINE.coeffs), np.array(BASELINE.overheads)


def constant_steps(seconds: float) -> np.ndarray:
    """Coefficients of a server whose every step takes the same time."""
    coeffs = np.zeros(len(COEFFICIENTS))
    coeffs[INTERCEPT] = seconds
    return coeffs


def blis(**settings: object) -> ServerConfig:
    return ServerConfig(semantics="blis-2025-07").replace(**settings)


def test_one_request_by_hand() -> None:
    """Three tokens at 10 ms a step with overheads 1, 2, 3, 4 us, reckoned with DESIGN section 4."""
    ttft, e2e = simulate(constant_steps(0.01), [1, 2, 3, 4], Workload([0.5], [20], [3]), blis())
    assert ttft.tolist() == [(10_000 + 4 + 1 + 2) / 1e6]
    assert e2e.tolist() == [(2 * (10_000 + 3 + 1 + 2) + 10_000 + 4 + 1 + 2) / 1e6]


def test_default_is_the_bundled_experiment() -> None:
    """Its baseline scores 0.0040 s2 with requests matched, as the data's own notes say."""
    experiment = load_experiment("exp1_30rr")
    ttft, e2e = simulate(COEFFS, OVER)
    loss = (np.mean((ttft - experiment.ttft) ** 2) + np.mean((e2e - experiment.e2e) ** 2)) / 2
    assert round(loss, 4) == 0.0039 or round(loss, 4) == 0.0040
    explicit = simulate(COEFFS, OVER, experiment.workload, experiment.config)
    assert np.array_equal(explicit.ttft, ttft)


def test_results_are_in_request_order_whatever_finishes_first() -> None:
    """A long request that arrived first keeps its place before a short one."""
    _, e2e = simulate(constant_steps(0.01), [0] * 4, Workload([0, 0.001], [5, 5], [50, 1]), blis())
    assert e2e[0] > 0.4 > e2e[1]


def test_mappings_arrays_and_parameters_agree() -> None:
    """Every way of naming the same candidate gives the same bits."""
    by_name = simulate(dict(zip(COEFFICIENTS, COEFFS, strict=True)), OVER.tolist())
    strided = simulate(np.repeat(COEFFS, 2)[::2], np.asarray(OVER, dtype=np.int64))
    with Simulator() as simulator:
        runs = [
            simulator.run(BASELINE),
            simulator.run(BASELINE.as_dict()),
            simulator.run(BASELINE.vector),
        ]
    for result in (by_name, strided, *runs):
        assert np.array_equal(result.e2e, simulate(COEFFS, OVER).e2e)


def test_results_do_not_share_memory() -> None:
    """A later run leaves an earlier result alone."""
    first = simulate(COEFFS, OVER)
    kept = first.e2e.copy()
    simulate(COEFFS * 2, OVER)
    assert np.array_equal(first.e2e, kept)


@pytest.mark.parametrize("workers", [0, 1, 2, 7])
def test_batch_equals_single_runs(workers: int) -> None:
    """Whatever the number of threads, row i of a batch is the run of candidate i."""
    rng = np.random.default_rng(1)
    coeffs = COEFFS * rng.uniform(0.8, 1.2, (37, COEFFS.size))
    overheads = np.tile(OVER, (37, 1))
    batch = simulate_batch(coeffs, overheads, workers=workers)
    assert batch.ttft.shape == batch.e2e.shape == (37, 100)
    for i, (ttft, e2e) in enumerate(zip(*batch, strict=True)):
        single = simulate(coeffs[i], overheads[i])
        assert np.array_equal(ttft, single.ttft)
        assert np.array_equal(e2e, single.e2e)
        assert (batch.steps[i], batch.outcome[i]) == (single.steps, single.outcome)


def test_a_batch_of_none() -> None:
    """Zero candidates are no error."""
    batch = simulate_batch(np.empty((0, COEFFS.size)), np.empty((0, OVER.size)))
    assert batch.ttft.shape == (0, 100)
    assert len(batch) == 0


def test_a_fit_goes_on_after_bad_step_times() -> None:
    """Negative, overflowing and huge steps are typed outcomes of their own candidate only."""
    steps = [0.01, -0.01, 1e305, 1e7, 0.01]
    coeffs = np.array([constant_steps(s) for s in steps])
    coeffs[2, 0] = 1e305  # the sum overflows to infinity
    workload = Workload([0.0, 0.5], [10, 10], [3, 3])
    batch = simulate_batch(coeffs, np.zeros((5, 4)), workload, blis())
    assert [Outcome(o) for o in batch.outcome] == [
        Outcome.OK,
        Outcome.NEGATIVE_STEP,
        Outcome.NON_FINITE,
        Outcome.NON_FINITE,
        Outcome.OK,
    ]
    assert np.isnan(batch.e2e[2]).all()
    assert np.array_equal(batch.e2e[0], batch.e2e[4])


def test_unfinished_requests_are_nan_with_a_status() -> None:
    """At the horizon one request is done, one runs, one waits for a seat, one has not come."""
    workload = Workload([0, 0.1, 0.11, 5], [10] * 4, [1, 1000, 5, 5])
    config = blis(max_num_seqs=1, horizon_s=1.0)
    result = simulate(constant_steps(0.01), [0] * 4, workload, config)
    assert [Status(s) for s in result.status] == [
        Status.FINISHED,
        Status.RUNNING,
        Status.WAITING,
        Status.NOT_ARRIVED,
    ]
    assert np.isnan(result.e2e).tolist() == [False, True, True, True]
    assert np.isnan(result.ttft).tolist() == [False, False, True, True]
    assert result.outcome is Outcome.HORIZON


def test_stalled_queue_is_unfinished() -> None:
    """The original frees the server from the start of its last step: who waits then is stuck."""
    workload = Workload([0, 0.001], [10, 10], [1, 1])
    result = simulate(constant_steps(0.01), [0] * 4, workload, blis(max_num_seqs=1))
    stuck = simulate(
        constant_steps(0.01),
        [0] * 4,
        Workload([0, 0.001, 0.002], [10] * 3, [2, 1, 1]),
        blis(max_num_seqs=1),
    )
    assert result.outcome is Outcome.OK
    assert stuck.outcome is Outcome.UNFINISHED
    assert Status.WAITING in stuck.status


def test_cached_tokens_are_reported() -> None:
    """A prompt seen before is cached up to its last full block."""
    workload = Workload([0, 1], [40, 40], [2, 2], prompt_token_ids=[range(40), range(40)])
    result = simulate(constant_steps(0.01), [0] * 4, workload, blis(block_size=16))
    assert result.cached_tokens.tolist() == [0, 32]
    off = simulate(
        constant_steps(0.01), [0] * 4, workload, blis(block_size=16, enable_prefix_caching=False)
    )
    assert off.cached_tokens.tolist() == [0, 0]


def test_engines_by_name() -> None:
    """The engine can be demanded, and "auto" leaps on the bundled experiment."""
    experiment = load_experiment("exp1_30rr")
    results = {}
    for engine in ("auto", "leap", "reference"):
        with Simulator(experiment.workload, experiment.config, engine=engine) as simulator:
            results[engine] = simulator.run(BASELINE)
    assert [r.engine for r in results.values()] == ["leap", "leap", "reference"]
    assert np.array_equal(results["leap"].e2e, results["reference"].e2e)
    assert results["leap"].peak_kv_blocks == results["reference"].peak_kv_blocks


def test_leap_engine_on_demand_says_where_it_is_not_exact() -> None:
    """Two arrivals in one tick: the order is the event heap's, so only the reference will do."""
    with (
        Simulator(Workload([0, 0], [5, 5], [2, 2]), blis(), engine="leap") as simulator,
        pytest.raises(InputError, match=facts("leap")),
    ):
        simulator.run(BASELINE)


def test_closed_simulator_is_an_error() -> None:
    """Not a crash; closing twice is harmless."""
    simulator = Simulator()
    simulator.close()
    simulator.close()
    with pytest.raises(HandleError, match="has been closed"):
        simulator.run(BASELINE)
    with pytest.raises(HandleError):
        pickle.dumps(simulator)


def test_pickled_simulator_runs() -> None:
    """A copy opens its own handle."""
    with Simulator() as simulator:
        copy = pickle.loads(pickle.dumps(simulator))
        expected = simulator.run(BASELINE).e2e
    assert np.array_equal(copy.run(BASELINE).e2e, expected)


def test_threads_share_a_simulator() -> None:
    """Eight threads with different candidates each get their own numbers."""
    rng = np.random.default_rng(2)
    candidates = BASELINE.vector * rng.uniform(0.8, 1.2, (8, BASELINE.vector.size))
    got: dict[tuple[int, int], np.ndarray] = {}
    with Simulator() as simulator:
        expected = simulator.run_batch(candidates).e2e

        def work(i: int) -> None:
            for repeat in range(50):
                got[i, repeat] = simulator.run(candidates[i]).e2e

        threads = [threading.Thread(target=work, args=(i,)) for i in range(len(candidates))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len(got) == 8 * 50
    for (i, _), e2e in got.items():
        assert np.array_equal(e2e, expected[i])


@pytest.mark.parametrize(
    ("coeffs", "overheads", "message"),
    [
        (COEFFS[:14], OVER, "15"),
        (COEFFS, OVER[:3], "4"),
        (np.full(COEFFS.size, np.nan), OVER, "sum_decode_tokens"),
        (COEFFS, [0, 0, np.inf, 0], "queue_overhead"),
        ({"sum_decode_token": 1.0}, OVER, "'sum_decode_tokens'"),
        (COEFFS.reshape(3, 5), OVER, "shape"),
        ("fast", OVER, "coefficients .. 'fast'"),
    ],
)
def test_bad_parameters(coeffs: object, overheads: object, message: str) -> None:
    """One line that names the parameter, for arrays that skip Python's checks too."""
    with pytest.raises(ParameterError, match=facts(message)) as caught:
        simulate(coeffs, overheads)  # type: ignore[arg-type]
    assert "\n" not in str(caught.value)


def test_bad_batches() -> None:
    """Shapes, rows that do not pair, and the row and name of a value that is not finite."""
    many = np.tile(COEFFS, (3, 1))
    with pytest.raises(ParameterError, match=facts("(N, 15) .. (15,)")):
        simulate_batch(COEFFS, OVER)
    with pytest.raises(ParameterError, match=facts("3 .. coeffs .. 2 .. overheads")):
        simulate_batch(many, np.tile(OVER, (2, 1)))
    many[1, 4] = np.nan
    with pytest.raises(ParameterError, match=facts("row 1 .. sum_decode_tokenss2 .. nan")):
        simulate_batch(many, np.tile(OVER, (3, 1)))
    with pytest.raises(InputError, match=facts("workers .. -1")):
        simulate_batch(many[:1], OVER[None], workers=-1)


def test_prompt_longer_than_the_kv_pool() -> None:
    """Refused, with the request; admitted to wait for ever where the workload says so."""
    lengths = ([0.0, 1.0], [10, 100], [2, 2])
    with pytest.raises(WorkloadError, match=facts("request 1 .. 100 .. 7 KV blocks")):
        Simulator(Workload(*lengths), blis(num_gpu_blocks=5))
    with Simulator(Workload(*lengths, strict=False), blis(num_gpu_blocks=5)) as simulator:
        assert simulator.run(BASELINE).status.tolist() == [Status.FINISHED, Status.WAITING]


def test_what_is_not_a_workload() -> None:
    """A plain tuple, and an engine that does not exist."""
    with pytest.raises(WorkloadError, match=facts("Workload")):
        Simulator(([0.0], [1], [1]))  # type: ignore[arg-type]
    with pytest.raises(InputError, match=facts("'reference'")):
        Simulator(engine="referenc")


def test_parameters_round_trip() -> None:
    """What run accepts, Parameters.of makes the same of."""
    assert Parameters.of(BASELINE.as_dict()) == BASELINE
    assert len(OVERHEADS) == OVER.size
