"""What was paid for is on the disk the moment it is known, once, for every thread and process."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from textwrap import dedent

import pytest

from flywheel.core.errors import StoreError
from flywheel.lm import Call, Journal, Response, Usage

CALL = Call(
    "c0", "run", "judge", "test", "local", "local", "k0", "ok", 10, 5, None, None, 0.0, 0.5, False,
    datetime(2026, 1, 2, 3, 4, 5, 678, tzinfo=UTC),
)  # fmt: skip
ANSWER = Response("text ☃", "stop", Usage(10, 5, None, 0), "model")


def test_what_goes_in_comes_out(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "new" / "lm.sqlite")
    journal.record(CALL, ANSWER)
    journal.record(replace(CALL, call_id="c1", status="rate", request_key="k1"))
    journal.close()
    again = Journal(tmp_path / "new" / "lm.sqlite")
    assert again.answer("k0") == ANSWER
    assert again.answer("k1") is None
    calls = again.calls()
    assert calls == (CALL, replace(CALL, call_id="c1", status="rate", request_key="k1"))
    again.forget(calls[:1])
    assert [call.call_id for call in again.calls()] == ["c1"]
    # The answer stays when the call is stored elsewhere.
    assert again.answer("k0") == ANSWER
    again.close()


def test_what_a_killed_process_had_sent_is_a_call_that_is_lost(tmp_path: Path) -> None:
    program = """
        import os, signal, sys
        from dataclasses import replace
        from pathlib import Path
        from flywheel.lm import Journal
        from tests.lm.test_journal import ANSWER, CALL
        journal = Journal(Path(sys.argv[1]))
        for n in range(3):
            journal.sent(replace(CALL, call_id=f"c{n}", request_key=f"k{n}", status="lost"))
        journal.record(replace(CALL, call_id="c1", request_key="k1"), ANSWER)
        print("sent", flush=True)
        sys.stdin.read()
    """
    path = tmp_path / "lm.sqlite"
    with closing(Journal(path)) as journal:
        journal.sent(replace(CALL, call_id="mine", status="lost"))
        root = Path(__file__).parents[2]
        with subprocess.Popen(
            [sys.executable, "-c", dedent(program), str(path)],
            cwd=root, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        ) as process:  # fmt: skip
            assert process.stdout is not None
            assert process.stdout.readline() == b"sent\n"
            # It is still there, and may hear of them.
            assert [call.call_id for call in journal.calls()] == ["c1"]
            process.kill()
        found = {call.call_id: call.status for call in journal.calls()}
        assert found == {"c1": "ok", "c0": "lost", "c2": "lost"}
        journal.forget(journal.calls())
        assert journal.calls() == ()
        journal.record(replace(CALL, call_id="mine"), ANSWER)
        assert [call.status for call in journal.calls()] == ["ok"]


def test_threads_share_one_journal(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "lm.sqlite")

    def work(number: int) -> None:
        for n in range(20):
            key = f"{number}-{n}"
            journal.record(replace(CALL, call_id=key, request_key=key), ANSWER)
            assert journal.answer(key) == ANSWER

    threads = [threading.Thread(target=work, args=(number,)) for number in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(journal.calls()) == 100
    journal.close()


def test_what_was_recorded_outlives_a_kill(tmp_path: Path) -> None:
    program = """
        import os, signal, sys
        from dataclasses import replace
        from pathlib import Path
        from flywheel.lm import Journal
        from tests.lm.test_journal import ANSWER, CALL
        journal = Journal(Path(sys.argv[1]))
        for n in range(10):
            journal.record(replace(CALL, call_id=f"c{n}", request_key=f"k{n}"), ANSWER)
        os.kill(os.getpid(), signal.SIGKILL)
    """
    path = tmp_path / "lm.sqlite"
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-c", dedent(program), str(path)],
        env={**os.environ, "PYTHONPATH": str(root)},
    )
    assert done.returncode == -signal.SIGKILL
    journal = Journal(path)
    assert len(journal.calls()) == 10
    assert all(journal.answer(f"k{n}") == ANSWER for n in range(10))
    journal.close()


def test_an_answer_that_cannot_be_read_is_none(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "lm.sqlite")
    journal.record(CALL, ANSWER)
    journal._connection.execute("UPDATE answers SET answer = '{\"text\": 1'")
    assert journal.answer("k0") is None
    whole = {"text": "x", "finish": "stop", "usage": {"input_tokens": "many"}, "model": "m"}
    journal._connection.execute("UPDATE answers SET answer = ?", [json.dumps(whole)])
    assert journal.answer("k0") is None
    journal.close()


@pytest.mark.parametrize(
    "damage",
    [
        '\'{"call_id": "c1"\'',
        "'[]'",
        "'{}'",
        "json_set(call, '$.input_tokens', 'many')",
        "json_set(call, '$.started_at', 'yesterday')",
        "json_remove(call, '$.status')",
    ],
)
def test_a_damaged_call_is_set_aside_and_counted(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "lm.sqlite"
    journal = Journal(path)
    for n in range(4):
        journal.record(replace(CALL, call_id=f"c{n}"))
    journal._connection.execute(f"UPDATE calls SET call = {damage} WHERE call_id IN ('c0', 'c1')")
    # Also where nothing else is among the first.
    assert [call.call_id for call in journal.calls(limit=2)] == ["c2", "c3"]
    journal.forget(journal.calls())
    assert (journal.calls(), journal.damaged) == ((), 2)
    journal.close()
    again = Journal(path)
    assert again.damaged == 2
    again.close()


def test_a_file_that_is_damaged_within_is_an_error_that_names_it(tmp_path: Path) -> None:
    path = tmp_path / "lm.sqlite"
    journal = Journal(path)
    for n in range(200):
        journal.record(replace(CALL, call_id=f"c{n}", request_key=f"k{n}"), ANSWER)
    journal.close()
    content = bytearray(path.read_bytes())
    content[4096:] = b"\xff" * (len(content) - 4096)
    path.write_bytes(content)

    def used(use: Callable[[Journal], object]) -> None:
        with closing(Journal(path)) as one:
            use(one)

    for use in (Journal.calls, lambda one: one.answer("k7"), lambda one: one.record(CALL)):
        with pytest.raises(StoreError, match=r"lm\.sqlite"):
            used(use)


def test_a_file_that_is_no_journal_is_an_error_that_names_it(tmp_path: Path) -> None:
    path = tmp_path / "lm.sqlite"
    path.write_bytes(b"not a database" * 100)
    with pytest.raises(StoreError, match=r"lm\.sqlite"):
        Journal(path)
