"""Tell whether a fit still holds on a new run of the same server, or the server has drifted."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ..accuracy import PARTS, Row, format_table
from ..checks import CheckReport, check_experiment
from ..config import FIELDS, ServerConfig
from ..errors import FitError
from ..experiment import Experiment
from ..objective import Experiments, as_experiments
from ..replicas import REPLICAS
from . import FitResult
from ._fitted import ROLES
from .evaluate import POOLED, evaluate_runs

_HELD_OUT = PARTS[1]
_NOT_FITTED = ROLES[1]

# An error is a drift if it exceeds these limits, in percent, and this multiple of the fit's error.
_LEAST = {"e2e": 3.0, "ttft": 15.0}
_TIMES = 1.5
# Predictions of single requests rarely fall below the phase floor. So a TTFT error is a drift only
# if it also exceeds this multiple of the floor.
_TIMES_FLOOR = 1.5


@dataclass(frozen=True)
class Criterion:
    """One test of a run. It fails if the value is above the limit or NaN (nothing to compare)."""

    run: str
    """Name of the run."""
    name: str
    """What is tested."""
    value: float
    """The error, in percent."""
    limit: float
    """The largest allowed value, in percent."""
    why: str
    """The origin of the limit."""

    @property
    def holds(self) -> bool:
        """Whether the value is within its limit."""
        return self.value <= self.limit

    def __str__(self) -> str:
        sign, verdict = ("<=", "holds") if self.holds else (">", "DRIFT")
        value = f"{self.value:.1f}" if math.isfinite(self.value) else "nothing to compare"
        return f"{verdict}: {self.run}: {self.name} {value} {sign} {self.limit:.1f} % ({self.why})"


@dataclass(frozen=True)
class SettingDifference:
    """A server setting, a field of ``ServerConfig``, that differs from the fit's.

    The run is compared with the training run whose settings differ in the fewest fields; of several
    such runs, with the first.
    """

    run: str
    """Name of the run."""
    name: str
    """Name of the setting."""
    value: bool | int | float | str | None
    """Its value in ``run``."""
    fitted_run: str
    """The training run to compare with."""
    fitted_value: bool | int | float | str | None
    """Its value in ``fitted_run``."""

    def __str__(self) -> str:
        return f"{self.name} is {_setting(self.value)}, was {_setting(self.fitted_value)}"


@dataclass(frozen=True, eq=False)
class Validation:
    """The result of ``validate``."""

    rows: tuple[Row, ...]
    """Accuracy of the runs, as in the report of a fit."""
    criteria: tuple[Criterion, ...]
    """The tests of each run."""
    checks: tuple[CheckReport, ...]
    """The checks of each run's data."""
    settings: tuple[SettingDifference, ...]
    """Server settings that differ from the fit's. They are no error: the parameters must hold under
    any settings."""

    @property
    def holds(self) -> bool:
        """Whether every criterion holds: the fit still predicts these runs."""
        return all(criterion.holds for criterion in self.criteria)

    def report(self) -> str:
        """Return findings, other settings, the accuracy table, and each criterion, as text."""
        findings = [str(check) for check in self.checks if not check.ok]
        findings += self._setting_notes()
        verdict = "the fit holds" if self.holds else "the fit does not hold: fit the new runs"
        return "\n\n".join(
            [
                *(["\n".join(findings)] if findings else []),
                format_table(self.rows),
                "\n".join([*map(str, self.criteria), verdict]),
            ]
        )

    def _setting_notes(self) -> list[str]:
        """Return one line per run whose settings differ from the fit's."""
        by_run: dict[tuple[str, str], list[str]] = {}
        for each in self.settings:
            by_run.setdefault((each.run, each.fitted_run), []).append(str(each))
        return [
            f"{run}: note: server_settings: not those of the fit ({fitted_run}): "
            f"{'; '.join(differences)}; the run is predicted with its own"
            for (run, fitted_run), differences in by_run.items()
        ]

    def as_dict(self) -> dict[str, Any]:
        """Return JSON values."""
        return {
            "holds": self.holds,
            "settings": [dataclasses.asdict(each) for each in self.settings],
            "criteria": [
                {
                    "run": c.run,
                    "name": c.name,
                    "value": c.value if math.isfinite(c.value) else None,
                    "limit": c.limit,
                    "why": c.why,
                    "holds": c.holds,
                }
                for c in self.criteria
            ],
            "accuracy": [row.as_dict() for row in self.rows],
            "checks": [check.as_dict() for check in self.checks],
        }


