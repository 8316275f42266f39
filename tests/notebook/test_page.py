"""Pages: what comes out of a repository is shown, and never obeyed."""

from __future__ import annotations

from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest

from flywheel.notebook import DatasetPage, Door, ExamplePage, Note
from tests.fakes.stores import Filled
from tests.fakes.versions import version

HOSTILE = "<script>alert('x')</script>&amp;\u202e]\x1b[31m```"


class Tags(HTMLParser):
    """The tags and the text of some HTML."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.text = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        assert not [name for name, _ in attrs if name.startswith("on")]

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.fixture
def page(fw: Door, planted: Filled) -> ExamplePage:
    return fw.example(min(planted.attempted))


def test_an_example_is_shown_with_its_change_its_error_and_its_proof(page: ExamplePage) -> None:
    shown = Tags(page._repr_html_())
    one = page.example
    assert page.attempts
    for part in (one.example_id, one.path, one.test_id, "bad, judged", page.attempts[0].model):
        assert part in shown.text
    added = next(line for line in one.patch.splitlines() if line.startswith("+ "))
    assert added in shown.text
    marked = page._repr_html_().count("rgba(0,114,178")
    assert marked == sum(
        line.startswith("+") and not line.startswith("+++ ") for line in one.patch.splitlines()
    )
    assert one.example_id in page._repr_markdown_()
    assert "```diff\n--- " in page._repr_markdown_()
    assert repr(page).startswith(one.example_id)


def test_nothing_of_a_repository_becomes_markup(page: ExamplePage) -> None:
    names = ("path", "symbol", "patch", "error", "repo", "license", "operator", "statement")
    hostile = replace(page.example, test_source=HOSTILE, **dict.fromkeys(names, HOSTILE))
    answers = tuple(
        replace(one, model=HOSTILE, code=HOSTILE, reason=HOSTILE) for one in page.attempts
    )
    shown = ExamplePage(hostile, answers)._repr_html_()
    tags = Tags(shown)
    assert "script" not in tags.tags
    assert "<script>alert('x')</script>&amp;\\u202e]\\u001b[31m```" in tags.text
    assert not set(shown) & {"\u202e", "\x1b"}
    text = ExamplePage(hostile, ())._repr_markdown_()
    outside = "".join(text.split("````")[::2])
    assert "<script>" not in outside.replace("````", "").split("- made by")[0].partition("**")[0]
    assert "\n````diff\n" in text
    assert "\u202e" not in text


def test_a_dataset_is_shown_as_its_funnel(tmp_path: Path) -> None:
    page = DatasetPage(version(tmp_path))
    shown = Tags(page._repr_html_())
    assert page.version.id in shown.text
    for stage in page.version.manifest.funnel:
        assert stage.name in shown.text
        assert f"{stage.rows:,}" in shown.text
        assert stage.name in page._repr_markdown_()
    assert page.funnel().height >= len(page.version.manifest.funnel) > 0
    assert page.statistics().filter(column="repo")["rows"].sum() == 12


def test_a_note_shows_what_makes_some() -> None:
    note = Note("No <b>.", "flywheel harvest")
    assert note._repr_html_() == "<p><i>No &lt;b&gt;.</i> <code>flywheel harvest</code></p>"
    assert repr(note) == "No <b>.\nflywheel harvest"
    assert note._repr_markdown_() == "No <b>. `flywheel harvest`"
    assert repr(Note("Nothing.")) == "Nothing."
