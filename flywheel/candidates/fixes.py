"""Which commits read like bug fixes, and why the others are passed over.

A commit is weighed by what it says (words of repair, words of housekeeping, issues it names or
closes) and by what it touches (kinds of files, sizes, tests). Each signal is kept, so that a reader
may weigh them otherwise. Whether it *is* a fix, only tests tell.

A release that stands for a commit holds many changes at once. It is weighed by the entries of its
change log that speak of repair, and by whether its number says that it only repairs; of its files
those that changed beyond what a fix changes are left alone, instead of all of them.
"""

from __future__ import annotations

import enum
import re
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from flywheel.git import Commit, FileChange

MAX_SOURCES = 8
"""Source files beyond which a commit is more than a fix."""
MAX_LINES = 300
"""Changed lines of source beyond which it is."""
MAX_RELEASE_SOURCES = 40
"""The same for a release that names what it repairs: each file is looked at by itself."""
NEEDED = 2
"""Weight from which on a commit counts as a fix."""


def _words(*patterns: str) -> re.Pattern[str]:
    return re.compile(rf"\b(?:{'|'.join(patterns)})\b", re.IGNORECASE)


_REPAIR = (
    *("fix(?:e[sd]|ing)?", "bug(?:s|fix(?:es)?)?", "hotfix", "regression", "broken"),
    "crash(?:es|ed|ing)?",
)
_STRONG = _words(*_REPAIR)
_FIX = _words(
    *_REPAIR,
    *("breaks?", "incorrect(?:ly)?", "wrong(?:ly)?", "fail(?:s|ed|ing|ure)?", "error(?:s|neous)?"),
    *("leak(?:s|ed)?", "correct(?:s|ed|ly)?", "repair(?:s|ed)?", "off[- ]by[- ]one", "overflow"),
    *("infinite (?:loop|recursion)", "hang(?:s|ing)?", "deadlock", "should(?: not|n't)"),
    *("must not", "handle[sd]?", "ensure[sd]?", "prevent(?:s|ed)?", "avoid(?:s|ed)?", "missing"),
    "properly",
)
_CHORE = _words(
    *("typos?", "spelling", "docs?", "docstrings?", "documentation", "readme", "changelog"),
    *("comments?", "lint(?:er|ing)?", "flake8", "pep-?8", "pylint", "ruff", "black", "isort"),
    *("mypy", "pyright", "typing", "type (?:hints?|annotations?)", "stubs?", "format(?:ting)?"),
    *("whitespace", "indentation", "style", "coverage", "travis", "tox", "ci", "github actions?"),
    *("workflow", "pre-commit", "bump", "release", "version", "merge", r"deprecat\w*"),
    *(r"refactor\w*", "clean ?up", "rename[sd]?", "imports?", "benchmarks?", "doctests?"),
    *(r"unif(?:y|ies|ied)", r"simplif\w*", r"rewr[io]t\w*", r"restructur\w*", "naming"),
    *("warnings?", r"python ?[23](?:\.\d+)?", "pypy", "compat(?:ibility)?", "modernize"),
    "(?:unit ?)?tests?",
)
_FEATURE = re.compile(
    r"^\W*(?:feat\w*\b|add(?:s|ed|ing)?\b|new\b|implement\w*|introduc\w*|support\w*|allow\w*|speed)",
    re.IGNORECASE,
)
_ENTRY = re.compile(r"\s{0,3}(?:[-*+•]|\(?\d+[.)])\s+(?P<text>\S.*)")
_HEADING = re.compile(
    r"(?P<marks>#+|\*\*|__)?\W*(?P<text>[A-Za-z][\w /&,'-]{2,50}?)(?:\*\*|__)?:?\s*"
)
_RULE = re.compile(r"\s*([=\-~^*+#\"'`:._])\1{2,}\s*")
_PROSE = _words(
    *("typos?", "docs?", "docstrings?", "documentation", "readme", "changelog", "ci", r"lint\w*"),
    *("mypy", "type (?:hints?|annotations?)", "stubs?", "tests?"),
)
"""What an entry of a change log may repair that is no code."""
_PATCH = re.compile(r"(?:\d+!)?\d+\.\d+\.(?:0*[1-9]\d*)(?:\.\d+)*(?:[-.]?post\d*)?|.*post\d*")
_SETTINGS = re.compile(
    r"(?:.*/)?(?:setup\.(?:py|cfg)|pyproject\.toml|tox\.ini|\.?pytest\.(?:ini|toml)|[\w-]+\.lock"
    r"|[\w.-]*requirements[\w.-]*\.txt|package(?:-lock)?\.json|Cargo\.toml|go\.(?:mod|sum))"
)
"""What decides a verdict and is no test: it says how tests are installed and run."""
_TAKEN_BACK = re.compile(r"^\W*revert(?:s|ed)?\W+\"(?P<subject>.*)\"\W*$", re.IGNORECASE)
_CLOSES = re.compile(
    r"\b(?:fix(?:e[sd])?|close[sd]?|resolve[sd]?)[\s:]+(?:issue\s*)?(?:[\w./-]*#|gh-|issue\s*)\d+",
    re.IGNORECASE,
)
_ISSUE = re.compile(r"(?:#|\bgh-|\bissues?[ /#]*)(\d+)\b", re.IGNORECASE)


