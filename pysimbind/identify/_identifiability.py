"""What a fit's data tell of its parameters, and what they don't."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from .._text import table
from ..errors import ParameterError
from ..trace import StepTrace
from ._directions import Describe, Direction, without
from ._features import explain, steps_of
from ._problem import (
    FloatArray,
    Problem,
    decompose,
    is_determined,
    make_problem,
    noise_variance,
    place,
    singular,
)

_TAKES_PART = 1e-6  # of a direction without effect, by length: more, and a parameter is free


@dataclass(frozen=True, eq=False)
class Identifiability:
    """What ``identifiability`` found; ``str`` of it is the lines of a report.

    ``names`` [P] and ``x`` [P] as given; ``analysed`` are the K that were free and not at a bound.
    ``structural``: a line for each alias of the model. ``singular_values`` [K]: of the Jacobian per
    natural scale, descending. ``rank``: how many directions are known to better than
    ``rank_tolerance`` natural scales. ``directions``: the K - rank others, by few parameters each,
    first those without any effect; without the aliases that ``structural`` tells.
    ``standard_errors`` [P], in each parameter's unit: NaN where a parameter was not analysed or can
    move with no effect. ``noise``: the standard deviation of a residual. ``at_bound``: name ->
    which bound.
    """

    names: tuple[str, ...]
    x: FloatArray
    analysed: tuple[str, ...]
    structural: tuple[str, ...]
    singular_values: FloatArray
    rank: int
    rank_tolerance: float
    directions: tuple[Direction, ...]
    standard_errors: FloatArray
    scale: FloatArray
    noise: float
    at_bound: Mapping[str, str]

    @property
    def undetermined(self) -> tuple[str, ...]:
        """The analysed parameters whose standard error is NaN, or above the tolerance."""
        limit = self.rank_tolerance * self.scale
        return tuple(
            name
            for name, error, most in zip(self.names, self.standard_errors, limit, strict=True)
            if name in self.analysed and not error <= most
        )

    def as_dict(self) -> dict[str, Any]:
        """Return everything as JSON values, NaN as None."""
        errors = [None if math.isnan(error) else error for error in self.standard_errors.tolist()]
        return {
            "x": dict(zip(self.names, self.x.tolist(), strict=True)),
            "analysed": list(self.analysed),
            "structural": list(self.structural),
            "singular_values": self.singular_values.tolist(),
            "rank": self.rank,
            "rank_tolerance": self.rank_tolerance,
            "directions": [direction.as_dict() for direction in self.directions],
            "standard_errors": dict(zip(self.names, errors, strict=True)),
            "scale": dict(zip(self.names, self.scale.tolist(), strict=True)),
            "noise": self.noise,
            "at_bound": dict(self.at_bound),
            "undetermined": list(self.undetermined),
        }

    def __str__(self) -> str:
        values = ", ".join(f"{value:.3g}" for value in self.singular_values / (self.noise or 1.0))
        lines = [
            f"{self.rank} of {len(self.analysed)} directions are determined to better than "
            f"{100 * self.rank_tolerance:g} % of the parameters' size",
            f"singular values per natural scale and noise: {values}",
            *(f"structural: {line}" for line in self.structural),
            *(f"not determined: {direction}" for direction in self.directions),
            table([["parameter", "value", "standard error", ""], *map(self._row, self.names)]),
        ]
        return "\n".join(lines)

    def _row(self, name: str) -> list[str]:
        i = self.names.index(name)
        error = self.standard_errors[i]
        text = "-" if math.isnan(error) else f"{error:.3g}"
        return [name, f"{self.x[i]:.6g}", text, self._remark(name)]

    def _remark(self, name: str) -> str:
        if name in self.at_bound:
            return f"at its {self.at_bound[name]} bound"
        if name not in self.analysed:
            return "held"
        return "not determined" if name in self.undetermined else ""


def identifiability(
    jac: npt.ArrayLike,
    residuals: npt.ArrayLike,
    names: Sequence[str],
    x: npt.ArrayLike,
    *,
    scale: npt.ArrayLike | None = None,
    aliases: Sequence[Mapping[str, float]] = (),
    free: Collection[str] | None = None,
    at_bound: Mapping[str, str] | None = None,
    rank_tolerance: float = 1.0,
    trace: StepTrace | None = None,
) -> Identifiability:
    """Tell which of P parameters, and which combinations, M residuals determine.

    ``jac`` [M, P], ``residuals`` [M] as of ``Objective.linearise`` at the optimum ``x`` [P].
    ``scale`` [P]: a natural size of each parameter, by default |x|. ``aliases``: changes (name ->
    amount) without any effect, as ``StepModel.aliases``. ``free``: the names that were fitted
    (None: all), ``at_bound``: name -> "lower" or "upper", as ``Space.at_bound`` gives; all others
    are held. ``trace``: what the steps did, from which the reasons are derived.

    Let s² = |r|² / (M - rank of J) be the variance of a residual and J_s the Jacobian per natural
    scale. A direction (a right singular vector of J_s with singular value q) has the standard
    error s/q. It is determined, and counts in ``rank``, if that is at most ``rank_tolerance``: by
    default, if it is known to within the size of the parameters. Standard errors are the roots of
    the diagonal of s² (JᵀJ)⁺ (Seber & Wild, Nonlinear Regression, 1989, ch. 2). They take residuals
    for independent, which those of one busy period are not: see ``block_bootstrap``.

    Raises ``ParameterError`` for wrong shapes, unknown names and a scale of 0, ``FitError`` for
    residuals that are not finite, or too few to tell their noise.
    """
    if not 0 < rank_tolerance < math.inf:
        raise ParameterError(f"rank_tolerance must be a finite number > 0, got {rank_tolerance!r}")
    bounds = dict(at_bound or {})
    problem = make_problem(jac, residuals, names, x, scale=scale, free=free, at_bound=bounds)
    errors, variance = standard_errors(problem)
    noise = math.sqrt(variance)
    values, vectors = singular(problem.scaled_jac)
    determined = is_determined(values, noise, rank_tolerance)
    return Identifiability(
        problem.names,
        problem.x,
        problem.kept_names,
        structural=tuple(_structural(problem, alias) for alias in aliases),
        singular_values=values,
        rank=int(determined.sum()),
        rank_tolerance=rank_tolerance,
        directions=_directions(problem, vectors[:, ~determined], noise, aliases, trace),
        standard_errors=errors,
        scale=problem.scale,
        noise=noise,
        at_bound=bounds,
    )


def standard_errors(problem: Problem) -> tuple[FloatArray, float]:
    """Return the standard errors [P], NaN where there is none, and the residuals' variance."""
    lengths, values, vectors = decompose(problem.jac)
    seen = values > 0
    variance = noise_variance(problem, int(seen.sum()))
    known = vectors[:, seen] / values[seen]
    unit = np.sqrt(variance * np.sum(known * known, axis=1)) / lengths
    unit[np.linalg.norm(vectors[:, ~seen], axis=1) > _TAKES_PART] = np.nan
    errors = np.full(len(problem.names), np.nan)
    errors[problem.keep] = unit
    return errors, variance


