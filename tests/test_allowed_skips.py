"""The guard against skips, in sessions of its own; what they print and return is the oracle."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from .allowed_skips import NO_REFERENCE_DATA

CONFTEST = """
from tests.allowed_skips import pytest_addoption, pytest_configure
"""

TESTS = f"""
import pytest

def test_that_passes():
    pass

@pytest.mark.skip(reason={NO_REFERENCE_DATA!r})
def test_without_data():
    pass

@pytest.mark.xfail(strict=True)
def test_that_fails_as_expected():
    raise AssertionError
"""

ODD_TEST = """
def test_of_a_pastime():
    pytest.skip("no time for it")
"""

ODD_FILE = """
import pytest
pytest.importorskip("a_module_that_nobody_has")
"""


@pytest.fixture
def session(tmp_path: Path, root: Path) -> Path:
    (tmp_path / "conftest.py").write_text(CONFTEST)
    (tmp_path / "test_it.py").write_text(TESTS)
    (tmp_path / "pytest.ini").write_text(f"[pytest]\npythonpath = {root}\n")
    return tmp_path


def run(folder: Path, *options: str, ci: str = "") -> tuple[int, str]:
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *options],
        cwd=folder,
        # hypothesis takes longer to import than all else here
        env=os.environ | {"CI": ci, "PYTEST_ADDOPTS": "", "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout


def test_expected_skips_pass(session: Path) -> None:
    code, output = run(session, "--no-unexpected-skips")
    assert code == 0, output
    assert "unexpected" not in output


def test_an_unexpected_skip_fails_the_session_and_is_named(session: Path) -> None:
    (session / "test_it.py").write_text(TESTS + ODD_TEST)
    code, output = run(session, "--no-unexpected-skips")
    assert code == 1, output
    assert "test_it.py::test_of_a_pastime: no time for it" in output
    assert NO_REFERENCE_DATA not in output
    assert run(session, ci="true")[0] == 1
    assert run(session)[0] == 0


def test_so_does_a_file_that_is_skipped(session: Path) -> None:
    (session / "test_odd.py").write_text(ODD_FILE)
    code, output = run(session, "--no-unexpected-skips")
    assert code == 1, output
    assert "test_odd.py: could not import 'a_module_that_nobody_has'" in output


@pytest.mark.slow
def test_workers_report_to_their_controller(session: Path) -> None:
    (session / "test_it.py").write_text(TESTS + ODD_TEST)
    code, output = run(session, "--no-unexpected-skips", "-p", "xdist", "-n", "2")
    assert code == 1, output
    assert output.count("test_it.py::test_of_a_pastime: no time for it") == 1
