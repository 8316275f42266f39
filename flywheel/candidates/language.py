"""A programming language, as far as making candidates needs to know it.

Python is mutated through `ast` (`mutate`, `prune`); every other language through a tree-sitter
grammar and operators that are data (`grammar`, `rewrite`). The sampler and the sources know only
the protocol.
"""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Callable, Container, Iterator, Mapping, Sequence, Set
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import Protocol

from flywheel.candidates import mutate, prune, rewrite
from flywheel.candidates.grammar import Grammar, GrammarFile, errors, same_tree, span_of
from flywheel.candidates.module import Edit, Module
from flywheel.candidates.mutate import Site
from flywheel.candidates.operator import Described
from flywheel.candidates.operators import all_operators
from flywheel.candidates.prune import FILES_KEPT, Pruned
from flywheel.candidates.queries import LanguageRules, QueryOperator, load_rules
from flywheel.core.errors import ToolchainError
from flywheel.core.syntax import parse


class Pruner(Protocol):
    """Names the reason to turn a candidate away, and remembers what it let pass."""

    def reason(
        self, path: str, source: bytes, site: Site, covered: Set[int] | None = None
    ) -> Pruned | None:
        """Why a site's candidate is turned away; None lets it pass, once.

        `covered` are the lines of the file that some test runs, None when not known.
        """
        ...

    def incomplete(self, path: str, source: bytes, changed: bytes) -> bool:
        """True when the changed file uses a name that only the base binds.

        Raises what `Language.sites` raises.
        """
        ...


class Language(Protocol):
    """How files of a language are changed. Paths are repository-relative, POSIX.

    `sites`, `site_of`, `with_tests_kept` and `tests_differ` raise `SyntaxError`, `ValueError` or
    `RecursionError` when a file cannot be parsed, and `ToolchainError` when the language's grammar
    is missing.
    """

    @property
    def operators(self) -> Sequence[Described]:
        """Every operator of the language."""
        ...

    def sites(
        self, path: str, source: bytes, names: Container[str], lines: Set[int] | None = None
    ) -> Iterator[Site]:
        """Every site of the named operators in a file, in source order.

        `lines`, where given, keeps only sites that those executed lines run into.
        """
        ...

    def site_of(self, path: str, source: bytes, edit: Edit, operator: str) -> Site:
        """The site of an edit that no operator made."""
        ...

    def with_tests_kept(self, path: str, source: bytes, changed: bytes) -> bytes:
        """A changed file with the tests that stand in `source` put back as they are."""
        ...

    def tests_differ(self, path: str, before: bytes, after: bytes) -> bool:
        """True when a file holds tests and they differ between two contents of it."""
        ...

    def pruner(self) -> Pruner:
        """What turns candidates of one harvest away."""
        ...

    def parses(self, path: str, source: bytes) -> bool:
        """True when candidates can be made of a file."""
        ...


class PythonLanguage:
    """Python, by its own `ast`."""

    def __init__(self) -> None:
        self._module = lru_cache(FILES_KEPT)(Module)

    @property
    def operators(self) -> Sequence[Described]:
        """The classes of `flywheel.candidates.operators`."""
        return all_operators()

    def sites(
        self, path: str, source: bytes, names: Container[str], lines: Set[int] | None = None
    ) -> Iterator[Site]:
        """Every site of the named operators, in source order, lazily."""
        return mutate.sites(source, [op for op in all_operators() if op.name in names], lines)

    def site_of(self, path: str, source: bytes, edit: Edit, operator: str) -> Site:
        """The site of an edit, in the smallest statement that holds it."""
        return mutate.site_of(edit, operator, self._module(source))

    def with_tests_kept(self, path: str, source: bytes, changed: bytes) -> bytes:
        """The changed file: tests stand in files of their own."""
        return changed

    def tests_differ(self, path: str, before: bytes, after: bytes) -> bool:
        """False: tests stand in files of their own."""
        return False

    def pruner(self) -> Pruner:
        """Compares bytecode."""
        return prune.Pruner()

    def parses(self, path: str, source: bytes) -> bool:
        """True for what this Python can parse."""
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                parse(source.decode("utf-8-sig"))
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            return False
        return True


