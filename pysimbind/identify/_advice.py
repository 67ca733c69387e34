"""What to measure next: the workload whose latencies would tell a prediction best.

Optimal design by the linearised model (c-optimality: Atkinson, Donev & Tobias, Optimum Experimental
Designs, 2007, ch. 10): candidates are ranked by the variance that the prediction would have with
their measurements added to what is known.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from .._text import table
from ..config import ServerConfig
from ..errors import FitError, ParameterError, nearest
from ..experiment import Experiment
from ..models import ModelLike, find_model
from ..parameters import Parameters
from ..results import Outcome
from ..simulator import Simulator
from ..workload import Workload
from ..workloads import generate
from ..workloads.lengths import Lengths
from ._identifiability import standard_errors
from ._prediction import PREDICTED, Prediction
from ._problem import FloatArray, as_vector, kept, make_problem, scales


@dataclass(frozen=True, eq=False)
class Candidate:
    """A workload that could be measured, on a server of ``config``."""

    name: str
    workload: Workload
    config: ServerConfig


@dataclass(frozen=True)
class Advice:
    """One candidate: the prediction's standard deviation [s] without and with it.

    ``requests`` and ``duration_s`` (the last arrival) say what measuring it takes. A candidate that
    cannot be simulated to its end has a ``note`` and tells nothing.
    """

    name: str
    before_s: float
    after_s: float
    requests: int
    duration_s: float
    note: str = ""

    @property
    def reduction(self) -> float:
        """The share of the prediction's variance that it takes away, 0 ... 1."""
        return 1 - (self.after_s / self.before_s) ** 2 if self.before_s > 0 else 0.0


def format_advice(advice: Sequence[Advice]) -> str:
    """Return candidates as a table, in the given order."""
    rows = [["candidate", "std before [s]", "after [s]", "requests", "duration [s]", ""]]
    for one in advice:
        deviations = [f"{value:.3g}" for value in (one.before_s, one.after_s)]
        cost = [f"{one.requests:,}", f"{one.duration_s:.4g}"]
        rows.append([one.name, *deviations, *cost, one.note])
    return table(rows)


def advise(
    candidates: Sequence[Candidate],
    prediction: Prediction,
    x: npt.ArrayLike | Mapping[str, float] | Parameters,
    information: npt.ArrayLike,
    *,
    model: ModelLike = "quadratic15",
    noise: Mapping[str, float],
    scale: npt.ArrayLike | None = None,
    free: Collection[str] | None = None,
    at_bound: Collection[str] = (),
    prior: float = 1.0,
) -> list[Advice]:
    """Rank candidates by the variance that ``prediction`` would have once they are measured.

    ``x``: the parameters [P] of ``model``. ``information`` [P, P]: JᵀJ/s² of what was measured so
    far, as ``fit_information`` gives. ``noise``: the relative deviation of a measured latency from
    the simulated one, for ``"ttft"``, ``"e2e"`` or both (``relative_noise`` gives it); a target
    that is not named is not measured. ``scale``, ``free`` and ``at_bound`` as for
    ``identifiability``.

    With g the derivatives of the prediction, the variance is gᵀ C g, where C is the inverse of
    ``information`` + the candidate's JᵀJ/noise² + 1 / (``prior`` x scale)² on the diagonal: before
    all measurements each parameter is known to ``prior`` times its natural scale, so that what no
    measurement tells still has a finite variance. Derivatives are of the kind renewal.

    Raises ``ParameterError`` for shapes and names, ``FitError`` where the prediction cannot be
    simulated to its end, or no noise is given.
    """
    model = find_model(model)
    vector = as_vector(x, model.names, "x")
    keep = kept(model.names, free, at_bound)
    sizes = scales(vector, scale, model.names, keep)[keep]
    known = _known(information, len(vector))[np.ix_(keep, keep)]
    if not 0 < prior < math.inf:
        raise ParameterError(f"prior must be a finite number > 0, got {prior!r}")
    _check_noise(noise)
    with prediction.simulator(model) as simulator:
        gradient = prediction.gradient(simulator, vector)[keep] * sizes
    # per natural scale, the prior's information is 1 / prior² for each
    base = known * np.outer(sizes, sizes) + np.eye(keep.size) / prior**2
    before = _deviation(gradient, base)
    advice = []
    for candidate in candidates:
        with Simulator(candidate.workload, candidate.config, model) as simulator:
            added, note = _information(simulator, vector, noise)
        added = added[np.ix_(keep, keep)] * np.outer(sizes, sizes)
        after = _deviation(gradient, base + added)
        advice.append(_advice(candidate, before, after, note))
    return sorted(advice, key=lambda one: one.after_s)


