"""flywheel: any git repository becomes proven (bad, error, good) training data.

`flywheel.open()` is the door to a workspace for programs and notebooks, and `%load_ext flywheel`
adds its magics: see `flywheel.notebook`, which is not imported before it is asked for.
"""

import importlib
from collections.abc import Callable
from typing import Any

__version__ = "0.1.0"

_NOTEBOOK = {"open": "open_workspace", "load_ipython_extension": "load_ipython_extension"}


def __getattr__(name: str) -> Callable[..., Any]:
    if name not in _NOTEBOOK:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found: Callable[..., Any] = getattr(
        importlib.import_module("flywheel.notebook"), _NOTEBOOK[name]
    )
    return found
