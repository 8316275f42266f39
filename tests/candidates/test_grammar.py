"""Other languages than Python: symbols, layout, what is untouched, pruning, and undone fixes."""

from __future__ import annotations

import random
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import pytest

from flywheel.candidates.language import GrammarLanguage
from flywheel.candidates.module import Edit
from flywheel.candidates.mutate import MODULE_SYMBOL, Site, candidate
from flywheel.candidates.operators import chosen
from flywheel.candidates.prune import Pruned
from flywheel.candidates.queries import load_rules
from flywheel.candidates.revert import RevertSource
from flywheel.candidates.sample import NotReady
from flywheel.candidates.source import MutationSource
from flywheel.core.errors import ToolchainError, UsageError
from flywheel.core.records import Candidate, Span
from flywheel.git import Commit, FileChange

CRITICS = Path(__file__).parents[2] / "critics"
LANGUAGES = {
    name: GrammarLanguage.load(CRITICS / name / "operators.toml")
    for name in ("cargo", "go", "mix", "node")
}
SAMPLES = Path(__file__).parent / "samples"
FILES = sorted(path for path in SAMPLES.iterdir() if path.is_file())
BY_SUFFIX = {
    suffix: language
    for language in LANGUAGES.values()
    for grammar in language.rules.grammar
    for suffix in grammar.suffixes
}


def applied(source: bytes, edit: Edit) -> bytes:
    return source[: edit.span.start] + edit.text.encode() + source[edit.span.end :]


def names(language: GrammarLanguage) -> set[str]:
    return {operator.name for operator in language.operators}


def site(path: str, source: bytes, before: bytes, after: str) -> Site:
    start = source.index(before)
    edit = Edit(Span(start, start + len(before)), after)
    return BY_SUFFIX[Path(path).suffix].site_of(path, source, edit, "test")


def made_by(path: str, name: str, source: str) -> list[str]:
    data = source.encode()
    found = BY_SUFFIX[Path(path).suffix].sites(path, data, {name})
    return [applied(data, site.edit).decode() for site in found]


def every(path: str, source: str | bytes) -> list[Site]:
    language = BY_SUFFIX[Path(path).suffix]
    data = source.encode() if isinstance(source, str) else source
    return list(language.sites(path, data, names(language)))


def only(path: str, name: str, source: str) -> Site:
    (site,) = BY_SUFFIX[Path(path).suffix].sites(path, source.encode(), {name})
    return site


# --- symbols and extents --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "source", "symbol", "good"),
    [
        (
            "a.go",
            (
                "package p\n\n// Old.\n\n// F does.\n// More.\n"
                "func F(a int) bool {\n\treturn a < 1\n}\n"
            ),
            "F",
            "// F does.\n// More.\nfunc F(a int) bool {\n\treturn a < 1\n}",
        ),
        (
            "a.go",
            (
                "package p\n\nfunc (s *Server[T]) Handle(a int) bool {\n\tf := func() bool {\n"
                "\t\treturn a < 1\n\t}\n\treturn f()\n}\n"
            ),
            "Server.Handle",
            (
                "func (s *Server[T]) Handle(a int) bool {\n\tf := func() bool {\n"
                "\t\treturn a < 1\n\t}\n\treturn f()\n}"
            ),
        ),
        ("a.go", "package p\n\nvar ok = 1 < 2\n", MODULE_SYMBOL, "var ok = 1 < 2"),
        (
            "a.rs",
            (
                "struct A;\n\nimpl<T> Foo for A<T> {\n    /// Doc.\n    #[inline]\n"
                "    pub fn m(&self) -> bool {\n"
                "        self.n < 1\n    }\n}\n"
            ),
            "A::m",
            "/// Doc.\n#[inline]\npub fn m(&self) -> bool {\n    self.n < 1\n}",
        ),
        (
            "a.rs",
            "mod x {\n    const A: bool = 1 < 2;\n}\n",
            "x",
            "mod x {\n    const A: bool = 1 < 2;\n}",
        ),
        (
            "a.ex",
            (
                'defmodule A.B do\n  @x 1\n\n  @doc "Say."\n  @spec f(integer, any) :: boolean\n'
                "  def f(a, b \\\\ 1) when a != b do\n    a < 1\n  end\nend\n"
            ),
            "A.B.f/2",
            (
                '@doc "Say."\n@spec f(integer, any) :: boolean\n'
                "def f(a, b \\\\ 1) when a != b do\n  a < 1\nend"
            ),
        ),
        ("a.ex", "defmodule A do\n  def f, do: 1 < 2\nend\n", "A.f/0", "def f, do: 1 < 2"),
        (
            "a.ts",
            (
                "/** Doc. */\nexport class A {\n  // why\n  @dec()\n"
                "  m(a: number): boolean {\n    return a < 1\n  }\n}\n"
            ),
            "A.m",
            "// why\n@dec()\nm(a: number): boolean {\n  return a < 1\n}",
        ),
        (
            "a.js",
            "x = 1\n// Say.\nexport const f = (a) => a < 1\n",
            "f",
            "// Say.\nexport const f = (a) => a < 1",
        ),
        (
            "a.js",
            "exports.f = function (a) { return a < 1 }\n",
            "exports.f",
            "exports.f = function (a) { return a < 1 }",
        ),
    ],
)
def test_the_symbol_is_the_smallest_definition_with_what_stands_right_above_it(
    path: str, source: str, symbol: str, good: str
) -> None:
    record = candidate(path, source.encode(), only(path, "comparison-boundary", source))
    assert (record.symbol, record.good) == (symbol, good)
    assert record.bad == good.replace("<", "<=")


