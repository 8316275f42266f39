"""A card says what is true of its version, in the version's own numbers, and no more."""

from __future__ import annotations

import re
from pathlib import Path
from xml.etree import ElementTree

import polars as pl
import pyarrow.parquet as pq
import pytest

from flywheel.core.errors import DatasetError, UsageError
from flywheel.curate import Card, Version, card
from flywheel.curate.markdown import code, fenced, table
from tests.fakes.versions import row, version

HOSTILE = "a|b`c</details><script>x</script>\x1b[31m\n# Head ![p](http://x.invalid/p.png)"


def cells(text: str, head: str) -> list[list[str]]:
    """The rows of the table whose first column is named so."""
    lines = text.split("\n")
    at = next(at for at, line in enumerate(lines) if line.startswith(f"| {head} |"))
    found = []
    for line in lines[at + 2 :]:
        if not line.startswith("|"):
            break
        found.append([cell.strip() for cell in line.strip("|").split("|")])
    return found


def limit(text: str, name: str) -> str:
    return next(line for line in text.split("\n") if line.startswith(f"- **{name}"))


def test_numbers_of_the_card_are_the_versions(tmp_path: Path) -> None:
    made = version(tmp_path)
    text = card(made).text
    splits = [[f"`{key}`", f"{one.rows}"] for key, one in made.manifest.splits.items()]
    assert [one[:2] for one in cells(text, "split")] == splits
    funnel = [[f"`{one.name}`", str(one.rows)] for one in made.manifest.funnel]
    assert [one[:2] for one in cells(text, "stage")] == funnel
    assert cells(text, "stage")[1][2:] == ["`long-error` 2, `flaky` 1", "12"]
    for column in ("repo", "license", "source", "operator", "difficulty"):
        said = {one[0].split("`")[1]: int(one[1]) for one in cells(text, column)}
        assert said == made.manifest.statistics[column]
    quantiles = [list(map(int, cuts.values())) for cuts in made.manifest.quantiles.values()]
    assert [list(map(int, one[1:])) for one in cells(text, "of a row")] == quantiles
    for one in made.manifest.splits.values():
        assert one.sha256 in text
    assert {made.id, made.manifest.recipe, made.manifest.code} <= set(re.findall(r"[\w@-]+", text))


def test_the_words_of_the_author_come_first(tmp_path: Path) -> None:
    made = version(tmp_path)
    rules = made.manifest.rules
    words = (made.folder / "card.md").read_text().strip()
    text = card(made).text
    order = [rules.title, rules.description, words, made.id, "## An example"]
    places = [text.index(one, 60) for one in order]
    assert places == sorted(places)


def test_the_shortest_row_of_train_is_shown_whole(tmp_path: Path) -> None:
    turn = {"role": "user", "content": "short"}
    rows = {"train": [row(1), row(2, prompt=[turn]), row(3)], "holdout": [row(4, prompt=[turn])]}
    text = card(version(tmp_path, rows=rows)).text
    assert f"`{row(2)['row_id']}`" in text
    assert "```markdown\nshort\n```" in text
    assert str(row(2)["error"]) in text
    assert "def total(a, b):\n    return a + b" in text
    assert str(row(4)["row_id"]) not in text
    assert f"flywheel replay {row(2)['example_id']}\n" in text


def test_a_wrong_answer_is_shown_beside_the_right_one(tmp_path: Path) -> None:
    rejected = [{"role": "assistant", "content": "return a * b"}]
    text = card(version(tmp_path, rows={"train": [row(1, rejected=rejected)]})).text
    assert "**A wrong answer in its place**\n\n```markdown\nreturn a * b\n```" in text
    assert "wrong answer in its place" not in card(version(tmp_path)).text


def test_no_row_but_those_that_train_is_shown(tmp_path: Path) -> None:
    text = card(version(tmp_path, rows={"holdout": [row(1)]})).text
    assert "None is shown" in text
    assert "There are no rows in `train` and `validation`." in text
    assert str(row(1)["error"]) not in text
    assert '"holdout": "holdout.parquet"' in text
    assert "train.parquet" not in text


