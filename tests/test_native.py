"""The compiled library's life: loading, handles, threads, processes."""

from __future__ import annotations

import gc
import multiprocessing
import os
import subprocess
import sys
import textwrap

import pytest

from pysimbind import HandleError, LibraryError, NativeError, Simulator, load_experiment
from pysimbind import _native as native

from .facts import facts

BASELINE = load_experiment("exp1_30rr").baseline


def _python(code: str) -> str:
    """Run code in a new interpreter and return what it prints."""
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_importing_loads_nothing() -> None:
    """Neither cffi nor the Go runtime is there before the first simulation, nor is scipy."""
    printed = _python("""
        import sys, pysimbind
        from pysimbind import _native
        assert not {f"scipy.{name}" for name in ("linalg", "optimize", "special", "stats")} & {
            *sys.modules
        }
        print("cffi" in sys.modules, _native._library is None)
        pysimbind.Simulator()
        print("cffi" in sys.modules, _native._library is None)
    """)
    assert printed.split("\n") == ["False True", "True False"]


def test_handles_do_not_leak() -> None:
    """Closed, collected, or failed to open: the library's own count returns to where it was."""
    experiment = load_experiment("exp1_30rr")
    gc.collect()
    before = native.open_handles()
    for _ in range(20):
        Simulator(experiment.workload, experiment.config)
        Simulator(experiment.workload, experiment.config).close()
    gc.collect()
    assert native.open_handles() == before


def test_evaluations_leave_nothing_to_collect() -> None:
    """Go's collector, which stops every worker, finds no work in 10,000 runs and as many rows."""
    code = """
        import numpy as np, pysimbind
        experiment = pysimbind.load_experiment("exp1_30rr")
        simulator = pysimbind.Simulator(experiment.workload, experiment.config)
        rows = np.tile(experiment.baseline.vector, (10_000, 1))
        simulator.run_batch(rows, workers=2)
        for vector in rows:
            simulator.run(vector)
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        env={**os.environ, "GODEBUG": "gctrace=1"},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    collections = [line for line in done.stderr.splitlines() if line.startswith("gc ")]
    assert len(collections) <= 1, collections


def test_invented_and_reused_handles_are_errors() -> None:
    """The library answers with a code and a text, whatever number it is given."""
    library = native._load()
    text = library.text()
    with Simulator() as simulator:
        number = simulator._handle._number
    for wrong in (0, number, number + 10**6, 2**64 - 1):
        code = library.lib.psb_close(wrong, text, 512)
        with pytest.raises(HandleError, match=f"handle {wrong}"):
            library.check(code, text)
    assert Simulator()._handle._number > number


def test_null_pointers_are_errors() -> None:
    """A caller that passes NULL gets a code, not a crash."""
    library = native._load()
    text, null = library.text(), library.ffi.NULL
    assert library.lib.psb_open(null, null, 1, null, null, text, 512) == library.lib.PSB_BAD_INPUT
    assert b"NULL" in library.ffi.string(text)
    with Simulator() as simulator:
        code = library.lib.psb_run(
            simulator._handle._number, 1, null, null, null, 0, 1, null, null, 0
        )
    assert code == library.lib.PSB_BAD_INPUT


def test_long_error_texts_are_cut_and_terminated() -> None:
    """A buffer of eight bytes gets seven and a NUL."""
    library = native._load()
    small = library.ffi.new("char[]", 8)
    assert library.lib.psb_close(0, small, 8) == library.lib.PSB_BAD_HANDLE
    assert len(library.ffi.string(small)) == 7


def test_panics_become_exceptions() -> None:
    """The code that a recovered panic has is a NativeError with its text."""
    library = native._load()
    text = library.ffi.new("char[]", b"panic in the simulator: index out of range")
    with pytest.raises(NativeError, match="index out of range"):
        library.check(library.lib.PSB_PANIC, text)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this platform cannot fork")
def test_forked_child_gets_an_error_instead_of_a_hang() -> None:
    """The parent had loaded the library; the child may neither run, open nor hang at exit."""
    printed = _python("""
        import os, sys, pysimbind
        simulator = pysimbind.Simulator()
        params = pysimbind.load_experiment("exp1_30rr").baseline
        simulator.run(params)
        pid = os.fork()
        if pid == 0:
            for attempt in (
                lambda: simulator.run(params),
                lambda: simulator.run_batch([params.vector]),
                pysimbind.Simulator,
                simulator.close,
            ):
                try:
                    attempt()
                    print("fine", flush=True)
                except pysimbind.ForkError as error:
                    print("spawn" in str(error), flush=True)
            sys.exit(0)
        print(os.waitpid(pid, 0)[1], flush=True)
    """)
    assert printed.split("\n") == ["True", "True", "True", "fine", "0"]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this platform cannot fork")
def test_fork_before_the_first_simulation_works() -> None:
    """A child that loads the library itself is as good as any process."""
    printed = _python("""
        import os, pysimbind
        params = pysimbind.load_experiment("exp1_30rr").baseline
        pid = os.fork()
        works = pysimbind.Simulator().run(params).steps > 0
        if pid == 0:
            os._exit(0 if works else 1)
        print(works, os.waitpid(pid, 0)[1])
    """)
    assert printed == "True 0"


def _steps(simulator: Simulator) -> int:
    assert BASELINE is not None
    return simulator.run(BASELINE).steps


def test_spawned_processes_work() -> None:
    """A simulator travels to a spawned pool by pickle."""
    with Simulator() as simulator, multiprocessing.get_context("spawn").Pool(2) as pool:
        assert pool.map(_steps, [simulator] * 4) == [_steps(simulator)] * 4


def test_missing_and_broken_libraries(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One line that says what to run."""
    monkeypatch.setattr(native, "_LIBRARY", tmp_path / "absent.so")
    with pytest.raises(LibraryError, match=facts("absent.so .. pip install")):
        native._Library()
    broken = tmp_path / "broken.so"
    broken.write_bytes(b"not a library")
    monkeypatch.setattr(native, "_LIBRARY", broken)
    with pytest.raises(LibraryError, match=facts("broken.so .. loaded")):
        native._Library()


def test_another_abi_version_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """A library left over from another version says so."""
    monkeypatch.setattr(native, "ABI_VERSION", 999)
    with pytest.raises(LibraryError, match=facts("ABI version .. 999")):
        native._Library()
