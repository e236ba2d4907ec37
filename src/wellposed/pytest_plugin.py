"""For pytest: the fixture `wellposed`, the marker of that name, and a summary at the end of the run.

Every test run loads this where wellposed is installed: what checks is imported as soon as a test asks for it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from wellposed.suite import Checks


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.getgroup("wellposed").addoption(
        "--wellposed-html",
        metavar="FILE",
        default="",
        help="write the reports of all checks of the run to one HTML file",
    )


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers",
        "wellposed(strict=False, ignore=()): strict=True fails a test for what is suspect too; rules beginning with one"
        " of `ignore` do not",
    )


@pytest.fixture
def wellposed(request: pytest.FixtureRequest) -> Checks:
    """The checks of the library; each returns its report, and fails the test with it where something fails."""
    from wellposed.suite import checks_for

    return checks_for(request)


def pytest_terminal_summary(terminalreporter: Any) -> None:
    reports = [report for reports in terminalreporter.stats.values() for report in reports]
    if any(key == "wellposed" for report in reports for key, _ in getattr(report, "user_properties", ())):
        from wellposed.suite import sum_up

        sum_up(terminalreporter)
