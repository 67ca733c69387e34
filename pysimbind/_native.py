"""Load the compiled simulator and wrap its C ABI. No other module calls foreign code.

The declarations are in ``_cdef.h``. The line after each call turns the return code into an
exception. Nothing is loaded before the first simulation.
"""

from __future__ import annotations

import math
import os
import sys
import threading
import weakref
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from .config import ServerConfig
from .errors import ForkError, HandleError, InputError, LibraryError, NativeError
from .models import StepModel
from .workload import Workload

ENGINES = {"auto": 0, "reference": 1, "leap": 2}
_SEMANTICS = {"blis-2025-07": 0, "vllm-v1": 1, "vllm-v1-0.9.1": 2}
JACOBIANS = {"exact": 0, "renewal": 1}
ABI_VERSION = 6
_TEXT_SIZE = 512
_KEPT_REQUESTS = 4096  # a thread keeps the buffers of handles with at most this many requests

_PACKAGE = Path(__file__).resolve().parent
_LIBRARY = _PACKAGE / ("_libpysimbind.dylib" if sys.platform == "darwin" else "_libpysimbind.so")


class RawTrace(NamedTuple):
    """The steps of a run as the library writes them."""

    times: npt.NDArray[np.float64]  # [steps, PSB_TIME_COLUMNS]
    counts: npt.NDArray[np.int64]  # [steps, PSB_COUNT_COLUMNS]
    entries: npt.NDArray[np.int64]  # [entries, PSB_ENTRY_COLUMNS]


class LibraryInfo(NamedTuple):
    """The library that is loaded, the version of its ABI, and the Go that compiled it."""

    path: Path
    abi_version: int
    go_version: str


class _Library:
    """The loaded library, cffi's view of it, and one buffer for error texts per thread."""

    def __init__(self) -> None:
        from cffi import FFI  # here: importing pysimbind must not load anything

        self.ffi: Any = FFI()
        self.ffi.cdef((_PACKAGE / "_cdef.h").read_text(encoding="utf-8"))
        if not _LIBRARY.exists():
            raise LibraryError(
                f"{_LIBRARY} is missing: run `pip install .`, or `python build.py` in a checkout"
            )
        try:
            self.lib: Any = self.ffi.dlopen(str(_LIBRARY))
        except OSError as error:
            raise LibraryError(
                f"{_LIBRARY} cannot be loaded ({error}): rebuild it on this machine"
            ) from None
        version = self.lib.psb_abi_version()
        if version != ABI_VERSION:
            raise LibraryError(
                f"{_LIBRARY} has ABI version {version}, not {ABI_VERSION}: rebuild it"
            )
        self._local = threading.local()

    def text(self) -> Any:
        """Return this thread's buffer for error texts."""
        try:
            return self._local.text
        except AttributeError:
            self._local.text = self.ffi.new("char[]", _TEXT_SIZE)
            return self._local.text

    def check(self, code: int, text: Any) -> None:
        """Raise the exception that a return code stands for."""
        if code == self.lib.PSB_OK:
            return
        message = self.ffi.string(text).decode("utf-8", "replace")
        if code == self.lib.PSB_BAD_INPUT:
            raise InputError(message)
        if code == self.lib.PSB_BAD_HANDLE:
            raise HandleError(f"{message}: open a new Simulator")
        raise NativeError(message)


_library: _Library | None = None
_forked = False
_loading = threading.Lock()


def _mark_forked() -> None:
    global _forked  # set for the life of this process: Go's threads did not survive the fork
    _forked = _library is not None


os.register_at_fork(after_in_child=_mark_forked)


def _load() -> _Library:
    global _library  # loaded once per process
    if _forked:
        raise ForkError(
            "this process was forked after the simulator had been loaded, and Go's threads do not "
            "survive a fork: start processes with the 'spawn' method, or fork before the first "
            "simulation"
        )
    if _library is None:
        with _loading:
            if _library is None:
                _library = _Library()
    return _library


def open_handles() -> int:
    """Return how many simulators are open in this process."""
    return int(_load().lib.psb_open_handles())


def library_info() -> LibraryInfo:
    """Return what the library says of itself; raises ``LibraryError`` where it is of no use."""
    library = _load()
    text = library.text()
    library.check(library.lib.psb_go_version(text, _TEXT_SIZE), text)
    go_version = library.ffi.string(text).decode("utf-8", "replace")
    return LibraryInfo(_LIBRARY, int(library.lib.psb_abi_version()), go_version)


