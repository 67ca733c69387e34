"""What every test shares: an up-to-date library, reproducible hypothesis runs, and outside data."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import settings

import build

ROOT = Path(__file__).resolve().parent.parent
LIBRARY_STATE = pytest.StashKey[str]()

# The same examples in every run; `--hypothesis-profile=explore` looks for new ones.
settings.register_profile("reproducible", deadline=None, derandomize=True, database=None)
settings.register_profile("explore", deadline=None)
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


@pytest.fixture(scope="session")
def root() -> Path:
    """Return the folder of the checkout."""
    return ROOT


@pytest.fixture(scope="session")
def shared() -> Path:
    """Return the folder of reference data beside the checkout, or skip the test."""
    folder = ROOT.parent / "shared"
    if not (folder / "data").is_dir():
        pytest.skip("no reference data: there is no folder ../shared beside the checkout")
    return folder
