"""The findings of the checks in an experiment, as data and as text."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import DataError
from ..experiment import Experiment

IndexArray = npt.NDArray[np.int64]

SEVERITIES: tuple[str, ...] = ("note", "warning", "error")
"""The severities, from the least to the worst.

A note is a fact to know; it harms no fit. A warning makes results less certain. With an error, a
fit says nothing about the server.
"""

_SHOWN_RANGES = 5  # of request indices, in one line of text
_SHOWN_FINDINGS = 3  # in the message of a refusal


@dataclass(frozen=True, eq=False)
class Finding:
    """One defect of the data."""

    name: str
    """Name of the check."""
    severity: str
    """One of ``SEVERITIES``."""
    requests: IndexArray
    """Indices of the requests in the workload [n], ascending; empty if the whole run is meant."""
    message: str
    """What was found."""
    action: str
    """What was done."""
    masked: tuple[str, ...] = ()
    """Which of ``"ttft"`` and ``"e2e"`` were set to NaN for these requests. No loss sees them, but
    the requests stay in the workload."""

    @classmethod
    def from_dict(cls, obj: Mapping[str, Any]) -> Finding:
        """Read the values that ``as_dict`` returns."""
        requests = np.array(obj["requests"], np.int64)
        masked = tuple(obj["masked"])
        return cls(obj["name"], obj["severity"], requests, obj["message"], obj["action"], masked)

    def __str__(self) -> str:
        where = f" [{_ranges(self.requests)}]" if self.requests.size else ""
        return f"{self.severity}: {self.name}: {self.message}{where}; {self.action}"

    def as_dict(self) -> dict[str, Any]:
        """Return the fields as JSON values."""
        return {
            "name": self.name,
            "severity": self.severity,
            "requests": self.requests.tolist(),
            "message": self.message,
            "action": self.action,
            "masked": list(self.masked),
        }


@dataclass(frozen=True, eq=False)
class CheckReport:
    """The result of ``check_experiment``. ``str(report)`` has one line per finding."""

    experiment: Experiment
    """The experiment to fit, with the latencies masked that the findings name."""
    findings: tuple[Finding, ...]
    """The findings, in the order of the checks."""

    @property
    def ok(self) -> bool:
        """Whether no finding is worse than a note."""
        return not self._bad()

    @property
    def saturated(self) -> bool:
        """Whether the queue grew until the last arrival (the finding ``saturation``)."""
        return any(finding.name == "saturation" for finding in self.findings)

    def refuse(self) -> None:
        """Raise ``DataError``, one line with the worst findings, unless the data is ``ok``."""
        bad = sorted(self._bad(), key=lambda finding: -SEVERITIES.index(finding.severity))
        if not bad:
            return
        said = [
            f"{finding.name} ({finding.severity}): {finding.message}"
            for finding in bad[:_SHOWN_FINDINGS]
        ]
        more = len(bad) - len(said)
        rest = [f"and {more} more"] if more else []
        raise DataError(
            f"{self.experiment.name}: {'; '.join([*said, *rest])}: correct the data, or do without "
            "strict checks"
        )

    def as_dict(self) -> dict[str, Any]:
        """Return the report as JSON values, without the experiment itself."""
        return {
            "experiment": self.experiment.name,
            "ok": self.ok,
            "saturated": self.saturated,
            "findings": [finding.as_dict() for finding in self.findings],
        }

    def _bad(self) -> list[Finding]:
        return [finding for finding in self.findings if finding.severity != SEVERITIES[0]]

    def __str__(self) -> str:
        if not self.findings:
            return f"{self.experiment.name}: no findings"
        return "\n".join(f"{self.experiment.name}: {finding}" for finding in self.findings)

    def __repr__(self) -> str:
        counts = Counter(finding.severity for finding in self.findings)
        said = ", ".join(f"{name} {counts[name]}" for name in reversed(SEVERITIES) if counts[name])
        return f"<CheckReport of {self.experiment.name!r}: {said or 'no findings'}>"


def _ranges(requests: Sequence[int] | IndexArray) -> str:
    """Write the first few of ascending indices as ranges: ``0-3, 7, and 12 more``."""
    indices = np.asarray(requests)
    runs = np.split(indices, np.flatnonzero(np.diff(indices) != 1) + 1)
    shown = [
        str(run[0]) if run.size == 1 else f"{run[0]}-{run[-1]}" for run in runs[:_SHOWN_RANGES]
    ]
    more = sum(run.size for run in runs[_SHOWN_RANGES:])
    return ", ".join([*shown, *([f"and {more} more"] if more else [])])
