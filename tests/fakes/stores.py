"""Stores that look like many harvests, made without judging anything.

`fill` puts proven examples into a real store file, with everything that stands behind each: change,
trials, verdict, fix, baseline, tests, revision. What it plants on purpose (copies, keys, flaky
tests, wrong fixes that get through …) it says, example by example, so that a test can tell what a
reader of the store should have found. The same arguments give the same rows, on one version of
Python.

Rows are written a batch at a time, column by column, so that a million takes minutes and no more
memory than a batch.
"""

from __future__ import annotations

import hashlib
import itertools
import json
from collections import Counter
from collections.abc import Mapping, Sequence, Set
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import PurePosixPath
from random import Random
from typing import Any

import pyarrow as pa

from flywheel.core.identity import bytes_hash, content_hash
from flywheel.core.patch import CONTEXT, unified_patch
from flywheel.core.records import Change, Revision, Span
from flywheel.store import Store
from flywheel.store.ingest import insert
from tests.fakes.definitions import (
    ENDINGS,
    ERRORS,
    NOUNS,
    Site,
    changed,
    function,
    function_name,
    parses,
    real_functions,
    sites,
)

BEGUN = datetime(2026, 1, 1, tzinfo=UTC)
"""When the first row was stored; each further one comes a millisecond later."""
LEAST_TRIED, WEAK_BELOW = 8, 0.8
"""As an audit has them unless told otherwise."""
COPIED = 256
"""Definitions that are remembered to be copied into other repositories."""
TOKENS_COPIED = 60
"""Names, numbers and signs that a definition must have to be copied with an edit: of five in a row
an edit changes five, so that original and copy stay above a similarity of 0.85."""


@dataclass(frozen=True, slots=True)
class Shape:
    """What the rows are like. Shares are of what they name, kept as closely as numbers allow."""

    mutants: int = 20
    """Examples a definition, about."""
    sources: Mapping[str, float] = field(
        default_factory=lambda: {"mutated": 0.8, "reverted": 0.1, "written": 0.08, "combined": 0.02}
    )
    """Share of the examples by source."""
    languages: Mapping[str, float] = field(
        default_factory=lambda: {"python": 0.94, "javascript": 0.03, "go": 0.03}
    )
    """Share of the files by language; see `definitions.ENDINGS`."""
    licences: Sequence[str | None] = ("MIT", "Apache-2.0", "GPL-3.0-only", "BSD-3-Clause", None)
    """Licences of the repositories, in turn; None for one without."""
    real: float = 0.1
    """Share of the Python definitions that are the standard library's."""
    exact: float = 0.02
    """Share that are copies from another repository with a further comment: their examples say the
    very same."""
    near: float = 0.04
    """Share that are copies from another repository with one edit."""
    secrets: float = 0.005
    """Share that hold a key, or an address of a person."""
    extra: Sequence[str] = ()
    """Python definitions that are planted once each, with plain `def NAME(` on the first line."""
    audited: float = 0.5
    """Share of the definitions whose tests were tried with wrong fixes."""
    weak: float = 0.3
    """Share of those whose tests let too many through."""
    flaky: float = 0.01
    """Share of the definitions whose tests were not always themselves on the base commit."""
    attempted: float = 0.05
    """Share of the mutated examples that models tried to mend, in up to three turns."""
    mended: float = 0.0
    """Share of the examples whose fix is not the base's code but a model's."""
    survived: float = 0.1
    """Changes that no test noticed, for each example: they are in the store and no examples."""


@dataclass(slots=True)
class Filled:
    """What was put in. The mappings have the ids of examples, whole."""

    rows: int = 0
    """Examples."""
    definitions: int = 0
    """Definitions, copies among them."""
    survived: int = 0
    """Changes that no test noticed."""
    exact: dict[str, str] = field(default_factory=dict)
    """Example of a definition that was copied unchanged -> the one that it says the same as."""
    near: dict[str, str] = field(default_factory=dict)
    """Example of a definition that was copied with an edit -> the one that has the same change."""
    secrets: dict[str, str] = field(default_factory=dict)
    """Example that holds one -> what: `github-token`, `aws-key`, `google-key`, `mail`."""
    extra: dict[str, int] = field(default_factory=dict)
    """Example of a planted definition -> its number in `Shape.extra`."""
    parts: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """Combined example -> the examples that it is made of."""
    flaky: set[str] = field(default_factory=set)
    """Examples whose first failing test is flaky."""
    mended: dict[str, str] = field(default_factory=dict)
    """Example with a model's fix -> the one of the same bug with the base's code."""
    attempted: set[str] = field(default_factory=set)
    """Examples that models tried to mend."""
    attempts: Counter[str] = field(default_factory=Counter)
    """Their answers by verdict."""
    audited: int = 0
    """Examples whose tests have a score."""
    weak: int = 0
    """Those of them whose score is weak."""
    licences: Counter[str | None] = field(default_factory=Counter)
    """Examples by licence."""
    sources: Counter[str] = field(default_factory=Counter)
    """Examples by source."""
    languages: Counter[str] = field(default_factory=Counter)
    """Examples by language."""
    repositories: Counter[str] = field(default_factory=Counter)
    """Examples by repository."""


