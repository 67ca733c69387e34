"""How many time intervals of requests overlap."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]


def mean_count(begin_s: FloatArray, end_s: FloatArray) -> FloatArray:
    """Return the mean number of the n intervals open during each one [n], itself included.

    It is 0 for an interval of no length.
    """
    times = np.concatenate([begin_s, end_s])
    order = np.argsort(times, kind="stable")
    times = times[order]
    count = np.cumsum(np.where(order < begin_s.size, 1.0, -1.0))
    area = np.concatenate([[0.0], np.cumsum(count[:-1] * np.diff(times))])
    length = end_s - begin_s
    within = np.interp(end_s, times, area) - np.interp(begin_s, times, area)
    mean: FloatArray = within / np.where(length > 0, length, np.inf)
    return mean
