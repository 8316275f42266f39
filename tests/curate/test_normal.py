"""Two texts with one normal form are the same code; runs of tokens are what they should be."""

from __future__ import annotations

import pytest

from flywheel.curate.normal import normal, shingles, tokens

PYTHON = '''
    def least(a, b):
        """The least of two."""
        # Both are numbers.
        if a < b:   # here
            return a

        return b
'''


@pytest.mark.parametrize(
    "other",
    [
        "def least(a, b):\n    if a < b:\n        return a\n    return b\n",
        "def least(a,b):\n  if (a < b): return a\n  return b",
        PYTHON.replace("The least of two.", "Something else."),
    ],
)
def test_python_is_the_same_without_layout_comments_and_docstrings(other: str) -> None:
    assert normal(PYTHON, "python") == normal(other, "python")


@pytest.mark.parametrize(
    "other",
    [
        PYTHON.replace("a < b", "a <= b"),
        PYTHON.replace("return b", 'return "# b"'),
        PYTHON.replace("least", "most"),
    ],
)
def test_python_that_does_something_else_has_another_form(other: str) -> None:
    assert normal(PYTHON, "python") != normal(other, "python")


@pytest.mark.parametrize(
    ("language", "one", "other"),
    [
        ("go", "a := 1 // one\nb := 2", "a := 1 b := 2"),
        ("rust", "let a = 1; /* one\n two */ let b;", "let a = 1; let b;"),
        ("elixir", "a = 1 # one\nb", "a = 1\n\n  b"),
        ("python", "def broken(:\n    return 1 # here", "def broken(:\n    return 1"),
    ],
)
def test_other_languages_lose_comments_and_white_space(language: str, one: str, other: str) -> None:
    assert normal(one, language) == normal(other, language)


@pytest.mark.parametrize(
    ("language", "text"),
    [
        ("go", 'a := "http://x" + b'),
        ("javascript", "a = `// ${b}`"),
        ("elixir", 'a = "#{b} c"'),
        ("python", "def broken(: '# c'"),
    ],
)
def test_what_looks_like_a_comment_within_a_string_stays(language: str, text: str) -> None:
    assert normal(text, language) == text


def test_runs_of_tokens_are_counted_once_and_in_their_order() -> None:
    runs = shingles(["a b c a b c", "a b c", "c b a", "", "a"], 3)
    assert [len(runs.of(text)) for text in range(5)] == [3, 1, 1, 0, 1]
    assert runs.similarity(0, 1) == pytest.approx(1 / 3)
    assert runs.similarity(1, 2) == 0
    assert runs.similarity(3, 3) == 1
    assert runs.similarity(3, 4) == 0


def test_runs_never_reach_from_one_text_into_the_next() -> None:
    alone = shingles(["a b c d e"], 3)
    beside = shingles(["x y", "a b c d e", "z"], 3)
    assert beside.of(1).tolist() == alone.of(0).tolist()


def test_similarity_is_the_share_of_runs_that_both_have() -> None:
    one, other = "def f(x): return x + 1", "def f(x): return x + 2"
    sets = [
        {tuple(found[n : n + 3]) for n in range(len(found) - 2)}
        for found in (tokens(one), tokens(other))
    ]
    share = len(sets[0] & sets[1]) / len(sets[0] | sets[1])
    assert shingles([one, other], 3).similarity(0, 1) == pytest.approx(share)


def test_a_number_of_too_many_digits_is_no_trouble() -> None:
    code = f"def f():\n    return 0x{'f' * 5000}  # long"
    assert "# long" not in normal(code, "python")


def test_half_a_character_is_a_token_like_any_other() -> None:
    assert len(shingles(["a \ud800 b"], 2)) == 1
