"""Reasons why parameters go together, by the steps of the runs.

Oracles: the simulator, whose steps are as long as a feature says, and for which a direction said to
have no effect must have none; hand-made steps of which each fact is true or not.
"""

from __future__ import annotations

import re

import numpy as np
import pytest

from pysimbind import Experiment, Objective, ServerConfig, Simulator, Workload, load_experiment
from pysimbind.identify import Identifiability, identify
from pysimbind.identify._features import (
    FEATURES,
    Reasons,
    Steps,
    _dependences,
    _facts,
    _made_up,
    _proportional,
    explain,
)
from pysimbind.models import TERMS, find_model


def test_features_are_those_of_the_models_terms() -> None:
    """By the simulator: a coefficient of one second makes steps as long as its feature says."""
    model = find_model(list(FEATURES))
    workload = Workload([0, 0, 0.5, 0.5], [30, 7, 300, 11], [4, 9, 3, 2])
    simulator = Simulator(workload, ServerConfig(max_num_batched_tokens=290), model)
    assert set(FEATURES) == {term.name for term in TERMS if not term.request_side}
    for i, name in enumerate(model.terms):
        x = np.zeros(len(model.names))
        x[model.index("intercept")] = 0.25
        x[i] += 1e-3
        trace = simulator.run(x, trace=True).trace
        assert trace is not None
        steps = Steps(
            *(
                np.asarray(count, dtype=float)
                for count in (
                    trace.decode_tokens,
                    trace.prefill_tokens,
                    trace.max_prefill_tokens,
                    trace.num_prefills,
                    trace.context_tokens,
                    trace.attention_pairs,
                )
            )
        )
        assert FEATURES[name](steps).any(), f"no step shows {name}"
        assert trace.duration_s == pytest.approx(0.25 + 1e-3 * FEATURES[name](steps)), name


def _steps(*rows: tuple[int, ...]) -> Steps:
    """Return steps of D, P, M, N; of ctx and attn, where they are not given, of 0."""
    rows = tuple((*row, 0, 0)[:6] for row in rows)
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
        (
            ("attn", "P", "PP"),
            _steps((0, 9, 9, 1, 0, 45), (0, 4, 4, 1, 0, 10)),
            "every prefill step here had one prompt, all of it",
        ),
        (("attn", "P", "PP"), _steps((0, 9, 9, 1, 0, 45), (0, 4, 4, 1, 0, 46)), ""),
        (("ctx", "N"), _steps((0, 9, 9, 1)), "every step here was without decode"),
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


@pytest.mark.parametrize(
    ("names", "steps", "why"),
    [
        (("ctx", "D"), _steps((2, 0, 0, 0, 200), (4, 9, 9, 1, 400)), "ctx was 100 × sum_decode"),
        (("ctx", "D"), _steps((2, 0, 0, 0, 200), (4, 9, 9, 1, 430)), "give or take 3 %"),
        (("ctx", "D"), _steps((2, 0, 0, 0, 200), (4, 9, 9, 1, 900)), ""),
        (("ctx", "D"), _steps((0, 9, 9, 1), (0, 8, 8, 1)), ""),
        (("ctx", "D", "DD"), _steps((2, 0, 0, 0, 200), (4, 9, 9, 1, 400)), ""),
    ],
)
def test_terms_that_were_nearly_proportional(
    names: tuple[str, ...], steps: Steps, why: str
) -> None:
    told = _proportional(find_model(list(names)).terms, steps)
    assert re.search(why, told) if why else told == ""


def test_a_fact_with_exceptions_explains_what_is_exact_if_these_are_few() -> None:
    """Nine requests come alone, two at once: P = M but for one step, 4 terms are 1 + 1 kinds."""
    arrivals = [*np.arange(9.0), 20.0, 20.0]
    workload = Workload(arrivals, [100, 120, 90, 80, 130, 70, 60, 50, 110, 100, 100], [5] * 11)
    experiment = Experiment("11", workload, ServerConfig(), ttft=np.ones(11), e2e=np.ones(11))
    fact = "9 of 10 prefill steps here had one prompt"
    with Objective(experiment) as objective:
        reasons = Reasons(objective, np.full(19, 1e-6))
    pair = find_model("P,M").terms
    assert (reasons(pair, False), reasons(pair, True)) == (fact, "")
    assert reasons(find_model("P,M,PN,MN").terms, True) == f"{fact}, the others were of 1 kind"
    assert reasons(("queue_overhead", "intercept"), False) == ""
    alone = find_model("hinge").terms
    assert (reasons(alone, False), reasons(alone, True)) == (
        "",
        "every step here had at most 256 tokens",
    )


