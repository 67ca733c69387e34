"""The closing tables of a fit, as plain text. docs/report.md reads one line by line."""

from __future__ import annotations

import math
from collections.abc import Iterable

from .._io.text import table
from ..accuracy import format_table
from ..checks import Finding
from ._fitted import Fitted, FittedRun
from .compare import ORIGINAL, Comparison


def format_report(result: Fitted) -> str:
    """Return what was fitted, how well it predicts, the parameters, and what it rests on."""
    parts = [
        _head(result),
        "\n".join(_data(result)),
        _losses(result),
        format_table(result.accuracy) if result.accuracy else "",
        _parameters(result),
        "\n".join(result.identifiability.get("summary", ())),
        "\n".join(_remarks(result)),
    ]
    return "\n\n".join(part for part in parts if part)


def _head(result: Fitted) -> str:
    semantics = ", ".join(dict.fromkeys(run.config.semantics for run in result.runs))
    return (
        f"{result.experiment}, {semantics}: {result.method}, model {result.model}, "
        f"loss {result.loss}, bounds {result.bounds_name}, seed {result.seed}"
        + (f", held out {result.holdout}" if result.holdout else "")
    )


def _data(result: Fitted) -> Iterable[str]:
    """Say what the checks found; a note harms no fit, and is told in the record only."""
    for run in result.runs:
        for finding in run.findings:
            if finding["severity"] != "note":
                yield f"{run.name}: {Finding.from_dict(finding)}"


def _losses(result: Fitted) -> str:
    """Set the fit beside what was known before, if anything was."""
    if len(result.comparisons) < 2:
        return ""
    twice = result.loss != ORIGINAL
    header = ["", f"loss [{result.unit}]", *(["original loss [s^2]"] if twice else []), ""]
    return table([header, *(_loss_row(row, twice) for row in result.comparisons)])


def _loss_row(row: Comparison, twice: bool) -> list[str]:
    original = f"{row.original:.4g}" if math.isfinite(row.original) else "-"
    return [row.name, f"{row.loss:.4g}", *([original] if twice else []), row.note]


def _parameters(result: Fitted) -> str:
    rows = [["parameter", "value", "+/-", "unit", "bounds", ""]]
    errors = result.identifiability.get("standard_errors", {})
    for name, value in result.params.items():
        i = result.model.index(name)
        box = f"{result.bounds.lower[i]:g} .. {result.bounds.upper[i]:g}"
        error = "" if errors.get(name) is None else f"{errors[name]:.2g}"
        unit = result.model.unit(name)
        rows.append([name, f"{value:.6g}", error, unit, box, _mark(result, name)])
    return table(rows)


def _mark(result: Fitted, name: str) -> str:
    if name in result.fixed:
        return "held"
    if name in result.no_effect:
        return "no effect here"
    if name in result.at_bound:
        return f"at its {result.at_bound[name]} bound"
    return "not determined" if name in result.identifiability.get("undetermined", ()) else ""


def _remarks(result: Fitted) -> Iterable[str]:
    rate = result.nfev / result.time_s if result.time_s > 0 else math.inf
    derivatives = f" ({result.njev:,} with derivatives)" if result.njev else ""
    yield (
        f"{result.nfev:,} evaluations{derivatives} in {result.time_s:.2f} s "
        f"({rate:,.0f} per second), {result.nit:,} batches; {result.message}"
    )
    yield from result.notes
    if result.infeasible:
        counts = ", ".join(f"{count:,} {name}" for name, count in sorted(result.infeasible.items()))
        yield f"candidates that could not be simulated to their end: {counts}"
    yield (
        f"at most {result.model.identifiable} of the {len(result.model.names)} parameters can be "
        f"told apart; {_held(result)}"
    )
    if result.caveat:
        yield f"caveat: {result.caveat}"
    yield from _unmodelled(result.runs)


def _unmodelled(runs: Iterable[FittedRun]) -> Iterable[str]:
    said = {
        f"settings that {run.config.semantics} does not act on: {', '.join(run.config.unmodelled)}"
        for run in runs
        if run.config.unmodelled
    }
    yield from sorted(said)


def _held(result: Fitted) -> str:
    if not result.fixed:
        return "none is held, so single values of the overheads and the intercept mean little"
    return f"held: {', '.join(result.fixed)} ({result.fixed_why})"
