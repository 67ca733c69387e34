"""Which parameters a fit's data determine, and which they do not."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from .._io.text import table
from ..models import StepModel
from ..objective import Objective
from ._directions import Describe, Direction, Why, without
from ._features import Reasons
from ._problem import Bounds, FloatArray, Problem, make_problem
from ._spectrum import Spectrum, Uncertainty, make_spectrum

_SHOWN = 3  # pairs in the short report


@dataclass(frozen=True, eq=False)
class Identifiability:
    """The result of ``identify``. ``format()`` gives lines for a report, ``str`` also a table."""

    names: tuple[str, ...]
    """The parameters [P]."""
    x: FloatArray
    """Their values [P], as given."""
    analysed: tuple[str, ...]
    """The K parameters that were free and not at a bound."""
    at_bound: Mapping[str, str]
    """Name -> which bound the parameter is at."""
    structural: tuple[str, ...]
    """Lines about the model's aliases."""
    singular_values: FloatArray
    """Of the Jacobian per natural scale [K], descending."""
    direction_errors: FloatArray
    """Standard error of a move along each direction [K], in natural scales."""
    rank: int
    """How many standard errors are at most ``tolerance``. Without standard errors: how many
    directions have any effect."""
    tolerance: float
    """The largest standard error of a determined direction, in natural scales."""
    directions: tuple[Direction, ...]
    """The directions that are not determined, each with few parameters, first those without any
    effect. Aliases in ``structural`` are left out."""
    standard_errors: FloatArray
    """Of the parameters [P], in their units. NaN: not analysed, or can move without effect."""
    scale: FloatArray
    """Natural scale of each parameter [P], in its unit."""
    note: str
    """Why there are no standard errors, or ``""``."""

    @property
    def held(self) -> tuple[str, ...]:
        """The parameters that were fixed."""
        apart = {*self.analysed, *self.at_bound}
        return tuple(name for name in self.names if name not in apart)

    @property
    def undetermined(self) -> tuple[str, ...]:
        """The analysed parameters whose standard error is NaN or above the tolerance.

        Without standard errors: the parameters that directions without effect move.
        """
        if self.note:
            return tuple(name for name in self.analysed if name in self._moving)
        limit = self.tolerance * self.scale
        return tuple(
            name
            for name, error, most in zip(self.names, self.standard_errors, limit, strict=True)
            if name in self.analysed and not error <= most
        )

    @property
    def _moving(self) -> set[str]:
        """The parameters of the directions."""
        return {name for direction in self.directions for name in direction.names}

    def as_dict(self) -> dict[str, Any]:
        """Return everything as JSON values, with None for NaN and infinity."""
        errors = dict(zip(self.names, _json(self.standard_errors), strict=True))
        return {
            "x": dict(zip(self.names, self.x.tolist(), strict=True)),
            "analysed": list(self.analysed),
            "held": list(self.held),
            "at_bound": dict(self.at_bound),
            "structural": list(self.structural),
            "singular_values": self.singular_values.tolist(),
            "direction_errors": _json(self.direction_errors),
            "rank": self.rank,
            "tolerance": self.tolerance,
            "directions": [direction.as_dict() for direction in self.directions],
            "standard_errors": errors,
            "scale": dict(zip(self.names, self.scale.tolist(), strict=True)),
            "undetermined": list(self.undetermined),
            "note": self.note,
        }

    def format(self) -> str:
        """Return the findings in about ten lines, without the table of parameters."""
        lines = [self._headline(), f"singular values: {_numbers(self.singular_values)}"]
        if self.note:
            lines.append(f"no standard errors: {self.note}")
        else:
            lines.append(f"standard errors along them: {_numbers(self.direction_errors)}")
        lines += self.structural
        if self.at_bound:
            sides = ", ".join(f"{name} ({side})" for name, side in self.at_bound.items())
            lines.append(f"at a bound, and taken for known: {sides}")
        lines += self._not_determined()
        return "\n".join(
            textwrap.fill(line, 100, subsequent_indent="  ", break_on_hyphens=False)
            for line in lines
        )

    def _not_determined(self) -> list[str]:
        """Return one line for each of the first pairs, and one for each kind of the others.

        Parameters that no direction contains come last, so that each of ``undetermined`` is named.
        """
        pairs = [d for d in self.directions if len(d.names) == 2]
        lines = [f"not determined: {direction}" for direction in pairs[:_SHOWN]]
        if len(pairs) > _SHOWN:
            lines.append(f"not determined: {len(pairs) - _SHOWN} pairs more")
        kinds: dict[tuple[bool, bool, str], list[Direction]] = {}
        for direction in self.directions:
            if direction not in pairs:
                # a direction of one parameter and small others may leave the parameter determined
                alone = len(direction.names) == 1 and direction.names[0] in self.undetermined
                kind = (not alone, math.isinf(direction.standard_error))
                kinds.setdefault((*kind, direction.why), []).append(direction)
        lines += [_summary(*kind, directions) for kind, directions in kinds.items()]
        rest = [name for name in self.undetermined if name not in self._moving]
        if rest:
            within = f"to within {100 * self.tolerance:g} % of its size"
            lines.append(f"not determined, each {within}: {', '.join(rest)}")
        return lines

    def __str__(self) -> str:
        rows = [["parameter", "value", "standard error", ""], *map(self._row, self.names)]
        return f"{self.format()}\n{table(rows)}"

    def _headline(self) -> str:
        within = f"to within {100 * self.tolerance:g} % of the parameters' size"
        return f"{self.rank} of {len(self.analysed)} directions of the free parameters " + (
            "have an effect" if self.note else f"are determined {within}"
        )

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


