"""Silence: what DSPy and Optuna print and log goes into a file of the study."""

from __future__ import annotations

import logging
import threading
import weakref
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from functools import partialmethod
from pathlib import Path

import tqdm

_PARALLEL = "dspy.utils.parallelizer"
_left: weakref.WeakSet[threading.Thread] = weakref.WeakSet()
"""Threads that were there when the last block ended, but for the one that ended it."""
_LOGGERS = ("dspy", "gepa", "optuna", "py.warnings")


@contextmanager
def quiet(path: Path) -> Iterator[None]:
    """Append to a file what optimisers print and log, for as long as the block runs.

    Their progress bars are not drawn: a study has its own.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handler = logging.FileHandler(path, encoding="utf-8")
    handler.setFormatter(logging.Formatter("%(asctime)s %(name)s: %(message)s"))
    held = {name: _taken(name, handler) for name in _LOGGERS}
    drawn = tqdm.tqdm.__init__
    with path.open("a", encoding="utf-8") as file, redirect_stdout(file):
        logging.captureWarnings(True)
        tqdm.tqdm.__init__ = partialmethod(drawn, disable=True)
        try:
            yield
        finally:
            tqdm.tqdm.__init__ = drawn
            logging.captureWarnings(False)
            for name, (handlers, propagates) in held.items():
                logger = logging.getLogger(name)
                logger.handlers, logger.propagate = handlers, propagates
            handler.close()
            _hush()


def _hush() -> None:
    """Let threads that DSPy left behind say nothing: a study that was stopped waits for none."""
    _left.clear()
    _left.update(threading.enumerate())
    _left.discard(threading.current_thread())
    logging.getLogger(_PARALLEL).addFilter(_unheard)


def _unheard(record: logging.LogRecord) -> bool:
    # It is asked in the thread that speaks, whose number another may have had.
    return threading.current_thread() not in _left


def _taken(name: str, handler: logging.Handler) -> tuple[list[logging.Handler], bool]:
    logger = logging.getLogger(name)
    held = logger.handlers, logger.propagate
    logger.handlers, logger.propagate = [handler], False
    return held
