"""Simulate a workload on a server: one candidate, or many in one call."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from types import TracebackType
from typing import Any, TypeGuard

import numpy as np
import numpy.typing as npt

from ._native import ENGINES, JACOBIANS, Handle
from .config import ServerConfig
from .errors import HandleError, InputError, ParameterError, WorkloadError, nearest
from .formats import load_experiment
from .models import OVERHEADS, QUADRATIC15, ModelLike, StepModel, find_model
from .parameters import Parameters, as_coeffs, as_overheads
from .results import SUMMARY, BatchResult, Jacobian, SimResult
from .trace import StepTrace
from .workload import Workload

ParamsLike = Parameters | Mapping[str, float] | npt.ArrayLike

DEFAULT_EXPERIMENT = "exp1_30rr"
_FLOAT64 = np.dtype(np.float64)
_OVERHEADS_SHAPE = (len(OVERHEADS),)


class Simulator:
    """A workload and a server configuration, prepared once and run with any parameters.

    ``model``: the step-time model, as ``find_model`` takes it. It is a preset ("quadratic15",
    "small", "extended") or a list of terms ("intercept,D,ctx,out").

    ``engine``: "auto" leaps over equal steps where that is proved exact, and else uses the
    reference engine, which walks every step. Both give the same numbers. Either can be chosen by
    name.

    A simulator may be used by many threads at once. It can be pickled, and is a context manager.
    Raises ``WorkloadError`` for a prompt that can never fit the KV pool, unless the workload has
    ``strict=False``.
    """

    def __init__(
        self,
        workload: Workload | None = None,
        config: ServerConfig | None = None,
        model: ModelLike = QUADRATIC15,
        *,
        engine: str = "auto",
    ) -> None:
        self.workload, self.config = _or_default(workload, config)
        self.model: StepModel = find_model(model)
        self._terms_shape, self._names_shape = (len(self.model.terms),), (len(self.model.names),)
        if engine not in ENGINES:
            raise InputError(
                f"unknown engine {engine!r}, expected one of {', '.join(ENGINES)}"
                + nearest(engine, ENGINES)
            )
        self.engine = engine
        self._engine = ENGINES[engine]
        if self.workload.strict:
            _check_prompts_fit(self.workload, self.config)
        self._handle = Handle(self.workload, self.config, self.model)
        self._closed = False

    def run(self, params: ParamsLike, trace: bool = False) -> SimResult:
        """Simulate one candidate: values in the order of the names, a mapping, or ``Parameters``.

        ``trace=True`` records what each step did in ``SimResult.trace``. This takes a second run,
        with the reference engine. Raises ``ParameterError`` for a wrong shape, an unknown name or a
        value that is not finite. A step time that is negative or overflows is no error: see
        ``SimResult.outcome``.
        """
        coeffs, overheads = self._split(params)
        result = self._run(coeffs, overheads)
        if trace:
            raw = self._handle.trace(coeffs, overheads)
            result.trace = StepTrace.make(
                raw.times,
                raw.counts,
                raw.entries,
                queue_time_s=result.queue_time_s,
                prefill_time_s=result.prefill_time_s,
                inter_token_s=result.inter_token_s,
            )
        return result

    def run_jacobian(self, params: ParamsLike, kind: str = "renewal") -> Jacobian:
        """Simulate one candidate with the derivatives of its latencies, one column per name.

        ``kind="exact"``: derivatives while the order of events stays the same, by infinitesimal
        perturbation analysis (Glasserman 1991; Cassandras & Lafortune, ch. 11). They do not see
        jumps, where a request joins another step: compare ``SimResult.order_changes``. The clock of
        ``blis-2025-07`` is truncated, so its true derivatives are zero. There the derivatives are
        those of the untruncated run, with events in the order of the truncated one.

        ``kind="renewal"``: derivatives for busy servers. Exact derivatives sum over thousands of
        steps since the server was last idle. They ignore that a longer step lets more requests join
        the next one. So each request's row starts from the derivative of the engine's clock when
        the request was sent, interpolated within the step. If the request met a queue that no batch
        could empty, the row starts from the moment when that queue formed. This is not the
        derivative of any single run. It is close to the effect of a change by a few percent. Raises
        as ``run``.
        """
        if kind not in JACOBIANS:
            raise InputError(
                f"unknown kind of Jacobian {kind!r}, expected one of {', '.join(JACOBIANS)}"
                + nearest(kind, JACOBIANS)
            )
        # Parameters.of names the value that is not finite
        coeffs, overheads = self._split(Parameters.of(params, self.model))
        block, detail, jacobian = self._handle.run_jacobian(
            coeffs, overheads, self._engine, JACOBIANS[kind]
        )
        return Jacobian(SimResult(block, detail), jacobian[0], jacobian[1], self.model.names)

    def run_batch(
        self, params: npt.ArrayLike, *, workers: int = 0, arrival_s: npt.ArrayLike | None = None
    ) -> BatchResult:
        """Simulate N candidates, [N, names], on ``workers`` threads (0: one per processor).

        ``arrival_s`` [N, R] or [R], in seconds, replaces the workload's own arrivals for each
        candidate. Raises as ``run``, with the row of the candidate, and ``InputError`` for arrivals
        of another shape or out of range.
        """
        matrix = _matrix(params, self.model.names, "parameters")
        split = len(self.model.terms)
        return self._run_rows(matrix[:, :split], matrix[:, split:], workers, arrival_s)

    def vector(self, params: ParamsLike) -> npt.NDArray[np.float64]:
        """Return parameters, as ``run`` takes them, as one array in the order of the model's names.

        Raises ``ParameterError`` as ``run`` does.
        """
        return Parameters.of(params, self.model).vector

    def close(self) -> None:
        """Free the memory of the simulator. A later run raises ``HandleError``."""
        self._closed = True
        self._handle.close()

    def __enter__(self) -> Simulator:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def __reduce__(self) -> tuple[Any, ...]:
        if self._closed:
            raise HandleError("a closed Simulator cannot be pickled: open a new one")
        return _reopen, (self.workload, self.config, self.model, self.engine)

    def __repr__(self) -> str:
        state = "closed" if self._closed else self.engine
        return f"<Simulator: {self.workload!r}, {self.config.semantics}, {self.model}, {state}>"

    def _split(self, params: ParamsLike) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        """Return coefficients and overheads as finite arrays for the library."""
        if _ready(params, self._names_shape):
            vector = params
        else:
            vector = Parameters.of(params, self.model).vector
        split = len(self.model.terms)
        return vector[:split], vector[split:]

    def _run(self, coeffs: Any, overheads: Any) -> SimResult:
        """Simulate one candidate. Arrays of the right kind go to the library without a copy."""
        c = coeffs if _ready(coeffs, self._terms_shape) else as_coeffs(coeffs, self.model)
        o = overheads if _ready(overheads, _OVERHEADS_SHAPE) else as_overheads(overheads)
        try:
            return SimResult(*self._handle.run_one(c, o, self._engine))
        except InputError:
            as_coeffs(c, self.model)  # names the parameter that is not finite
            as_overheads(o)
            raise  # every parameter is finite: another error

    def _run_batch(self, coeffs: Any, overheads: Any, workers: int) -> BatchResult:
        c = _matrix(coeffs, self.model.terms, "coeffs")
        o = _matrix(overheads, OVERHEADS, "overheads")
        if c.shape[0] != o.shape[0]:
            raise ParameterError(f"{c.shape[0]} rows of coeffs, but {o.shape[0]} of overheads")
        return self._run_rows(c, o, workers)

    def _run_rows(
        self,
        coeffs: npt.NDArray[np.float64],
        overheads: npt.NDArray[np.float64],
        workers: int,
        arrival_s: npt.ArrayLike | None = None,
    ) -> BatchResult:
        """Simulate candidates that are already checked."""
        c, o = np.ascontiguousarray(coeffs), np.ascontiguousarray(overheads)
        if workers < 0:
            raise InputError(f"workers is {workers}: expected 0 (one per processor) or more")
        rows = c.shape[0]
        sent_s = None if arrival_s is None else self._arrivals(arrival_s, rows)
        latency = np.empty((2, rows, self.workload.num_requests))
        summary = np.empty((rows, len(SUMMARY)), np.int64)
        self._handle.run(c, o, latency, summary, self._engine, workers, sent_s)
        return BatchResult(latency, summary)

    def _arrivals(self, arrival_s: npt.ArrayLike, rows: int) -> npt.NDArray[np.float64]:
        shape = (rows, self.workload.num_requests)
        try:
            return np.ascontiguousarray(np.broadcast_to(np.asarray(arrival_s, np.float64), shape))
        except (TypeError, ValueError):
            raise InputError(f"arrival_s must be seconds of shape {shape}, or one row") from None


def simulate(
    coeffs: npt.ArrayLike | Mapping[str, float],
    overheads: npt.ArrayLike | Mapping[str, float],
    workload: Workload | None = None,
    config: ServerConfig | None = None,
) -> SimResult:
    """Simulate one candidate of the model ``quadratic15``.

    ``coeffs`` [15] are seconds per feature, ``overheads`` [4] microseconds. They are in the order
    of ``COEFFICIENTS`` and ``OVERHEADS``, or mappings by name. Without a workload, the bundled
    experiment exp1_30rr is simulated. Returns TTFT and E2E [R] in seconds, in request order:
    ``ttft, e2e = simulate(coeffs, overheads)``. Raises ``ParameterError`` for a wrong shape, an
    unknown name or a value that is not finite.
    """
    return _cached_simulator(workload, config)._run(coeffs, overheads)


def simulate_batch(
    coeffs: npt.ArrayLike,
    overheads: npt.ArrayLike,
    workload: Workload | None = None,
    config: ServerConfig | None = None,
    workers: int = 0,
) -> BatchResult:
    """Simulate N candidates, ``coeffs`` [N, 15] and ``overheads`` [N, 4], in one call.

    ``workers``: number of threads (0: one per processor). The result does not depend on it. Returns
    TTFT and E2E [N, R]. Raises as ``simulate``, with the row of the candidate.
    """
    return _cached_simulator(workload, config)._run_batch(coeffs, overheads, workers)


# The simulators of the last few (workload, config) pairs, by identity. An optimiser calls simulate
# many times with the same two objects. The values keep the objects of the keys alive.
_CACHE_SIZE = 8
_cache: OrderedDict[tuple[int, int], tuple[Any, Any, Simulator]] = OrderedDict()


def _cached_simulator(workload: Workload | None, config: ServerConfig | None) -> Simulator:
    key = (id(workload), id(config))
    found = _cache.get(key)
    if found is not None:
        return found[2]
    simulator = Simulator(workload, config)
    _cache[key] = (workload, config, simulator)
    while len(_cache) > _CACHE_SIZE:
        _cache.popitem(last=False)
    return simulator


def _or_default(
    workload: Workload | None, config: ServerConfig | None
) -> tuple[Workload, ServerConfig]:
    """Replace a missing workload, and then a missing config, by the bundled experiment's."""
    if workload is None:
        experiment = load_experiment(DEFAULT_EXPERIMENT, config)
        return experiment.workload, experiment.config
    if not isinstance(workload, Workload):
        raise WorkloadError(f"workload must be a Workload, got {type(workload).__name__}")
    return workload, ServerConfig() if config is None else config


