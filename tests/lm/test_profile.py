"""What a profile says where nobody else does."""

from __future__ import annotations

from pathlib import Path

import pytest

from flywheel.core.settings import LMProfile
from flywheel.lm import Engine, Journal, Message, Request, Role
from flywheel.lm.backends import local
from flywheel.lm.profile import SHORT, Profile


@pytest.mark.parametrize(
    ("settings", "tokens"),
    [
        ({"model": "local"}, SHORT),
        ({"model": "local", "max_tokens": 2048}, 2048),
        ({"model": "local/of-ones-own.gguf"}, 2048),
        ({"model": "anthropic/claude-sonnet-4-6"}, 2048),
        ({"model": "anthropic/claude-sonnet-4-6", "max_tokens": 64}, 64),
    ],
)
def test_only_the_small_model_ends_early_where_nobody_says_how_long_an_answer_may_be(
    settings: dict[str, object], tokens: int
) -> None:
    profile = Profile("student", LMProfile(**settings))  # type: ignore[arg-type]  # passed on
    assert profile.tokens == tokens


@pytest.mark.skipif(not local.installed(), reason="the local model is not installed")
@pytest.mark.parametrize(("asked", "given"), [(None, SHORT), (900, 900), (5000, 2048)])
def test_a_question_that_says_how_long_its_answer_may_be_is_held_to_the_profile_alone(
    tmp_path: Path, asked: int | None, given: int
) -> None:
    journal = Journal(tmp_path / "journal.sqlite")
    with Engine({}, journal) as engine:
        request = Request((Message("user", "hello"),), max_tokens=asked)
        reserved = engine.estimate(Role.STUDENT, [request])
    journal.close()
    assert reserved.tokens - request.estimated_tokens == given
