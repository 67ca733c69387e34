"""Bootstrap, profiles and advice.

Oracles: linear models, for which intervals, profiles and variances have closed forms; simulated
measurements of known parameters.
"""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest
from scipy import stats

from pysimbind import (
    FitError,
    Objective,
    ParameterError,
    ServerConfig,
    Simulator,
    Workload,
    load_experiment,
)
from pysimbind.identify import (
    Candidate,
    Prediction,
    advise,
    block_bootstrap,
    fit_information,
    format_advice,
    make_candidates,
    profile_likelihood,
    relative_noise,
    time_blocks,
)
from pysimbind.models import find_model

NAMES = ("a", "b")
MODEL = find_model("1,D,P")
X = np.array([5e-3, 1e-4, 2e-5, 0.0, 0.0, 0.0, 2000.0])
FREE = (*MODEL.terms, "vllm_overhead")


class Line:
    """Residuals r0 + J x: everything about it is known."""

    def __init__(self, rows: int = 400, seed: int = 2) -> None:
        rng = np.random.default_rng(seed)
        self.jac = rng.normal(size=(rows, 2))
        self.jac[:, 1] += self.jac[:, 0]
        noise = rng.normal(size=rows)
        self.x = np.array([3.0, 2.0])
        noise -= self.jac @ np.linalg.lstsq(self.jac, noise, rcond=None)[0]
        self.r0 = noise - self.jac @ self.x

    def linearise(self, x: np.ndarray) -> tuple[float, np.ndarray, np.ndarray]:
        r = self.r0 + self.jac @ x
        return float(r @ r), r, self.jac


def test_the_bootstrap_of_independent_residuals_has_the_width_of_the_standard_errors() -> None:
    line = Line()
    loss, r, jac = line.linearise(line.x)
    found = block_bootstrap(
        jac, r, np.arange(400), NAMES, line.x, resamples=2000, confidence=0.9, seed=1
    )
    errors = np.sqrt(np.diag(np.linalg.inv(jac.T @ jac)) * loss / 398)
    width = (found.interval[1] - found.interval[0]) / (2 * stats.norm.ppf(0.95))
    assert width == pytest.approx(errors, rel=0.12)
    assert (found.interval[0] < line.x).all()
    assert (found.interval[1] > line.x).all()


def test_the_bootstrap_of_residuals_that_come_in_blocks_is_wider() -> None:
    """Ten equal copies in a block: standard errors take them for independent, by sqrt(10) wrong."""
    line = Line()
    _, r, jac = line.linearise(line.x)
    copies, block = np.repeat(np.arange(400), 10), np.repeat(np.arange(400), 10)
    one = block_bootstrap(jac, r, np.arange(400), NAMES, line.x, seed=1)
    ten = block_bootstrap(jac[copies], r[copies], block, NAMES, line.x, seed=1)
    assert ten.interval == pytest.approx(one.interval, rel=1e-9)
    assert ten.blocks == 400


