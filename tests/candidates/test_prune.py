"""Pruning: each reason, and what passes."""

from __future__ import annotations

import time

import pytest

from flywheel.candidates.module import Edit
from flywheel.candidates.mutate import Site, sites
from flywheel.candidates.operators import by_name, select
from flywheel.candidates.prune import Pruned, Pruner, fingerprint
from flywheel.core.records import Span


def site(source: bytes, before: bytes, after: str) -> Site:
    start = source.index(before)
    span = Span(start, start + len(before))
    line = source.count(b"\n", 0, start) + 1
    return Site("test", Edit(span, after), line, line, "f", Span(0, len(source)), line, line)


SOURCE = b'''class A:
    """Doc."""

    n = 1

    def f(self, a):
        """Say."""
        x: int = a + 1
        return x

    def g(self): return 2


def h(a):
    if a: return 1
    return None
'''


def test_a_change_on_no_covered_line_is_uncovered() -> None:
    change = site(SOURCE, b"a + 1", "a - 1")
    assert Pruner().reason("a.py", SOURCE, change, {1, 2}) is Pruned.UNCOVERED
    assert Pruner().reason("a.py", SOURCE, change, {8}) is None


@pytest.mark.parametrize("after", ["a +", "(yield", "a; continue", "a\0"])
def test_what_cannot_be_compiled_is_unparsable(after: str) -> None:
    change = site(SOURCE, b"a + 1", after)
    assert Pruner().reason("a.py", SOURCE, change) is Pruned.UNPARSABLE


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (b"a + 1", "(a + 1)  # more"),
        (b"int", "str"),
        (b'"""Say."""', '"""Told."""'),
        (b'"""Doc."""', "'''Other.'''"),
        (b"return None", "pass"),
        (b"if a: return 1", "if a:\n        return 1"),
        (b"n = 1", "n = (1)"),
    ],
)
def test_what_compiles_to_the_same_is_same_bytecode(before: bytes, after: str) -> None:
    change = site(SOURCE, before, after)
    assert Pruner().reason("a.py", SOURCE, change) is Pruned.SAME_BYTECODE


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (b"a + 1", "a + 1.0"),
        (b"a + 1", "a + True"),
        (b"n = 1", "n = 2"),
        (b"def g(self): return 2", "pass"),
        (b"return 2", "return '2'"),
        (b"return None", "return False"),
    ],
)
def test_what_changes_behaviour_passes(before: bytes, after: str) -> None:
    assert Pruner().reason("a.py", SOURCE, site(SOURCE, before, after)) is None


def test_the_same_file_twice_is_a_duplicate() -> None:
    pruner = Pruner()
    assert pruner.reason("a.py", SOURCE, site(SOURCE, b"a + 1", "a")) is None
    assert pruner.reason("a.py", SOURCE, site(SOURCE, b" + 1", "")) is Pruned.DUPLICATE
    assert pruner.reason("b.py", SOURCE, site(SOURCE, b" + 1", "")) is None


def test_the_same_tree_in_another_layout_is_a_duplicate() -> None:
    pruner = Pruner()
    assert pruner.reason("a.py", SOURCE, site(SOURCE, b"a + 1", "a * 2")) is None
    assert pruner.reason("a.py", SOURCE, site(SOURCE, b"a + 1", "(a*2)")) is Pruned.DUPLICATE


def test_two_removed_methods_are_two_candidates() -> None:
    source = b"class A:\n    def f(self): return 1\n    def g(self): return 2\n    x = 1\n"
    pruner = Pruner()
    found = list(sites(source, [by_name("method-dropped")]))
    assert [pruner.reason("a.py", source, one) for one in found] == [None, None]


def test_a_private_name_and_super_keep_their_class_when_a_method_is_compiled_alone() -> None:
    source = b"class A(B):\n    def f(self):\n        return super().f(self.__x, 1)\n"
    pruner = Pruner()
    assert pruner.reason("a.py", source, site(source, b"__x", "_A__x")) is Pruned.SAME_BYTECODE


def test_a_future_import_holds_for_a_function_compiled_alone() -> None:
    source = b"from __future__ import annotations\n\n\ndef f(a: int):\n    return a\n"
    assert Pruner().reason("a.py", source, site(source, b"int", "( int )")) is Pruned.SAME_BYTECODE
    assert fingerprint(b"x = 1") == fingerprint(b"\n\nx  =  1 # one")


def test_a_small_function_of_a_long_module_is_compared_quickly() -> None:
    source = b"".join(b"def f%d(a):\n    return a < %d\n\n\n" % (n, n) for n in range(500))
    pruner = Pruner()
    found = list(sites(source, select(["comparison"])))
    pruner.reason("a.py", source, found[0])
    started = time.process_time()
    for one in found[1:]:
        assert pruner.reason("a.py", source, one) is None
    each = (time.process_time() - started) / (len(found) - 1)
    assert each < 0.002  # measured 0.15 ms; the bound leaves room for a slow machine


@pytest.mark.parametrize(
    ("changed", "incomplete"),
    [
        (b"x = gone\n", True),
        (b"x = len(__file__)\n", False),
        (b"class A:\n    name = __qualname__\n    def f(self):\n        return __class__\n", False),
        (b"import os.path as p, sys.x\ntry:\n    p\nexcept sys as e:\n    e\n", False),
        (b"match 1:\n    case {1: a, **b}:\n        a, b\n    case [*c] | c:\n        c\n", False),
        (b"def f(a, *b, c=1, **d):\n    return a, b, c, d, f\n", False),
        (b'x = "\\d"\n', False),
    ],
)
def test_a_change_is_incomplete_where_it_names_what_nothing_binds(
    changed: bytes, incomplete: bool
) -> None:
    assert Pruner().incomplete("a.py", b"x = 1\n", changed) is incomplete
