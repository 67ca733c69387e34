"""Raw ShareGPT conversations, sampled by the rules of ``vllm bench serve --dataset-name sharegpt``.

The rules are those of ``ShareGPTDataset`` and ``is_valid_sequence`` in vLLM's
``vllm/benchmarks/datasets.py``, with the random numbers of Python's ``random``:

1. Conversations of fewer than two messages are left out; the others are shuffled by the seed.
2. The first message is the prompt, the length of the second is the output's, until there are
   ``num_requests``. A pair is passed over if prompt or output has fewer than 4 tokens, the prompt
   more than 1024, or both together more than 2048.
3. If the file ends first, requests are drawn again from those found, by the same seed anew.
"""

from __future__ import annotations

import itertools
import os
import random
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from .._arguments import integer
from .._io.files import read_json
from ..errors import WorkloadError
from ..workload import Workload
from ._generate import seed_streams
from .arrivals import Arrivals, as_arrivals
from .tokenizers import Tokenizer, load_tokenizer

_LEAST, _MOST_PROMPT, _MOST_TOTAL = 4, 1024, 2048

Pair = tuple[Sequence[int], int]
"""The prompt's token ids, and the number of output tokens."""


def from_sharegpt(
    path: str | os.PathLike[str],
    tokenizer: Tokenizer | str | os.PathLike[str],
    num_requests: int,
    *,
    arrivals: Arrivals | str = "at-once",
    output_len: int | None = None,
    shuffle: bool = True,
    oversample: bool = True,
    max_concurrency: int | None = None,
    seed: int = 0,
) -> Workload:
    """Return the requests that vLLM's benchmark would send, with their prompts' token ids.

    ``path``: JSON, a list of ``{"conversations": [{"value": text}, ...]}``. ``tokenizer``: a file
    for ``load_tokenizer``, a function from text to token ids, or a tokenizer of ``transformers``.
    ``output_len``: output length of all requests, instead of the dataset's
    (``--sharegpt-output-len``; short outputs are then accepted). ``shuffle=False``:
    ``--disable-shuffle``. ``oversample=False``: ``--no-oversample``; a short file then gives fewer
    requests. ``seed``: the client's ``--seed``. Arrivals of vLLM's own kinds use this seed too;
    other arrivals use a stream of their own. Chat templates are not applied.

    If the file ends first, older releases of vLLM chose other requests: they drew again with
    ``random.choices``, current ones with ``random.choice``. Raises ``WorkloadError`` if something
    cannot be read, with the file and conversation, and if no pair passes the rules.
    """
    count = integer("num_requests", num_requests, 1, 2**31)
    fixed = None if output_len is None else integer("output_len", output_len, 1, 2**26)
    streams, process = seed_streams(seed), as_arrivals(arrivals)
    encode = tokenizer if callable(tokenizer) else load_tokenizer(tokenizer)
    entries = _conversations(path)
    if shuffle:
        random.Random(seed).shuffle(entries)
    pairs = list(itertools.islice(_pairs(entries, encode, fixed, str(path)), count))
    if not pairs:
        raise WorkloadError(f"{path}: no conversation passes the rules of vLLM's benchmark")
    if oversample and len(pairs) < count:
        again = random.Random(seed)
        pairs = pairs + [again.choice(pairs) for _ in range(count - len(pairs))]
    return Workload(
        process.times(len(pairs), streams["arrivals"]),
        [len(prompt) for prompt, _ in pairs],
        [output for _, output in pairs],
        prompt_token_ids=(prompt for prompt, _ in pairs),
        max_concurrency=max_concurrency,
    )


def _conversations(path: str | os.PathLike[str]) -> list[tuple[int, list[Any]]]:
    """Return the conversations of two messages or more, with their indices in the file."""
    data = read_json(path, WorkloadError)
    if not isinstance(data, list):
        raise WorkloadError(f"{path}: must be a JSON list of conversations")
    found = []
    for place, entry in enumerate(data):
        talk = entry.get("conversations") if isinstance(entry, dict) else None
        if isinstance(talk, list) and len(talk) >= 2:
            found.append((place, talk))
    return found


def _pairs(
    entries: Iterable[tuple[int, list[Any]]], encode: Tokenizer, fixed: int | None, where: str
) -> Iterator[Pair]:
    for place, talk in entries:
        here = f"{where}: [{place}].conversations"
        prompt, answer = (_encoded(encode, talk[i], f"{here}[{i}]") for i in (0, 1))
        output = len(answer) if fixed is None else fixed
        too_short = len(prompt) < _LEAST or (fixed is None and output < _LEAST)
        if not too_short and len(prompt) <= _MOST_PROMPT and len(prompt) + output <= _MOST_TOTAL:
            yield prompt, output


def _encoded(encode: Tokenizer, message: Any, where: str) -> Sequence[int]:
    text = message.get("value") if isinstance(message, dict) else None
    if not isinstance(text, str):
        raise WorkloadError(f"{where}: must be a message {{'value': text}}, got {message!r:.60}")
    ids = encode(text)
    found: Sequence[int] = getattr(ids, "input_ids", ids)  # transformers wraps them
    return found
