"""The first step: from here on no Ctrl-C is lost."""

from __future__ import annotations

import sys
from typing import NoReturn


def main() -> NoReturn:
    """Run the command line and exit with its code."""
    try:
        from flywheel.cli.interrupt import keep_interrupts

        keep_interrupts()
        from flywheel.cli.main import main as run

        run()
    except KeyboardInterrupt:
        sys.stderr.write("Interrupted.\n")
        sys.exit(130)  # as `errors.Interrupted`, which may be what was being imported
