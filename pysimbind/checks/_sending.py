"""Checks of arrivals: do they exist, are they in order, did the client keep its schedule?"""

from __future__ import annotations

import numpy as np

from ._latencies import median
from ._report import Finding
from ._view import View

_LAG_S = 0.010
_LAG_TTFT_SHARE = 0.10
_NOTE_SHARE = 0.01


def same_arrivals(view: View) -> Finding | None:
    """Arrivals that are all the same number, as in a file without start times.

    Real sends differ by microseconds even if all are sent at once. Warning. The check skips a
    client in closed loop (``max_concurrency``): all its requests may be ready from the start.
    """
    workload = view.experiment.workload
    if view.requests < 2 or workload.max_concurrency is not None or np.ptp(view.arrival_s) > 0:
        return None
    return Finding(
        "same_arrivals",
        "warning",
        np.arange(view.requests),
        f"all {view.requests} requests arrive at {view.arrival_s[0]:g} s exactly",
        "nothing changed: if the measurement had no start times, give it arrivals",
    )


def unsorted_arrivals(view: View) -> Finding | None:
    """Requests that arrive before the request above them in the workload. A note."""
    bad = np.flatnonzero(np.diff(view.arrival_s) < 0) + 1
    if not bad.size:
        return None
    return Finding(
        "unsorted_arrivals",
        "note",
        bad,
        f"{bad.size} of {view.requests} requests arrive before the one ahead of them",
        "nothing changed: they are replayed by arrival",
    )


def send_lag(view: View) -> Finding | None:
    """Requests sent late (provenance ``intended_arrival_s``; without it the check is skipped).

    First the smallest lag is subtracted, since it may be an offset of clocks. A request is late if
    its lag exceeds both 10 ms and a tenth of the median TTFT. A client too busy to send in time
    stamps tokens late too. A note if at most 1 % of the requests are late, or if a limit of the
    client (``max_concurrency``) held them back; else a warning.
    """
    intended = view.per_request("intended_arrival_s")
    if intended is None or np.isnan(intended).all():
        return None
    lag = view.arrival_s - intended
    lag -= np.nanmin(lag)
    allowed = max(_LAG_S, _LAG_TTFT_SHARE * float(np.nan_to_num(median(view.ttft))))
    bad = lag > allowed
    if not bad.any():
        return None
    held = (
        view.experiment.workload.max_concurrency is not None
        or view.experiment.provenance.get("max_concurrency") is not None
    )
    why = " (the client limits how many are in flight)" if held else ""
    return Finding(
        "send_lag",
        "note" if held or bad.mean() <= _NOTE_SHARE else "warning",
        np.flatnonzero(bad),
        f"{np.count_nonzero(bad)} of {view.requests} requests were sent more than {allowed:.2g} s "
        f"late, by up to {float(np.nanmax(lag)):.3g} s{why}",
        "nothing changed: the actual sends are replayed",
    )