def fill(
    store: Store,
    rows: int,
    *,
    repositories: int = 4,
    seed: int = 0,
    shape: Shape | None = None,
    batch: int = 20_000,
) -> Filled:
    """Put exactly so many examples into a store; `batch` of them make a session."""
    filler = _Filler(store, seed, shape or Shape(), batch)
    for number in range(repositories):
        filler.repository(number, rows * (number + 1) // repositories)
    filler.flush()
    return filler.filled


class _Shares:
    """Whose turn it is, when each is to come by its share."""

    def __init__(self, shares: Mapping[str, float]) -> None:
        self._shares = shares
        self._owed = dict.fromkeys(shares, 0.0)

    def next(self, *, but: Set[str] = frozenset()) -> str:
        """The one that is owed most, save some that cannot come now and are owed it."""
        for name, share in self._shares.items():
            self._owed[name] += share
        name = max((one for one in self._owed if one not in but), key=self._owed.__getitem__)
        self._owed[name] -= 1
        return name


def _either(share: float) -> _Shares:
    return _Shares({"yes": share, "no": 1 - share})


_TEXT, _INT = pa.string(), pa.int32()
_MADE: dict[str, pa.DataType] = {
    **dict.fromkeys(("candidate_id", "baseline_id", "path", "symbol", "before", "after"), _TEXT),
    **dict.fromkeys(("span_start", "span_end", "line", "end_line", "selected", "failed"), _INT),
    **dict.fromkeys(("source", "operator", "language", "good", "bad", "patch"), _TEXT),
    **dict.fromkeys(("base_hash", "origin", "others", "parts", "verdict", "failing"), _TEXT),
    **dict.fromkeys(("error_test", "error_type", "error_message", "error_assertion"), _TEXT),
    **dict.fromkeys(("error_traceback", "more_failures", "example_id", "fix_id"), _TEXT),
    "seconds": pa.float64(),
    "created_at": pa.timestamp("us", tz="UTC"),
}
"""Columns of what is made a change at a time. `verdict`: valid, survived, or fix for a change that
mends another one."""
_TABLES = (
    *("revisions", "environments", "baselines", "runs", "tests", "fix_commits", "fixes"),
    *("oracles", "wrong_fixes", "attempts"),
)
"""Tables whose rows are made one by one."""
_COMMON = """INSERT INTO trials BY NAME SELECT candidate_id, baseline_id, 'ran' AS status,
    '' AS reason, selected, '[]' AS erroring, 'S3' AS sandbox_level, seconds, created_at,
    MAP {'fork': 0.004, 'patch': 0.001, 'tests': seconds, 'reap': 0.002} AS phases"""
_PASSES = "'passes' AS outcome, selected AS passing, '[]' AS failing, '[]' AS more_failures"
_WRITTEN = (
    """INSERT INTO candidates BY NAME SELECT candidate_id, path, symbol, span_start, span_end,
    "before", "after", line, end_line, source, operator, language, good, bad, patch, base_hash,
    origin, others, parts, created_at FROM made""",
    # A confirmation that fails in the very words of the judging trial keeps them for both.
    f"""{_COMMON}, 'judge' AS kind, 'warm' AS lane, '[]' AS more_failures, failing,
    selected - failed AS passing, if(failed > 0, 'fails', 'passes') AS outcome FROM made""",
    f"""{_COMMON}, 'confirm' AS kind, 'fresh' AS lane, 'fails' AS outcome, failing, more_failures,
    selected - failed AS passing, error_test, 'call' AS error_phase, error_type, error_message,
    error_assertion, error_traceback FROM made WHERE verdict = 'valid'""",
    f"{_COMMON}, 'confirm' AS kind, 'fresh' AS lane, {_PASSES} FROM made WHERE verdict = 'fix'",
    f"{_COMMON}, 'good' AS kind, 'fresh' AS lane, {_PASSES} FROM made WHERE verdict = 'valid'",
    """INSERT INTO verdicts BY NAME SELECT candidate_id, baseline_id, '' AS reason,
    if(verdict = 'valid', 'valid', 'survived') AS verdict, 3 * seconds AS seconds, created_at
    FROM made""",
    """INSERT INTO fixes BY NAME SELECT fix_id, example_id, candidate_id, baseline_id,
    true AS proven, 'original' AS origin, created_at FROM made WHERE verdict = 'valid'""",
)


@dataclass(slots=True)
class _Definition:
    """A definition, and what was made of it."""

    name: str
    lines: list[str]
    kind: str
    """`plain`, `real`, `exact`, `near`, `secret` or `extra`."""
    language: str
    note: str | int = ""
    """What it holds, or its number, by kind."""
    model: _Definition | None = None
    """What it is a copy of."""
    edited: int = 0
    """Line in which it differs from that, or that it has more."""
    made: list[_Made] = field(default_factory=list)
    """Its examples of one changed place."""


@dataclass(frozen=True, slots=True)
class _Made:
    """An example, as far as others are made of it."""

    site: Site
    candidate_id: str
    example_id: str
    bad: str
    error: str
    failing: tuple[str, ...]
    change: Change


@dataclass(frozen=True, slots=True)
class _File:
    """A file of a repository, with where its definitions begin."""

    path: str
    text: str
    lines: list[str]
    hash: str
    language: str
    baseline: _Baseline


@dataclass(slots=True)
class _Baseline:
    """A baseline that is stored, with how many tests it has so far."""

    baseline_id: str
    toolchain: str
    tests: int = 0


class _Filler:
    """Makes repository after repository, and writes what is due."""

    def __init__(self, store: Store, seed: int, shape: Shape, batch: int) -> None:
        self.filled = Filled()
        self._store, self.shape, self._batch = store, shape, batch
        self.seed = seed
        self.run_id = ""
        self.draw = Random(f"store {seed}")
        self.rows: dict[str, list[Any]] = {name: [] for name in _MADE}
        self.tables: dict[str, list[dict[str, Any]]] = {name: [] for name in _TABLES}
        self._real = real_functions(Random(f"real {seed}"))
        self._extra = list(enumerate(shape.extra))
        self._copied: list[tuple[str, _Definition]] = []
        self._stored = itertools.count()
        self.commits: list[str] = []
        copies = {"real": shape.real, "exact": shape.exact, "near": shape.near}
        kinds = {**copies, "secret": shape.secrets}
        self._kinds = _Shares({**kinds, "plain": 1 - sum(kinds.values())})
        self._languages = _Shares(shape.languages)
        self.sources = _Shares(shape.sources)
        self._audited, self._weak = _either(shape.audited), _either(shape.weak)
        self._flaky, self.attempted = _either(shape.flaky), _either(shape.attempted)
        self.mended, self._survived = _either(shape.mended), _either(shape.survived)

    # --- repositories, files, definitions --------------------------------------------------

    def repository(self, number: int, until: int) -> None:
        """Make files until there are so many examples in all."""
        if self.filled.rows >= until:
            return
        draw = self.draw
        name = f"{draw.choice(NOUNS)}-{draw.choice(NOUNS)}-{number}"
        commit, tree = (_long(self.seed, number, what) for what in ("commit", "tree"))
        licence = self.shape.licences[number % len(self.shape.licences)]
        revision = Revision(f"https://example.org/{name}.git", commit, tree, licence)
        self.run_id = content_hash("run", self.seed, number)
        now = self.now()
        self.tables["revisions"].append(
            {
                "revision_id": revision.revision_id,
                "repo": revision.repo,
                "commit": commit,
                "tree": tree,
                "license": licence,
                "created_at": now,
            }
        )
        self.tables["runs"].append(
            {
                "run_id": self.run_id,
                "repo": revision.repo,
                "started_at": now,
                "ended_at": now + timedelta(seconds=60),
                "summary": "{}",
            }
        )
        baselines: dict[str, _Baseline] = {}
        self.commits.clear()
        for count in itertools.count():
            if self.filled.rows >= until:
                return
            language = self._languages.next()
            if language not in baselines:
                baselines[language] = self._baseline(revision, language, now)
            self._file(revision, baselines[language], language, count, until)

    def _baseline(self, revision: Revision, language: str, now: datetime) -> _Baseline:
        toolchain = f"{language}@{content_hash(language)[:12]}"
        environment = content_hash("environment", revision.revision_id, language)
        key = content_hash("baseline", revision.revision_id, environment, toolchain)
        self.tables["environments"].append(
            {
                "environment_hash": environment,
                "toolchain": toolchain,
                "details": json.dumps({"python": "3.12.1", "lock": ["pytest==9.0.0"]}),
                "created_at": now,
            }
        )
        self.tables["baselines"].append(
            {
                "baseline_id": key,
                "revision_id": revision.revision_id,
                "environment_hash": environment,
                "toolchain": toolchain,
                "runs": 3,
                "suite_seconds": 2.5,
                "created_at": now,
            }
        )
        return _Baseline(key, toolchain)

    def _file(
        self, revision: Revision, baseline: _Baseline, language: str, count: int, until: int
    ) -> None:
        draw = self.draw
        stem = f"{draw.choice(NOUNS)}_{draw.choice(NOUNS)}_{count}"
        path = f"src/{draw.choice(NOUNS)}/{stem}{ENDINGS[language]}"
        found: dict[str, _Definition] = {}
        for _ in range(draw.randint(1, 6)):
            one = self._definition(revision.repo, language)
            if one.name not in found:
                found[one.name] = one
        head = [f'"""{stem.capitalize()}."""', ""] if language == "python" else []
        lines, begins = [*head, ""], []
        for one in found.values():
            begins.append(len(lines))
            lines += [*one.lines, "", ""]
        del lines[-2:]
        text = "\n".join(lines) + "\n"
        file = _File(path, text, lines, bytes_hash(text.encode()), language, baseline)
        for one, begin in zip(found.values(), begins, strict=True):
            self._examples(revision, file, one, begin, until)

    def _definition(self, repo: str, language: str) -> _Definition:
        draw = self.draw
        if language != "python":
            name = function_name(draw)
            return _Definition(name, function(draw, name, language).split("\n"), "plain", language)
        if self._extra:
            number, text = self._extra.pop(0)
            lines = text.strip("\n").split("\n")
            name = lines[0].partition("def ")[2].partition("(")[0]
            return _Definition(name, lines, "extra", language, number)
        others = [one for home, one in self._copied if home != repo and one.made]
        kind = self._kinds.next(but=frozenset() if others else frozenset(("exact", "near")))
        if kind in ("exact", "near"):
            copy = self._copy(draw.choice(others), kind)
            if copy is not None:
                return copy
            kind = "plain"
        if kind == "real" and (found := next(self._real, None)) is not None:
            return _Definition(found[0], found[1].split("\n"), kind, language)
        name = function_name(draw)
        one = _Definition(name, function(draw, name, language).split("\n"), "plain", language)
        if kind == "secret":
            one.kind = kind
            one.note, line = _secret(draw)
            one.lines.insert(1, f"    {line}")
        elif len(one.lines) > 8:
            if len(self._copied) < COPIED:
                self._copied.append((repo, one))
            else:
                self._copied[draw.randrange(COPIED)] = (repo, one)
        return one

    def _copy(self, model: _Definition, kind: str) -> _Definition | None:
        """None where no number in it can be edited."""
        lines = list(model.lines)
        if kind == "exact":
            lines.insert(1, f"    # Taken over from {self.draw.choice(NOUNS)}.")
            return _Definition(model.name, lines, kind, model.language, model=model, edited=1)
        if len(" ".join(lines).split()) < TOKENS_COPIED:
            return None
        used = {made.site.line for made in model.made}
        numbers = [
            one
            for one in sites(lines, model.language)
            if one.operator == "number-scaled" and one.line not in used
        ]
        if not numbers:
            return None
        one = self.draw.choice(numbers)
        edited = changed(lines, [Site(one.line, one.start, one.end, "7919", "")])
        return _Definition(model.name, edited, kind, model.language, model=model, edited=one.line)

    # --- examples --------------------------------------------------------------------------

    def _examples(
        self, revision: Revision, file: _File, one: _Definition, begin: int, until: int
    ) -> None:
        """All examples of a definition, their tests and oracle."""
        filled, draw = self.filled, self.draw
        if filled.rows >= until:
            return
        flaky = self._flaky.next() == "yes"
        work = _Work(self, revision, file, one, begin, self._tests(file, one, flaky))
        if one.model is not None:
            for old in one.model.made:
                if filled.rows < until:
                    down = 1 if one.kind == "exact" else 0
                    site = replace(old.site, line=old.site.line + down)
                    work.put("mutated", [site], like=old.example_id)
        else:
            places = sites(one.lines, one.language)
            draw.shuffle(places)
            wanted = max(1, draw.randint(self.shape.mutants // 2, self.shape.mutants * 3 // 2))
            while places and len(work.ids) < wanted and filled.rows < until:
                work.draw(self.sources.next(but=work.impossible), places)
                if places and self._survived.next() == "yes":
                    work.put("mutated", [places.pop()], survives=True)
        filled.definitions += bool(work.ids)
        for example in work.ids:
            if one.kind == "secret":
                filled.secrets[example] = str(one.note)
            elif one.kind == "extra":
                filled.extra[example] = int(one.note)
            if flaky:
                filled.flaky.add(example)
        if one.made and self._audited.next() == "yes":
            weak = self._weak.next() == "yes"
            self._oracle(file, one, begin, weak=weak)
            filled.audited += work.single
            filled.weak += work.single if weak else 0
        if len(self.rows["candidate_id"]) >= self._batch:
            self.flush()

    def _tests(self, file: _File, one: _Definition, flaky: bool) -> list[tuple[str, int]]:
        """Ids and lines of the tests of a definition, which are now stored."""
        path = f"tests/test_{PurePosixPath(file.path).stem}{ENDINGS[file.language]}"
        found = []
        for number in range(self.draw.randint(1, 4)):
            position = file.baseline.tests
            file.baseline.tests += 1
            name, line = f"test_{one.name}_{number}", 4 + 5 * position
            found.append((f"{path}::{name}", line))
            value = self.draw.randint(2, 999)
            self.tables["tests"].append(
                {
                    "baseline_id": file.baseline.baseline_id,
                    "position": position,
                    "test_id": f"{path}::{name}",
                    "path": path,
                    "line": line,
                    "outcome": "passed",
                    "seconds": 0.01,
                    "flake_rate": 1 / 3 if flaky else 0.0,
                    "reason": "",
                    "source": f"def {name}():\n    found = {one.name}(*ARGUMENTS[{value}])\n"
                    f"    assert found == {value}\n",
                }
            )
        return found

    def _oracle(self, file: _File, one: _Definition, begin: int, *, weak: bool) -> None:
        rejected = [made.candidate_id for made in one.made]
        rejected += [
            content_hash("rejected", file.hash, one.name, number)
            for number in range(LEAST_TRIED + 2 - len(rejected))
        ]
        through = [
            content_hash("through", file.hash, one.name, number)
            for number in range(len(rejected) if weak else 1)
        ]
        body = len(one.lines[1]) - len(one.lines[1].lstrip())
        for number, key in enumerate(through):
            wrong = " " * body + f"return {number or None}"
            self.tables["wrong_fixes"].append(
                {
                    "candidate_id": key,
                    "baseline_id": file.baseline.baseline_id,
                    "path": file.path,
                    "symbol": one.name,
                    "line": begin + 2,
                    "kind": "early-return",
                    "operator": "early-return",
                    "patch": _patch(file, begin + 1, wrong),
                    "verdict": "survived",
                    "reason": "",
                    "seconds": 0.05,
                    "created_at": self.now(),
                }
            )
        counts = {"mutant": {"rejected": len(rejected)}, "early-return": {"through": len(through)}}
        self.tables["oracles"].append(
            {
                "baseline_id": file.baseline.baseline_id,
                "path": file.path,
                "symbol": one.name,
                "base_hash": file.hash,
                "candidate_id": None,
                "tried": len(rejected) + len(through),
                "rejected": len(rejected),
                "by_kind": json.dumps(counts, sort_keys=True),
                "rejected_ids": json.dumps(rejected),
                "let_through": json.dumps(through),
                "least": LEAST_TRIED,
                "weak_below": WEAK_BELOW,
                "seconds": 1.5,
                "created_at": self.now(),
            }
        )

    def now(self) -> datetime:
        return BEGUN + timedelta(milliseconds=next(self._stored))

    # --- writing ---------------------------------------------------------------------------

    def flush(self) -> None:
        """Write everything that waits, in one session."""
        made = pa.table(
            {name: pa.array(values, type=_MADE[name]) for name, values in self.rows.items()}
        )
        with self._store.writing() as connection:
            for name, rows in self.tables.items():
                insert(connection, name, rows)
                rows.clear()
            connection.register("made", made)
            for statement in _WRITTEN:
                connection.execute(statement)
            connection.unregister("made")
        for values in self.rows.values():
            values.clear()


class _Work:
    """One definition of one file, and the changes that are made of it."""

    def __init__(
        self,
        filler: _Filler,
        revision: Revision,
        file: _File,
        one: _Definition,
        begin: int,
        tests: list[tuple[str, int]],
    ) -> None:
        self.ids: list[str] = []
        """Examples."""
        self.single = 0
        """Those of one place."""
        self._to, self._file, self._one, self._begin = filler, file, one, begin
        self._revision, self._tests = revision, tests
        self._good = "\n".join(one.lines)
        self._fix_id = content_hash("fix", bytes_hash(self._good.encode()))
        lengths = (len(line) + 1 for line in one.lines)
        start = sum(len(line) + 1 for line in file.lines[:begin])
        self._starts = list(itertools.accumulate(lengths, initial=start))
        self._seen: set[tuple[tuple[str, str], ...]] = set()

    @property
    def impossible(self) -> Set[str]:
        """Sources for which there is nothing yet."""
        return frozenset() if len(self._one.made) > 1 else frozenset(("combined",))

    def draw(self, source: str, places: list[Site]) -> None:
        """Make a change, of places that are taken out of those there are."""
        draw = self._to.draw
        if source == "combined":
            self._combine(*draw.sample(self._one.made, 2))
            return
        chosen = [places.pop()]
        if source == "reverted":
            line = chosen[0].line
            near = (at for at, one in enumerate(places) if 0 < abs(one.line - line) < 5)
            if (at := next(near, None)) is not None:
                chosen.append(places.pop(at))
        self.put(source, chosen)

    def put(
        self, source: str, places: list[Site], *, like: str | None = None, survives: bool = False
    ) -> None:
        """Make an example of changes in neighbouring lines, or what `survives`."""
        one, draw = self._one, self._to.draw
        places = sorted(places, key=lambda place: place.line)
        lines = changed(one.lines, places)
        if not self._fresh([(one.lines[at.line], lines[at.line]) for at in places], lines):
            return
        first, last = places[0].line, places[-1].line
        before, after = one.lines[first : last + 1], lines[first : last + 1]
        operator = places[0].operator
        if source == "written":
            operator = "insert:made/small@1"
            if one.language == "python" and before[0].lstrip().startswith("return "):
                indent = before[0][: len(before[0]) - len(before[0].lstrip())]
                after.insert(0, f"{indent}if {draw.choice(NOUNS)} is None:")
                after.insert(1, f"{indent}    return None")
        elif source == "reverted":
            operator = "commit"
        if source == "mutated":
            start, end = places[0].start, places[0].end
            change = self._change(first, start, end, one.lines[first][start:end], places[0].after)
        else:
            text = "\n".join(before)
            change = self._change(first, 0, 0, text, "\n".join(after), whole=True)
        bad = [*one.lines[:first], *after, *one.lines[last + 1 :]]
        if len(after) == 1:
            patch = _patch(self._file, self._begin + first, after[0])
        else:
            patch = self._whole_patch(bad)
        failing = [] if survives else self._failing()
        made = self._row(source, operator, [change], bad, patch, failing, survives=survives)
        if survives or made is None:
            return
        if source == "mutated":
            one.made.append(replace(made, site=places[0]))
            if like is None:
                self._further(one.made[-1], bad)
        if like is not None:
            filled = self._to.filled
            (filled.exact if one.kind == "exact" else filled.near)[made.example_id] = like

    def _combine(self, one: _Made, other: _Made) -> None:
        if abs(one.site.line - other.site.line) < 4:
            return
        one, other = sorted((one, other), key=lambda made: made.site.line)
        places = [one.site, other.site]
        old, bad = self._one.lines, changed(self._one.lines, places)
        if not self._fresh([(old[at.line], bad[at.line]) for at in places], bad):
            return
        failing = [test for test in self._tests if test[0] in {*one.failing, *other.failing}]
        parts = [
            {"candidate_id": part.candidate_id, "tests": list(part.failing[:1])}
            for part in (one, other)
        ]
        changes = [one.change, other.change]
        patch = self._whole_patch(bad)
        made = self._row("combined", "combined-2", changes, bad, patch, failing, parts=parts)
        if made is not None:
            self._to.filled.parts[made.example_id] = (one.example_id, other.example_id)

    def _fresh(self, lines: list[tuple[str, str]], bad: list[str]) -> bool:
        """Whether there is no such change yet, and it leaves code that parses."""
        key = tuple(("".join(old.split()), "".join(new.split())) for old, new in lines)
        if key in self._seen or any(old == new for old, new in key):
            return False
        self._seen.add(key)
        return self._one.kind not in ("real", "extra") or parses("\n".join(bad))

    def _change(
        self, line: int, start: int, end: int, before: str, after: str, *, whole: bool = False
    ) -> Change:
        begin = self._starts[line] + start
        span = Span(begin, begin + (len(before) if whole else end - start))
        at = self._begin + line + 1
        return Change(
            self._file.path, span, before, after, at, at + before.count("\n"), self._file.hash
        )

    def _file_of(self, lines: list[str]) -> bytes:
        """The file, with these in place of the definition."""
        file, begin = self._file.lines, self._begin
        whole = [*file[:begin], *lines, *file[begin + len(self._one.lines) :]]
        return ("\n".join(whole) + "\n").encode()

    def _whole_patch(self, bad: list[str]) -> str:
        return unified_patch(self._file.path, self._file_of(bad), self._file.text.encode())

    def _failing(self) -> list[tuple[str, int]]:
        draw = self._to.draw
        return self._tests[draw.randrange(len(self._tests)) :]

    def _row(
        self,
        source: str,
        operator: str,
        changes: list[Change],
        bad: list[str],
        patch: str,
        failing: list[tuple[str, int]],
        *,
        survives: bool = False,
        parts: list[dict[str, Any]] | None = None,
    ) -> _Made | None:
        to, own, file = self._to, changes[0], self._file
        identity = [
            [one.path, one.base_hash, one.span.start, one.span.end, one.after] for one in changes
        ]
        key = content_hash("candidate", *identity[0], *identity[1:])
        example = content_hash("example", key, self._fix_id)
        failures = [self._failure(test, line, own, bad) for test, line in failing[:2]]
        names = tuple(sorted(test for test, _ in failing))
        first = failures[0] if failures else dict.fromkeys(_FAILURE)
        text = "\n".join(bad)
        row = {
            "candidate_id": key,
            "baseline_id": file.baseline.baseline_id,
            "path": file.path,
            "symbol": self._one.name,
            "before": own.before,
            "after": own.after,
            "span_start": own.span.start,
            "span_end": own.span.end,
            "line": own.line,
            "end_line": own.end_line,
            "selected": len(self._tests),
            "failed": len(names),
            "source": source,
            "operator": operator,
            "language": file.language,
            "good": self._good,
            "bad": text,
            "patch": patch,
            "base_hash": file.hash,
            "origin": self._commit() if source == "reverted" else None,
            "others": _listed([asdict(one) for one in changes[1:]]) if changes[1:] else None,
            "parts": _listed(parts) if parts else None,
            "verdict": "survived" if survives else "valid",
            "failing": _listed(names),
            "error_test": first["test_id"],
            "error_type": first["type"],
            "error_message": first["message"],
            "error_assertion": first["assertion"],
            "error_traceback": first["traceback"],
            "more_failures": _listed(failures[1:]),
            "example_id": example,
            "fix_id": self._fix_id,
            "seconds": round(0.02 + to.draw.random(), 6),
            "created_at": to.now(),
        }
        for name, values in to.rows.items():
            values.append(row[name])
        if survives:
            to.filled.survived += 1
            return None
        self._count(example, source)
        self.single += len(changes) == 1
        error = f"FAILED {first['test_id']} - {first['type']}: {first['message']}\n\n"
        site = Site(0, 0, 0, "", operator)
        return _Made(site, key, example, text, error + str(first["traceback"]), names, own)

    def _count(self, example: str, source: str) -> None:
        filled = self._to.filled
        filled.rows += 1
        filled.sources[source] += 1
        filled.languages[self._file.language] += 1
        filled.licences[self._revision.license] += 1
        filled.repositories[self._revision.repo] += 1
        self.ids.append(example)

    def _failure(self, test: str, line: int, change: Change, bad: list[str]) -> dict[str, str]:
        """How a test fails, as a report tells it."""
        draw = self._to.draw
        kind = "AssertionError" if draw.random() < 0.6 else draw.choice(ERRORS)
        found, wanted, name = draw.randint(0, 999), draw.randint(0, 999), draw.choice(NOUNS)
        assertion = f"{found} == {wanted}" if kind == "AssertionError" else ""
        message = f"assert {assertion}" if assertion else f"{name} {found} of {draw.choice(NOUNS)}"
        at = change.line - self._begin - 1
        path, _, called = test.partition("::")
        traceback = (
            f"{path}:{line + 2}: in {called}\n    assert {self._one.name}(ARGUMENTS) == {wanted}\n"
            f"{self._file.path}:{change.line}: in {self._one.name}\n    {bad[at].strip()}\n"
            f"E   {kind}: {message}\n"
        )
        said = (test, "call", kind, message, assertion, traceback)
        return dict(zip(_FAILURE, said, strict=True))

    def _commit(self) -> str:
        """A commit that repaired something; some repaired several things."""
        to = self._to
        if to.commits and to.draw.random() < 0.3:
            return to.draw.choice(to.commits)
        commit = _long(self._revision.commit, len(to.commits), "fix")
        to.commits.append(commit)
        days = to.draw.randrange(365 * 8)
        to.tables["fix_commits"].append(
            {
                "commit": commit,
                "committed_at": BEGUN - timedelta(days=days, seconds=to.draw.randrange(86_400)),
                "statement": f"{to.draw.choice(NOUNS).capitalize()} of {self._one.name} is right",
                "signals": '{"fix_words": ["fix"], "weight": 4}',
            }
        )
        return commit

    def _further(self, made: _Made, bad: list[str]) -> None:
        """What models made of an example, for some of them."""
        to = self._to
        if len(self._one.made) > 1 and to.attempted.next() == "yes":
            self._attempt(made)
        if self._one.language == "python" and self._one.kind != "extra":
            if to.mended.next() == "yes":
                self._mend(made, bad)

    def _attempt(self, made: _Made) -> None:
        """One conversation: wrong answers are other bugs of the definition."""
        to = self._to
        others = [one for one in self._one.made if one.example_id != made.example_id]
        turns = to.draw.randint(1, 3)
        to.filled.attempted.add(made.example_id)
        question = f"This code fails:\n\n{made.bad}\n\n{made.error}"
        for turn in range(1, turns + 1):
            other = to.draw.choice(others)
            verdict = "failed"
            if turn == turns:
                verdict = to.draw.choice(("failed", "fixed", "fixed", "rejected"))
            code = {"failed": other.bad, "fixed": self._good}.get(verdict)
            to.tables["attempts"].append(
                {
                    "attempt_id": content_hash("attempt", made.example_id, 0, turn),
                    "example_id": made.example_id,
                    "baseline_id": self._file.baseline.baseline_id,
                    "run_id": to.run_id,
                    "model": "made/small",
                    "prompt": "repair@1",
                    "call_id": content_hash("call", made.example_id, turn),
                    "seed": 0,
                    "show_tests": False,
                    "sample": 0,
                    "turn": turn,
                    "question": question,
                    "answer": "I do not know." if code is None else f"```python\n{code}\n```",
                    "code": code,
                    "verdict": verdict,
                    "reason": {"fixed": "restored", "rejected": "no-code"}.get(verdict, ""),
                    "candidate_id": other.candidate_id if verdict == "failed" else None,
                    "error": other.error if verdict == "failed" else "",
                    "held_back": max(0, len(made.failing) - turn),
                    "held_back_failing": 0,
                    "created_at": to.now(),
                }
            )
            to.filled.attempts[verdict] += 1
            question = f"It still fails:\n\n{other.error}"

    def _mend(self, made: _Made, bad: list[str]) -> None:
        """The same bug with a fix that is not the base's code."""
        to, lines = self._to, self._one.lines
        body = next((at for at, line in enumerate(lines) if line.startswith("    return ")), None)
        if body is None:
            return
        more = f"    {to.draw.choice(NOUNS)}_{len(self.ids)} = None"
        fixed = [*lines[:body], more, *lines[body:]]
        change = self._change(body, 0, 0, "", f"{more}\n")
        rows, patch = to.rows, self._whole_patch(fixed)
        identity = [change.path, change.base_hash, change.span.start, change.span.end, change.after]
        key = content_hash("candidate", *identity)
        self._row("written", "repair:made/small@1", [change], fixed, patch, [], survives=True)
        to.filled.survived -= 1
        rows["verdict"][-1] = "fix"
        code = "\n".join(fixed)
        fix_id = content_hash("fix", bytes_hash(code.encode()))
        example = content_hash("example", made.candidate_id, fix_id)
        whole = [self._file_of(bad), self._file_of(fixed)]
        to.tables["fixes"].append(
            {
                "fix_id": fix_id,
                "example_id": example,
                "candidate_id": made.candidate_id,
                "baseline_id": self._file.baseline.baseline_id,
                "origin": "made/small repair@1 turn 1",
                "code": code,
                "patch": unified_patch(self._file.path, *whole),
                "proven": True,
                "created_at": to.now(),
                "fix_candidate_id": key,
            }
        )
        self._count(example, "mutated")
        self.single += 1
        to.filled.mended[example] = made.example_id


_FAILURE = ("test_id", "phase", "type", "message", "assertion", "traceback")


def _patch(file: _File, at: int, line: str) -> str:
    """What `unified_patch` gives for one line of a file that is another one in the bad code."""
    begin, end = max(0, at - CONTEXT), min(len(file.lines), at + CONTEXT + 1)
    length = "" if end - begin == 1 else f",{end - begin}"
    lines = [
        f"--- a/{file.path}",
        f"+++ b/{file.path}",
        f"@@ -{begin + 1}{length} +{begin + 1}{length} @@",
        *(f" {one}" for one in file.lines[begin:at]),
        f"-{line}",
        f"+{file.lines[at]}",
        *(f" {one}" for one in file.lines[at + 1 : end]),
    ]
    return "\n".join(lines) + "\n"


def _secret(draw: Random) -> tuple[str, str]:
    """What it is, and a line that holds it. It is drawn, so none stands in this file."""

    def some(letters: str, count: int) -> str:
        return "".join(draw.choices(letters, k=count))

    lower, upper = "abcdefghijklmnopqrstuvwxyz", "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
    digits = "0123456789"
    return draw.choice(
        (
            ("github-token", f'credential = "ghp_{some(lower + upper + digits, 36)}"'),
            ("aws-key", f'credential = "AKIA{some(upper + "234567", 16)}"'),
            ("google-key", f'credential = "AIza{some(lower + upper + digits, 35)}"'),
            ("mail", f'contact = "{some(lower, 7)}.{some(lower, 9)}@{some(lower, 8)}.net"'),
        )
    )


def _long(*parts: object) -> str:
    """Forty hexadecimal digits, as git names things."""
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:40]


def _listed(values: Sequence[object]) -> str:
    return json.dumps(list(values), separators=(",", ":"))
