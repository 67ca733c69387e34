"""The space that a fit searches: kinds of bounds, boxes, and held parameters."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from .._io.files import read_json
from ..errors import FitError, ParameterError, nearest
from ..experiment import Experiment
from ..models import StepModel
from ..parameters import Parameters, Space

Bounds: TypeAlias = str | os.PathLike[str] | Mapping[str, Any] | Space
Fixed: TypeAlias = Mapping[str, float | None] | Iterable[str]

KINDS = ("nonnegative", "free", "around:SHARE")


@dataclass(frozen=True)
class Box:
    """A space to search, and the parameters that are held in it."""

    name: str
    """Name of the bounds."""
    space: Space
    """The bounds of all parameters."""
    held: Mapping[str, float]
    """Held parameter -> its value."""
    held_why: str
    """Why they are held."""

    @property
    def search(self) -> Space:
        """The space, with both bounds of each held parameter at its value."""
        lower, upper = self.space.lower.copy(), self.space.upper.copy()
        for name, value in self.held.items():
            lower[self.space.model.index(name)] = upper[self.space.model.index(name)] = value
        return Space(lower, upper, self.space.model)


def make_box(
    experiments: Sequence[Experiment],
    model: StepModel,
    bounds: Bounds | None,
    fixed: Fixed | None,
    known: Parameters | None,
    hold_aliases: bool,
) -> Box:
    """Resolve the arguments of ``fit`` into a box with at least one free parameter.

    ``known``: parameters for bounds of the kind ``around``, and values for held parameters. Raises
    ``FitError`` or ``ParameterError`` for unknown names, and for values that are not numbers.
    """
    name, space = _space(experiments, model, bounds, known)
    if fixed is not None:
        held, why = _held(space, fixed, known), "as asked"
    elif hold_aliases:
        held = _held(space, [next(iter(alias)) for alias in model.aliases], known)
        why = "a change in them is undone by other parameters"
    else:
        held, why = {}, ""
    box = Box(name, space, held, why)
    if np.array_equal(box.search.lower, box.search.upper):
        raise FitError("no parameter is free: hold fewer, or widen the bounds")
    return box


def _space(
    experiments: Sequence[Experiment],
    model: StepModel,
    bounds: Bounds | None,
    known: Parameters | None,
) -> tuple[str, Space]:
    if isinstance(bounds, Space):
        if bounds.model != model:
            raise FitError(
                f"the bounds are of model {bounds.model.name!r}, the fit is of {model.name!r}"
            )
        return "given", bounds
    if isinstance(bounds, Mapping):
        return "given", _partial(bounds, model)
    boxes = _boxes(experiments, model)
    if bounds is None:
        bounds = "original" if "original" in boxes else "nonnegative"
    if isinstance(bounds, str):
        if bounds in boxes:
            return bounds, boxes[bounds]
        kind, _, argument = bounds.partition(":")
        if bounds in ("nonnegative", "free"):
            return bounds, _unbounded(model, bounds == "free")
        if kind == "around":
            return bounds, _around(model, argument, bounds, known)
    if not isinstance(bounds, (str, os.PathLike)):
        raise FitError(f"bounds must be a name, a file, a mapping or a Space, got {bounds!r:.40}")
    path = Path(bounds)
    if not bounds or (isinstance(bounds, str) and path.name == bounds and not path.exists()):
        names = (*boxes, *KINDS)
        raise FitError(
            f"unknown bounds {bounds!r}{nearest(str(bounds), names)} "
            f"(bounds: {', '.join(names)}; or give a JSON file)"
        )
    try:
        return str(path), _partial(read_json(path, ParameterError), model)
    except ParameterError as exc:
        text, where = str(exc), str(path)
        raise ParameterError(text if where in text else f"{where}: {text}") from exc


def _boxes(experiments: Sequence[Experiment], model: StepModel) -> dict[str, Space]:
    """Return the named boxes of the first experiment that belong to this model."""
    return {name: box for name, box in experiments[0].bounds.items() if box.model == model}


def _unbounded(model: StepModel, free: bool) -> Space:
    size = len(model.names)
    return Space(np.full(size, -np.inf if free else 0.0), np.full(size, np.inf), model)


def _partial(mapping: Any, model: StepModel) -> Space:
    """Return the box of some names' [lower, upper]; the others are >= 0. None: no bound."""
    space = _unbounded(model, free=False)
    if not isinstance(mapping, Mapping):
        raise ParameterError(
            f"bounds must map names to [lower, upper], got {type(mapping).__name__}"
        )
    return Space.from_mapping({**space.as_dict(), **mapping}, model)


def _around(model: StepModel, argument: str, text: str, known: Parameters | None) -> Space:
    try:
        share = float(argument)
    except ValueError:
        share = -1.0
    if not 0 < share < math.inf:
        raise FitError(
            f"bounds {text!r}: needs a share > 0, as in around:0.5 for half to 1.5 times"
        )
    if known is None:
        raise FitError(
            f"bounds {text!r}: there is nothing to be around: the experiment has no baseline of "
            f"model {model.name!r}; give initial parameters"
        )
    reach = share * np.abs(known.vector)
    return Space(known.vector - reach, known.vector + reach, model)


def _held(space: Space, fixed: Fixed, known: Parameters | None) -> dict[str, float]:
    if not isinstance(fixed, Iterable):
        raise FitError(f"fixed must be names, or a mapping of names to values, got {fixed!r:.40}")
    names = [fixed] if isinstance(fixed, str) else list(fixed)
    model = space.model
    for name in names:
        if not isinstance(name, str) or name not in model.names:
            near = nearest(str(name), model.names) or f" (known: {', '.join(model.names)})"
            raise FitError(f"unknown parameter {name!r} in fixed{near}")
    values = fixed if isinstance(fixed, Mapping) else dict.fromkeys(names)
    held = {}
    for name in sorted(values, key=model.index):
        value = values[name]
        held[name] = _usual(space, name, known) if value is None else _number(name, value)
    return held


def _usual(space: Space, name: str, known: Parameters | None) -> float:
    """Return the known value, or else 0, moved into the bounds.

    0 means no overhead, and a coefficient of 0 removes its term.
    """
    i = space.model.index(name)
    lower, upper = float(space.lower[i]), float(space.upper[i])
    return min(max(0.0 if known is None else known[name], lower), upper)


def _number(name: str, value: object) -> float:
    good = isinstance(value, (int, float, np.number)) and not isinstance(value, bool)
    if not good or not math.isfinite(value):  # type: ignore[arg-type]  # if good, it is a number
        raise FitError(f"fixed value of {name!r} must be a finite number, got {value!r}")
    return float(value)  # type: ignore[arg-type]