def test_the_symbol_of_a_definition_that_goes_is_what_is_around_it() -> None:
    source = "defmodule A do\n  def f(0), do: 1\n  def f(n), do: n\nend\n"
    record = candidate("a.ex", source.encode(), only("a.ex", "clause-dropped", source))
    assert record.symbol == "A"
    assert record.bad == "defmodule A do\n  def f(n), do: n\nend"


def test_a_change_is_run_into_by_the_lines_of_its_statement_up_to_its_block() -> None:
    source = "package p\n\nfunc f() {\n\tif a(1,\n\t\tb) && c <\n\t\td {\n\t\te()\n\t}\n}\n"
    site = only("a.go", "comparison-boundary", source)
    assert (site.line, site.first_line, site.last_line) == (5, 4, 6)
    lines = {3, 7}
    assert list(LANGUAGES["go"].sites("a.go", source.encode(), {"and-or"}, lines)) == []
    assert len(list(LANGUAGES["go"].sites("a.go", source.encode(), {"and-or"}, {4}))) == 1


# --- layout ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "name", "before", "after"),
    [
        ("a.go", "comparison-boundary", 'x := "é" + f(a<b)\n', 'x := "é" + f(a<=b)\n'),
        ("a.go", "guard-dropped", "if a {\r\n\treturn\r\n}\r\nc()\r\n", "c()\r\n"),
        ("a.go", "call-statement-dropped", "if a { f(); x = 1 }\n", "if a { ; x = 1 }\n"),
        ("a.go", "guard-dropped", "if a {\n\tb()\n} else if c {\n\treturn\n}\n", None),
        ("a.go", "sum-difference", 'x := a + "b"\n', None),
        ("a.go", "case-dropped", "switch a {\r\ncase 1:\r\n\tb()\r\n}\r\n", "switch a {\r\n}\r\n"),
        (
            "a.rs",
            "else-dropped",
            "{ if a { b(); }\n  else { c(); }\n  d(); }\n",
            "{ if a { b(); }\n\n  d(); }\n",
        ),
        ("a.rs", "not-dropped", "fn f() { return!a; }\n", "fn f() { return a; }\n"),
        ("a.ex", "membership-negate", "x = a  not in b\n", "x = a  in b\n"),
        ("a.ex", "arguments-swapped", "def f(a, b), do: 1\n", None),
        ("a.ex", "string-emptied", 'x = """\n  a\n  """\n', None),
        ("a.js", "call-statement-dropped", "if (a) f()\n", None),
        (
            "a.js",
            "await-dropped",
            "async () => { return await(f()) }\n",
            "async () => { return (f()) }\n",
        ),
        ("a.js", "or-default-to-none-check", "x = a || b || c\n", None),
        ("a.ts", "number-off-by-one", "let x: 1 = y as 2\n", None),
        ("a.tsx", "boolean-flipped", "const x = <a b={true}>é</a>\n", None),
    ],
)
def test_layout_and_precedence_survive(
    path: str, name: str, before: str, after: str | None
) -> None:
    results = made_by(path, name, before)
    assert after in results if after is not None else results == []


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
@pytest.mark.parametrize("newline", [b"\n", b"\r\n"], ids=["lf", "crlf"])
def test_every_site_of_a_real_file_is_a_sound_edit(file: Path, newline: bytes) -> None:
    source = file.read_bytes().replace(b"\n", newline)
    language = BY_SUFFIX[file.suffix]
    found = every(file.name, source)
    assert len(found) > 100
    assert found == every(file.name, source)
    assert found == list(GrammarLanguage(language.rules).sites(file.name, source, names(language)))
    places = [(site.edit.span.start, site.edit.span.end) for site in found]
    assert places == sorted(places)
    lines = source.splitlines()
    tests = language.file(file.name, source).tests
    for site in found:
        span = site.edit.span
        assert 0 <= span.start <= span.end <= len(source)
        assert site.edit.text.encode() != source[span.start : span.end]
        assert 1 <= site.first_line <= site.line <= site.end_line <= site.last_line <= len(lines)
        assert site.extent.start <= span.start <= span.end <= site.extent.end
        assert all(span.end <= one.start or one.end <= span.start for one in tests)
    drawn = random.Random(1).sample(found, 60)
    pruner = language.pruner()
    reasons = Counter(pruner.reason(file.name, source, site) for site in drawn)
    assert reasons[Pruned.UNPARSABLE] <= 1
    assert reasons[Pruned.PROTECTED] == 0


