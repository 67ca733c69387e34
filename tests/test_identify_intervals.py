"""Bootstrap intervals and profiles.

Oracles: a server that is idle when each request comes, whose latencies are linear in the
parameters, so that resamples, intervals and profiles have closed forms; planted parameters.
"""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest
from scipy import optimize, stats

from pysimbind import (
    Experiment,
    FitError,
    Objective,
    ParameterError,
    ServerConfig,
    Simulator,
    Workload,
)
from pysimbind.identify import Prediction, block_bootstrap, identify, profile_likelihood
from pysimbind.models import OVERHEADS, find_model

from .facts import facts, tells
from .test_identify import COLUMNS, MODEL, X, fitted, idle

HELD = {"fixed": OVERHEADS}
LOSS = "relative,ttft,e2e"


def test_each_resample_is_a_weighted_fit() -> None:
    """By numpy's least squares on the drawn rows: a linear model is fitted by one step."""
    with Objective(idle(64, 1), MODEL, LOSS) as objective:
        x = fitted(objective)
        _, r, jac = objective.linearise(x)
        found = block_bootstrap(objective, x, resamples=5, seed=4, **HELD)
    weights = np.random.default_rng(4).multinomial(8, np.full(8, 1 / 8), 5)
    for sample, weight in zip(found.samples, weights, strict=True):
        root = np.sqrt(np.tile(np.repeat(weight, 8), 2))  # TTFTs, then E2Es
        scaled = jac[:, COLUMNS] * X[COLUMNS] * root[:, np.newaxis]
        step = np.linalg.lstsq(scaled, r * root)[0] * X[COLUMNS]
        assert sample[COLUMNS] == pytest.approx(x[COLUMNS] - step, rel=1e-6)
        assert sample[3:].tolist() == x[3:].tolist()


def test_a_ridge_holds_resamples_together() -> None:
    """By least squares with the ridge's rows, centred where the ridged fit is at its optimum."""
    ridge = 0.3 / np.maximum(X, 1e-9) * (X > 0)
    with Objective(idle(64, 1), MODEL, LOSS) as objective:
        _, r, jac = objective.linearise(X)
        found = block_bootstrap(objective, X, resamples=3, seed=4, ridge=ridge, **HELD)
        free = block_bootstrap(objective, X, resamples=3, seed=4, **HELD)
    slope = jac[:, COLUMNS].T @ r  # which the ridge's own slope makes up for at the optimum
    weights = np.random.default_rng(4).multinomial(8, np.full(8, 1 / 8), 3)
    for sample, weight in zip(found.samples, weights, strict=True):
        drawn = jac[:, COLUMNS] * np.tile(np.repeat(weight, 8), 2)[:, np.newaxis]
        curvature = drawn.T @ jac[:, COLUMNS] + np.diag(ridge[COLUMNS] ** 2)
        expected = X[COLUMNS] - np.linalg.solve(curvature, drawn.T @ r - slope)
        assert sample[COLUMNS] == pytest.approx(expected, rel=1e-6)
    assert np.abs(found.samples - X).max() < np.abs(free.samples - X).max()


@pytest.mark.parametrize("loss", ["log,ttft,e2e", "log,ttft,e2e:5,soft_l1:0.05"])
def test_resamples_spread_as_the_standard_errors_say(loss: str) -> None:
    with Objective(idle(900, 1, noise=0.1, repeat=5), MODEL, loss) as objective:
        x = fitted(objective)
        errors = identify(objective, x, **HELD).standard_errors[COLUMNS]
        found = block_bootstrap(objective, x, resamples=1000, **HELD)
    assert found.samples[:, COLUMNS].std(axis=0) == pytest.approx(errors, rel=0.2)
    width = (found.interval[1] - found.interval[0])[COLUMNS]
    assert width == pytest.approx(2 * stats.t.ppf(0.95, 29) * errors, rel=0.25)
    assert found.blocks == 30


