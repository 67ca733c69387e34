"""Step-time models: the terms that add up to a step's length and to a request's own delay.

A model is a list of terms. A step takes the sum of coefficient x term over the terms of the step,
in seconds. The sum over the request-side terms delays each latency. Every model has four overheads
in microseconds, added outside the step.

A step decodes D tokens, one per request, and prefills P tokens of N requests. Its largest prefill
chunk has M tokens.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from .errors import ParameterError, nearest

FloatArray = npt.NDArray[np.float64]

HINGE_TOKENS = 256
"""Tokens of a step that the term ``hinge`` leaves out, as in the compiled library."""


class Steps(NamedTuple):
    """The quantities of S steps, one array [S] each. The terms of a step are made of these."""

    D: FloatArray
    """Tokens decoded."""
    P: FloatArray
    """Prefill tokens."""
    M: FloatArray
    """Tokens of the largest prefill chunk."""
    N: FloatArray
    """Requests that prefill."""
    ctx: FloatArray
    """Tokens computed before, of the requests that decode."""
    attn: FloatArray
    """Pairs of query and key in the prefill chunks."""


@dataclass(frozen=True)
class Term:
    """One term of a step-time model. Its coefficient is in seconds per unit of the term."""

    name: str
    """Name of the term, and of its coefficient."""
    description: str
    """What the term counts."""
    words: tuple[str, ...] = ()
    """Short names that ``find_model`` accepts too."""
    feature: Callable[[Steps], FloatArray] | None = None
    """The term's value [S] in S steps. None for a request-side term: it delays the client's tokens
    and does not occupy the server."""

    @property
    def request_side(self) -> bool:
        """Whether the term belongs to the request, not to the step."""
        return self.feature is None


# In the order of the compiled library (go_shim/sim/model.go). Append new terms at the end. The
# terms up to the intercept have the original experiment's names and order.
TERMS: tuple[Term, ...] = (
    Term("sum_decode_tokens", "D, tokens decoded", ("D",), lambda s: s.D),
    Term("sum_prefill_tokens", "P, prefill tokens", ("P",), lambda s: s.P),
    Term("max_prefill_tokens", "M, tokens of the largest prefill chunk", ("M",), lambda s: s.M),
    Term("num_prefills", "N, requests that prefill", ("N",), lambda s: s.N),
    Term("sum_decode_tokenss2", "D squared", ("DD", "D2"), lambda s: s.D * s.D),
    Term("sum_decode_tokensmsumprefill_tokens", "D times P", ("DP",), lambda s: s.D * s.P),
    Term("sum_decode_tokensmmaxprefill_tokens", "D times M", ("DM",), lambda s: s.D * s.M),
    Term("sum_decode_tokensmnumprefills", "D times N", ("DN",), lambda s: s.D * s.N),
    Term("sum_prefill_tokenss2", "P squared", ("PP", "P2"), lambda s: s.P * s.P),
    Term("sum_prefill_tokensmmaxprefill_tokens", "P times M", ("PM",), lambda s: s.P * s.M),
    Term("sum_prefill_tokensmnumprefills", "P times N", ("PN",), lambda s: s.P * s.N),
    Term("max_prefill_tokenss2", "M squared", ("MM", "M2"), lambda s: s.M * s.M),
    Term("max_prefill_tokensmnumprefills", "M times N", ("MN",), lambda s: s.M * s.N),
    Term("num_prefillss2", "N squared", ("NN", "N2"), lambda s: s.N * s.N),
    Term("intercept", "1: each step", ("1",), lambda s: np.ones_like(s.D)),
    Term(
        "ctx",
        "context lengths of the requests that decode (tokens computed before), summed",
        feature=lambda s: s.ctx,
    ),
    Term(
        "attn",
        "pairs of query and key in the prefill chunks: n c + n (n + 1) / 2 for n after c",
        feature=lambda s: s.attn,
    ),
    Term(
        "hinge",
        f"tokens of the step beyond {HINGE_TOKENS}: max(0, D + P - {HINGE_TOKENS})",
        feature=lambda s: np.maximum(0.0, s.D + s.P - HINGE_TOKENS),
    ),
    Term(
        "mixed",
        "1 if the step has both prefill and decode",
        feature=lambda s: ((s.D > 0) & (s.P > 0)).astype(np.float64),
    ),
    Term("out", "output tokens that the request has been given"),
    Term("prompt", "prompt tokens of the request"),
)
OVERHEADS: tuple[str, ...] = ("schedule_time", "update_time", "queue_overhead", "vllm_overhead")

_NUMBER = {term.name: i for i, term in enumerate(TERMS)}
_WORDS = {word: term.name for term in TERMS for word in (term.name, *term.words)}


@dataclass(frozen=True)
class StepModel:
    """A list of terms. Make one with ``find_model``."""

    name: str
    """Name of a preset, or the terms in one text; ``find_model`` reads both."""
    terms: tuple[str, ...]
    """Names of the terms, in order."""

    @cached_property
    def names(self) -> tuple[str, ...]:
        """The parameters in order: one coefficient per term, then the overheads."""
        return self.terms + OVERHEADS

    @cached_property
    def numbers(self) -> tuple[int, ...]:
        """The index of each term in ``TERMS``."""
        return tuple(_NUMBER[name] for name in self.terms)

    @cached_property
    def _places(self) -> dict[str, int]:
        return {name: i for i, name in enumerate(self.names)}

    def index(self, name: str) -> int:
        """Return the index of a parameter in ``names``. Unknown names raise ``ParameterError``."""
        try:
            return self._places[name]
        except (KeyError, TypeError):
            near = nearest(str(name), self.names) or f" (known: {', '.join(self.names)})"
            raise ParameterError(f"unknown parameter {name!r}{near}") from None

    def unit(self, name: str) -> str:
        """Return the unit of a parameter: ``"s"`` (per feature) or ``"us"``."""
        return "s" if self.index(name) < len(self.terms) else "us"

    @property
    def aliases(self) -> tuple[Mapping[str, float], ...]:
        """Changes of the parameters, each in its unit, that change no simulated time.

        The time between the starts of two steps is the sum of step, queue overhead, schedule time
        and update time. The time between the start of a step and its tokens is the sum of step,
        vLLM overhead, schedule time and update time. So schedule time and update time have the same
        effect. A change of either equals the same change of queue overhead and vLLM overhead
        together. If the model has an intercept, it is a part of each step and has the same effect
        too.

        Each alias begins with a parameter that begins no other alias. If these parameters are held
        fixed, no alias is left. Under ``blis-2025-07`` this holds up to its truncation to whole
        microseconds.
        """
        if "intercept" in self.terms:
            step = {"intercept": -1e-6}
            changes = [
                {"schedule_time": 1.0, **step},
                {"update_time": 1.0, **step},
                {"queue_overhead": 1.0, "vllm_overhead": 1.0, **step},
            ]
        else:
            changes = [
                {"schedule_time": 1.0, "queue_overhead": -1.0, "vllm_overhead": -1.0},
                {"update_time": 1.0, "queue_overhead": -1.0, "vllm_overhead": -1.0},
            ]
        return tuple(MappingProxyType(change) for change in changes)

    @property
    def identifiable(self) -> int:
        """The largest number of parameters that any data can tell apart."""
        return len(self.names) - len(self.aliases)

    def __str__(self) -> str:
        return self.name

    def __reduce__(self) -> tuple[Any, ...]:
        return find_model, (self.name,)


QUADRATIC15 = StepModel(
    "quadratic15", tuple(term.name for term in TERMS[: _NUMBER["intercept"] + 1])
)
"""The model of the original experiment: all products of two of 1, D, P, M and N."""

_SMALL = ("1", "D", "P", "out")
_EXTENDED = ("1", "D", "P", "ctx", "attn", "DP", "PP", "hinge", "mixed", "DD", "N", "out")

MODELS: Mapping[str, StepModel] = MappingProxyType(
    {
        "quadratic15": QUADRATIC15,
        "small": StepModel("small", tuple(_WORDS[word] for word in _SMALL)),
        "extended": StepModel("extended", tuple(_WORDS[word] for word in _EXTENDED)),
    }
)
"""The presets by name."""

_PRESETS = {model.terms: model for model in MODELS.values()}

ModelLike = str | StepModel | Sequence[str]


def find_model(spec: ModelLike) -> StepModel:
    """Return a model: a ``StepModel`` itself, or the model of a preset's name or a list of terms.

    A list is a text such as ``"intercept,D,ctx,out"``, or a sequence of names. Polynomial terms
    have short words: 1, D, P, M, N and their products (DD or D2, DP, ...). The parameters keep the
    order of the list. Raises ``ParameterError`` for an unknown name, with the nearest known name,
    for a repeated term, and for an empty list.
    """
    if isinstance(spec, StepModel):
        return spec
    if isinstance(spec, str):
        if spec in MODELS:
            return MODELS[spec]
        words: list[object] = [word.strip() for word in spec.split(",")] if spec.strip() else []
    elif isinstance(spec, Sequence):
        words = list(spec)
    else:
        raise ParameterError(
            f"a model is a preset's name or a list of terms, got {type(spec).__name__}"
        )
    if not words:
        raise ParameterError(f"a model needs a term or more: one of {', '.join(MODELS)}, or a list")
    terms = tuple(_canonical(word, alone=len(words) == 1) for word in words)
    twice = [name for i, name in enumerate(terms) if name in terms[:i]]
    if twice:
        raise ParameterError(f"term {twice[0]!r} is given twice: leave one out")
    return _PRESETS.get(terms) or StepModel(",".join(terms), terms)


def _canonical(word: object, *, alone: bool) -> str:
    """Return the name of a term. A word that stands alone may be a misspelt preset."""
    if isinstance(word, str) and word in _WORDS:
        return _WORDS[word]
    known = [*(MODELS if alone else ()), *_WORDS]
    what = "model or term" if alone else "term"
    near = nearest(str(word), known) or f" (known: {', '.join(known)})"
    raise ParameterError(f"unknown {what} {word!r}{near}")