class GrammarLanguage:
    """A language that tree-sitter parses, with the operators of its `operators.toml`."""

    def __init__(self, rules: LanguageRules) -> None:
        self.rules = rules
        """What its `operators.toml` says."""
        self._grammars: dict[str, Grammar] = {}
        self._parsed = lru_cache(FILES_KEPT)(GrammarFile)

    @classmethod
    def load(cls, path: Path) -> GrammarLanguage:
        """The language of an `operators.toml`; raises `ToolchainError` for a malformed file."""
        return cls(load_rules(path))

    @property
    def operators(self) -> Sequence[QueryOperator]:
        """The operators of the file, in its order."""
        return self.rules.operator

    @property
    def suffixes(self) -> tuple[str, ...]:
        """Endings of the files that it parses."""
        return tuple(suffix for one in self.rules.grammar for suffix in one.suffixes)

    def sites(
        self, path: str, source: bytes, names: Container[str], lines: Set[int] | None = None
    ) -> Iterator[Site]:
        """Every site of the named operators, in source order."""
        operators = [one for one in self.operators if one.name in names]
        return rewrite.sites(self.file(path, source), operators, lines)

    def site_of(self, path: str, source: bytes, edit: Edit, operator: str) -> Site:
        """The site of an edit, in the smallest definition that holds it."""
        return self.file(path, source).site(edit, operator)

    def with_tests_kept(self, path: str, source: bytes, changed: bytes) -> bytes:
        """The changed file with its tests as `source` has them, where both have as many.

        Where the changed file has none and those of `source` end it, they are put at its end.
        What cannot be put back is left: `Pruned.PROTECTED` turns it away.
        """
        before, after = (
            self.file(path, source).tests,
            GrammarFile(changed, self.grammar(path)).tests,
        )
        if len(before) == 1 and not after and not source[before[0].end :].strip():
            return changed.rstrip() + source[len(source[: before[0].start].rstrip()) :]
        if len(before) != len(after):
            return changed
        parts: list[bytes] = []
        end = 0
        for kept, replaced in zip(before, after, strict=True):
            parts += (changed[end : replaced.start], source[kept.start : kept.end])
            end = replaced.end
        return b"".join((*parts, changed[end:]))

    def tests_differ(self, path: str, before: bytes, after: bytes) -> bool:
        """True when the tests among the code are other ones; raises what `sites` raises."""
        texts = [
            [source[one.start : one.end] for one in self.file(path, source).tests]
            for source in (before, after)
        ]
        return texts[0] != texts[1]

    def pruner(self) -> Pruner:
        """Compares trees."""
        return _GrammarPruner(self)

    def parses(self, path: str, source: bytes) -> bool:
        """True for a UTF-8 file without an error in its tree."""
        try:
            return not self.file(path, source).errors
        except ValueError:
            return False

    def file(self, path: str, source: bytes) -> GrammarFile:
        """A parsed file; the last few are remembered. Raises `ValueError` when not UTF-8."""
        return self._parsed(source, self.grammar(path))

    def grammar(self, path: str) -> Grammar:
        """The grammar for a file's name.

        Raises `ToolchainError` when no grammar is for such files, or it is not installed, or a
        pattern of the rules fits none of the language's grammars.
        """
        suffix = PurePosixPath(path).suffix
        if suffix not in self._grammars:
            table = next((one for one in self.rules.grammar if suffix in one.suffixes), None)
            if table is None:
                known = [suffix for one in self.rules.grammar for suffix in one.suffixes]
                raise ToolchainError(
                    f"{path}: no grammar is for such files",
                    hint="there are grammars for " + ", ".join(known),
                )
            grammar = self._checked(Grammar(table, self.rules))
            self._grammars.update(dict.fromkeys(table.suffixes, grammar))
        return self._grammars[suffix]

    def _checked(self, grammar: Grammar) -> Grammar:
        """The grammar, when every pattern fits it or another one of the language."""
        structure = self.rules.structure
        operators = {pattern: one.name for one in self.operators for pattern in one.query}
        named = dict.fromkeys((*structure.patterns, *structure.tests), "the structure") | operators
        left = set(named)
        # The same runs of patterns as are matched later: each is compiled once.
        for patterns in (structure.patterns, structure.tests, tuple(operators)):
            left -= set(grammar.known(patterns))
        for table in self.rules.grammar:
            if left and table != grammar.table:
                left -= set(Grammar(table, self.rules).known(tuple(sorted(left))))
        for pattern in sorted(left):
            raise ToolchainError(
                f"a query of {named[pattern]} fits no grammar of the language",
                cause=pattern,
                hint=f"its node types must be those of {grammar.table.package}",
            )
        return grammar