def test_the_bootstrap_takes_a_weighted_fit_for_each_resample() -> None:
    """By numpy's least squares on the drawn rows, less the step of the whole."""
    line = Line(rows=30)
    x = line.x + 0.3  # not the optimum
    _, r, jac = line.linearise(x)
    found = block_bootstrap(jac, r, np.arange(30) // 3, NAMES, x, resamples=5, seed=4)
    weights = np.random.default_rng(4).multinomial(10, np.full(10, 0.1), 5)
    whole = np.linalg.lstsq(jac, r, rcond=None)[0]
    for sample, weight in zip(found.samples, weights, strict=True):
        root = np.sqrt(np.repeat(weight, 3))
        step = np.linalg.lstsq(jac * root[:, np.newaxis], r * root, rcond=None)[0]
        assert sample == pytest.approx(x - (step - whole), rel=1e-9)


def test_the_bootstrap_leaves_out_what_is_not_determined_and_keeps_bounds() -> None:
    line = Line()
    _, r, jac = line.linearise(line.x)
    wider = np.column_stack((jac, jac[:, 0]))
    names, x = ("a", "b", "c"), [*line.x, 1.0]
    found = block_bootstrap(
        wider, r, np.arange(400), names, x, bounds=([0.0] * 3, [9.0, 2.0, 9.0]), seed=3
    )
    assert np.isnan(found.interval).all(axis=0).tolist() == [True, False, True]
    assert found.samples[:, 1].max() == 2.0
    held = block_bootstrap(wider, r, np.arange(400), names, x, at_bound=["c"])
    assert (held.samples[:, 2] == 1.0).all()
    assert json.loads(json.dumps(found.as_dict(), allow_nan=False))["blocks"] == 400


def _measured(workload: Workload, config: ServerConfig, seed: int = 0):
    """Return an experiment of known parameters, with 3 % noise on each latency."""
    rng = np.random.default_rng(seed)
    with Simulator(workload, config, MODEL) as simulator:
        run = simulator.run(X)
    base = load_experiment("exp1_30rr")
    noisy = [v * np.exp(0.03 * rng.normal(size=v.size)) for v in (run.ttft, run.e2e)]
    ttft, e2e = noisy[0], np.maximum(noisy[1], noisy[0])
    return dataclasses.replace(
        base, name=f"made-{seed}", workload=workload, config=config, ttft=ttft, e2e=e2e,
        input_source="exact", output_source="exact",
    )  # fmt: skip


@pytest.fixture(scope="module")
def runs():
    config = ServerConfig()
    made = [
        c.workload
        for c in make_candidates([4, 8], {"mix": ("uniform:16,600", "uniform:8,60")}, config)
    ]
    return [_measured(workload, config, seed) for seed, workload in enumerate(made)]


def test_predictions_get_intervals_around_what_is_predicted(runs) -> None:
    prediction = Prediction(runs[1].workload, runs[1].config, "p50 e2e", "next")
    tail = dataclasses.replace(prediction, statistic="p99 ttft")
    with Objective(runs, MODEL) as objective:
        _, r, jac = objective.linearise(X)
        blocks = time_blocks(objective)
    given = {"free": FREE, "predictions": [prediction, tail], "model": MODEL, "resamples": 100}
    found = block_bootstrap(jac, r, blocks, MODEL.names, X, seed=7, **given)
    again = block_bootstrap(jac, r, blocks, MODEL.names, X, seed=7, **given)
    other = block_bootstrap(jac, r, blocks, MODEL.names, X, seed=8, **given)
    assert found.blocks == 20
    with Simulator(runs[1].workload, runs[1].config, MODEL) as simulator:
        truth = simulator.run(X)
        first = simulator.run(found.samples[0])
    expected = [np.median(truth.e2e), np.quantile(truth.ttft, 0.99)]
    assert found.predicted == pytest.approx(expected)
    assert found.predictions[0, 0] == pytest.approx(np.median(first.e2e))
    low, high = found.prediction_interval
    assert (low < found.predicted).all()
    assert (high > found.predicted).all()
    assert (high - low < 0.2 * found.predicted).all()
    assert found.samples.tobytes() == again.samples.tobytes()
    assert found.predictions.tobytes() == again.predictions.tobytes()
    assert found.samples.tobytes() != other.samples.tobytes()
    assert "next p99 ttft" in str(found)


def test_blocks_are_runs_and_times_of_arrival(runs) -> None:
    with Objective(runs, MODEL, "relative,ttft,e2e") as objective:
        blocks = time_blocks(objective, per_run=4)
        assert time_blocks(objective, per_run=1).tolist() == [0] * 400 + [1] * 400
    one_run = np.repeat([0, 1, 2, 3], 50)
    assert blocks.tolist() == [*one_run, *one_run, *(one_run + 4), *(one_run + 4)]
    with Objective(runs, MODEL, "relative,ttft.p99,e2e") as objective:
        assert time_blocks(objective, per_run=1).tolist() == [0] * 201 + [1] * 201
        with pytest.raises(FitError, match="means or quantiles"):
            time_blocks(objective)


def test_too_few_blocks_are_refused() -> None:
    line = Line()
    _, r, jac = line.linearise(line.x)
    with pytest.raises(FitError, match="3 blocks are too few"):
        block_bootstrap(jac, r, np.arange(400) % 3, NAMES, line.x)
    with pytest.raises(ParameterError, match=r"blocks must have shape \(400,\)"):
        block_bootstrap(jac, r, [1, 2], NAMES, line.x)


def test_the_profile_of_a_linear_model_is_a_parabola() -> None:
    line = Line()
    least, _, jac = line.linearise(line.x)
    found = profile_likelihood(line, line.x, "a", names=NAMES, points=9)
    inverse = np.linalg.inv(jac.T @ jac)
    expected = least + (found.values - 3) ** 2 / inverse[0, 0]
    assert found.loss == pytest.approx(expected, rel=1e-9)
    reach = np.sqrt(stats.chi2.ppf(0.95, 1) * inverse[0, 0] * least / 398)
    assert found.interval == pytest.approx((3 - reach, 3 + reach), rel=1e-6)
    assert found.threshold == pytest.approx(least * (1 + stats.chi2.ppf(0.95, 1) / 398))


def test_a_profile_is_open_where_the_loss_never_rises() -> None:
    line = Line()
    line.jac[:, 1] = line.jac[:, 0]
    line.r0 = np.random.default_rng(1).normal(size=400) - line.jac @ line.x
    flat = profile_likelihood(line, line.x, "a", names=NAMES)
    assert flat.interval == (-np.inf, np.inf)
    assert flat.as_dict()["interval"] == [None, None]
    assert "up to 9 at least" in str(flat)
    # with the other bounded, it can make up for so much only
    box = ([-100.0, 0.0], [100.0, 100.0])
    bounded = profile_likelihood(
        line, line.x, "a", names=NAMES, grid=np.linspace(-1, 9, 21), bounds=box
    )
    assert bounded.interval[0] == -np.inf
    assert 5 <= bounded.interval[1] < 5.5
    assert (bounded.x[:, 1] >= 0).all()


def test_a_profile_of_a_simulated_run_holds_the_truth(runs) -> None:
    with Objective(runs, MODEL, "relative,ttft,e2e") as objective:
        found = profile_likelihood(
            objective, X, "intercept", names=MODEL.names, free=FREE, points=7
        )
    low, high = found.interval
    assert low < X[0] < high
    assert high - low < 0.1 * X[0]


def test_a_held_parameter_has_no_profile() -> None:
    line = Line()
    with pytest.raises(ParameterError, match="'a' is held or at a bound"):
        profile_likelihood(line, line.x, "a", names=NAMES, free=["b"])
    with pytest.raises(ParameterError, match="unknown parameter 'z' in the profile"):
        profile_likelihood(line, line.x, "z", names=NAMES)
    with pytest.raises(ParameterError, match="ascending"):
        profile_likelihood(line, line.x, "a", names=NAMES, grid=[2, 1])


def test_advice_ranks_by_the_variance_that_the_closed_form_gives(runs) -> None:
    config = ServerConfig()
    prediction = Prediction(runs[1].workload, config, "mean e2e")
    mixes = {"long prompts": ("uniform:400,900", 4), "decodes": (16, "uniform:50,90")}
    candidates = make_candidates([2.0, 20.0], mixes, config, num_requests=60)
    assert [c.name for c in candidates][:2] == ["long prompts at 2/s", "long prompts at 20/s"]
    noise = {"e2e": 0.1}
    keep = [MODEL.index(name) for name in FREE]
    information = np.zeros((len(X), len(X)))
    advice = advise(
        candidates, prediction, X, information, model=MODEL, noise=noise, free=FREE, prior=0.5
    )
    with Simulator(runs[1].workload, config, MODEL) as simulator:
        g = simulator.run_jacobian(X, "renewal").e2e_jac.mean(axis=0)[keep]
    prior = np.diag(1 / (0.5 * X[keep]) ** 2)
    for one in advice:
        assert one.before_s == pytest.approx(np.sqrt(g @ np.linalg.inv(prior) @ g))
        workload = next(c.workload for c in candidates if c.name == one.name)
        with Simulator(workload, config, MODEL) as simulator:
            jacobian = simulator.run_jacobian(X, "renewal")
        rows = jacobian.e2e_jac[:, keep] / (0.1 * jacobian.result.e2e[:, np.newaxis])
        after = np.sqrt(g @ np.linalg.inv(prior + rows.T @ rows) @ g)
        assert one.after_s == pytest.approx(after, rel=1e-6)
        assert 0 < one.reduction < 1
    assert [a.after_s for a in advice] == sorted(a.after_s for a in advice)
    assert advice[0].name.startswith("decodes")  # which is what the prediction's latencies are
    assert advice[0].name in format_advice(advice).splitlines()[1]


def test_a_candidate_that_cannot_be_simulated_tells_nothing(runs) -> None:
    starved = ServerConfig(horizon_s=0.01)
    candidates = [
        Candidate("cut off", runs[0].workload, starved),
        Candidate("whole", runs[0].workload, ServerConfig()),
    ]
    with Objective(runs, MODEL) as objective:
        _, r, jac = objective.linearise(X)
    information = fit_information(jac, r, MODEL.names, X, free=FREE)
    prediction = Prediction(runs[1].workload, ServerConfig(), "p99 e2e")
    noise = relative_noise(runs, X, model=MODEL)
    assert noise["e2e"] == pytest.approx(0.03, rel=0.2)
    whole, cut = advise(candidates, prediction, X, information, model=MODEL, noise=noise, free=FREE)
    assert (whole.name, cut.name) == ("whole", "cut off")
    assert cut.reduction == 0
    assert "horizon" in cut.note
    assert whole.reduction > 0.1


@pytest.mark.parametrize("statistic", ["mean e2e", "p50 ttft", "p90 e2e"])
def test_the_gradient_of_a_prediction_is_its_slope_on_an_idle_server(statistic: str) -> None:
    """By central differences: every request alone, alike but for its prompt."""
    workload = Workload(np.arange(200) * 10.0, np.arange(100, 300), np.full(200, 20))
    prediction = Prediction(workload, ServerConfig(), statistic)
    with prediction.simulator(MODEL) as simulator:
        gradient = prediction.gradient(simulator, X)
        for i, name in enumerate(MODEL.names):
            step = 1e-6 if name in MODEL.terms else 1.0
            ends = np.array([X, X])
            ends[:, i] += [-step, step]
            low, high = prediction.values(simulator, ends)
            assert gradient[i] == pytest.approx((high - low) / (2 * step), rel=2e-2)


def test_bad_predictions_and_noises_name_what_is_wrong(runs) -> None:
    workload = runs[0].workload
    with pytest.raises(FitError, match="unknown word 'p98'; did you mean 'p9"):
        Prediction(workload, statistic="p98 e2e")
    with pytest.raises(FitError, match="two words"):
        Prediction(workload, statistic="p99")
    prediction, information = Prediction(workload), np.zeros((len(X), len(X)))
    for noise, words in [({"e2": 0.1}, "did you mean 'e2e'"), ({"e2e": 0}, "noise of 'e2e' must")]:
        with pytest.raises(ParameterError, match=words):
            advise([], prediction, X, information, model=MODEL, noise=noise, free=FREE)
    with pytest.raises(FitError, match="noise is given for nothing"):
        advise([], prediction, X, information, model=MODEL, noise={}, free=FREE)
    with pytest.raises(ParameterError, match="information must be finite"):
        advise([], prediction, X, np.zeros((2, 2)), model=MODEL, noise={"e2e": 0.1}, free=FREE)
