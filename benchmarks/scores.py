"""Held-out errors of several models beside their limits, as Markdown tables."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Case:
    """Runs of one server, and the part that is held out (as ``fit`` reads it).

    ``above``: the held-out part has a higher load than all data of the fit.
    """

    title: str
    runs: tuple[str, ...]
    holdout: str = "alternate"
    above: bool = False


@dataclass(frozen=True)
class Score:
    """Held-out errors of a fit, in percent."""

    e2e_mape: float
    """Mean absolute percentage error of E2E."""
    e2e_mean: float
    """Error of the mean E2E."""
    ttft_mape: float
    """Mean absolute percentage error of TTFT."""
    ttft_floor: float
    """The TTFT's floor, as in ``PhaseFloor``."""
    ttft_mean: float
    """Error of the mean TTFT."""
    cpu_s: float
    """CPU seconds of ``fit``."""

    @property
    def floors(self) -> float:
        """The mean error of single TTFTs, in multiples of the floor."""
        return self.ttft_mape / self.ttft_floor if self.ttft_floor > 0 else math.inf


@dataclass(frozen=True)
class Bar:
    """The largest absolute value of one number of a score. ``above``: on unseen higher loads."""

    title: str
    number: str
    limit: float
    above: bool = False

    def met(self, score: Score) -> bool:
        """Tell whether a score is within the limit."""
        return bool(abs(getattr(score, self.number)) <= self.limit)


BARS = (
    Bar("E2E MAPE ≤ 1.5 %", "e2e_mape", 1.5),
    Bar("mean E2E within 1 %", "e2e_mean", 1.0),
    Bar("TTFT MAPE ≤ 1.2 floors", "floors", 1.2),
    Bar("mean TTFT within 3 %", "ttft_mean", 3.0),
    Bar("higher load: E2E MAPE ≤ 2 %", "e2e_mape", 2.0, above=True),
)

Scores = Mapping[Case, Mapping[str, Score]]
Column = tuple[str, Callable[[float], str]]

_E2E: tuple[Column, ...] = (("e2e_mape", "{:.2f}".format), ("e2e_mean", "{:+.2f}".format))
_TTFT: tuple[Column, ...] = (
    ("ttft_mape", "{:.1f}".format),
    ("floors", lambda floors: f"{floors:.2f}" if floors < 99 else "> 99"),
    ("ttft_mean", "{:+.1f}".format),
)


def tables(scores: Scores, groups: Mapping[str, Callable[[Case], bool]]) -> list[list[str]]:
    """Return the tables of E2E, of TTFT, and of the limits met, each as lines.

    Numbers above their limit are bold. ``groups``: sets of cases by name; their medians end the
    tables.
    """
    models = list(next(iter(scores.values())))
    return [
        _errors("E2E: MAPE, mean error [%]", scores, models, _E2E, groups),
        _errors("TTFT: MAPE [%], in floors, mean error [%]", scores, models, _TTFT, groups),
        _summary(scores, models),
    ]


def missed(case: Case, score: Score) -> list[str]:
    """Return the numbers of a score that exceed their limit."""
    return [bar.number for bar in BARS if bar.above == case.above and not bar.met(score)]


def _errors(
    title: str,
    scores: Scores,
    models: Sequence[str],
    columns: Sequence[Column],
    groups: Mapping[str, Callable[[Case], bool]],
) -> list[str]:
    lines = [_line([title, *models]), "|---" + "|--:" * len(models) + "|"]
    for case, found in scores.items():
        cells = (_cell(found[model], columns, missed(case, found[model])) for model in models)
        lines.append(_line([f"{case.title}{' ↑' if case.above else ''}", *cells]))
    for name, belongs in groups.items():
        group = [found for case, found in scores.items() if belongs(case)]
        if group:
            cells = (_medians([found[model] for found in group], columns) for model in models)
            lines.append(_line([f"median, {name}", *cells]))
    return lines


def _cell(score: Score, columns: Sequence[Column], bad: Sequence[str]) -> str:
    texts = ((name, show(getattr(score, name))) for name, show in columns)
    return ", ".join(f"**{text}**" if name in bad else text for name, text in texts)


def _medians(scores: Sequence[Score], columns: Sequence[Column]) -> str:
    return ", ".join(
        show(statistics.median(abs(getattr(score, name)) for score in scores)).lstrip("+")
        for name, show in columns
    )


def _summary(scores: Scores, models: Sequence[str]) -> list[str]:
    lines = [_line(["aim met by", *models]), "|---" + "|--:" * len(models) + "|"]
    for bar in BARS:
        cells = (
            _share(
                bar.met(found[model]) for case, found in scores.items() if case.above == bar.above
            )
            for model in models
        )
        lines.append(_line([bar.title, *cells]))
    times = (
        f"{statistics.median(found[model].cpu_s for found in scores.values()):.2f} s"
        for model in models
    )
    return [*lines, _line(["CPU time of a fit, median", *times])]


def _share(met: Iterable[bool]) -> str:
    answers = list(met)
    return f"{sum(answers)} of {len(answers)}"


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"
