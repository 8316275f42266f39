"""What tests leave behind to fail others.

Garbage in a cycle is destroyed whenever the collector happens to run. Where the configuration makes
warnings errors, a coroutine that was never awaited or a file that was never closed then fails the
test that runs at that time, whatever it tests. No list of failing tests is complete where that may
happen.
"""

from __future__ import annotations

import gc
import sys
import warnings
from typing import Any


def found(config: Any) -> int:
    """How many errors come of destroying what is left, once the last test has ended."""
    try:
        from _pytest.warnings import catch_warnings_for_item
    except ImportError:  # another pytest than those this was written against
        return 0
    errors = []  # type: Any
    for name in ("last_type", "last_value", "last_traceback", "last_exc"):
        if hasattr(sys, name):
            delattr(sys, name)
    before = sys.unraisablehook
    with catch_warnings_for_item(config=config, ihook=config.hook, when="runtest", item=None):
        if not any(one[0] == "error" for one in warnings.filters):
            return 0
        sys.unraisablehook = lambda args: errors.append(str(args.exc_type))
        try:
            gc.collect()
        finally:
            sys.unraisablehook = before
    return len(errors)