def test_operators_that_grammars_share_a_mistake_with_python_share_its_name() -> None:
    for language in LANGUAGES.values():
        assert names(language) >= {
            "comparison-boundary", "equality-negate", "and-or", "not-dropped", "condition-constant",
            "number-off-by-one", "boolean-flipped", "sum-difference", "variable-misuse",
        }  # fmt: skip


# --- what is untouched ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("a.go", 'package p\n\nimport "fmt" // 1 < 2\n\ntype T struct {\n\ta [2]int `x:"1"`\n}\n'),
        ("a.go", "package p\n\nfunc f(a [1]int)\n"),
        (
            "a.rs",
            (
                "use a::{b, c};\n"
                "#[x(1, true)]\n"
                "struct A([u8; 2]);\n"
                "macro_rules! m { () => { 1 < 2 } }\n"
            ),
        ),
        (
            "a.rs",
            "#[cfg(test)]\n#[allow(dead_code)]\nmod tests {\n    fn f() -> bool { 1 < 2 }\n}\n",
        ),
        ("a.rs", '#[cfg(all(test, feature = "x"))]\nmod t { fn f() -> bool { 1 < 2 } }\n'),
        ("a.rs", "#[allow(x)]\n#[tokio::test]\n// why\nasync fn f() { g(1 < 2).await; }\n"),
        ("a.rs", "#![cfg(test)]\nfn f() -> bool { 1 < 2 }\n"),
        ("a.rs", "#[cfg(test)]\nuse a::b;\n#[cfg(test)]\nconst N: usize = 2;\n"),
        (
            "a.ex",
            (
                "defmodule A do\n"
                '  @moduledoc "1"\n'
                "  @type t :: 1 | 2\n"
                "  @spec f(1) :: true\n"
                "  alias A.{B, C}\n"
                "end\n"
            ),
        ),
        ("a.js", "'use strict'\nimport a from 'b'\nconst c = require('d')\n// 1 < 2\n"),
        (
            "a.js",
            (
                "if (import.meta.vitest) {\n"
                "  const { it } = import.meta.vitest\n"
                "  it('x', () => 1 < 2)\n"
                "}\n"
            ),
        ),
        ("a.ts", "type A = 1 | true\ninterface B { c: 2 }\ndeclare const d: 1\nenum E { A = 1 }\n"),
    ],
)
def test_what_is_no_behaviour_and_what_is_a_test_is_never_mutated(path: str, source: str) -> None:
    assert every(path, source) == []


def test_what_is_not_compiled_for_tests_alone_is_mutated() -> None:
    one = "fn f() -> bool { 1 < 2 }\n"
    source = f'#[cfg(feature = "testing")]\n{one}#[inline]\n{one}'
    assert len(made_by("a.rs", "comparison-boundary", source)) == 2


