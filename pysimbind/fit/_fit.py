"""``fit``: from measured runs to a ``FitResult``."""

from __future__ import annotations

import dataclasses
import math
import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ..checks import CheckReport, check_experiment
from ..errors import FitError, ParameterError
from ..experiment import Experiment
from ..identify import identify
from ..losses import Loss, find_loss
from ..models import StepModel, find_model
from ..objective import Experiments, Objective, as_experiments, check_weights
from ..parameters import OVERHEADS, Space
from ._arguments import at_least, count, positive_s
from ._checkpoint import Checkpoint, Mismatch
from ._methods import Method, find_method
from ._provenance import data_hash, versions
from ._search import Budget, Callback, FloatArray, Search, SearchEnd
from ._setup import known_parameters, set_up
from .bounds import Bounds, Box, Fixed, make_box
from .compare import Comparison, compare
from .evaluate import evaluate
from .holdout import Holdout, hold_out
from .result import FitResult, FittedRun
from .status import FitStatus

# At a bound is within this share of the box's width. Boxes of coefficients are wide: a
# ten-thousandth of the original one still matters. Overheads count in whole microseconds. An open
# interval has no width: there it is a share of what doubles E2Es.
_AT_BOUND_COEFFICIENT = 1e-5
_AT_BOUND_OVERHEAD = 1e-3
_AT_BOUND_OPEN = 1e-6
# Explaining what can't be told apart takes a walk through every step: longer than a fit, if there
# are more requests than this.
_EXPLAINED = 1000


def fit(
    experiments: Experiments,
    method: str = "auto",
    *,
    model: str | Sequence[str] | StepModel | None = None,
    loss: str | Loss = "recipe",
    bounds: Bounds | None = None,
    fixed: Fixed | None = None,
    weights: Sequence[float] | None = None,
    holdout: str | Sequence[str] | None = None,
    initial: object = None,
    ridge: float | None = None,
    max_evals: int | None = None,
    max_time_s: float | None = None,
    seed: int | None = None,
    callback: Callback | None = None,
    checkpoint: str | os.PathLike[str] | None = None,
    resume: str | os.PathLike[str] | None = None,
    strict: bool = False,
) -> FitResult:
    """Search the parameters with the least loss on one measured run, or on several at once.

    ``experiments``: each an ``Experiment``, the name of a bundled one, or a file; a run has its own
    server and workload, the parameters are shared. Their data is checked first
    (``check_experiment``); what makes no sense is masked, ``strict`` refuses it.
    ``method``: a name of ``METHODS``. ``model``: what ``find_model`` reads; None: ``quadratic15``
    where the experiments bring a baseline or a box of it, else ``extended``. ``loss``: a ``Loss``,
    or a text that ``Loss.parse`` reads. ``weights``: one for each run, by default equal.
    ``holdout``: what to keep from the fit and predict afterwards, as ``hold_out`` reads.

    ``bounds``: ``"nonnegative"``, ``"free"``, ``"around:0.5"`` (of the initial guess or the
    baseline), a box of the experiment by name, a ``Space``, or ``{name: [lower, upper]}`` as a
    mapping or a JSON file (None: no bound; names left out are >= 0); by default the experiment's
    box ``"original"``, or else ``"nonnegative"``. ``fixed``: names to hold, or name -> value
    (coefficients in seconds, overheads in microseconds); a name alone, or with None, is held at its
    initial or baseline value, or at 0. Without ``fixed``, all methods but ``bayes`` hold the
    aliased overheads, which change nothing that others can't; ``()`` frees all. ``initial``:
    parameters to start from as well as from a rough guess. ``ridge``: weight of the squares of all
    terms but intercept, decode and prefill tokens, each measured by what doubles E2E; by
    default 3e-5, or 0 where errors are absolute.

    ``max_evals``, ``seed``: by default the method's own. The same arguments give the same result,
    bit for bit, unless ``max_time_s`` cuts it short. ``callback`` is called with a ``FitProgress``
    after each batch; it ends the fit by raising ``StopIteration``. Ctrl-C ends it too: the best so
    far is returned, with ``success`` False. ``checkpoint``: a file that keeps what was evaluated;
    ``resume``: such a file, from which a fit with the same arguments goes on to the same bits.

    Raises ``FitError``, ``ParameterError`` or ``ExperimentError`` for arguments that make no
    fit, ``DataError`` where ``strict`` refuses the data, and ``MissingExtraError`` where the
    method's library is not installed.
    """
    chosen = find_method(method)
    chosen.require()
    given = as_experiments(experiments)
    reports = [check_experiment(experiment) for experiment in given]
    if strict:
        for report in reports:
            report.refuse()
    runs = tuple(report.experiment for report in reports)
    task = _Task(
        method=chosen,
        model=find_model(_usual_model(runs) if model is None else model),
        loss=find_loss(loss),
        bounds=bounds,
        fixed=fixed,
        initial=initial,
        ridge=at_least("ridge", ridge, 0.0),
        max_evals=count("max_evals", chosen.max_evals if max_evals is None else max_evals, 1),
        max_time_s=positive_s(max_time_s),
        seed=count("seed", chosen.seed if seed is None else seed, 0),
        callback=callback,
        weights=_by_name(runs, weights),
        saturated=tuple(r.experiment.name for r in reports if r.saturated),
    )
    held = hold_out(runs, holdout)
    if held.folds and (checkpoint or resume):
        raise FitError("a fit in folds has no checkpoint: each fold is a search of its own")
    found = task.search(held.final.train, checkpoint, resume)
    folds = [(task.search(split.train).x, split) for split in held.folds]
    return dataclasses.replace(
        task.result(found),
        runs=_runs(task, given, reports, held),
        holdout=held.text,
        accuracy=evaluate(task.model, found.x, held.final, folds),
    )