def test_a_version_without_rows_has_a_card(tmp_path: Path) -> None:
    made = card(version(tmp_path, rows={}))
    assert "these 0 rows" in made.text
    assert "There are no rows, and so no licences." in made.text
    assert "Nothing is held out." in made.text
    assert "nan" not in made.text.lower().split()


def test_what_is_not_known_is_not_said_to_be_nothing(tmp_path: Path) -> None:
    rows = {"train": [row(1, oracle_strength=None, flake_rate=None, license=None)]}
    text = card(version(tmp_path, rows=rows)).text
    assert limit(text, "Tests").startswith("- **Tests were not audited.**")
    assert "not known of any row" in limit(text, "Flaky tests")
    assert cells(text, "licence") == [["none was found", "1", "1", "100.0 %"]]
    assert cells(text, "repository")[0][1] == "none was found"


def test_audited_tests_are_told_by_their_number_and_median(tmp_path: Path) -> None:
    strengths = (None, 0.5, 0.7, 0.9, 1.0, 1.0)
    rows = [row(at, oracle_strength=one) for at, one in enumerate(strengths)]
    said = limit(card(version(tmp_path, rows={"train": rows})).text, "Tests")
    assert "5 of 6 rows (83.3 %)" in said
    assert "is 0.90, the least 0.50, and 2 rows are below 0.8. 1 row has" in said


def test_flaky_rows_and_long_rows_are_counted(tmp_path: Path) -> None:
    long = [{"role": "user", "content": "x" * 4097}]
    half = [{"role": "user", "content": "x" * 4090}]
    rows = [row(0, prompt=long), row(1, prompt=half, flake_rate=0.25), row(2), row(3)]
    text = card(version(tmp_path, rows={"train": rows[:2], "holdout": rows[2:]})).text
    assert "1 row has a rate above 0, at most 0.25." in limit(text, "Flaky tests")
    assert "1 of 4 rows (25.0 %) have a question" in limit(text, "Length")
    assert "2 of 4 rows (50.0 %) are with their answer" in limit(text, "Length")


def test_a_difficulty_that_was_guessed_is_said_to_be(tmp_path: Path) -> None:
    rows = [row(0, solved=0.5), row(1), row(2, solved=0.0)]
    text = card(version(tmp_path / "some", rows={"train": rows})).text
    assert "hardly tried, and 1 of 3 rows (33.3 %) no model has tried" in limit(text, "Difficulty")
    text = card(version(tmp_path / "none", rows={"train": rows[::2]})).text
    assert "have tried to mend every row" in limit(text, "Difficulty")


def test_made_bugs_are_told_from_those_of_people(tmp_path: Path) -> None:
    rows = [row(0), row(1, source="mined"), row(2, source="written"), row(3, source="reverted")]
    text = card(version(tmp_path / "some", rows={"train": rows})).text
    assert "2 of 4 rows (50.0 %) are bugs that were made" in limit(text, "Made bugs")
    text = card(version(tmp_path / "none", rows={"train": [rows[1]]})).text
    assert "All of them are bugs that people made" in limit(text, "Where bugs come from")


def test_every_work_is_named_with_its_licence_and_commits(tmp_path: Path) -> None:
    rows = [row(at, repo=f"r{at % 2}", commit=f"{at:040x}", license="MIT") for at in range(10)]
    rows.append(row(10, repo="r1", commit="f" * 40, license="BSD-3-Clause"))
    text = card(version(tmp_path, rows={"train": rows})).text
    first, second = cells(text, "repository")
    assert first[0] == "`r0`" and first[3] == "5"  # noqa: PT018  one row of a table
    assert first[2] == f"`{0:040x}`, `{2:040x}`, `{4:040x}` and 2 more"
    assert second[1] == "`BSD-3-Clause`, `MIT`"
    assert cells(text, "licence") == [
        ["`MIT`", "2", "10", "90.9 %"],
        ["`BSD-3-Clause`", "1", "1", "9.1 %"],
    ]


