"""Operators: each one's own examples, and every site over big real files."""

from __future__ import annotations

import ast
import subprocess
import sys
import sysconfig
import warnings
from bisect import bisect_left
from collections import Counter
from pathlib import Path

import pytest

from flywheel.candidates.language import GrammarLanguage, Language, PythonLanguage
from flywheel.candidates.module import Definition, Edit, Module
from flywheel.candidates.mutate import MODULE_SYMBOL, Site, candidate, sites
from flywheel.candidates.operator import Described, Example, Operator
from flywheel.candidates.operators import all_operators, by_name, collect, families, select
from flywheel.core.errors import UsageError
from flywheel.core.patch import unified_patch

STDLIB = Path(sysconfig.get_paths()["stdlib"])
REAL_FILES = [
    pytest.param("argparse.py", marks=pytest.mark.slow),
    pytest.param("asyncio/base_events.py", marks=pytest.mark.slow),
    pytest.param("email/_header_value_parser.py", marks=pytest.mark.slow),
    "asyncio/streams.py",
    "dataclasses.py",
    "email/message.py",
    "textwrap.py",
]
FAMILIES = {
    "arithmetic",
    "assignment",
    "async",
    "boolean",
    "call-arguments",
    "collection",
    "comparison",
    "constant",
    "context-manager",
    "control-flow",
    "decorator",
    "default-argument",
    "exception",
    "inheritance",
    "loop",
    "return",
    "slice-index",
    "statement",
    "string",
    "type-coercion",
    "variable-misuse",
}
CRITICS = Path(__file__).parents[2] / "critics"
LANGUAGES: list[tuple[str, Language, str]] = [
    ("python", PythonLanguage(), "a.py"),
    *(
        (path.parent.name, language, f"a{grammar.suffixes[0]}")
        for path in sorted(CRITICS.glob("*/operators.toml"))
        for language in [GrammarLanguage.load(path)]
        for grammar in language.rules.grammar
    ),
]
"""Name, language and a file's name, once for each grammar."""
ALL_EXAMPLES = [
    pytest.param(language, path, operator, example, id=f"{path[2:]}-{operator.name}-{number}")
    for _, language, path in LANGUAGES
    for operator in language.operators
    for number, example in enumerate(operator.examples)
]


def applied(source: bytes, edit: Edit) -> bytes:
    return source[: edit.span.start] + edit.text.encode() + source[edit.span.end :]


def made_by(name: str, source: str) -> list[str]:
    data = source.encode()
    return [applied(data, site.edit).decode() for site in sites(data, [by_name(name)])]


def compiles(source: bytes) -> bool:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            compile(source, "", "exec", dont_inherit=True)
        except SyntaxError:
            return False
    return True


def bare_strings_and_annotations(tree: ast.Module) -> list[ast.expr]:
    """Every docstring, string under an attribute and annotation of a file."""
    found: list[ast.expr | None] = []
    for node in ast.walk(tree):
        match node:
            case ast.Expr(value=ast.Constant(value=str()) as text):
                found.append(text)
            case ast.arg(annotation=annotation) | ast.AnnAssign(annotation=annotation):
                found.append(annotation)
            case ast.FunctionDef(returns=returns) | ast.AsyncFunctionDef(returns=returns):
                found.append(returns)
    return [node for node in found if node is not None]


@pytest.mark.parametrize(("language", "path", "operator", "example"), ALL_EXAMPLES)
def test_an_operator_makes_the_after_of_each_of_its_examples(
    language: Language, path: str, operator: Described, example: Example
) -> None:
    # Examples in a table of operators leave the last newline out.
    end = "" if example.before.endswith("\n") else "\n"
    source, after = ((text + end).encode() for text in (example.before, example.after))
    assert language.parses(path, source)
    found = language.sites(path, source, {operator.name})
    results = {applied(source, site.edit): site for site in found}
    assert after in results
    for result, site in results.items():
        assert language.parses(path, result), result.decode()
        start, end = site.edit.span.start, site.edit.span.end
        assert result[:start] == source[:start]
        assert result.endswith(source[end:])


def test_there_are_at_least_fifty_operators_over_all_families() -> None:
    assert len(all_operators()) >= 50
    assert set(families()) == FAMILIES


@pytest.mark.parametrize("language", [language for _, language, _ in LANGUAGES])
def test_every_operator_says_what_mistake_it_imitates_and_has_two_examples(
    language: Language,
) -> None:
    for operator in language.operators:
        assert operator.description.endswith("."), operator.name
        assert len(operator.examples) >= 2, operator.name


@pytest.mark.parametrize("name", sorted({name for name, _, _ in LANGUAGES}))
def test_every_language_has_operators_of_every_common_family(name: str) -> None:
    language = next(language for other, language, _ in LANGUAGES if other == name)
    assert len(language.operators) >= 20
    assert {operator.family for operator in language.operators} >= {
        "arithmetic",
        "boolean",
        "call-arguments",
        "collection",
        "comparison",
        "constant",
        "control-flow",
        "exception",
        "loop",
        "return",
        "slice-index",
        "statement",
        "string",
        "variable-misuse",
    }
    assert {operator.family for operator in language.operators} <= FAMILIES