class Handle:
    """One opened workload and configuration. It is closed explicitly or by the garbage collector.

    All candidates belong to one model. Their coefficients are in the order of its terms.
    """

    def __init__(self, workload: Workload, config: ServerConfig, model: StepModel) -> None:
        library = _load()
        ffi = library.ffi
        keep: list[Any] = []  # cffi does not keep alive what a struct points to

        def pointer(kind: str, array: npt.NDArray[Any] | None) -> Any:
            if array is None:
                return ffi.NULL
            keep.append(ffi.from_buffer(kind, array))
            return keep[-1]

        prompt, prompt_at = workload.prompt_ids or (None, None)
        output, output_at = workload.output_ids or (None, None)
        c_workload = ffi.new(
            "psb_workload *",
            {
                "num_requests": workload.num_requests,
                "arrival_s": pointer("double[]", workload.arrival_s),
                "input_tokens": pointer("int64_t[]", workload.input_tokens),
                "output_tokens": pointer("int64_t[]", workload.output_tokens),
                "prompt_offsets": pointer("int64_t[]", prompt_at),
                "prompt_token_ids": pointer("int32_t[]", prompt),
                "output_offsets": pointer("int64_t[]", output_at),
                "output_token_ids": pointer("int32_t[]", output),
                "max_concurrency": workload.max_concurrency or 0,
            },
        )
        handle, text = ffi.new("uint64_t *"), library.text()
        c_config = ffi.new("psb_config *", _config_fields(config))
        in_order = model.numbers == tuple(range(len(model.terms)))
        terms = ffi.NULL if in_order else ffi.new("int32_t[]", model.numbers)
        code = library.lib.psb_open(
            c_workload, c_config, len(model.terms), terms, handle, text, _TEXT_SIZE
        )
        library.check(code, text)
        self._library = library
        self._run = library.lib.psb_run
        self._num_terms = len(model.terms)
        self._requests = workload.num_requests
        self._local = threading.local()
        self._number = int(handle[0])
        self._finalizer = weakref.finalize(self, _close, self._number)

    def close(self) -> None:
        """Release the simulator after runs in other threads end. A second call does nothing."""
        self._finalizer()

    def run(
        self,
        coeffs: npt.NDArray[np.float64],
        overheads: npt.NDArray[np.float64],
        latency: npt.NDArray[np.float64],
        summary: npt.NDArray[np.int64],
        engine: int,
        workers: int,
        arrival_s: npt.NDArray[np.float64] | None,
    ) -> None:
        """Simulate the candidates coeffs [N, terms], overheads [N, 4], sent at arrival_s [N, R].

        Fills latency [2, N, R] (TTFT, then E2E; seconds) and summary [N, columns]. Every array must
        be C-contiguous and have the dtype of its annotation.
        """
        library = _load()
        ffi, text = library.ffi, library.text()
        ttft = ffi.from_buffer("double[]", latency)
        output = ffi.new("psb_output *")
        output.ttft, output.e2e = ttft, ttft + latency.size // 2
        output.summary = ffi.from_buffer("int64_t[]", summary)
        code = self._run(
            self._number,
            summary.shape[0],
            ffi.from_buffer("double[]", coeffs),
            ffi.from_buffer("double[]", overheads),
            ffi.NULL if arrival_s is None else ffi.from_buffer("double[]", arrival_s),
            engine,
            workers,
            output,
            text,
            _TEXT_SIZE,
        )
        library.check(code, text)

    def run_one(
        self,
        coeffs: npt.NDArray[np.float64],
        overheads: npt.NDArray[np.float64],
        engine: int,
    ) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.int32]]:
        """Simulate one candidate in as little time as Python allows.

        Returns a block of doubles [ttft R, e2e R, sent R, scheduled R, summary as int64] and detail
        [rows, R]. Each thread keeps the buffers of the call and makes their C pointers once. Large
        results get new buffers each time: filling and copying them then takes most of the time.
        """
        if _forked:
            _load()  # raises
        if self._requests > _KEPT_REQUESTS:
            buffers = _Buffers(self._library, self._requests)
            self._call_one(coeffs, overheads, engine, buffers)
            return buffers.block, buffers.detail
        try:
            buffers = self._local.buffers
        except AttributeError:
            buffers = self._local.buffers = _Buffers(self._library, self._requests)
        self._call_one(coeffs, overheads, engine, buffers)
        return buffers.block.copy(), buffers.detail.copy()

    def run_jacobian(
        self,
        coeffs: npt.NDArray[np.float64],
        overheads: npt.NDArray[np.float64],
        engine: int,
        kind: int,
    ) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.int32], npt.NDArray[np.float64]]:
        """Simulate one candidate as ``run_one`` does; return also jacobian [2, R, names]."""
        library = _load()
        ffi = library.ffi
        buffers = _Buffers(library, self._requests)
        params = self._num_terms + library.lib.PSB_NUM_OVERHEADS
        jacobian = np.empty((2, self._requests, params))
        pointer = ffi.from_buffer("double[]", jacobian)
        buffers.output.jacobian = kind
        buffers.output.jac_ttft = pointer
        buffers.output.jac_e2e = pointer + self._requests * params
        self._call_one(coeffs, overheads, engine, buffers)
        return buffers.block, buffers.detail, jacobian

    def _call_one(
        self,
        coeffs: npt.NDArray[np.float64],
        overheads: npt.NDArray[np.float64],
        engine: int,
        buffers: _Buffers,
    ) -> None:
        from_buffer = buffers.from_buffer
        code = self._run(
            self._number,
            1,
            from_buffer("double[]", coeffs),
            from_buffer("double[]", overheads),
            buffers.no_arrivals,
            engine,
            1,
            buffers.output,
            buffers.text,
            _TEXT_SIZE,
        )
        if code:
            self._library.check(code, buffers.text)

    def trace(
        self, coeffs: npt.NDArray[np.float64], overheads: npt.NDArray[np.float64]
    ) -> RawTrace:
        """Simulate one candidate with the reference engine and return what its steps did."""
        library = _load()
        ffi, lib, text = library.ffi, library.lib, library.text()
        c, o = ffi.from_buffer("double[]", coeffs), ffi.from_buffer("double[]", overheads)
        output = ffi.new("psb_trace_output *")
        while True:  # the first pass gets the sizes, the second the rows
            steps, entries = int(output.num_steps), int(output.num_entries)
            raw = RawTrace(
                np.empty((steps, lib.PSB_TIME_COLUMNS)),
                np.empty((steps, lib.PSB_COUNT_COLUMNS), np.int64),
                np.empty((entries, lib.PSB_ENTRY_COLUMNS), np.int64),
            )
            output.step_capacity, output.entry_capacity = steps, entries
            output.times = ffi.from_buffer("double[]", raw.times)
            output.counts = ffi.from_buffer("int64_t[]", raw.counts)
            output.entries = ffi.from_buffer("int64_t[]", raw.entries)
            code = lib.psb_trace(self._number, c, o, output, text, _TEXT_SIZE)
            library.check(code, text)
            if output.num_steps <= steps and output.num_entries <= entries:
                return raw


