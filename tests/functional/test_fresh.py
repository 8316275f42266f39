"""Commit after commit, the store holds what a harvest from nothing would hold: the acceptance."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from textwrap import dedent
from typing import Any

from tests.functional.conftest import Shell
from tests.past import git

SHOP: dict[str, str | bytes] = {
    "pyproject.toml": """
        [tool.pytest.ini_options]
        testpaths = ["tests"]
        """,
    "README.md": "# Shop\n",
    "shop/__init__.py": "",
    "shop/money.py": """
        RATE = 3
        def tax(amount):
            if amount < 0:
                return 0
            return amount * RATE
        def least(a, b):
            if a < b:
                return a
            return b
        def old(a):
            return a + 7
        """,
    "shop/words.py": """
        def plural(word, count):
            if count == 1:
                return word
            return ending(word)
        def ending(word):
            return word + "s"
        def label(word, count):
            return f"{count} {plural(word, count)}"
        """,
    "shop/basket.py": """
        from shop.money import least, tax
        class Basket:
            limit = 100
            def __init__(self):
                self.prices = []
            def add(self, price):
                self.prices.append(least(price, self.limit))
            def total(self):
                found = 0
                for price in self.prices:
                    found += price + tax(price)
                return found
        """,
    "tests/conftest.py": """
        import pytest
        from shop.basket import Basket
        @pytest.fixture
        def basket():
            made = Basket()
            made.add(10)
            return made
        """,
    "tests/test_money.py": """
        from shop.money import least, old, tax
        def test_tax(): assert tax(2) == 6
        def test_least(): assert least(1, 2) == 1
        def test_old(): assert old(1) > 7
        """,
    "tests/test_words.py": """
        from shop.words import ending, label, plural
        def test_one(): assert plural("cat", 1) == "cat"
        def test_ending(): assert ending("dog") == "dogs"
        def test_label(): assert label("cat", 1) == "1 cat"
        """,
    "tests/test_basket.py": """
        def test_total(basket): assert basket.total() > 30
        def test_limit(basket):
            basket.add(1000)
            assert basket.prices == [10, 100]
        """,
}


LIVE = """
    SELECT 'example' AS kind, path, symbol, bad, good FROM examples
    UNION ALL SELECT 'survivor', path, symbol, bad, good FROM survivors ORDER BY ALL
    """


OPERATORS = ("variable-misuse", "return-value-lost", "number-off-by-one", "guard-dropped")
"""Enough of them: some of what they make survives, each definition has its own, and two harvests
of each commit take seconds."""


@dataclass
class History:
    """A repository, the store that follows it, and stores that know only its newest commit."""

    root: Path
    shell: Shell
    fresh: Callable[[], Shell]
    summaries: list[dict[str, Any]] = field(default_factory=list)

    def commit(self, message: str, files: dict[str, str | None]) -> dict[str, Any]:
        """Commit files (None deletes one), harvest, and compare with a harvest from nothing."""
        for path, text in files.items():
            place = self.root / path
            if text is None:
                place.unlink()
            else:
                place.parent.mkdir(parents=True, exist_ok=True)
                place.write_text(dedent(text))
        git(self.root, "add", "-A")
        git(self.root, "commit", "--quiet", "--allow-empty", "-m", message)
        return self.harvest()

    def harvest(self) -> dict[str, Any]:
        every = "--operators", ",".join(OPERATORS), "--max-candidates", "0"
        ran = self.shell.harvest(self.root, *every)
        assert ran.code == 0, ran.err
        other = self.fresh()
        alone = other.harvest(self.root, *every)
        assert alone.code == 0, alone.err
        assert alone.summary["carried"] == {
            "kept": 0, "judged_again": 0, "retired": 0, "reasons": {},
        }  # fmt: skip
        assert alone.summary["candidates"]["unknown"] == 0
        assert self.shell.sql(LIVE) == other.sql(LIVE)
        return ran.summary

    def swap(self, path: str, before: str, after: str) -> str:
        """The text of a file with one part changed."""
        text = (self.root / path).read_text()
        assert text.count(before) == 1
        return text.replace(before, after)


def test_after_each_commit_the_store_holds_what_a_harvest_from_nothing_holds(
    tmp_path: Path, cache: Path, repository: Callable[..., Path]
) -> None:
    numbers = iter(range(100))

    def shell() -> Shell:
        folder = tmp_path / f"shell{next(numbers)}"
        folder.mkdir()
        return Shell(folder, cache)

    past = History(repository(package=SHOP), shell(), shell)
    first = past.harvest()
    everything = first["candidates"]["judged"]
    assert everything > 25
    assert first["candidates"]["survived"] > 0

    # 1. A function changed: what calls it is judged again, what does not is not. `test_one` never
    # runs it, but a mutant of `plural` makes it do so, and is noticed no more.
    ending = 'word if word == "cat" else word + "s"'
    done = past.commit(
        "Function", {"shop/words.py": past.swap("shop/words.py", 'word + "s"', ending)}
    )
    assert done["carried"]["kept"] > 0
    assert 0 < done["candidates"]["judged"] < everything / 2
    reasons = done["carried"]["reasons"].keys()
    assert reasons - {"rests-on-every-test"} == {"code-changed", "reaches-changed-code"}
    # 2. A test changed: it kills what survived.
    survived = done["candidates"]["survived"]
    done = past.commit(
        "Test", {"tests/test_money.py": past.swap("tests/test_money.py", "> 7", "== 8")}
    )
    assert done["candidates"]["survived"] < survived
    assert done["carried"]["reasons"].keys() - {"rests-on-every-test"} == {"test-changed"}
    # 3. A new test, in a file of its own.
    done = past.commit(
        "New test",
        {
            "tests/test_more.py": """
                from shop.money import least
                def test_more(): assert least(4, 3) == 3
                """
        },
    )
    assert done["carried"]["reasons"].keys() - {"rests-on-every-test"} == {"new-tests"}
    # 4. Documentation only: nothing is judged.
    done = past.commit("Documentation", {"README.md": "# The shop\n", "docs/index.md": "Shop\n"})
    assert done["carried"]["kept"] > 0
    assert done["carried"]["reasons"].keys() <= {"rests-on-every-test"}
    # What makes every test fail one by one is judged anew.
    assert done["candidates"]["judged"] <= done["candidates"]["breaks_everything"]
    # 5. A file is renamed.
    text = (past.root / "shop/words.py").read_text()
    done = past.commit(
        "Rename",
        {
            "shop/words.py": None,
            "shop/text.py": text,
            "tests/test_words.py": past.swap("tests/test_words.py", "shop.words", "shop.text"),
        },
    )
    assert done["carried"]["retired"] > 0
    assert done["carried"]["kept"] > 0
    # 6. conftest changed: every test below it is in doubt.
    done = past.commit(
        "conftest", {"tests/conftest.py": past.swap("tests/conftest.py", "add(10)", "add(20)")}
    )
    assert done["carried"]["kept"] == 0
    # 7. What defines the environment changed.
    done = past.commit(
        "Settings",
        {"pyproject.toml": past.swap("pyproject.toml", '["tests"]', '["tests"]\naddopts = "-q"')},
    )
    assert done["carried"]["kept"] == 0
    assert done["carried"]["reasons"].keys() == {"environment-changed"}
    # 8. A function is deleted, with its test.
    test = past.swap("tests/test_money.py", "least, old, tax", "least, tax")
    done = past.commit(
        "Deletion",
        {
            "shop/money.py": past.swap("shop/money.py", "def old(a):\n    return a + 7\n", ""),
            "tests/test_money.py": test.replace("def test_old(): assert old(1) == 8\n", ""),
        },
    )
    assert done["carried"]["reasons"]["code-gone"] > 0
    assert past.shell.sql("SELECT DISTINCT symbol FROM examples WHERE symbol = 'old'") == []
    assert past.shell.sql("SELECT DISTINCT symbol FROM retired WHERE reason = 'code-gone'")
    # 9. Code moves down by lines above it.
    text = (past.root / "shop/basket.py").read_text()
    done = past.commit("Lines", {"shop/basket.py": f"# Prices are\n# whole numbers.\n{text}"})
    assert done["carried"]["reasons"].keys() <= {"rests-on-every-test"}
    # 10. A module that has nothing to do with the rest.
    done = past.commit(
        "Unrelated",
        {
            "shop/colour.py": "def shade(name):\n    return 'dark' + name\n",
            "tests/test_colour.py": """
                from shop.colour import shade
                def test_shade(): assert shade('red') == 'darkred'
                """,
        },
    )
    assert done["carried"]["kept"] > 0
    assert done["candidates"]["judged"] < everything / 4
    # What was kept is replayed where it was proven.
    replayed = past.shell.run("replay", "--sample", "4", "--json")
    assert replayed.code == 0, replayed.out + replayed.err
    # Harvesting the same commit again says the same.
    again = past.harvest()
    assert again["carried"] == done["carried"]
    assert again["candidates"]["judged"] == 0


def test_going_back_to_a_commit_lets_its_verdicts_stand_again(
    shell: Shell, repository: Callable[..., Path]
) -> None:
    root = repository()
    assert shell.harvest(root, "--max-candidates", "0").code == 0
    before = shell.sql(LIVE)
    text = (root / "pkg/numbers.py").read_text()
    (root / "pkg/numbers.py").write_text(text.replace("return a + b", "return b + a"))
    git(root, "commit", "--quiet", "-a", "-m", "Other")
    assert shell.harvest(root, "--max-candidates", "0").code == 0
    assert shell.sql(LIVE) != before
    git(root, "reset", "--quiet", "--hard", "HEAD~1")
    back = shell.harvest(root, "--max-candidates", "0")
    assert back.code == 0, back.err
    assert back.summary["candidates"]["judged"] == 0
    assert shell.sql(LIVE) == before


def test_a_branch_is_harvested_by_what_it_changed(
    tmp_path: Path, shell: Shell, repository: Callable[..., Path]
) -> None:
    root = repository()
    first = shell.harvest(root, "--max-candidates", "0")
    assert first.code == 0, first.err
    git(root, "branch", "start")

    nothing = shell.run("harvest", "--repo", str(root), "--since", "start")
    assert nothing.code == 0, nothing.err
    assert "nothing to judge" in nothing.out
    unknown = shell.run("harvest", "--repo", str(root), "--since", "strat")
    assert unknown.code == 2
    assert "no revision 'strat'" in unknown.err

    text = (root / "pkg/numbers.py").read_text()
    (root / "pkg/numbers.py").write_text(text.replace("if a < b", "if b > a"))
    git(root, "commit", "--quiet", "-a", "-m", "Other")
    behind = json.loads(shell.run("status", "--json").out)[0]
    assert (behind["fresh"], behind["behind"], behind["environment_changed"]) == (False, 1, False)
    assert behind["next"] == f"flywheel harvest --repo {root}"

    sources = ("--source", "mutated,reverted")
    part = shell.harvest(root, "--max-candidates", "0", "--since", "start", *sources)
    assert part.code == 0, part.err
    partly = json.loads(shell.run("status", "--json").out)[0]
    assert partly["next"] == f"flywheel harvest --repo {root} --source mutated,reverted"
    assert part.summary["since"]["definitions"] == 1
    assert 0 < part.summary["candidates"]["judged"] < first.summary["candidates"]["judged"] / 2
    head = git(root, "rev-parse", "HEAD").strip()
    symbols = shell.sql(f"SELECT DISTINCT symbol FROM examples WHERE \"commit\" = '{head}'")
    assert symbols == [{"symbol": "least"}]

    whole = shell.harvest(root, "--max-candidates", "0")
    assert whole.code == 0, whole.err
    assert whole.summary["carried"]["kept"] > 0
    other = Shell(tmp_path, shell.cache)
    assert other.harvest(root, "--max-candidates", "0").code == 0
    assert shell.sql(LIVE) == other.sql(LIVE)
    fresh = json.loads(shell.run("status", "--json").out)[0]
    assert (fresh["fresh"], fresh["next"]) == (True, None)
    assert fresh["examples"]["live"] == whole.summary["examples"]["total"]
    gone = shell.sql("SELECT path FROM retired WHERE verdict = 'valid' AND state = 'retired'")
    assert fresh["examples"]["retired"] == len(gone)
    assert str(root) in shell.run("status").out
