"""Parameters and bounds.

Oracles: the names, order and units of the original experiment as its published bounds file and
baseline list them, and algebra (round trips, the step-time equation for the aliases).
"""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pysimbind import parameters
from pysimbind.errors import ParameterError
from pysimbind.parameters import (
    ALIASES,
    COEFFICIENTS,
    IDENTIFIABLE,
    NAMES,
    OVERHEADS,
    Parameters,
    Space,
    as_coeffs,
    as_overheads,
    unit,
)

from .facts import facts

C = np.arange(15) / 1000.0
O = np.array([544.0, 80.0, 1000.0, 6000.0])  # noqa: E741  the overheads, beside C
BOX = Space(np.zeros(19), np.arange(1.0, 20.0))


def test_names_and_order_are_the_original_ones(recorded: Path) -> None:
    bounds = json.loads((recorded / "exp1_30rr/bounds.json").read_text())
    assert list(NAMES) == list(bounds["original"])
    assert COEFFICIENTS + OVERHEADS == NAMES
    assert (len(COEFFICIENTS), len(OVERHEADS)) == (15, 4)


def test_names_spell_their_products() -> None:
    """``as2`` is a squared and ``amb`` a times b, over the features D, P, M, N in this order."""
    single = ["sum_decode_tokens", "sum_prefill_tokens", "max_prefill_tokens", "num_prefills"]
    short = [name.replace("_", "") for name in single]  # the second factor has lost underscores
    expected = list(single)
    for i, first in enumerate(single):
        expected.append(first + "s2")
        expected += [f"{first}m{other}" for other in short[i + 1 :]]
    squashed = [name.replace("_", "") for name in (*expected, "intercept")]
    assert [name.replace("_", "") for name in COEFFICIENTS] == squashed


def test_units() -> None:
    assert {unit(name) for name in COEFFICIENTS} == {"s"}
    assert {unit(name) for name in OVERHEADS} == {"us"}
    with pytest.raises(ParameterError, match=facts("'intercept'")):
        unit("intercpt")


def test_all_ways_to_give_parameters_agree() -> None:
    p = Parameters(C, O)
    assert p == Parameters.from_vector(np.concatenate((C, O)))
    assert p == Parameters.from_mapping(dict(reversed(p.as_dict().items())))
    assert p == Parameters(dict(zip(COEFFICIENTS, C, strict=True)), O.tolist())
    assert p == Parameters.of(p.as_dict()) == Parameters.of(p.vector)
    assert Parameters.of(p) is p
    assert p["num_prefills"] == 0.003
    assert p["update_time"] == 80
    assert list(p.as_dict()) == list(NAMES)
    assert p != Parameters(C, O + 1)
    assert p != 1
    assert hash(p) == hash(Parameters(C, O))


def test_parameters_survive_pickle_and_repr() -> None:
    p = Parameters(C, O)
    assert pickle.loads(pickle.dumps(p)) == p
    assert eval(repr(p), {"Parameters": Parameters}) == p
    assert pickle.loads(pickle.dumps(BOX)) == BOX
    assert eval(repr(BOX), {"Space": Space}) == BOX


def test_parameters_of_another_model() -> None:
    """Names, shapes, equality, pickles and errors follow the model."""
    vector = np.arange(8.0)
    p = Parameters.from_vector(vector, "small")
    assert p == Parameters(vector[:4], vector[4:], "1,D,P,out")
    assert p == Parameters.from_mapping(p.as_dict(), "small") == Parameters.of(vector, "small")
    assert list(p.as_dict()) == list(p.model.names)
    assert (p["out"], p["vllm_overhead"], p.model.name) == (3, 7, "small")
    same_numbers = Parameters.from_vector(vector, "D,P,1,out")
    assert p != same_numbers
    assert len({p, same_numbers, Parameters.of(p, "small")}) == 2
    for each in (p, same_numbers):
        assert pickle.loads(pickle.dumps(each)) == each
        assert eval(repr(each), {"Parameters": Parameters}) == each
    assert as_overheads(p).tolist() == [4, 5, 6, 7]
    with pytest.raises(ParameterError, match=facts("small .. quadratic15")):
        Parameters.of(p)
    with pytest.raises(ParameterError, match=facts("small .. quadratic15")):
        as_coeffs(p)
    with pytest.raises(ParameterError, match=facts("(8,) .. (19,)")):
        Parameters.from_vector(np.zeros(19), "small")
    with pytest.raises(ParameterError, match=facts("'num_prefills'")):
        p["num_prefills"]


