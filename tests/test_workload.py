"""Workloads.

Oracles: the documented contract (what is refused, by which message) and the lists that were given.
"""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pytest

from pysimbind.errors import WorkloadError
from pysimbind.workload import Workload

from .facts import facts, tells

ARRIVAL, INPUT, OUTPUT = [0.0, 0.5, 0.5], [3, 2, 0], [1, 0, 2]
PROMPTS, OUTPUTS = [[7, 8, 9], [7, 8], []], [[1], [], [2, 3]]


def test_what_goes_in_comes_out() -> None:
    w = Workload(ARRIVAL, INPUT, OUTPUT)
    assert (w.arrival_s.tolist(), w.input_tokens.tolist(), w.output_tokens.tolist()) == (
        ARRIVAL,
        INPUT,
        OUTPUT,
    )
    assert (w.arrival_s.dtype, w.input_tokens.dtype, w.output_tokens.dtype) == (
        np.float64,
        np.int64,
        np.int64,
    )
    assert len(w) == w.num_requests == 3
    assert w.prompt_ids is None
    assert w.output_ids is None
    assert w.strict


def test_token_ids_are_stored_flat() -> None:
    w = Workload(ARRIVAL, INPUT, OUTPUT, prompt_token_ids=PROMPTS, output_token_ids=OUTPUTS)
    for stored, given in ((w.prompt_ids, PROMPTS), (w.output_ids, OUTPUTS)):
        assert stored is not None
        flat, offsets = stored
        assert flat.dtype == np.int32
        assert offsets.dtype == np.int64
        assert [flat[offsets[i] : offsets[i + 1]].tolist() for i in range(3)] == given
    only = Workload(ARRIVAL, INPUT, OUTPUT, prompt_token_ids=(np.array(p, int) for p in PROMPTS))
    assert only.output_ids is None
    assert only.prompt_ids is not None
    assert only.prompt_ids[0].tolist() == [7, 8, 9, 7, 8]


def test_all_prompts_empty() -> None:
    w = Workload([0.0], [0], [1], prompt_token_ids=[[]])
    assert w.prompt_ids is not None
    assert w.prompt_ids[0].size == 0
    assert w.prompt_ids[1].tolist() == [0, 0]


def test_immutable() -> None:
    mine = np.array(ARRIVAL)
    w = Workload(mine, INPUT, OUTPUT, prompt_token_ids=PROMPTS)
    mine[0] = 9
    assert w.arrival_s[0] == 0
    for each in (w, pickle.loads(pickle.dumps(w))):
        assert each.prompt_ids is not None
        for array in (each.arrival_s, each.input_tokens, each.output_tokens, *each.prompt_ids):
            with pytest.raises(ValueError, match="read-only"):
                array[0] = 1
    with pytest.raises(AttributeError):
        w.arrival_s = mine  # type: ignore[misc]


def test_equality_and_pickle() -> None:
    full = Workload(ARRIVAL, INPUT, OUTPUT, prompt_token_ids=PROMPTS, output_token_ids=OUTPUTS)
    variants = [
        full,
        Workload(ARRIVAL, INPUT, OUTPUT),
        Workload(ARRIVAL, INPUT, OUTPUT, strict=False),
        Workload(ARRIVAL, INPUT, OUTPUT, max_concurrency=1),
        Workload(ARRIVAL, INPUT, OUTPUT, max_concurrency=2),
        Workload(ARRIVAL, INPUT, OUTPUT, max_concurrency=2, strict=False),
        Workload(ARRIVAL, INPUT, OUTPUT, prompt_token_ids=PROMPTS),
        Workload(ARRIVAL, INPUT, OUTPUT, prompt_token_ids=[[7, 8, 9], [7, 9], []]),
        Workload([0.0, 0.5, 0.75], INPUT, OUTPUT),
        Workload(ARRIVAL, INPUT, [1, 0, 3]),
        Workload([0.0], [3], [1]),
    ]
    for i, a in enumerate(variants):
        assert pickle.loads(pickle.dumps(a)) == a
        for j, b in enumerate(variants):
            assert (a == b) == (i == j)
    assert full != 1
    assert tells(repr(full), "3 requests .. 0.5 s .. 5 .. 3 .. token ids")


def test_max_concurrency() -> None:
    open_loop = Workload(ARRIVAL, INPUT, OUTPUT)
    assert open_loop.max_concurrency is None
    assert "in flight" not in repr(open_loop)
    closed = Workload(ARRIVAL, INPUT, OUTPUT, max_concurrency=np.int32(2))  # type: ignore[arg-type]
    assert closed.max_concurrency == 2
    assert type(closed.max_concurrency) is int
    assert tells(repr(closed), "2 in flight")
    assert pickle.loads(pickle.dumps(closed)).max_concurrency == 2
    with pytest.raises(AttributeError):
        closed.max_concurrency = 3  # type: ignore[misc]


@pytest.mark.parametrize("value", [0, -1, True, 2.0, "2", [2], float("inf")])
def test_bad_max_concurrency(value: Any) -> None:
    with pytest.raises(WorkloadError) as caught:
        Workload(ARRIVAL, INPUT, OUTPUT, max_concurrency=value)
    assert tells(caught.value, f"max_concurrency .. {value!r} .. None")


