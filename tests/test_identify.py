"""What a fit's data determine.

Oracles: linear models whose null spaces, standard errors and ranks follow from their construction
(and, for standard errors, the textbook formula by numpy's inverse); the simulator itself, for
which a direction said to have no effect must have none; the steps of hand-made workloads.
"""

from __future__ import annotations

import json
import re

import numpy as np
import pytest

from pysimbind import (
    FitError,
    Objective,
    ParameterError,
    ServerConfig,
    Simulator,
    Workload,
    load_experiment,
)
from pysimbind.identify import Identifiability, identifiability
from pysimbind.identify._features import FEATURES, Steps, explain
from pysimbind.models import TERMS, find_model

NAMES = ("a", "b", "c")


def _linear(seed: int = 1, rows: int = 60) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return rng.normal(size=(rows, 3)), 0.1 * rng.normal(size=rows)


def test_standard_errors_are_those_of_linear_regression() -> None:
    jac, r = _linear()
    found = identifiability(jac, r, NAMES, [1.0, -2.0, 3.0])
    expected = np.sqrt(np.diag(np.linalg.inv(jac.T @ jac)) * (r @ r) / 57)
    assert found.standard_errors == pytest.approx(expected, rel=1e-10)
    assert (found.rank, found.directions, found.undetermined) == (3, (), ())
    values = np.linalg.svd(jac * [1.0, 2.0, 3.0], compute_uv=False)
    assert found.singular_values == pytest.approx(values)


def test_standard_errors_do_not_depend_on_the_scale() -> None:
    jac, r = _linear()
    jac[:, 1] *= 1e-9  # another unit
    x = [1.0, 2e9, 3.0]
    assert identifiability(jac, r, NAMES, x).standard_errors == pytest.approx(
        identifiability(jac, r, NAMES, x, scale=[1e-9, 1e3, 1e6]).standard_errors, rel=1e-6
    )


@pytest.mark.parametrize(
    ("factor", "words"),
    [
        (1.0, "only their sum is determined"),
        (-1.0, "only their difference is determined"),
        (2.0, "only a + 2 × b is determined"),
    ],
)
def test_two_columns_that_are_proportional_go_together(factor: float, words: str) -> None:
    jac, r = _linear()
    jac[:, 1] = factor * jac[:, 0]
    found = identifiability(jac, r, NAMES, [2.0, 1.0, 3.0], scale=[1.0, 2.0, 1.0])
    (direction,) = found.directions
    assert set(direction.names) == {"a", "b"}
    assert direction.standard_error == np.inf
    moved = jac @ [direction.change.get(name, 0.0) for name in NAMES]
    assert np.abs(moved).max() < 1e-12
    assert words in str(direction)
    assert np.isnan(found.standard_errors).tolist() == [True, True, False]
    assert found.undetermined == ("a", "b")
    assert found.rank == 2


def test_rank_counts_directions_known_to_within_the_parameters_size() -> None:
    """Orthogonal columns: the standard error of each is noise / length."""
    jac = np.zeros((100, 3))
    for i, length in enumerate((10.0, 2.0, 0.5)):
        jac[10 * i, i] = length
    r = np.zeros(100)
    r[50:] = np.sqrt(97 / 50)  # |r|² / (100 - 3) = 1
    found = identifiability(jac, r, NAMES, [1.0, 1.0, 1.0])
    assert found.noise == pytest.approx(1)
    assert found.standard_errors == pytest.approx([0.1, 0.5, 2.0])
    (direction,) = found.directions
    assert found.rank == 2
    assert direction.change == {"c": pytest.approx(1)}
    assert direction.standard_error == pytest.approx(2)
    assert identifiability(jac, r, NAMES, [1.0] * 3, rank_tolerance=3).rank == 3
    assert identifiability(jac, r, NAMES, [1.0] * 3, rank_tolerance=0.2).rank == 1


def test_a_column_of_zeros_is_said_to_have_no_effect() -> None:
    jac, r = _linear()
    jac[:, 2] = 0
    (direction,) = identifiability(jac, r, NAMES, [1.0, 1.0, 1.0]).directions
    assert str(direction) == "c: has no effect"


def test_an_alias_is_told_once_and_settled_by_a_held_parameter() -> None:
    jac, r = _linear()
    jac[:, 1] = jac[:, 0] * 1e-6
    alias = {"b": 1.0, "a": -1e-6}
    open_ = identifiability(jac, r, NAMES, [1.0, 5.0, 1.0], aliases=[alias])
    assert open_.structural == ("b ↔ a: a move by +1 b, -1e-06 a changes nothing",)
    assert (open_.rank, open_.directions) == (2, ())
    held = identifiability(jac, r, NAMES, [1.0, 5.0, 1.0], aliases=[alias], free=["a", "c"])
    assert held.structural[0].endswith("settled here, with b held")
    assert (held.rank, held.analysed) == (2, ("a", "c"))
    assert np.isnan(held.standard_errors).tolist() == [False, True, False]