def test_boxes_of_another_model(tmp_path: Path) -> None:
    box = Space(np.zeros(5), np.ones(5), "ctx")
    assert box.names == ("ctx", *OVERHEADS) == box.model.names
    assert box == Space.from_mapping(box.as_dict(), "ctx") != Space(np.zeros(5), np.ones(5), "out")
    assert pickle.loads(pickle.dumps(box)) == box
    assert eval(repr(box), {"Space": Space}) == box
    assert box.at_bound(np.array([1, 0.5, 0.5, 0.5, 0])) == {
        "ctx": "upper",
        "vllm_overhead": "lower",
    }
    assert box.contains(np.full((2, 5), 0.5)).tolist() == [True, True]
    path = tmp_path / "bounds.json"
    path.write_text(json.dumps(box.as_dict()))
    assert Space.load(path, "ctx") == box
    with pytest.raises(ParameterError, match=facts("5")):
        box.contains(np.zeros(19))
    with pytest.raises(ParameterError, match=facts("'ctx'")):
        Space.load(path)


def test_parameters_cannot_change() -> None:
    vector = np.concatenate((C, O))
    p = Parameters.from_vector(vector)
    vector[:] = 7
    assert p["schedule_time"] == 544
    for each in (p, pickle.loads(pickle.dumps(p))):
        for array in (each.vector, each.coeffs, each.overheads):
            with pytest.raises(ValueError, match="read-only"):
                array[0] = 1
    with pytest.raises(AttributeError):
        p.vector = vector  # type: ignore[misc]


def test_a_fitting_array_is_not_copied() -> None:
    assert as_coeffs(C) is C
    assert as_overheads(O) is O
    assert as_coeffs(Parameters(C, O)).tolist() == C.tolist()
    assert as_overheads(Parameters(C, O)).tolist() == O.tolist()


def test_arrays_become_contiguous_floats() -> None:
    strided = np.zeros(30, dtype=np.int32)[::2]
    array = as_coeffs(strided)
    assert array.dtype == np.float64
    assert array.flags.c_contiguous


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (C[:14], "coefficients .. (15,) .. (14,)"),
        (np.zeros((1, 15)), "(1, 15)"),
        (3.0, "()"),
        ([1.0, [2.0]], "array"),
        (["a"] * 15, "numbers"),
        ([True] * 15, "numbers"),
        (C + 1j, "numbers"),
        (None, "numbers"),
        (np.where(np.arange(15) == 3, np.nan, C), "'num_prefills' .. nan"),
        (np.where(np.arange(15) == 14, np.inf, C), "'intercept' .. inf"),
        ({"intercept": 1.0}, "'sum_decode_tokens' .. 13"),
        (dict.fromkeys(COEFFICIENTS[:-1], 0.0), "'intercept' .. missing"),
        (
            {**dict.fromkeys(COEFFICIENTS, 0.0), "num_prefils": 0.0},
            "'num_prefils' .. 'num_prefills'",
        ),
        (dict.fromkeys(NAMES, 0.0), "'schedule_time'"),
    ],
)
def test_bad_coefficients(values: object, message: str) -> None:
    with pytest.raises(ParameterError, match=facts(message)) as caught:
        as_coeffs(values)
    assert "\n" not in str(caught.value)


