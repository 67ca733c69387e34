"""What the checks see: an experiment's unmasked latencies, and the load on the server."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from ..errors import ExperimentError
from ..experiment import Experiment
from ._report import Finding
from .together import mean_count

FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class View:
    """An experiment as a check sees it, after the checks before it.

    The load is computed from all measured latencies, masked or not. A request loads the server even
    if its latency cannot be trusted.
    """

    experiment: Experiment
    """The experiment as it was measured."""
    ttft: FloatArray
    """Time to first token [R] in seconds; NaN if missing or masked."""
    e2e: FloatArray
    """End-to-end latency [R] in seconds; NaN if missing or masked."""
    parameters: int
    """How many parameters a fit must tell apart."""

    def masked(self, finding: Finding) -> View:
        """Return the view with the latencies of a finding masked."""
        ttft, e2e = np.array(self.ttft), np.array(self.e2e)
        for name, array in (("ttft", ttft), ("e2e", e2e)):
            if name in finding.masked:
                array[finding.requests] = np.nan
        return dataclasses.replace(self, ttft=ttft, e2e=e2e)

    @property
    def requests(self) -> int:
        """The number of requests, R."""
        return self.experiment.num_requests

    @property
    def arrival_s(self) -> FloatArray:
        """Arrivals [R], seconds."""
        return self.experiment.workload.arrival_s

    @cached_property
    def order(self) -> npt.NDArray[np.intp]:
        """The indices of the requests [R], by arrival."""
        return np.argsort(self.arrival_s, kind="stable")

    @cached_property
    def tpot(self) -> FloatArray:
        """Time per output token after the first [R], in seconds; NaN: no such token."""
        after = self.experiment.workload.output_tokens - 1.0
        return (self.e2e - self.ttft) / np.where(after > 0, after, np.nan)

    @cached_property
    def first_token_s(self) -> FloatArray:
        """When each request had its first token [R]; its arrival if it has no TTFT."""
        return self.arrival_s + np.nan_to_num(self.experiment.ttft)

    @cached_property
    def end_s(self) -> FloatArray:
        """When each request had its last token [R]; its first token if it has no E2E."""
        return np.maximum(self.arrival_s + np.nan_to_num(self.experiment.e2e), self.first_token_s)

    @cached_property
    def waiting(self) -> FloatArray:
        """How many other requests had no first token yet when each request was sent [R]."""
        return self._others(self.first_token_s)

    @cached_property
    def in_flight(self) -> FloatArray:
        """How many other requests were unfinished when each request was sent [R]."""
        return self._others(self.end_s)

    @cached_property
    def decoding(self) -> FloatArray:
        """Mean number of requests that decoded while each one did, itself included [R]."""
        return mean_count(self.first_token_s, self.end_s)

    def _others(self, until_s: FloatArray) -> FloatArray:
        rank = np.empty(self.requests)
        rank[self.order] = np.arange(self.requests)
        gone = np.searchsorted(np.sort(until_s), self.arrival_s, side="right")
        # a request without latencies ends at its own arrival: it would count as -1
        return np.maximum(rank - gone, 0)

    def per_request(self, key: str) -> FloatArray | None:
        """Return an array [R] of the provenance, or None if it has none. A null gives NaN.

        Raises ``ExperimentError`` for values other than one number or null per request.
        """
        values = self.experiment.provenance.get(key)
        if values is None:
            return None
        try:
            array = np.array(values, dtype=np.float64)
        except (TypeError, ValueError):
            array = np.empty(0)
        if array.shape != (self.requests,):
            raise ExperimentError(
                f"{self.experiment.name}: provenance.{key} must be {self.requests} numbers, one "
                "for each request"
            )
        return array
