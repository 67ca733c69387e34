"""Accuracy of predictions, and the floor that phases set to it.

Oracles: the definitions written with ``statistics`` and plain loops, and ``numpy.quantile`` and
scipy's ``pearsonr``.
"""

from __future__ import annotations

import itertools
import json
import math
import statistics
from typing import Any

import numpy as np
import pytest
from scipy.stats import pearsonr

from pysimbind import Experiment, InputError, ServerConfig, Simulator, Workload, load_experiment
from pysimbind.accuracy import (
    Accuracy,
    PhaseFloor,
    Row,
    accuracy,
    format_table,
    phase_floor,
    pooled,
)

from .facts import facts

REQUESTS = 40
NAN = float("nan")


def made_up(seed: int) -> tuple[Experiment, np.ndarray, np.ndarray]:
    """Return a measured run with gaps, and a prediction with others."""
    rng = np.random.default_rng(seed)
    tokens = rng.integers(2, 50, REQUESTS)
    tokens[7] = 1
    ttft = rng.uniform(0.02, 0.2, REQUESTS)
    e2e = ttft + 0.01 * (tokens - 1)
    predicted = ttft * rng.uniform(0.8, 1.3, REQUESTS), e2e * rng.uniform(0.9, 1.2, REQUESTS)
    ttft[3] = e2e[3] = e2e[5] = NAN
    ttft[4] = 0.0
    predicted[1][9] = NAN
    workload = Workload(np.arange(REQUESTS) / 10, np.full(REQUESTS, 100), tokens)
    return Experiment(f"run {seed}", workload, ServerConfig(), ttft, e2e), *predicted


def pairs(name: str, run: tuple[Experiment, np.ndarray, np.ndarray]) -> list[tuple[float, float]]:
    """Return (measured, predicted) where both are there."""
    experiment, ttft, e2e = run
    found = []
    for i, tokens in enumerate(experiment.workload.output_tokens.tolist()):
        m = {"ttft": float(experiment.ttft[i]), "e2e": float(experiment.e2e[i])}
        p = {"ttft": float(ttft[i]), "e2e": float(e2e[i])}
        for each in (m, p):
            each["tpot"] = (each["e2e"] - each["ttft"]) / (tokens - 1) if tokens > 1 else NAN
        if m[name] > 0 and not math.isnan(p[name]):
            found.append((m[name], p[name]))
    return found


@pytest.mark.parametrize("name", ["ttft", "e2e", "tpot"])
@pytest.mark.parametrize("seeds", [(1,), (1, 2, 3)])
def test_errors_are_what_their_definitions_say(name: str, seeds: tuple[int, ...]) -> None:
    runs = [made_up(seed) for seed in seeds]
    errors = getattr(pooled(runs), name)
    both = [pair for run in runs for pair in pairs(name, run)]
    m, p = (list(column) for column in zip(*both, strict=True))
    assert errors.requests == len(both)
    assert errors.mape == pytest.approx(100 * statistics.fmean(abs(b / a - 1) for a, b in both))
    mean = statistics.fmean(p) / statistics.fmean(m)
    assert errors.mean == pytest.approx(100 * (mean - 1))
    for label, quantile in (("p50", 0.5), ("p90", 0.9), ("p99", 0.99)):
        expected = np.quantile(p, quantile) / np.quantile(m, quantile)
        assert getattr(errors, label) == pytest.approx(100 * (expected - 1))
    assert errors.pearson_r == pytest.approx(pearsonr(m, p).statistic)


def test_requests_left_out_are_counted() -> None:
    found = accuracy(*made_up(1))
    # 3 failed, 4 has a TTFT of 0, 5 no E2E, 9 no predicted E2E; 7 has one token
    assert (found.requests, found.left_out) == (REQUESTS, 4)
    assert found.ttft.requests == REQUESTS - 2
    assert found.e2e.requests == REQUESTS - 3
    assert found == pooled([made_up(1)])
    assert found != accuracy(*made_up(2))


def test_a_perfect_prediction() -> None:
    experiment = load_experiment("vllm-cpu-sync-r3")
    found = accuracy(experiment, experiment.ttft, experiment.e2e)
    assert found.left_out == 0
    for errors in (found.ttft, found.e2e, found.tpot):
        assert (errors.mape, errors.mean, errors.p99) == (0, 0, 0)
        assert errors.pearson_r == pytest.approx(1)


def test_nothing_to_compare() -> None:
    experiment, ttft, _ = made_up(1)
    found = accuracy(experiment, ttft, np.full(REQUESTS, NAN))
    assert math.isnan(found.e2e.mape)
    assert (found.e2e.requests, found.left_out) == (0, REQUESTS)
    constant = accuracy(experiment, np.full(REQUESTS, 0.1), experiment.e2e)
    assert math.isnan(constant.ttft.pearson_r)


