"""Whether a verdict that stood at one commit stands at the next."""

from __future__ import annotations

from collections.abc import Mapping

from flywheel.core.identity import bytes_hash
from flywheel.core.records import Candidate, Span
from flywheel.critic import compare, unit_at
from flywheel.orchestrator.carry import Rule
from flywheel.store import Standing
from tests.critic.versions import FILES, LINES, edited, version

PATH = "pkg/a.py"
FIRST, SECOND, THIRD, LEN = LINES


def reason(
    before: str,
    bad: str,
    change: Mapping[str, str],
    *,
    verdict: str = "valid",
    failing: tuple[str, ...] = (THIRD,),
    phase: str = "call",
    lines_after: Mapping[str, Mapping[str, list[int]]] = LINES,
) -> str:
    """What the rule says of a candidate that puts `bad` in place of `before` in the newer file."""
    new = version({**FILES, **change}, lines_after)
    old = version(FILES)
    content = new.read(PATH)
    assert content is not None
    assert content.count(before.encode()) == 1
    start = content.index(before.encode())
    held = unit_at(new.units(PATH) or (), start, start + len(before))
    candidate = Candidate(
        PATH, "", Span(start, start + len(before)), before, bad, 1, 1, "mutated", "op", "", "",
        bytes_hash(content),
    )  # fmt: skip
    row = Standing(candidate, verdict, failing, phase, "b", "c", "b", "c", "e", "t")
    return Rule(old, new, compare(old, new)).reason(row, candidate, [held[0] if held else None])


ELSEWHERE = edited(PATH, "x + 1", "1 + x")
IN_THIRD = "def third(x):\n    return x"


def test_an_example_whose_tests_are_not_in_doubt_is_kept() -> None:
    assert reason(IN_THIRD, "def third(x):\n    return 0", ELSEWHERE) == ""


def test_bad_code_that_names_changed_code_is_judged_again() -> None:
    bad = "def third(x):\n    return first(x)"
    assert reason(IN_THIRD, bad, ELSEWHERE) == "reaches-changed-code"


def test_an_example_whose_failing_test_may_reach_changed_code_is_judged_again() -> None:
    found = reason(IN_THIRD, "0", ELSEWHERE, failing=(SECOND, THIRD))
    assert found == "reaches-changed-code"


def test_an_example_whose_failing_test_is_gone_is_judged_again() -> None:
    left = {test_id: found for test_id, found in LINES.items() if test_id != THIRD}
    assert reason(IN_THIRD, "0", {}, lines_after=left) == "test-gone"


def test_an_example_of_which_no_test_surely_passes_is_judged_again() -> None:
    assert reason(IN_THIRD, "0", {}, failing=(FIRST, SECOND, THIRD, LEN)) == "no-passing-test"


def test_an_example_is_kept_though_another_test_comes_to_execute_it() -> None:
    more = {**LINES, "tests/test_c.py::test_more": {PATH: [9]}}
    change = {"tests/test_c.py": "from pkg.a import third\ndef test_more(): third(1)\n"}
    assert reason(IN_THIRD, "0", change, lines_after=more) == ""


def test_a_survivor_is_judged_again_where_another_test_comes_to_execute_it() -> None:
    change = {"tests/test_c.py": "from pkg.a import third\ndef test_more(): third(1)\n"}
    for line, expected in ((3, "new-tests"), (9, "")):
        more = {**LINES, "tests/test_c.py::test_more": {PATH: [line]}}
        found = reason("x + 1", "x", change, lines_after=more, verdict="survived", failing=())
        assert found == expected


def test_a_survivor_outside_functions_rests_on_every_test_that_loads_the_file() -> None:
    assert reason("LIMIT = 3", "LIMIT = 4", {}, verdict="survived", failing=()) == ""
    assert (
        reason("LIMIT = 3", "LIMIT = 4", ELSEWHERE, verdict="survived", failing=())
        == "reaches-changed-code"
    )


def test_data_that_changed_puts_every_verdict_in_doubt() -> None:
    assert reason(IN_THIRD, "0", {"data.json": "{}"}) == "support-changed"


def test_what_broke_everything_is_kept_only_where_nothing_can_be_collected() -> None:
    def broken(phase: str, change: Mapping[str, str]) -> str:
        return reason(
            "LIMIT = 3", "LIMIT", change,
            verdict="breaks-everything", failing=tuple(LINES), phase=phase,
        )  # fmt: skip

    change = edited("pkg/b.py", "return 0", "return 1")
    assert broken("collect", {}) == ""
    assert broken("call", {}) == "rests-on-every-test"
    # No test of tests/test_b.py is sure to fail again.
    assert broken("collect", change) == "rests-on-every-test"
