"""``fit``: from an experiment to a ``FitResult``."""

from __future__ import annotations

import dataclasses
import math
import operator
import os
from collections.abc import Iterable, Sequence
from typing import TypeAlias

import numpy as np

from ..errors import FitError
from ..experiment import Experiment, load_experiment
from ..losses import Loss
from ..objective import Objective
from ..parameters import OVERHEADS, Space
from ._methods import Method, find_method
from ._search import Callback, FloatArray, Search, SearchEnd
from .bounds import Bounds, Box, Fixed, make_box
from .compare import compare
from .result import FitResult
from .status import FitStatus

Experiments: TypeAlias = Experiment | str | os.PathLike[str] | Sequence[Experiment]

# At a bound is within this share of the box's width. Boxes of coefficients are wide: a
# ten-thousandth of the original one still matters. Overheads count in whole microseconds.
_AT_BOUND_COEFFICIENT = 1e-5
_AT_BOUND_OVERHEAD = 1e-3


def fit(
    experiments: Experiments,
    method: str = "cmaes",
    *,
    loss: str | Loss = "original",
    bounds: Bounds | None = None,
    fixed: Fixed | None = None,
    max_evals: int | None = None,
    max_time_s: float | None = None,
    seed: int | None = None,
    callback: Callback | None = None,
) -> FitResult:
    """Search the parameters with the least loss on an experiment.

    ``experiments``: an ``Experiment``, the name of a bundled one, or a file (a sequence may hold
    one of them). ``method``: a name of ``METHODS``. ``loss``: a ``Loss``, or a text that
    ``Loss.parse`` reads.
    ``bounds``: the name of a box of the experiment, ``"default"``, a ``Space``, a mapping
    ``{name: [lower, upper]}`` or a JSON file of it; without it the experiment's ``"original"``
    box, or else ``"default"``. ``fixed``: names to hold, or name -> value (coefficients in
    seconds, overheads in microseconds); a name alone, or with None, is held at its baseline, moved
    into the bounds, or without a baseline at the lower bound. Without ``fixed``, all methods
    but ``bayes`` hold ``schedule_time``, ``update_time`` and ``queue_overhead``, which change
    nothing that others can't; ``()`` frees all. ``max_evals``, ``seed``: by default the method's
    own.

    The same arguments give the same result, bit for bit, unless ``max_time_s`` cuts it short.
    ``callback`` is called with a ``FitProgress`` after each batch; it ends the fit by raising
    ``StopIteration``. Ctrl-C ends it too: the best so far is returned, with ``success`` False.

    Raises ``FitError``, ``ParameterError`` or ``ExperimentError`` for arguments that make no
    fit, and ``MissingExtraError`` where the method's library is not installed.
    """
    experiment = _one_experiment(experiments)
    chosen = find_method(method)
    chosen.require()
    max_evals = _count("max_evals", chosen.max_evals if max_evals is None else max_evals, 1)
    seed = _count("seed", chosen.seed if seed is None else seed, 0)
    max_time_s = _seconds(max_time_s)
    box = make_box(experiment, bounds, fixed, chosen.hold_aliases)
    with Objective(experiment, loss=loss) as objective:
        search = Search(
            objective,
            box.search,
            method=chosen.name,
            max_evals=max_evals,
            max_time_s=max_time_s,
            callback=callback,
        )
        status = _run(chosen, search, seed)
        result = _result(experiment, objective, search, status, chosen, box, seed, max_time_s)
        rows = compare(objective, result.x, result.fun)
    return dataclasses.replace(result, comparisons=rows)


def _run(method: Method, search: Search, seed: int) -> FitStatus:
    try:
        method.run(search, seed)
        status = FitStatus.CONVERGED
    except SearchEnd as end:
        status = end.status
    except KeyboardInterrupt:
        if search.best is None:
            raise  # nothing to give back
        status = FitStatus.INTERRUPTED
    assert search.best is not None  # every method evaluates before it ends
    if status.success and not math.isfinite(search.best[0]):
        return FitStatus.INFEASIBLE
    return status


def _result(
    experiment: Experiment,
    objective: Objective,
    search: Search,
    status: FitStatus,
    method: Method,
    box: Box,
    seed: int,
    max_time_s: float | None,
) -> FitResult:
    assert search.best is not None
    fun, x = search.best
    x.setflags(write=False)
    return FitResult(
        x=x,
        fun=fun,
        unit=objective.loss.unit,
        status=status,
        nfev=search.nfev,
        njev=search.njev,
        nit=search.nit,
        experiment=experiment.name,
        config=experiment.config,
        method=method.name,
        seed=seed,
        loss=objective.loss.name,
        max_evals=search.max_evals,
        max_time_s=max_time_s,
        bounds_name=box.name,
        bounds=box.space,
        fixed=dict(box.held),
        fixed_why=box.held_why,
        at_bound=_at_bound(box.search, x),
        infeasible=dict(objective.infeasible),
        history=search.history,
        comparisons=(),
        caveat=experiment.caveat,
        time_s=search.time_s,
    )


def _at_bound(space: Space, x: FloatArray) -> dict[str, str]:
    coefficients = space.at_bound(x, rtol=_AT_BOUND_COEFFICIENT)
    overheads = space.at_bound(x, rtol=_AT_BOUND_OVERHEAD)
    return {
        name: side for name, side in overheads.items() if name in OVERHEADS or name in coefficients
    }


def _one_experiment(experiments: Experiments) -> Experiment:
    if isinstance(experiments, Experiment):
        return experiments
    if isinstance(experiments, (str, os.PathLike)):
        return load_experiment(experiments)
    if not isinstance(experiments, Iterable):
        raise FitError(f"expected an experiment, got {type(experiments).__name__}")
    several = list(experiments)
    if len(several) != 1:
        raise FitError(f"a fit takes one experiment, got {len(several)}: fit them one by one")
    return _one_experiment(several[0])


def _count(name: str, value: object, least: int) -> int:
    try:
        number = operator.index(value)  # type: ignore[arg-type]  # TypeError is what we look for
    except TypeError:
        number = -1
    if isinstance(value, bool) or not least <= number < 2**32:  # numpy's legacy seeds end there
        raise FitError(f"{name} must be an integer from {least} to 2**32 - 1, got {value!r}")
    return number


def _seconds(max_time_s: object) -> float | None:
    if max_time_s is None:
        return None
    good = isinstance(max_time_s, (int, float, np.number)) and not isinstance(max_time_s, bool)
    if not good or not 0 < max_time_s < math.inf:  # type: ignore[operator]  # it is a number
        raise FitError(f"max_time_s must be a number of seconds > 0, got {max_time_s!r}")
    return float(max_time_s)  # type: ignore[arg-type]