class Passed(enum.StrEnum):
    """Why a commit is passed over."""

    MERGE = "merge"
    """It joins branches; what it joins is looked at by itself."""
    ROOT = "root"
    """Nothing is before it: the first commit, or the edge of a shallow clone."""
    NO_SOURCE = "no-source"
    """It changes no file that a candidate may change."""
    NEW_FILES = "new-files"
    """All source it touches is new, gone or merely moved: there is no earlier code."""
    TOO_LARGE = "too-large"
    """It changes more source than a fix does."""
    NOT_A_FIX = "not-fix-like"
    """Nothing it says or touches makes it a fix."""
    FILE_GONE = "file-gone"
    """The newest commit has none of its files any more, or they run at no test."""
    CONFLICT = "conflict"
    """What it changed has been changed again since."""
    UNDONE = "undone"
    """The newest commit has the earlier code already."""
    UNREADABLE = "unreadable"
    """The repository lacks its contents (a partial clone), or they are no text."""


@dataclass(frozen=True, slots=True)
class Signals:
    """What speaks for and against a commit being a bug fix."""

    fix_words: tuple[str, ...]
    """Words of repair in its subject."""
    chore_words: tuple[str, ...]
    """Words of housekeeping in its subject."""
    feature: bool
    """Its subject begins as that of a new feature does."""
    closes: bool
    """It says that it fixes or closes an issue."""
    issues: tuple[str, ...]
    """Numbers of the issues it names."""
    test_files: int
    """Tests it changes."""
    source_files: int
    """Source files it changes that were there before."""
    source_lines: int
    """Lines of those it adds or removes."""
    kinds: dict[str, int]
    """Files by kind: `source`, `test`, `settings`, `binary`, `submodule`, `other`."""
    weight: int
    """The sum; `NEEDED` makes it a fix."""
    release: str | None = None
    """The version of a release that stands for a commit."""
    repairs: tuple[str, ...] = ()
    """What a release's change log says that it repairs, entry by entry."""


@dataclass(frozen=True, slots=True)
class Fix:
    """A commit that reads like a bug fix."""

    commit: Commit
    """The commit."""
    signals: Signals
    """Why it counts as a fix."""
    sources: tuple[FileChange, ...]
    """Its changes of source files that were there before."""

    @property
    def mixed(self) -> bool:
        """True for a release: what it changes belongs to several fixes, and to more than fixes.

        Each hunk is then a change of its own, and `signals.repairs` says what of.
        """
        return self.signals.release is not None


def look(
    commit: Commit, *, is_source: Callable[[str], bool], is_test: Callable[[str], bool]
) -> Fix | Passed:
    """What a commit is: a fix, or the first reason to pass it over."""
    if len(commit.parents) > 1:
        return Passed.MERGE
    if not commit.parents:
        return Passed.ROOT
    kinds: Counter[str] = Counter()
    touched = []
    for change in commit.changes:
        kind = _kind(change, is_source, is_test)
        kinds[kind] += 1
        if kind == "source":
            touched.append(change)
    if not touched:
        return Passed.NO_SOURCE
    sources = tuple(
        change for change in touched if change.status in "MR" and change.old != change.new
    )
    if not sources:
        return Passed.NEW_FILES
    if commit.release is not None:
        return _release(commit, kinds, sources)
    lines = sum(change.added + change.removed for change in sources)
    if len(sources) > MAX_SOURCES or lines > MAX_LINES:
        return Passed.TOO_LARGE
    signals = _signals(commit, kinds, len(sources), lines)
    if signals.weight < NEEDED:
        return Passed.NOT_A_FIX
    return Fix(commit, signals, sources)


