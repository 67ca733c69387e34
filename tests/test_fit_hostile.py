"""Fits of data that real clients send: cut off, not streamed, one token each, not simulatable.

Oracles: planted parameters whose predictions must come back, and the rule that a fit ends in a
result or in one line.
"""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from pysimbind import Experiment, FitError, InputError, ServerConfig, Simulator, Workload
from pysimbind.fit import fit
from tests.planted import MODEL, TRUTH, planted

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
    with pytest.raises(
        FitError, match=r"no measured ttft .*: nothing to fit to; leave ttft out of"
    ):
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
    with pytest.raises(InputError, match=r"experiment 'small': .* exceeds max_model_len = 300"):
        fit([RUN, small])
