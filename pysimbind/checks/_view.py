"""What the checks look at: an experiment's latencies, less what is masked, and the load met."""

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
    """An experiment as a check sees it, after those before it.

    ``ttft``, ``e2e`` [R] in seconds, NaN where missing or masked. ``parameters``: how many a fit
    is to tell apart. The load comes from all that was measured, masked or not: a request whose
    latency can't be trusted was there all the same.
    """

    experiment: Experiment
    ttft: FloatArray
    e2e: FloatArray
    parameters: int

    def masked(self, finding: Finding) -> View:
        """Return the view without the latencies that a finding masks."""
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
        """The requests by arrival."""
        return np.argsort(self.arrival_s, kind="stable")

    @cached_property
    def tpot(self) -> FloatArray:
        """Time per output token after the first [R], seconds; NaN where there is none."""
        after = self.experiment.workload.output_tokens - 1.0
        return (self.e2e - self.ttft) / np.where(after > 0, after, np.nan)

    @cached_property
    def first_token_s(self) -> FloatArray:
        """When each request had its first token [R]; without a TTFT, its arrival."""
        return self.arrival_s + np.nan_to_num(self.experiment.ttft)

    @cached_property
    def end_s(self) -> FloatArray:
        """When each request had its last token [R]; without an E2E, its first."""
        return np.maximum(self.arrival_s + np.nan_to_num(self.experiment.e2e), self.first_token_s)

    @cached_property
    def waiting(self) -> FloatArray:
        """How many others were without a first token when each request was sent [R]."""
        return self._others(self.first_token_s)

    @cached_property
    def in_flight(self) -> FloatArray:
        """How many others were unfinished when each request was sent [R]."""
        return self._others(self.end_s)

    @cached_property
    def decoding(self) -> FloatArray:
        """How many requests decoded on average while each one did, itself included [R]."""
        return mean_count(self.first_token_s, self.end_s)

    def _others(self, until_s: FloatArray) -> FloatArray:
        rank = np.empty(self.requests)
        rank[self.order] = np.arange(self.requests)
        gone = np.searchsorted(np.sort(until_s), self.arrival_s, side="right")
        # a request that ends at its own arrival (nothing measured) has gone before itself
        return np.maximum(rank - gone, 0)

    def per_request(self, key: str) -> FloatArray | None:
        """Return an array [R] of the provenance, None where there is none; null gives NaN.

        Raises ``ExperimentError`` for anything but a number or null for each request.
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
