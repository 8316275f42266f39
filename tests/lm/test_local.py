"""The real small model on loopback: it answers, obeys a schema, stops, and leaves nothing."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from textwrap import dedent

import pytest

from flywheel.core.errors import LMError, UsageError
from flywheel.core.settings import LMProfile
from flywheel.lm import Engine, Journal, Message, Profile, Purpose, Request, Role
from flywheel.lm.backends import anthropic as ours
from flywheel.lm.backends import local
from flywheel.lm.backends.local import LocalBackend
from tests.fakes.proxy import proxy

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not local.installed(), reason="the local model is not installed"),
]
FOR = Purpose(Role.GENERATOR, "test")
SCHEMA = {
    "type": "object",
    "properties": {"name": {"type": "string", "maxLength": 12}, "old": {"type": "boolean"}},
    "required": ["name", "old"],
    "additionalProperties": False,
}


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    journal = Journal(tmp_path / "journal.sqlite")
    with Engine({}, journal) as one:
        yield one
    journal.close()


def question(text: str, **more: object) -> Request:
    return Request((Message("user", text),), max_tokens=40, seed=1, **more)  # type: ignore[arg-type]  # passed on


def servers() -> list[int]:
    """Processes that serve a model for this process of tests, and not for one beside it."""
    worker = os.environ.get("PYTEST_XDIST_WORKER")
    mine = f"PYTEST_XDIST_WORKER={worker}".encode() if worker else b""
    found = []
    for folder in Path("/proc").iterdir():
        try:
            line = (folder / "cmdline").read_bytes()
            variables = (folder / "environ").read_bytes()
            state = (folder / "stat").read_text().rsplit(")", 1)[1].split()[0]
        except (OSError, IndexError):
            continue
        if b"flywheel.lm.backends.server" in line and state != "Z" and mine in variables:
            found.append(int(folder.name))
    return found


def wait_for_none(seconds: float = 10) -> None:
    until = time.monotonic() + seconds
    while servers() and time.monotonic() < until:
        time.sleep(0.05)
    assert servers() == []


def test_answers_do_not_hang_on_what_is_asked_beside_them(tmp_path: Path) -> None:
    asked = [question(f"Say in one line what {number} of them are.") for number in range(12)]
    said = []
    for name, at_once in (("alone", 1), ("together", len(asked))):
        journal = Journal(tmp_path / f"{name}.sqlite")
        with Engine({}, journal) as engine, ThreadPoolExecutor(at_once) as pool:
            replies = pool.map(lambda one, to=engine: to.ask(one, FOR), asked)  # type: ignore[misc]  # bound here
            said.append([reply.response.text for reply in replies])
        calls = sorted(journal.calls(), key=lambda call: call.started_at)
        ended = [call.started_at + timedelta(seconds=call.seconds) for call in calls]
        # By the wall's clock and by another one, so that they may differ by a moment.
        moment = timedelta(seconds=0.02)
        assert all(
            end < one.started_at + moment for end, one in zip(ended, calls[1:], strict=False)
        )
        journal.close()
    assert said[0] == said[1]


def test_with_no_key_and_no_profile_the_small_model_answers_and_costs_nothing(engine) -> None:
    reply = engine.ask(question("Say hello."), FOR)
    assert reply.response.text.strip()
    assert (reply.profile, reply.model) == ("local", "local")
    usage = reply.response.usage
    assert usage.input_tokens > 0
    assert 0 < usage.output_tokens <= 40
    assert engine.spent.usd == 0
    assert engine.spent.tokens == usage.total
    engine.close()
    wait_for_none()


@pytest.mark.parametrize("listed", [None, "example.org"])
def test_no_proxy_comes_between(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, listed: str | None
) -> None:
    with proxy() as between:
        for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, between.address)
        for name in ("NO_PROXY", "no_proxy"):
            # Set first, so that what the backend sets is undone after the test.
            monkeypatch.setenv(name, listed or "")
            if listed is None:
                monkeypatch.delenv(name)
        journal = Journal(tmp_path / "journal.sqlite")
        with Engine({}, journal) as one:
            assert one.ask(question("Say hello."), FOR).response.text.strip()
        journal.close()
    assert between.wanted == []


def test_an_answer_obeys_the_schema_that_is_asked_for(engine) -> None:
    for sample in range(3):
        reply = engine.ask(question("Describe a dog.", schema=SCHEMA, sample=sample), FOR)
        found = json.loads(reply.response.text)
        assert set(found) == {"name", "old"}
        assert isinstance(found["old"], bool)


def test_a_plain_answer_obeys_the_grammar_that_is_asked_for(engine) -> None:
    grammar = 'root ::= "a " ("cat" | "dog") "\\n" [0-9]+'
    for sample in range(3):
        asked = question("How old is it?", grammar=grammar, sample=sample)
        assert re.fullmatch(r"a (cat|dog)\n[0-9]+", engine.ask(asked, FOR).response.text)


def test_a_question_that_is_too_long_is_said_to_be(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal.sqlite")
    profiles = {"default": LMProfile(model="local", context=256)}
    with Engine(profiles, journal) as one, pytest.raises(LMError) as caught:
        one.ask(question("word " * 2000), FOR)
    assert caught.value.failure == "context-length"
    journal.close()


def test_the_process_stops_when_nothing_is_asked_and_starts_again() -> None:
    async def run() -> tuple[bool, bool, str]:
        backend = LocalBackend(Profile("local", LMProfile(model="local")), idle_seconds=0.4)
        await backend.complete(question("hello"))
        until = time.monotonic() + 10
        while backend.running and time.monotonic() < until:
            await asyncio.sleep(0.05)
        stopped = not backend.running
        again = await backend.complete(question("hello"))
        running = backend.running
        await backend.close()
        return stopped, running, again.text

    stopped, running, text = asyncio.run(run())
    assert (stopped, running, bool(text)) == (True, True, True)
    wait_for_none()


def test_a_server_that_dies_is_started_anew(engine) -> None:
    engine.ask(question("hello"), FOR)
    (pid,) = servers()
    os.kill(pid, signal.SIGKILL)
    assert engine.ask(question("hello again"), FOR).response.text
    assert servers() != [pid]


def test_it_dies_with_the_process_that_asked(tmp_path: Path) -> None:
    program = """
        import os, signal, sys
        from pathlib import Path
        from flywheel.lm import *
        engine = Engine({}, Journal(Path(sys.argv[1])))
        engine.ask(Request((Message("user", "hello"),), max_tokens=5), Purpose(Role.JUDGE, "test"))
        print("answered", flush=True)
        os.kill(os.getpid(), signal.SIGKILL)
    """
    argv = [sys.executable, "-c", dedent(program), str(tmp_path / "journal.sqlite")]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=120)
    assert done.stdout == "answered\n"
    assert done.returncode == -signal.SIGKILL
    wait_for_none()


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"GGUF" + bytes(2000), "bad GGUF version: 0"),
        (b"PK\3\4 no model", "invalid magic"),
        (b"", ""),
    ],
)
def test_a_file_that_is_no_model_is_an_error_and_no_hang(
    tmp_path: Path, content: bytes, said: str
) -> None:
    bad = tmp_path / "bad.gguf"
    bad.write_bytes(content)
    journal = Journal(tmp_path / "journal.sqlite")
    profiles = {"default": LMProfile(model=f"local/{bad}")}
    with Engine(profiles, journal) as one, pytest.raises(LMError) as caught:
        one.ask(question("hello"), FOR)
    assert caught.value.failure == "invalid-request"
    assert f"{bad} cannot be served" in (caught.value.cause or "")
    assert said in (caught.value.cause or "")
    # It is no matter of trying again.
    assert [call.status for call in journal.calls()] == ["invalid-request"]
    journal.close()
    wait_for_none()


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal.sqlite")
    missing = {"default": LMProfile(model="local/nowhere.gguf")}
    with (
        Engine(missing, journal) as one,
        pytest.raises(UsageError, match=r"nowhere\.gguf is no file"),
    ):
        one.ask(question("hello"), FOR)
    journal.close()


def test_another_model_under_the_same_name_is_another_server(tmp_path: Path) -> None:
    file = tmp_path / "mine.gguf"
    profile = Profile("mine", LMProfile(model=f"local/{file}"))
    # As long as before, and changed where training changes it: in the last of its weights.
    seen = set()
    for content in (b"GGUF" + bytes(3 << 20), b"GGUF" + bytes((3 << 20) - 1) + b"x", b"GGUF"):
        file.write_bytes(content)
        seen.add(LocalBackend(profile).server)
    assert len(seen) == 3
    file.write_bytes(b"GGUF")
    assert LocalBackend(profile).server in seen


def test_anthropics_own_library_talks_to_the_same_server() -> None:
    async def run() -> tuple[str, str]:
        backend = LocalBackend(Profile("local", LMProfile(model="local")))
        whole = await backend.complete(question("hello"))
        profile = Profile("claude", LMProfile(model="anthropic/small", max_tokens=20))
        claude = ours.AnthropicBackend(profile, key=None, address=backend.address)
        pieces: list[str] = []
        # Where an answer begins with half a character, as many faces do, the server leaves out what
        # a stream begins with: it is asked for one that does not.
        asked = question("What is the capital of France?", temperature=0.0)
        answer = await claude.complete(asked, on_text=pieces.append)
        assert "".join(pieces) == answer.text
        assert answer.usage.output_tokens
        await claude.close()
        await backend.close()
        return whole.text, answer.text

    assert all(asyncio.run(run()))
