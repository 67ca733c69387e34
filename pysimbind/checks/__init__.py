"""Checks of an experiment's measurements, to stop bad data before a fit.

A check is a function in ``CHECKS``. It takes a view of the experiment and returns a ``Finding`` or
None. Its docstring gives the threshold and the reason. Checks run in order. Each one sees the
latencies that the checks before it did not mask.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from types import MappingProxyType

from ..experiment import Experiment
from ..parameters import IDENTIFIABLE
from ._latencies import failed, incomplete, too_few_requests, ttft_exceeds_e2e, units
from ._load import cold_start, saturation
from ._prefix import prefix_hits, prefix_hits_suspected
from ._report import SEVERITIES, CheckReport, Finding
from ._sending import same_arrivals, send_lag, unsorted_arrivals
from ._tokens import (
    late_tokens,
    server_token_counts,
    token_count_mismatch,
    token_counts_guessed,
    token_counts_implausible,
)
from ._view import View

__all__ = ["CHECKS", "SEVERITIES", "CheckReport", "Finding", "check_experiment"]

_IN_ORDER: tuple[Callable[[View], Finding | None], ...] = (
    units,
    failed,
    incomplete,
    ttft_exceeds_e2e,
    same_arrivals,
    unsorted_arrivals,
    send_lag,
    token_counts_implausible,
    token_count_mismatch,
    late_tokens,
    server_token_counts,
    token_counts_guessed,
    cold_start,
    saturation,
    prefix_hits,
    prefix_hits_suspected,
    too_few_requests,
)

CHECKS: Mapping[str, Callable[[View], Finding | None]] = MappingProxyType(
    {check.__name__: check for check in _IN_ORDER}
)
"""The checks by name, in the order in which they run."""


def check_experiment(experiment: Experiment, *, parameters: int = IDENTIFIABLE) -> CheckReport:
    """Find doubtful measurements in an experiment, and mask those that cannot be trusted.

    ``parameters``: how many parameters a fit must tell apart; by default the most that any data
    can. The experiment of the report keeps its workload, so the load stays the same. Masked
    latencies are NaN. The result is deterministic. Raises ``ExperimentError`` if
    ``intended_arrival_s``, ``cached_tokens`` or ``server_input_tokens`` in the provenance are not
    one number per request.
    """
    view = View(experiment, experiment.ttft, experiment.e2e, parameters)
    findings = []
    for check in CHECKS.values():
        finding = check(view)
        if finding is not None:
            findings.append(finding)
            view = view.masked(finding)
    if any(finding.masked for finding in findings):
        experiment = dataclasses.replace(experiment, ttft=view.ttft, e2e=view.e2e)
    return CheckReport(experiment, tuple(findings))
