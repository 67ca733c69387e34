"""Data that a fit does not see: runs, the end of each run, every N-th request, or folds of runs.

Held-out requests still load the simulated server, as they loaded the real one. The fit only does
not see their latencies.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from ..errors import FitError, nearest
from ..experiment import Experiment

Mask = Callable[[Experiment], npt.NDArray[np.bool_]]

KINDS = "runs:NAME[;NAME...], time:SHARE, alternate[:N], kfold[:K]"
_DEFAULT_FOLDS = 5


class Split(NamedTuple):
    """The data of one fit. In each part, the latencies of the other part are NaN."""

    train: tuple[Experiment, ...]
    """Experiments to fit to."""
    held_out: tuple[Experiment, ...]
    """Experiments to predict afterwards."""


class Holdout(NamedTuple):
    """How data are held out."""

    text: str
    """The user's description."""
    final: Split
    """Split of the fit that gives the resulting parameters."""
    folds: tuple[Split, ...] = ()
    """If not empty: splits of further fits, one per fold. They give the held-out errors, and the
    final fit sees all data."""


def hold_out(experiments: tuple[Experiment, ...], holdout: str | Sequence[str] | None) -> Holdout:
    """Split experiments as ``holdout`` says.

    None: nothing is held out. ``"runs:a;b"``, or a sequence of names: these runs. ``"time:0.3"``:
    the last 30 % of each run's requests, by arrival. ``"alternate"``, ``"alternate:3"``: every
    second, or third, request of each run. ``"kfold:5"``: each run is in one of 5 folds. By default
    there are as many folds as runs, which is also the most.

    Raises ``FitError`` for anything else, and if nothing is left to fit or to predict.
    """
    if holdout is None:
        return Holdout("", Split(experiments, ()))
    if not isinstance(holdout, str):
        if not isinstance(holdout, Sequence) or not holdout:
            raise FitError(f"holdout must be a text or the names of runs, got {holdout!r}")
        return _runs(experiments, list(holdout))
    kind, _, argument = holdout.partition(":")
    if kind == "runs":
        return _runs(experiments, [name.strip() for name in argument.split(";")])
    if kind == "time":
        return _time(experiments, holdout, argument)
    if kind == "alternate":
        every = _integer(holdout, argument, 2, least=2)
        return _masked(experiments, f"alternate:{every}", lambda e: _alternate(e, every))
    if kind == "kfold":
        return _kfold(experiments, holdout, argument)
    known = ("runs", "time", "alternate", "kfold")
    raise FitError(f"unknown holdout {holdout!r}{nearest(kind, known)} (known: {KINDS})")


def _runs(experiments: tuple[Experiment, ...], names: list[str]) -> Holdout:
    known = [e.name for e in experiments]
    for name in names:
        if name not in known:
            raise FitError(
                f"holdout: no run is named {name!r}{nearest(str(name), known)} "
                f"(runs: {', '.join(known)})"
            )
    held = tuple(e for e in experiments if e.name in names)
    train = tuple(e for e in experiments if e.name not in names)
    if not train:
        raise FitError("holdout: every run is held out, nothing is left to fit: name fewer")
    return Holdout("runs:" + ";".join(e.name for e in held), Split(train, held))


def _time(experiments: tuple[Experiment, ...], text: str, argument: str) -> Holdout:
    try:
        share = float(argument)
    except ValueError:
        share = -1.0
    if not 0 < share < 1:
        raise FitError(f"holdout {text!r}: needs a share of each run from 0 to 1, as in time:0.3")
    return _masked(experiments, f"time:{share:g}", lambda e: _last(e, share))


def _kfold(experiments: tuple[Experiment, ...], text: str, argument: str) -> Holdout:
    runs = len(experiments)
    if runs < 2:
        raise FitError(
            f"holdout {text!r}: folds are made of runs, and there is one: give more runs, or hold "
            "out some of its requests (time:0.3, alternate)"
        )
    folds = min(_integer(text, argument, _DEFAULT_FOLDS, least=2), runs)
    splits = []
    for fold in range(folds):
        held = tuple(e for i, e in enumerate(experiments) if i % folds == fold)
        train = tuple(e for i, e in enumerate(experiments) if i % folds != fold)
        splits.append(Split(train, held))
    return Holdout(f"kfold:{folds}", Split(experiments, ()), tuple(splits))


def _masked(experiments: tuple[Experiment, ...], text: str, held: Mask) -> Holdout:
    splits = [(_only(e, ~held(e)), _only(e, held(e))) for e in experiments]
    for experiment, (train, test) in zip(experiments, splits, strict=True):
        for part, what in ((train, "to fit"), (test, "to predict")):
            if not np.isfinite(part.e2e).any() and not np.isfinite(part.ttft).any():
                raise FitError(
                    f"holdout {text!r}: experiment {experiment.name!r} has no measured request "
                    f"left {what}"
                )
    return Holdout(text, Split(tuple(a for a, _ in splits), tuple(b for _, b in splits)))


def _only(experiment: Experiment, keep: npt.NDArray[np.bool_]) -> Experiment:
    return dataclasses.replace(
        experiment,
        ttft=np.where(keep, experiment.ttft, np.nan),
        e2e=np.where(keep, experiment.e2e, np.nan),
    )


def _rank(experiment: Experiment) -> npt.NDArray[np.intp]:
    """Return each request's position by arrival."""
    order = np.argsort(experiment.workload.arrival_s, kind="stable")
    rank = np.empty_like(order)
    rank[order] = np.arange(order.size)
    return rank


def _alternate(experiment: Experiment, every: int) -> npt.NDArray[np.bool_]:
    held: npt.NDArray[np.bool_] = _rank(experiment) % every == every - 1
    return held


def _last(experiment: Experiment, share: float) -> npt.NDArray[np.bool_]:
    held: npt.NDArray[np.bool_] = _rank(experiment) >= (1 - share) * len(experiment.workload)
    return held


def _integer(text: str, argument: str, default: int, least: int) -> int:
    if not argument:
        return default
    try:
        number = int(argument)
    except ValueError:
        number = least - 1
    if number < least:
        raise FitError(f"holdout {text!r}: {argument!r} must be an integer >= {least}")
    return number
