"""What the tools wrote, kept beside the tests.

Every file under `data/<format>/` is what a real tool wrote of a small suite, but for
`junit/surefire.xml` and `junit/phpunit.xml`, which have the shape of those tools' files. The suites
ran at /repo. Where there is a second file with `again` in its name, it is a second run.
"""

from collections.abc import Callable
from pathlib import Path

import pytest

from flywheel.critic.reports import Report, read

DATA = Path(__file__).parent / "data"
MODULE = "example.com/zoo"


@pytest.fixture
def report_of() -> Callable[[str], Report]:
    """The report of a file of `data`, by its path there."""

    def report_of(file: str) -> Report:
        path = DATA / file
        return read(path.parent.name, path.read_bytes(), module=MODULE)

    return report_of
