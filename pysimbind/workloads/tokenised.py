"""The original experiment's workload file: ShareGPT conversations as lists of token ids.

JSON, a list of ``{"id": text, "conversations": [{"from": "human" or "gpt", "value": [token ids]},
...], "arrivalDelta": microseconds since the arrival before}``.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import numpy as np

from .._arguments import integer
from .._io.files import read_json
from ..errors import WorkloadError
from ..workload import FloatArray, Workload
from ._generate import seed_streams
from .arrivals import Arrivals, as_arrivals

Row = tuple[list[int], list[int], Any]
"""Prompt and output token ids, and the arrival delta as the file has it."""


def from_tokenised(
    path: str | os.PathLike[str],
    num_requests: int | None = None,
    *,
    max_pairs: int = 1,
    arrivals: Arrivals | str | None = None,
    max_concurrency: int | None = None,
    seed: int = 0,
) -> Workload:
    """Return the requests of a tokenised ShareGPT file, with the token ids of prompts and outputs.

    ``num_requests``: how many requests to read from the beginning; None: all. A message from
    "human" followed by one from "gpt" is a pair, and each pair is a request. Of each conversation
    the first ``max_pairs`` pairs count; the reader in the original simulator's repository took two.
    Conversations without a pair are left out, with their arrival deltas. ``arrivals``: replaces the
    file's arrivals, with a random stream of ``seed``. Other keys of the file are ignored. Raises
    ``WorkloadError`` with file, conversation and key.
    """
    most = None if num_requests is None else integer("num_requests", num_requests, 1, 2**31)
    data = read_json(path, WorkloadError)
    if not isinstance(data, list):
        raise WorkloadError(f"{path}: must be a JSON list of conversations")
    rows = list(_rows(data, str(path), integer("max_pairs", max_pairs, 1, 2**31)))[:most]
    if not rows:
        raise WorkloadError(f"{path}: no message from 'human' is followed by one from 'gpt'")
    if most is not None and len(rows) < most:
        raise WorkloadError(f"{path}: has {len(rows)} requests, {most} were asked for")
    if arrivals is None:
        arrival_s = _arrival_s([delta for *_, delta in rows], str(path))
    else:
        arrival_s = as_arrivals(arrivals).times(len(rows), seed_streams(seed)["arrivals"])
    try:
        return Workload(
            arrival_s,
            [len(prompt) for prompt, _, _ in rows],
            [len(output) for _, output, _ in rows],
            prompt_token_ids=(prompt for prompt, _, _ in rows),
            output_token_ids=(output for _, output, _ in rows),
            max_concurrency=max_concurrency,
        )
    except WorkloadError as exc:
        raise WorkloadError(f"{path}: {exc}") from exc


def _rows(data: list[Any], where: str, max_pairs: int) -> Iterator[Row]:
    for place, entry in enumerate(data):
        here = f"{where}: [{place}]"
        talk = entry.get("conversations") if isinstance(entry, dict) else None
        if not isinstance(talk, list):
            raise WorkloadError(f"{here}.conversations: must be a list of messages")
        pairs = 0
        i = 0
        while i + 1 < len(talk) and pairs < max_pairs:
            if _speaker(talk[i]) == "human" and _speaker(talk[i + 1]) == "gpt":
                ids = [_ids(talk[j], f"{here}.conversations[{j}]") for j in (i, i + 1)]
                yield ids[0], ids[1], entry.get("arrivalDelta")
                pairs += 1
                i += 1
            i += 1


def _speaker(message: Any) -> Any:
    return message.get("from") if isinstance(message, dict) else None


def _ids(message: dict[str, Any], where: str) -> list[int]:
    ids = message.get("value")
    if not isinstance(ids, list):
        raise WorkloadError(
            f"{where}.value: must be a list of token ids, got {ids!r:.40}"
            + (" (raw text? that is for from_sharegpt)" if isinstance(ids, str) else "")
        )
    return ids


def _arrival_s(deltas_us: list[Any], where: str) -> FloatArray:
    for i, delta in enumerate(deltas_us):
        if delta is None:
            raise WorkloadError(
                f"{where}: request {i} has no arrivalDelta: add it, or give other arrivals"
            )
        integer(f"{where}: arrivalDelta of request {i}", delta, 0, 2**40)
    return np.cumsum(deltas_us) / 1e6
