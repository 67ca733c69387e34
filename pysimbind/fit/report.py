"""The closing table of a fit, as plain ASCII text."""

from __future__ import annotations

import math
from collections.abc import Iterable

from .._text import table
from ..parameters import IDENTIFIABLE, NAMES, unit
from .result import Comparison, FitResult


def format_report(result: FitResult) -> str:
    """Return losses side by side, the parameters with units, the cost, and what it rests on."""
    head = (
        f"{result.experiment}, {result.config.semantics}: {result.method}, loss {result.loss}, "
        f"bounds {result.bounds_name}, seed {result.seed}"
    )
    parts = [head, _losses(result), _parameters(result), "\n".join(_remarks(result))]
    return "\n\n".join(parts)


def _losses(result: FitResult) -> str:
    header = ["", f"loss [{result.unit}]", "TTFT error", "E2E error", ""]
    return table([header, *(_loss_row(row) for row in result.comparisons)])


def _loss_row(row: Comparison) -> list[str]:
    errors = [_percent(row.ttft_mape), _percent(row.e2e_mape)]
    return [row.name, f"{row.loss:.4g}", *errors, row.note]


def _percent(value: float) -> str:
    if not math.isfinite(value):
        return "-"
    return f"{value:.1f} %" if value < 100 else f"{value:,.0f} %"


def _parameters(result: FitResult) -> str:
    rows = [["parameter", "value", "unit", "bounds", ""]]
    lower, upper = result.bounds.lower, result.bounds.upper
    for i, (name, value) in enumerate(result.params.items()):
        box = f"{lower[i]:g} .. {upper[i]:g}"
        rows.append([name, f"{value:.6g}", unit(name), box, _mark(result, name)])
    return table(rows)


def _mark(result: FitResult, name: str) -> str:
    if name in result.fixed:
        return "held"
    return f"at its {result.at_bound[name]} bound" if name in result.at_bound else ""


def _remarks(result: FitResult) -> Iterable[str]:
    rate = result.nfev / result.time_s if result.time_s > 0 else math.inf
    derivatives = f" ({result.njev:,} with derivatives)" if result.njev else ""
    yield (
        f"{result.nfev:,} evaluations{derivatives} in {result.time_s:.2f} s "
        f"({rate:,.0f} per second), {result.nit:,} batches; {result.message}"
    )
    if result.infeasible:
        counts = ", ".join(f"{count:,} {name}" for name, count in sorted(result.infeasible.items()))
        yield f"candidates that could not be simulated to their end: {counts}"
    yield (
        f"at most {IDENTIFIABLE} of the {len(NAMES)} parameters can be told apart; " + _held(result)
    )
    if result.caveat:
        yield f"caveat: {result.caveat}"
    if result.config.unmodelled:
        yield (
            f"settings that {result.config.semantics} does not act on: "
            + ", ".join(result.config.unmodelled)
        )


def _held(result: FitResult) -> str:
    if not result.fixed:
        return "none is held, so single values of the overheads and the intercept mean little"
    return f"held: {', '.join(result.fixed)} ({result.fixed_why})"
