"""The objective: the loss of parameters on measured runs, for any optimiser."""

from __future__ import annotations

import dataclasses
import math
import os
from collections import Counter
from collections.abc import Iterable, Sequence
from types import TracebackType
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from .errors import FitError, InputError, ParameterError
from .experiment import Experiment
from .formats import load_experiment
from .losses import Loss, Measured, find_loss
from .models import StepModel, find_model
from .parameters import Parameters
from .results import Outcome, SimResult
from .simulator import Simulator

FloatArray = npt.NDArray[np.float64]
Experiments: TypeAlias = (
    Experiment | str | os.PathLike[str] | Sequence[Experiment | str | os.PathLike[str]]
)
"""One measured run or several: experiments, names of bundled ones, or files."""

# Most bytes of simulated latencies in one call to the simulator.
_CHUNK_BYTES = 64 * 2**20


def as_experiments(experiments: Experiments) -> tuple[Experiment, ...]:
    """Return a tuple of experiments; names and paths are loaded.

    If several have the same name, the later ones get a number: ``"run (2)"``. Raises ``FitError``
    if there is none, and ``ExperimentError`` as ``load_experiment`` does.
    """
    if isinstance(experiments, (Experiment, str, os.PathLike)):
        experiments = [experiments]
    if not isinstance(experiments, Iterable):
        raise FitError(f"expected experiments, got {type(experiments).__name__}")
    experiments = tuple(experiments)
    for each in experiments:
        if not isinstance(each, (Experiment, str, os.PathLike)):
            raise FitError(f"expected experiments, names or files, got {each!r:.40}")
    loaded = tuple(e if isinstance(e, Experiment) else load_experiment(e) for e in experiments)
    if not loaded:
        raise FitError("no experiment is given: a fit needs at least one")
    seen: Counter[str] = Counter()
    told_apart = []
    for experiment in loaded:
        seen[experiment.name] += 1
        number = seen[experiment.name]
        name = experiment.name if number == 1 else f"{experiment.name} ({number})"
        told_apart.append(dataclasses.replace(experiment, name=name) if number > 1 else experiment)
    return tuple(told_apart)


