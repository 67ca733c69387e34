"""What a fit is asked for, as one value: checked once, and the same for all of its searches.

An option of ``fit`` is a parameter of ``fit`` and a field of ``FitOptions``, of the same name.
"""

from __future__ import annotations

import math
import operator
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from ..errors import FitError
from ..experiment import Experiment
from ..losses import Loss, find_loss
from ..models import ModelLike, StepModel, find_model
from ._methods import Method, find_method
from ._search import Callback
from .bounds import Bounds, Fixed

Path = str | os.PathLike[str]


@dataclass(frozen=True)
class SearchOptions:
    """How a search went about it; the result and its record keep this."""

    method: str
    """A name of ``METHODS``."""
    model: StepModel
    """The terms of a step, whose coefficients were searched."""
    loss: str
    """The loss, as ``Loss.parse`` reads it."""
    seed: int
    """Of the method's random numbers."""
    max_evals: int
    """Evaluations at most."""
    max_time_s: float | None
    """Seconds at most; None: no limit."""


@dataclass(frozen=True)
class FitOptions:
    """The arguments of ``fit`` beside the experiments; ``FitError`` for one that is wrong."""

    method: str
    model: ModelLike | None
    loss: str | Loss
    bounds: Bounds | None
    fixed: Fixed | None
    weights: Sequence[float] | None
    holdout: str | Sequence[str] | None
    initial: object
    ridge: float | None
    max_evals: int | None
    max_time_s: float | None
    seed: int | None
    callback: Callback | None
    checkpoint: Path | None
    resume: Path | None
    strict: bool

    def __post_init__(self) -> None:
        self.searcher.require()
        if self.model is not None:
            find_model(self.model)
        find_loss(self.loss)
        if self.ridge is not None:
            ridge = _float(self.ridge)
            if not 0 <= ridge < math.inf:
                raise FitError(f"ridge must be a number >= 0, got {self.ridge!r:.40}")
            object.__setattr__(self, "ridge", ridge)
        if isinstance(self.fixed, Iterator):  # each fold reads it
            object.__setattr__(self, "fixed", tuple(self.fixed))
        for name, least in (("max_evals", 1), ("seed", 0)):
            _check_count(name, getattr(self, name), least)
        if self.max_time_s is not None:
            time_s = _float(self.max_time_s)
            if not 0 < time_s < math.inf:
                raise FitError(
                    f"max_time_s must be a number of seconds > 0, got {self.max_time_s!r:.40}"
                )
            object.__setattr__(self, "max_time_s", time_s)
        if self.callback is not None and not callable(self.callback):
            raise FitError(f"callback must be a function, got {self.callback!r}")
        for name in ("checkpoint", "resume"):
            value = getattr(self, name)
            if value is not None and not isinstance(value, (str, os.PathLike)):
                raise FitError(f"{name} must be the path of a file, got {value!r:.40}")

    @property
    def searcher(self) -> Method:
        """The method, with its defaults."""
        return find_method(self.method)

    def search(self, runs: Sequence[Experiment]) -> SearchOptions:
        """Return how to search on these runs, with the defaults filled in."""
        method = self.searcher
        max_evals = method.max_evals if self.max_evals is None else self.max_evals
        return SearchOptions(
            method=method.name,
            model=find_model(_usual_model(runs) if self.model is None else self.model),
            loss=find_loss(self.loss).name,
            seed=operator.index(method.seed if self.seed is None else self.seed),
            max_evals=operator.index(max_evals),
            max_time_s=self.max_time_s,
        )


def _usual_model(experiments: Sequence[Experiment]) -> str:
    """Return the model for which something is known already, or the one that predicts best."""
    known = any(e.baseline is not None or e.bounds for e in experiments)
    return "quadratic15" if known else "extended"


def _check_count(name: str, value: object, least: int) -> None:
    """Check a whole number that numpy takes as a seed: its legacy seeds end at 2**32."""
    if value is None:
        return
    try:
        number = operator.index(value)  # type: ignore[arg-type]  # TypeError is what we look for
    except TypeError:
        number = -1
    if isinstance(value, bool) or not least <= number < 2**32:
        raise FitError(f"{name} must be an integer from {least} to 2**32 - 1, got {value!r:.40}")


def _float(value: object) -> float:
    """Return a number as a float; NaN for what is none, or is too large."""
    if isinstance(value, bool) or not isinstance(value, (int, float, np.integer, np.floating)):
        return math.nan
    try:
        return float(value)
    except OverflowError:
        return math.nan
