"""What a release's own change log says of it.

Change logs are written by people: a heading with the version (two numbers at least), in Markdown,
reStructuredText or plain text, and beneath it what changed, up to the next version's heading. Or a
folder with one file a version. Nothing is rendered, reordered or left out but what is too long to
be read.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from packaging.version import Version

from flywheel.git.release import version_of

LARGEST = 8_000
"""Characters of a section that are kept; what is beyond is cut at a line."""
CUT = "…"
"""Stands at the end of a section that was cut."""

_NAMES = r"change(?:s|[-_ ]?log)|history|news|release[-_ ]?(?:notes|history)?s?|what'?s[-_ ]?new"
_TEXT = r"(?:\.(?:rst|md|markdown|txt|rest))?"
_FOLDER = r"(?:docs?/)?(?:source/|src/)?"
_FILE = re.compile(rf"{_FOLDER}(?:{_NAMES}){_TEXT}", re.IGNORECASE)
_FILE_EACH = re.compile(
    rf"{_FOLDER}(?:{_NAMES})/(?:[\w.-]+/)?(?P<stem>[^/]+?)\.(?:rst|md|markdown|txt)", re.IGNORECASE
)
_NUMBER = r"v?(?P<version>(?:\d+!)?\d+(?:\.\d+)+(?:[-._]?(?:a|b|rc|alpha|beta|dev|post)[-._]?\d*)?)"
_HEADING = re.compile(
    rf"\s{{0,3}}(?P<marks>[#=*`\[(_:~-]*)\s*(?:(?:what's\s+)?(?:new|changes|news)\s+in\s+)?"
    rf"(?P<word>(?!(?:version|release|ver)\b)[\w.-]+\s+)?(?:(?:version|release|ver)\s*:?\s*)?[\[(*`_]*{_NUMBER}(?![\w.]*\w)"
    r"(?P<rest>.*)",
    re.IGNORECASE,
)
_LINE = re.compile(r"\s*([=\-~^*+#\"'`:._<>])\1{2,}\s*")
"""A line that stands under, or over, a heading."""
_DATED = re.compile(
    r"[\])*`_:=\s]*(?:$|[(\[/,–—-]|:\s*$|(?:unreleased|released?)\b|\d{4}|"
    r"(?:jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)\w*\b)",
    re.IGNORECASE,
)
"""What may follow the version in a heading that has neither marks nor a line under it."""
_LONGEST = 100
"""Characters of a heading."""


@dataclass(frozen=True, slots=True)
class _Section:
    version: Version
    text: str


@dataclass(frozen=True, slots=True)
class _Heading:
    version: Version
    marked: bool
    """True where marks or a line under it say that it is one."""
    alone: bool
    """True where it is a version and nothing else."""


def is_changelog(path: str) -> bool:
    """Whether a file of this path may be a change log, or one release's part of it."""
    return _FILE.fullmatch(path) is not None or _FILE_EACH.fullmatch(path) is not None


def section(files: Iterable[tuple[str, str]], version: str, earlier: str | None) -> str:
    """What change logs, as paths and texts, say of a release; empty where they say nothing.

    What they say of versions between `earlier` and this one belongs to it: those were not
    released, or not as sources.
    """
    newest = Version(version)
    oldest = Version(earlier) if earlier is not None else None
    for path, text in sorted(files):
        found = [
            one.text
            for one in _sections(path, text)
            if one.version == newest or (oldest is not None and oldest < one.version < newest)
        ]
        said = "\n\n".join(filter(None, found))
        if said:
            return _cut(said)
    return ""


def _sections(path: str, text: str) -> list[_Section]:
    """The parts of one file, in its order, each with the version that it is of."""
    alone = _FILE_EACH.fullmatch(path)
    if alone is not None:
        version = version_of(alone["stem"].removeprefix("v").replace("_", "."))
        if version is not None:
            return [_Section(version, text.strip())]
    lines = text.expandtabs().splitlines()
    heads = [
        (number, found)
        for number, line in enumerate(lines)
        if (found := _headed(line, lines[number + 1] if number + 1 < len(lines) else ""))
    ]
    # Where headings are marked as such, a line that merely reads like one is none.
    if any(found.marked for _, found in heads):
        heads = [(number, found) for number, found in heads if found.marked or found.alone]
    ends = [number for number, _ in heads[1:]] + [len(lines)]
    return [
        _Section(found.version, _body(lines[number + 1 : end]))
        for (number, found), end in zip(heads, ends, strict=True)
    ]


def _headed(line: str, following: str) -> _Heading | None:
    """The heading that a line is, None for another line."""
    found = _HEADING.fullmatch(line) if len(line) <= _LONGEST else None
    version = version_of(found["version"]) if found else None
    if found is None or version is None:
        return None
    alone = not found["word"] and not found["rest"].strip(" )]*`_:=")
    if "#" in found["marks"] or _LINE.fullmatch(following):
        return _Heading(version, True, alone)
    # An entry may begin with a number, and so may a date.
    plain = not found["word"] and re.match(r"\s*[*-]\s", line) is None
    return _Heading(version, False, alone) if plain and _DATED.match(found["rest"]) else None


def _body(lines: list[str]) -> str:
    """Lines beneath a heading, without what underlines it and what overlines the next one."""
    if lines and _LINE.fullmatch(lines[0]):
        lines = lines[1:]
    while lines and (not lines[-1].strip() or _LINE.fullmatch(lines[-1])):
        lines = lines[:-1]
    return "\n".join(line.rstrip() for line in lines).strip("\n")


def _cut(text: str) -> str:
    if len(text) <= LARGEST:
        return text
    return text[: text.rfind("\n", 0, LARGEST) + 1 or LARGEST].rstrip() + f"\n{CUT}"