def _directions(
    problem: Problem,
    weak: FloatArray,
    noise: float,
    aliases: Sequence[Mapping[str, float]],
    trace: StepTrace | None,
) -> tuple[Direction, ...]:
    """Return what of the weak space [K, k] is no alias: first no effect at all, then little."""
    matrix, scale = problem.scaled_jac, problem.scale[problem.keep]

    def error(unit: FloatArray) -> float:
        effect = float(np.linalg.norm(matrix @ unit))
        return noise / effect if effect > 0 else math.inf

    describe = Describe(problem.kept_names, scale, error, _reasons(trace))
    lengths, values, vectors = decompose(problem.jac)
    null = vectors[:, values == 0]
    effects = lengths[:, np.newaxis]
    beside = without(null, _alias_space(problem, aliases) * effects)
    rest = without(weak, null / effects / scale[:, np.newaxis])
    return describe.null(beside, lengths) + describe.weak(rest)


def _alias_space(problem: Problem, aliases: Sequence[Mapping[str, float]]) -> FloatArray:
    """Return the aliases that no held parameter settles, as columns [K, aliases], in own units."""
    names = problem.kept_names
    open_ = [alias for alias in aliases if all(name in names for name in alias)]
    space = np.zeros((len(names), len(open_)))
    for column, alias in enumerate(open_):
        for name, change in alias.items():
            space[names.index(name), column] = change
    return space


def _reasons(trace: StepTrace | None) -> Callable[[Sequence[str]], str]:
    if trace is None:
        return lambda _: ""
    steps = steps_of(trace)
    return lambda names: explain(names, steps)


def _structural(problem: Problem, alias: Mapping[str, float]) -> str:
    """Say that a change has no effect, and whether a held parameter settles it."""
    for name in alias:
        place(name, problem.names, "aliases")
    moves = ", ".join(f"{value:+g} {name}" for name, value in alias.items())
    held = [name for name in alias if name not in problem.kept_names]
    settled = f"; settled here, with {', '.join(held)} held" if held else ""
    return f"{' ↔ '.join(alias)}: a move by {moves} changes nothing{settled}"