def validate(
    result: FitResult,
    experiments: Experiments,
    *,
    e2e_limit: float | None = None,
    ttft_limit: float | None = None,
    replicas: int = REPLICAS,
) -> Validation:
    """Predict measured runs with a fit, and judge whether its parameters still hold.

    Each run keeps its own server settings; differences from the fit's are reported. Its data is
    checked first, and latencies that make no sense are masked. A run holds if four errors, in
    percent, are within limits: the MAPE of E2E and the error of its mean within ``e2e_limit``, the
    MAPE of TTFT and the error of its mean within ``ttft_limit``.

    The default limits are 1.5 times the errors of the fit on its held-out data, or else on its
    training data. They are at least 3 % for E2E and 15 % for TTFT. The limit for the MAPE of TTFT
    is also at least 1.5 times the phase floor of the new run. Raises ``FitError`` for limits that
    are not percentages, and errors as ``as_experiments``.
    """
    for name, limit in (("e2e_limit", e2e_limit), ("ttft_limit", ttft_limit)):
        if limit is not None and not 0 < limit < math.inf:
            raise FitError(f"{name} must be a percentage > 0, got {limit!r}")
    checks = tuple(check_experiment(each) for each in as_experiments(experiments))
    rows = evaluate_runs(result.model, result.x, [check.experiment for check in checks], replicas)
    known = _known(result.accuracy)
    criteria = [
        criterion
        for row in rows
        if row.name != POOLED or len(rows) == 1
        for criterion in _criteria(row, known, e2e_limit, ttft_limit)
    ]
    settings = [each for check in checks for each in _differences(check.experiment, result)]
    return Validation(rows, tuple(criteria), checks, tuple(settings))


def _differences(run: Experiment, result: FitResult) -> list[SettingDifference]:
    """Return how a run's settings differ from those of the nearest training run."""
    fitted = [each for each in result.runs if each.role != _NOT_FITTED]
    nearest = min(fitted, key=lambda each: len(_unequal(run.config, each.config)))
    return [
        SettingDifference(
            run.name, name, getattr(run.config, name), nearest.name, getattr(nearest.config, name)
        )
        for name in _unequal(run.config, nearest.config)
    ]


def _unequal(one: ServerConfig, other: ServerConfig) -> list[str]:
    return [name for name in FIELDS if getattr(one, name) != getattr(other, name)]


def _setting(value: object) -> str:
    """Write a value as ``--set`` takes it."""
    return str(value).lower() if value is None or isinstance(value, bool) else str(value)


def _known(rows: Sequence[Row]) -> Row | None:
    """Return the fit's row to compare with: held-out before training, pooled if there is one."""
    best = [row for row in rows if row.part == _HELD_OUT] or rows
    return best[-1] if best else None


def _criteria(
    row: Row, known: Row | None, e2e_limit: float | None, ttft_limit: float | None
) -> list[Criterion]:
    return [
        _criterion(row, known, latency, statistic, given)
        for latency, given in (("e2e", e2e_limit), ("ttft", ttft_limit))
        for statistic in ("mape", "mean")
    ]


def _criterion(
    row: Row, known: Row | None, latency: str, statistic: str, given: float | None
) -> Criterion:
    def error(of: Row) -> float:
        return abs(float(getattr(getattr(of.accuracy, latency), statistic)))

    limits = [(_LEAST[latency], "the least limit")]
    if known is not None and math.isfinite(error(known)):
        why = f"{_TIMES:g} times the fit's own on {known.part} data"
        limits.append((_TIMES * error(known), why))
    floor = math.nan if row.floor is None else row.floor.ttft
    if (latency, statistic) == ("ttft", "mape") and math.isfinite(floor):
        limits.append((_TIMES_FLOOR * floor, f"{_TIMES_FLOOR:g} times the phase floor"))
    limit, why = max(limits) if given is None else (given, "as asked")
    name = f"{latency.upper()} {'MAPE' if statistic == 'mape' else 'mean error'}"
    return Criterion(row.name, name, error(row), limit, why)