class Objective:
    """The loss of parameter vectors (all names of ``model``, in order) on one run or several.

    ``model``: any value that ``find_model`` reads. ``loss``: a ``Loss``, or a text for
    ``Loss.parse``. ``weights``: one number > 0 per run, equal by default. The loss of several runs
    is the weighted mean of their losses.

    Call the objective with one vector, or ``batch`` with many. The loss is the sum of the squares
    of ``residuals``. ``jac`` gives the derivatives of the residuals, and ``value_and_grad`` suits
    gradient methods. A candidate is infeasible if a run cannot be simulated to its end: a step time
    is negative or not finite, the simulation hangs, or a request never finishes. Its loss and
    residuals are infinite, its derivatives NaN, and ``infeasible`` counts it.

    An objective is a context manager. It can be pickled, without its counts. Raises ``FitError``
    for an unknown loss, and for an experiment without measured latencies.
    """

    def __init__(
        self,
        experiments: Experiments,
        model: str | Sequence[str] | StepModel = "quadratic15",
        loss: str | Loss = "recipe",
        *,
        weights: Sequence[float] | None = None,
    ) -> None:
        self.experiments = as_experiments(experiments)
        self.model = find_model(model)
        self.loss = find_loss(loss)
        self.weights = check_weights(weights, self.experiments)
        total = sum(self.weights)
        self._runs = [
            _Run(experiment, self.model, self.loss, weight / total)
            for experiment, weight in zip(self.experiments, self.weights, strict=True)
        ]
        self.nfev = 0
        self.infeasible: Counter[str] = Counter()

    def __call__(self, x: object) -> float:
        """Return the loss of one candidate: a vector, a mapping by name or ``Parameters``."""
        return float(self.batch(self._vector(x)[np.newaxis])[0])

    def batch(self, candidates: npt.ArrayLike) -> FloatArray:
        """Return the losses [N] of ``candidates`` [N, names]; each run simulates them in one batch.

        Raises ``ParameterError`` for a wrong shape or values that are not finite.
        """
        rows = _rows(candidates, self.model.names)
        losses = np.zeros(len(rows))
        for run in self._runs:
            losses += run.share * run.losses(rows, self.infeasible)
        self.nfev += len(rows)
        return losses

    def residuals(self, x: object) -> FloatArray:
        """Return the residuals [M] of one candidate. The sum of their squares is its loss.

        They are in order of runs. Each term of the loss gives one residual per request, or a single
        one for a mean or quantile.
        """
        vector = self._vector(x)
        self.nfev += 1
        return np.concatenate([run.residuals(vector, self.infeasible) for run in self._runs])

    def jac(self, x: object, kind: str = "renewal") -> FloatArray:
        """Return the derivatives [M, names] of the residuals, per unit of each parameter.

        ``kind``: see ``Simulator.run_jacobian``.
        """
        return self.linearise(x, kind)[2]

    def gradient(self, x: object, kind: str = "renewal") -> FloatArray:
        """Return the derivatives [names] of the loss, per unit of each parameter."""
        return self.value_and_grad(x, kind)[1]

    def value_and_grad(self, x: object, kind: str = "renewal") -> tuple[float, FloatArray]:
        """Return the loss of one candidate and its ``gradient``; simulates each run once."""
        loss, r, jac = self.linearise(x, kind)
        if np.isinf(loss):
            return loss, np.full(len(self.model.names), np.nan)
        return loss, 2 * (r @ jac)

    def linearise(self, x: object, kind: str = "renewal") -> tuple[float, FloatArray, FloatArray]:
        """Return the loss of one candidate, its ``residuals`` and their ``jac``.

        Simulates each run once.
        """
        vector = self._vector(x)
        self.nfev += 1
        parts = [run.linearise(vector, kind, self.infeasible) for run in self._runs]
        loss = math.fsum(run.share * part[0] for run, part in zip(self._runs, parts, strict=True))
        residuals = np.concatenate([part[1] for part in parts])
        return loss, residuals, np.concatenate([part[2] for part in parts])

    def sensitivity(self, x: object) -> FloatArray:
        """Return the effect of each parameter [names]: the mean of |dE2E/dx| / E2E.

        The mean is over requests and runs, with renewal derivatives, per unit of each parameter.
        Zero means no effect on these runs. This does not count as an evaluation.
        """
        vector = self._vector(x)
        parts = [run.share * run.sensitivity(vector) for run in self._runs]
        return np.sum(parts, axis=0)  # type: ignore[no-any-return]  # an array: parts has rows

    def close(self) -> None:
        """Free the simulators. The objective cannot be evaluated afterwards."""
        for run in self._runs:
            run.simulator.close()

    def __enter__(self) -> Objective:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def __reduce__(self) -> tuple[Any, ...]:
        return _remake, (self.experiments, self.model, self.loss, self.weights)

    def _vector(self, x: object) -> FloatArray:
        return Parameters.of(x, self.model).vector


def _remake(
    experiments: tuple[Experiment, ...], model: StepModel, loss: Loss, weights: tuple[float, ...]
) -> Objective:
    return Objective(experiments, model, loss, weights=weights)


