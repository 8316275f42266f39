"""What optimisers print and log, while a study runs and after it."""

from __future__ import annotations

import logging
import threading
from pathlib import Path

from flywheel.optimize.quiet import quiet


class Heard(logging.Handler):
    """Keeps what it is told."""

    def __init__(self) -> None:
        super().__init__()
        self.said: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.said.append(record.getMessage())


def test_threads_that_were_left_behind_say_nothing_and_others_do(tmp_path: Path) -> None:
    logger = logging.getLogger("dspy.utils.parallelizer")
    heard = Heard()
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
    assert heard.said == ["later"]


def test_a_thread_that_has_the_number_of_one_that_was_left_behind_is_heard(tmp_path: Path) -> None:
    logger = logging.getLogger("dspy.utils.parallelizer")
    heard, ended = Heard(), threading.Event()
    logger.addHandler(heard)
    left = threading.Thread(target=ended.wait, args=(30,))
    with quiet(tmp_path / "log"):
        left.start()
    number = left.ident
    ended.set()
    left.join()
    record = logging.makeLogRecord({"msg": "another", "levelno": logging.ERROR, "thread": number})
    logger.handle(record)
    logger.removeHandler(heard)
    assert heard.said == ["another"]
