"""Known limits of a version: what its rows do not show, and how much of it is not known."""

from __future__ import annotations

from flywheel.core.settings import AuditSettings
from flywheel.core.wording import number
from flywheel.curate.census import CHARACTERS, TOKENS, Census, quantile
from flywheel.curate.draft import REST
from flywheel.curate.markdown import code
from flywheel.curate.picture import share
from flywheel.curate.recipe import Contamination, Duplicates, Rules
from flywheel.curate.version import Manifest

MADE = ("mutated", "written", "combined")
"""Sources whose bugs nobody made by mistake."""


def limits(manifest: Manifest, census: Census) -> tuple[str, ...]:
    """Each limit in a paragraph of Markdown, with the numbers of this version."""
    rules = manifest.rules
    return (
        _oracles(census),
        _flakes(census),
        _origins(manifest),
        _languages(manifest),
        _near(rules.duplicates),
        _benchmarks(rules.contamination),
        _difficulty(census),
        _screens(rules),
        _cut_off(census),
    )


def _oracles(census: Census) -> str:
    scored = census.strengths.total()
    if not scored:
        return (
            "**Tests were not audited.** Of no row is it known how many wrong fixes its tests would"
            " let through; a fix that passes them may still be wrong."
        )
    weak = AuditSettings().weak
    below = sum(count for strength, count in census.strengths.items() if strength < weak)
    least, median = (quantile(census.strengths, part) for part in (0.0, 0.5))
    rest = census.rows - scored
    said = (
        f"**Tests let wrong fixes through.** {_of(scored, census.rows)} have tests that were"
        f" audited with wrong fixes: the median of the share that they reject is {median:.2f}, the"
        f" least {least:.2f}, and"
        f" {number(below, 'row')} {'is' if below == 1 else 'are'} below {weak:g}."
    )
    if not rest:
        return said
    have = "has" if rest == 1 else "have"
    return f"{said} {number(rest, 'row')} {have} tests that were not, or with too few to tell."


def _flakes(census: Census) -> str:
    known = census.flakes.total()
    if not known:
        return "**Flaky tests.** How steady the failing tests are is not known of any row."
    flaky = known - census.flakes[0.0]
    said = (
        f"**Flaky tests.** Of {_of(known, census.rows)} it is known how often the first failing"
        f" test was not itself in the runs of good code: {number(flaky, 'row')}"
        f" {'has' if flaky == 1 else 'have'} a rate above 0"
    )
    return f"{said}, at most {max(census.flakes):.3g}." if flaky else f"{said}."


def _origins(manifest: Manifest) -> str:
    sources = manifest.statistics.get("source", {})
    total = sum(sources.values())
    made = {name: count for name, count in sources.items() if name in MADE}
    if not total:
        return "**Where bugs come from.** There are no rows."
    if not made:
        return "**Where bugs come from.** All of them are bugs that people made and mended."
    said = ", ".join(f"{code(name)} {share(count, total)}" for name, count in made.items())
    return (
        f"**Made bugs are not people's bugs.** {_of(sum(made.values()), total)} are bugs that were"
        f" made ({said}): smaller and more regular than what people do. A score on them is no score"
        " on bugs of people."
    )


def _languages(manifest: Manifest) -> str:
    languages = [name for name in manifest.statistics.get("language", {}) if name != REST]
    if not languages:
        return "**Languages.** There are no rows."
    said = ", ".join(code(name) for name in languages)
    return f"**Languages.** The code is {said}; nothing here says how a model does on others."


def _near(rules: Duplicates) -> str:
    return (
        f"**Near duplicates** are told from {rules.near:g} of equal runs of {rules.shingle} tokens"
        f" on, and {rules.keep} of those that make the same change"
        f" {'is' if rules.keep == 1 else 'are'} kept. What is less alike stays, and so does a pair"
        " that the sketches by which they are found miss by chance."
    )


def _benchmarks(rules: Contamination) -> str:
    names = ", ".join(code(name) for name in (*rules.benchmarks, *rules.files))
    if not names:
        return "**Benchmarks.** Rows were compared with none."
    return (
        f"**Benchmarks.** Rows were compared with {names}, by their tokens; one that says the same"
        " in other words is not noticed."
    )


def _difficulty(census: Census) -> str:
    untried = census.rows - census.tried
    if not untried:
        return "**Difficulty.** Models have tried to mend every row."
    return (
        f"**Difficulty is guessed** where models have hardly tried, and {_of(untried, census.rows)}"
        " no model has tried: from the size of the change and of the definition, and from what the"
        " error shows."
    )


def _screens(rules: Rules) -> str:
    screened = [
        what
        for asked, what in (
            (rules.secrets.keys, "keys, tokens and passwords"),
            (rules.secrets.personal, "mail addresses, numbers and addresses of people"),
        )
        if asked
    ]
    if not screened:
        return "**Personal data.** Rows were not screened for secrets or personal data."
    left = "" if rules.secrets.personal else " They were not screened for personal data."
    return (
        f"**Personal data.** Rows in which patterns of {' and of '.join(screened)} were found are"
        f" left out. Patterns know no names: what has no form may be in a row.{left}"
    )


def _cut_off(census: Census) -> str:
    long = TOKENS * CHARACTERS
    return (
        f"**Length.** TRL's trainers cut a row at {TOKENS:,} tokens (`max_length`) unless they are"
        f" told otherwise, without a word. At {CHARACTERS} characters a token,"
        f" {_of(census.long_questions, census.rows)} have a question that is longer, and"
        f" {_of(census.long_rows, census.rows)} are with their answer: over {long:,} characters."
    )


def _of(part: int, whole: int) -> str:
    return f"{part:,} of {whole:,} rows ({share(part, whole)})"
