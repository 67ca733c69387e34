"""What a fit found."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from .._io.files import check_writable, read_json, write_json
from ..accuracy import Row
from ..checks import CheckReport
from ..config import ServerConfig
from ..errors import FitError
from ..experiment import Experiment
from ..models import StepModel
from ..parameters import Parameters, Space
from ..replicas import REPLICAS, replicate
from ..results import SimResult
from ..simulator import Simulator
from ..workload import Workload
from .compare import Comparison
from .status import FitStatus

FloatArray = npt.NDArray[np.float64]

ROLES = ("training", "held-out", "both")


@dataclass(frozen=True)
class FittedRun:
    """One of the runs that a fit was given.

    ``role``: one of ``ROLES``; ``"both"``, where some of its requests were held out, or it was
    held out in one of several folds. ``sha256``: of its requests, settings and latencies, as
    given. ``caveat``: what of it was not measured. ``findings``: what the checks of its data
    found, as ``Finding.as_dict`` returns them.
    """

    name: str
    role: str
    weight: float
    requests: int
    sha256: str
    config: ServerConfig
    caveat: str
    findings: tuple[Mapping[str, Any], ...]

    @classmethod
    def of(cls, report: CheckReport, role: str, weight: float, sha256: str) -> FittedRun:
        """Describe the checked experiment of ``report``."""
        experiment = report.experiment
        return cls(
            name=experiment.name,
            role=role,
            weight=weight,
            requests=experiment.num_requests,
            sha256=sha256,
            config=experiment.config,
            caveat=experiment.caveat,
            findings=tuple(finding.as_dict() for finding in report.findings),
        )


@dataclass(frozen=True, eq=False)
class FitResult:
    """The parameters found, in scipy's words (``x fun success status message nfev nit``).

    ``x`` [names of ``model``] is the vector found, ``fun`` its loss (in ``unit``) on the training
    data, without the ridge; ``params`` is the vector by name. ``njev`` of the ``nfev`` evaluations
    came with derivatives; ``nit`` counts batches of evaluations. ``runs`` tells of the data,
    ``holdout`` of what was kept from the fit; ``accuracy`` has a row for each run and part,
    and one for all runs together. ``ridge``: its largest weight. ``fixed`` maps each held parameter
    to its value, ``at_bound`` each free one at a bound to ``"lower"`` or ``"upper"``; ``no_effect``
    names those that change nothing on these runs and stay where they started. ``infeasible``
    counts candidates that could not be simulated to their end, by outcome. ``identifiability``:
    what the training data tell of the parameters, as ``Identifiability.as_dict`` has it, and as
    lines under ``"summary"``; empty where ``x`` can't be simulated. ``notes`` tell what the method
    did. Ctrl-C after the search leaves ``identifiability``, ``comparisons`` and ``accuracy`` empty,
    or the last of them, and a note says which. ``history`` lists (evaluations, best loss with the
    ridge) at each improvement. ``comparisons`` set the loss beside those of parameters known
    before. ``versions``: of this package and the libraries. ``time_s`` is the duration of the
    search.

    Two results are equal if all but the time is.
    """

    x: FloatArray
    fun: float
    unit: str
    status: FitStatus
    nfev: int
    njev: int
    nit: int
    model: StepModel
    runs: tuple[FittedRun, ...]
    holdout: str
    method: str
    seed: int
    loss: str
    ridge: float
    max_evals: int
    max_time_s: float | None
    bounds_name: str
    bounds: Space
    fixed: Mapping[str, float]
    fixed_why: str
    at_bound: Mapping[str, str]
    no_effect: tuple[str, ...]
    infeasible: Mapping[str, int]
    identifiability: Mapping[str, Any]
    notes: tuple[str, ...]
    history: tuple[tuple[int, float], ...]
    comparisons: tuple[Comparison, ...]
    accuracy: tuple[Row, ...]
    versions: Mapping[str, str]
    time_s: float = field(compare=False)

    @property
    def success(self) -> bool:
        """Whether the search ended as it was asked to, with a candidate that can be simulated."""
        return self.status.success

    @property
    def message(self) -> str:
        """Why the search ended."""
        return self.status.message

    @property
    def interrupted(self) -> bool:
        """Whether Ctrl-C ended the search, or what comes after it."""
        return self.status is FitStatus.INTERRUPTED

    @property
    def params(self) -> dict[str, float]:
        """The parameters by name: coefficients in seconds, overheads in microseconds."""
        return self.parameters.as_dict()

    @property
    def parameters(self) -> Parameters:
        """The parameters as one object, which knows their model."""
        return Parameters.from_vector(self.x, self.model)

    @property
    def experiment(self) -> str:
        """The names of the runs."""
        return ", ".join(run.name for run in self.runs)

    @property
    def config(self) -> ServerConfig:
        """The server's settings, which all runs share; raises ``FitError`` where they do not."""
        first = self.runs[0].config
        for run in self.runs:
            if run.config != first:
                raise FitError(
                    f"the runs of this fit met different servers ({self.runs[0].name!r}, "
                    f"{run.name!r}): say which, as config="
                )
        return first

    @property
    def caveat(self) -> str:
        """What of the runs was not measured; ``""`` if nothing."""
        several = len(self.runs) > 1
        said = [(run.name, run.caveat) for run in self.runs if run.caveat]
        return "; ".join(f"{name}: {text}" if several else text for name, text in said)

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
        from .report import format_report  # here: the report needs this class

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
        from .saved import from_dict  # here: it needs this class

        return from_dict(read_json(path, FitError), str(path))

    def as_dict(self) -> dict[str, Any]:
        """Return the content of the JSON file (docs/fit-record.md)."""
        from .saved import to_dict

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
