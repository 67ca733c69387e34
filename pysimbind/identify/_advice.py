"""What to measure next: the workload whose latencies determine a prediction best.

This is optimal design by the linearised model (c-optimality: Atkinson, Donev & Tobias, Optimum
Experimental Designs, 2007, ch. 10). Candidates are ranked by the variance that the prediction would
have after their measurements are added.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from .._io.text import table
from ..config import ServerConfig
from ..errors import FitError, ParameterError
from ..objective import Objective
from ..results import Outcome
from ..simulator import Simulator
from ..workload import Workload
from ..workloads import generate
from ..workloads.lengths import Lengths
from ._prediction import PREDICTED, Prediction
from ._problem import Bounds, FloatArray, Problem, make_problem

_ONE_SIGMA = 0.6827  # this quantile of absolute normal errors is their standard deviation


@dataclass(frozen=True, eq=False)
class Candidate:
    """A workload to measure, on a server with settings ``config``."""

    name: str
    workload: Workload
    config: ServerConfig


@dataclass(frozen=True)
class Advice:
    """The value of measuring one candidate for a prediction."""

    name: str
    """Name of the candidate."""
    before_s: float
    """Standard deviation of the prediction without it, in seconds."""
    after_s: float
    """Standard deviation of the prediction with it, in seconds."""
    requests: int
    """Number of requests to measure."""
    duration_s: float
    """Time of its last arrival, in seconds."""
    note: str = ""
    """Why it cannot be simulated to its end; ``""`` if it can. Such a candidate adds nothing."""

    @property
    def reduction(self) -> float:
        """The share of the prediction's variance that it removes, 0 ... 1."""
        return 1 - (self.after_s / self.before_s) ** 2 if self.before_s > 0 else 0.0


def format_advice(advice: Sequence[Advice]) -> str:
    """Return candidates as a table, in the given order."""
    rows = [
        ["candidate", "std before [s]", "after [s]", "variance", "requests", "duration [s]", ""]
    ]
    for one in advice:
        deviations = [f"{value:.3g}" for value in (one.before_s, one.after_s)]
        cost = [f"{-100 * one.reduction:.0f} %", f"{one.requests:,}", f"{one.duration_s:.4g}"]
        rows.append([one.name, *deviations, *cost, one.note])
    return table(rows)


def advise(
    objective: Objective,
    x: object,
    candidates: Sequence[Candidate],
    prediction: Prediction,
    *,
    fixed: Collection[str] | None = None,
    bounds: Bounds | None = None,
    scale: npt.ArrayLike | Mapping[str, float] | None = None,
    prior: float = 1.0,
) -> list[Advice]:
    """Rank candidates by the variance that ``prediction`` would have after measuring them.

    ``x``, ``fixed``, ``bounds`` and ``scale`` as for ``identify``. A run gives the information I =
    Σ JᵀJ / s² on the parameters, summed over its TTFTs and its E2Es. J are the renewal derivatives
    of log latencies. s is their noise: for each of TTFT and E2E, the 68 % quantile of |simulated /
    measured - 1| over the objective's runs. Past and future measurements use the same s.

    A prediction with derivatives g has the variance gᵀ (Σ I + 1 / (``prior`` scale)²)⁻¹ g. Before
    all measurements each parameter is known to ``prior`` times its natural scale. So the variance
    is finite even in a direction that no run determines. Raises as ``identify``, and ``FitError``
    if the prediction cannot be simulated to its end.
    """
    if not 0 < prior < math.inf:
        raise ParameterError(f"prior must be a finite number > 0, got {prior!r}")
    problem = make_problem(objective, x, fixed=fixed, bounds=bounds, scale=scale)
    model, keep = objective.model, problem.keep
    sizes = problem.scale[keep]
    with prediction.simulator(model) as simulator:
        gradient = prediction.gradient(simulator, problem.x)[keep] * sizes
    noise = _noise(objective, problem.x)

    def told(workload: Workload, config: ServerConfig) -> tuple[FloatArray, str]:
        with Simulator(workload, config, model) as simulator:
            return _information(simulator, problem, noise)

    base = np.eye(keep.size) / prior**2  # per natural scale
    for run in objective.experiments:
        base += told(run.workload, run.config)[0]
    before = _deviation(gradient, base)
    advice = []
    for candidate in candidates:
        added, note = told(candidate.workload, candidate.config)
        advice.append(_advice(candidate, before, _deviation(gradient, base + added), note))
    return sorted(advice, key=lambda one: one.after_s)


def make_candidates(
    rates_rps: Sequence[float],
    mixes: Mapping[str, tuple[Lengths | str | int, Lengths | str | int]],
    config: ServerConfig,
    *,
    num_requests: int = 200,
    seed: int = 0,
) -> list[Candidate]:
    """Return one candidate per rate [requests/s] and mix: name -> prompt and output lengths.

    Lengths are as ``workloads.as_lengths`` takes them. Arrivals are Poisson.
    """
    return [
        Candidate(
            f"{name} at {rate:g}/s",
            generate(
                num_requests,
                input_tokens=prompt,
                output_tokens=output,
                arrivals=f"poisson:{rate!r}",
                seed=seed,
            ),
            config,
        )
        for name, (prompt, output) in mixes.items()
        for rate in rates_rps
    ]


def _noise(objective: Objective, x: FloatArray) -> dict[str, float]:
    """Return the relative standard deviation of measured latencies, per measured target."""
    errors: dict[str, list[FloatArray]] = {target: [] for target in PREDICTED}
    for experiment in objective.experiments:
        with Simulator(experiment.workload, experiment.config, objective.model) as simulator:
            run = simulator.run(x)
        for target, found in errors.items():
            measured = getattr(experiment, target)
            known = measured > 0
            found.append(getattr(run, target)[known] / measured[known] - 1)
    joined = {target: np.abs(np.concatenate(each)) for target, each in errors.items()}
    noise = {t: float(np.quantile(e, _ONE_SIGMA)) for t, e in joined.items() if e.size}
    exact = [target for target, value in noise.items() if value == 0]
    if exact:
        raise FitError(
            f"the fit meets most measured {exact[0]} exactly: there is no noise to plan with"
        )
    return noise


def _information(
    simulator: Simulator, problem: Problem, noise: Mapping[str, float]
) -> tuple[FloatArray, str]:
    """Return JᵀJ/s² [K, K] per natural scale, and what is wrong with the run, or ``""``."""
    keep = problem.keep
    jacobian = simulator.run_jacobian(problem.x, "renewal")
    total = np.zeros((keep.size, keep.size))
    if jacobian.result.outcome != Outcome.OK:
        return total, f"cannot be simulated: {jacobian.result.outcome.name.lower()}"
    for target, deviation in noise.items():
        latencies = getattr(jacobian.result, target)
        took = latencies > 0  # an error relative to 0 does not exist
        rows = getattr(jacobian, f"{target}_jac")[took][:, keep] * problem.scale[keep]
        rows /= latencies[took, np.newaxis] * deviation
        total += rows.T @ rows
    return total, ""


def _advice(candidate: Candidate, before: float, after: float, note: str) -> Advice:
    end = float(candidate.workload.arrival_s.max())
    return Advice(candidate.name, before, after, len(candidate.workload), end, note)


def _deviation(gradient: FloatArray, information: FloatArray) -> float:
    return math.sqrt(float(gradient @ np.linalg.solve(information, gradient)))