def test_saved_and_read_again() -> None:
    experiment, ttft, e2e = made_up(1)
    for found in (accuracy(experiment, ttft, e2e), accuracy(experiment, ttft, NAN * e2e)):
        text = json.dumps(found.as_dict(), allow_nan=False)
        assert Accuracy.from_dict(json.loads(text)) == found
    floor = phase_floor([[1.0, 2.0], [1.5, 2.0]], [[3.0, 4.0], [3.0, 4.4]])
    assert (
        PhaseFloor.from_dict(json.loads(json.dumps(floor.as_dict()))).as_dict() == floor.as_dict()
    )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"tttf": 1}, "'tttf' .. 'ttft'"),
        ({"ttft": 3}, "mape, mean, p50, p90, p99"),
        ({"ttft": {"mape": 1.0}}, "'mean'"),
    ],
)
def test_bad_saved_accuracy(change: dict[str, Any], message: str) -> None:
    good = accuracy(*made_up(1)).as_dict()
    with pytest.raises(InputError, match=facts(message)):
        Accuracy.from_dict(good | change)


def test_bad_saved_number() -> None:
    with pytest.raises(InputError, match=facts("ttft .. 'x'")):
        PhaseFloor.from_dict({"ttft": "x", "e2e": 1.0, "tpot": None})


def test_bad_shapes() -> None:
    experiment, ttft, e2e = made_up(1)
    with pytest.raises(InputError, match=facts("run 1 .. e2e .. (3,) .. 40")):
        accuracy(experiment, ttft, e2e[:3])
    with pytest.raises(InputError, match=facts("no run")):
        pooled([])
    with pytest.raises(InputError, match=facts("2 .. (1, 2)")):
        phase_floor([[1, 2]], [[1, 2]])
    with pytest.raises(InputError, match=facts("output_tokens .. (3,) .. 2")):
        phase_floor([[1, 2], [1, 2]], [[1, 2], [1, 2]], [1, 2, 3])


def test_the_floor_is_the_mean_over_pairs_and_requests() -> None:
    rng = np.random.default_rng(4)
    ttft = rng.uniform(1, 2, (4, 6))
    e2e = ttft + rng.uniform(1, 2, (4, 6))
    tokens = np.array([1, 2, 3, 4, 5, 6])
    ttft[2, 1] = NAN
    floor = phase_floor(ttft, e2e, tokens)
    tpot = (e2e - ttft) / np.where(tokens > 1, tokens - 1.0, NAN)
    for found, replicas in ((floor.ttft, ttft), (floor.e2e, e2e), (floor.tpot, tpot)):
        spreads = [
            100 * abs(a - b) / ((a + b) / 2)
            for column in replicas.T
            for a, b in itertools.combinations(column.tolist(), 2)
            if not math.isnan(a + b)
        ]
        assert found == pytest.approx(statistics.fmean(spreads))
    assert math.isnan(phase_floor(ttft, e2e).tpot)


def test_the_floor_of_replicas_out_of_phase() -> None:
    """A request ahead of all others shifts the phase of the steps; the floor is then not 0."""
    experiment = load_experiment("exp1_30rr")
    workload, baseline = experiment.workload, experiment.baseline
    replicas = []
    for phase_s in (0.0, 0.003, 0.006):
        arrival_s = np.concatenate(([0.0], workload.arrival_s + 0.02 + phase_s))
        shifted = Workload(
            arrival_s,
            np.concatenate(([10], workload.input_tokens)),
            np.concatenate(([300], workload.output_tokens)),
        )
        with Simulator(shifted, experiment.config) as simulator:
            run = simulator.run(baseline)
        replicas.append((run.ttft[1:], run.e2e[1:]))
    ttft, e2e = (np.array(column) for column in zip(*replicas, strict=True))
    floor = phase_floor(ttft, e2e, workload.output_tokens)
    assert 1 < floor.ttft < 30
    assert floor.e2e < floor.ttft
    assert phase_floor(ttft[[0, 0]], e2e[[0, 0]]).ttft == 0


def test_the_table() -> None:
    run = made_up(1)
    found = accuracy(*run)
    floor = PhaseFloor(ttft=4.25, e2e=0.5, tpot=NAN)
    rows = [Row("a", found, "training", floor), Row("b", found, "held-out"), Row("pooled", found)]
    lines = [line.split() for line in format_table(rows).splitlines()]
    assert " ".join(lines[0]) == "run part error [%] requests MAPE floor mean p50 p90 p99 r"
    assert len(lines) == 1 + 3 * len(rows)
    ttft, e2e, tpot = lines[1:4]
    requests = str(found.ttft.requests)
    assert ttft[:6] == ["a", "training", "TTFT", requests, f"{found.ttft.mape:.1f}", "4.2"]
    assert e2e[:2] == ["E2E", str(found.e2e.requests)]
    assert f"{found.e2e.mean:+.1f}" == e2e[4]
    assert tpot[3] == "-"
    assert lines[4][:6] == ["b", "held-out", "TTFT", requests, f"{found.ttft.mape:.1f}", "-"]
    assert lines[7][:3] == ["pooled", "-", "TTFT"]
    assert "floor" not in format_table(rows[1:])
    with pytest.raises(InputError, match="no rows"):
        format_table([])
    with pytest.raises(InputError, match=facts("a .. 'heldout' .. 'held-out'")):
        Row("a", found, "heldout")
