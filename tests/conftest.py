"""What every test shares: an up-to-date library, reproducible hypothesis runs, and outside data."""

from __future__ import annotations

import os
from pathlib import Path

# The matrices are small: two workers with a thread for each core only wait for one another. NumPy
# reads the variable when it is imported.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import settings
from hypothesis import strategies as st

import build
from pysimbind import ServerConfig, SimResult, Workload

from . import recorded as recorded_data
from .allowed_skips import NO_REFERENCE_DATA, pytest_addoption, pytest_configure

__all__ = ["pytest_addoption", "pytest_configure"]  # pytest looks for its hooks here

ROOT = Path(__file__).resolve().parent.parent
LIBRARY_STATE = pytest.StashKey[str]()

# The same examples in every run; `--hypothesis-profile=explore` looks for new ones.
settings.register_profile("reproducible", deadline=None, derandomize=True, database=None)
settings.register_profile("explore", deadline=None, max_examples=500)
settings.load_profile("reproducible")


def pytest_sessionstart(session: pytest.Session) -> None:
    """Compile the library of the source tree if it is out of date, as `python build.py` does."""
    if hasattr(session.config, "workerinput"):  # a pytest-xdist worker: its controller has done it
        return
    try:
        session.config.stash[LIBRARY_STATE] = build.build()
    except build.BuildError as error:
        # Tests that need no library still run; the others say that there is none.
        session.config.stash[LIBRARY_STATE] = f"NOT BUILT: {error}"


def pytest_report_header(config: pytest.Config) -> str:
    """Say which library is tested."""
    return f"library: {config.stash.get(LIBRARY_STATE, 'built by the controller')}"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the Go tests, the longest ones: no worker waits for them at the end."""
    items.sort(key=lambda item: item.path.name != "test_go.py")


@pytest.fixture(scope="session")
def root() -> Path:
    """Return the folder of the checkout."""
    return ROOT


@pytest.fixture(scope="session")
def shared() -> Path:
    """Return the folder of data that may not be copied, beside the checkout, or skip the test."""
    folder = ROOT.parent / "shared"
    if not (folder / "data").is_dir():
        pytest.skip(NO_REFERENCE_DATA)
    return folder


@pytest.fixture(scope="session")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with the recorded runs that the tests bring along, unpacked."""
    folder = tmp_path_factory.mktemp("recorded")
    recorded_data.unpack(folder)
    return folder


def first_starts_s(result: SimResult) -> npt.NDArray[np.float64]:
    """Return when the first step with each request began, by the entries of a traced run."""
    assert result.trace is not None
    steps, requests = result.trace.entries[:, :2].T
    starts_s = np.full(result.ttft.size, np.nan)
    who, first = np.unique(requests, return_index=True)  # nobody is preempted before that
    starts_s[who] = result.trace.start_s[steps[first]]
    return starts_s


@st.composite
def workloads(draw: st.DrawFn, closed: bool = False) -> Workload:
    """Random requests; arrivals on a grid tie with steps and with each other, prefixes repeat."""
    grid_us = draw(st.sampled_from([1, 500, 20_000]))
    gaps = draw(st.lists(st.integers(0, 60), min_size=1, max_size=30))
    counts = st.lists(st.integers(1, 60), min_size=len(gaps), max_size=len(gaps))
    prompts, outputs = draw(counts), draw(counts)
    ids = draw(st.sampled_from([None, 1, 2]))
    rng = np.random.default_rng(len(gaps))
    spell = {} if ids is None else {"prompt_token_ids": [rng.integers(0, ids, n) for n in prompts]}
    if spell and draw(st.booleans()):
        spell["output_token_ids"] = [rng.integers(0, ids, n) for n in outputs]
    limit = draw(st.sampled_from([None, None, 1, 4])) if closed else None
    arrivals = np.cumsum(gaps) * grid_us / 1e6
    return Workload(arrivals, prompts, outputs, max_concurrency=limit, strict=False, **spell)


def configs(semantics: str) -> st.SearchStrategy[ServerConfig]:
    """Random servers that often run out of something."""
    modes = (
        {}
        if semantics == "blis-2025-07"
        else {
            "max_model_len": st.sampled_from([None, 70]),
            "enable_chunked_prefill": st.booleans(),
            "long_prefill_token_threshold": st.sampled_from([0, 0, 7]),
            "scheduler_reserve_full_isl": st.booleans(),
            "watermark": st.sampled_from([0.0, 0.1]),
            "async_scheduling": st.booleans(),
        }
    )
    return st.builds(
        ServerConfig,
        max_num_seqs=st.sampled_from([1, 2, 8, 256]),
        max_num_batched_tokens=st.sampled_from([16, 64, 2048]),
        block_size=st.sampled_from([1, 7, 16]),
        num_gpu_blocks=st.sampled_from([None, 20, 5000]),
        horizon_s=st.sampled_from([None, None, 0.3]),
        enable_prefix_caching=st.booleans(),
        semantics=st.just(semantics),
        **modes,
    )
