"""Losses: how far simulated latencies are from measured ones, one number a candidate.

A loss is composed: latencies to compare, per request or as a mean or quantile, each with a weight;
what an error is; how large errors count; how many requests to leave out as warm-up. ``Loss.parse``
reads the same from a text, ``LOSSES`` holds those with a name.
"""

from __future__ import annotations

from ._loss import LOSSES, Loss, find_loss
from ._misfit import Misfit
from ._terms import STATISTICS, TARGETS, Measured, Term

__all__ = [
    "LOSSES",
    "STATISTICS",
    "TARGETS",
    "Loss",
    "Measured",
    "Misfit",
    "Term",
    "find_loss",
]
