"""Predictions, and advice on what to measure next.

Oracles: central differences; the closed form of the variance by numpy's inverse; candidates of
which one is known to tell more.
"""

from __future__ import annotations

import numpy as np
import pytest

from pysimbind import FitError, Objective, ParameterError, ServerConfig, Simulator, Workload
from pysimbind.identify import Candidate, Prediction, advise, format_advice, make_candidates
from pysimbind.models import OVERHEADS

from .facts import facts
from .test_identify import COLUMNS, MODEL, X, idle

HELD = {"fixed": OVERHEADS}


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


def _rows(workload: Workload, noise: dict[str, float]) -> np.ndarray:
    with Simulator(workload, ServerConfig(), MODEL) as simulator:
        jacobian = simulator.run_jacobian(X, "renewal")
    result = jacobian.result
    ttft = jacobian.ttft_jac / (noise["ttft"] * result.ttft[:, np.newaxis])
    e2e = jacobian.e2e_jac / (noise["e2e"] * result.e2e[:, np.newaxis])
    return np.concatenate((ttft, e2e))[:, COLUMNS]


def test_advice_ranks_by_the_variance_that_the_closed_form_gives() -> None:
    measured = idle(100, 1)
    prediction = Prediction(measured.workload, statistic="mean e2e")
    mixes = {"long prompts": ("uniform:400,900", 4), "decodes": (16, "uniform:50,90")}
    candidates = make_candidates([2.0, 20.0], mixes, ServerConfig(), num_requests=60)
    assert [c.name for c in candidates][:2] == ["long prompts at 2/s", "long prompts at 20/s"]
    with Objective(measured, MODEL) as objective:
        advice = advise(objective, X, candidates, prediction, prior=0.5, **HELD)
    with Simulator(measured.workload, measured.config, MODEL) as simulator:
        g = simulator.run_jacobian(X, "renewal").e2e_jac.mean(axis=0)[COLUMNS]
        run = simulator.run(X)
    noise = {
        target: float(np.quantile(np.abs(getattr(run, target) / measured_s - 1), 0.6827))
        for target, measured_s in (("ttft", measured.ttft), ("e2e", measured.e2e))
    }
    assert noise["e2e"] == pytest.approx(0.05, rel=0.2)
    rows = _rows(measured.workload, noise)
    known = np.diag(1 / (0.5 * X[COLUMNS]) ** 2) + rows.T @ rows
    for one in advice:
        assert one.before_s == pytest.approx(np.sqrt(g @ np.linalg.inv(known) @ g), rel=1e-6)
        rows = _rows(next(c.workload for c in candidates if c.name == one.name), noise)
        after = np.sqrt(g @ np.linalg.inv(known + rows.T @ rows) @ g)
        assert one.after_s == pytest.approx(after, rel=1e-6)
        assert one.reduction == pytest.approx(1 - (after / one.before_s) ** 2, rel=1e-6)
    assert [a.after_s for a in advice] == sorted(a.after_s for a in advice)
    assert advice[0].name in format_advice(advice).splitlines()[1]


def test_a_run_that_varies_what_matters_is_advised_before_one_that_repeats() -> None:
    """Prompts of one length tell nothing of longer ones, however often they are sent."""
    measured = idle(100, 1)
    alike = Workload(np.arange(100) * 10.0, np.full(100, 100), np.full(100, 8))
    varied = Workload(np.arange(100) * 10.0, np.tile([50, 2000], 50), np.full(100, 8))
    with Simulator(alike, ServerConfig(), MODEL) as simulator:
        run = simulator.run(X)
    noise = np.exp(0.05 * np.random.default_rng(1).normal(size=(2, 100)))
    kwargs = {"workload": alike, "ttft": run.ttft * noise[0], "e2e": run.e2e * noise[1]}
    experiment = type(measured)("alike", config=ServerConfig(), **kwargs)
    longer = Workload(np.arange(50) * 10.0, np.full(50, 1500), np.full(50, 2))
    candidates = [
        Candidate("same", alike, ServerConfig()),
        Candidate("new", varied, ServerConfig()),
    ]
    with Objective(experiment, MODEL) as objective:
        advice = advise(objective, X, candidates, Prediction(longer, statistic="p50 ttft"), **HELD)
    assert [one.name for one in advice] == ["new", "same"]
    assert advice[0].reduction > 0.9
    assert advice[1].reduction < 0.1


def test_a_candidate_that_cannot_be_simulated_tells_nothing() -> None:
    measured = idle(100, 1)
    candidates = [
        Candidate("cut off", measured.workload, ServerConfig(horizon_s=0.01)),
        Candidate("whole", measured.workload, ServerConfig()),
    ]
    with Objective(measured, MODEL) as objective:
        whole, cut = advise(objective, X, candidates, Prediction(measured.workload), **HELD)
    assert (whole.name, cut.name) == ("whole", "cut off")
    assert cut.reduction == 0
    assert "horizon" in cut.note
    assert cut.note in format_advice([whole, cut])
    assert whole.reduction == pytest.approx(0.5, abs=0.02)  # twice the data
    assert (whole.requests, whole.duration_s) == (100, 990.0)


@pytest.mark.parametrize(
    ("statistic", "words"),
    [("p98 e2e", "'p98' .. 'p99'"), ("p99", "two words")],
)
def test_bad_predictions_name_what_is_wrong(statistic: str, words: str) -> None:
    with pytest.raises(FitError, match=facts(words)):
        Prediction(idle(5, 1).workload, statistic=statistic)


def test_bad_advice_names_what_is_wrong() -> None:
    measured = idle(100, 1)
    cut = Prediction(measured.workload, ServerConfig(horizon_s=0.01), name="cut")
    whole = Prediction(measured.workload)
    with Objective(measured, MODEL) as objective:
        with pytest.raises(FitError, match=facts("'cut p99 e2e'")):
            advise(objective, X, [], cut, **HELD)
        with pytest.raises(ParameterError, match=facts("prior")):
            advise(objective, X, [], whole, prior=0, **HELD)
    with (
        Objective(idle(100, 1, noise=0), MODEL) as objective,
        pytest.raises(FitError, match=facts("ttft")),
    ):
        advise(objective, X, [], whole, **HELD)
