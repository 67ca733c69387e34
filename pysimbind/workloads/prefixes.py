"""Which tokens requests share: prompts that begin alike, and conversations that grow.

A prefix cache asks only whether two prompts begin with the same ids, so ids stand for owners: all
tokens of a shared prefix have the number of its group, all others that of their session. Two
requests then agree in the common prefix, or, within a session, in all that was said, and nowhere
beyond.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from .._arguments import integer, non_negative
from ..errors import WorkloadError
from ..workload import FloatArray, IntArray
from ._spec import parse_values
from .lengths import Lengths, as_lengths

_MOST = 2**20  # prefixes: more than any server could hold


@dataclass(frozen=True)
class Prefixes:
    """``num_prefixes`` groups of requests, each with a common beginning of ``prefix_len`` tokens.

    The names are those of vLLM's dataset ``prefix_repetition``. The prefix stands before the tokens
    that a request has of its own, and adds to them. Each session, or request without sessions,
    draws its group: number k with a weight of 1 / k**skew (Zipf's law; 0: all alike).
    """

    num_prefixes: int
    prefix_len: int
    skew: float = 0.0

    def __post_init__(self) -> None:
        integer("num_prefixes", self.num_prefixes, 1, _MOST)
        integer("prefix_len", self.prefix_len, 1, 2**26)
        non_negative("skew", self.skew)

    def groups(self, size: int, rng: np.random.Generator) -> IntArray:
        """Draw group numbers [size], from 0 on."""
        weights = np.arange(1, self.num_prefixes + 1) ** -float(self.skew)
        bounds = np.cumsum(weights / weights.sum())
        drawn = np.searchsorted(bounds, rng.random(size), side="right")
        return np.minimum(drawn, self.num_prefixes - 1)  # the last bound may round to below 1


@dataclass(frozen=True)
class Sessions:
    """Conversations: each prompt is all that was said before, and new tokens of the user.

    ``turns``: how many there are in a session, a distribution as of lengths. A server's answer
    cannot hold back the next turn of a workload planned beforehand, so a turn is planned from a
    nominal latency: it is sent ``ttft_s`` + ``tpot_s`` (output tokens - 1) + think time after the
    turn before it. The think time is gamma distributed with mean ``think_s`` and coefficient of
    variation ``think_cv`` (1: exponential; 0: constant). Choose the latencies at least as long as
    the server's: on a slower one turns overtake their predecessors, and find less in the cache.

    ``max_model_len``: a session ends early where the next turn's prompt and output would exceed it;
    the turn then opens the next session. None: no limit.
    """

    turns: Lengths | str | int
    think_s: float
    ttft_s: float
    tpot_s: float
    think_cv: float = 1.0
    max_model_len: int | None = None

    def __post_init__(self) -> None:
        as_lengths(self.turns, "turns")  # raises for what is none
        for name in ("think_s", "ttft_s", "tpot_s"):
            non_negative(name, getattr(self, name))
        if non_negative("think_cv", self.think_cv) and not 1e-3 <= self.think_cv <= 1e3:
            raise WorkloadError(f"think_cv must be 0 or from 0.001 to 1000, got {self.think_cv!r}")
        if self.max_model_len is not None:
            integer("max_model_len", self.max_model_len, 1, 2**31)

    def numbers(self, tokens: IntArray, prefix_len: int, rng: np.random.Generator) -> IntArray:
        """Return the session of each request [R], session after session; the last may be cut short.

        ``tokens`` [R]: what each turn adds, new prompt and output; ``prefix_len``: what a session
        begins with.
        """
        turns = as_lengths(self.turns, "turns").sample(rng, tokens.size).tolist()
        limit = math.inf if self.max_model_len is None else self.max_model_len
        session, left, context = -1, 0, 0
        numbers = np.empty(tokens.size, dtype=np.int64)
        for i, added in enumerate(tokens.tolist()):
            if left == 0 or context + added > limit:
                session, left, context = session + 1, turns[session + 1], prefix_len
            numbers[i] = session
            left -= 1
            context += added
        return numbers

    def gaps_s(self, output_tokens: IntArray, rng: np.random.Generator) -> FloatArray:
        """Return the time [R] from each request to the next turn of its session, in seconds."""
        think = np.full(output_tokens.size, self.think_s)
        if self.think_s > 0 and self.think_cv > 0:
            shape = 1 / self.think_cv**2
            think = rng.gamma(shape, self.think_s / shape, output_tokens.size)
        gaps: FloatArray = self.ttft_s + self.tpot_s * np.maximum(output_tokens - 1, 0) + think
        return gaps


def spell(
    session: IntArray,
    own: IntArray,
    output: IntArray,
    shared: Prefixes | None,
    rng: np.random.Generator,
) -> tuple[list[npt.NDArray[np.int32]], list[npt.NDArray[np.int32]]]:
    """Return the token ids of prompts and outputs [R], a list each.

    ``session`` [R]: the number of each request's session; ``own`` [R]: its prompt tokens without
    the prefix; ``output`` [R]: its output tokens. ``rng`` draws the group of each session.
    """
    groups, head_len = (0, 0) if shared is None else (shared.num_prefixes, shared.prefix_len)
    heads = np.zeros(session.size, dtype=np.int32)
    if shared is not None:
        heads = shared.groups(int(session.max()) + 1, rng)[session].astype(np.int32)
    owners = (groups + session).astype(np.int32)  # no number of a group
    prompts = [
        np.repeat(pair, (head_len, tokens))
        for pair, tokens in zip(np.column_stack((heads, owners)), own, strict=True)
    ]
    return prompts, [np.repeat(*pair) for pair in zip(owners, output, strict=True)]


def as_prefixes(value: Prefixes | str | None) -> Prefixes | None:
    """Return prefixes as they are, or parse ``"num_prefixes=8,prefix_len=512"``."""
    if value is None or isinstance(value, Prefixes):
        return value
    return parse_values(_text("prefix", value), f"prefix {value!r}", Prefixes)


def as_sessions(value: Sessions | str | None) -> Sessions | None:
    """Return sessions as they are, or parse a text.

    So: ``"turns=4,think_s=10,ttft_s=0.2,tpot_s=0.02"``, ``"turns=uniform(1,8),think_s=10,..."``.
    """
    if value is None or isinstance(value, Sessions):
        return value
    return parse_values(_text("sessions", value), f"sessions {value!r}", Sessions)


def _text(what: str, value: object) -> str:
    if not isinstance(value, str):
        raise WorkloadError(
            f"{what} must be a text or an object of pysimbind.workloads, got {type(value).__name__}"
        )
    return value