def test_intervals_cover_planted_parameters_and_predictions() -> None:
    """90 %, of parameters, and of the median and the 99th percentile of another workload."""
    other = Workload(np.arange(50) * 10.0, np.arange(100, 600, 10), np.full(50, 12))
    predictions = [Prediction(other, statistic=s) for s in ("p50 ttft", "p99 e2e")]
    with Simulator(other, ServerConfig(), MODEL) as simulator:
        run = simulator.run(X)
    truth = [np.quantile(run.ttft, 0.5), np.quantile(run.e2e, 0.99)]
    covered = []
    for seed in range(50):
        with Objective(idle(144, seed, noise=0.1, repeat=4), MODEL, "log,ttft,e2e") as objective:
            x = fitted(objective)
            found = block_bootstrap(objective, x, predictions=predictions, seed=seed, **HELD)
        low, high = np.column_stack((found.interval[:, COLUMNS], found.prediction_interval))
        planted = np.array([*X[COLUMNS], *truth])
        covered.append((low < planted) & (planted < high))
    assert np.mean(covered) == pytest.approx(0.90, abs=0.06)
    assert np.mean(covered, axis=0) == pytest.approx(np.full(5, 0.90), abs=0.12)


def test_what_moves_unseen_has_no_interval() -> None:
    model = find_model("1,D,P,M")
    x = np.array([5e-3, 1e-3, 2e-5, 1e-5, 0, 0, 0, 0])
    with Objective(idle(100, 1, model=model, x=x), model, LOSS) as objective:
        found = block_bootstrap(objective, x, **HELD)
    assert np.isnan(found.interval).all(axis=0).tolist() == [False, False, True, True] + [True] * 4
    # resamples move their sum, by the least change of both in natural sizes
    moves = (found.samples - x)[:, 2:4] / x[2:4] ** 2
    assert moves[:, 0] == pytest.approx(moves[:, 1], rel=1e-4)
    assert np.abs(moves).min() > 0
    assert json.loads(json.dumps(found.as_dict(), allow_nan=False))["blocks"] == 10


def test_resamples_are_the_best_within_bounds() -> None:
    """By scipy's bounded least squares on the drawn rows."""
    box = (X * 0.99, X * 1.005)
    with Objective(idle(64, 1), MODEL, LOSS) as objective:
        _, r, jac = objective.linearise(X)
        found = block_bootstrap(objective, X, bounds=box, resamples=20, seed=4)
    assert (found.samples >= box[0]).all()
    assert (found.samples <= box[1]).all()
    assert (found.interval[0, COLUMNS] >= box[0][COLUMNS]).all()
    rows = jac[:, COLUMNS] * X[COLUMNS]
    weights = np.random.default_rng(4).multinomial(8, np.full(8, 1 / 8), 20)
    bounded = 0
    for sample, weight in zip(found.samples, weights, strict=True):
        root = np.sqrt(np.tile(np.repeat(weight, 8), 2))
        drawn = rows * root[:, np.newaxis]
        slope = drawn.T @ (r * root) - rows.T @ r
        target = -np.linalg.lstsq(drawn.T, slope)[0]
        expected = optimize.lsq_linear(drawn, target, bounds=(-0.01, 0.005), tol=1e-14).x
        assert sample[COLUMNS] / X[COLUMNS] - 1 == pytest.approx(expected, abs=1e-6)
        bounded += np.abs(expected - 0.005).min() < 1e-9
    assert bounded > 5
    # also where most resamples are on one side
    assert (found.interval[0, COLUMNS] <= X[COLUMNS]).all()
    assert (found.interval[1, COLUMNS] >= X[COLUMNS]).all()


def test_intervals_count_what_other_parameters_leave_open() -> None:
    """Decodes in pairs tell I + 2 D well and each badly: intervals are as wide as the errors."""
    rng = np.random.default_rng(1)
    prompts = np.repeat(rng.integers(50, 600, 300), 2)
    outputs = np.where(np.arange(600) % 2, 60, np.repeat(rng.integers(57, 61, 300), 2))
    workload = Workload(np.repeat(np.arange(300) * 10.0, 2), prompts, outputs)
    with Simulator(workload, ServerConfig(), MODEL) as simulator:
        run = simulator.run(X)
    noise = np.exp(0.2 * rng.normal(size=(2, 600)))
    pairs = Experiment("2", workload, ServerConfig(), run.ttft * noise[0], run.e2e * noise[1])
    with Objective(pairs, MODEL, "log,ttft,e2e") as objective:
        x = fitted(objective)
        found = identify(objective, x, **HELD)
        boot = block_bootstrap(objective, x, resamples=500, **HELD)
    assert found.direction_errors.max() > 5 * found.direction_errors.min()
    spread = boot.samples[:, COLUMNS].std(axis=0)
    assert spread == pytest.approx(found.standard_errors[COLUMNS], rel=0.25)