def test_parameters_at_a_bound_are_left_out_and_said_to_be_there() -> None:
    jac, r = _linear()
    found = identifiability(jac, r, NAMES, [1.0, 0.0, 1.0], at_bound={"b": "lower"})
    assert found.analysed == ("a", "c")
    assert "at its lower bound" in str(found)
    as_json = json.loads(json.dumps(found.as_dict(), allow_nan=False))
    assert as_json["standard_errors"]["b"] is None
    assert as_json["at_bound"] == {"b": "lower"}


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        ({"names": ("a", "b")}, ParameterError, r"x must have shape \(2,\), got \(3,\)"),
        ({"free": ["a", "d"]}, ParameterError, "unknown parameter 'd' in free"),
        ({"at_bound": {"e": "lower"}}, ParameterError, "unknown parameter 'e' in at_bound"),
        ({"free": []}, ParameterError, "no parameter is left"),
        ({"x": [1.0, 0.0, 1.0]}, ParameterError, "scale of 'b' is 0, it must be > 0"),
        ({"x": [1.0, np.nan, 1.0]}, ParameterError, "x: 'b' is nan"),
        ({"scale": {"a": 1.0, "b": 1.0}}, ParameterError, "scale: 'c' is missing"),
        ({"rank_tolerance": 0}, ParameterError, "rank_tolerance must be"),
        ({"aliases": [{"z": 1.0}]}, ParameterError, "unknown parameter 'z' in aliases"),
        ({"residuals": np.full(60, np.inf)}, FitError, "not finite"),
        ({"residuals": np.ones(59)}, ParameterError, r"jac must have shape \(residuals, 3\)"),
        ({"jac": np.eye(3), "residuals": np.ones(3)}, FitError, "cannot tell their noise"),
    ],
)
def test_errors_say_what_is_wrong(change: dict, error: type[Exception], words: str) -> None:
    jac, r = _linear()
    given = {"jac": jac, "residuals": r, "names": NAMES, "x": [1.0, 1.0, 1.0]} | change
    with pytest.raises(error, match=words):
        identifiability(**given)


def _one_by_one() -> tuple[Identifiability, Simulator, np.ndarray]:
    """Return what latencies tell where prompts come one by one, though many decode together."""
    rng = np.random.default_rng(5)
    workload = Workload(np.arange(60) * 0.06, rng.integers(20, 300, 60), rng.integers(20, 60, 60))
    experiment = load_experiment("exp1_30rr")
    x = np.abs(experiment.baseline.vector)
    simulator = Simulator(workload, ServerConfig())
    trace = simulator.run(x, trace=True).trace
    assert trace is not None
    assert set(trace.num_prefills.tolist()) == {0, 1}
    jacobian = simulator.run_jacobian(x, "renewal")
    jac = np.vstack(tuple(jacobian))
    r = 1e-3 * rng.normal(size=len(jac))
    model = find_model("quadratic15")
    free = [n for n in model.names if n not in ("schedule_time", "update_time", "queue_overhead")]
    scale = np.abs(jac).max(axis=0)
    scale = 1 / np.where(scale > 0, scale, 1)
    found = identifiability(
        jac, r, model.names, x, scale=scale, free=free, aliases=model.aliases, trace=trace
    )
    return found, simulator, x


def test_one_prompt_a_step_explains_why_terms_go_together() -> None:
    found, _, _ = _one_by_one()
    exact = [d for d in found.directions if d.standard_error == np.inf]
    # P M PN MN are one column, so are P² PM M², DP DM, and N N²
    assert len(exact) == 3 + 2 + 1 + 1
    assert all(d.why == "every prefill step here had one prompt" for d in exact)
    pairs = {frozenset(d.names): str(d) for d in exact}
    assert "only their sum is determined" in pairs[frozenset(("num_prefills", "num_prefillss2"))]


def test_what_has_no_effect_changes_no_latency() -> None:
    found, simulator, x = _one_by_one()
    before = simulator.run(x)
    names = simulator.model.names
    for direction in found.directions:
        if direction.standard_error < np.inf:
            continue
        change = np.array([direction.change.get(name, 0.0) for name in names])
        size = np.abs(change / x).max()
        after = simulator.run(x + 0.5 * change / size)
        assert after.e2e == pytest.approx(before.e2e, rel=1e-9)
        assert after.ttft == pytest.approx(before.ttft, rel=1e-9)


def test_the_bundled_experiment_has_aliases_and_weak_directions() -> None:
    experiment = load_experiment("exp1_30rr")
    with Objective(experiment) as objective:
        _, r, jac = objective.linearise(experiment.baseline)
        model = objective.model
    found = identifiability(jac, r, model.names, experiment.baseline.vector, aliases=model.aliases)
    assert len(found.structural) == 3
    assert len(found.singular_values) == 19
    assert found.rank + len(found.directions) + 3 == 19
    # the aliases make these, and only these, free to move
    moving = [n for n, e in zip(model.names, found.standard_errors, strict=True) if np.isnan(e)]
    assert moving == [
        "intercept", "schedule_time", "update_time", "queue_overhead", "vllm_overhead",
    ]  # fmt: skip


