"""One search, from what a fit was asked for to what it ended with."""

from __future__ import annotations

import dataclasses
import math
import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ..errors import ParameterError
from ..experiment import Experiment
from ..identify import identify
from ..objective import Objective
from ..parameters import OVERHEADS, Space
from ._checkpoint import Checkpoint
from ._methods import Method
from ._options import FitOptions, SearchOptions
from ._provenance import data_hash, versions
from ._search import Budget, Escape, FloatArray, Problem, Search, SearchEnd
from ._setup import known_parameters, set_up
from .bounds import Box, make_box
from .compare import Comparison, compare
from .result import FitResult
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


@dataclasses.dataclass(frozen=True)
class Task:
    """What a fit was asked for: checked, and the same for each of its searches."""

    options: FitOptions
    how: SearchOptions
    weights: dict[str, float]
    """Of each run, by its name."""
    saturated: tuple[str, ...]
    """The runs whose queue grows to their end, by name."""

    def objective(self, experiments: Sequence[Experiment]) -> Objective:
        """Return the loss on these experiments, each with its weight."""
        weights = [self.weights[experiment.name] for experiment in experiments]
        return Objective(experiments, self.how.model, self.how.loss, weights=weights)

    def search(self, experiments: Sequence[Experiment], *, files: bool = False) -> Found:
        """Search on these experiments; raises what ``fit`` does, but for the data.

        ``files``: keep or read the checkpoint that the options name.
        ``KeyboardInterrupt`` too, where it comes before the first evaluation.
        """
        options, model = self.options, self.how.model
        known = known_parameters(experiments, model, options.initial)
        box = make_box(
            experiments,
            model,
            options.bounds,
            options.fixed,
            None if known is None else known[1],
            options.searcher.hold_aliases,
        )
        with self.objective(experiments) as objective:
            saturated = tuple(e.name for e in experiments if e.name in self.saturated)
            problem = set_up(objective, box.search, known, options.ridge, saturated)
            paths = (options.checkpoint, options.resume) if files else (None, None)
            keeper = Checkpoint(self._settings(objective, problem), *map(_text, paths))
            search = Search(
                objective,
                problem,
                Budget(self.how.max_evals, self.how.max_time_s, options.callback),
                method=self.how.method,
                checkpoint=keeper,
            )
            status = _run_and_keep(options.searcher, search, self.how.seed, keeper)
            idle = tuple(np.array(model.names)[problem.scale == 0].tolist())
            return Found(
                x=search.best_x,
                fun=search.best_fun,
                status=status,
                search=search,
                box=box,
                no_effect=idle,
                ridge=float(problem.ridge.max()),
                infeasible=dict(objective.infeasible),
                time_s=search.time_s,
            )

    def identify(self, experiments: Sequence[Experiment], found: Found) -> Mapping[str, Any]:
        """Return what the data of a search tell of the parameters that it found."""
        with self.objective(experiments) as objective:
            return _identify(objective, found)

    def compare(self, experiments: Sequence[Experiment], found: Found) -> tuple[Comparison, ...]:
        """Return the loss that a search found beside those known before."""
        with self.objective(experiments) as objective:
            return compare(objective, found.x, found.fun)

    def result(self, found: Found) -> FitResult:
        """Return what a search found, without what else is to be said of it and of the data."""
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
            options=self.how,
            runs=(),
            holdout="",
            ridge=found.ridge,
            bounds_name=box.name,
            bounds=box.space,
            fixed=dict(box.held),
            fixed_why=box.held_why,
            at_bound=_at_bound(box.search, search.scale, found.x),
            no_effect=found.no_effect,
            infeasible=found.infeasible,
            identifiability={},
            notes=tuple(search.notes),
            history=search.history,
            comparisons=(),
            accuracy=(),
            versions=dict(versions()),
            time_s=found.time_s,
        )

    def _settings(self, objective: Objective, problem: Problem) -> dict[str, Any]:
        """Return all that the losses of a search depend on, as JSON values."""
        return {
            "method": self.how.method,
            "model": self.how.model.name,
            "loss": self.how.loss,
            "seed": self.how.seed,
            "bounds": problem.space.as_dict(),
            "ridge": problem.ridge.tolist(),
            "weights": list(objective.weights),
            "data": [data_hash(experiment) for experiment in objective.experiments],
            "starting points": [x.tolist() for _, x in problem.starts],
            "saturated": list(problem.saturated),
        }


@dataclasses.dataclass(frozen=True)
class Found:
    """What one search ended with."""

    x: FloatArray
    fun: float
    status: FitStatus
    search: Search
    box: Box
    no_effect: tuple[str, ...]
    ridge: float
    infeasible: dict[str, int]
    time_s: float


def _run_and_keep(method: Method, search: Search, seed: int, keeper: Checkpoint) -> FitStatus:
    """Search and save the checkpoint; Ctrl-C in either is the end, once there is a best."""
    try:
        try:
            return _run(method, search, seed)
        finally:
            _save(search, keeper)
    except KeyboardInterrupt:
        if not search.evaluated:
            raise  # nothing to give back
        return FitStatus.INTERRUPTED


def _text(path: str | os.PathLike[str] | None) -> str | None:
    return None if path is None else os.fspath(path)


def _save(search: Search, keeper: Checkpoint) -> None:
    try:
        keeper.save(search.time_s)
    except KeyboardInterrupt:
        search.note("Ctrl-C came while the checkpoint was saved: it may lack the last evaluations")
        raise


def _run(method: Method, search: Search, seed: int) -> FitStatus:
    try:
        if search.free.size:
            method.run(search, seed)
        else:
            search.note("no free parameter has an effect on these runs: there is nothing to search")
            search.batch(search.starts[-1][1][np.newaxis])
        status = FitStatus.CONVERGED
    except SearchEnd as end:
        status = end.status
    except Escape as exc:
        raise exc.error from exc.error.__cause__
    if status.success and not math.isfinite(search.best_loss):
        return FitStatus.INFEASIBLE
    return status


def _identify(objective: Objective, found: Found) -> Mapping[str, Any]:
    """Return what the data tell of the parameters, or nothing where ``x`` can't be simulated."""
    if found.status is FitStatus.INFEASIBLE or not math.isfinite(objective(found.x)):
        return {}
    fixed = {*found.box.held, *found.no_effect}
    requests = sum(len(experiment.workload) for experiment in objective.experiments)
    try:
        told = identify(
            objective,
            found.x,
            fixed=fixed,
            bounds=found.box.space,
            reasons=requests <= _EXPLAINED,
        )
    except ParameterError as exc:  # all are at a bound
        return {"summary": [f"what the data tell of the parameters: {exc}"]}
    return {**told.as_dict(), "summary": told.format().splitlines()}


def _at_bound(space: Space, scale: FloatArray, x: FloatArray) -> dict[str, str]:
    """Return the free parameters at a bound; ``scale`` tells how wide an open interval is."""
    overhead = np.array([name in OVERHEADS for name in space.names])
    share = np.where(overhead, _AT_BOUND_OVERHEAD, _AT_BOUND_COEFFICIENT)
    with np.errstate(over="ignore"):  # so wide that it is open
        span = space.upper - space.lower
        near = np.where(np.isfinite(span), share * span, _AT_BOUND_OPEN * scale)
        at_lower = (span > 0) & (x - space.lower <= near)
        at_upper = (span > 0) & (space.upper - x <= near)
    return {
        space.names[i]: "lower" if at_lower[i] else "upper"
        for i in np.flatnonzero(at_lower | at_upper)
    }
