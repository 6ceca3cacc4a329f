"""A pytest plugin for `scripts/test`: says at the end which tests were left out and why; `--all` makes that a failure."""

from __future__ import annotations

from collections import Counter

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--all", action="store_true", help="fail if a test had to be left out")


def _reporter(config: pytest.Config) -> pytest.TerminalReporter:
    reporter = config.pluginmanager.get_plugin("terminalreporter")
    assert isinstance(reporter, pytest.TerminalReporter)
    return reporter


@pytest.hookimpl(tryfirst=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    if hasattr(session.config, "workerinput"):
        return  # one of several processes: the one that started them has all reports
    if session.config.getoption("--all") and _reporter(session.config).stats.get("skipped") and not session.exitstatus:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    skipped = terminalreporter.stats.get("skipped", [])
    found = Counter((str(r.longrepr[0]), str(r.longrepr[2]).removeprefix("Skipped: ")) for r in skipped)
    terminalreporter.section(f"left out: {len(skipped) or 'nothing'}")
    for (path, why), count in sorted(found.items()):
        terminalreporter.line(f"{path}: {why}" + (f" ({count} tests)" if count > 1 else ""))