@dataclasses.dataclass(frozen=True)
class _Task:
    """What a fit was asked for: checked, and the same for each of its searches."""

    method: Method
    model: StepModel
    loss: Loss
    bounds: Bounds | None
    fixed: Fixed | None
    initial: object
    ridge: float | None
    max_evals: int
    max_time_s: float | None
    seed: int
    callback: Callback | None
    weights: dict[str, float]
    saturated: tuple[str, ...]

    def objective(self, experiments: Sequence[Experiment]) -> Objective:
        weights = [self.weights[experiment.name] for experiment in experiments]
        return Objective(experiments, self.model, self.loss, weights=weights)

    def search(
        self,
        experiments: Sequence[Experiment],
        checkpoint: str | os.PathLike[str] | None = None,
        resume: str | os.PathLike[str] | None = None,
    ) -> _Found:
        """Search on these experiments."""
        known = known_parameters(experiments, self.model, self.initial)
        box = make_box(
            experiments,
            self.model,
            self.bounds,
            self.fixed,
            None if known is None else known[1],
            self.method.hold_aliases,
        )
        with self.objective(experiments) as objective:
            problem = set_up(objective, box.search, known, self.ridge, self.saturated)
            keeper = Checkpoint(self._settings(objective, box, problem.ridge), checkpoint, resume)
            search = Search(
                objective,
                problem,
                Budget(self.max_evals, self.max_time_s, self.callback),
                method=self.method.name,
                checkpoint=keeper,
            )
            status = _run(self.method, search, self.seed)
            keeper.save(search.time_s)
            idle = tuple(np.array(self.model.names)[problem.scale == 0].tolist())
            return _Found(
                x=search.best_x,
                fun=search.best_fun,
                status=status,
                search=search,
                box=box,
                no_effect=idle,
                ridge=float(problem.ridge.max()),
                infeasible=dict(objective.infeasible),
                identifiability=_identify(objective, search.best_x, box, status, idle),
                comparisons=compare(objective, search.best_x, search.best_fun),
            )

    def result(self, found: _Found) -> FitResult:
        """Return what a search found, without runs and accuracy: those take all the data."""
        search, box = found.search, found.box
        found.x.setflags(write=False)
        return FitResult(
            x=found.x,
            fun=found.fun,
            unit=search.unit_name,
            status=found.status,
            nfev=search.nfev,
            njev=search.njev,
            nit=search.nit,
            model=self.model,
            runs=(),
            holdout="",
            method=self.method.name,
            seed=self.seed,
            loss=self.loss.name,
            ridge=found.ridge,
            max_evals=self.max_evals,
            max_time_s=self.max_time_s,
            bounds_name=box.name,
            bounds=box.space,
            fixed=dict(box.held),
            fixed_why=box.held_why,
            at_bound=_at_bound(box.search, search.scale, found.x),
            no_effect=found.no_effect,
            infeasible=found.infeasible,
            identifiability=found.identifiability,
            notes=tuple(search.notes),
            history=search.history,
            comparisons=found.comparisons,
            accuracy=(),
            versions=dict(versions()),
            time_s=search.time_s,
        )

    def _settings(self, objective: Objective, box: Box, ridge: FloatArray) -> dict[str, Any]:
        """Return all that the losses of a search depend on, as JSON values."""
        return {
            "method": self.method.name,
            "model": self.model.name,
            "loss": self.loss.name,
            "seed": self.seed,
            "bounds": box.search.as_dict(),
            "ridge": ridge.tolist(),
            "weights": list(objective.weights),
            "data": [data_hash(experiment) for experiment in objective.experiments],
            "saturated": list(self.saturated),
        }


