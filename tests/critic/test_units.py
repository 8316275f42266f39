"""The pieces by which two versions of a file are compared."""

from __future__ import annotations

from textwrap import dedent

from flywheel.critic import unit_at, units

SOURCE = dedent('''
    """Says what it is."""
    import os
    from pkg import name as other

    LIMIT = os.cpu_count()

    class Thing(other.Base):
        """A thing."""
        size = 1
        @property
        def half(self): return self.size / 2
        def run(self, count):
            total = count
            return missing(total, "named")

    def same(): return 1
    def same(): return 1

    if __name__ == "__main__":
        same()
    ''').encode()


def test_each_piece_of_a_file_is_a_unit() -> None:
    found = units("a.py", SOURCE, is_source=True)
    assert [unit.name for unit in found] == [
        "", "", "", "", "Thing", "Thing.half", "Thing.run", "same", "same", "",
    ]  # fmt: skip
    assert b"half" not in found[4].text
    assert [unit.number for unit in found if unit.name == "same"] == [0, 1]
    assert not found[-1].words


def test_the_text_of_a_unit_is_that_of_its_pieces() -> None:
    for unit in units("a.py", SOURCE, is_source=True):
        assert b"\0".join(SOURCE[start:end] for start, end in unit.pieces) == unit.text


def test_a_unit_mentions_names_but_not_its_own_variables() -> None:
    run = next(unit for unit in units("a.py", SOURCE, is_source=True) if unit.name == "Thing.run")
    assert run.words >= {"missing", "named"}
    assert not run.words & {"total", "count"}
    assert run.binds == {"run", "Thing"}


def test_a_region_is_found_in_the_piece_that_holds_it() -> None:
    found = units("a.py", SOURCE, is_source=True)
    start = SOURCE.index(b"size = 1")
    held = unit_at(found, start, start + 8)
    assert held is not None
    unit, piece = held
    assert (unit.name, piece) == ("Thing", 0)
    assert unit_at(found, 0, len(SOURCE)) is None


def test_lines_between_units_belong_to_none() -> None:
    moved = b"# A comment.\n\n" + SOURCE
    before = [unit.key for unit in units("a.py", SOURCE, is_source=True)]
    assert [unit.key for unit in units("a.py", moved, is_source=True)] == before


def test_the_body_of_a_function_is_told_from_its_head() -> None:
    source = b"def f(a=1):\n    return a\ndef g(): return 2\n"
    first, second = units("a.py", source, is_source=True)
    assert source[first.body :].startswith(b"return a")
    assert first.body_lines == {2}
    assert second.body_lines == frozenset()
