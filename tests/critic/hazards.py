"""What goes wrong in warm workers, one tiny module and its tests for each.

`HAZARDS` maps a name to the module `zoo/NAME.py`, its tests `tests/test_NAME.py`, and changes of
the module whose truth plain pytest tells. `ENDINGS` holds those that end or hang the process: a
plain run has no list of failures then, so the tests that must fail are written down.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Hazard:
    """A module, its tests, and changes of it as (before, after)."""

    module: str
    tests: str
    changes: tuple[tuple[str, str], ...]
    only_audit: bool = False
    """No selection by executed lines can see it: the run of the whole suite must."""


@dataclass(frozen=True)
class Ending:
    """A module, its tests, one change, and the names of the tests that then fail."""

    module: str
    tests: str
    change: tuple[str, str]
    failing: tuple[str, ...]
    kind: str
    """Exception class of the first failure."""


HAZARDS = {
    "alias": Hazard(
        "def f(x):\n    return x + 1\n",
        "from zoo.alias import f as g\nfrom zoo import alias\nTABLE = {'f': g}\n"
        "def test_alias(): assert g(1) == 2\n"
        "def test_table(): assert TABLE['f'](1) == 2\n"
        "def test_module(): assert alias.f(1) == 2\n"
        "def test_other(): assert alias.f is g\n",
        (("x + 1", "x - 1"), ("x + 1", "1 + x")),
    ),
    "registered": Hazard(
        """
        import functools
        REGISTRY = {}
        def register(function):
            @functools.wraps(function)
            def wrapper(*args):
                return ("called", function(*args))
            REGISTRY[function.__name__] = wrapper
            return wrapper
        @register
        def double(x):
            return 2 * x
        @register
        def triple(x):
            return 3 * x
        """,
        """
        from zoo.registered import REGISTRY, double, triple
        def test_double(): assert double(2) == ("called", 4)
        def test_triple(): assert REGISTRY["triple"](2) == ("called", 6)
        """,
        (("2 * x", "2 + x + 1"), ("3 * x", "4 * x"), ('("called", function', '("lost", function'),
         ("REGISTRY[function.__name__] = wrapper", "REGISTRY['double'] = wrapper"),
         ("@register\ndef triple", "def triple")),
    ),
    "bound": Hazard(
        """
        import functools
        class Client:
            def __init__(self, base):
                self.base = base
            def get(self, x):
                return self.base + x
            @property
            def twice(self):
                return 2 * self.base
            @classmethod
            def make(cls):
                return cls(7)
            @staticmethod
            def sign(x):
                return -x
        CLIENT = Client(1)
        get = CLIENT.get
        half = functools.partial(CLIENT.get, 10)
        """,
        """
        from zoo.bound import CLIENT, Client, get, half
        def test_get(): assert get(1) == 2
        def test_half(): assert half() == 11
        def test_twice(): assert CLIENT.twice == 2
        def test_make(): assert Client.make().base == 7
        def test_sign(): assert Client.sign(1) == -1
        """,
        (("self.base + x", "self.base - x"), ("2 * self.base", "3 * self.base"),
         ("cls(7)", "cls(8)"), ("return -x", "return x"), ("self.base = base", "self.base = 5"),
         ("    @staticmethod\n", "")),
    ),
    "partials": Hazard(
        """
        import functools
        def scale(x, factor):
            return x * factor
        half = functools.partial(scale, factor=0.5)
        """,
        "from zoo.partials import half\ndef test_half(): assert half(4) == 2\n",
        (("x * factor", "x / factor"), ("factor=0.5", "factor=0.25")),
    ),
    "caching": Hazard(
        """
        import functools
        @functools.lru_cache
        def square(x):
            return x * x
        @functools.lru_cache
        def cube(x):
            return x * x * x
        EIGHT = cube(2)
        class Lazy:
            @functools.cached_property
            def value(self):
                return 5
        LAZY = Lazy()
        """,
        """
        from zoo.caching import LAZY, cube, square
        def test_square(): assert square(3) == 9
        def test_cube(): assert cube(2) == 8
        def test_lazy(): assert LAZY.value == 5
        """,
        (("return x * x\n", "return x + x + 1\n"), ("x * x * x", "x * x + x"),
         ("return 5", "return 6")),
    ),
    "dataclasses_": Hazard(
        """
        from dataclasses import dataclass, field
        @dataclass(order=True)
        class Point:
            x: int
            y: int = field(default=0, compare=False)
            def __post_init__(self):
                self.total = self.x + self.y
        @dataclass(frozen=True, slots=True)
        class Frozen:
            a: int = 1
        """,
        """
        import pytest
        from zoo.dataclasses_ import Frozen, Point
        def test_equal(): assert Point(1, 2) == Point(1, 3)
        def test_total(): assert Point(1, 2).total == 3
        def test_default(): assert Point(1).y == 0
        def test_order(): assert Point(1) < Point(2)
        def test_frozen():
            with pytest.raises(AttributeError):
                Frozen().a = 2
        """,
        (("compare=False", "compare=True"), ("self.x + self.y", "self.x - self.y"),
         ("default=0", "default=1"), ("@dataclass(order=True)", "@dataclass"),
         ("frozen=True, slots=True", "slots=True")),
    ),
    "closures": Hazard(
        """
        def make(n):
            def add(x):
                return x + n
            return add
        add2 = make(2)
        def count():
            total = 0
            def bump():
                nonlocal total
                total += 1
                return total
            return bump
        BUMP = count()
        """,
        """
        from zoo.closures import BUMP, add2, make
        def test_live(): assert add2(1) == 3
        def test_new(): assert make(5)(1) == 6
        def test_bump(): assert BUMP() == 1
        """,
        (("x + n", "x - n"), ("x + n", "x"), ("total += 1", "total += 2"),
         ("total = 0", "total = 4"), ("return add\n", "return lambda x: 0\n")),
    ),
    "generators": Hazard(
        """
        import contextlib
        def numbers(n):
            for i in range(n):
                yield i
        def one():
            yield 1
        @contextlib.contextmanager
        def held(box):
            box.append("in")
            yield box
            box.append("out")
        def ticks():
            n = 0
            while True:
                n += 1
                yield n
        TICKS = ticks()
        """,
        """
        from zoo.generators import TICKS, held, numbers, one
        def test_numbers(): assert list(numbers(3)) == [0, 1, 2]
        def test_empty(): assert list(numbers(0)) == []
        def test_one(): assert list(one()) == [1]
        def test_made_at_import(): assert next(TICKS) == 1
        def test_held():
            box = []
            with held(box): pass
            assert box == ["in", "out"]
        def test_open(): assert iter(one()) is not None
        """,
        (("yield i", "yield i + 1"), ("yield i", "pass"), ("    yield 1", "    return 1"),
         ('box.append("out")', "pass"), ("n += 1", "n += 2"), ("yield box", "return box")),
    ),
    "coroutines": Hazard(
        """
        import asyncio
        async def one():
            await asyncio.sleep(0)
            return 1
        async def two():
            return 1 + await one()
        async def many():
            for i in range(2):
                yield await one() + i
        """,
        """
        import asyncio, inspect
        from zoo.coroutines import many, one, two
        def test_one(): assert asyncio.run(one()) == 1
        def test_two(): assert asyncio.run(two()) == 2
        def test_kind(): assert inspect.iscoroutinefunction(two)
        def test_many():
            async def drain(): return [x async for x in many()]
            assert asyncio.run(drain()) == [1, 2]
        """,
        (("return 1\n", "return 3\n"), ("1 + await one()", "2"), ("await asyncio.sleep(0)", "pass"),
         ("async def two():\n    return 1 + await one()", "def two():\n    return 2"),
         ("yield await one() + i", "await one()")),
    ),
    "slotted": Hazard(
        """
        class Slotted:
            __slots__ = ("a", "b")
            def __init__(self):
                self.a = 1
                self.b = 2
        """,
        """
        from zoo.slotted import Slotted
        def test_a(): assert Slotted().a == 1
        def test_closed(): assert not hasattr(Slotted(), "__dict__")
        """,
        (('("a", "b")', '("a",)'), ('__slots__ = ("a", "b")', "pass"), ("self.a = 1", "self.a = 2"),
         ("self.b = 2", "self.c = 2")),
    ),
    "toplevel": Hazard(
        """
        from math import floor as rounding
        import json as codec
        LIMIT = 10
        NAMES = {"a": 1}
        KEY = lambda x: x + 1
        KEYS = [lambda x: x, lambda x: -x]
        class Base:
            def who(self):
                return "base"
        class Other:
            def who(self):
                return "other"
        class Child(Base):
            SIZE = 3
            def limit(self, n=LIMIT, *, m=2):
                return n + m
        def limited(n):
            return n if n < LIMIT else LIMIT
        def round_(x):
            return rounding(x)
        if LIMIT > 5:
            def pick():
                return "many"
        else:
            def pick():
                return "few"
        """,
        """
        from zoo import toplevel as t
        def test_limited(): assert t.limited(99) == 10
        def test_below(): assert t.limited(1) == 1
        def test_names(): assert t.NAMES["a"] == 1
        def test_key(): assert t.KEY(1) == 2
        def test_keys(): assert t.KEYS[1](1) == -1
        def test_who(): assert t.Child().who() == "base"
        def test_size(): assert t.Child.SIZE == 3
        def test_default(): assert t.Child().limit() == 12
        def test_round(): assert t.round_(1.5) == 1
        def test_pick(): assert t.pick() == "many"
        """,
        (("LIMIT = 10", "LIMIT = 11"), ("LIMIT = 10", "LIMIT = 2"), ('{"a": 1}', '{"a": 2}'),
         ("lambda x: x + 1", "lambda x: x + 2"), ("lambda x: -x", "lambda x: x + 0"),
         ("Child(Base)", "Child(Other)"), ("SIZE = 3", "SIZE = 4"), ("m=2", "m=3"),
         ("import floor as", "import ceil as"), ("import json as codec", "import jsonn as codec"),
         ('"many"', '"more"'), ('"few"', '"none"'), ("n + m", "n - m")),
    ),
    "star": Hazard(
        "__all__ = ['shown', 'other']\ndef shown():\n    return 1\ndef other():\n    return 2\n",
        "from zoo.star import *\ndef test_shown(): assert shown() == 1\n"
        "def test_other(): assert other() == 2\n",
        (("['shown', 'other']", "['shown']"), ("['shown', 'other']", "['shown', 'missing']")),
    ),
    "cases": Hazard(
        """
        CASES = [(1, 1), (2, 4)]
        def more():
            return [3, 4]
        def square(x):
            return x * x
        SKIP = False
        """,
        """
        import pytest
        from zoo import cases
        @pytest.mark.parametrize(("n", "square"), cases.CASES)
        def test_cases(n, square): assert cases.square(n) == square
        @pytest.mark.parametrize("n", cases.more())
        def test_more(n): assert n > 2
        @pytest.mark.skipif(cases.SKIP, reason="asked")
        def test_skipped(): assert True
        def pytest_generate_tests(metafunc):
            if "made" in metafunc.fixturenames:
                metafunc.parametrize("made", [cases.square(2)])
        def test_made(made): assert made == 4
        """,
        (("(2, 4)", "(2, 5)"), ("[(1, 1), (2, 4)]", "[(1, 1)]"), ("[3, 4]", "[3, 1]"),
         ("[3, 4]", "[]"), ("SKIP = False", "SKIP = True"), ("x * x", "x + x"),
         ("x * x", "x ** 3")),
    ),
    "at_import": Hazard(
        """
        def build():
            table = {}
            for n in range(3):
                table[n] = n * n
            return table
        TABLE = build()
        class Meta(type):
            def __new__(mcs, name, bases, body):
                body["tag"] = name.lower()
                return super().__new__(mcs, name, bases, body)
        class Tagged(metaclass=Meta):
            pass
        class Plugin:
            kinds = []
            def __init_subclass__(cls):
                cls.kinds.append(cls.__name__)
        class First(Plugin):
            pass
        def deco(function):
            function.marked = True
            return function
        @deco
        def marked():
            return 1
        """,
        """
        from zoo import at_import as a
        def test_table(): assert a.TABLE == {0: 0, 1: 1, 2: 4}
        def test_tag(): assert a.Tagged.tag == "tagged"
        def test_kinds(): assert a.Plugin.kinds == ["First"]
        def test_marked(): assert a.marked.marked
        """,
        (("n * n", "n + n + 1"), ("range(3)", "range(2)"), ("name.lower()", "name"),
         ("cls.kinds.append(cls.__name__)", "pass"), ("marked = True", "marked = False")),
    ),
    "memo": Hazard(
        """
        _known = {}
        def square(n):
            if n not in _known:
                _known[n] = n * n
            return _known[n]
        """,
        """
        from zoo.memo import square
        def test_first(): assert square(3) == 9
        def test_again(): assert square(3) == 9
        def test_third(): assert square(3) == 9
        """,
        (("n * n", "n + n"),),
    ),
    "memo_of_another": Hazard(
        """
        _known = {}
        def compute(n):
            return n * n
        def square(n):
            if n not in _known:
                _known[n] = compute(n)
            return _known[n]
        """,
        """
        from zoo.memo_of_another import square
        def test_first(): assert square(3) == 9
        def test_again(): assert square(3) == 9
        """,
        (("n * n", "n + n"),),
        only_audit=True,
    ),
    "subtests_": Hazard(
        "def even(n):\n    return n % 2 == 0\n",
        """
        import unittest
        import pytest
        from zoo.subtests_ import even
        class TestEven(unittest.TestCase):
            def test_all(self):
                for n in (0, 2, 4):
                    with self.subTest(n=n):
                        self.assertTrue(even(n))
            def test_none(self):
                self.assertFalse(even(1))
        def test_subtests(subtests):
            for n in (0, 2, 4):
                with subtests.test(n=n):
                    assert even(n)
        @pytest.mark.parametrize("n", [0, 1, 2, 3])
        def test_each(n): assert even(n) == (n in (0, 2))
        """,
        (("n % 2 == 0", "n % 4 == 0"), ("n % 2 == 0", "n < 4 and n % 2 == 0"), ("== 0", "!= 0")),
    ),
    "recursion": Hazard(
        "def depth(n):\n    if n == 0:\n        return 0\n    return 1 + depth(n - 1)\n",
        "from zoo.recursion import depth\ndef test_depth(): assert depth(3) == 3\n"
        "def test_zero(): assert depth(0) == 0\n",
        (("n == 0", "n == -9"), ("n - 1", "n + 1")),
    ),
    "shown": Hazard(
        """
        class Thing:
            def __init__(self, n):
                self.n = n
            def __eq__(self, other):
                return self.n == other.n
            def __repr__(self):
                return "Thing(%d)" % self.n
        class Odd(Exception):
            def __str__(self):
                return "odd"
        def check(n):
            if n % 2:
                raise Odd(n)
            return Thing(n)
        """,
        """
        import pytest
        from zoo.shown import Odd, Thing, check
        def test_equal(): assert check(2) == Thing(2)
        def test_repr(): assert repr(check(2)) == "Thing(2)"
        def test_str():
            with pytest.raises(Odd, match="odd"):
                check(1)
        def test_differs(): assert not (check(2) == Thing(4))
        """,
        (('"Thing(%d)" % self.n', "1 / 0"), ('"Thing(%d)" % self.n', "repr(self)"),
         ('"Thing(%d)" % self.n', '"x" * 20_000_000'), ("self.n == other.n", "self.n is None"),
         ('return "odd"', "return 1 / 0"), ('return "odd"', "return None"), ("n % 2:", "True:")),
    ),
    "fixtures": Hazard(
        """
        LOG = []
        def make(n):
            return [n] * n
        def release(things):
            LOG.append(len(things))
        def base():
            return 1
        """,
        """
        import pytest
        from zoo import fixtures as f
        @pytest.fixture(scope="module")
        def things():
            made = f.make(3)
            yield made
            f.release(made)
            assert f.LOG == [3]
        @pytest.fixture(scope="session")
        def number(): return f.base()
        def test_one(things): assert len(things) == 3
        def test_two(things): assert things[0] == 3
        def test_three(things, number): assert sum(things) == 9 and number == 1
        def test_four(number): assert number + 1 == 2
        def test_five(): assert f.LOG == []
        class TestClass:
            @classmethod
            def setup_class(cls): cls.made = f.make(2)
            def test_six(self): assert self.made == [2, 2]
            def test_seven(self): assert self.made[0] == 2
        """,
        (("[n] * n", "[n + 1] * n"), ("[n] * n", "[]"), ("[n] * n", "1 / 0"),
         ("return 1", "return 2"),
         ("LOG.append(len(things))", "LOG.append(0)")),
    ),
    "processes": Hazard(
        "def value():\n    return 5\ndef other():\n    return 6\n",
        """
        import multiprocessing, subprocess, sys, threading
        from zoo import processes as p
        def run(code):
            return subprocess.run([sys.executable, "-c", code], capture_output=True).stdout
        def test_direct(): assert p.value() == 5
        def test_subprocess():
            assert run("import zoo.processes as p; print(p.value())") == b"5\\n"
        def test_spawn():
            context = multiprocessing.get_context("spawn")
            with context.Pool(1) as pool:
                assert pool.apply(p.value) == 5
        """,
        (("return 5", "return 7"),),
        only_audit=True,
    ),
    "threads": Hazard(
        "def value():\n    return 5\n",
        """
        import threading
        from concurrent.futures import ThreadPoolExecutor
        from zoo.threads import value
        def test_thread():
            got = []
            thread = threading.Thread(target=lambda: got.append(value()))
            thread.start(); thread.join()
            assert got == [5]
        def test_pool():
            with ThreadPoolExecutor(1) as pool:
                assert pool.submit(value).result() == 5
        def test_idle(): assert True
        """,
        (("return 5", "return 7"),),
    ),
    "skipping": Hazard(
        "def ready():\n    return True\ndef broken():\n    return 1\n",
        """
        import pytest
        from zoo.skipping import broken, ready
        def test_ready():
            if not ready(): pytest.skip("not ready")
        def test_is_ready(): assert ready() in (True, None)
        @pytest.mark.xfail
        def test_expected(): assert broken() == 2
        @pytest.mark.xfail(strict=True)
        def test_strict(): assert broken() == 2
        def test_broken(): assert broken()
        """,
        (("return True", "return False"), ("return True", "return None"), ("return 1", "return 2"),
         ("return 1", "return 0")),
    ),
    "surroundings": Hazard(
        """
        import io
        import logging
        import os
        import sys
        import warnings
        def handled():
            return bool(logging.getLogger().handlers)
        def phase():
            return os.environ["PYTEST_CURRENT_TEST"].rsplit("(", 1)[1]
        def loud(text):
            print(text)
            sys.stderr.write(text)
            return sys.stdout
        def hush():
            kept, sys.stdout = sys.stdout, io.StringIO()
            sys.stdout = kept
        def old():
            warnings.warn("old", DeprecationWarning, stacklevel=2)
            return 1
        def shown():
            return len(warnings.filters)
        def give():
            return None
        class Noisy:
            def __del__(self):
                self.fine = 1
        def answer(x):
            return x
        """,
        """
        import logging, sys, unittest, warnings
        import pytest
        from zoo import surroundings as s
        def test_handled():
            logging.basicConfig(level=1)
            logging.getLogger("x").warning("seen")
            assert s.handled() and logging.getLogger().level == logging.WARNING
        def test_level(): assert s.handled() is True
        def test_phase(): assert s.phase() == "call)"
        @pytest.mark.parametrize("n", [1, 2], ids=["odd\\x00", "even"])
        def test_phases(n): assert s.phase() == "call)" and n
        def test_loud(): assert s.loud("x" * 1000) is not None
        def test_hush(): s.hush()
        def test_hushed_no_more():
            assert type(sys.stdout).__name__ != "StringIO" and not sys.stdout.closed
        def test_old():
            with pytest.warns(DeprecationWarning): s.old()
        def test_old_again():
            with warnings.catch_warnings(record=True) as caught: s.old()
            assert len(caught) == 1
        def test_filters():
            warnings.simplefilter("error")
            with pytest.raises(DeprecationWarning): s.old()
        def test_filters_again(): assert s.old() == 1 and s.shown() > 0
        def test_give(): return s.give()
        def test_noisy(): s.Noisy()
        def test_after_noise(): assert True
        def test_skip():
            if s.answer(1) != 1: pytest.skip("changed")
        def test_unittest_skip():
            if s.answer(1) != 1: raise unittest.SkipTest("changed")
        def test_xfail():
            if s.answer(1) != 1: pytest.xfail("changed")
        def test_answer(): assert s.answer([1, 2]) == [1, 2]
        class TestState:
            kept = 0
            def test_first(self):
                self.kept = s.answer(1)
                assert self.kept == 1
            def test_second(self): assert self.kept == 0
        """,
        (("return bool(logging.getLogger().handlers)", "return not logging.getLogger().handlers"),
         ('rsplit("(", 1)[1]', 'rsplit("(", 1)[0]'),
         ("sys.stderr.write(text)", "return None"),
         ("DeprecationWarning, stack", "UserWarning, stack"),
         ("sys.stdout = kept", "pass"), ("sys.stdout = kept", "sys.stdout.close()"),
         ("return len(warnings.filters)", "return 0"),
         ("return None", "return 1"), ("return None", "return answer.__await__"),
         ("self.fine = 1", "raise ValueError"),
         ("return x\n", "return 2\n"), ("return x\n", "return str(x)\n")),
    ),
    "torn_down": Hazard(
        """
        OPEN = []
        def acquire(what):
            OPEN.append(what)
        def release(what):
            OPEN.remove(what)
        """,
        """
        import pytest
        from zoo import torn_down as t
        @pytest.fixture
        def mine():
            t.acquire("mine")
            yield
            t.release("mine")
        class TestA:
            @pytest.fixture(scope="class")
            def ours(self):
                t.acquire("ours")
                yield
                t.release("ours")
            def test_one(self, ours): assert t.OPEN == ["ours"]
            def test_two(self): assert t.OPEN in ([], ["ours"])
        class TestB:
            def test_three(self): assert t.OPEN == []
            def test_four(self, mine): assert t.OPEN == ["mine"]
        def test_five(): assert t.OPEN == []
        class TestC:
            def setup_method(self): t.acquire("method")
            def teardown_method(self): t.release("method")
            def test_six(self): assert t.OPEN == ["method"]
        class TestD:
            def test_seven(self): assert t.OPEN == []
        """,
        (("OPEN.remove(what)", "pass"), ("OPEN.remove(what)", "OPEN[:] = []")),
        only_audit=True,
    ),
    "documented": Hazard(
        '''
        """Doctests.

        >>> plus(1, 1)
        2
        """
        def plus(a, b):
            """Sum.

            >>> plus(2, 3)
            5
            >>> minus(2, 3)
            -1
            """
            return a + b
        def minus(a, b):
            return a - b
        ''',
        "from zoo.documented import minus\ndef test_minus(): assert minus(2, 1) == 1\n",
        (("a + b", "a * b"), ("a - b", "a * b - 3"), ("return a - b", "raise ValueError(a)")),
    ),
    "reloaded": Hazard(
        "def value():\n    return 5\nSOURCE = value.__code__.co_consts\n",
        """
        import copy, importlib, inspect, pickle
        from zoo import reloaded
        def test_reload():
            assert importlib.reload(reloaded).value() == 5
        def test_source(): assert "return 5" in inspect.getsource(reloaded.value)
        def test_pickle(): assert pickle.loads(pickle.dumps(reloaded.value))() == 5
        def test_consts(): assert 5 in reloaded.SOURCE
        def test_plain(): assert reloaded.value() == 5
        """,
        (("return 5", "return 7"),),
        only_audit=True,
    ),
    "rewritten": Hazard(
        "def check(a, b):\n    assert a == b\n    return True\n",
        "from zoo.rewritten import check\nimport pytest\ndef test_check(): assert check(1, 1)\n"
        "def test_message():\n    with pytest.raises(AssertionError, match='1 == 2'):\n"
        "        check(1, 2)\n",
        (("a == b", "a != b"), ("return True", "return False"), ("a == b", "a == b, 'no'")),
    ),
    "dispatch": Hazard(
        """
        import enum, functools
        @functools.singledispatch
        def show(x):
            return "?"
        @show.register
        def _(x: int):
            return "int"
        @show.register
        def _(x: str):
            return "str"
        class Color(enum.Enum):
            RED = 1
            BLUE = 2
            def lower(self):
                return self.name.lower()
        def __getattr__(name):
            if name == "late":
                return 42
            raise AttributeError(name)
        class Private:
            def __hidden(self):
                return 1
            def seen(self):
                return self.__hidden() + 1
            class Inner:
                def deep(self):
                    return [x * 2 for x in range(3) if x]
        """,
        """
        from zoo import dispatch as d
        def test_int(): assert d.show(1) == "int"
        def test_str(): assert d.show("") == "str"
        def test_any(): assert d.show(1.0) == "?"
        def test_color(): assert d.Color.RED.lower() == "red"
        def test_value(): assert d.Color(2) is d.Color.BLUE
        def test_late(): assert d.late == 42
        def test_hidden(): assert d.Private().seen() == 2
        def test_deep(): assert d.Private.Inner().deep() == [2, 4]
        """,
        (('"int"', '"number"'), ("x: str", "x: bytes"), ("name.lower()", "name"),
         ("BLUE = 2", "BLUE = 3"), ("return 42", "return 43"), ('name == "late"', 'name != "late"'),
         ("return 1\n", "return 2\n"), ("x * 2", "x * 3"), (" if x]", "]")),
    ),
    "locals_": Hazard(
        """
        STATE = 0
        def push():
            global STATE
            STATE = STATE + 1
            return STATE
        def pick(flag):
            if flag:
                value = 1
            else:
                value = 2
            return value
        def guard(x):
            try:
                return 1 / x
            except ZeroDivisionError:
                return None
            finally:
                x = 0
        PICKED = pick(False)
        """,
        """
        from zoo import locals_ as m
        def test_push(): assert m.push() == 1
        def test_pick(): assert m.pick(True) == 1
        def test_picked(): assert m.PICKED == 2
        def test_guard(): assert m.guard(0) is None
        def test_guarded(): assert m.guard(1) == 1
        """,
        (("    global STATE\n", ""), ("value = 1", "valu = 1"), ("value = 2", "value = 3"),
         ("if flag:", "if not flag:"), ("except ZeroDivisionError", "except KeyError"),
         ("return None", "return 0"), ("x = 0", "return 9"), ("STATE + 1", "STATE + 2")),
    ),
    "conftested": Hazard(
        "def boot():\n    return 3\ndef used():\n    return 1\n",
        "from zoo.conftested import used\ndef test_used(): assert used() == 1\n"
        "def test_booted(booted): assert booted == 3\n",
        (("return 3", "return 4"), ("return 1", "return 2")),
    ),
}  # fmt: skip

ENDINGS = {
    "exit_hard": Ending(
        "import os\ndef end(n):\n    return 0\n",
        "from zoo.exit_hard import end\ndef test_before(): assert True\n"
        "def test_end(): assert end(0) == 0\ndef test_after(): assert end(1) == 0\n"
        "def test_last(): assert True\n",
        ("return 0", "return os._exit(0) if n == 0 else 1"),
        ("test_end", "test_after"),
        "ProcessDied",
    ),
    "exit_soft": Ending(
        "import sys\ndef end(n):\n    return 0\n",
        "from zoo.exit_soft import end\n"
        "def test_end(): assert end(0) == 0\ndef test_after(): assert end(1) == 0\n",
        ("return 0", "return sys.exit(0) if n == 0 else 1"),
        ("test_end", "test_after"),
        "SystemExit",
    ),
    "segfault": Ending(
        "import ctypes\ndef end():\n    return 0\n",
        "from zoo.segfault import end\ndef test_end(): assert end() == 0\n"
        "def test_after(): assert True\n",
        ("return 0", "return ctypes.string_at(0)"),
        ("test_end",),
        "ProcessDied",
    ),
    "killed": Ending(
        "import os\ndef end():\n    return 0\n",
        "from zoo.killed import end\ndef test_end(): assert end() == 0\n",
        ("return 0", "return os.kill(os.getpid(), 9)"),
        ("test_end",),
        "ProcessDied",
    ),
    "bomb": Ending(
        "def grow(n):\n    return b'x' * n\n",
        "from zoo.bomb import grow\ndef test_grow(): assert len(grow(2)) == 2\n"
        "def test_zero(): assert len(grow(0)) == 0\n",
        ("b'x' * n", "b'x' * (n << 31)"),
        ("test_grow",),
        "OutOfMemory",
    ),
    "endless": Ending(
        "def drain(n):\n    while n:\n        n -= 1\n    return n\n",
        "from zoo.endless import drain\ndef test_drain(): assert drain(3) == 0\n"
        "def test_none(): assert drain(0) == 0\n",
        ("n -= 1", "n = 1"),
        ("test_drain",),
        "Timeout",
    ),
    "swallowed": Ending(
        "def check(n):\n    return n\n",
        "from zoo.swallowed import check\n"
        "def test_patient():\n    while True:\n        try:\n            check(1)\n"
        "            break\n        except BaseException:\n            continue\n"
        "def test_check(): assert check(2) == 2\n",
        ("return n", "raise ValueError(n)"),
        ("test_patient", "test_check"),
        "Timeout",
    ),
    "deadlock": Ending(
        "import threading\nLOCK = threading.Lock()\ndef locked():\n"
        "    with LOCK:\n        return 1\n",
        "from zoo.deadlock import locked\ndef test_locked(): assert locked() == 1\n"
        "def test_idle(): assert True\n",
        ("return 1", "return LOCK.acquire()"),
        ("test_locked",),
        "Timeout",
    ),
    "sleeping": Ending(
        "import time\ndef rest(n):\n    time.sleep(n)\n    return n\n",
        "from zoo.sleeping import rest\ndef test_rest(): assert rest(0.01) < 1\n",
        ("sleep(n)", "sleep(n * 100000)"),
        ("test_rest",),
        "Timeout",
    ),
    "c_loop": Ending(
        "def total(n):\n    return sum(range(n))\n",
        "from zoo.c_loop import total\ndef test_total(): assert total(3) == 3\n",
        ("range(n)", "range(n * 10**13)"),
        ("test_total",),
        "Timeout",
    ),
    "flood": Ending(
        "def say(n):\n    return n\n",
        "from zoo.flood import say\ndef test_say(): assert say(1) == 1\n",
        ("return n", "return [__import__('os').write(1, b'x' * 65536) for _ in range(9999)]"),
        ("test_say",),
        "OutputFlood",
    ),
}
CONFTEST = """
import pytest
pytest.register_assert_rewrite("zoo.rewritten")
from zoo.conftested import boot
BOOTED = boot()

@pytest.fixture
def booted():
    return BOOTED
"""
"""The root conftest of the zoo: it imports a module of the package and calls it."""