def test_what_the_grammar_cannot_read_is_left_alone() -> None:
    source = "package p\n\nfunc f() bool {\n\treturn 1 < 2\n}\n\nfunc g( { 3 < 4 ]]\n"
    assert {site.symbol for site in every("a.go", source)} == {"f"}


# --- variables ------------------------------------------------------------------------------


def test_a_typed_language_takes_variables_of_one_type_that_are_in_scope() -> None:
    source = (
        "func f(a, b int, s string) int {\n\tif b > 0 {\n\t\tc := 1\n\t\tg(c)\n\t}\n"
        "\tn := len(s)\n\treturn n\n}\n"
    )
    results = made_by("a.go", "variable-misuse", source)
    assert source.replace("return n", "return b") in results
    assert source.replace("return n", "return a") in results
    assert source.replace("return n", "return s") not in results
    assert source.replace("return n", "return c") not in results


def test_a_function_without_a_name_knows_the_variables_around_it() -> None:
    source = "function f(a, b) {\n  return () => g(a)\n}\n"
    assert made_by("a.js", "variable-misuse", source) == [source.replace("g(a)", "g(b)")]


@pytest.mark.parametrize(
    ("before", "symbol"),
    [
        (b"    // why\n", "A.m"),
        (b"    m(a) {\n", "A.m"),
        (b"        return a\n", "A.m"),
        (b"class A {\n    // why\n", "A"),
        (b"    // why\n    m(a) {\n        return a\n    }\n", "A"),
        (b"x = 1\n", MODULE_SYMBOL),
    ],
)
def test_whole_lines_belong_to_the_definition_that_they_do_not_replace(
    before: bytes, symbol: str
) -> None:
    source = b"class A {\n    // why\n    m(a) {\n        return a\n    }\n    n() {}\n}\n\nx = 1\n"
    assert site("a.js", source, before, "").symbol == symbol


# --- pruning --------------------------------------------------------------------------------


GO = b'package p\n\n// F.\nfunc F(a int) string {\n\tif a < 1 { return "x y" }\n\treturn ""\n}\n'


@pytest.mark.parametrize(
    ("before", "after", "reason"),
    [
        (b"a < 1", "a <", Pruned.UNPARSABLE),
        (b"// F.", "// G.\n// H.", Pruned.SAME_TREE),
        (b"a < 1", "a  <\t1", Pruned.SAME_TREE),
        (b"a < 1", "a /* . */ < 1", Pruned.SAME_TREE),
        (b'{ return "x y" }', '{\n\t\treturn "x y"\n\t}', Pruned.SAME_TREE),
        (b"a < 1", "(a < 1)", None),
        (b"x y", "x  y", None),
        (b"a < 1", "a < 2", None),
    ],
)
def test_a_change_that_cannot_be_read_or_says_the_same_is_pruned(
    before: bytes, after: str, reason: Pruned | None
) -> None:
    pruner = LANGUAGES["go"].pruner()
    assert pruner.reason("a.go", GO, site("a.go", GO, before, after)) is reason


def test_lines_that_no_test_runs_and_files_seen_before_are_pruned() -> None:
    pruner = LANGUAGES["go"].pruner()
    change = site("a.go", GO, b"a < 1", "a < 2")
    assert pruner.reason("a.go", GO, change, {6}) is Pruned.UNCOVERED
    assert pruner.reason("a.go", GO, change, None) is None
    assert pruner.reason("a.go", GO, site("a.go", GO, b"1", "2")) is Pruned.DUPLICATE
    assert pruner.reason("b.go", GO, change) is None


def test_more_errors_than_the_base_has_are_unparsable_and_as_many_are_not() -> None:
    broken = GO + b"\nfunc g( {\n"
    pruner = LANGUAGES["go"].pruner()
    assert pruner.reason("a.go", broken, site("a.go", broken, b"a < 1", "a < 2")) is None
    change = site("a.go", broken, b"a < 1", "a < ]")
    assert pruner.reason("a.go", broken, change) is Pruned.UNPARSABLE


