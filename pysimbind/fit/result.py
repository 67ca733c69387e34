"""What a fit found."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

from .._io.files import check_writable, read_json, write_json
from ..config import ServerConfig
from ..errors import FitError
from ..experiment import Experiment
from ..replicas import REPLICAS, replicate
from ..results import SimResult
from ..simulator import Simulator
from ..workload import Workload
from ._fitted import Fitted, FittedRun
from .report import format_report
from .saved import from_dict, to_dict

__all__ = ["FitResult", "FittedRun"]


@dataclass(frozen=True, eq=False, repr=False)
class FitResult(Fitted):
    """The parameters found, in scipy's words (``x fun success status message nfev nit``).

    ``params`` is the vector found by name, ``report()`` the closing tables, ``save`` and ``load``
    its record, ``predict`` a simulation with it. Two results are equal if all but the time is.
    """

    def predict(
        self,
        experiment_or_workload: Experiment | Workload,
        config: ServerConfig | None = None,
        replicas: int = REPLICAS,
    ) -> SimResult:
        """Simulate a workload with the fitted parameters.

        TTFT and E2E [R] in seconds are the means over ``replicas`` that differ in the phases of a
        step at which requests come, all else is that of the first. Without ``config``, an
        experiment brings its own server settings, and a bare workload meets the server of the fit.
        Raises ``FitError`` where the fit had several servers, and ``InputError`` for ``replicas``
        below 1.
        """
        if isinstance(experiment_or_workload, Experiment):
            workload = experiment_or_workload.workload
            config = config or experiment_or_workload.config
        else:
            workload = experiment_or_workload
        with Simulator(workload, config or self.config, self.model) as simulator:
            return replicate(simulator, self.x, replicas).result

    def report(self) -> str:
        """Return the closing tables as text."""
        return format_report(self)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the record as JSON, in one piece, compressed where the name ends in ``.gz``.

        All but ``"timing"`` is the same, byte for byte, for the same fit. Raises ``OutputError``
        where the file cannot be written.
        """
        check_writable(path)
        write_json(path, self.as_dict())

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> FitResult:
        """Read what ``save`` wrote; raises ``FitError`` for anything else."""
        return from_dict(read_json(path, FitError), str(path), cls)

    def as_dict(self) -> dict[str, Any]:
        """Return the content of the JSON file (docs/fit-record.md)."""
        return to_dict(self)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, FitResult):
            return NotImplemented
        mine, theirs = self.as_dict(), other.as_dict()
        del mine["timing"], theirs["timing"]
        return mine == theirs

    __hash__ = None  # type: ignore[assignment]  # compared by content, too large to hash

    def __repr__(self) -> str:
        return (
            f"<FitResult {self.experiment!r} by {self.method}: {self.loss} {self.fun:.4g} "
            f"{self.unit} after {self.nfev} evaluations, {self.message}>"
        )
