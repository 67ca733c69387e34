"""Where a fit searches: named boxes, files, and the parameters that it holds."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from ..errors import FitError, nearest
from ..experiment import Experiment
from ..parameters import ALIASES, NAMES, Space

Bounds: TypeAlias = str | os.PathLike[str] | Mapping[str, Any] | Space
Fixed: TypeAlias = Mapping[str, float | None] | Iterable[str]

DEFAULT_BOUNDS = Space.from_mapping(
    {
        # s per decoded or prefilled token: small models on a GPU need 1e-5, CPUs 1e-3
        "sum_decode_tokens": [0, 1e-3],
        "sum_prefill_tokens": [0, 1e-3],
        "max_prefill_tokens": [0, 1e-3],
        "num_prefills": [0, 1e-2],
        # s per pair of decoded tokens, or of decoded token and other
        "sum_decode_tokenss2": [0, 1e-5],
        "sum_decode_tokensmsumprefill_tokens": [0, 1e-5],
        "sum_decode_tokensmmaxprefill_tokens": [0, 1e-5],
        "sum_decode_tokensmnumprefills": [0, 1e-4],
        # s per pair of prefilled tokens: 2048 of them squared are 4e6
        "sum_prefill_tokenss2": [0, 1e-6],
        "sum_prefill_tokensmmaxprefill_tokens": [0, 1e-6],
        "sum_prefill_tokensmnumprefills": [0, 1e-5],
        "max_prefill_tokenss2": [0, 1e-6],
        "max_prefill_tokensmnumprefills": [0, 1e-5],
        "num_prefillss2": [0, 1e-3],
        "intercept": [0, 0.1],
        # us
        "schedule_time": [0, 2000],
        "update_time": [0, 2000],
        "queue_overhead": [0, 10000],
        "vllm_overhead": [0, 50000],
    }
)
"""The box named ``default``: no time is negative, and steps reach 0.1 s before a token is done."""

# Moving along an alias changes no simulated time: holding its first name takes the freedom away.
ALIASED = tuple(next(iter(alias)) for alias in ALIASES)


@dataclass(frozen=True)
class Box:
    """A space to search, by name, and what is held in it: ``held`` maps name to value."""

    name: str
    space: Space
    held: Mapping[str, float]
    held_why: str

    @property
    def search(self) -> Space:
        """The space with each held parameter's bounds closed around its value."""
        lower, upper = self.space.lower.copy(), self.space.upper.copy()
        for name, value in self.held.items():
            lower[NAMES.index(name)] = upper[NAMES.index(name)] = value
        return Space(lower, upper)


def make_box(
    experiment: Experiment, bounds: Bounds | None, fixed: Fixed | None, hold_aliases: bool
) -> Box:
    """Resolve what ``fit`` was given into a box with at least one free parameter.

    Raises ``FitError`` or ``ParameterError`` for unknown names and values that are no numbers.
    """
    name, space = _space(experiment, bounds)
    if fixed is not None:
        held, why = _held(experiment, space, fixed), "as asked"
    elif hold_aliases:
        held = _held(experiment, space, ALIASED)
        why = "a change in them is undone by intercept and vllm_overhead"
    else:
        held, why = {}, ""
    box = Box(name, space, held, why)
    if np.array_equal(box.search.lower, box.search.upper):
        raise FitError("no parameter is free: hold fewer, or widen the bounds")
    return box


def _space(experiment: Experiment, bounds: Bounds | None) -> tuple[str, Space]:
    if isinstance(bounds, Space):
        return "given", bounds
    if isinstance(bounds, Mapping):
        return "given", Space.from_mapping(bounds)
    known = {"default": DEFAULT_BOUNDS, **experiment.bounds}
    if bounds is None:
        bounds = "original" if "original" in known else "default"
    if isinstance(bounds, str) and bounds in known:
        return bounds, known[bounds]
    path = Path(bounds)
    if isinstance(bounds, str) and path.name == bounds and not path.exists():
        raise FitError(
            f"unknown bounds {bounds!r}{nearest(bounds, known)} "
            f"(bounds of {experiment.name}: {', '.join(known)}; or give a JSON file)"
        )
    return str(path), Space.load(path)


def _held(experiment: Experiment, space: Space, fixed: Fixed) -> dict[str, float]:
    names = [fixed] if isinstance(fixed, str) else fixed
    values = dict(names) if isinstance(names, Mapping) else dict.fromkeys(names)
    for name in values:
        if name not in NAMES:
            raise FitError(f"unknown parameter {name!r} in fixed{nearest(str(name), NAMES)}")
    held = {}
    for name in sorted(values, key=NAMES.index):
        value = values[name]
        held[name] = _usual(experiment, space, name) if value is None else _number(name, value)
    return held


def _usual(experiment: Experiment, space: Space, name: str) -> float:
    """Return the baseline's value, moved into the bounds; without a baseline, the lower bound.

    At the lower bound of the default box an overhead is absent, and a coefficient's term is off.
    """
    i = NAMES.index(name)
    lower, upper = float(space.lower[i]), float(space.upper[i])
    if experiment.baseline is None:
        return lower
    return min(max(experiment.baseline[name], lower), upper)


def _number(name: str, value: object) -> float:
    good = isinstance(value, (int, float, np.number)) and not isinstance(value, bool)
    if not good or not math.isfinite(value):  # type: ignore[arg-type]  # good says it is a number
        raise FitError(f"fixed value of {name!r} must be a finite number, got {value!r}")
    return float(value)  # type: ignore[arg-type]