@pytest.mark.parametrize(
    ("holds", "gone"),
    [
        ("", set()),
        ("at most 256 tokens", {"hinge"}),
        ("decoded too", set()),
        ("one prompt", {"max_prefill_tokens"}),
    ],
)
def test_made_up_steps_are_rich_enough_to_tell_all_else_apart(holds: str, gone: set[str]) -> None:
    """A term that a fact takes away is the only one to go, of the linear ones and the bends."""
    names = ("sum_decode_tokens", "sum_prefill_tokens", "max_prefill_tokens", "intercept")
    names = (*names, "ctx", "attn", "hinge", "mixed", "sum_prefill_tokenss2")
    world = _made_up()
    for fact in _facts(world):
        if holds and fact.statement.endswith(holds):
            world = fact.imposed(world)
    assert _dependences(names, world) == len(gone)
    assert _dependences([name for name in names if name not in gone], world) == 0


def _one_by_one() -> tuple[Identifiability, Experiment, np.ndarray]:
    """Return what latencies tell where prompts come one by one, though many decode together."""
    rng = np.random.default_rng(5)
    workload = Workload(np.arange(60) * 0.06, rng.integers(20, 300, 60), rng.integers(20, 60, 60))
    x = np.abs(load_experiment("exp1_30rr").baseline.vector)
    with Simulator(workload, ServerConfig()) as simulator:
        run = simulator.run(x, trace=True)
    assert set(run.trace.num_prefills.tolist()) == {0, 1}
    noise = np.exp(1e-3 * rng.normal(size=60))
    experiment = Experiment("1", workload, ServerConfig(), ttft=run.ttft * noise, e2e=run.e2e)
    with Objective(experiment) as objective:
        return identify(objective, x), experiment, x


def test_one_prompt_a_step_explains_why_terms_go_together() -> None:
    found, _, _ = _one_by_one()
    exact = [d for d in found.directions if d.standard_error == np.inf]
    # P M PN MN are one column, so are P² PM M², DP DM, and N N²
    assert len(exact) == 3 + 2 + 1 + 1
    assert all(d.why == "every prefill step here had one prompt" for d in exact)
    pairs = {frozenset(d.names): str(d) for d in exact}
    assert "sum" in pairs[frozenset(("num_prefills", "num_prefillss2"))]


def test_what_has_no_effect_changes_no_latency() -> None:
    found, experiment, x = _one_by_one()
    with Simulator(experiment.workload, experiment.config) as simulator:
        before = simulator.run(x)
        for direction in found.directions:
            if direction.standard_error < np.inf:
                continue
            change = np.array([direction.change.get(name, 0.0) for name in found.names])
            size = np.abs(change / x).max()
            after = simulator.run(x + 0.5 * change / size)
            assert after.e2e == pytest.approx(before.e2e, rel=1e-9)
            assert after.ttft == pytest.approx(before.ttft, rel=1e-9)


def test_a_real_run_in_words() -> None:
    """A CPU server at 3 requests a second: prompts hardly ever come two at a time."""
    experiment = load_experiment("vllm-cpu-sync-r3")
    model = find_model("1,D,P,M,out")
    x = dict.fromkeys(model.names, 0.0) | {
        "intercept": 0.01, "sum_decode_tokens": 3e-4, "sum_prefill_tokens": 3e-5,
        "max_prefill_tokens": 3e-5, "out": 2e-3, "vllm_overhead": 6000.0,
    }  # fmt: skip
    with Objective(experiment, model) as objective:
        found = identify(objective, x, fixed=[name for name, value in x.items() if value == 0])
    with Simulator(experiment.workload, experiment.config, model) as simulator:
        trace = simulator.run(x, trace=True).trace
    prompts = trace.num_prefills[trace.num_prefills > 0]
    counts = f"{(prompts == 1).sum()} of {prompts.size} prefill steps here had one prompt"
    (words,) = [str(d) for d in found.directions if d.names[1:] and "prefill" in d.names[0]]
    assert words.startswith(("sum_prefill_tokens ↔ max", "max_prefill_tokens ↔ sum"))
    assert words.endswith(f" is determined: {counts}")