def test_hostile_text_is_neither_markup_nor_obeyed(tmp_path: Path) -> None:
    said = [{"role": "user", "content": f"````\n{HOSTILE}"}]
    hostile = dict.fromkeys(("repo", "path", "symbol", "operator", "license", "error"), HOSTILE)
    made = card(version(tmp_path, rows={"train": [row(1, prompt=said, **hostile)]}))
    outside = re.sub(r"^(`{3,}).*?^\1$", "", made.text, flags=re.DOTALL | re.MULTILINE)
    assert "<script" not in outside
    assert "![p]" not in outside
    assert "\n# Head" not in outside
    assert outside.count("</details>") == outside.count("<details>")
    assert "\x1b" not in made.text
    assert "`````markdown\n````\n" in made.text
    assert len({len(line) for line in cells(made.text, "repository")}) == 1
    for picture in made.pictures.values():
        ElementTree.fromstring(picture)


def test_names_are_code_whatever_they_hold() -> None:
    assert code("a_b*c") == "`a_b*c`"
    assert code("a|b") == "<code>a&#124;b</code>"
    assert code("a`<b>") == "<code>a&#96;&#60;b&#62;</code>"
    assert fenced("a\n```\nb", "py thon") == "````\na\n```\nb\n````"
    assert table(("a", "b"), [("x", 1200)]) == "| a | b |\n| --- | --: |\n| x | 1,200 |"


def test_the_same_version_gives_the_same_bytes(tmp_path: Path) -> None:
    one, other = card(version(tmp_path / "a")), card(version(tmp_path / "b"))
    assert one == other


def test_pictures_that_are_shown_are_there_and_no_others(tmp_path: Path) -> None:
    made = card(version(tmp_path))
    assert set(re.findall(r"!\[[^\]]*\]\(([^)]*)\)", made.text)) == set(made.pictures)


def test_what_the_card_says_to_run_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = version(tmp_path)
    blocks = re.findall(r"```python\n(.*?)```", card(made).text, re.DOTALL)
    monkeypatch.chdir(made.folder)
    found: dict[str, pl.DataFrame] = {}
    block = next(one for one in blocks if one.startswith("import polars"))
    exec(block, found)  # noqa: S102  it is what a reader would run
    assert found["rows"].height == 8
    for one in blocks:
        compile(one, "card", "exec")


def test_files_can_lie_elsewhere_than_in_the_version(tmp_path: Path) -> None:
    made = card(version(tmp_path), data={"train": "data/train-00000-of-00001.parquet"})
    assert '"train": "data/train-00000-of-00001.parquet"' in made.text
    assert "validation.parquet" not in made.text


def test_a_card_is_written_with_its_pictures_and_again(tmp_path: Path) -> None:
    made, place = card(version(tmp_path / "a")), tmp_path / "out"
    written = made.write(place)
    assert written[-1] == place / "README.md"
    assert {str(path.relative_to(place)) for path in written[:-1]} == set(made.pictures)
    Card(made.text + "more", made.pictures).write(place)
    assert (place / "README.md").read_text() == made.text + "more"
    assert sorted(path for path in place.rglob("*") if path.is_file()) == sorted(written)


def test_what_is_no_card_is_not_written_over(tmp_path: Path) -> None:
    made = card(version(tmp_path / "a"))
    (tmp_path / "README.md").write_text("# Mine")
    with pytest.raises(UsageError, match="is no card"):
        made.write(tmp_path)
    assert (tmp_path / "README.md").read_text() == "# Mine"
    assert not (tmp_path / "pictures").exists()


@pytest.mark.parametrize("file", ["train.parquet", "card.md"])
def test_a_damaged_version_is_told(tmp_path: Path, file: str) -> None:
    made = version(tmp_path)
    (made.folder / file).write_bytes(b"\xff\xfe")
    with pytest.raises(DatasetError, match=file.partition(".")[0]):
        card(made)


def test_a_census_does_not_depend_on_how_rows_are_grouped(tmp_path: Path) -> None:
    made = version(tmp_path, train=40)
    before = card(made)
    rows = pq.read_table(made.file("train"))
    pq.write_table(rows, made.file("train"), row_group_size=7)
    assert card(Version(made.folder, made.manifest)) == before
