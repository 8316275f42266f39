"""DSPy's programs on our engine: one ledger, one set of limits, DSPy's own errors."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import dspy
import pytest
from dspy.utils import exceptions as said

from flywheel.candidates.written import demonstration_of, signature_of
from flywheel.candidates.written.mode import MODES
from flywheel.core.errors import UsageError
from flywheel.core.settings import LMProfile
from flywheel.lm import Engine, Journal, Purpose, Role, Secrets
from flywheel.lm.backends import local
from flywheel.lm.bridge import held_to, language_model
from tests.fakes.provider import Behaviour, provider

PURPOSE = Purpose(Role.STUDENT, "program")


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    one = Journal(tmp_path / "lm.sqlite")
    yield one
    one.close()


def engine_at(address: str, journal: Journal, **more: object) -> Engine:
    settings = LMProfile(
        model="anthropic/claude-sonnet-4-6",
        api_base=address,
        api_key_env="K",
        retries=0,
        patience=1,
        **more,  # type: ignore[arg-type]  # any of its fields
    )
    return Engine({"student": settings}, journal, secrets=Secrets({"K": "key"}))


def test_a_program_asks_by_the_profile_and_every_call_is_in_the_journal(journal: Journal) -> None:
    answer = Behaviour(text="[[ ## answer ## ]]\nfour\n\n[[ ## completed ## ]]")
    with provider(answer) as served, engine_at(served.address, journal) as engine:
        program = dspy.Predict("question -> answer")
        with dspy.context(lm=language_model(engine, PURPOSE), adapter=dspy.ChatAdapter()):
            assert program(question="2 + 2").answer == "four"
            assert program(question="2 + 2").answer == "four"
    assert len(served.asked) == 1
    assert [one.status for one in journal.calls()] == ["ok", "cached"]
    assert {one.purpose for one in journal.calls()} == {"program"}
    assert {one.role for one in journal.calls()} == {"student"}


def test_another_rollout_is_another_answer(journal: Journal) -> None:
    both = Behaviour(text="one"), Behaviour(text="two")
    with provider(*both) as served, engine_at(served.address, journal) as engine:
        model = language_model(engine, PURPOSE, temperature=1.0)
        first = model("say", rollout_id=1)
        second = model.copy(rollout_id=2)("say")
        again = model("say", rollout_id=1)
    assert (first, second, again) == (["one"], ["two"], ["one"])


@pytest.mark.parametrize(
    ("role", "said", "temperature"),
    [(Role.STUDENT, None, 0.0), (Role.STUDENT, 0.7, None), (Role.PROPOSER, None, None)],
)
def test_a_local_student_is_not_sampled_unless_its_profile_says_so(
    journal: Journal, role: Role, said: float | None, temperature: float | None
) -> None:
    with Engine({"default": LMProfile(model="local", temperature=said)}, journal) as engine:
        model = language_model(engine, Purpose(role, "program"))
        assert model.kwargs.get("temperature") == temperature
        assert language_model(engine, Purpose(role, "program"), temperature=1.0).kwargs[
            "temperature"
        ] == pytest.approx(1.0)


async def _asked(model: dspy.LM) -> object:
    return await model.acall("say")


def test_coroutines_ask_the_same_engine(journal: Journal) -> None:
    import asyncio

    with provider(Behaviour(text="one")) as served, engine_at(served.address, journal) as engine:
        assert asyncio.run(_asked(language_model(engine, PURPOSE))) == ["one"]
    assert len(journal.calls()) == 1


@pytest.mark.parametrize(
    ("does", "kind"),
    [
        (Behaviour(status=401, kind="authentication_error"), said.LMAuthError),
        (Behaviour(status=400, message="Your credit balance is too low"), said.LMBillingError),
        (Behaviour(status=400, message="prompt is too long"), said.ContextWindowExceededError),
        (Behaviour(status=529, kind="overloaded_error"), said.LMServerError),
    ],
)
def test_what_fails_is_one_of_dspys_errors(
    journal: Journal, does: Behaviour, kind: type[Exception]
) -> None:
    with (
        provider(does) as served,
        engine_at(served.address, journal) as engine,
        pytest.raises(kind),
    ):
        language_model(engine, PURPOSE)("say")
    # DSPy does not try again what the engine gave up.
    assert len(served.asked) == 1


def test_a_budget_holds_for_programs_too(journal: Journal) -> None:
    with provider(Behaviour(text="x")) as served:
        settings = LMProfile(
            model="anthropic/claude-sonnet-4-6", api_base=served.address, api_key_env="K"
        )
        with (
            Engine(
                {"student": settings}, journal, max_tokens=10, secrets=Secrets({"K": "key"})
            ) as engine,
            pytest.raises(said.LMBillingError),
        ):
            language_model(engine, PURPOSE)("say")
    assert served.asked == []


def test_a_saved_program_says_who_plays_it_and_holds_no_key(
    journal: Journal, tmp_path: Path
) -> None:
    with provider(Behaviour(text="x")) as served, engine_at(served.address, journal) as engine:
        program = dspy.Predict("question -> answer")
        program.set_lm(language_model(engine, PURPOSE))
        copied = program.deepcopy()
        assert copied.lm("say") == ["x"]
        program.save(tmp_path / "program.json")
    text = (tmp_path / "program.json").read_text()
    assert "student" in text
    assert "key" not in json.loads(text)["lm"]


def test_who_takes_no_grammar_is_asked_without(journal: Journal) -> None:
    with provider(Behaviour(text="x")) as served, engine_at(served.address, journal) as engine:
        with held_to('root ::= "y"'):
            assert language_model(engine, PURPOSE)("say") == ["x"]
        assert "grammar" not in served.asked[0]


@pytest.mark.skipif(not local.installed(), reason="the local model is not installed")
def test_the_small_model_is_held_to_a_grammar(journal: Journal) -> None:
    with Engine({}, journal) as engine:
        model = language_model(engine, PURPOSE, max_tokens=8, temperature=0.0)
        with held_to('root ::= "zebra" [0-9]'):
            (held,) = model("Name a colour.")
        (free,) = model("Name a colour.")
    assert re.fullmatch("zebra[0-9]", held)
    assert "zebra" not in free


def test_a_profile_that_is_not_there_is_said_at_once(journal: Journal) -> None:
    with pytest.raises(UsageError, match="nobody"):
        Engine({}, journal, chosen={Role.STUDENT: "nobody"})


@pytest.mark.parametrize("mode", MODES, ids=lambda mode: mode.name)
def test_every_mode_is_a_signature_with_its_own_words(mode: object) -> None:
    signature = signature_of(mode)  # type: ignore[arg-type]  # one of them
    assert signature.instructions == mode.system  # type: ignore[attr-defined]
    assert "path" in signature.input_fields
    assert "code" in signature.output_fields
    assert all(field.json_schema_extra["desc"] for field in signature.fields.values())
    shown = demonstration_of(mode)  # type: ignore[arg-type]  # one of them
    assert set(shown.inputs().keys()) == set(signature.input_fields)
    assert set(shown.labels().keys()) == set(signature.output_fields)
    assert "clamp" in shown.code or "value" in shown.code


@pytest.mark.skipif(not local.installed(), reason="the local model is not installed")
def test_the_small_model_plays_a_program(journal: Journal) -> None:
    with Engine({}, journal) as engine:
        model = language_model(engine, PURPOSE, max_tokens=32, temperature=0.0)
        (text,) = model("Name a colour.")
    assert text.strip()
    (call,) = journal.calls()
    assert call.model == "local"
    assert call.output_tokens
