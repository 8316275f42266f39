"""Several sources are drawn as one, and one that lives on the others waits for them."""

from __future__ import annotations

from collections import Counter

from flywheel.candidates import NotReady, Sources
from flywheel.core.records import Candidate, Span


class Few:
    """A source of so many candidates."""

    def __init__(self, name: str, count: int) -> None:
        self.made = 0
        self.pruned: Counter[str] = Counter()
        self.reported: list[str] = []
        self._name = name
        self._left = count

    def draw(self) -> Candidate | None:
        if not self._left:
            return None
        self._left -= 1
        self.made += 1
        return Candidate(
            f"{self._name}{self.made}", "", Span(0, 0), "", "", 1, 1, self._name, "", "", "", ""
        )

    def report(self, drawn: Candidate, verdict: str, seconds: float) -> None:
        self.reported.append(drawn.path)


def drawn(sources: Sources) -> list[str]:
    """Paths in the order drawn, each reported at once."""
    found = []
    while (one := sources.draw()) is not None:
        assert isinstance(one, Candidate)
        found.append(one.path)
        sources.report(one, "valid", 0.1)
    return found


def test_sources_are_drawn_to_their_end_in_order() -> None:
    assert drawn(Sources({"a": Few("a", 2), "b": Few("b", 1)})) == ["a1", "a2", "b1"]


def test_one_that_lives_on_others_is_last_wherever_it_is_named() -> None:
    sources = Sources({"fed": Few("fed", 2), "a": Few("a", 2)}, fed="fed")
    assert drawn(sources) == ["a1", "a2", "fed1", "fed2"]


def test_the_others_go_on_after_it_where_they_had_their_ration() -> None:
    sources = Sources({"a": Few("a", 4), "fed": Few("fed", 1)}, fed="fed", ration=3)
    assert drawn(sources) == ["a1", "a2", "a3", "fed1", "a4"]


def test_it_waits_until_what_the_others_made_is_reported_and_not_for_its_own() -> None:
    fed = Few("fed", 2)
    sources = Sources({"a": Few("a", 1), "fed": fed}, fed="fed")
    first = sources.draw()
    assert isinstance(first, Candidate)
    assert isinstance(sources.draw(), NotReady)
    assert fed.made == 0
    sources.report(first, "valid", 0.1)
    assert [one.path for _ in range(2) if isinstance(one := sources.draw(), Candidate)] == [
        "fed1",
        "fed2",
    ]
    assert sources.draw() is None
    assert sources.made == 3
