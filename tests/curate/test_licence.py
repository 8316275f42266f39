"""A row stands where what is allowed suffices for the expression of its licence."""

from __future__ import annotations

from pathlib import Path

import pytest

from flywheel.core.errors import UsageError
from flywheel.curate.licence import LONGEST, identifier, refused
from flywheel.curate.recipe import ANSWER, CARD, FILE, PERMISSIVE, PROMPT, Licence, load_recipe

GNU = Licence(allow=("MIT", "GPL-2.0", "LGPL-3.0-or-later", "GPL-3.0-only"))


@pytest.mark.parametrize(
    "expression",
    [
        *PERMISSIVE,
        "mit",
        "MIT OR GPL-3.0-only",
        "GPL-3.0-only OR MIT",
        "MIT AND Apache-2.0",
        "MIT/Apache-2.0",
        "MIT / GPL-2.0",
        "(mit or gpl-2.0) and (bsd-3-clause)",
        "GPL-3.0-only AND ISC OR MIT",
        "Apache-2.0 WITH LLVM-exception",
        "Apache-2.0 WITH LLVM-exception OR GPL-2.0-only",
        "Apache-2.0+",
        "((((MIT))))",
    ],
)
def test_permissive_rules_let_pass(expression: str) -> None:
    assert refused(expression, Licence()) is None


@pytest.mark.parametrize(
    ("expression", "reason"),
    [
        (None, "unknown"),
        ("", "unknown"),
        (" NOASSERTION ", "unknown"),
        ("GPL-3.0-only", "not-allowed"),
        ("GPL-2.0", "not-allowed"),
        ("MIT AND GPL-2.0", "not-allowed"),
        ("GPL-2.0 AND (MIT OR Apache-2.0)", "not-allowed"),
        ("(MIT OR Apache-2.0) AND GPL-2.0", "not-allowed"),
        ("MIT AND GPL-2.0 OR MPL-2.0", "not-allowed"),
        ("GPL-2.0-only WITH Classpath-exception-2.0", "not-allowed"),
        ("GPL-2.0-or-later OR AGPL-3.0+", "not-allowed"),
        ("LicenseRef-Proprietary", "not-allowed"),
        ("MIT License", "not-spdx"),
        ("MIT OR", "not-spdx"),
        ("(MIT", "not-spdx"),
        ("MIT WITH Apache-2.0", "not-spdx"),
        ("MIT, Apache-2.0", "not-spdx"),
        ("MIT/", "not-spdx"),
        ("(" * 300 + "MIT" + ")" * 300, "not-spdx"),
        (" OR ".join(["MIT"] * LONGEST), "not-spdx"),
    ],
)
def test_permissive_rules_refuse(expression: str | None, reason: str) -> None:
    assert refused(expression, Licence()) == reason


@pytest.mark.parametrize(
    ("expression", "reason"),
    [
        ("GPL-2.0", None),
        ("GPL-2.0-only", None),
        ("GPL-2.0+", None),
        ("GPL-2.0-or-later", None),
        ("GPL-2.0-only WITH Classpath-exception-2.0", None),
        ("GPL-3.0-or-later", None),
        ("LGPL-3.0+", None),
        ("LGPL-3.0-only", "not-allowed"),
        ("LGPL-3.0", "not-allowed"),
        ("AGPL-3.0", "not-allowed"),
    ],
)
def test_a_later_version_is_a_choice_and_old_names_are_read_as_todays(
    expression: str, reason: str | None
) -> None:
    assert refused(expression, GNU) == reason


def test_an_exception_or_a_licence_of_ones_own_can_be_allowed_by_itself() -> None:
    rules = Licence(allow=("GPL-2.0 with classpath-exception-2.0", "LicenseRef-Ours"))
    assert refused("GPL-2.0-only WITH Classpath-exception-2.0 AND LicenseRef-Ours", rules) is None
    assert refused("GPL-2.0-only", rules) == "not-allowed"


def test_rows_without_a_licence_pass_where_that_is_said_and_others_do_not() -> None:
    rules = Licence(unknown=True)
    assert refused(None, rules) is None
    assert refused("GPL-3.0-only", rules) == "not-allowed"
    assert refused("My licence", rules) == "not-spdx"


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ("Apache 2.0", "did you mean 'Apache-2.0'?"),
        ("BSD-3-Clauses", "did you mean 'BSD-3-Clause'?"),
        ("MIT OR Apache-2.0", "one licence each, not an expression"),
        ("Whatever you like", "see spdx.org/licenses"),
        ("", "no SPDX identifier"),
    ],
)
def test_what_is_no_identifier_is_told_with_what_was_meant(said: str, told: str) -> None:
    with pytest.raises(ValueError, match="no SPDX identifier") as caught:
        identifier(said, PERMISSIVE)
    assert told in str(caught.value)


def test_a_recipe_that_allows_what_is_no_licence_is_refused(tmp_path: Path) -> None:
    head = 'title = "a"\ndescription = "b"\ntask = "repair"\n'
    (tmp_path / FILE).write_text(f"{head}[licence]\nallow = ['mit', 'Apache 2.0']\n")
    for file in (PROMPT, ANSWER, CARD):
        (tmp_path / file).write_text("")
    with pytest.raises(UsageError) as caught:
        load_recipe("mine", tmp_path)
    assert "licence.allow" in str(caught.value.cause)
    assert "did you mean 'Apache-2.0'?" in str(caught.value.cause)


def test_the_same_licences_make_the_same_rules_however_they_are_spelled() -> None:
    assert Licence(allow=("mit", "gpl-2.0")) == Licence(allow=("MIT", "GPL-2.0-only"))