class _Buffers:
    """The buffers that one thread passes to the library for each single run of a handle."""

    def __init__(self, library: _Library, requests: int) -> None:
        ffi, lib = library.ffi, library.lib
        self.from_buffer = ffi.from_buffer
        self.no_arrivals = ffi.NULL
        self.block = np.empty(4 * requests + lib.PSB_SUMMARY_COLUMNS)
        self.detail = np.empty((lib.PSB_DETAIL_ROWS, requests), np.int32)
        self.text = ffi.new("char[]", _TEXT_SIZE)
        ttft = ffi.from_buffer("double[]", self.block)
        self.output = ffi.new("psb_output *")
        self.output.ttft = ttft
        self.output.e2e = ttft + requests
        self.output.sent = ttft + 2 * requests
        self.output.scheduled = ttft + 3 * requests
        self.output.summary = ffi.cast("int64_t *", ttft + 4 * requests)
        self.output.detail = ffi.from_buffer("int32_t[]", self.detail)


def _close(number: int) -> None:
    if _library is None or _forked:
        return  # the process that loaded the library is gone
    text = _library.text()
    _library.check(_library.lib.psb_close(number, text, _TEXT_SIZE), text)


def _config_fields(config: ServerConfig) -> dict[str, Any]:
    return {
        "semantics": _SEMANTICS[config.semantics],
        "max_num_seqs": config.max_num_seqs,
        "max_num_batched_tokens": config.max_num_batched_tokens,
        "block_size": config.block_size,
        "num_gpu_blocks": config.num_gpu_blocks or 0,
        "max_model_len": config.max_model_len or 0,
        "long_prefill_token_threshold": config.long_prefill_token_threshold,
        "enable_prefix_caching": int(config.enable_prefix_caching),
        "enable_chunked_prefill": int(config.enable_chunked_prefill),
        "scheduler_reserve_full_isl": int(config.scheduler_reserve_full_isl),
        "async_scheduling": int(config.async_scheduling),
        "watermark": config.watermark,
        "horizon_s": math.inf if config.horizon_s is None else config.horizon_s,
    }
