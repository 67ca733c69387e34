"""One set of parameters, or a box of them, of any model: order, names, units and bounds.

A model's parameters are one coefficient per term, in seconds, then four overheads in microseconds
(see ``models``). Names in capitals here, as ``NAMES``, belong to the default model,
``quadratic15``. No other module knows the number of parameters.
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from ._io.files import read_json
from .errors import ParameterError, nearest
from .models import OVERHEADS, QUADRATIC15, ModelLike, StepModel, find_model

__all__ = [
    "ALIASES",
    "COEFFICIENTS",
    "IDENTIFIABLE",
    "NAMES",
    "OVERHEADS",
    "Parameters",
    "Space",
    "as_coeffs",
    "as_overheads",
    "unit",
]

FloatArray = npt.NDArray[np.float64]

COEFFICIENTS: tuple[str, ...] = QUADRATIC15.terms
NAMES: tuple[str, ...] = QUADRATIC15.names

ALIASES: tuple[Mapping[str, float], ...] = QUADRATIC15.aliases
"""``StepModel.aliases`` of the default model."""

IDENTIFIABLE: int = QUADRATIC15.identifiable
"""The largest number of its parameters that any data can tell apart."""


def unit(name: str) -> str:
    """Return the unit of a parameter of the default model: ``"s"`` (per feature) or ``"us"``.

    Raises ``ParameterError`` for an unknown name.
    """
    return QUADRATIC15.unit(name)


def as_coeffs(values: object, model: StepModel = QUADRATIC15) -> FloatArray:
    """Return the coefficients as a C-contiguous float64 array, in the order of the model's terms.

    ``values``: one number per term, a mapping with all the names, or ``Parameters``. An array of
    the right kind is returned itself, not copied. Raises ``ParameterError`` for a wrong shape, a
    missing or unknown name, a value that is not finite, or ``Parameters`` of another model.
    """
    if isinstance(values, Parameters):
        return Parameters.of(values, model).coeffs
    return _vector(values, model.terms, "coefficient")


def as_overheads(values: object) -> FloatArray:
    """Return the overheads [us] as ``as_coeffs`` does, in the order of ``OVERHEADS``."""
    if isinstance(values, Parameters):
        return values.overheads
    return _vector(values, OVERHEADS, "overhead")


class Parameters:
    """One immutable set of parameters: coefficients in seconds, overheads in microseconds.

    ``model``: the model of the parameters, as ``find_model`` takes it. Raises ``ParameterError``
    for an unknown model, wrong shapes, missing or unknown names, and values that are not finite.
    """

    __slots__ = ("_model", "_vector")
    _model: StepModel
    _vector: FloatArray

    def __init__(self, coeffs: object, overheads: object, model: ModelLike = QUADRATIC15) -> None:
        self._model = find_model(model)
        self._vector = _read_only(
            np.concatenate((as_coeffs(coeffs, self._model), as_overheads(overheads)))
        )

    @classmethod
    def from_vector(cls, vector: object, model: ModelLike = QUADRATIC15) -> Parameters:
        """Make parameters from all values, in the order of the model's names."""
        model = find_model(model)
        values = _vector(vector, model.names, "parameter")
        split = len(model.terms)
        return cls(values[:split], values[split:], model)

    @classmethod
    def from_mapping(
        cls, mapping: Mapping[str, float], model: ModelLike = QUADRATIC15
    ) -> Parameters:
        """Make parameters from a mapping with exactly the names of the model."""
        return cls.from_vector(mapping, model)

    @classmethod
    def of(cls, obj: object, model: ModelLike = QUADRATIC15) -> Parameters:
        """Return ``obj`` if it is ``Parameters``; else make them from a mapping or a full vector.

        Raises ``ParameterError`` for ``Parameters`` of another model.
        """
        model = find_model(model)
        if not isinstance(obj, cls):
            return cls.from_vector(obj, model)
        if obj.model != model:
            raise ParameterError(f"parameters of the model {obj.model}, expected those of {model}")
        return obj

    @property
    def model(self) -> StepModel:
        """The model of the parameters."""
        return self._model

    @property
    def coeffs(self) -> FloatArray:
        """The coefficients [s], read-only, in the order of the model's terms."""
        return self._vector[: len(self._model.terms)]

    @property
    def overheads(self) -> FloatArray:
        """The overheads [us], read-only, in the order of ``OVERHEADS``."""
        return self._vector[len(self._model.terms) :]

    @property
    def vector(self) -> FloatArray:
        """All values, read-only, in the order of the model's names."""
        return self._vector

    def as_dict(self) -> dict[str, float]:
        """Return name -> value, in the order of the model's names."""
        return dict(zip(self._model.names, self._vector.tolist(), strict=True))

    def __getitem__(self, name: str) -> float:
        return float(self._vector[self._model.index(name)])

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Parameters):
            return NotImplemented
        return self._model == other._model and bool(np.array_equal(self._vector, other._vector))

    def __hash__(self) -> int:
        return hash((self._model, tuple(self._vector.tolist())))

    def __reduce__(self) -> tuple[Any, ...]:
        return Parameters.from_vector, (np.array(self._vector), self._model)

    def __repr__(self) -> str:
        return f"Parameters.from_mapping({self.as_dict()!r}{_spelled(self._model)})"