def identify(
    objective: Objective,
    x: object,
    *,
    fixed: Collection[str] | None = None,
    bounds: Bounds | None = None,
    scale: npt.ArrayLike | Mapping[str, float] | None = None,
    tolerance: float = 1.0,
    reasons: bool = True,
) -> Identifiability:
    """Tell which parameters, and which combinations, the runs of an objective determine.

    ``x``: where the fit ended, as a vector [P], a mapping by name or ``Parameters``. ``fixed``:
    names that were not fitted; by default the first of each structural alias, as for ``fit``;
    ``()``: none. ``bounds``: a parameter at a bound counts as known. ``scale``: a natural size of
    each parameter, from 1e-30 to 1e30. The default is |x|, or for smaller |x| the change that
    changes E2Es by a tenth.

    Let J be the Jacobian of the residuals per natural scale. For a robust loss each row is weighted
    so that JᵀJ is half the second derivative of the loss. The directions are the right singular
    vectors u of J. A move along u has the variance uᵀMu / (uᵀJᵀJu)². The parameters have the
    covariance (JᵀJ)⁺ M (JᵀJ)⁺ (White, Econometrica 48, 1980). M is the covariance of the scores,
    summed over windows of √n consecutive requests by arrival (Newey & West, Econometrica 55, 1987).
    A direction is determined if its standard error is at most ``tolerance``: by default, the size
    of the parameters. A ridge of the fit is not data, and is left out.

    The cost is one Jacobian of each run and, for a robust loss, one more simulation. ``reasons``:
    explain directions by facts about the steps, if possible. This needs a traced run of each
    experiment, which walks every step. Raises ``ParameterError`` for wrong shapes and unknown
    names, and ``FitError`` if ``x`` cannot be simulated to its end.
    """
    problem = make_problem(objective, x, fixed=fixed, bounds=bounds, scale=scale)
    spectrum = make_spectrum(problem, tolerance)
    why = Reasons(objective, problem.x) if reasons else _no_reason
    return Identifiability(
        problem.names,
        problem.x,
        problem.kept_names,
        problem.at_bound,
        structural=_structural(problem, objective.model),
        singular_values=spectrum.values,
        direction_errors=spectrum.errors,
        rank=int(spectrum.determined.sum()),
        tolerance=tolerance,
        directions=_directions(problem, spectrum, objective.model, tolerance, why),
        standard_errors=standard_errors(problem),
        scale=problem.scale,
        note=problem.unknown_noise,
    )


def standard_errors(problem: Problem) -> FloatArray:
    """Return the standard errors [P] in each parameter's unit; NaN if there is none."""
    errors = np.full(len(problem.names), np.nan)
    if not problem.unknown_noise:
        errors[problem.keep] = np.sqrt(np.maximum(0.0, np.diag(problem.covariance())))
    return errors * problem.scale


def _directions(
    problem: Problem, spectrum: Spectrum, model: StepModel, tolerance: float, why: Why
) -> tuple[Direction, ...]:
    """Return the weak space [K, k] without aliases: first no effect at all, then little effect."""
    lengths = spectrum.lengths[:, np.newaxis]
    aliases = _alias_space(problem, model)
    no_effect = without(spectrum.null, aliases * lengths)
    weak = without(spectrum.vectors[:, ~spectrum.determined], spectrum.null / lengths)
    describe = Describe(
        problem.kept_names,
        problem.scale[problem.keep],
        Uncertainty(problem),
        tolerance,
        why,
    )
    return describe.null(no_effect, spectrum.lengths) + describe.weak(weak)


def _no_reason(names: Sequence[str], exactly: bool) -> str:
    return ""


def _alias_space(problem: Problem, model: StepModel) -> FloatArray:
    """Return the aliases of free parameters only, as columns [K, aliases], per scale."""
    names, scale = problem.kept_names, problem.scale[problem.keep]
    columns = [
        [alias.get(name, 0.0) for name in names]
        for alias in model.aliases
        if all(name in names for name in alias)
    ]
    return np.array(columns, dtype=np.float64).reshape(-1, len(names)).T / scale[:, np.newaxis]


def _structural(problem: Problem, model: StepModel) -> tuple[str, ...]:
    """Return one line per open alias, and one line for the aliases that held parameters settle."""
    lines, settled = [], []
    for alias in model.aliases:
        if any(name not in problem.kept_names for name in alias):
            settled.append(" ↔ ".join(alias))
        else:
            moves = ", ".join(f"{value:+g} {name}" for name, value in alias.items())
            lines.append(
                f"structural alias: {' ↔ '.join(alias)}: a move by {moves} changes nothing"
            )
    if settled:
        lines.append(f"structural aliases, settled by what is held: {'; '.join(settled)}")
    return tuple(lines)


def _summary(several: bool, exact: bool, why: str, directions: Sequence[Direction]) -> str:
    """Return one line for directions of one parameter each, or of more than two."""
    names = ", ".join(dict.fromkeys(name for d in directions for name in d.names))
    names += " and others" if several and any(d.others for d in directions) else ""
    effect = "no effect" if exact else "too little effect"
    which = f"{len(directions)} combination{'s' * (len(directions) > 1)} of {names}"
    reason = f": {why}" if why else ""
    return f"not determined, for {effect}: {which if several else names}{reason}"


def _numbers(values: Sequence[float] | FloatArray) -> str:
    return ", ".join(f"{value:.2g}" for value in values)


def _json(values: FloatArray) -> list[float | None]:
    return [value if math.isfinite(value) else None for value in values.tolist()]
