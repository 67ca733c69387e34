"""The tests that may be skipped, and what fails a run with any other skip.

A run with ``--no-unexpected-skips``, or with CI set in the environment, fails if a test is skipped
for a reason that is not listed here. It prints which. Under pytest-xdist the controller looks after
it.
"""

from __future__ import annotations

import os

import pytest

# Data that may not be copied into the repository.
NO_REFERENCE_DATA = "no reference data: there is no folder ../shared beside the checkout"

# How the reasons of expected skips begin.
ALLOWED = (
    NO_REFERENCE_DATA,
    "PYSIMBIND_VLLM, PYSIMBIND_VLLM_MODEL: unset",  # a vLLM takes gigabytes
    # Platforms:
    "this platform cannot fork",
    "this system has no /dev/full",
    "the peak of memory is read from Linux's /proc",
)


class SkipGuard:
    """Collects the skips of a session, and fails it over those that nobody expects."""

    def __init__(self) -> None:
        self.unexpected: list[tuple[str, str]] = []  # test or file, and reason

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Note a test that was skipped; one that failed as expected is none."""
        if not hasattr(report, "wasxfail"):
            self._note(report)

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        """Note a whole file that was skipped."""
        self._note(report)

    def _note(self, report: pytest.TestReport | pytest.CollectReport) -> None:
        if not report.skipped:
            return
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
        reason = reason.removeprefix("Skipped: ")
        if not reason.startswith(ALLOWED):
            self.unexpected.append((report.nodeid, reason))

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Fail a session that would have passed."""
        if self.unexpected and session.exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Say which tests these are."""
        if self.unexpected:
            terminalreporter.section("unexpected skips (tests/allowed_skips.py)", red=True)
        for where, reason in self.unexpected:
            terminalreporter.line(f"{where}: {reason}")


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the option that asks for it."""
    parser.addoption(
        "--no-unexpected-skips",
        action="store_true",
        default=bool(os.environ.get("CI")),
        help="fail if a test is skipped for a reason that tests/allowed_skips.py does not list",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Guard the session, but not in a worker of pytest-xdist, which reports to its controller."""
    if config.getoption("no_unexpected_skips") and not hasattr(config, "workerinput"):
        config.pluginmanager.register(SkipGuard(), "skip-guard")