class SeveralLanguages:
    """The languages of a repository that has several; the suffix of a file tells which is its."""

    def __init__(self, languages: Sequence[tuple[Sequence[str], Language]]) -> None:
        """`languages` with the suffixes of their files, such as `.py`."""
        self._languages = [language for _, language in languages]
        self._by_suffix = {
            suffix: language for suffixes, language in languages for suffix in suffixes
        }

    @property
    def operators(self) -> Sequence[Described]:
        """Every operator by its name; those of one name are the same mistake."""
        found: dict[str, Described] = {}
        for language in self._languages:
            for operator in language.operators:
                found.setdefault(operator.name, operator)
        return list(found.values())

    def sites(
        self, path: str, source: bytes, names: Container[str], lines: Set[int] | None = None
    ) -> Iterator[Site]:
        """Every site of the named operators, as the file's language has them."""
        return self._of(path).sites(path, source, names, lines)

    def site_of(self, path: str, source: bytes, edit: Edit, operator: str) -> Site:
        """The site of an edit that no operator made."""
        return self._of(path).site_of(path, source, edit, operator)

    def with_tests_kept(self, path: str, source: bytes, changed: bytes) -> bytes:
        """A changed file with the tests that stand in `source` put back as they are."""
        return self._of(path).with_tests_kept(path, source, changed)

    def tests_differ(self, path: str, before: bytes, after: bytes) -> bool:
        """True when a file holds tests and they differ between two contents of it."""
        return self._of(path).tests_differ(path, before, after)

    def pruner(self) -> Pruner:
        """The pruners of all."""
        return _SeveralPruners(self._of, {one: one.pruner() for one in self._languages})

    def parses(self, path: str, source: bytes) -> bool:
        """True when candidates can be made of a file."""
        return PurePosixPath(path).suffix in self._by_suffix and self._of(path).parses(path, source)

    def _of(self, path: str) -> Language:
        language = self._by_suffix.get(PurePosixPath(path).suffix)
        if language is None:
            raise ValueError(f"{path}: no language is for such files")
        return language


class _SeveralPruners:
    """Hands each file to the pruner of its language."""

    def __init__(self, of: Callable[[str], Language], pruners: Mapping[Language, Pruner]) -> None:
        self._of = of
        self._pruners = pruners

    def reason(
        self, path: str, source: bytes, site: Site, covered: Set[int] | None = None
    ) -> Pruned | None:
        """Why a site's candidate is turned away; None lets it pass, once."""
        return self._pruners[self._of(path)].reason(path, source, site, covered)

    def incomplete(self, path: str, source: bytes, changed: bytes) -> bool:
        """True when the changed file uses a name that only the base binds."""
        return self._pruners[self._of(path)].incomplete(path, source, changed)


class _GrammarPruner:
    """Turns candidates of a grammar's language away; the counterpart of `prune.Pruner`."""

    def __init__(self, language: GrammarLanguage) -> None:
        self._language = language
        self._seen: set[bytes] = set()

    def reason(
        self, path: str, source: bytes, site: Site, covered: Set[int] | None = None
    ) -> Pruned | None:
        """Why a site's candidate is turned away; None lets it pass, once."""
        if covered is not None and not site.covered_by(covered):
            return Pruned.UNCOVERED
        changed = site.edit.apply(source)
        made = hashlib.blake2b(path.encode() + b"\0" + changed, digest_size=8).digest()
        if made in self._seen:
            return Pruned.DUPLICATE
        before = self._language.file(path, source)
        after = before.grammar.root(changed)
        if errors(after) > before.errors:
            return Pruned.UNPARSABLE
        # Only what has several lines can bring tests into a file that has none.
        if before.tests or "\n" in site.edit.text:
            tests = before.grammar.tests(after)
            if [changed[one.start : one.end] for one in tests] != [
                source[one.start : one.end] for one in before.tests
            ]:
                return Pruned.PROTECTED
        if same_tree(before, after, changed, site.edit):
            return Pruned.SAME_TREE
        self._seen.add(made)
        return None

    def incomplete(self, path: str, source: bytes, changed: bytes) -> bool:
        """True when the changed file uses a name that only the base binds.

        What other files bind is not known, so a name the base does not bind is none of these.
        """
        before = self._language.file(path, source)
        after = GrammarFile(changed, before.grammar)
        return bool(_used(after) & (_bound(before) - _bound(after)))


def _bound(file: GrammarFile) -> set[str]:
    names = {variable.name for _, variable in file.variables}
    return names | {one.plain_name for _, one in file.definitions if one.plain_name}


def _used(file: GrammarFile) -> set[str]:
    names, stack = set(), [file.root]
    while stack:
        node = stack.pop()
        if node.type in ("identifier", "type_identifier"):
            names.add(file.text(span_of(node)))
        stack.extend(node.children)
    return names
