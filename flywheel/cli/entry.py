"""The first step: a Ctrl-C that comes while the rest is imported ends it like any other."""

from __future__ import annotations

import sys
from typing import NoReturn


def main() -> NoReturn:
    """Run the command line and exit with its code."""
    try:
        from flywheel.cli.main import main as run

        run()
    except KeyboardInterrupt:
        sys.stderr.write("Interrupted.\n")
        sys.exit(130)  # as `errors.Interrupted`, which may be what was being imported
