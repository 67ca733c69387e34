"""A gate on bad data before a fit: checks of an experiment's measurements.

A check is a line in ``CHECKS``: a function of a view of the experiment, which returns a ``Finding``
or None. Its docstring gives the threshold and why. Checks run in order, and each sees the
latencies less those that the checks before it masked.
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
    """Look for what makes an experiment's measurements doubtful, and mask what can't be trusted.

    ``parameters``: how many a fit is to tell apart, by default as many as any data can. The
    experiment of the report has the same workload, so that the load is what it was; latencies
    that a finding masks are NaN. Deterministic.

    Raises ``ExperimentError`` where ``intended_arrival_s``, ``cached_tokens`` or
    ``server_input_tokens`` in the provenance are not one number for each request.
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
