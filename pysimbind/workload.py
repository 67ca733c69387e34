"""The requests sent to a server: arrivals, lengths and, where known, token ids."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt

from .errors import WorkloadError

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
Ragged = tuple[npt.NDArray[np.int32], IntArray]
"""Token ids of all requests in one array, and the R + 1 offsets where requests begin."""


class Workload:
    """The requests of one run, in the order of sending; immutable.

    ``arrival_s`` [R]: seconds since the start; finite, >= 0 and non-decreasing. ``input_tokens``,
    ``output_tokens`` [R]: counts >= 0 of an integer dtype.

    ``prompt_token_ids``, ``output_token_ids``: one list of token ids per request, as long as its
    count. Prefix caching needs them to find equal beginnings of prompts; else leave them out.
    ``output_token_ids`` need ``prompt_token_ids``.

    ``max_concurrency``: most requests that the client keeps in flight, as the semaphore of ``vllm
    bench serve --max-concurrency``. A request is sent at its arrival, or later, when an earlier
    request completes. Latencies count from the sending. None: open loop, no limit.

    ``strict=False`` replays recorded workloads unchanged. Arrivals may be unsorted, and the
    simulator accepts prompts that can never fit the KV pool.

    Raises ``WorkloadError``, with the request, for anything else.
    """

    __slots__ = (
        "_arrival_s",
        "_input",
        "_max_concurrency",
        "_output",
        "_output_ids",
        "_prompt_ids",
        "_strict",
    )

    def __init__(
        self,
        arrival_s: npt.ArrayLike,
        input_tokens: npt.ArrayLike,
        output_tokens: npt.ArrayLike,
        *,
        prompt_token_ids: Iterable[npt.ArrayLike] | None = None,
        output_token_ids: Iterable[npt.ArrayLike] | None = None,
        max_concurrency: int | None = None,
        strict: bool = True,
    ) -> None:
        self._arrival_s = _arrivals(arrival_s, strict)
        self._input = _counts("input_tokens", input_tokens, len(self))
        self._output = _counts("output_tokens", output_tokens, len(self))
        self._prompt_ids = _ragged("prompt_token_ids", prompt_token_ids, self._input)
        self._output_ids = _ragged("output_token_ids", output_token_ids, self._output)
        if self._output_ids is not None and self._prompt_ids is None:
            raise WorkloadError("output_token_ids need prompt_token_ids beside them")
        self._max_concurrency = _concurrency(max_concurrency)
        self._strict = bool(strict)

    @property
    def arrival_s(self) -> FloatArray:
        """Arrival times [R] in seconds, read-only."""
        return self._arrival_s

    @property
    def input_tokens(self) -> IntArray:
        """Prompt lengths [R] in tokens, read-only."""
        return self._input

    @property
    def output_tokens(self) -> IntArray:
        """Output lengths [R] in tokens, read-only."""
        return self._output

    @property
    def prompt_ids(self) -> Ragged | None:
        """Prompt token ids: (flat int32, offsets int64 [R + 1]), read-only, or None."""
        return self._prompt_ids

    @property
    def output_ids(self) -> Ragged | None:
        """Generated token ids, as ``prompt_ids``, or None."""
        return self._output_ids

    @property
    def max_concurrency(self) -> int | None:
        """Most requests that the client keeps in flight; None: no limit."""
        return self._max_concurrency

    @property
    def strict(self) -> bool:
        """Whether arrivals must be sorted and prompts must fit the KV pool."""
        return self._strict

    @property
    def num_requests(self) -> int:
        """The number of requests, R."""
        return len(self)

    def with_max_concurrency(self, max_concurrency: int | None) -> Workload:
        """Return the same requests, with another limit of requests in flight."""
        return _restore(*self._parts(), _concurrency(max_concurrency), self._strict)

    def as_dict(self) -> dict[str, Any]:
        """Return the requests as JSON values, token ids as lists. Missing keys are defaults."""
        obj: dict[str, Any] = {
            "arrival_s": self.arrival_s.tolist(),
            "input_tokens": self.input_tokens.tolist(),
            "output_tokens": self.output_tokens.tolist(),
        }
        if self.prompt_ids is not None:
            obj["prompt_token_ids"] = token_lists(self.prompt_ids)
        if self.output_ids is not None:
            obj["output_token_ids"] = token_lists(self.output_ids)
        if self.max_concurrency is not None:
            obj["max_concurrency"] = self.max_concurrency
        if not self.strict:
            obj["strict"] = False
        return obj

    def __len__(self) -> int:
        return int(self._arrival_s.size)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Workload):
            return NotImplemented
        mine, theirs = self._parts(), other._parts()
        mine_too = (self._strict, self._max_concurrency)
        return mine_too == (other._strict, other._max_concurrency) and all(
            a is None if b is None else a is not None and np.array_equal(a, b)
            for a, b in zip(mine, theirs, strict=True)
        )

    __hash__ = None  # type: ignore[assignment]  # compared by content, too large to hash

    def __repr__(self) -> str:
        ids = "" if self._prompt_ids is None else ", with token ids"
        if self._max_concurrency is not None:
            ids += f", at most {self._max_concurrency} in flight"
        return (
            f"<Workload: {len(self)} requests over {float(self._arrival_s.max()):.6g} s, "
            f"{int(self._input.sum())} prompt and {int(self._output.sum())} output tokens{ids}>"
        )

    def __reduce__(self) -> tuple[Any, ...]:
        return _restore, (*self._parts(), self._max_concurrency, self._strict)

    def _parts(self) -> tuple[npt.NDArray[Any] | None, ...]:
        nothing = (None, None)
        return (
            self._arrival_s,
            self._input,
            self._output,
            *(self._prompt_ids or nothing),
            *(self._output_ids or nothing),
        )


def token_lists(ragged: Ragged) -> list[list[int]]:
    """Return the token ids of each request as a list."""
    flat, offsets = ragged
    return [flat[a:b].tolist() for a, b in itertools.pairwise(offsets)]


def _restore(*parts: Any) -> Workload:
    """Rebuild a pickled workload. Its arrays must be set read-only again."""
    *arrays, concurrency, strict = parts
    arrival, inputs, outputs, prompt, prompt_at, output, output_at = map(_read_only, arrays)
    workload = Workload.__new__(Workload)
    workload._arrival_s, workload._input, workload._output = arrival, inputs, outputs
    workload._prompt_ids = None if prompt is None else (prompt, prompt_at)
    workload._output_ids = None if output is None else (output, output_at)
    workload._max_concurrency = concurrency
    workload._strict = strict
    return workload


def _read_only(array: Any) -> Any:
    if array is not None:
        array.setflags(write=False)
    return array


def _one_dimensional(name: str, values: npt.ArrayLike) -> npt.NDArray[Any]:
    try:
        array = np.asarray(values)
    except ValueError as exc:
        raise WorkloadError(f"{name} must be one flat list of numbers: {exc}") from exc
    if array.ndim != 1:
        raise WorkloadError(f"{name} must have one dimension, got shape {array.shape}")
    return array


def _first(mask: npt.NDArray[np.bool_]) -> int | None:
    found = np.flatnonzero(mask)
    return int(found[0]) if found.size else None


def _arrivals(values: npt.ArrayLike, strict: bool) -> FloatArray:
    array = _one_dimensional("arrival_s", values)
    if array.size == 0:
        raise WorkloadError("a workload needs at least one request, got none")
    if array.dtype.kind not in "iuf":
        raise WorkloadError(f"arrival_s must be numbers of seconds, got dtype {array.dtype}")
    array = np.array(array, dtype=np.float64)
    bad = _first(~(np.isfinite(array) & (array >= 0)))
    if bad is not None:
        raise WorkloadError(f"arrival_s of request {bad} is {array[bad]}: must be finite and >= 0")
    late = _first(np.diff(array) < 0)
    if strict and late is not None:
        raise WorkloadError(
            f"arrival_s of request {late + 1} ({array[late + 1]} s) is before that of request "
            f"{late} ({array[late]} s): sort the requests by arrival, or replay them as they are "
            "with strict=False"
        )
    result: FloatArray = _read_only(array)
    return result


def _concurrency(value: int | None) -> int | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < 1:
        raise WorkloadError(
            f"max_concurrency is {value!r}: must be an integer >= 1, or None for no limit"
        )
    return int(value)


def _counts(name: str, values: npt.ArrayLike, requests: int) -> IntArray:
    array = _one_dimensional(name, values)
    if array.size != requests:
        raise WorkloadError(
            f"{name} has {array.size} values for {requests} arrivals: one for each request needed"
        )
    if array.dtype.kind not in "iu":
        raise WorkloadError(f"{name} must be whole numbers of an integer type, got {array.dtype}")
    # Squared token counts must stay exact in a float64.
    bad = _first((array < 0) | (array >= 2**26))
    if bad is not None:
        what = "negative" if array[bad] < 0 else "2**26 or more"
        raise WorkloadError(f"{name} of request {bad} is {array[bad]}: {what}")
    result: IntArray = _read_only(np.array(array, dtype=np.int64))
    return result


def _ragged(name: str, lists: Iterable[npt.ArrayLike] | None, counts: IntArray) -> Ragged | None:
    if lists is None:
        return None
    rows = [_ids(name, i, row) for i, row in enumerate(lists)]
    if len(rows) != counts.size:
        raise WorkloadError(f"{name} has {len(rows)} lists for {counts.size} requests")
    lengths = np.array([row.size for row in rows], dtype=np.int64)
    bad = _first(lengths != counts)
    if bad is not None:
        raise WorkloadError(
            f"{name} of request {bad} has {lengths[bad]} ids for {counts[bad]} tokens"
        )
    offsets = np.concatenate(([0], np.cumsum(lengths))).astype(np.int64)
    return _read_only(np.concatenate(rows).astype(np.int32)), _read_only(offsets)


def _ids(name: str, request: int, values: npt.ArrayLike) -> npt.NDArray[Any]:
    row = _one_dimensional(f"{name} of request {request}", values)
    if row.size == 0:
        return row.astype(np.int32)
    if row.dtype.kind not in "iu":
        raise WorkloadError(f"{name} of request {request} must be integers, got {row.dtype}")
    if row.min() < 0 or row.max() >= 2**31:
        raise WorkloadError(f"{name} of request {request}: ids must be >= 0 and < 2**31")
    return row