class Space:
    """A box of parameters: a lower and an upper bound for each name of a model, read-only.

    ``model``: as ``find_model`` takes it. Equal bounds fix a parameter. An infinite bound is no
    bound. Raises ``ParameterError`` for an unknown model, wrong shapes, NaN, or a lower bound above
    its upper bound.
    """

    __slots__ = ("_lower", "_model", "_upper")
    _lower: FloatArray
    _model: StepModel
    _upper: FloatArray

    def __init__(self, lower: object, upper: object, model: ModelLike = QUADRATIC15) -> None:
        self._model = find_model(model)
        self._lower = _read_only(np.array(_bounds(lower, self.names, "lower bound", np.inf)))
        self._upper = _read_only(np.array(_bounds(upper, self.names, "upper bound", -np.inf)))
        crossed = np.flatnonzero(self._lower > self._upper)
        if crossed.size:
            i = int(crossed[0])
            raise ParameterError(
                f"bounds of {self.names[i]!r}: lower {self._lower[i]:g} is above upper "
                f"{self._upper[i]:g}; swap them"
            )

    @classmethod
    def from_mapping(cls, mapping: Mapping[str, Any], model: ModelLike = QUADRATIC15) -> Space:
        """Make a box from ``{name: [lower, upper]}`` with exactly the names of the model.

        None means no bound.
        """
        model = find_model(model)
        if not isinstance(mapping, Mapping):
            raise ParameterError(
                f"bounds must map each name to [lower, upper], got {type(mapping).__name__}"
            )
        _complete(mapping, model.names, "parameter")
        for name in model.names:
            pair = mapping[name]
            if isinstance(pair, (str, bytes)) or not hasattr(pair, "__len__") or len(pair) != 2:
                raise ParameterError(f"bounds of {name!r} must be [lower, upper], got {pair!r}")
            for bound in pair:
                if bound is not None:
                    _number(bound, f"a bound of {name!r}")
        pairs = [mapping[name] for name in model.names]
        lower = [-np.inf if pair[0] is None else pair[0] for pair in pairs]
        upper = [np.inf if pair[1] is None else pair[1] for pair in pairs]
        return cls(lower, upper, model)

    @classmethod
    def load(cls, path: str | os.PathLike[str], model: ModelLike = QUADRATIC15) -> Space:
        """Read a JSON file ``{name: [lower, upper], ...}``."""
        try:
            return cls.from_mapping(read_json(path, ParameterError), model)
        except ParameterError as exc:
            text, where = str(exc), os.fspath(path)
            raise ParameterError(text if where in text else f"{where}: {text}") from exc

    @property
    def model(self) -> StepModel:
        """The model of the bounded parameters."""
        return self._model

    @property
    def names(self) -> tuple[str, ...]:
        """The model's names, in order."""
        return self._model.names

    @property
    def lower(self) -> FloatArray:
        """Lower bounds, read-only, each in its parameter's unit."""
        return self._lower

    @property
    def upper(self) -> FloatArray:
        """Upper bounds, read-only, each in its parameter's unit."""
        return self._upper

    def as_dict(self) -> dict[str, list[float | None]]:
        """Return ``{name: [lower, upper]}``, in order. None means no bound."""
        pairs = zip(self._lower.tolist(), self._upper.tolist(), strict=True)
        return {
            name: [bound if math.isfinite(bound) else None for bound in pair]
            for name, pair in zip(self.names, pairs, strict=True)
        }

    def to_unit(self, x: npt.ArrayLike) -> FloatArray:
        """Map parameters [..., names] into the unit cube. A fixed parameter maps to 0.5.

        Raises ``ParameterError`` if a bound is infinite.
        """
        self._require_finite()
        with np.errstate(over="ignore"):
            part = np.where(
                np.isfinite(self._upper - self._lower), 1.0, 0.5
            )  # half the box has a finite width
        lower = part * self._lower
        span = part * self._upper - lower
        fixed = span == 0
        return np.where(fixed, 0.5, (part * self._rows(x) - lower) / np.where(fixed, 1.0, span))

    def from_unit(self, u: npt.ArrayLike) -> FloatArray:
        """Map the unit cube [..., names] into the box. 0 and 1 give the bounds exactly.

        Rounding never moves a point of the cube out of the box. Points outside the cube map outside
        the box, but fixed parameters keep their values. Raises as ``to_unit``.
        """
        self._require_finite()
        u = self._rows(u)
        x = self._lower * (1.0 - u) + self._upper * u
        inside = ((u >= 0) & (u <= 1)) | (self._lower == self._upper)
        return np.where(inside, np.clip(x, self._lower, self._upper), x)

    def contains(self, x: npt.ArrayLike) -> npt.NDArray[np.bool_]:
        """Tell for each row of ``x`` [..., names] if it is in the box, bounds included."""
        x = self._rows(x)
        inside: npt.NDArray[np.bool_] = np.all((x >= self._lower) & (x <= self._upper), axis=-1)
        return inside

    def at_bound(self, x: object, rtol: float = 1e-3) -> dict[str, str]:
        """Return name -> ``"lower"`` or ``"upper"`` for each free parameter of ``x`` at a bound.

        A parameter is at a bound if it is beyond it, or nearer than ``rtol`` times the interval's
        width. If the width is infinite, it must be at the finite bound or beyond. Fixed parameters
        do not count.
        """
        vector = Parameters.of(x, self._model).vector
        with np.errstate(over="ignore"):  # an overflowing width counts as infinite
            span = self._upper - self._lower
        near = rtol * np.where(np.isfinite(span), span, 0.0)
        free = span > 0
        at_lower = free & (vector <= self._lower + near)
        at_upper = free & (vector >= self._upper - near)
        return {
            self.names[i]: "lower" if at_lower[i] else "upper"
            for i in np.flatnonzero(at_lower | at_upper)
        }

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Space):
            return NotImplemented
        return self._model == other._model and bool(
            np.array_equal(self._lower, other._lower) and np.array_equal(self._upper, other._upper)
        )

    def __hash__(self) -> int:
        return hash((self._model, tuple(self._lower.tolist()), tuple(self._upper.tolist())))

    def __reduce__(self) -> tuple[Any, ...]:
        return Space, (np.array(self._lower), np.array(self._upper), self._model)

    def __repr__(self) -> str:
        return f"Space.from_mapping({self.as_dict()!r}{_spelled(self._model)})"

    def _require_finite(self) -> None:
        open_ended = ~(np.isfinite(self._lower) & np.isfinite(self._upper))
        if open_ended.any():
            raise ParameterError(
                f"{self.names[int(np.argmax(open_ended))]!r} has no bound on some side: a unit "
                "cube needs both"
            )

    def _rows(self, x: npt.ArrayLike) -> FloatArray:
        array = _numbers(x, "parameter")
        if array.ndim == 0 or array.shape[-1] != len(self.names):
            raise ParameterError(
                f"parameters must have {len(self.names)} values along the last axis, got shape "
                f"{array.shape}"
            )
        return array