def _release(commit: Commit, kinds: Counter[str], sources: tuple[FileChange, ...]) -> Fix | Passed:
    """What a release is: as a commit, but its files are taken one by one."""
    assert commit.release is not None
    repairs = entries_of_repair(commit.body)
    small = tuple(one for one in sources if one.added + one.removed <= MAX_LINES)
    lines = sum(one.added + one.removed for one in small)
    if len(small) > (MAX_RELEASE_SOURCES if repairs else MAX_SOURCES) or not small:
        return Passed.TOO_LARGE
    if not repairs and (lines > MAX_LINES or len(small) < len(sources)):
        return Passed.TOO_LARGE
    patch = _PATCH.fullmatch(commit.release) is not None
    weight = 2 * bool(repairs) + 2 * patch
    if weight < NEEDED:
        return Passed.NOT_A_FIX
    text = "\n".join(repairs)
    signals = Signals(
        fix_words=_each_once(_FIX, text),
        chore_words=(),
        feature=False,
        closes=_CLOSES.search(text) is not None,
        issues=_each_once(_ISSUE, text),
        test_files=kinds["test"],
        source_files=len(small),
        source_lines=lines,
        kinds=dict(kinds),
        weight=weight + bool(kinds["test"]),
        release=commit.release,
        repairs=repairs,
    )
    return Fix(commit, signals, small)


def entries_of_repair(text: str) -> tuple[str, ...]:
    """The entries of a release's change log that speak of repair, each in one line.

    All those beneath a heading of repairs ("Fixed", "Bug Fixes"); elsewhere those that use its
    words, and are no feature and no housekeeping.
    """
    return tuple(
        said
        for heading, said in _entries(text.splitlines())
        if _STRONG.search(heading)
        or (
            (_STRONG if heading else _FIX).search(said)
            and not _FEATURE.match(said)
            and not _PROSE.search(said)
        )
    )


def _entries(lines: list[str]) -> Iterator[tuple[str, str]]:
    """The entries of a change log, each with the heading that it stands under, empty for none.

    Where there is no list, each paragraph is an entry.
    """
    listed = any(_ENTRY.fullmatch(line) for line in lines)
    heading, entry = "", list[str]()
    for number, line in enumerate([*lines, ""]):
        item = _ENTRY.fullmatch(line)
        title = None if item else _title(lines, number)
        if entry and (item or title or not line.strip()):
            yield heading, " ".join(entry)
            entry = []
        if item:
            entry = [item["text"].strip()]
        elif title:
            heading = title
        elif line.strip() and not _RULE.fullmatch(line) and (entry or not listed):
            entry.append(line.strip())


def _title(lines: list[str], number: int) -> str:
    """The heading that a line is, empty for another line."""
    found = _HEADING.fullmatch(lines[number]) if number < len(lines) else None
    if found is None or lines[number].startswith((" ", "\t")):
        return ""
    before = lines[number - 1].strip() if number else ""
    after = lines[number + 1].strip() if number + 1 < len(lines) else ""
    apart = not before and (not after or _ENTRY.fullmatch(after) or _RULE.fullmatch(after))
    return found["text"] if found["marks"] or apart else ""


def _signals(commit: Commit, kinds: Counter[str], sources: int, lines: int) -> Signals:
    subject = _own_words(commit.subject)
    message = f"{subject}\n{commit.body}"
    fix_words = _each_once(_FIX, subject)
    chore_words = _each_once(_CHORE, subject.replace("_", " "))
    feature = _FEATURE.match(subject) is not None
    closes = _CLOSES.search(message) is not None
    issues = _each_once(_ISSUE, message)
    weight = 2 if _STRONG.search(subject) else bool(fix_words)
    weight += 2 if closes else bool(issues)
    weight += bool(kinds["test"])
    weight -= 2 * bool(chore_words) + 2 * feature
    return Signals(
        fix_words=fix_words,
        chore_words=chore_words,
        feature=feature,
        closes=closes,
        issues=issues,
        test_files=kinds["test"],
        source_files=sources,
        source_lines=lines,
        kinds=dict(kinds),
        weight=weight,
    )


def _each_once(pattern: re.Pattern[str], text: str) -> tuple[str, ...]:
    """What a pattern finds, in lower case and in the text's order."""
    return tuple(dict.fromkeys(word.lower() for word in pattern.findall(text)))


def _own_words(subject: str) -> str:
    """A subject without what it quotes of a commit that it takes back.

    What takes a fix back is none; what takes that back again is the fix.
    """
    found = _TAKEN_BACK.match(subject)
    if found is None:
        return subject
    again = _TAKEN_BACK.match(found["subject"])
    return _own_words(again["subject"]) if again else "Revert"


def _kind(
    change: FileChange, is_source: Callable[[str], bool], is_test: Callable[[str], bool]
) -> str:
    if change.submodule:
        return "submodule"
    if change.binary:
        return "binary"
    if is_test(change.path):
        return "settings" if _SETTINGS.fullmatch(change.path) else "test"
    return "source" if is_source(change.path) else "other"
