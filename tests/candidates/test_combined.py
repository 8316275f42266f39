"""Proven bugs are combined where they stand apart and each has a test of its own, and not often."""

from __future__ import annotations

import ast
import subprocess
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import count
from pathlib import Path

import pytest

from flywheel.candidates.combined import APART, MAX_USES, SHARE, Bug, CombinedSource
from flywheel.candidates.module import Edit, Module
from flywheel.candidates.mutate import candidate, site_of
from flywheel.core.records import Candidate, Span

WORDS = b'''class Words:
    """Words."""

    def first(self, words):
        return words[0]

    def longest(self, words):
        best = ""
        for word in words:
            if len(word) > len(best):
                best = word
        return best


def initials(words):
    return "".join(word[:1] for word in words)
'''
NUMBERS = b"""def plus(a, b):
    return a + b


def checked(n):
    if n:
        note(n)
        warn(n)
    return n
"""
CONTENTS = {"pkg/words.py": WORDS, "pkg/numbers.py": NUMBERS, "other/numbers.py": NUMBERS}
_NUMBER = count()


def bug(
    before: str,
    after: str,
    *failing: str,
    path: str = "pkg/words.py",
    operator: str = "",
    contents: Mapping[str, bytes] = CONTENTS,
) -> Bug:
    """A bug that replaces the one place where `before` stands."""
    source = contents[path]
    start = source.index(before.encode())
    assert source.count(before.encode()) == 1
    edit = Edit(Span(start, start + len(before.encode())), after)
    site = site_of(edit, operator or f"operator-{next(_NUMBER)}", Module(source))
    found = candidate(path, source, site)
    return Bug(found, frozenset(failing or {before}), found.candidate_id)


def drawn(
    bugs: Sequence[Bug],
    *,
    seed: int = 0,
    known: Iterable[Sequence[str]] = (),
    contents: Mapping[str, bytes] = CONTENTS,
) -> list[Candidate]:
    source = CombinedSource(contents, bugs=lambda: bugs, known=lambda: known, seed=seed)
    found = []
    while one := source.draw():
        found.append(one)
    assert source.made == len(found) + sum(source.pruned.values())
    return found


def pair(one: Bug, other: Bug, **more: Mapping[str, bytes]) -> list[Candidate]:
    """What comes of two bugs alone: one combination or none."""
    return drawn([one, other], **more)


FIRST = bug("words[0]", "words[1]")
LONGEST = bug("> len(best)", "< len(best)")
INITIALS = bug("word[:1]", "word[:2]")
PLUS = bug("a + b", "a - b", path="pkg/numbers.py")


def test_two_definitions_of_one_file_are_joined_in_file_order() -> None:
    (found,) = pair(INITIALS, FIRST)
    assert (found.source, found.operator) == ("combined", "combined-2")
    assert [change.before for change in found.changes] == ["words[0]", "word[:1]"]
    assert (found.path, found.symbol, found.line) == ("pkg/words.py", "Words.first", 5)
    assert found.good == (
        "# pkg/words.py: Words.first\ndef first(self, words):\n    return words[0]\n\n\n"
        "# pkg/words.py: initials\ndef initials(words):\n"
        '    return "".join(word[:1] for word in words)'
    )
    assert found.bad == found.good.replace("words[0]", "words[1]").replace("[:1]", "[:2]")
    ast.parse(found.bad)


def test_two_changes_of_one_definition_show_in_one_text() -> None:
    whole = bug("class Words:", "class Words(list):")
    (found,) = pair(whole, FIRST)
    assert found.good == "# pkg/words.py: Words\n" + WORDS.decode().partition("\n\n\ndef")[0]
    assert found.bad.startswith("# pkg/words.py: Words\nclass Words(list):")
    assert "return words[1]" in found.bad


def test_a_combination_of_two_files_has_one_patch_that_git_applies(tmp_path: Path) -> None:
    (found,) = pair(PLUS, FIRST)
    assert [change.path for change in found.changes] == ["pkg/numbers.py", "pkg/words.py"]
    for path, base in CONTENTS.items():
        place = tmp_path / path
        place.parent.mkdir(exist_ok=True)
        for change in found.changes:
            if change.path == path:
                base = base.replace(change.before.encode(), change.after.encode())
        place.write_bytes(base)
    subprocess.run(["git", "apply"], cwd=tmp_path, input=found.patch.encode(), check=True)
    assert {path: (tmp_path / path).read_bytes() for path in CONTENTS} == CONTENTS


def test_bugs_of_two_folders_are_not_combined() -> None:
    assert not pair(FIRST, bug("a + b", "a - b", path="other/numbers.py"))


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("> len(best)", ">= len(best)"),
        ("len(word)", "len(best)"),
        ("            if len(word) > len(best):\n", "            if True:\n"),
        ("best = word\n", "best = words\n"),
        ('best = ""', "best = 1"),
    ],
)
def test_bugs_that_lie_together_are_not_combined(before: str, after: str) -> None:
    assert not pair(LONGEST, bug(before, after))


