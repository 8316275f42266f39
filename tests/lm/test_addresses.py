"""Where a question goes, and which key goes with it: as the profile says, and nowhere else."""

from __future__ import annotations

from pathlib import Path

import pytest

from flywheel.core.errors import LMError
from flywheel.core.settings import LMProfile
from flywheel.lm import Engine, Journal, Profile, Secrets
from flywheel.lm.backends import meant
from tests.fakes.provider import Behaviour, provider
from tests.fakes.proxy import proxy
from tests.lm.conftest import FOR, question

EVERY = {
    "ANTHROPIC_API_KEY": "key-of-anthropic-0123456789",
    "OPENAI_API_KEY": "key-of-openai-0123456789",
    "MY_KEY": "key-of-mine-0123456789",
}


def ask(folder: Path, environ: dict[str, str] = EVERY, **profile: object) -> str:
    journal = Journal(folder / "journal.sqlite")
    values = {"retries": 0, "timeout": 20, **profile}
    profiles = {"default": LMProfile(**values)}  # type: ignore[arg-type]  # by name
    try:
        with Engine(profiles, journal, secrets=Secrets(environ)) as one:
            return one.ask(question("hello"), FOR).response.text
    finally:
        journal.close()


@pytest.mark.parametrize(
    ("model", "host", "variables"),
    [
        (
            "anthropic/claude-sonnet-4-6",
            "api.anthropic.com:443",
            ("ANTHROPIC_BASE_URL", "ANTHROPIC_API_BASE"),
        ),
        ("openai/gpt-4o-mini", "api.openai.com:443", ("OPENAI_BASE_URL", "OPENAI_API_BASE")),
    ],
)
def test_a_variable_of_the_environment_redirects_nothing(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    model: str,
    host: str,
    variables: tuple[str, ...],
) -> None:
    with provider() as other, proxy() as watching:
        for name in variables:
            monkeypatch.setenv(name, f"{other.address}/v1")
        # What goes out of this machine is seen here, and goes no further.
        for name in ("HTTPS_PROXY", "https_proxy"):
            monkeypatch.setenv(name, watching.address)
        with pytest.raises(LMError):
            ask(tmp_path, model=model)
    assert other.asked == []
    assert set(watching.wanted) == {host}


@pytest.mark.parametrize(
    "model", ["anthropic/claude-sonnet-4-6", "openai/gpt-4o-mini", "gemini/gemini-2.5-flash"]
)
def test_the_providers_key_goes_to_no_other_address_unless_the_profile_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, model: str
) -> None:
    for name, value in EVERY.items():
        monkeypatch.setenv(name, value)
    keys = list(EVERY.values())
    with provider(Behaviour(status=400)) as own:
        base = f"{own.address}/v1"
        with pytest.raises(LMError):
            ask(tmp_path, model=model, api_base=base)
        (first,) = own.headers
        assert not [key for key in keys if key in str(first)]
        with pytest.raises(LMError):
            ask(tmp_path, model=model, api_base=base, api_key_env="MY_KEY")
        second = own.headers[1]
        assert [key for key in keys if key in str(second)] == [EVERY["MY_KEY"]]


def test_a_key_that_ends_with_a_newline_is_sent_without_it(tmp_path: Path) -> None:
    with provider(Behaviour(text="fine")) as own:
        found = ask(
            tmp_path,
            {"MY_KEY": "mine-0123456789\n"},
            model="anthropic/x",
            api_base=own.address,
            api_key_env="MY_KEY",
        )
    assert found == "fine"
    assert "mine-0123456789'" in str(own.headers[0])


def test_a_key_that_is_named_and_not_there_is_an_error_and_no_question(tmp_path: Path) -> None:
    with provider(Behaviour(text="fine")) as own:
        reach = {"model": "anthropic/x", "api_base": own.address}
        # A server of one's own may want none.
        assert ask(tmp_path, {}, **reach) == "fine"
        with pytest.raises(LMError, match="authentication") as caught:
            ask(tmp_path, {"MINE": " "}, **reach, api_key_env="MINE")
    assert "MINE is not set" in (caught.value.cause or "")
    assert len(own.asked) == 1


@pytest.mark.parametrize(
    ("model", "hint"),
    [
        ("anthropic/claude-sonnet-4-6", "export ANTHROPIC_API_KEY=…"),
        ("antropic/claude-sonnet-4-6", "did you mean anthropic/claude-sonnet-4-6?"),
        ("claude-sonnet-4-6", "write the provider first"),
    ],
)
def test_without_a_key_it_says_what_to_do(tmp_path: Path, model: str, hint: str) -> None:
    with pytest.raises(LMError) as caught:
        ask(tmp_path, {}, model=model)
    assert caught.value.failure == "authentication"
    assert hint in (caught.value.hint or "")


@pytest.mark.parametrize(
    ("model", "near"),
    [
        ("anthropic/claude-sonet-4-6", "anthropic/claude-sonnet-4-6"),
        ("openai/gpt-4o-mni", "openai/gpt-4o-mini"),
        ("gemini/gemini-2.5-flsh", "gemini/gemini-2.5-flash"),
        ("anthropic/claude-sonnet-4-6", None),
        ("anthropic/llama", None),
        ("nobody/knows", None),
        ("local/claude.gguf", None),
    ],
)
def test_an_unknown_model_is_likened_to_one_that_is_known(model: str, near: str | None) -> None:
    assert meant(Profile("p", LMProfile(model=model))) == near


@pytest.mark.parametrize("path", ["anthropic/claude-sonet-4-6", "openai/gpt-4o-mni"])
def test_where_the_provider_knows_no_such_model_one_that_is_meant_is_named(
    tmp_path: Path, path: str
) -> None:
    missing = Behaviour(status=404, kind="not_found_error", message="no such thing")
    with provider(missing) as own, pytest.raises(LMError) as caught:
        ask(tmp_path, {}, model=path, api_base=f"{own.address}/v1")
    assert caught.value.failure == "unknown-model"
    assert caught.value.hint in (
        "did you mean anthropic/claude-sonnet-4-6?",
        "did you mean openai/gpt-4o-mini?",
    )
    assert len(own.asked) == 1