class _Run:
    """One experiment, the simulator of its workload, and its share of the loss."""

    def __init__(self, experiment: Experiment, model: StepModel, loss: Loss, share: float) -> None:
        workload = experiment.workload
        measured = Measured(
            workload.arrival_s, experiment.ttft, experiment.e2e, workload.output_tokens
        )
        try:
            self.misfit = loss.against(measured)
        except FitError as exc:
            raise FitError(f"experiment {experiment.name!r} has {exc}") from None
        self.share = share
        try:
            self.simulator = Simulator(workload, experiment.config, model)
        except InputError as exc:
            raise type(exc)(f"experiment {experiment.name!r}: {exc}") from exc
        self._root = math.sqrt(share)
        self._rows = max(1, _CHUNK_BYTES // (2 * 8 * len(workload)))

    def losses(self, rows: FloatArray, infeasible: Counter[str]) -> FloatArray:
        chunks = [rows[i : i + self._rows] for i in range(0, len(rows), self._rows)]
        return np.concatenate([np.empty(0), *(self._chunk(each, infeasible) for each in chunks)])

    def residuals(self, x: FloatArray, infeasible: Counter[str]) -> FloatArray:
        return self._weighted(self.simulator.run(x), infeasible)[1]

    def linearise(
        self, x: FloatArray, kind: str, infeasible: Counter[str]
    ) -> tuple[float, FloatArray, FloatArray]:
        jacobian = self.simulator.run_jacobian(x, kind)
        run = jacobian.result
        loss, r = self._weighted(run, infeasible)
        if np.isinf(loss):
            return loss, r, np.full((r.size, x.size), np.nan)
        return loss, r, self._root * self.misfit.jacobian(run.ttft, run.e2e, *jacobian)

    def sensitivity(self, x: FloatArray) -> FloatArray:
        jacobian = self.simulator.run_jacobian(x, "renewal")
        e2e = jacobian.result.e2e
        done = e2e > 0
        if not done.any():
            return np.zeros(x.size)
        share = np.abs(jacobian.e2e_jac[done]) / e2e[done, np.newaxis]
        return np.mean(share, axis=0)  # type: ignore[no-any-return]  # over one axis of two

    def _weighted(self, run: SimResult, infeasible: Counter[str]) -> tuple[float, FloatArray]:
        """Return the run's loss, and its residuals weighted for the loss of all runs."""
        loss, r = self.misfit.residuals(run.ttft, run.e2e)
        if run.outcome == Outcome.OK:
            return loss, self._root * r
        infeasible[run.outcome.name.lower()] += 1
        return np.inf, np.full_like(r, np.inf)

    def _chunk(self, rows: FloatArray, infeasible: Counter[str]) -> FloatArray:
        result = self.simulator.run_batch(rows)
        failed = np.flatnonzero(result.outcome != Outcome.OK)
        infeasible.update(Outcome(int(code)).name.lower() for code in result.outcome[failed])
        loss = self.misfit.values(result.ttft, result.e2e)
        loss[failed] = np.inf
        return loss


def check_weights(
    weights: Sequence[float] | None, experiments: Sequence[Experiment]
) -> tuple[float, ...]:
    """Return one weight > 0 per experiment, 1 by default. Raises ``FitError``."""
    if weights is None:
        return (1.0,) * len(experiments)
    try:
        if isinstance(weights, str):
            raise TypeError
        numbers = tuple(float(weight) for weight in weights)
    except (TypeError, ValueError):
        raise FitError(f"weights must be one number for each run, got {weights!r}") from None
    if len(numbers) != len(experiments):
        runs = f"{len(experiments)} run{'s' * (len(experiments) > 1)}"
        raise FitError(f"{len(numbers)} weights for {runs}: give one for each")
    for number, experiment in zip(numbers, experiments, strict=True):
        if not 0 < number < math.inf:
            raise FitError(f"the weight of {experiment.name!r} must be > 0, got {number!r}")
    return numbers


def _rows(candidates: npt.ArrayLike, names: tuple[str, ...]) -> FloatArray:
    try:
        rows = np.ascontiguousarray(candidates, dtype=np.float64)
    except (TypeError, ValueError) as exc:
        raise ParameterError(f"candidates must be numbers (N, {len(names)}): {exc}") from exc
    if rows.ndim != 2 or rows.shape[1] != len(names):
        raise ParameterError(f"candidates must have shape (N, {len(names)}), got {rows.shape}")
    bad = np.argwhere(~np.isfinite(rows))
    if bad.size:
        i, j = bad[0]
        raise ParameterError(f"candidate {i}: {names[j]!r} is {rows[i, j]}: it must be finite")
    return rows
