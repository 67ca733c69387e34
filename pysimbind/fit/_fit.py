"""``fit``: from measured runs to a ``FitResult``."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Sequence

from ..checks import CheckReport, check_experiment
from ..errors import FitError
from ..experiment import Experiment
from ..losses import Loss
from ..models import StepModel
from ..objective import Experiments, as_experiments, check_weights
from ._options import FitOptions
from ._provenance import data_hash
from ._search import Callback, FloatArray
from ._stages import Stages
from ._task import Found, Task
from .bounds import Bounds, Fixed
from .evaluate import evaluate
from .holdout import Holdout, Split, hold_out
from .result import FitResult, FittedRun
from .status import FitStatus


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
    far is returned, with ``success`` False; after the search, without what is then left to compute,
    as ``notes`` say. ``checkpoint``: a file that keeps what was evaluated;
    ``resume``: such a file, from which a fit with the same arguments goes on to the same bits.

    Raises ``FitError``, ``ParameterError`` or ``ExperimentError`` for arguments that make no
    fit, ``DataError`` where ``strict`` refuses the data, and ``MissingExtraError`` where the
    method's library is not installed.
    """
    arguments = dict(locals())  # all of the above, by name
    del arguments["experiments"]
    options = FitOptions(**arguments)
    return _fit(as_experiments(experiments), options)


def _fit(given: tuple[Experiment, ...], options: FitOptions) -> FitResult:
    reports = _check(given, options.strict)
    runs = tuple(report.experiment for report in reports)
    task = Task(
        options=options,
        how=options.search(runs),
        weights=_by_name(runs, options.weights),
        saturated=tuple(r.experiment.name for r in reports if r.saturated),
    )
    held = hold_out(runs, options.holdout)
    if held.folds and (options.checkpoint or options.resume):
        raise FitError("a fit in folds has no checkpoint: each fold is a search of its own")
    described = _runs(task, given, reports, held)  # before there is a result to lose
    found, folds = _search(task, held)
    result = dataclasses.replace(task.result(found), runs=described, holdout=held.text)
    return _completed(result, task, found, held, folds)


def _check(experiments: Sequence[Experiment], strict: bool) -> list[CheckReport]:
    reports = [check_experiment(experiment) for experiment in experiments]
    if strict:
        for report in reports:
            report.refuse()
    return reports


def _search(task: Task, held: Holdout) -> tuple[Found, list[tuple[FloatArray, Split]]]:
    """Return what the final search ended with, and x of each fold; Ctrl-C leaves out the rest."""
    found = task.search(held.final.train, files=True)
    folds: list[tuple[FloatArray, Split]] = []
    status = found.status
    for split in held.folds:
        if status is FitStatus.INTERRUPTED:
            break
        try:
            fold = task.search(split.train)
        except KeyboardInterrupt:  # before its first evaluation
            status = FitStatus.INTERRUPTED
            break
        if fold.status is FitStatus.INTERRUPTED:
            status = fold.status
        else:
            folds.append((fold.x, split))
    if status is FitStatus.INTERRUPTED and held.folds:
        found.search.note(f"held-out errors are those of {len(folds)} of {len(held.folds)} folds")
        found = dataclasses.replace(found, status=status)
    return found, folds


def _completed(
    result: FitResult,
    task: Task,
    found: Found,
    held: Holdout,
    folds: Sequence[tuple[FloatArray, Split]],
) -> FitResult:
    """Add what takes more simulations; Ctrl-C leaves out the rest, and the notes say what."""
    stages, train = Stages(task.options.callback, result.status), held.final.train
    identifiability = stages.run(
        "what the data tell of the parameters",
        lambda: task.identify(train, found),
        result.identifiability,
    )
    comparisons = stages.run(
        "losses known before", lambda: task.compare(train, found), result.comparisons
    )
    accuracy = stages.run(
        "accuracy", lambda: evaluate(task.how.model, found.x, held.final, folds), result.accuracy
    )
    return dataclasses.replace(
        result,
        status=stages.status,
        notes=(*result.notes, *stages.notes),
        identifiability=identifiability,
        comparisons=comparisons,
        accuracy=accuracy,
    )


def _runs(
    task: Task, given: Sequence[Experiment], reports: Sequence[CheckReport], held: Holdout
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


def _by_name(
    experiments: Sequence[Experiment], weights: Sequence[float] | None
) -> dict[str, float]:
    given = check_weights(weights, experiments)
    return {e.name: weight for e, weight in zip(experiments, given, strict=True)}
