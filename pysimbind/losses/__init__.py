"""Losses: how far simulated latencies are from measured ones, as one number per candidate.

A loss has four parts. It compares latencies, per request or as a mean or quantile, each with a
weight. It defines the error, how much large errors count, and how many warm-up requests it leaves
out. ``Loss.parse`` reads a loss from a text. ``LOSSES`` holds the losses that have a name.
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
