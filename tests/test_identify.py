"""What a fit's data determine.

Oracles: a server that is idle when each request comes, whose latencies are linear in the
parameters, so that the textbook's formulas hold; numeric second derivatives of the loss; planted
parameters.
"""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest

from pysimbind import (
    Experiment,
    FitError,
    Objective,
    ParameterError,
    ServerConfig,
    Simulator,
    Space,
    Workload,
    load_experiment,
)
from pysimbind.identify import Direction, identify
from pysimbind.identify._problem import _BEND, make_problem
from pysimbind.losses._misfit import RHOS
from pysimbind.models import OVERHEADS, find_model

from .facts import facts, tells

MODEL = find_model("1,D,P")
X = np.array([5e-3, 1e-3, 2e-5, 0.0, 0.0, 0.0, 0.0])
COLUMNS = slice(0, 3)


def idle(
    requests: int, seed: int, *, noise: float = 0.05, repeat: int = 1, model=MODEL, x=X
) -> Experiment:
    """Requests one at a time: latencies are linear; noise is common to ``repeat`` in a row."""
    rng = np.random.default_rng(seed)
    prompts, outputs = rng.integers(50, 600, requests), rng.integers(2, 9, requests)
    workload = Workload(np.arange(requests) * 10.0, prompts, outputs)
    with Simulator(workload, ServerConfig(), model) as simulator:
        run = simulator.run(x)
    shocks = rng.normal(size=(2, -(-requests // repeat)))
    ttft, e2e = np.exp(noise * np.repeat(shocks, repeat, axis=1)[:, :requests])
    return Experiment("idle", workload, ServerConfig(), ttft=run.ttft * ttft, e2e=run.e2e * e2e)


def fitted(objective: Objective, x: np.ndarray = X, steps: int = 8) -> np.ndarray:
    """Return where Gauss-Newton in the coefficients ends."""
    x, columns = x.copy(), slice(0, len(objective.model.terms))
    for _ in range(steps):
        _, r, jac = objective.linearise(x)
        x[columns] -= np.linalg.lstsq(jac[:, columns] * X[columns], r)[0] * X[columns]
    return x


def test_standard_errors_are_those_of_linear_regression() -> None:
    """Independent noise of equal size: the square roots of the diagonal of s² (JᵀJ)⁻¹."""
    runs = dataclasses.replace(idle(4000, 1), ttft=np.full(4000, np.nan))
    with Objective(runs, MODEL, "log,e2e") as objective:
        x = fitted(objective)
        _, r, jac = objective.linearise(x)
        found = identify(objective, x, fixed=OVERHEADS)
    jac = jac[:, COLUMNS]
    expected = np.sqrt(np.diag(np.linalg.inv(jac.T @ jac)) * (r @ r) / (4000 - 3))
    assert found.standard_errors[COLUMNS] == pytest.approx(expected, rel=0.15)
    assert np.isnan(found.standard_errors[3:]).all()
    values = np.linalg.svd(jac * x[COLUMNS], compute_uv=False)
    assert found.singular_values == pytest.approx(values)
    assert (found.rank, found.directions, found.undetermined) == (3, (), ())


def test_standard_errors_are_the_sandwich_of_windows() -> None:
    """By loops over all windows of 8 (√64) requests, on two runs of unequal weight."""
    runs = [idle(64, 1), idle(64, 2)]
    with Objective(runs, MODEL, "relative,ttft,e2e:5", weights=[1, 3]) as objective:
        x = fitted(objective)
        _, r, jac = objective.linearise(x)
        found = identify(objective, x, fixed=OVERHEADS)
    scores = (r[:, np.newaxis] * jac[:, COLUMNS]).reshape(2, 2, 64, 3).sum(axis=1)  # of requests
    scores = scores - scores.mean(axis=(0, 1))
    meat = np.zeros((3, 3))
    for run in scores:
        for start in range(-7, 64):
            window = run[max(0, start) : start + 8].sum(axis=0)
            meat += np.outer(window, window) / 8
    meat *= 128 / (128 - 3) * 128 / (128 - 8)
    bread = np.linalg.inv(jac[:, COLUMNS].T @ jac[:, COLUMNS])
    expected = np.sqrt(np.diag(bread @ meat @ bread))
    assert found.standard_errors[COLUMNS] == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("loss", ["relative,ttft,e2e:5", "relative,ttft,e2e,soft_l1:0.05"])
def test_the_curvature_is_half_the_second_derivative_of_the_loss(loss: str) -> None:
    with Objective(idle(60, 3, noise=0.1), MODEL, loss) as objective:
        problem = make_problem(objective, X, fixed=OVERHEADS, bounds=None)
        expected = np.empty((3, 3))
        for i in range(3):
            step = np.zeros(len(X))
            step[i] = 1e-4 * X[i]
            slope = objective.gradient(X + step) - objective.gradient(X - step)
            expected[i] = slope[COLUMNS] * X[COLUMNS] / 2e-4 / 2
    assert problem.root.T @ problem.root == pytest.approx(expected, rel=1e-4)


def test_beyond_the_scale_of_huber_there_is_no_curvature() -> None:
    with Objective(idle(60, 3, noise=0.1), MODEL, "relative,ttft,e2e,huber:0.05") as objective:
        rows = np.linalg.norm(make_problem(objective, X, fixed=OVERHEADS, bounds=None).root, axis=1)
        with Objective(objective.experiments, MODEL, "relative,ttft,e2e") as plain:
            errors = np.abs(plain.residuals(X)) * np.sqrt(120)
    assert ((rows == 0) == (errors > 0.05)).all()
    assert 0 < (rows == 0).sum() < 120


def test_each_way_that_errors_count_has_its_curvature() -> None:
    assert set(_BEND) == set(RHOS)


@pytest.mark.parametrize(
    ("loss", "repeat"), [("log,ttft,e2e", 1), ("log,ttft,e2e:5,soft_l1:0.05", 6)]
)
def test_intervals_cover_planted_parameters_as_often_as_they_say(loss: str, repeat: int) -> None:
    """90 %, also where six requests in a row are late together."""
    covered = []
    for seed in range(60):
        with Objective(idle(150, seed, noise=0.1, repeat=repeat), MODEL, loss) as objective:
            x = fitted(objective)
            error = identify(objective, x, fixed=OVERHEADS, reasons=False).standard_errors
        covered.append(np.abs(x - X)[COLUMNS] < 1.645 * error[COLUMNS])
    assert np.mean(covered) == pytest.approx(0.90, abs=0.07)


def test_two_runs_tell_more_than_one() -> None:
    runs = [idle(400, 1), idle(400, 2)]
    with Objective(runs[0], MODEL, "log,ttft,e2e") as one, Objective(runs, MODEL, one.loss) as two:
        errors = [identify(o, X, fixed=OVERHEADS).standard_errors[COLUMNS] for o in (one, two)]
    assert errors[0] / errors[1] == pytest.approx(np.full(3, np.sqrt(2)), rel=0.25)


def test_rank_counts_directions_known_to_within_the_tolerance() -> None:
    with Objective(idle(100, 1), MODEL, "log,ttft,e2e") as objective:
        found = identify(objective, X, fixed=OVERHEADS)
        errors = found.direction_errors
        assert (np.diff(errors) > 0).all()
        between = float(np.sqrt(errors[1] * errors[2]))
        less = identify(objective, X, fixed=OVERHEADS, tolerance=between)
    assert (found.rank, less.rank) == (3, 2)
    (direction,) = less.directions
    assert direction.standard_error == pytest.approx(errors[2])
    assert set(less.undetermined) >= set(direction.names)


def test_prompts_and_largest_prompts_go_together_where_steps_have_one_prompt() -> None:
    model = find_model("1,D,P,M")
    x = np.array([5e-3, 1e-3, 2e-5, 1e-5, 0, 0, 0, 0])
    with Objective(idle(100, 1, model=model, x=x), model, "log,ttft,e2e") as objective:
        found = identify(objective, x, fixed=OVERHEADS)
    (direction,) = found.directions
    assert str(direction) in (
        "sum_prefill_tokens ↔ max_prefill_tokens: only their sum is determined: "
        "every prefill step here had one prompt",
        "max_prefill_tokens ↔ sum_prefill_tokens: only their sum is determined: "
        "every prefill step here had one prompt",
    )
    assert direction.standard_error == np.inf
    assert np.isnan(found.standard_errors).tolist() == [False, False, True, True] + [True] * 4
    assert found.undetermined == ("sum_prefill_tokens", "max_prefill_tokens")
    assert found.rank == 3


@pytest.mark.parametrize(
    ("change", "error", "known", "words"),
    [
        ({"a": 1, "b": -1}, np.inf, True, "sum"),
        ({"a": 1, "b": 1}, np.inf, True, "difference"),
        ({"a": 2, "b": -1}, 3.0, True, "a + 2 × b"),
        ({"a": 1, "b": 2}, 3.0, False, "at most .. a - 0.5 × b"),
        ({"a": 1}, np.inf, False, "no effect"),
        ({"a": 1}, 3.0, False, "too little effect"),
        ({"a": 1, "b": 1, "c": 1}, np.inf, False, "combination .. no effect"),
    ],
)
def test_directions_in_words(change: dict, error: float, known: bool, words: str) -> None:
    names = " ↔ ".join(change)
    told = str(Direction(change, 0, error, known, ""))
    assert told.startswith(f"{names}: ")
    assert tells(told, words)
    more = str(Direction(change, 2, error, known, "so it is"))
    assert tells(more, f"{names} .. 2 more .. {words} .. so it is")


def test_a_sum_is_said_to_be_determined_only_if_it_is() -> None:
    """With all of M and its share in three times as much noise, not even the sum is."""
    model = find_model("1,P,M")
    x = np.array([5e-3, 1e-8, 1e-8, 0, 0, 0, 0])
    with Objective(idle(100, 1, model=model, x=x), model, "log,ttft,e2e") as objective:
        found = identify(objective, x, fixed=OVERHEADS)
    assert found.rank == 1
    assert any(tells(d, "at most .. sum") for d in found.directions)


def test_the_aliases_are_held_unless_told_otherwise() -> None:
    experiment = load_experiment("exp1_30rr")
    with Objective(experiment) as objective:
        held = identify(objective, experiment.baseline)
        free = identify(objective, experiment.baseline, fixed=())
    names = held.names
    assert held.held == ("schedule_time", "update_time", "queue_overhead")
    assert len(held.structural) == 1
    assert len(held.singular_values) == 16 == held.rank + len(held.directions)
    assert not np.isnan(held.standard_errors[:15]).any()
    assert len(free.structural) == 3
    assert tells(
        free.structural[0],
        "structural alias .. schedule_time ↔ intercept .. +1 schedule_time, -1e-06 intercept",
    )
    assert free.rank + len(free.directions) + 3 == len(free.singular_values) == 19
    # the aliases make these, and only these, free to move
    moving = [n for n, e in zip(names, free.standard_errors, strict=True) if np.isnan(e)]
    assert moving == ["intercept", *OVERHEADS]
    assert free.direction_errors[-3:].tolist() == [np.inf] * 3


def test_the_short_report_is_short() -> None:
    experiment = load_experiment("exp1_30rr")
    with Objective(experiment, "extended") as objective:
        x = dict.fromkeys(objective.model.names, 0.0)
        x |= {"intercept": 0.0057, "sum_decode_tokens": 3.4e-5, "out": 1e-4, "vllm_overhead": 6e3}
        found = identify(objective, x, bounds=(np.zeros(len(x)), np.full(len(x), np.inf)))
    lines = found.format().splitlines()
    assert 4 <= len(lines) <= 15
    assert max(map(len, lines)) <= 100
    assert str(found).startswith(found.format())
    assert len(str(found).splitlines()) == len(lines) + 1 + len(x)


def test_parameters_at_a_bound_are_left_out_and_said_to_be_there() -> None:
    space = Space([0, 0, 0, 0, 0, 0, 0], [1, 1e-3, 1, 0, 0, 0, 0], MODEL)
    with Objective(idle(100, 1), MODEL) as objective:
        found = identify(objective, X, bounds=space, fixed=())
        same = identify(objective, X, bounds=(space.lower, space.upper), fixed=OVERHEADS)
        none = identify(objective, X * [0, 1, 1, 0, 0, 0, 0], bounds=(X * 0, X + np.inf))
    assert found.analysed == same.analysed == ("intercept", "sum_prefill_tokens")
    assert found.at_bound == {"sum_decode_tokens": "upper"}
    assert found.held == OVERHEADS
    assert tells(found.format(), "sum_decode_tokens (upper)")
    assert tells(found, "upper bound")
    assert none.at_bound == {"intercept": "lower", "vllm_overhead": "lower"}
    as_json = json.loads(json.dumps(found.as_dict(), allow_nan=False))
    assert as_json["standard_errors"]["sum_decode_tokens"] is None
    assert as_json["at_bound"] == {"sum_decode_tokens": "upper"}


def test_a_parameter_of_value_0_is_as_large_as_what_is_seen_of_it() -> None:
    x = X * [1, 0, 1, 0, 0, 0, 0]
    with Objective(idle(100, 1), MODEL) as objective:
        found = identify(objective, x, fixed=OVERHEADS)
        assert found.scale[1] == pytest.approx(0.1 / objective.sensitivity(x)[1])
        assert identify(objective, x, fixed=OVERHEADS, scale=X + 1e-9).scale[1] == X[1] + 1e-9


@pytest.mark.parametrize("loss", ["relative,ttft.p99,e2e.mean", "relative,ttft,e2e.p50"])
def test_a_loss_of_statistics_tells_no_noise(loss: str) -> None:
    with Objective(idle(100, 1), MODEL, loss) as objective:
        found = identify(objective, X, fixed=OVERHEADS)
    assert found.rank == len(found.analysed) - len(found.directions)
    assert np.isnan(found.standard_errors).all()
    assert tells(found.format(), "standard errors .. means or quantiles")
    assert ("not determined" in found.format()) == (found.rank < 3)
    json.dumps(found.as_dict(), allow_nan=False)


@pytest.mark.parametrize(
    "loss", ["absolute,tpot,e2e", "log,e2e,warmup:10", "original-unpaired", "relative,ttft,huber:1"]
)
def test_any_loss_of_requests_will_do(loss: str) -> None:
    """Some requests failed, some have one token."""
    whole = idle(100, 1)
    failed = np.where(np.arange(100) % 7 == 3, np.nan, 1.0)
    holes = dataclasses.replace(whole, ttft=whole.ttft * failed, e2e=whole.e2e * failed)
    with Objective(holes, MODEL, loss) as objective:
        found = identify(objective, X, fixed=OVERHEADS)
    effect = [d for d in found.directions if d.standard_error == np.inf]
    assert np.isfinite(found.direction_errors).sum() == 3 - len(effect)
    assert not found.note
    assert len(effect) == ("ttft" in loss and "e2e" not in loss and "original" not in loss)


def test_the_order_of_requests_does_not_matter() -> None:
    whole = idle(100, 1, noise=0.1, repeat=5)
    order = np.random.default_rng(2).permutation(100)
    workload = whole.workload
    shuffled = Experiment(
        "shuffled",
        Workload(
            workload.arrival_s[order],
            workload.input_tokens[order],
            workload.output_tokens[order],
            strict=False,
        ),
        whole.config,
        ttft=whole.ttft[order],
        e2e=whole.e2e[order],
    )
    errors = []
    for experiment in (whole, shuffled):
        with Objective(experiment, MODEL, "log,ttft,e2e") as objective:
            errors.append(identify(objective, X, fixed=OVERHEADS).standard_errors[COLUMNS])
    assert errors[0] == pytest.approx(errors[1], rel=1e-9)


def test_requests_that_failed_do_not_count() -> None:
    """On an idle server: as if they had never been sent."""
    whole = idle(100, 1)
    kept = np.arange(100) % 7 != 3
    failed = np.where(kept, 1.0, np.nan)
    holes = dataclasses.replace(whole, ttft=whole.ttft * failed, e2e=whole.e2e * failed)
    sent = whole.workload
    rest = Experiment(
        "rest",
        Workload(sent.arrival_s[kept], sent.input_tokens[kept], sent.output_tokens[kept]),
        whole.config,
        ttft=whole.ttft[kept],
        e2e=whole.e2e[kept],
    )
    errors = []
    for experiment in (holes, rest):
        with Objective(experiment, MODEL, "log,ttft,e2e") as objective:
            errors.append(identify(objective, X, fixed=OVERHEADS).standard_errors[COLUMNS])
    assert errors[0] == pytest.approx(errors[1], rel=1e-9)


def test_too_few_requests_tell_no_noise() -> None:
    with Objective(idle(6, 1), MODEL, "log,ttft,e2e") as objective:
        found = identify(objective, X, fixed=OVERHEADS)
    assert found.rank == 3
    assert tells(found.note, "6 requests .. 3 parameters")


def test_a_fit_without_noise_determines_whatever_has_an_effect() -> None:
    with Objective(idle(100, 1, noise=0), find_model("1,D,P,hinge")) as objective:
        found = identify(objective, [*X[:3], 0.0, 0, 0, 0, 0], fixed=OVERHEADS)
    assert (found.rank, found.analysed[3]) == (4, "hinge")
    assert found.standard_errors[:4] == pytest.approx(np.zeros(4), abs=1e-12)


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        ({"x": [1.0]}, ParameterError, "(7,)"),
        ({"x": X * np.nan}, ParameterError, "finite"),
        ({"fixed": ["intercep"]}, ParameterError, "'intercept'"),
        ({"fixed": MODEL.names}, ParameterError, "no parameter"),
        ({"scale": X}, ParameterError, "'schedule_time' .. 0 .. 1e-30 .. 1e+30"),
        ({"scale": {"intercept": 1.0}}, ParameterError, "missing"),
        ({"tolerance": 0}, ParameterError, "tolerance"),
        ({"bounds": ([0], [1])}, ParameterError, "bounds .. (7,)"),
        ({"bounds": (X + 1, X)}, ParameterError, "bounds .. 'intercept'"),
        ({"bounds": Space([0] * 19, [1] * 19)}, ParameterError, "bounds .. quadratic15"),
        ({"x": -X}, FitError, "simulated"),
    ],
)
def test_errors_say_what_is_wrong(change: dict, error: type[Exception], words: str) -> None:
    with Objective(idle(20, 1), MODEL) as objective:
        given = {"x": X, "fixed": OVERHEADS} | change
        with pytest.raises(error, match=facts(words)):
            identify(objective, **given)