@dataclasses.dataclass(frozen=True)
class _Found:
    """What one search ended with."""

    x: FloatArray
    fun: float
    status: FitStatus
    search: Search
    box: Box
    no_effect: tuple[str, ...]
    ridge: float
    infeasible: dict[str, int]
    identifiability: Mapping[str, Any]
    comparisons: tuple[Comparison, ...]


def _run(method: Method, search: Search, seed: int) -> FitStatus:
    try:
        method.run(search, seed)
        status = FitStatus.CONVERGED
    except SearchEnd as end:
        status = end.status
    except Mismatch as exc:
        raise FitError(str(exc)) from None
    except KeyboardInterrupt:
        if not search.evaluated:
            raise  # nothing to give back
        status = FitStatus.INTERRUPTED
    if status.success and not math.isfinite(search.best_loss):
        return FitStatus.INFEASIBLE
    return status


def _identify(
    objective: Objective, x: FloatArray, box: Box, status: FitStatus, no_effect: tuple[str, ...]
) -> Mapping[str, Any]:
    """Return what the data tell of the parameters, or nothing where ``x`` can't be simulated."""
    if status is FitStatus.INFEASIBLE or not math.isfinite(objective(x)):
        return {}
    fixed = {*box.held, *no_effect}
    requests = sum(len(experiment.workload) for experiment in objective.experiments)
    try:
        found = identify(
            objective, x, fixed=fixed, bounds=box.space, reasons=requests <= _EXPLAINED
        )
    except ParameterError as exc:  # all are at a bound
        return {"summary": [f"what the data tell of the parameters: {exc}"]}
    return {**found.as_dict(), "summary": found.format().splitlines()}


def _runs(
    task: _Task, given: Sequence[Experiment], reports: Sequence[CheckReport], held: Holdout
) -> tuple[FittedRun, ...]:
    trained = {experiment.name for experiment in held.final.train}
    held_out = {e.name for split in (held.final, *held.folds) for e in split.held_out}
    return tuple(
        FittedRun.of(
            report,
            _role(report.experiment.name, trained, held_out),
            task.weights[report.experiment.name],
            data_hash(experiment),
        )
        for experiment, report in zip(given, reports, strict=True)
    )


def _role(name: str, trained: set[str], held_out: set[str]) -> str:
    if name in trained:
        return "both" if name in held_out else "training"
    return "held-out"


def _usual_model(experiments: Sequence[Experiment]) -> str:
    """Return the model for which something is known already, or the one that predicts best."""
    known = any(e.baseline is not None or e.bounds for e in experiments)
    return "quadratic15" if known else "extended"


def _by_name(
    experiments: Sequence[Experiment], weights: Sequence[float] | None
) -> dict[str, float]:
    given = check_weights(weights, experiments)
    return {e.name: weight for e, weight in zip(experiments, given, strict=True)}


def _at_bound(space: Space, scale: FloatArray, x: FloatArray) -> dict[str, str]:
    """Return the free parameters at a bound; ``scale`` tells how wide an open interval is."""
    overhead = np.array([name in OVERHEADS for name in space.names])
    span = space.upper - space.lower
    share = np.where(overhead, _AT_BOUND_OVERHEAD, _AT_BOUND_COEFFICIENT)
    near = np.where(np.isfinite(span), share * span, _AT_BOUND_OPEN * scale)
    at_lower = (span > 0) & (x - space.lower <= near)
    at_upper = (span > 0) & (space.upper - x <= near)
    return {
        space.names[i]: "lower" if at_lower[i] else "upper"
        for i in np.flatnonzero(at_lower | at_upper)
    }
