"""What optimisers print and log, while a study runs and after it."""

from __future__ import annotations

import logging
import threading
from pathlib import Path

from flywheel.optimize.quiet import quiet


def test_threads_that_were_left_behind_say_nothing_and_others_do(tmp_path: Path) -> None:
    logger = logging.getLogger("dspy.utils.parallelizer")
    said: list[str] = []
    heard = logging.Handler()
    heard.emit = lambda record: said.append(record.getMessage())  # type: ignore[method-assign]
    logger.addHandler(heard)
    ended = threading.Event()

    def late() -> None:
        ended.wait(30)
        logger.error("late")

    thread = threading.Thread(target=late)
    with quiet(tmp_path / "log"):
        thread.start()
    ended.set()
    thread.join()
    logger.error("later")
    logger.removeHandler(heard)
    assert said == ["later"]