def _spelled(model: StepModel) -> str:
    """Return a model as the last argument of a call, or ``""`` for the default model."""
    return "" if model == QUADRATIC15 else f", {model.name!r}"


def _read_only(array: FloatArray) -> FloatArray:
    array.setflags(write=False)
    return array


def _known(given: Any, names: tuple[str, ...], what: str) -> None:
    for name in given:
        if name not in names:
            near = nearest(str(name), names) or f" (known: {', '.join(names)})"
            raise ParameterError(f"unknown {what} {name!r}{near}")


def _complete(mapping: Mapping[str, Any], names: tuple[str, ...], what: str) -> None:
    _known(mapping, names, what)
    missing = [name for name in names if name not in mapping]
    if missing:
        more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
        raise ParameterError(f"{what} {missing[0]!r}{more} missing: every name needs a value")


def _vector(values: object, names: tuple[str, ...], what: str) -> FloatArray:
    array = _shaped(values, names, what)
    given = array.tolist()
    if not all(map(math.isfinite, given)):
        name, value = next(p for p in zip(names, given, strict=True) if not math.isfinite(p[1]))
        raise ParameterError(f"{what} {name!r} is {value}: it must be finite")
    return array


def _shaped(values: object, names: tuple[str, ...], what: str) -> FloatArray:
    if not isinstance(values, np.ndarray):  # arrays skip this: each simulation calls it
        if isinstance(values, Parameters):
            values = values.vector
        elif isinstance(values, Mapping):
            _complete(values, names, what)
            values = [_number(values[name], f"{what} {name!r}") for name in names]
    array = _numbers(values, what)
    if array.shape != (len(names),):
        raise ParameterError(
            f"{what}s must have shape ({len(names)},), got {array.shape}: "
            f"{names[0]} ... {names[-1]}"
        )
    return array


