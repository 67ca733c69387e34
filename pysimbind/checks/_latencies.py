"""Checks of each latency by itself: units, requests that failed, and enough of them to fit."""

from __future__ import annotations

import warnings

import numpy as np

from ._report import Finding
from ._view import BoolArray, FloatArray, View

_BOTH = ("ttft", "e2e")

# Above this share of doubtful requests, the load on the server is too uncertain.
_ERROR_SHARE = 0.10

_MAX_TTFT_S = 1000.0
_MAX_TPOT_S = 5.0
_MIN_E2E_S = 1e-4
_MIN_TPOT_S = 5e-5

# The coarsest time stamps of first and last tokens have steps of a millisecond.
_CLOCK_S = 1e-3

_MIN_PER_PARAMETER = 3


def median(values: FloatArray) -> float:
    """Return the median of the values that are not NaN; NaN if there are none."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        return float(np.nanmedian(values)) if values.size else float("nan")


def graded(requests: BoolArray) -> str:
    """Return ``"error"`` if the check found more than 10 % of the requests, else ``"warning"``."""
    return "error" if requests.mean() > _ERROR_SHARE else "warning"


def units(view: View) -> Finding | None:
    """Latencies so long or short that their unit must be wrong.

    A median TTFT above 1000 s or a median TPOT above 5 s means milliseconds read as seconds. A
    median E2E below 0.1 ms or a median TPOT below 0.05 ms means seconds divided by 1000 once too
    often: no server makes tokens so fast. Error: a fit to such data means nothing.
    """
    ttft, e2e = median(view.ttft), median(view.e2e[view.e2e > 0])
    tpot = median(view.tpot[view.tpot > 0])
    per_token = f"the median time per output token is {tpot:.4g} s"
    doubts = [
        (ttft > _MAX_TTFT_S, f"the median TTFT is {ttft:.4g} s", "milliseconds"),
        (tpot > _MAX_TPOT_S, per_token, "milliseconds"),
        (e2e < _MIN_E2E_S, f"the median E2E is {e2e:.4g} s", "another unit"),
        (tpot < _MIN_TPOT_S, per_token, "another unit"),
    ]
    said = next(((what, unit) for doubtful, what, unit in doubts if doubtful), None)
    if said is None:
        return None
    return Finding(
        "units",
        "error",
        np.empty(0, dtype=np.int64),
        f"{said[0]}: was {said[1]} read as seconds?",
        "nothing changed: give the latencies in seconds",
    )


def failed(view: View) -> Finding | None:
    """Requests without any latency, or with a TTFT or E2E of zero, which is impossible.

    They loaded the server for an unknown time, so they stay in the workload. Warning; error above
    10 % of the requests.
    """
    zero = (view.ttft == 0) | (view.e2e == 0)
    bad = zero | (np.isnan(view.ttft) & np.isnan(view.e2e))
    if not bad.any():
        return None
    zeros = f", {np.count_nonzero(zero)} of them with a latency of 0" if zero.any() else ""
    return Finding(
        "failed",
        graded(bad),
        np.flatnonzero(bad),
        f"{np.count_nonzero(bad)} of {view.requests} requests failed{zeros}",
        "they load the simulated server, but their latencies are not compared",
        _BOTH,
    )


def incomplete(view: View) -> Finding | None:
    """Requests that have only one of TTFT and E2E.

    A note if the run lacks one of the two throughout, as with a client that does not stream.
    Otherwise these requests were cut off: warning; error above 10 % of the requests.
    """
    for have, lack, said, lacking in (
        (view.ttft, view.e2e, "TTFT", "E2E"),
        (view.e2e, view.ttft, "E2E", "TTFT"),
    ):
        bad = ~np.isnan(have) & np.isnan(lack)
        if not bad.any():
            continue
        never = bool(np.isnan(lack).all())
        count = f"{np.count_nonzero(bad)} of {view.requests} requests"
        return Finding(
            "incomplete",
            "note" if never else graded(bad),
            np.flatnonzero(bad),
            f"no {lacking} was measured" if never else f"{count} have a {said} but no {lacking}",
            f"their {said} is compared, no {lacking}",
        )
    return None


def ttft_exceeds_e2e(view: View) -> Finding | None:
    """Requests whose first token came after their last token.

    The difference must be more than 1 ms, the resolution of some clients: with one token, rounding
    may make TTFT exceed E2E. Neither latency can be trusted. Warning; error above 10 % of the
    requests.
    """
    bad = view.ttft > view.e2e + _CLOCK_S
    if not bad.any():
        return None
    worst = float(np.nanmax(view.ttft - view.e2e))
    return Finding(
        "ttft_exceeds_e2e",
        graded(bad),
        np.flatnonzero(bad),
        f"{np.count_nonzero(bad)} of {view.requests} requests have a TTFT above their E2E, by up "
        f"to {worst:.4g} s",
        "both latencies are left out",
        _BOTH,
    )


def too_few_requests(view: View) -> Finding | None:
    """Fewer measured requests than a fit needs.

    Error below one request per parameter, warning below three per parameter. A fit then describes
    these requests, not the server.
    """
    measured = int(np.count_nonzero(~np.isnan(view.ttft) | ~np.isnan(view.e2e)))
    if measured >= _MIN_PER_PARAMETER * view.parameters:
        return None
    return Finding(
        "too_few_requests",
        "error" if measured < view.parameters else "warning",
        np.empty(0, dtype=np.int64),
        f"{measured} requests with a latency for {view.parameters} parameters",
        "nothing changed: measure more requests, or hold parameters",
    )