def _reopen(workload: Workload, config: ServerConfig, model: StepModel, engine: str) -> Simulator:
    return Simulator(workload, config, model, engine=engine)


def _check_prompts_fit(workload: Workload, config: ServerConfig) -> None:
    if config.num_gpu_blocks is None:
        return
    # One block is vLLM's null block, which holds no tokens. The original simulator has none.
    usable = config.num_gpu_blocks - (config.semantics != "blis-2025-07")
    blocks = -(-workload.input_tokens // config.block_size)
    worst = int(np.argmax(blocks))
    if blocks[worst] > usable:
        raise WorkloadError(
            f"request {worst}: its prompt of {workload.input_tokens[worst]} tokens needs "
            f"{blocks[worst]} KV blocks, the pool has {usable}: raise num_gpu_blocks, or make the "
            "Workload with strict=False to see the request wait for ever"
        )


def _ready(values: Any, shape: tuple[int, ...]) -> TypeGuard[npt.NDArray[np.float64]]:
    """Tell whether an array can go to the library as it is. The library checks finiteness."""
    return (
        type(values) is np.ndarray
        and values.dtype is _FLOAT64
        and values.shape == shape
        and values.flags.c_contiguous
    )


def _matrix(values: npt.ArrayLike, names: tuple[str, ...], what: str) -> npt.NDArray[np.float64]:
    """Check candidates [N, len(names)]. An error names the first bad row and parameter."""
    try:
        matrix = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError):
        raise ParameterError(
            f"{what} must be numbers of shape (N, {len(names)}), not {type(values).__name__}"
        ) from None
    if matrix.ndim != 2 or matrix.shape[1] != len(names):
        raise ParameterError(f"{what} must have shape (N, {len(names)}), got {matrix.shape}")
    finite = np.isfinite(matrix)
    if not finite.all():
        row, column = np.argwhere(~finite)[0]
        raise ParameterError(
            f"{what} row {row}: {names[column]} is {matrix[row, column]}, expected a finite number"
        )
    return matrix