def test_predictions_are_of_the_resamples_and_the_same_for_the_same_seed() -> None:
    experiment = idle(100, 1)
    prediction = Prediction(experiment.workload, experiment.config, "p50 e2e", "next")
    tail = dataclasses.replace(prediction, statistic="p99 ttft")
    with Objective(experiment, MODEL, LOSS) as objective:
        given = {"predictions": [prediction, tail], "resamples": 20} | HELD
        found, again = (block_bootstrap(objective, X, seed=7, **given) for _ in range(2))
        other = block_bootstrap(objective, X, seed=8, **given)
    with Simulator(experiment.workload, experiment.config, MODEL) as simulator:
        truth, first = simulator.run(X), simulator.run(found.samples[0])
    expected = [np.median(truth.e2e), np.quantile(truth.ttft, 0.99)]
    assert found.predicted == pytest.approx(expected)
    assert found.predictions[0, 0] == pytest.approx(np.median(first.e2e))
    assert found.samples.tobytes() == again.samples.tobytes()
    assert found.predictions.tobytes() == again.predictions.tobytes()
    assert found.samples.tobytes() != other.samples.tobytes()
    assert "next p99 ttft [s]" in str(found)


def test_resamples_that_cannot_be_simulated_are_counted() -> None:
    experiment = idle(100, 1, noise=0.3)
    with Simulator(experiment.workload, experiment.config, MODEL) as simulator:
        trace = simulator.run(X, trace=True).trace
    horizon_s = float(trace.start_s[-1])  # half of the resamples are slower than X
    short = Prediction(experiment.workload, ServerConfig(horizon_s=horizon_s), "mean e2e")
    with Objective(experiment, MODEL, LOSS) as objective:
        found = block_bootstrap(objective, X, predictions=[short], **HELD)
    assert 10 < found.failed[0] < 190
    assert f"{found.failed[0]} resamples failed" in str(found)
    assert np.isfinite(found.prediction_interval).all()


def test_runs_can_be_blocks() -> None:
    runs = [idle(20, seed) for seed in range(6)]
    with Objective(runs, MODEL, LOSS) as objective:
        assert block_bootstrap(objective, X, per_run=1, **HELD).blocks == 6
        assert block_bootstrap(objective, X, per_run=5, **HELD).blocks == 30
    with (
        Objective(runs[:3], MODEL, LOSS) as objective,
        pytest.raises(FitError, match=facts("3 blocks")),
    ):
        block_bootstrap(objective, X, per_run=1, **HELD)


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        ({"resamples": 0}, ParameterError, "resamples"),
        ({"confidence": 1.0}, ParameterError, "confidence"),
        ({"per_run": 101}, ParameterError, "per_run .. run 0 .. 100"),
        ({"ridge": [1.0]}, ParameterError, "ridge .. 7"),
    ],
)
def test_bad_arguments_of_the_bootstrap(change: dict, error: type[Exception], words: str) -> None:
    with Objective(idle(100, 1), MODEL) as objective, pytest.raises(error, match=facts(words)):
        block_bootstrap(objective, X, **HELD, **change)


def test_a_loss_of_statistics_has_neither_resamples_nor_profiles() -> None:
    with Objective(idle(100, 1), MODEL, "relative,ttft.p99,e2e") as objective:
        with pytest.raises(FitError, match=facts("means or quantiles .. nothing")):
            block_bootstrap(objective, X, **HELD)
        with pytest.raises(FitError, match="means or quantiles"):
            profile_likelihood(objective, X, "intercept", **HELD)