def make_candidates(
    rates_rps: Sequence[float],
    mixes: Mapping[str, tuple[Lengths | str | int, Lengths | str | int]],
    config: ServerConfig,
    *,
    num_requests: int = 200,
    seed: int = 0,
) -> list[Candidate]:
    """Return a candidate for each rate [requests/s] and mix: name -> prompt and output lengths.

    Lengths as ``workloads.as_lengths`` takes them; arrivals are Poisson.
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


def fit_information(
    jac: npt.ArrayLike,
    residuals: npt.ArrayLike,
    names: Sequence[str],
    x: npt.ArrayLike,
    *,
    free: Collection[str] | None = None,
    at_bound: Collection[str] = (),
) -> FloatArray:
    """Return JᵀJ/s² [P, P] of a fit, per unit of each parameter; 0 where one was held.

    Arguments as for ``identifiability``. Raises as it does.
    """
    ones = np.ones(len(names))  # information needs no natural scale
    problem = make_problem(jac, residuals, names, x, scale=ones, free=free, at_bound=at_bound)
    variance = standard_errors(problem)[1]
    if variance == 0:
        raise FitError("all residuals are 0: the information of a fit without noise is infinite")
    information = np.zeros((len(names), len(names)))
    information[np.ix_(problem.keep, problem.keep)] = problem.jac.T @ problem.jac / variance
    return information


def relative_noise(
    experiments: Sequence[Experiment], x: npt.ArrayLike, *, model: ModelLike = "quadratic15"
) -> dict[str, float]:
    """Return the root mean square of simulated/measured - 1, for ``"ttft"`` and for ``"e2e"``.

    Over all requests of all experiments that have both. Raises ``FitError`` where there is none, or
    a run cannot be simulated to its end.
    """
    model = find_model(model)
    vector = as_vector(x, model.names, "x")
    errors: dict[str, list[FloatArray]] = {target: [] for target in PREDICTED}
    for experiment in experiments:
        with Simulator(experiment.workload, experiment.config, model) as simulator:
            run = simulator.run(vector)
        if run.outcome != Outcome.OK:
            raise FitError(
                f"{experiment.name!r} cannot be simulated to its end: {run.outcome.name.lower()}"
            )
        for target, found in errors.items():
            measured = getattr(experiment, target)
            known = measured > 0
            found.append(getattr(run, target)[known] / measured[known] - 1)
    joined = {target: np.concatenate([np.empty(0), *each]) for target, each in errors.items()}
    noise = {t: float(np.sqrt(np.mean(e * e))) for t, e in joined.items() if e.size}
    if not noise:
        raise FitError("no measured latency above 0: there is nothing to tell the noise by")
    return noise


def _advice(candidate: Candidate, before: float, after: float, note: str) -> Advice:
    end = float(candidate.workload.arrival_s.max())
    return Advice(candidate.name, before, after, len(candidate.workload), end, note)


def _check_noise(noise: Mapping[str, Any]) -> None:
    for target, value in noise.items():
        if target not in PREDICTED:
            raise ParameterError(
                f"noise: unknown target {target!r}{nearest(str(target), PREDICTED)}"
            )
        if not 0 < value < math.inf:
            raise ParameterError(f"noise of {target!r} must be a finite number > 0, got {value!r}")
    if not noise:
        raise FitError(f"noise is given for nothing: name {' or '.join(PREDICTED)}")


def _known(information: npt.ArrayLike, parameters: int) -> FloatArray:
    matrix = np.asarray(information, dtype=np.float64)
    if matrix.shape != (parameters, parameters) or not np.isfinite(matrix).all():
        raise ParameterError(
            f"information must be finite, of shape ({parameters}, {parameters}), got {matrix.shape}"
        )
    return matrix


def _information(
    simulator: Simulator, x: FloatArray, noise: Mapping[str, float]
) -> tuple[FloatArray, str]:
    """Return JᵀJ/noise² [P, P] of relative latencies, and what is wrong with the run, or ``""``."""
    jacobian = simulator.run_jacobian(x, "renewal")
    total = np.zeros((x.size, x.size))
    if jacobian.result.outcome != Outcome.OK:
        return total, f"cannot be simulated: {jacobian.result.outcome.name.lower()}"
    for target, deviation in noise.items():
        latencies = getattr(jacobian.result, target)
        took = latencies > 0  # nothing is relative to 0
        rows = getattr(jacobian, f"{target}_jac")[took] / (latencies[took, np.newaxis] * deviation)
        total += rows.T @ rows
    return total, ""


def _deviation(gradient: FloatArray, information: FloatArray) -> float:
    return math.sqrt(float(gradient @ np.linalg.solve(information, gradient)))