def _number(value: object, what: str) -> object:
    if isinstance(value, bool) or np.ndim(value) or np.asarray(value).dtype.kind not in "iuf":  # type: ignore[arg-type]  # any object has a dimension
        raise ParameterError(f"{what} must be a number, got {value!r:.40}")
    return value


def _bounds(values: object, names: tuple[str, ...], what: str, wrong: float) -> FloatArray:
    """Check bounds. They may be infinite, but not ``wrong``, which would leave an empty box."""
    array = _shaped(values, names, what)
    bad = np.flatnonzero(np.isnan(array) | (array == wrong))
    if bad.size:
        raise ParameterError(f"{what} of {names[bad[0]]!r} is {array[bad[0]]}: not a valid bound")
    return array


def _numbers(values: object, what: str) -> FloatArray:
    if isinstance(values, np.ndarray) and values.dtype == np.float64 and values.flags.c_contiguous:
        return values
    try:
        array = np.asarray(values)
    except ValueError as exc:  # ragged lists
        raise ParameterError(f"{what}s must be one array of numbers: {exc}") from exc
    if array.dtype.kind not in "iuf":
        raise ParameterError(f"{what}s must be numbers, got {array.dtype} from {values!r:.60}")
    return np.ascontiguousarray(array, dtype=np.float64) if array.ndim else array.astype(np.float64)
