"""Distributions of token counts, for prompts and outputs.

Lengths are whole numbers >= 1. A draw of a continuous distribution is rounded to the nearest
integer, then clipped to [min, max]. Each request uses one draw whatever the limits are, so a limit
changes only the requests outside it. ``mean``, ``median``, ``cv`` and ``sigma`` describe the
distribution before rounding and clipping.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np

from .._arguments import integer, positive
from .._io.files import read_json
from ..errors import WorkloadError
from ..workload import FloatArray, IntArray
from ._spec import parse_kind

__all__ = [
    "LENGTHS",
    "Constant",
    "Empirical",
    "Gamma",
    "Lengths",
    "Lognormal",
    "Uniform",
    "as_lengths",
]

_END = 2**26  # as in Workload: squared token counts stay exact in a float64


class Lengths(ABC):
    """A distribution of token counts."""

    @abstractmethod
    def sample(self, rng: np.random.Generator, size: int) -> IntArray:
        """Return token counts [size], all >= 1. Shorter samples begin longer ones."""


@dataclass(frozen=True)
class Constant(Lengths):
    """Always ``tokens``."""

    tokens: int

    def __post_init__(self) -> None:
        object.__setattr__(self, "tokens", _tokens("tokens", self.tokens))

    def sample(self, rng: np.random.Generator, size: int) -> IntArray:
        """Return ``tokens`` [size] times, without a random draw."""
        return np.full(size, self.tokens, dtype=np.int64)


@dataclass(frozen=True)
class Uniform(Lengths):
    """Every whole number from ``low`` to ``high``, both included, with equal probability."""

    low: int
    high: int

    def __post_init__(self) -> None:
        _check_limits(self, "low", "high")

    def sample(self, rng: np.random.Generator, size: int) -> IntArray:
        """Return token counts [size]."""
        return rng.integers(self.low, self.high, size=size, endpoint=True)


@dataclass(frozen=True, kw_only=True)
class Lognormal(Lengths):
    """exp of a normal variable with standard deviation ``sigma``, around ``median``."""

    median: float
    sigma: float
    min: int = 1
    max: int = _END - 1

    def __post_init__(self) -> None:
        positive("median", self.median, finite=True)
        positive("sigma", self.sigma, finite=True)
        _check_limits(self)

    @classmethod
    def of(
        cls,
        *,
        mean: float | None = None,
        median: float | None = None,
        cv: float | None = None,
        sigma: float | None = None,
        min: int = 1,
        max: int = _END - 1,
    ) -> Lognormal:
        """Make one from ``mean`` = median exp(sigma²/2) or the median, and from ``cv`` or sigma.

        ``cv``, the coefficient of variation, is sqrt(exp(sigma²) - 1).
        """
        if sigma is None:
            spread = _check_cv(_one_of(cv=cv, sigma=sigma)[1])
            sigma = math.sqrt(math.log1p(spread * spread))
        else:
            _one_of(cv=cv, sigma=sigma)
        if median is None:
            middle = positive(*_one_of(mean=mean, median=median), finite=True)
            median = middle * math.exp(-(sigma * sigma) / 2)
        else:
            _one_of(mean=mean, median=median)
        return cls(median=median, sigma=sigma, min=min, max=max)

    def sample(self, rng: np.random.Generator, size: int) -> IntArray:
        """Return token counts [size]."""
        exponents = math.log(self.median) + self.sigma * rng.standard_normal(size)
        # Not rng.lognormal: it overflows to infinity, with a warning.
        return _whole(np.exp(np.minimum(exponents, math.log(_END))), self.min, self.max)


@dataclass(frozen=True, kw_only=True)
class Gamma(Lengths):
    """Gamma distributed with ``mean`` and coefficient of variation ``cv``: shape 1 / cv²."""

    mean: float
    cv: float
    min: int = 1
    max: int = _END - 1

    def __post_init__(self) -> None:
        positive("mean", self.mean, finite=True)
        _check_cv(self.cv)
        _check_limits(self)

    def sample(self, rng: np.random.Generator, size: int) -> IntArray:
        """Return token counts [size]."""
        draws = rng.gamma(1 / self.cv**2, self.mean * self.cv**2, size)
        return _whole(draws, self.min, self.max)


@dataclass(frozen=True)
class Empirical(Lengths):
    """One of the observed ``values``, drawn with replacement. Repeated values are likelier."""

    values: tuple[int, ...]

    def __post_init__(self) -> None:
        values: Iterable[Any] = self.values
        checked = tuple(_tokens(f"value {i}", value) for i, value in enumerate(values))
        if not checked:
            raise WorkloadError("an empirical distribution needs at least one value")
        object.__setattr__(self, "values", checked)

    def sample(self, rng: np.random.Generator, size: int) -> IntArray:
        """Return token counts [size]."""
        return np.array(self.values, dtype=np.int64)[rng.integers(len(self.values), size=size)]


def _empirical(*values: int, file: str = "") -> Empirical:
    """Use the given values, or the list in a JSON file."""
    if bool(values) == bool(file):
        raise WorkloadError("give values, as in 'empirical:16,32', or 'file=lengths.json'")
    if not file:
        return Empirical(values)
    listed = read_json(file, WorkloadError)
    if not isinstance(listed, list):
        raise WorkloadError(f"{file}: must be a JSON list of token counts")
    try:
        return Empirical(tuple(listed))
    except WorkloadError as exc:
        raise WorkloadError(f"{file}: {exc}") from None


LENGTHS: Mapping[str, Any] = MappingProxyType(
    {
        "constant": Constant,
        "uniform": Uniform,
        "lognormal": Lognormal.of,
        "gamma": Gamma,
        "empirical": _empirical,
    }
)
"""The kinds that a text may name."""


def as_lengths(value: Lengths | str | int, what: str = "lengths") -> Lengths:
    """Return a distribution itself, a number as a constant, or parse a text.

    Texts: ``"128"``, ``"constant:128"``, ``"uniform:16,512"``, ``"lognormal:mean=512,cv=0.8,
    max=2048"``, ``"lognormal:median=300,sigma=1"``, ``"gamma:mean=200,cv=0.5"``,
    ``"empirical:16,64,64,256"``, ``"empirical:file=lengths.json"``. Raises ``WorkloadError`` for
    anything else, with ``what`` in its message.
    """
    if isinstance(value, Lengths):
        return value
    if not isinstance(value, str):
        return Constant(_tokens(what, value))
    text = value.strip()
    lengths: Lengths = parse_kind(f"constant:{text}" if text.isdecimal() else text, what, LENGTHS)
    return lengths


def _tokens(name: str, value: Any) -> int:
    return integer(name, value, 1, _END)


def _whole(draws: FloatArray, least: int, most: int) -> IntArray:
    return np.clip(np.rint(draws), least, most).astype(np.int64)


def _check_limits(lengths: Lengths, low: str = "min", high: str = "max") -> None:
    least = _tokens(low, getattr(lengths, low))
    if _tokens(high, getattr(lengths, high)) < least:
        raise WorkloadError(f"{high} ({getattr(lengths, high)}) is below {low} ({least})")


def _check_cv(cv: Any) -> float:
    number = positive("cv", cv)
    if not 1e-3 <= number <= 1e3:  # outside, floats cannot use a shape of 1 / cv²
        raise WorkloadError(f"cv must be from 0.001 to 1000, got {cv!r}")
    return number


def _one_of(**fields: float | None) -> tuple[str, Any]:
    """Return the name and value of the only given field. Exactly one must be given."""
    given = [(name, value) for name, value in fields.items() if value is not None]
    if len(given) != 1:
        raise WorkloadError(f"give {' or '.join(fields)}, got {'both' if given else 'neither'}")
    return given[0]
