"""Losses by name: how far simulated latencies are from measured ones, one number a candidate.

A loss gets what was measured and the simulated TTFTs and E2Es [N, R] of N candidates in request
order, all in seconds, and returns N numbers. Requests that failed when measured (NaN) are left
out of every mean; a candidate that never finishes some request (NaN) scores infinity.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from .errors import FitError, nearest

FloatArray = npt.NDArray[np.float64]


class Measured(NamedTuple):
    """What a loss compares with: arrivals, TTFTs and E2Es [R] in seconds, in request order."""

    arrival_s: FloatArray
    ttft: FloatArray
    e2e: FloatArray


@dataclass(frozen=True)
class Loss:
    """A named loss: calling it gives [N] values in ``unit`` for simulated ttft and e2e [N, R]."""

    name: str
    unit: str
    note: str
    function: Callable[[Measured, FloatArray, FloatArray], FloatArray]

    def __call__(self, measured: Measured, ttft: FloatArray, e2e: FloatArray) -> FloatArray:
        """Return the losses [N] of N simulations; never NaN."""
        with np.errstate(over="ignore"):  # a square that overflows is a loss of infinity
            loss = self.function(measured, ttft, e2e)
        unfinished = np.isnan(ttft).any(axis=1) | np.isnan(e2e).any(axis=1)
        return np.where(unfinished | np.isnan(loss), np.inf, loss)


def find_loss(name: str) -> Loss:
    """Return the loss of that name; raises ``FitError``, naming the nearest, if there is none."""
    if name not in LOSSES:
        raise FitError(
            f"unknown loss {name!r}{nearest(str(name), LOSSES)} (losses: {', '.join(LOSSES)})"
        )
    return LOSSES[name]


def _original(measured: Measured, ttft: FloatArray, e2e: FloatArray) -> FloatArray:
    return (_mean_square(ttft, measured.ttft) + _mean_square(e2e, measured.e2e)) / 2


def _original_unpaired(measured: Measured, ttft: FloatArray, e2e: FloatArray) -> FloatArray:
    completed_s = measured.arrival_s + e2e
    order = np.argsort(completed_s, axis=1, kind="stable")  # stable: ties stay in request order
    in_completion_order = np.take_along_axis(e2e, order, axis=1)
    return _original(measured, ttft, in_completion_order)


def _mean_square(simulated: FloatArray, measured: FloatArray) -> FloatArray:
    known = np.flatnonzero(~np.isnan(measured))
    # take, not [:, known]: it keeps rows contiguous, so a row's sum does not depend on the batch
    difference = np.take(simulated, known, axis=1) - measured[known]
    mean: FloatArray = np.mean(difference * difference, axis=1)
    return mean


LOSSES: Mapping[str, Loss] = MappingProxyType(
    {
        loss.name: loss
        for loss in (
            Loss(
                "original",
                "s^2",
                "mean of the mean squared errors of TTFT and E2E, matched by request",
                _original,
            ),
            Loss(
                "original-unpaired",
                "s^2",
                "an artefact, kept to show it: as 'original', but the simulated E2Es are taken in "
                "order of completion (arrival + E2E) and compared with the measured ones in "
                "request order, as the original experiment did; a perfect simulator scores far "
                "from 0",
                _original_unpaired,
            ),
        )
    }
)
"""The losses by name."""