def test_bad_parameters_name_the_parameter() -> None:
    with pytest.raises(ParameterError, match=facts("'queue_overhead' .. -inf")):
        Parameters(C, [1, 2, -np.inf, 3])
    with pytest.raises(ParameterError, match=facts("'vllm_overhead' .. nan")):
        Parameters.from_vector([*C, 1, 2, 3, np.nan])
    with pytest.raises(ParameterError, match=facts("'shedule_time' .. 'schedule_time'")):
        Parameters(C, O)["shedule_time"]


def test_huge_finite_values_are_finite() -> None:
    """Their sum and their squares overflow, which must not pass for a value that is not finite."""
    assert as_overheads([1e308, 1e308, 1e308, 0])[0] == 1e308


def test_aliases_follow_from_the_step_equation() -> None:
    """A step of length d = c.f starts the next at d + q + s + u; a token is late by d + v + s + u.

    A change of parameters is invisible exactly when both sums stay the same for all features.
    """

    def sums(p: dict[str, float]) -> tuple[float, float]:
        step = 1e6 * p["intercept"] + p["schedule_time"] + p["update_time"]  # us
        return step + p["queue_overhead"], step + p["vllm_overhead"]

    rows = []
    for alias in ALIASES:
        change = dict.fromkeys(NAMES, 0.0) | dict(alias)
        assert sums(change) == pytest.approx((0.0, 0.0), abs=1e-12)
        rows.append([change[name] for name in NAMES])
    assert np.linalg.matrix_rank(np.array(rows)) == len(ALIASES)
    assert IDENTIFIABLE == 16


@given(st.lists(st.floats(0, 1), min_size=19, max_size=19))
def test_unit_cube_round_trip(u: list[float]) -> None:
    box = Space(np.full(19, -0.003), np.linspace(0.1, 7000, 19))
    x = box.from_unit(u)
    assert box.contains(x)
    np.testing.assert_allclose(box.to_unit(x), u, atol=1e-12)


def test_unit_cube_corners_are_the_bounds_exactly() -> None:
    box = Space(np.full(19, -0.3), np.full(19, 0.1))
    assert np.array_equal(box.from_unit(np.zeros(19)), box.lower)
    assert np.array_equal(box.from_unit(np.ones(19)), box.upper)


def test_unit_cube_is_vectorised() -> None:
    u = np.random.default_rng(0).random((2, 3, 19))
    x = BOX.from_unit(u)
    assert x.shape == (2, 3, 19)
    assert np.array_equal(x[1, 2], BOX.from_unit(u[1, 2]))
    assert BOX.contains(x).shape == (2, 3)
    x[1, 2, 5] = -1e-9
    assert BOX.contains(x).tolist() == [[True] * 3, [True, True, False]]
    assert not BOX.contains(np.full(19, np.nan))


def test_fixed_parameters_stay_where_they_are() -> None:
    box = Space(O.repeat(5)[:19], O.repeat(5)[:19])
    assert np.array_equal(box.to_unit(box.lower), np.full(19, 0.5))
    assert np.array_equal(box.from_unit(np.linspace(-1, 2, 19)), box.lower)
    assert box.at_bound(box.lower) == {}


@pytest.mark.filterwarnings("error")
def test_a_box_too_wide_for_its_width_has_a_cube() -> None:
    """Oracle: both ends, and the middle."""
    end = np.full(19, 1.7e308)
    box = Space(-end, end)
    for x, u in ((-end, 0.0), (0 * end, 0.5), (end, 1.0)):
        assert np.array_equal(box.to_unit(x), np.full(19, u))
        assert np.array_equal(box.from_unit(np.full(19, u)), x)
    assert box.at_bound(0 * end) == {}
    assert set(box.at_bound(end).values()) == {"upper"}


def test_outside_the_cube_is_outside_the_box() -> None:
    assert not BOX.contains(BOX.from_unit(np.full(19, 1.01)))
    assert not BOX.contains(BOX.from_unit(np.full(19, -0.01)))


