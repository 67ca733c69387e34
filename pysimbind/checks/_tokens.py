"""Checks of token counts against latencies: the decode time of a request shows its output length.

Requests that decode at the same time take the same steps, with one token each. So their times per
output token agree. A wrong count gives a time per token that does not agree.
"""

from __future__ import annotations

import numpy as np

from ._latencies import graded, median
from ._report import Finding, IndexArray
from ._view import BoolArray, FloatArray, View

_LONG = 16  # with fewer output tokens, a time per token averages too few steps
_NEIGHBOURS = 10  # to each side, ordered by the middle of their decoding time

_BURST_SHARE = 0.05
_STOPPED_SHARE = 0.6
_ONE_TOKEN_TPOTS = 3.0
_LATE = 2.0
_NOTE_LATE_SHARE = 0.01
_MAX_SPREAD = 0.25
_NOTE_DIFFERENCE = 0.02


def token_count_mismatch(view: View) -> Finding | None:
    """Output counts that a request's own latencies contradict.

    Three cases. First, a count of one token, but an E2E that exceeds the TTFT by more than 3 median
    times per token and 5 %: there were more tokens. Second, several tokens in less than 5 % of the
    median time per token: there was one token, or the client did not stream. Third, at least 16
    tokens, each in less than 0.6 times a reference time: generation stopped early (EOS).

    The reference is the time of the 10 % quickest among neighbours. There are two groups of 20
    neighbours: those that decoded at about the same time, and those that decoded beside about as
    many other requests. The request must be quicker than 0.6 times both. In clean runs no request
    is below 0.8 times. Requests that decoded after the run's last prefill are quicker, so they are
    not judged.

    Warning; error above 10 % of the requests.
    """
    kinds = [
        (_hidden_tokens(view), "with 1 output token went on after it"),
        (_burst(view), "gave all output tokens at once"),
        (_stopped(view), "had their last token too early for their count"),
    ]
    bad = np.logical_or.reduce([kind for kind, _ in kinds])
    if not bad.any():
        return None
    said = [f"{np.count_nonzero(kind)} {what}" for kind, what in kinds if kind.any()]
    return Finding(
        "token_count_mismatch",
        graded(bad),
        np.flatnonzero(bad),
        f"of {view.requests} requests, {', '.join(said)}",
        "their E2E is left out; check how output tokens were counted",
        ("e2e",),
    )


def _hidden_tokens(view: View) -> BoolArray:
    gap = view.e2e - view.ttft
    one = view.experiment.workload.output_tokens <= 1
    tpot = median(view.tpot)
    several = _ONE_TOKEN_TPOTS * (0.0 if np.isnan(tpot) else tpot)
    return one & (gap > np.maximum(several, 0.05 * view.ttft))


def _burst(view: View) -> BoolArray:
    positive = view.tpot[view.tpot > 0]
    # all tokens came at the same time: no request of this run was streamed
    typical = median(positive) if positive.size else np.inf
    return view.tpot < _BURST_SHARE * typical


def _stopped(view: View) -> BoolArray:
    long, at_once, at_like_load = _neighbours(view)
    bad = np.zeros(view.requests, dtype=np.bool_)
    if long.size:
        quick = np.minimum(
            np.quantile(at_once, 0.1, axis=1), np.quantile(at_like_load, 0.1, axis=1)
        )
        bad[long] = view.tpot[long] < _STOPPED_SHARE * quick
    return bad & ~_draining(view)


def _draining(view: View) -> BoolArray:
    """Tell which requests decoded mostly after the last first token, unslowed by prefills."""
    last_s = np.fmax.reduce(view.first_token_s)
    after: BoolArray = view.first_token_s + view.end_s > 2 * last_s
    return after


def _neighbours(view: View) -> tuple[IndexArray, FloatArray, FloatArray]:
    """Return the requests of long outputs [n], and times per token of neighbours, twice [n, 20].

    The first array has those that decoded at about the same time. The second has those that decoded
    beside about as many requests.
    """
    outputs = view.experiment.workload.output_tokens
    long = np.flatnonzero((outputs >= _LONG) & ~np.isnan(view.tpot) & ~_burst(view))
    if long.size < 2 * _NEIGHBOURS + 1:
        nothing = np.empty((0, 2 * _NEIGHBOURS))
        return np.empty(0, dtype=np.int64), nothing, nothing
    middle = (view.first_token_s + view.end_s)[long]
    tpot = view.tpot[long]
    return long, _around(tpot, middle), _around(tpot, view.decoding[long])


