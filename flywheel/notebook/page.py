"""Pages: one example, one version of a dataset, as a notebook shows it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import polars as pl

from flywheel.core.errors import UsageError
from flywheel.curate import Version
from flywheel.notebook.markup import block, code_of, diff, fence, fold, table, text_of
from flywheel.store import Attempt, Example

_PROOFS = {"judge": "bad, judged", "confirm": "bad, again", "good": "good"}


@dataclass(frozen=True, slots=True)
class ExamplePage:
    """One example with its proof and what models made of it."""

    example: Example
    """The record."""
    attempts: tuple[Attempt, ...]
    """Answers of models that were asked to mend it, turn by turn."""

    def __repr__(self) -> str:
        """As a terminal shows it."""
        one = self.example
        return f"{one.example_id}  {one.path}:{one.line}  {one.symbol}  {one.operator}"

    def _repr_html_(self) -> str:
        one = self.example
        head = (
            f"<b>{text_of(one.example_id)}</b> &nbsp;{text_of(one.path)}:{one.line}"
            f" &nbsp;<code>{text_of(one.symbol)}</code>"
        )
        parts = [
            f'<div style="text-align:left"><p>{head}</p>',
            fold("The fix, from bad to good", diff(one.patch), unfolded=True),
            fold("The error", block(one.error), unfolded=True),
        ]
        if one.test_source:
            parts.append(fold("The test", block(one.test_source)))
        if one.statement:
            parts.append(fold("What the commit said that fixed it", block(one.statement)))
        if self.attempts:
            parts.append(fold("What models made of it", self._answers()))
        facts = table(("", ""), [(text_of(name), text_of(said)) for name, said in self._facts()])
        parts.append(fold("Where it comes from, and how it was proven", facts))
        return "".join([*parts, "</div>"])

    def _repr_markdown_(self) -> str:
        one = self.example
        facts = "\n".join(f"- {name}: {code_of(said)}" for name, said in self._facts())
        return (
            f"**{one.example_id}** {code_of(f'{one.path}:{one.line}')} {code_of(one.symbol)}\n\n"
            f"{fence(one.patch, 'diff')}\n\n{fence(one.error)}\n\n{facts}\n"
        )

    def _facts(self) -> Iterator[tuple[str, str]]:
        one = self.example
        yield "repository", f"{one.repo} at {one.commit[:12]}"
        yield "licence", one.license or "none found"
        yield "made by", f"{one.operator} ({one.source}); the fix is {one.fix_origin}"
        if one.origin:
            yield "taken from", one.origin
        for proof in one.proofs:
            how = f"{proof.lane}, {proof.sandbox_level or 'no sandbox'}, {proof.seconds:.2f} s"
            yield (
                _PROOFS.get(proof.kind, proof.kind),
                f"{proof.outcome}: {proof.failing} of {proof.selected} tests fail ({how})",
            )
        if one.oracle_strength is not None:
            weak = "weak, " if one.weak else ""
            share = f"{one.oracle_strength:.0%} of {one.oracle_tried}"
            yield "oracle", f"{weak}its tests reject {share} wrong fixes"

    def _answers(self) -> str:
        rows = [
            (
                text_of(f"{one.model}, {one.prompt}"),
                text_of(f"{one.seed + one.sample + 1}, turn {one.turn}"),
                text_of(one.verdict + (f": {one.reason}" if one.reason else "")),
                block(one.code if one.code is not None else one.answer),
            )
            for one in self.attempts
        ]
        return table(("model", "conversation", "verdict", "answer"), rows)


@dataclass(frozen=True, slots=True)
class DatasetPage:
    """One version of a dataset: its splits as frames, and what became of the rows before."""

    version: Version
    """The version on the disk."""

    def scan(self, split: str) -> pl.LazyFrame:
        """The rows of a split, not yet read. Raises `UsageError` for one that it does not have."""
        if split not in self.version.splits:
            raise UsageError(
                f"{self.version.id} has no split {split!r}.",
                hint=f"It has: {', '.join(self.version.splits) or 'none'}.",
            )
        return self.version.scan(split)

    def rows(self, split: str) -> pl.DataFrame:
        """The rows of a split; raises as `scan` does."""
        return self.scan(split).collect()

    def funnel(self) -> pl.DataFrame:
        """What the stages dropped: one row a `stage` and `reason`.

        `rows` came in, `dropped` of them went no further for that reason; a stage that dropped
        none has one row, without a reason.
        """
        none: Mapping[str | None, int] = {None: 0}
        rows = [
            (stage.name, stage.rows, reason, dropped)
            for stage in self.version.manifest.funnel
            for reason, dropped in (stage.dropped or none).items()
        ]
        schema = {"stage": pl.String, "rows": pl.Int64, "reason": pl.String, "dropped": pl.Int64}
        return pl.DataFrame(rows, schema=schema, orient="row")

    def statistics(self) -> pl.DataFrame:
        """How many rows have which value: `column`, `value`, `rows`."""
        rows = [
            (column, value, count)
            for column, counts in self.version.manifest.statistics.items()
            for value, count in counts.items()
        ]
        schema = {"column": pl.String, "value": pl.String, "rows": pl.Int64}
        return pl.DataFrame(rows, schema=schema, orient="row")

    def __repr__(self) -> str:
        """As a terminal shows it."""
        splits = self.version.manifest.splits
        told = ", ".join(f"{name} {splits[name].rows}" for name in self.version.splits)
        return f"{self.version.id}: {told or 'no rows'}"

    def _repr_html_(self) -> str:
        manifest = self.version.manifest
        rows = [
            (
                text_of(stage.name),
                f"{stage.rows:,}",
                f"{stage.rows - sum(stage.dropped.values()):,}",
                "<br>".join(f"{text_of(reason)} {n:,}" for reason, n in stage.dropped.items()),
            )
            for stage in manifest.funnel
        ]
        return (
            f"<p><b>{text_of(repr(self))}</b><br>{text_of(manifest.rules.title)}:"
            f" {text_of(manifest.rules.description)}</p>"
            f"{table(('stage', 'rows', 'kept', 'dropped'), rows)}"
        )

    def _repr_markdown_(self) -> str:
        lines = [f"**{self!r}**", "", "| stage | rows | dropped |", "|---|---|---|"]
        for stage in self.version.manifest.funnel:
            dropped = ", ".join(f"{code_of(reason)} {n}" for reason, n in stage.dropped.items())
            lines.append(f"| {stage.name} | {stage.rows} | {dropped} |")
        return "\n".join(lines) + "\n"
