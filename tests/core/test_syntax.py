"""Threads parse side by side, and none is told of another's depth."""

from __future__ import annotations

import ast

import pytest

from flywheel.core.syntax import parse

MISMATCH = "AST constructor recursion depth mismatch (before=42, after=41)"


def test_a_mismatch_that_another_thread_made_is_parsed_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    real, told = ast.parse, [SystemError(MISMATCH)] * 2

    def disturbed(source: str | bytes) -> ast.Module:
        if told:
            raise told.pop()
        return real(source)

    monkeypatch.setattr(ast, "parse", disturbed)
    assert ast.unparse(parse("x=1")) == "x = 1"
    assert ast.unparse(parse(b"x=2")) == "x = 2"
    told[:] = [SystemError(MISMATCH)] * 9
    with pytest.raises(SystemError, match="mismatch"):
        parse("x=1")


def test_what_is_no_python_is_said_as_python_says_it() -> None:
    with pytest.raises(SyntaxError):
        parse("x =")
    with pytest.raises(RecursionError):
        parse("-" * 3500 + "1")