RUST = b"""fn f(a: u8) -> bool {
    a < 1
}

#[cfg(test)]
mod tests {
    #[test]
    fn t() {
        assert!(super::f(0));
    }
}
"""


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (b"super::f(0)", "super::f(9)"),
        (b"#[cfg(test)]\n", ""),
        (b"    #[test]\n", "    #[ignore]\n    #[test]\n"),
        (b"\n#[cfg(test)]", "\n#[cfg(test)]\nmod more { fn f() { g(1); } }\n\n#[cfg(test)]"),
    ],
)
def test_a_change_of_a_test_inside_a_source_file_is_protected(before: bytes, after: str) -> None:
    pruner = LANGUAGES["cargo"].pruner()
    assert pruner.reason("a.rs", RUST, site("a.rs", RUST, before, after)) is Pruned.PROTECTED
    assert pruner.reason("a.rs", RUST, site("a.rs", RUST, b"a < 1", "a < 2")) is None


# --- undone fixes ---------------------------------------------------------------------------


def undone(path: str, before: bytes, after: bytes) -> tuple[RevertSource, list[Candidate]]:
    """The source that undoes one fix of a file, and what it makes."""
    change = FileChange(
        path=path, old_path=path, status="M", old="old", new="new", added=1, removed=1,
        binary=False, submodule=False,
    )  # fmt: skip
    commit = Commit("c", ("p",), 1_600_000_000, "Fix f for zero", "Use isZero.", (change,))
    source = RevertSource(
        [commit],
        {path: after},
        read={"old": before, "new": after}.get,
        is_source=lambda path: True,
        is_test=lambda path: False,
        covered=None,
        language=BY_SUFFIX[Path(path).suffix],
    )
    return source, list(iter(source.draw, None))


def test_undoing_a_fix_leaves_the_tests_in_its_file_as_they_are() -> None:
    before = RUST.replace(b"a < 1", b"a < 2").replace(b"        assert!(super::f(0));\n", b"")
    source, (made,) = undone("a.rs", before, RUST)
    assert not source.pruned
    assert made.symbol == "f"
    assert made.bad == "fn f(a: u8) -> bool {\n    a < 2\n}"


def test_undoing_a_fix_that_brought_the_first_tests_keeps_them() -> None:
    before = RUST[: RUST.index(b"\n#[cfg(test)]")].replace(b"a < 1", b"a < 2")
    _, (made,) = undone("a.rs", before, RUST)
    assert (made.before, made.after) == ("    a < 1\n", "    a < 2\n")


def test_a_fix_of_tests_alone_is_no_candidate() -> None:
    source, found = undone("a.rs", RUST.replace(b"f(0)", b"f(1)"), RUST)
    assert found == []
    assert source.pruned == {Pruned.SAME_TREE.value: 1}


def test_half_a_fix_that_leaves_a_name_unbound_is_no_candidate() -> None:
    imported = b"import { isZero } from './x'\n"
    before = b"export function f(a) {\n  return isZero(a) || isZero(-a)\n}\n"
    source, found = undone("a.js", before, imported + before)
    assert found == []
    assert source.pruned == {Pruned.INCOMPLETE.value: 1}


def test_the_statement_of_an_undone_fix_hides_the_names_it_brought() -> None:
    before = b"export function f(a) {\n  return a\n}\n"
    _, (made,) = undone("a.js", before, before.replace(b"return a", b"return isZero(a)"))
    assert made.origin is not None
    assert "isZero" not in made.origin.statement


# --- the seam -------------------------------------------------------------------------------


def test_a_mutation_source_draws_and_learns_through_the_language() -> None:
    language = LANGUAGES["go"]
    contents = {path.name: path.read_bytes() for path in FILES if path.suffix == ".go"}
    operators = chosen(["!variable-misuse"], language.operators)

    def drawn() -> Iterable[str]:
        source = MutationSource(
            contents, operators=operators, covered=lambda path: None, seed=3, language=language
        )
        for _ in range(40):
            made = source.draw()
            assert not isinstance(made, NotReady)
            if made is None:
                return
            yield made.patch
            source.report(made, "valid", 0.1)

    first = list(drawn())
    assert len(first) == 40
    assert first == list(drawn())


def test_a_selection_of_another_language_knows_its_own_names() -> None:
    with pytest.raises(UsageError, match="Did you mean error-swallowed"):
        chosen(["error-swalowed"], LANGUAGES["go"].operators)


