"""Checks over the course of a run: a slow start, and a queue that grows until the end."""

from __future__ import annotations

import numpy as np

from ._latencies import median
from ._report import Finding, IndexArray
from ._view import BoolArray, FloatArray, View

_SLOW = 1.5
_EXTREME = 0.99  # a slow request exceeds this quantile of later requests at like load
_MIN_LIKE = 10
_COLD_SHARE = 0.05
_MAX_COLD = 20
_NOTE_SHARE = 0.01

_MIN_SATURATED = 20
_GROWTH = 2.0
_LATE_GROWTH = 1.2
_MIN_WAITING = 3.0


def cold_start(view: View) -> Finding | None:
    """First requests slower than later ones at like load, as on a server that warms up.

    A request is slow if its TTFT or its time per token exceeds two limits: 1.5 times the median,
    and the 99 % quantile, of the later requests at like load (at least 10). Like load is as much
    load, or up to twice as much; this choice reports too little rather than too much. For TTFT, the
    load is the requests in flight, and the prompt tokens to prefill at that time. For the time per
    token, it is the requests in flight.

    Requests are taken in order of arrival, as long as each one is slow, or was sent before the
    first token of a request with a slow TTFT and waited for it. With token ids and prefix caching,
    TTFTs are not judged: first requests miss the cache, in the simulation too.

    At most 5 % of the requests, and at most 20, are masked. A note if they are up to 1 % of the
    requests, else a warning.
    """
    cap = max(1, min(_MAX_COLD, int(_COLD_SHARE * view.requests)))
    cold = _cold(view, cap)
    if not cold.size:
        return None
    more = ", perhaps more" if cold.size == cap else ""
    return Finding(
        "cold_start",
        "note" if cold.size <= _NOTE_SHARE * view.requests else "warning",
        np.sort(cold),
        f"the first {cold.size} of {view.requests} requests{more} are slower than later ones at "
        "like load, or waited for one that is",
        "their latencies are left out; they stay in the workload",
        ("ttft", "e2e"),
    )


def _cold(view: View, cap: int) -> IndexArray:
    """Return the slow requests at the start, by arrival, and the requests that they delayed."""
    # leave a gap: requests that are still slow after the cap must not set the standard
    first, later = view.order[:cap], view.order[2 * cap :]
    slow_tpot = _slow(view.tpot, [view.in_flight], first, later)
    slow_ttft = np.zeros_like(slow_tpot)
    config, workload = view.experiment.config, view.experiment.workload
    if workload.prompt_ids is None or not config.enable_prefix_caching:
        slow_ttft = _slow(view.ttft, [_prefill_load(view), view.in_flight], first, later)
    busy_until_s = -np.inf
    for i, request in enumerate(first):
        if not (slow_ttft[i] or slow_tpot[i] or view.arrival_s[request] < busy_until_s):
            return first[:i]
        if slow_ttft[i]:
            busy_until_s = max(busy_until_s, view.first_token_s[request])
    return first


def _slow(
    values: FloatArray, loads: list[FloatArray], first: IndexArray, later: IndexArray
) -> BoolArray:
    """Tell for each of ``first`` if its value is far above the values at like loads."""
    slow = np.zeros(first.size, dtype=np.bool_)
    later = later[~np.isnan(values[later])]
    for i, request in enumerate(first):
        like = np.ones(later.size, dtype=np.bool_)
        for load in loads:
            like &= (load[later] >= 0.9 * load[request]) & (load[later] <= 2 * load[request] + 2)
        others = values[later[like]]
        if others.size >= _MIN_LIKE:
            limit = max(_SLOW * float(np.median(others)), float(np.quantile(others, _EXTREME)))
            slow[i] = values[request] > limit
    return slow


def _prefill_load(view: View) -> FloatArray:
    """Return the prompt tokens [R] to be prefilled at the time of each request.

    They are the tokens of the request itself, of requests that wait when it arrives, and of
    requests that arrive within the median TTFT after it.
    """
    order, arrival_s = view.order, view.arrival_s
    sent = np.concatenate(([0], np.cumsum(view.experiment.workload.input_tokens[order])))
    answered = np.argsort(view.first_token_s, kind="stable")
    served = np.concatenate(([0], np.cumsum(view.experiment.workload.input_tokens[answered])))
    soon = arrival_s + float(np.nan_to_num(median(view.ttft)))
    come = np.searchsorted(arrival_s[order], soon, side="right")
    gone = np.searchsorted(view.first_token_s[answered], arrival_s, side="right")
    load: FloatArray = (sent[come] - served[gone]).astype(np.float64)
    return load


def saturation(view: View) -> Finding | None:
    """A queue that grows until the last arrival.

    The requests are split by arrival into thirds. The median TTFT of the last third is at least 2
    times that of the first third, and 1.2 times that of the second. When a request of the last
    third arrives, on average at least 3 requests wait for their first token. This number is at
    least 2 times that of the first third. The check skips runs with fewer than 20 requests. It also
    skips runs where all requests were sent before the first answer: such a burst has no rate.

    Warning: the data is worth fitting. But each TTFT is a sum over all requests before it, so a
    small error of the step time makes a large error of the TTFT.
    """
    order = view.order[~np.isnan(view.ttft[view.order])]
    if order.size < _MIN_SATURATED:
        return None
    if float(np.ptp(view.arrival_s)) <= float(np.nanmin(view.ttft)):
        return None
    thirds = np.array_split(order, 3)
    early, middle, late = (median(view.ttft[third]) for third in thirds)
    waited, waits = (float(view.waiting[third].mean()) for third in (thirds[0], thirds[2]))
    if late < max(_GROWTH * early, _LATE_GROWTH * middle):
        return None
    if waits < max(_MIN_WAITING, _GROWTH * waited):
        return None
    return Finding(
        "saturation",
        "warning",
        np.sort(thirds[2]).astype(np.int64),
        f"the queue grows to the end: median TTFT {early:.3g} s in the first third of the "
        f"requests, {late:.3g} s in the last, {waits:.0f} waiting",
        "nothing changed: TTFTs predicted for such a load are sensitive to small errors",
    )