def _around(values: FloatArray, key: FloatArray) -> FloatArray:
    """Return the values of 20 neighbours by ``key``: ten to a side, or more to one at the ends."""
    order = np.argsort(key, kind="stable")
    place = np.arange(order.size)
    first = np.clip(place - _NEIGHBOURS, 0, order.size - 2 * _NEIGHBOURS - 1)
    window = first[:, np.newaxis] + np.arange(2 * _NEIGHBOURS + 1)
    others = window[window != place[:, np.newaxis]].reshape(order.size, 2 * _NEIGHBOURS)
    around = np.empty((order.size, 2 * _NEIGHBOURS))
    around[order] = values[order][others]
    return around


def late_tokens(view: View) -> Finding | None:
    """Outputs that took too long for their count, as if there were uncounted tokens.

    The request has at least 16 tokens. Each took more than twice the time of the 10 % slowest of
    the 20 requests that decoded at about the same time. In clean runs the factor is at most 1.6.
    Preemption looks the same, and is worth fitting, so nothing is masked. A note up to 1 % of the
    requests, else a warning.
    """
    long, at_once, _ = _neighbours(view)
    late = view.tpot[long] > _LATE * np.quantile(at_once, 0.9, axis=1)
    if not late.any():
        return None
    return Finding(
        "late_tokens",
        "note" if np.count_nonzero(late) <= _NOTE_LATE_SHARE * view.requests else "warning",
        long[late],
        f"{np.count_nonzero(late)} of {view.requests} requests had their last token too late for "
        "their count",
        "nothing changed: they were preempted, or more tokens came than were counted",
    )


def token_counts_implausible(view: View) -> Finding | None:
    """Output counts that do not fit the latencies of the run as a whole.

    For each request of at least 16 tokens, the time per token is divided by the median of the 20
    requests that decoded at about the same time. If half of the ratios are off by more than a
    quarter, the counts belong to other requests: rows out of order, or tokens counted again by the
    client. In clean runs half are within 7 %. Error: a fit would explain the counts, not the
    server.
    """
    long, at_once, _ = _neighbours(view)
    off = np.abs(view.tpot[long] / np.median(at_once, axis=1) - 1)
    if not median(off) > _MAX_SPREAD:
        return None
    return Finding(
        "token_counts_implausible",
        "error",
        np.empty(0, dtype=np.int64),
        "times per output token of requests that decode at the same time differ by "
        f"{100 * median(off):.0f} % (median)",
        "nothing changed: the output tokens look miscounted; take the server's counts",
    )


def server_token_counts(view: View) -> Finding | None:
    """Prompt lengths that differ from the server's (provenance ``server_input_tokens``).

    A note if they differ by at most 2 % of all prompt tokens, as by a chat template; else a
    warning.
    """
    server = view.per_request("server_input_tokens")
    if server is None:
        return None
    client = view.experiment.workload.input_tokens
    bad = ~np.isnan(server) & (server != client)
    if not bad.any():
        return None
    difference = float(np.abs(server - client)[bad].sum() / max(client.sum(), 1))
    return Finding(
        "server_token_counts",
        "note" if difference <= _NOTE_DIFFERENCE else "warning",
        np.flatnonzero(bad),
        f"{np.count_nonzero(bad)} of {view.requests} prompts have another length on the server, "
        f"{100 * difference:.2g} % of all prompt tokens",
        "nothing changed: take the server's counts as input tokens",
    )


def token_counts_guessed(view: View) -> Finding | None:
    """Token counts that were not measured (``input_source``, ``output_source``). A note."""
    experiment = view.experiment
    sources = zip(experiment.input_source, experiment.output_source, strict=True)
    bad = np.array([pair != ("exact", "exact") for pair in sources])
    if not bad.any():
        return None
    return Finding(
        "token_counts_guessed",
        "note",
        np.flatnonzero(bad),
        experiment.caveat,
        "nothing changed: they limit how well a fit can be judged",
    )