# --- bad input ------------------------------------------------------------------------------

TEXT = (CRITICS / "go" / "operators.toml").read_text()


def changed(tmp_path: Path, old: str, new: str) -> Path:
    assert old in TEXT
    path = tmp_path / "operators.toml"
    path.write_text(TEXT.replace(old, new, 1))
    return path


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("typed = true", "tiped = true", "structure.tiped: unknown; did you mean 'typed'"),
        ("suffixes =", "sufixes =", "grammar.0.sufixes: unknown; did you mean 'suffixes'"),
        ("replace = [", "replaces = [", "did you mean 'replace'"),
        ('remove = "statement"', 'remove = "all"', "remove: Input should be 'statement'"),
        ("shift = [1, -1]", 'replace = ["0"]\nshift = [1]', "number-off-by-one needs exactly one"),
        ("(int_literal) @at'\nshift", "(int_literal)'\nshift", "number-off-by-one captures no @at"),
        ('name = "and-or"', 'name = "bitwise"', "two operators are named bitwise"),
        ("typed = true", "typed = ", "cannot be read"),
    ],
)
def test_a_malformed_file_is_refused_with_the_nearest_key(
    tmp_path: Path, old: str, new: str, words: str
) -> None:
    with pytest.raises(ToolchainError) as caught:
        load_rules(changed(tmp_path, old, new))
    assert words in f"{caught.value.message} {caught.value.cause}"


def test_operators_that_are_no_tables_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "operators.toml"
    path.write_text('operator = ["and-or"]\n' + TEXT.partition("[[operator]]")[0])
    with pytest.raises(ToolchainError) as caught:
        load_rules(path)
    assert "operator.0: Input should be" in str(caught.value.cause)


def test_a_query_with_a_node_type_nobody_knows_is_refused(tmp_path: Path) -> None:
    language = GrammarLanguage.load(changed(tmp_path, "(int_literal) @at'", "(int_litteral) @at'"))
    with pytest.raises(ToolchainError, match="a query of number-off-by-one fits no grammar"):
        list(language.sites("a.go", GO, names(language)))


def test_a_file_of_another_kind_is_refused() -> None:
    with pytest.raises(ToolchainError, match="no grammar is for such files") as caught:
        LANGUAGES["go"].site_of("a.rs", GO, Edit(Span(0, 0), "x"), "test")
    assert ".go" in (caught.value.hint or "")


def test_a_missing_grammar_says_what_to_install(tmp_path: Path) -> None:
    language = GrammarLanguage.load(changed(tmp_path, "tree_sitter_go", "tree_sitter_gone"))
    with pytest.raises(ToolchainError) as caught:
        list(language.sites("a.go", GO, names(language)))
    assert caught.value.hint == "pip install tree-sitter tree-sitter-gone"


def test_a_file_that_is_not_utf8_is_refused() -> None:
    with pytest.raises(ValueError, match="not UTF-8"):
        every("a.go", "package p // é\n".encode("latin-1"))
    assert not LANGUAGES["go"].parses("a.go", b"\xff")


def test_a_bundle_is_refused() -> None:
    assert not LANGUAGES["node"].parses("a.js", b"x = 1\n" * 100_000)


def test_a_long_list_of_attributes_and_a_long_match_take_no_time() -> None:
    attributes = "\n".join(f"#[a({n})]" for n in range(300))
    arms = " ".join(f"{n} => g({n})," for n in range(300))
    source = f"{attributes}\nfn f(x: u8) {{ match x {{ {arms} _ => h() }} }}\n"
    begun = time.perf_counter()
    assert every("a.rs", source)
    assert time.perf_counter() - begun < 5


def test_tree_sitter_is_not_imported_before_a_file_is_parsed() -> None:
    code = (
        "import sys; from pathlib import Path; import flywheel.candidates;"
        "from flywheel.candidates.language import GrammarLanguage;"
        f"GrammarLanguage.load(Path({str(CRITICS / 'go' / 'operators.toml')!r}));"
        "sys.exit('tree_sitter' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_the_identity_of_rules_is_of_the_files_content(tmp_path: Path) -> None:
    rules = load_rules(changed(tmp_path, "typed = true", "typed = false"))
    assert rules.hash != LANGUAGES["go"].rules.hash