def test_unsorted_arrivals_only_when_not_strict() -> None:
    with pytest.raises(WorkloadError, match=facts("request 2 .. (0.25 s) .. request 1")):
        Workload([0.0, 0.5, 0.25], INPUT, OUTPUT)
    w = Workload([0.0, 0.5, 0.25], INPUT, OUTPUT, strict=False)
    assert w.arrival_s.tolist() == [0.0, 0.5, 0.25]
    assert not w.strict


@pytest.mark.parametrize(
    ("arrival", "message"),
    [
        ([], "one request"),
        ([0.0, np.nan, 1.0], "arrival_s .. request 1 .. nan"),
        ([0.0, 1.0, np.inf], "arrival_s .. request 2 .. inf"),
        ([-0.5, 0.0, 1.0], "arrival_s .. request 0 .. -0.5"),
        ([[0.0, 1.0, 2.0]], "(1, 3)"),
        (1.0, "()"),
        (["a", "b", "c"], "numbers"),
        ([True, True, True], "numbers"),
        ([0.0, [1.0], 2.0], "list"),
        ([0.0, 1.0], "input_tokens .. 3 .. 2"),
    ],
)
@pytest.mark.parametrize("strict", [True, False])
def test_bad_arrivals(arrival: Any, message: str, strict: bool) -> None:
    with pytest.raises(WorkloadError, match=facts(message)):
        Workload(arrival, INPUT, OUTPUT, strict=strict)


@pytest.mark.parametrize(
    ("counts", "message"),
    [
        ([3, -2, 0], "request 1 .. -2 .. negative"),
        ([3, 2, 2**26], "request 2 .. 67108864 .. 2**26"),
        (
            np.array([3, 2, 2**64 - 1], dtype=np.uint64),
            "request 2 .. 2**26",
        ),
        ([3.0, 2.0, 0.0], "integer .. float64"),
        ([True, False, True], "integer .. bool"),
        (["1", "2", "3"], "integer"),
        ([3, None, 0], "integer"),
        ([3, 2**70, 0], "integer"),
        ([[3, 2, 0]], "one dimension"),
        ([3, 2], "2 values .. 3 arrivals"),
    ],
)
@pytest.mark.parametrize("name", ["input_tokens", "output_tokens"])
def test_bad_counts(name: str, counts: Any, message: str) -> None:
    values = {"input_tokens": INPUT, "output_tokens": OUTPUT, name: counts}
    with pytest.raises(WorkloadError, match=facts(f"{name} .. {message}")) as caught:
        Workload(ARRIVAL, **values)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("dtype", [np.int8, np.uint16, np.int32, np.uint64])
def test_any_integer_type_will_do(dtype: Any) -> None:
    assert Workload(ARRIVAL, np.array(INPUT, dtype), OUTPUT) == Workload(ARRIVAL, INPUT, OUTPUT)


@pytest.mark.parametrize(
    ("ids", "message"),
    [
        ([[7, 8, 9], [7], []], "prompt_token_ids .. request 1 .. 1 ids .. 2"),
        ([[7, 8, 9], [7, 8]], "prompt_token_ids .. 2 lists .. 3"),
        ([[7, 8, 9], [7, -1], []], "request 1 .. ids .. 0"),
        ([[7, 8, 9], [7, 2**31], []], "request 1 .. ids"),
        ([[7, 8, 9.5], [7, 8], []], "request 0 .. integers .. float64"),
        ([[7, 8, 9], [[7, 8]], []], "request 1 .. dimension"),
        ([[7, 8, 9], ["a", "b"], []], "request 1 .. integers"),
    ],
)
def test_bad_token_ids(ids: Any, message: str) -> None:
    with pytest.raises(WorkloadError, match=facts(message)):
        Workload(ARRIVAL, INPUT, OUTPUT, prompt_token_ids=ids)


def test_output_ids_need_prompt_ids() -> None:
    with pytest.raises(WorkloadError, match=facts("prompt_token_ids")):
        Workload(ARRIVAL, INPUT, OUTPUT, output_token_ids=OUTPUTS)
    with pytest.raises(WorkloadError, match=facts("output_token_ids .. request 2 .. 1 ids .. 2")):
        Workload(ARRIVAL, INPUT, OUTPUT, prompt_token_ids=PROMPTS, output_token_ids=[[1], [], [2]])


def test_with_max_concurrency_changes_nothing_else() -> None:
    """The requests stay the same, token ids included, and the limit is checked as ever."""
    ids = [[1, 2], [1, 2, 3]]
    workload = Workload([0, 1], [2, 3], [4, 5], prompt_token_ids=ids)
    limited = workload.with_max_concurrency(3)
    assert limited == Workload([0, 1], [2, 3], [4, 5], prompt_token_ids=ids, max_concurrency=3)
    assert limited.with_max_concurrency(None) == workload
    with pytest.raises(WorkloadError, match=facts("max_concurrency .. 0")):
        workload.with_max_concurrency(0)