def test_importing_the_registry_imports_no_operator() -> None:
    code = (
        "import sys, flywheel.candidates.operators as o;"
        "sys.exit(any(m.startswith(o.__name__ + '.') for m in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_two_operators_with_one_name_are_refused() -> None:
    class Twin(Operator[ast.Call]):
        """One more."""

        name = "min-max"

    with pytest.raises(ValueError, match="two operators are named 'min-max'"):
        collect([type(by_name("min-max")), Twin])


def test_an_unknown_operator_is_answered_with_the_nearest_names() -> None:
    with pytest.raises(UsageError, match="Did you mean comparison-boundary") as caught:
        by_name("comparision-boundry")
    assert "min-max" in (caught.value.cause or "")


def test_a_selection_takes_names_families_globs_and_exclusions() -> None:
    def names(*patterns: str) -> set[str]:
        return {operator.name for operator in select(patterns)}

    assert names("min-max") == {"min-max"}
    assert names("comparison") == {operator.name for operator in families()["comparison"]}
    assert names("except-*") == {"except-widened", "except-narrowed", "except-type-changed"}
    assert "min-max" not in names("arithmetic", "!min-max")
    assert len(names("!loop")) == len(all_operators()) - len(families()["loop"])
    assert len(names()) == len(all_operators())
    with pytest.raises(UsageError, match="Did you mean"):
        names("comparisn")
    with pytest.raises(UsageError, match="no operator is left"):
        names("loop", "!loop")


@pytest.mark.parametrize("name", REAL_FILES)
def test_every_site_of_a_real_file_is_a_sound_edit(name: str) -> None:
    source = (STDLIB / name).read_bytes()
    module = Module(source)
    untouchable = [module.span(node) for node in bare_strings_and_annotations(module.tree)]
    untouchable.sort(key=lambda span: span.end)
    ends = [span.end for span in untouchable]
    broken: Counter[str] = Counter()
    found = list(sites(source, all_operators()))
    lines = source.splitlines()
    units: dict[bytes, bool] = {}
    for site in found:
        span = site.edit.span
        assert 0 <= span.start <= span.end <= len(source)
        assert site.edit.text.encode() != source[span.start : span.end]
        assert 1 <= site.line <= site.end_line <= len(lines)
        assert site.extent.start <= span.start <= span.end <= site.extent.end
        for taboo in untouchable[bisect_left(ends, span.start + 1) :][:1]:
            assert not (taboo.start <= span.start and span.end <= taboo.end), site
        # Compiling the smallest definition alone is enough, and a file of thousands of sites
        # is not compiled thousands of times; where it fails, the whole file decides.
        record = candidate(name, source, site)
        bad = record.bad.encode()
        alone = bad if record.bad[:1].strip() else b"if 1:\n" + bad
        if alone not in units:
            units[alone] = compiles(alone) or compiles(applied(source, site.edit))
        broken[site.operator] += not units[alone]
    share = 1 - broken.total() / len(found)
    assert share >= 0.999, f"{share:.2%} compile; offenders: {broken.most_common(5)}"


def test_a_candidate_tells_the_change_whole() -> None:
    source = (STDLIB / "textwrap.py").read_bytes()
    for site in sites(source, select(["control-flow", "inheritance", "statement", "constant"])):
        record = candidate("lib/textwrap.py", source, site)
        after = applied(source, site.edit)
        assert record.before.encode() == source[record.span.start : record.span.end]
        assert record.good != record.bad
        assert record.patch == unified_patch("lib/textwrap.py", after, source)
        if record.symbol != MODULE_SYMBOL:
            last = record.symbol.rpartition(".")[2]
            assert f"def {last}" in record.good or f"class {last}" in record.good


def only(name: str, source: str) -> Site:
    (site,) = sites(source.encode(), [by_name(name)])
    return site


def test_the_symbol_is_the_smallest_definition_and_a_method_is_dedented() -> None:
    source = "class A:\n    def f(self):\n        # why\n        return 1 < 2\n\n\nx = 1\n"
    site = only("comparison-boundary", source)
    record = candidate("a.py", source.encode(), site)
    assert record.symbol == "A.f"
    assert record.good == "def f(self):\n    # why\n    return 1 < 2"
    assert record.bad == "def f(self):\n    # why\n    return 1 <= 2"
    assert (record.line, record.end_line) == (4, 4)


def test_the_symbol_of_a_removed_method_is_its_class() -> None:
    source = "class A:\n    x = 1\n    def f(self):\n        return 1\n"
    record = candidate("a.py", source.encode(), only("method-dropped", source))
    assert record.symbol == "A"
    assert record.bad == "class A:\n    x = 1"


def test_the_extent_at_module_level_is_the_whole_statement() -> None:
    source = "y = 0\nif a:\n    x = 1 < 2\nz = 0\n"
    record = candidate("a.py", source.encode(), only("comparison-boundary", source))
    assert record.symbol == MODULE_SYMBOL
    assert record.good == "if a:\n    x = 1 < 2"


def test_decorators_belong_to_the_definition() -> None:
    source = "@a(1 < 2)\ndef f():\n    pass\n"
    record = candidate("a.py", source.encode(), only("comparison-boundary", source))
    assert (record.symbol, record.good) == ("f", source.rstrip("\n"))


def test_a_method_that_cannot_be_indented_back_is_kept_as_written() -> None:
    source = "class A:\n    def f(self):\n        return 1 < 2, '''\nx'''\n"
    record = candidate("a.py", source.encode(), only("comparison-boundary", source))
    assert record.good.startswith("    def f")


@pytest.mark.parametrize(
    "source",
    [
        'def f():\n    "a, b"\n',
        "def f(a: 'x < 1') -> y[0]: ...\n",
        "x: a[0] < 1\n",
        "__all__ = ['a', 'b']\n__all__ += ['c', 'd']\n",
        "if TYPE_CHECKING:\n    x = f(1, 2)\n",
        "if __name__ == '__main__':\n    f(1, 2)\n",
        "T = TypeVar('T', bound=int)\n",
        "@overload\ndef f(a=1): ...\n",
        "x = f'{a < 1} {b[0]}' \"c\"\n",
    ],
)
def test_what_is_no_behaviour_is_never_mutated(source: str) -> None:
    kinds = [o for o in all_operators() if o.name != "fstring-prefix-dropped"]
    assert list(sites(source.encode(), kinds)) == []


@pytest.mark.parametrize(
    ("name", "before", "after"),
    [
        ("comparison-boundary", "x = 'é' + (a < b)\n", "x = 'é' + (a <= b)\n"),
        ("comparison-boundary", "\ufeffx = a < b\n", "\ufeffx = a <= b\n"),
        ("guard-dropped", "if a:\r\n\treturn_\r\n\traise b\r\nc\r\n", "c\r\n"),
        ("loop-cut-short", "for a in b:\r\n\tc\r\n", "for a in b:\r\n\tc\r\n\tbreak\r\n"),
        ("call-statement-dropped", "if a: f(); x = 1\n", "if a: pass; x = 1\n"),
        ("return-value-lost", "def f(): return (1)\n", "def f(): return\n"),
        ("equality-identity", "x = a==b\n", "x = a is b\n"),
        ("ternary-swapped", 'x = a if b else"c"\n', 'x = "c" if b else a\n'),
        ("elif-to-if", "if a:\n    b\nelif c:\n    d\n", "if a:\n    b\nif c:\n    d\n"),
        ("branch-dropped", "if a:\n    b\nelif c:\n    d\n", None),
        ("guard-dropped", "if a:\n    b\nelif c:\n    raise d\n", None),
        ("not-dropped", "x = a ** (not b)\n", "x = a ** (b)\n"),
        ("none-check-to-truth", "x = (a or b) is None\n", "x = not (a or b)\n"),
        ("call-statement-dropped", "x = 1; \\\nf()\n", "x = 1; \\\npass\n"),
        ("number-off-by-one", "x = a**0\n", "x = a**-1\n"),
        ("coercion-dropped", "x = str(a or b).c\n", "x = (a or b).c\n"),
        ("condition-dropped", "if a:\n    b = '''\n    c'''\n", None),
        ("call-statement-dropped", "def f():\n    'doc'\n    g()\n", "def f():\n    'doc'\n"),
    ],
)
def test_layout_and_precedence_survive(name: str, before: str, after: str | None) -> None:
    results = made_by(name, before)
    assert after in results if after is not None else results == []


def test_sites_can_be_kept_to_covered_lines() -> None:
    source = b"x = a < b\ny = f(\n    a < b,\n)\nif c:\n    z = a < b\n"
    boundary = [by_name("comparison-boundary")]
    assert [site.line for site in sites(source, boundary)] == [1, 3, 6]
    assert [site.line for site in sites(source, boundary, {2, 5})] == [3]


def test_a_file_that_is_not_utf8_is_refused() -> None:
    with pytest.raises(ValueError, match="not UTF-8"):
        list(sites("# coding: latin-1\nx = 'é'\n".encode("latin-1"), all_operators()))


def test_every_definition_that_is_touched_exists_in_the_file() -> None:
    source = (STDLIB / "dataclasses.py").read_bytes()
    names = {node.name for node in ast.walk(ast.parse(source)) if isinstance(node, Definition)}
    symbols = {site.symbol for site in sites(source, all_operators())} - {MODULE_SYMBOL}
    assert {symbol.rpartition(".")[2] for symbol in symbols} <= names