def test_a_real_run_in_words() -> None:
    """A CPU server at 3 requests a second: prompts hardly ever come two at a time."""
    experiment = load_experiment("vllm-cpu-sync-r3")
    with Objective(experiment, "1,D,P,M,out") as objective:
        model = objective.model
        x = dict.fromkeys(model.names, 0.0) | {
            "intercept": 0.01, "sum_decode_tokens": 3e-4, "sum_prefill_tokens": 3e-5,
            "max_prefill_tokens": 3e-5, "out": 2e-3, "vllm_overhead": 6000.0,
        }  # fmt: skip
        _, r, jac = objective.linearise(x)
    with Simulator(experiment.workload, experiment.config, model) as simulator:
        trace = simulator.run(list(x.values()), trace=True).trace
    free = [name for name, value in x.items() if value > 0]
    found = identifiability(jac, r, model.names, x, free=free, trace=trace)
    assert trace is not None
    prompts = trace.num_prefills[trace.num_prefills > 0]
    counts = f"{(prompts == 1).sum()} of {prompts.size} prefill steps here had one prompt"
    (words,) = [str(d) for d in found.directions if len(d.names) == 2]
    assert words.startswith(("sum_prefill_tokens ↔ max", "max_prefill_tokens ↔ sum"))
    assert words.endswith(f" is determined: {counts}")


def test_features_are_those_of_the_models_terms() -> None:
    """By the simulator: a coefficient of one second makes steps as long as its feature says."""
    model = find_model(list(FEATURES))
    workload = Workload([0, 0, 0.5, 0.5], [30, 7, 300, 11], [4, 9, 3, 2])
    simulator = Simulator(workload, ServerConfig(max_num_batched_tokens=200), model)
    assert set(FEATURES) < {term.name for term in TERMS}
    for i, name in enumerate(model.terms):
        x = np.zeros(len(model.names))
        x[model.index("intercept")] = 0.25
        x[i] += 1e-3
        trace = simulator.run(x, trace=True).trace
        assert trace is not None
        steps = Steps(
            *(
                np.asarray(c, float)
                for c in (
                    trace.decode_tokens,
                    trace.prefill_tokens,
                    trace.max_prefill_tokens,
                    trace.num_prefills,
                )
            )
        )
        assert trace.duration_s == pytest.approx(0.25 + 1e-3 * FEATURES[name](steps)), name


def _steps(*rows: tuple[int, int, int, int]) -> Steps:
    return Steps(*(np.array(column, dtype=float) for column in zip(*rows, strict=True)))


@pytest.mark.parametrize(
    ("names", "steps", "why"),
    [
        (("P", "M"), _steps((0, 9, 9, 1), (3, 0, 0, 0)), "every prefill step here had one prompt"),
        (
            ("P", "M"),
            _steps(*[(0, 9, 9, 1)] * 9, *[(0, 9, 8, 2)]),
            "9 of 10 prefill steps here had one prompt",
        ),
        (("P", "M"), _steps((0, 9, 5, 2), (0, 8, 8, 1)), ""),
        (("P", "intercept"), _steps((0, 9, 9, 1), (3, 8, 8, 1)), ""),
        (("DP",), _steps((0, 9, 9, 1), (3, 0, 0, 0)), "every prefill step here decoded nothing"),
        (("mixed", "N"), _steps((2, 9, 9, 1), (3, 0, 0, 0)), "one prompt and .* decoded too"),
        (("hinge",), _steps((200, 56, 56, 1)), "every step here had at most 256 tokens"),
        (("P",), _steps((200, 0, 0, 0)), "every step here was without prefill"),
        (
            ("P", "N"),
            _steps((1, 64, 64, 1), (5, 64, 64, 1)),
            "had one prompt and every prefill step here had a largest chunk of 64 tokens",
        ),
    ],
)
def test_facts_about_the_steps(names: tuple[str, ...], steps: Steps, why: str) -> None:
    terms = find_model(list(names)).terms
    told = explain(terms, steps)
    assert re.search(why, told) if why else told == ""


def test_a_parameter_that_no_feature_tells_of_has_no_reason() -> None:
    assert explain(("queue_overhead", "intercept"), _steps((1, 0, 0, 0))) == ""


def test_a_fit_without_noise_determines_whatever_has_an_effect() -> None:
    jac, _ = _linear()
    jac[:, 2] = 0
    found = identifiability(jac, np.zeros(60), NAMES, [1.0, 1.0, 1.0])
    assert (found.rank, found.noise) == (2, 0.0)
    assert found.standard_errors[:2].tolist() == [0.0, 0.0]
    assert "2 of 3 directions" in str(found)