def test_the_profile_of_a_linear_model_is_that_of_the_standard_error() -> None:
    with Objective(idle(100, 1), MODEL, LOSS) as objective:
        x = fitted(objective)
        least, _, jac = objective.linearise(x)
        found = profile_likelihood(objective, x, "intercept", points=9, **HELD)
        error = identify(objective, x, **HELD).standard_errors[0]
    inverse = np.linalg.inv(jac[:, COLUMNS].T @ jac[:, COLUMNS])
    expected = least + (found.values - x[0]) ** 2 / inverse[0, 0]
    assert found.loss == pytest.approx(expected, rel=1e-9)
    reach = stats.norm.ppf(0.95) * error
    assert found.interval == pytest.approx((x[0] - reach, x[0] + reach), rel=1e-6)
    assert found.roughness == pytest.approx(0, abs=1e-9)
    assert "most of that" not in str(found)
    json.dumps(found.as_dict(), allow_nan=False)


def test_a_profile_is_open_where_the_loss_never_rises() -> None:
    """P and M do the same here: up to what bounds allow, each makes up for the other."""
    model = find_model("1,D,P,M")
    x = np.array([5e-3, 1e-3, 2e-5, 1e-5, 0, 0, 0, 0])
    with Objective(idle(100, 1, model=model, x=x), model, LOSS) as objective:
        x = fitted_pair(objective, x)
        name, grid = "sum_prefill_tokens", np.linspace(0, 6e-5, 25)
        flat = profile_likelihood(objective, x, name, grid=grid, **HELD)
        box = (x * 0, np.full(8, 1.0))
        bounded = profile_likelihood(objective, x, name, grid=grid, bounds=box, **HELD)
    assert flat.interval == (-np.inf, np.inf)
    assert flat.as_dict()["interval"] == [None, None]
    assert tells(str(flat), "6e-05")
    assert bounded.interval[0] == -np.inf
    assert 3e-5 < bounded.interval[1] < 3.5e-5
    assert (bounded.x[:, 3] >= 0).all()


def fitted_pair(objective: Objective, x: np.ndarray) -> np.ndarray:
    """Return the optimum in intercept, D and P, with M as it is."""
    x = x.copy()
    _, r, jac = objective.linearise(x)
    x[:3] -= np.linalg.lstsq(jac[:, :3] * X[:3], r)[0] * X[:3]
    return x


def test_a_rough_loss_widens_the_interval_and_says_so() -> None:
    """Measured on a busy server at which requests came a few milliseconds sooner or later."""
    rng = np.random.default_rng(3)
    workload = Workload(np.arange(300) * 0.05, rng.integers(50, 500, 300), rng.integers(5, 80, 300))
    x = np.array([5e-3, 1e-4, 2e-5, 0, 0, 0, 0])
    came = np.sort(workload.arrival_s + rng.uniform(0, 0.01, 300))
    moved = Workload(came, workload.input_tokens, workload.output_tokens)
    with Simulator(moved, ServerConfig(), MODEL) as simulator:
        run = simulator.run(x)
    busy = dataclasses.replace(idle(300, 1), workload=workload, ttft=run.ttft, e2e=run.e2e)
    with Objective(busy, MODEL, LOSS) as objective:
        found = profile_likelihood(objective, x, "intercept", **HELD)
    assert found.roughness > 0
    assert tells(found, "most of that .. loss")
    assert found.interval[0] < x[0] < found.interval[1]


@pytest.mark.parametrize(
    ("name", "change", "words"),
    [
        ("schedule_time", {}, "'schedule_time'"),
        ("intercep", {}, "'intercept'"),
        ("intercept", {"grid": [2, 1]}, "ascending"),
        ("intercept", {"grid": [2.0, 3.0], "bounds": (X * 0, X * 0 + 1)}, "bounds"),
        ("intercept", {"points": 1}, "points"),
        ("intercept", {"refits": 0}, "refits .. 1"),
        ("intercept", {"confidence": 0}, "confidence"),
    ],
)
def test_bad_arguments_of_a_profile(name: str, change: dict, words: str) -> None:
    with (
        Objective(idle(100, 1), MODEL) as objective,
        pytest.raises(ParameterError, match=facts(words)),
    ):
        profile_likelihood(objective, X, name, **HELD, **change)


def test_a_grid_that_cannot_be_simulated_is_refused() -> None:
    with Objective(idle(100, 1), MODEL) as objective, pytest.raises(FitError, match="on the grid"):
        profile_likelihood(objective, X, "intercept", grid=[-0.2, -0.1], **HELD)