def test_bugs_of_one_definition_are_combined_where_lines_lie_between() -> None:
    lines = "".join(f"    n += {number}\n" for number in range(APART))
    contents = {"m.py": f"def f(n):\n    n = n - 1\n{lines}    return n * 2\n".encode()}
    one = bug("n - 1", "n + 1", path="m.py", contents=contents)
    other = bug("n * 2", "n / 2", path="m.py", contents=contents)
    (found,) = pair(one, other, contents=contents)
    assert found.good.count("def f") == 1
    contents = {"m.py": contents["m.py"].replace(b"    n += 0\n", b"")}
    one = bug("n - 1", "n + 1", path="m.py", contents=contents)
    other = bug("n * 2", "n / 2", path="m.py", contents=contents)
    assert not pair(one, other, contents=contents)


@pytest.mark.parametrize(
    ("one", "other", "told"),
    [
        ({"a"}, {"b"}, True),
        ({"a", "x"}, {"b", "x"}, True),
        ({"a"}, {"a"}, False),
        ({"a"}, {"a", "b"}, False),
    ],
)
def test_each_part_has_tests_that_fail_for_no_other(
    one: set[str], other: set[str], told: bool
) -> None:
    found = pair(bug("words[0]", "words[1]", *one), bug("word[:1]", "word[:2]", *other))
    assert bool(found) is told
    for part in found[0].parts if found else ():
        assert part.tests in {tuple(one - other), tuple(other - one)}


def test_changes_that_together_cannot_be_parsed_are_pruned() -> None:
    lines = "".join(f"        # {number}\n" for number in range(APART))
    contents = {"m.py": f"def f(n):\n    if n:\n        a(n)\n{lines}        b(n)\n".encode()}
    one = bug("        a(n)\n", "", path="m.py", contents=contents)
    other = bug("        b(n)\n", "", path="m.py", contents=contents)
    source = CombinedSource(contents, bugs=lambda: [one, other], seed=0)
    assert source.draw() is None
    assert source.pruned == {"unparsable": 1}


def test_a_bug_that_was_proven_elsewhere_is_named_as_it_was_proven() -> None:
    earlier = replace(FIRST, proven_as="earlier")
    (found,) = pair(earlier, INITIALS)
    parts = [part.candidate_id for part in found.parts]
    assert sorted(parts) == sorted(["earlier", INITIALS.candidate.candidate_id])
    assert not drawn([earlier, INITIALS], known=[parts])


def test_a_bug_of_another_content_or_of_several_bugs_is_left_alone() -> None:
    (both,) = pair(FIRST, INITIALS)
    assert not pair(PLUS, Bug(both, frozenset({"x"}), both.candidate_id))
    assert not pair(FIRST, INITIALS, contents={"pkg/words.py": WORDS + b"\n"})
    assert not pair(FIRST, PLUS, contents={"pkg/words.py": WORDS})


MANY = {
    f"pkg/m{number}.py": "".join(
        f"def f{name}(n):\n    return n + {name}\n\n\n" for name in range(10)
    ).encode()
    for number in range(6)
}
BUGS = [
    bug(
        f"n + {name}",
        f"n - {name}",
        f"{path}-{name}",
        path=path,
        contents=MANY,
        operator=f"operator-{name % 3}",
    )
    for path in MANY
    for name in range(10)
]


def test_there_are_fewer_combinations_than_bugs_and_none_twice() -> None:
    found = drawn(BUGS, contents=MANY)
    assert len(found) == len(BUGS) * SHARE
    uses = Counter(part.candidate_id for one in found for part in one.parts)
    assert max(uses.values()) <= MAX_USES
    assert len({one.candidate_id for one in found}) == len(found)
    sizes = Counter(len(one.parts) for one in found)
    assert set(sizes) == {2, 3, 4}
    assert sizes[2] > sizes[4]
    by_id = {one.candidate.candidate_id: one.candidate.operator for one in BUGS}
    for one in found:
        assert len({by_id[part.candidate_id] for part in one.parts}) == min(len(one.parts), 3)


def test_some_combinations_are_of_one_file_and_some_of_a_folder() -> None:
    files = Counter(
        len({change.path for change in one.changes}) for one in drawn(BUGS, contents=MANY)
    )
    assert files[1] > 5
    assert sum(files.values()) - files[1] > 5


def test_the_same_seed_gives_the_same_combinations_whatever_order_bugs_come_in() -> None:
    found = drawn(BUGS, contents=MANY)
    assert drawn(BUGS[::-1], contents=MANY) == found
    assert drawn(BUGS, contents=MANY, seed=1) != found


def test_what_was_judged_is_not_drawn_again_and_the_rest_follows() -> None:
    found = drawn(BUGS, contents=MANY)
    known = [[part.candidate_id for part in one.parts] for one in found]
    assert not drawn(BUGS, contents=MANY, known=known)
    assert drawn(BUGS, contents=MANY, known=known[:10]) == found[10:]
