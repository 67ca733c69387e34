"""Fits of data that real clients send: cut off, not streamed, one token each, not simulatable.

Oracles: planted parameters whose predictions must come back, and the rule that a fit ends in a
result or in one line.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest

from pysimbind import Experiment, FitError, InputError, Objective, ServerConfig, Simulator, Workload
from pysimbind.fit import fit
from pysimbind.identify import block_bootstrap, identify
from tests.planted import MODEL, TRUTH, planted

from .facts import facts, tells

RUN = planted("run", requests=60)
NEVER = np.full(60, np.nan)


def one_token_each() -> Experiment:
    """Return a run without a time between tokens, of the planted parameters."""
    ones = np.ones(60, dtype=np.int64)
    workload = Workload(RUN.workload.arrival_s, RUN.workload.input_tokens, ones)
    with Simulator(workload, RUN.config, MODEL) as simulator:
        run = simulator.run(TRUTH)
    return Experiment("one token", workload, RUN.config, run.ttft, run.e2e)


def test_a_client_that_does_not_stream() -> None:
    """Without any TTFT, E2Es are explained as well as ever."""
    unstreamed = dataclasses.replace(RUN, ttft=NEVER)
    result = fit(unstreamed, model="small", loss="e2e")
    assert result.success
    assert np.median(np.abs(result.predict(RUN).e2e / RUN.e2e - 1)) < 0.02
    with pytest.raises(FitError, match=facts("ttft .. nothing to fit")):
        fit(unstreamed)


def test_requests_of_one_token_each() -> None:
    """There is no time per token to guess a step from, nor to move arrivals by."""
    run = one_token_each()
    result = fit(run, model="small")
    assert result.accuracy[0].accuracy.ttft.mape < 1
    floor = result.accuracy[0].floor
    assert floor is not None
    assert floor.ttft > 0


def test_a_run_that_cannot_be_simulated_beside_one_that_can() -> None:
    """It has one prediction, not six: the floor of all is that of the others."""
    cut = dataclasses.replace(RUN, name="cut", config=ServerConfig(horizon_s=1e-6))
    result = fit([RUN, cut], model="small", loss="e2e", max_evals=5)
    assert not result.success
    floors = {row.name: row.floor for row in result.accuracy}
    assert floors["cut"] is None
    assert floors["all runs"] == floors["run"] != None  # noqa: E711  # both have one


def test_a_run_that_no_simulator_takes_is_named() -> None:
    """Of several runs, the one whose requests do not fit its server."""
    small = dataclasses.replace(RUN, name="small", config=ServerConfig(max_model_len=300))
    with pytest.raises(InputError, match=facts("'small' .. max_model_len .. 300")):
        fit([RUN, small])


@pytest.mark.parametrize("method", ["auto", "cmaes", "lbfgsb"])
def test_nothing_to_search(method: str) -> None:
    """Each request gives one token, so no step has prefill and decode: the term has no effect."""
    quiet = dataclasses.replace(one_token_each(), name="quiet")
    names = ("mixed", "schedule_time", "update_time", "queue_overhead", "vllm_overhead")
    start = dict.fromkeys(names, 1000.0) | {"mixed": 0.0}
    result = fit(quiet, method, model="mixed", fixed=names[1:], initial=start, max_evals=20)
    assert (result.nfev, result.no_effect) == (1, ("mixed",))
    assert result.success
    assert tells(result.notes[0], "nothing to search")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"callback": 5}, "callback"),
        ({"checkpoint": 5}, "checkpoint .. file"),
        ({"resume": 5}, "resume .. file"),
        ({"bounds": 5}, "bounds .. Space"),
        ({"bounds": ""}, "bounds ''"),
        ({"fixed": 5}, "fixed .. names"),
        ({"holdout": 5}, "holdout .. runs"),
        ({"holdout": []}, "holdout .. runs"),
        ({"weights": "1"}, "weights"),
        ({"bounds": {"out": ["a", 1]}}, "'out' .. number .. 'a'"),
        ({"method": ["lsq"]}, "method .. ['lsq']"),
        ({"fixed": [["out"]]}, "['out'] .. fixed"),
        ({"ridge": 10**400}, "ridge .. 0"),
        ({"max_time_s": 10**400}, "max_time_s .. seconds"),
        ({"max_time_s": True}, "max_time_s .. seconds"),
    ],
)
def test_arguments_of_a_wrong_kind(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=facts(message)):
        fit(RUN, model="small", max_evals=5, **options)
    with pytest.raises(FitError, match=facts("5")):
        fit([5])  # type: ignore[list-item]  # that is the mistake


@pytest.mark.filterwarnings("error")
def test_a_box_beyond_all_reason_is_as_good_as_none() -> None:
    """Oracle: the fit without bounds, of which none is met."""
    bounds = {name: [-1e308, 1e308] for name in MODEL.names}
    wide = fit(RUN, "cmaes", model="small", bounds=bounds, max_evals=60)
    assert wide.success
    assert np.array_equal(
        wide.x,
        fit(
            RUN,
            "cmaes",
            model="small",
            bounds=dict.fromkeys(MODEL.names, (None, None)),
            max_evals=60,
        ).x,
    )


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("method", ["auto", "cmaes", "de", "lbfgsb"])
@pytest.mark.parametrize(
    "names", [("schedule_time",), ("update_time",), ("intercept", "out"), MODEL.names]
)
@pytest.mark.parametrize(
    "bounds",
    [(1e-300, 1e-299), (0, 5e-324), (0, 1e-160), (-1e-310, 0), (1e-160, 1e-150), (1e-308, 1e308)],
)
def test_bounds_at_the_ends_of_what_numbers_hold_warn_of_nothing(
    method: str, names: tuple[str, ...], bounds: tuple[float, float]
) -> None:
    box = dict.fromkeys(names, bounds)
    result = fit(RUN, method, model="small", bounds=box, fixed=(), max_evals=30)
    assert result.bounds.contains(result.x)
    assert "nan" not in result.report()


@pytest.mark.filterwarnings("error")
def test_next_to_nothing_is_nothing() -> None:
    """Oracle: what is said of 0, of parameters that are not to be told from it."""
    x = TRUTH.vector
    tiny = np.where(x == 0, 1e-300, x)
    with Objective(RUN, MODEL) as objective:
        nothing, next_to_it = (identify(objective, values, fixed=()) for values in (x, tiny))
        resampled = [block_bootstrap(objective, values, resamples=20) for values in (x, tiny)]
    assert np.array_equal(nothing.scale, next_to_it.scale)
    assert np.array_equal(nothing.standard_errors, next_to_it.standard_errors, equal_nan=True)
    assert nothing.format() == next_to_it.format()
    assert np.array_equal(resampled[0].interval, resampled[1].interval, equal_nan=True)


@pytest.mark.filterwarnings("error")
def test_a_resample_meets_no_bound_that_is_far_off() -> None:
    """Oracle: the same resamples without bounds."""
    x = np.where(TRUTH.vector == 0, 1e-20, TRUTH.vector)
    far = np.full(x.size, 1.7e308)
    with Objective(RUN, MODEL) as objective:
        wide, free = (
            block_bootstrap(objective, x, resamples=20, bounds=bounds)
            for bounds in ((-far, far), None)
        )
    assert np.array_equal(wide.interval, free.interval, equal_nan=True)
