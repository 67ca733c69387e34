"""Step-time models: which terms a step's length, and a request's own delay, are the sum of.

A model is a list of terms. A step takes the sum of coefficient x term over the terms of the step,
in seconds; each latency is later by the sum over the request-side terms; four overheads in
microseconds are added outside the step, whatever the model. The quantities of a step: it decodes
D tokens (of as many requests) and prefills P tokens of N requests, the largest chunk being M.
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
    """The quantities of many steps, an array [S] each: what the terms of a step are made of."""

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
    """One term: its coefficient is in seconds per unit of what ``description`` says.

    ``words`` are short names that ``find_model`` takes as well. ``feature`` is what the coefficient
    is multiplied with in each of many steps. A ``request_side`` term has none: it delays the
    client's tokens and does not occupy the server.
    """

    name: str
    description: str
    words: tuple[str, ...] = ()
    feature: Callable[[Steps], FloatArray] | None = None

    @property
    def request_side(self) -> bool:
        """Whether the term is the request's own, not the step's."""
        return self.feature is None


# In the order of the compiled library (go_shim/sim/model.go), to which new ones are appended. Those
# up to the intercept are the original experiment's, in its names and order.
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
    """A list of terms, by name. Make one with ``find_model``.

    ``name`` is a preset's name, or the terms in one text; ``find_model`` reads either.
    """

    name: str
    terms: tuple[str, ...]

    @cached_property
    def names(self) -> tuple[str, ...]:
        """The parameters in order: a coefficient for each term, then the overheads."""
        return self.terms + OVERHEADS

    @cached_property
    def numbers(self) -> tuple[int, ...]:
        """The place of each term in ``TERMS``."""
        return tuple(_NUMBER[name] for name in self.terms)

    @cached_property
    def _places(self) -> dict[str, int]:
        return {name: i for i, name in enumerate(self.names)}

    def index(self, name: str) -> int:
        """Return the place of a parameter in ``names``; ``ParameterError`` if it is unknown."""
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
        """Changes of the parameters, each in its unit, that leave every simulated time as it was.

        Between the starts of two steps lie the step, queue overhead, schedule and update time;
        between the start of a step and its tokens lie the step, vLLM overhead, schedule and update
        time. So schedule and update time do the same, and what one of them adds, queue and vLLM
        overhead add together. Where the model has an intercept, which is a part of each step,
        that does the same too. Each alias begins with a parameter that no other alias begins
        with: with these held fixed, none is left. (Under ``blis-2025-07`` all this is true up to
        its truncation to whole microseconds.)
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
        """How many parameters can be told apart at most, whatever the data."""
        return len(self.names) - len(self.aliases)

    def __str__(self) -> str:
        return self.name

    def __reduce__(self) -> tuple[Any, ...]:
        return find_model, (self.name,)


QUADRATIC15 = StepModel(
    "quadratic15", tuple(term.name for term in TERMS[: _NUMBER["intercept"] + 1])
)
"""The original experiment's: all products of two of 1, D, P, M and N."""

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
    """Return a model: a ``StepModel``, a preset's name, or a list of terms.

    A list is a text such as ``"intercept,D,ctx,out"`` or a sequence of names; short words stand for
    the polynomial terms: 1, D, P, M, N and their products (DD or D2, DP, ...). The order is that of
    the parameters. Raises ``ParameterError`` for an unknown name, naming the nearest, for a
    term given twice, and for an empty list.
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
    """Return the name of a term; a word that stands alone may have been meant as a preset."""
    if isinstance(word, str) and word in _WORDS:
        return _WORDS[word]
    known = [*(MODELS if alone else ()), *_WORDS]
    what = "model or term" if alone else "term"
    near = nearest(str(word), known) or f" (known: {', '.join(known)})"
    raise ParameterError(f"unknown {what} {word!r}{near}")