def test_at_bound() -> None:
    x = BOX.from_unit(np.full(19, 0.5))
    x[0], x[4], x[6], x[18] = 0.0, BOX.upper[4] * 0.9999, BOX.upper[6] * 0.998, 25.0
    assert BOX.at_bound(x) == {NAMES[0]: "lower", NAMES[4]: "upper", NAMES[18]: "upper"}
    assert NAMES[6] in BOX.at_bound(x, rtol=0.01)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"intercept": [2, 1]}, "'intercept' .. 2 .. 1"),
        ({"intercept": [0, float("-inf")]}, "upper .. 'intercept' .. -inf"),
        ({"intercept": [float("inf"), None]}, "lower .. 'intercept' .. inf"),
        ({"intercept": [float("nan"), 0]}, "lower .. 'intercept' .. nan"),
        ({"intercept": 5}, "'intercept' .. [lower, upper] .. 5"),
        ({"intercept": [1, 2, 3]}, "[lower, upper]"),
        ({"intercept": "12"}, "[lower, upper]"),
        ({"intercept": ["a", "b"]}, "'intercept' .. 'a'"),
        ({"intrcept": [0, 1]}, "'intrcept' .. 'intercept'"),
    ],
)
def test_bad_bounds(change: dict[str, object], message: str) -> None:
    with pytest.raises(ParameterError, match=facts(message)):
        Space.from_mapping({**BOX.as_dict(), **change})


def test_a_side_without_a_bound() -> None:
    """It is infinite here and null in JSON; whoever wants a cube is told."""
    box = Space.from_mapping({**BOX.as_dict(), "intercept": [None, 2], "vllm_overhead": [0, None]})
    i = NAMES.index("intercept")
    assert (box.lower[i], box.upper[i], box.upper[-1]) == (-np.inf, 2, np.inf)
    assert box.as_dict()["intercept"] == [None, 2]
    assert Space.from_mapping(json.loads(json.dumps(box.as_dict()))) == box
    x = np.where(np.isfinite(box.upper), box.upper, box.lower)
    assert box.contains(x)
    assert box.at_bound(x)["intercept"] == "upper"
    assert box.at_bound(x)["vllm_overhead"] == "lower"
    x[i] = -1e9
    assert "intercept" not in box.at_bound(x)
    for call in (box.to_unit, box.from_unit):
        with pytest.raises(ParameterError, match=facts("'intercept'")):
            call(x)


def test_bounds_need_every_name() -> None:
    with pytest.raises(ParameterError, match=facts("'sum_prefill_tokens' .. 17")):
        Space.from_mapping({"sum_decode_tokens": [0, 1]})
    with pytest.raises(ParameterError, match=facts("list")):
        Space.from_mapping([])  # type: ignore[arg-type]
    with pytest.raises(ParameterError, match=facts("19")):
        BOX.contains(np.zeros(15))


def test_load_bounds(tmp_path: Path) -> None:
    path = tmp_path / "bounds.json"
    path.write_text(json.dumps(BOX.as_dict()))
    assert Space.load(path) == BOX
    path.write_text('{"intercept": [0, 1],\n "update_time": [0 1]}')
    with pytest.raises(ParameterError, match=facts("bounds.json .. line 2 .. column 20 .. JSON")):
        Space.load(path)
    path.write_text('{"intercept": [0, 1]}')
    with pytest.raises(ParameterError, match=facts("bounds.json .. 'sum_decode_tokens'")):
        Space.load(path)
    with pytest.raises(ParameterError, match=facts("none.json .. No such file")):
        Space.load(tmp_path / "none.json")


def test_names_of_the_space() -> None:
    assert BOX.names is parameters.NAMES
    assert Space(np.zeros(19), np.ones(19)) != BOX
    assert BOX != 3
    assert len({BOX, Space(BOX.lower, BOX.upper)}) == 1
