"""Wrong fixes: what is made of a function, and what is not."""

from __future__ import annotations

from textwrap import dedent

import pytest

from flywheel.candidates import PythonLanguage
from flywheel.candidates.wrong import Kind, WrongFix, wrong_fixes
from flywheel.core.identity import bytes_hash

TRIVIAL = (Kind.EMPTY, Kind.EARLY)


def made(
    source: str,
    symbol: str,
    *,
    mutants: int = 0,
    seed: int = 0,
    lines: set[int] | None = None,
) -> tuple[WrongFix, ...]:
    return wrong_fixes(
        "a.py",
        dedent(source).encode(),
        [symbol],
        language=PythonLanguage(),
        mutants=mutants,
        seed=seed,
        lines=lines,
    )[symbol]


def bad(source: str, symbol: str) -> dict[str, str]:
    """The wrong definitions by what made them."""
    return {one.candidate.operator: one.candidate.bad for one in made(source, symbol)}


def test_a_function_is_emptied_and_left_early() -> None:
    source = '''
        def f(a, b):
            """Say."""
            c = a + b  # both
            return c
        '''
    head = 'def f(a, b):\n    """Say."""\n'
    rest = "    c = a + b  # both\n    return c"
    assert bad(source, "f") == {
        "empty-body": f"{head}    pass",
        "return-argument-first": f"{head}    return a\n{rest}",
        "return-second": f"{head}    c = a + b  # both\n    return\n    return c",
        "return-argument-second": f"{head}    c = a + b  # both\n    return a\n    return c",
    }


@pytest.mark.parametrize(
    "source",
    [
        "def f(a):\n    pass\n",
        "def f(a): return None\n",
        'def f(a):\n    """Only this."""\n',
        "def f(a):\n    ...\n",
    ],
)
def test_what_is_empty_is_not_emptied(source: str) -> None:
    assert "empty-body" not in bad(source, "f")


def test_what_returns_its_argument_is_not_made_to_return_it() -> None:
    assert list(bad("def f(a):\n    return a\n", "f")) == ["empty-body"]


def test_the_object_of_a_method_is_no_argument_of_it() -> None:
    source = """
        class A:
            def f(self, x):
                return x + 1
            @staticmethod
            def s(x):
                return x + 1
            def n(self):
                return self.x
        """
    assert "return x\n" in bad(source, "A.f")["return-argument-first"]
    assert "return x\n" in bad(source, "A.s")["return-argument-first"]
    assert list(bad(source, "A.n")) == ["empty-body"]


def test_a_generator_gives_nothing_in_two_ways() -> None:
    source = "def f(n):\n    for i in range(n):\n        yield i\n"
    found = bad(source, "f")
    assert list(found) == ["empty-body", "return-first"]
    assert "    return\n    for i" in found["return-first"]
    outer = "def f(n):\n    def g():\n        yield 1\n    return g\n"
    assert "return-first" not in bad(outer, "f")


def test_functions_on_one_line_and_with_other_line_ends_are_changed_too() -> None:
    one_line = bad("def f(a): b = a; return b\n", "f")
    assert one_line["return-second"] == "def f(a): b = a; return; return b"
    assert one_line["empty-body"] == "def f(a): pass"
    windows = bad("def f(a):\r\n    b = a\r\n    return b\r\n", "f")
    assert windows["return-second"] == "def f(a):\r\n    b = a\r\n    return\r\n    return b"


def test_a_change_before_an_inner_function_is_of_the_outer_one() -> None:
    source = """
        def f(a):
            @deco
            def g(b):
                return b
            return g(a)
        """
    found = made(source, "f")
    assert {one.candidate.symbol for one in found} == {"f"}
    first = next(one.candidate for one in found if one.candidate.operator.endswith("nt-first"))
    assert first.bad.startswith("def f(a):\n    return a\n    @deco\n    def g(b):")


def test_mutants_are_drawn_by_the_seed_and_of_the_definition_alone() -> None:
    source = "def f(a, b):\n    return a * 2 + b * 3 - 4\n\ndef g(a):\n    return a + 1\n"
    drawn = [one for one in made(source, "f", mutants=5) if one.kind is Kind.MUTANT]
    assert len(drawn) == 5
    assert {one.candidate.symbol for one in drawn} == {"f"}
    assert len({one.candidate.candidate_id for one in drawn}) == 5
    # A harvest knows them by the same identity.
    assert {one.candidate.source for one in drawn} == {"mutated"}
    assert {one.candidate.base_hash for one in drawn} == {bytes_hash(source.encode())}
    again = [one for one in made(source, "f", mutants=5) if one.kind is Kind.MUTANT]
    assert again == drawn
    other = [one for one in made(source, "f", mutants=5, seed=1) if one.kind is Kind.MUTANT]
    assert other != drawn
    everything = [one for one in made(source, "f", mutants=999) if one.kind is Kind.MUTANT]
    assert len(everything) > 10
    assert drawn == everything[:5]


def test_what_no_test_runs_is_left_out() -> None:
    source = "def f(a):\n    if a:\n        return a + 1\n    return a - 1\n"
    lines = {one.candidate.line for one in made(source, "f", mutants=99, lines={1, 2, 4})}
    assert lines == {2, 4}
    assert made(source, "f", mutants=99, lines={99}) == ()


def test_what_is_no_function_has_mutants_only() -> None:
    source = "class A:\n    n = 1\n\n    def f(self):\n        return 2\n\nm = 3\n"
    for symbol, line in (("A", 2), ("<module>", 7)):
        found = made(source, symbol, mutants=99)
        assert {one.kind for one in found} == {Kind.MUTANT}
        assert line in {one.candidate.line for one in found}


def test_two_definitions_of_one_name_are_both_tried() -> None:
    source = """
        class A:
            @property
            def x(self):
                return self._x
            @x.setter
            def x(self, value):
                self._x = value + 1
        """
    found = [one for one in made(source, "A.x") if one.kind is Kind.EMPTY]
    assert len(found) == 2


def test_every_wrong_fix_compiles_and_is_marked_as_no_example() -> None:
    source = """
        async def f(a, *, b=1):
            async with a as c:
                return await c(b)
            return None
        """
    found = made(source, "f", mutants=99)
    assert {one.kind for one in found} == {*TRIVIAL, Kind.MUTANT}
    base = dedent(source)
    for one in found:
        change = one.candidate
        compile(base[: change.span.start] + change.after + base[change.span.end :], "", "exec")
        assert (change.source == "wrong") == (one.kind in TRIVIAL)
