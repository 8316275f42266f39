"""The card of a version: what it is, how it was proven, what is in it, and what it is not good for.

Everything said is read from the version: its manifest, one reading of its rows, its recipe. What is
not known is said to be unknown. The same version gives the same bytes. What is put before a card on
the Hub (its front matter) is the business of what publishes it.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from string import Template

from flywheel.core.errors import DatasetError, UsageError
from flywheel.core.wording import number
from flywheel.curate.census import Census, Work, take_census
from flywheel.curate.draft import REST
from flywheel.curate.funnel import Stage
from flywheel.curate.limits import limits
from flywheel.curate.markdown import code, fenced, folded, table
from flywheel.curate.picture import draw_bars, draw_funnel, printable, share
from flywheel.curate.recipe import CARD, Rules, Task
from flywheel.curate.split import HOLDOUT, TRAIN
from flywheel.curate.version import BASELINES, REPORTS, SPLITS, HoldoutName, Manifest, Version

NAME = "README.md"
"""The file that a card is written to: what a page of a dataset shows."""
PICTURES = "pictures"
"""The folder of its pictures, beside it."""
OPEN = 30
"""Rows of a table that is longer are folded away."""
COMMITS = 3
"""Commits of a repository that are named; the column `commit` has them all."""

_MARK = re.compile(r"<!-- Card of .+, made by flywheel ")
_TEMPLATE = Template(
    (files("flywheel.curate") / "card.md").read_text(encoding="utf-8"),
)

_COUNTED = {
    "repo": ("repositories", "Rows by repository"),
    "license": ("licences", "Rows by licence"),
    "source": ("sources", "Rows by source"),
    "operator": ("operators", "Rows by operator"),
    "difficulty": ("difficulty", "Rows by difficulty"),
}
"""Column -> the file of its picture, and what it shows."""
_LEVELS = ("easy", "medium", "hard")
_MISSING = "none"
"""What a missing value is counted as."""
_UNITS = {
    "definition_lines": "lines of the definition",
    "changed_lines": "lines that the change takes away and adds",
    "error_characters": "characters of the error",
    "prompt_characters": "characters of the question",
    "completion_characters": "characters of the answer",
    "failing_tests": "tests that fail",
}

_TEACHES: dict[Task, str] = {
    "repair": "A row teaches to mend: the question has bad code and the error of its tests, the"
    " answer the code that passes them.",
    "preference": "A row teaches to prefer: beside the answer that passes the tests stands one"
    " (`rejected`) that they were seen to reject.",
    "multiturn": "A row teaches to try again: after a wrong answer the question goes on with the"
    " error that it led to, and the last answer passes the tests.",
    "insertion": "A row teaches to break: the question has good code, the answer the code that the"
    " tests were seen to reject.",
    "explanation": "A row teaches to explain: the question has bad code and the error of its tests,"
    " the answer the lines that are wrong and the change that mends them.",
}
_SOURCES = {
    "mutated": "planted by a rule in code that works",
    "written": "written by a language model",
    "combined": "several proven bugs of one repository, put together",
    "reverted": "a fix of the past, taken back in the newest code",
    "mined": "a bug of the past, as it stood before its fix",
}
_BOXES = {
    "S3": "a sandbox without network, namespaces of its own for each run, a filter of system calls,"
    " a limit of memory",
    "S3-soft": "the same, with the memory watched and not limited by the kernel",
    "S2": "a sandbox without network, one for each candidate",
}
_SPLIT_BY = {
    "component": "Rows that hang together are in one split. They do when they are of one definition"
    " or one file of a repository, when their definitions are near duplicates ({near:g} of their"
    " runs of {shingle} tokens are equal), or when one descends from the other: parts of a combined"
    " bug, several fixes of one bug.",
    "repository": "All rows of one repository are in one split. A row that hangs together with one"
    " of a greater split (hold-out over validation over train), because their definitions are near"
    " duplicates ({near:g} of their runs of {shingle} tokens are equal) or one descends from the"
    " other, is in no split.",
    "time": "The newest rows, by the commit that mended them, are held out, the next newest choose,"
    " the rest trains. A row that hangs together with one of a greater split (hold-out over"
    " validation over train), by definition, file, near duplicates ({near:g} of their runs of"
    " {shingle} tokens are equal) or descent, is in no split.",
}


@dataclass(frozen=True, slots=True)
class Card:
    """A card, not yet on the disk."""

    text: str
    """Markdown, without front matter."""
    pictures: dict[str, bytes]
    """The pictures that it shows, SVG, by their path beside it."""

    def write(self, folder: Path) -> tuple[Path, ...]:
        """Write it into a folder, made if need be, and say what was written.

        The pictures go first and each file appears whole, so that no reader finds a card without
        them. Raises `UsageError` where the folder has a `README.md` that is no card, or cannot be
        written.
        """
        place = folder / NAME
        try:
            if place.exists() and not _MARK.search(place.read_text(encoding="utf-8")):
                raise UsageError(
                    f"{place} is there already and is no card.",
                    hint="choose another folder, or move it away",
                )
            written = []
            for path, content in [*self.pictures.items(), (NAME, self.text.encode())]:
                (folder / path).parent.mkdir(parents=True, exist_ok=True)
                _replace(folder / path, content)
                written.append(folder / path)
        except (OSError, UnicodeDecodeError) as error:
            raise UsageError(
                f"The card cannot be written to {folder}.", cause=str(error), hint="--out FOLDER"
            ) from error
        return tuple(written)


def card(version: Version, *, data: Mapping[str, str] | None = None) -> Card:
    """The card of a version.

    `data` names the file of each split as it lies beside the card; none: as in the version's own
    folder. Raises `DatasetError` for a version that is damaged.
    """
    manifest = version.manifest
    census = take_census(version)
    rules = manifest.rules
    stages = [Stage(one.name, one.rows, one.dropped) for one in manifest.funnel]
    pictures = {f"{PICTURES}/funnel.svg": draw_funnel("From the store to this version", stages)}
    for column, (file, title) in _COUNTED.items():
        named = _ordered(manifest, column)
        rest = named.pop(REST, 0)
        pictures[f"{PICTURES}/{file}.svg"] = draw_bars(title, named, rest=rest)
    lies = data or {split: version.file(split).name for split in version.splits}
    last = stages[-1].kept if stages else 0
    text = _TEMPLATE.substitute(
        id=version.id,
        name=manifest.name,
        key=re.sub(r"[^A-Za-z0-9]+", "-", version.id),
        flywheel=manifest.flywheel,
        title=printable(rules.title),
        bib_title=re.sub(r"([{}%#&_$\\])", r"\\\1", printable(rules.title)),
        description=printable(rules.description, lines=True),
        words=_words(version),
        rows=f"{census.rows:,}",
        splits=_splits(manifest),
        example=_example(census),
        teaches=_TEACHES[rules.task],
        isolation=_isolation(census),
        funnel_picture=f"{PICTURES}/funnel.svg",
        funnel_said=f"{stages[0].rows if stages else 0:,} rows came in, {last:,} were kept",
        funnel=_funnel(stages),
        counts=_counts(manifest),
        lengths=_lengths(manifest),
        parted=_parted(manifest),
        licence_rule=_licence_rule(rules),
        licences=_licences(census),
        attribution=_attribution(census),
        limits="\n".join(f"- {one}" for one in limits(manifest, census)),
        load_datasets=_load_datasets(lies),
        load_polars=_load_polars(lies),
        load_dspy=_load_dspy(lies, rules.task),
        replay=_replay(census),
        hashes=_hashes(version),
    )
    return Card(text, pictures)


def _words(version: Version) -> str:
    path = version.folder / CARD
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise DatasetError(
            f"{path} cannot be read as a part of a dataset.",
            cause=str(error),
            hint="remove the version's folder and build it again: it will be the same",
        ) from error
    return printable(text.strip(), lines=True)


def _splits(manifest: Manifest) -> str:
    rows = [
        (code(split), found.rows, found.examples)
        for split in SPLITS
        if (found := manifest.splits.get(split))
    ]
    missing = [code(split) for split in SPLITS if split not in manifest.splits]
    said = f"\n\nThere are no rows in {' and '.join(missing)}." if missing else ""
    return table(("split", "rows", "examples"), rows) + said


# --- an example -----------------------------------------------------------------------------


def _example(census: Census) -> str:
    row = census.shortest
    if row is None:
        return "None is shown: there are no rows to train on, and others are not for the eye."
    names = ("row_id", "symbol", "path", "repo", "source", "operator")
    row_id, symbol, path, repo, source, operator = (code(str(row[name])) for name in names)
    told = (
        f"The shortest row of `{TRAIN}`, whole: {row_id}, {symbol} in {path} of {repo}, a bug that"
        f" was {source} (operator {operator})."
    )
    parts = [told]
    for title, column in (
        ("The question", "prompt"),
        ("The answer", "completion"),
        ("A wrong answer in its place", "rejected"),
    ):
        turns = row[column]
        if not isinstance(turns, list) or not turns:
            continue
        parts.append(f"**{title}**")
        for turn in turns:
            if len(turns) > 1:
                parts.append(f"{turn['role']}:")
            parts.append(fenced(turn["content"], "markdown"))
    parts += ["**The error, as the tests gave it**", fenced(str(row["error"] or ""), "text")]
    return "\n\n".join(parts)


# --- how it was proven ----------------------------------------------------------------------


def _isolation(census: Census) -> str:
    if not census.rows:
        return "There are no rows."
    levels = table(
        ("isolation", "what it is", "rows"),
        [
            (code(level), _BOXES.get(level, "not known to this flywheel"), count)
            for level, count in _by_count(census.levels)
        ],
    )
    chains = ", ".join(
        f"{code(name)} ({number(count, 'row')})" for name, count in _by_count(census.toolchains)
    )
    environments = number(len(census.environments), "environment")
    return (
        f"{levels}\n\nThe tests were run by {chains}, in {environments}; `{BASELINES}` has the"
        " packages of each."
    )


def _funnel(stages: list[Stage]) -> str:
    if not stages:
        return "No stage was noted."
    rows = []
    for stage in stages:
        reasons = ", ".join(f"{code(reason)} {count:,}" for reason, count in stage.dropped.items())
        rows.append((code(stage.name), stage.rows, reasons or "–", stage.kept))
    return table(("stage", "rows in", "dropped, by reason", "kept"), rows)


# --- what is in it --------------------------------------------------------------------------


def _ordered(manifest: Manifest, column: str) -> dict[str, int]:
    """Rows by value: the levels of difficulty in their order, everything else the most first."""
    counts = manifest.statistics.get(column, {})
    if column != "difficulty":
        return dict(counts)
    known = {level: counts[level] for level in _LEVELS if level in counts}
    return known | {level: count for level, count in counts.items() if level not in known}


def _counts(manifest: Manifest) -> str:
    parts = []
    for column, (file, title) in _COUNTED.items():
        counts = _ordered(manifest, column)
        total = sum(counts.values())
        rows = [
            (_value(column, name), count, share(count, total)) for name, count in counts.items()
        ]
        numbers = table((column, "rows", "share"), rows)
        parts.append(f"![{title}]({PICTURES}/{file}.svg)")
        parts.append(folded(f"{title}, as numbers", numbers) if counts else "There are no rows.")
    languages = manifest.statistics.get("language", {})
    if languages:
        said = ", ".join(f"{code(name)} ({count:,} rows)" for name, count in languages.items())
        parts.insert(0, f"Languages: {said}.")
    return "\n\n".join(parts)


def _lengths(manifest: Manifest) -> str:
    rows: list[tuple[str | int, ...]] = [
        (_UNITS.get(name, code(name)), *(int(cut) for cut in cuts.values()))
        for name, cuts in manifest.quantiles.items()
        if cuts
    ]
    if not rows:
        return "There are no rows."
    return table(("of a row", "least", "p10", "median", "p90", "most"), rows)


def _parted(manifest: Manifest) -> str:
    rules = manifest.rules
    near = rules.duplicates
    said = [
        _SPLIT_BY[rules.split.by].format(near=near.near, shingle=near.shingle)
        + " So a model is not measured on what it was trained on, nor on what is nearly the same,"
        " as far as these rules can tell."
    ]
    total = sum(found.rows for found in manifest.splits.values())
    shares = [
        f"`{split}` {found.rows:,} ({share(found.rows, total)})"
        for split in SPLITS
        if (found := manifest.splits.get(split))
    ]
    said.append(f"Rows: {', '.join(shares)}." if shares else "There are no rows.")
    said.append(_holdout(manifest.holdout, HOLDOUT in manifest.splits))
    dropped: Counter[str] = Counter()
    for stage in manifest.funnel:
        if stage.name == "split":
            dropped.update(stage.dropped)
    if dropped:
        reasons = ", ".join(f"{code(reason)} {count:,}" for reason, count in _by_count(dropped))
        said.append(f"Rows that are in no split, so that nothing leaks: {reasons}.")
    return "\n\n".join(said)


def _holdout(name: HoldoutName | None, has_rows: bool) -> str:
    if name is None:
        if not has_rows:
            return "Nothing is held out."
        return "The rows that are held out are of this version alone."
    said = (
        f"The hold-out is {code(name.name)} (hash `{name.hash}`, {number(name.rows, 'row')}). It is"
        " shared by all datasets that name it, and is never changed: what hangs together with it is"
        " in no other split of any of them."
    )
    return said if has_rows else f"{said} None of its rows is among the rows of this version."


# --- licences -------------------------------------------------------------------------------


def _licence_rule(rules: Rules) -> str:
    unknown = "may stand here" if rules.licence.unknown else "are left out"
    return f"Rows of repositories in which no licence was found {unknown}."


def _licences(census: Census) -> str:
    rows: Counter[str | None] = Counter()
    works: Counter[str | None] = Counter()
    for work in census.works.values():
        rows.update(work.licenses)
        works.update(work.licenses.keys())
    found = [
        (_licence(name), works[name], count, share(count, census.rows))
        for name, count in sorted(rows.items(), key=lambda one: (-one[1], one[0] or ""))
    ]
    if not found:
        return "There are no rows, and so no licences."
    return table(("licence", "repositories", "rows", "share"), found)


def _attribution(census: Census) -> str:
    rows = [
        (code(repo), _of_work(work), _commits(work), work.rows)
        for repo, work in sorted(census.works.items())
    ]
    if not rows:
        return "There are none."
    found = table(("repository", "licence", "commits", "rows"), rows)
    return found if len(rows) <= OPEN else folded(f"{len(rows):,} repositories", found)


def _of_work(work: Work) -> str:
    return ", ".join(_licence(name) for name in sorted(work.licenses, key=lambda one: one or ""))


def _commits(work: Work) -> str:
    named = sorted(work.commits)
    more = f" and {len(named) - COMMITS:,} more" if len(named) > COMMITS else ""
    return ", ".join(code(commit) for commit in named[:COMMITS]) + more


def _licence(name: str | None) -> str:
    return "none was found" if name is None else code(name)


# --- how to use it --------------------------------------------------------------------------


def _load_datasets(lies: Mapping[str, str]) -> str:
    named = "".join(f'    "{split}": "{file}",\n' for split, file in lies.items())
    return (
        "from datasets import load_dataset\n\n"
        f"files = {{\n{named}}}\n"
        'rows = load_dataset("parquet", data_files=files)'
    )


def _load_polars(lies: Mapping[str, str]) -> str:
    return f'import polars as pl\n\nrows = pl.read_parquet("{_first(lies)}")'


def _load_dspy(lies: Mapping[str, str], task: Task) -> str:
    inputs, output = {
        "insertion": (("good", "operator"), 'bad=row["bad"]'),
        "explanation": (("bad", "error"), 'explanation=row["completion"][-1]["content"]'),
    }.get(task, (("bad", "error"), 'good=row["good"]'))
    given = ", ".join(f'{name}=row["{name}"]' for name in inputs)
    names = ", ".join(f'"{name}"' for name in inputs)
    return (
        "import dspy\nimport polars as pl\n\n"
        "examples = [\n"
        f"    dspy.Example({given}, {output}).with_inputs({names})\n"
        f'    for row in pl.read_parquet("{_first(lies)}").iter_rows(named=True)\n'
        "]"
    )


def _first(lies: Mapping[str, str]) -> str:
    return next(iter(lies.values()), f"{TRAIN}.parquet")


def _replay(census: Census) -> str:
    shown = census.shortest
    one = "EXAMPLE_ID" if shown is None else str(shown["example_id"])
    return fenced(
        f"flywheel replay {one}\nflywheel replay --sample 20 --where \"source = 'mutated'\"", "sh"
    )


def _hashes(version: Version) -> str:
    manifest = version.manifest
    rows = [("version", manifest.hash), ("recipe", manifest.recipe), ("code", manifest.code)]
    if manifest.holdout is not None:
        rows.append((f"hold-out {code(manifest.holdout.name)}", manifest.holdout.hash))
    rows += [
        (f"rows of `{split}`, SHA-256", manifest.splits[split].sha256) for split in version.splits
    ]
    found = table(("of", "hash"), [(of, f"`{hash_}`") for of, hash_ in rows])
    reports = sorted(path.name for path in (version.folder / REPORTS).glob("*") if path.is_file())
    if not reports:
        return found
    said = ", ".join(code(f"{REPORTS}/{name}") for name in reports)
    return f"{found}\n\nThe build left these reports in the version's folder: {said}."


# --- words ----------------------------------------------------------------------------------


def _value(column: str, name: str) -> str:
    """A value that is counted; what was missing and the rest are words of the count, not values."""
    if name in (_MISSING, REST):
        return {_MISSING: "none was found", REST: "others"}[name]
    meaning = _SOURCES.get(name) if column == "source" else None
    return f"{code(name)}: {meaning}" if meaning else code(name)


def _by_count(counts: Mapping[str, int]) -> list[tuple[str, int]]:
    return sorted(counts.items(), key=lambda one: (-one[1], one[0]))


def _replace(path: Path, content: bytes) -> None:
    """Write a file so that it is there whole or not at all."""
    partial = path.with_suffix(".partial")
    partial.write_bytes(content)
    partial.replace(path)
