"""Bugs to be mended by an agent: a repository at a commit, the bug put into it, tests that tell.

The commit of a row is of the good code, and `patch` leads from the bad to the good. So the state to
begin with is the commit with the patch taken back; its own tests tell the two apart, and no test is
added. What a container needs is said as a Dockerfile, which is not built here. It keeps neither
the history nor the patch, in which the answer could be read.

Only what others can rebuild is an instance: a repository with an address or a release of a package,
Python of a known version, packages that are pinned.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from flywheel.curate.export.output import Output

COLUMNS = (
    *("row_id", "repo", "commit", "path", "symbol", "language", "license", "source", "operator"),
    *("statement", "patch", "error", "failing_tests", "difficulty", "at", "baseline_id"),
)
"""Columns of a version that an instance is made of."""
LOCAL, OTHER_LANGUAGE = "repository-of-this-machine", "other-language"
NO_ENVIRONMENT, SPACED = "environment-not-pinned", "name-of-a-test-has-a-space"
"""Why a row is no instance."""
TESTBED = "/testbed"
"""Where the repository lies in the container."""
BUG = "bug.patch"
"""File that puts the bug into the commit."""

_RELEASE = re.compile(r"pypi:(?P<name>[A-Za-z0-9._-]+)==(?P<version>[A-Za-z0-9.!+_-]+)")
_ADDRESS = re.compile(
    r"(?:https?|ssh|git)://[^/]+/(?P<path>.+?)(?:\.git)?/?|[^/@]+@[^/:]+:(?P<scp>.+?)(?:\.git)?"
)
_UNSAFE = re.compile(r"[^A-Za-z0-9._-]+")


@dataclass(frozen=True, slots=True)
class Instance:
    """One bug of a repository."""

    id: str
    """`OWNER__NAME-ROW`, as SWE-bench names them."""
    repo: str
    """`OWNER/NAME`."""
    row: Mapping[str, Any]
    """The row of the version."""
    fix: str
    """Patch, for `git apply`, that mends it."""
    bug: str
    """Patch that puts the bug into the commit."""
    fail_to_pass: tuple[str, ...]
    """Tests that fail with the bug and pass without."""
    pass_to_pass: tuple[str, ...]
    """Tests that pass with it and without."""
    statement: str
    """What is wrong, for who is to mend it."""
    dockerfile: str
    """What makes the state to begin with; `bug.patch` lies beside it."""


def instances(output: Output, split: str) -> Iterator[Instance]:
    """The instances of a split, one an example; rows that are none are counted by reason."""
    baselines = output.version.baselines()
    for frame in output.frames(split, COLUMNS):
        for row in frame.filter("first").iter_rows(named=True):
            found = _instance(row, baselines.get(row["baseline_id"], {}))
            if isinstance(found, str):
                output.left_out[found] += 1
            else:
                yield found


def _instance(row: Mapping[str, Any], baseline: Mapping[str, Any]) -> Instance | str:
    """The instance of a row, or why it is none."""
    if row["language"] != "python":
        return OTHER_LANGUAGE
    origin = _origin(row["repo"], row["commit"])
    if origin is None:
        return LOCAL
    if not baseline.get("python") or not baseline.get("packages"):
        return NO_ENVIRONMENT
    failing = tuple(row["failing_tests"])
    if any(" " in test for test in failing):
        return SPACED  # the log that tells them apart ends a name at its first space
    known = set(failing)
    repo, fetched = origin
    fix = _with_header(row["patch"])
    return Instance(
        id=f"{repo.replace('/', '__')}-{row['row_id']}",
        repo=repo,
        row=row,
        fix=fix,
        bug=taken_back(fix),
        fail_to_pass=failing,
        pass_to_pass=tuple(
            test for test in baseline["tests"] if test not in known and " " not in test
        ),
        statement=_statement(row),
        dockerfile=_dockerfile(fetched, baseline["python"], baseline["packages"]),
    )


def _origin(repo: str, commit: str) -> tuple[str, str] | None:
    """`OWNER/NAME` and the shell that fetches the commit, None for what others cannot fetch."""
    if found := _RELEASE.fullmatch(repo):
        name, version = found["name"], found["version"]
        return f"pypi/{name}", (
            f"pip download --no-deps --no-binary :all: --dest /tmp/source {name}=={version} \\\n"
            f" && mkdir {TESTBED} \\\n"
            f" && tar --extract --file /tmp/source/* --strip-components 1 --directory {TESTBED}"
        )
    if found := _ADDRESS.fullmatch(repo):
        parts = [_UNSAFE.sub("-", one) for one in (found["path"] or found["scp"]).split("/") if one]
        return "/".join(parts[-2:]), (
            f"git clone --quiet {shlex.quote(repo)} {TESTBED} \\\n"
            f" && git -C {TESTBED} checkout --quiet {commit}"
        )
    return None


def _dockerfile(fetched: str, python: str, packages: list[str]) -> str:
    pinned = " \\\n    ".join(shlex.quote(one) for one in packages)
    return f"""\
FROM python:{python}
RUN {fetched}
WORKDIR {TESTBED}
RUN pip install --no-cache-dir --no-deps \\
    {pinned}
# What can be installed is; its own version may be read from the history, which goes after that.
RUN if [ -f pyproject.toml ] || [ -f setup.py ]; then \\
    pip install --no-cache-dir --no-deps --editable . ; fi
COPY {BUG} /tmp/{BUG}
RUN git apply /tmp/{BUG} && rm -rf .git /tmp/{BUG} /tmp/source \\
 && git init --quiet && git add --all \\
 && git -c user.name=flywheel -c user.email=flywheel@localhost commit --quiet --message base
"""


def _statement(row: Mapping[str, Any]) -> str:
    if row["statement"]:
        return f"{row['statement'].rstrip()}\n"
    fence = "```"
    while fence in row["error"]:
        fence += "`"
    return (
        f"`{row['symbol']}` in `{row['path']}` is wrong: tests of the repository fail.\n\n"
        f"{fence}\n{row['error']}\n{fence}\n"
    )


def _with_header(patch: str) -> str:
    """A patch of one file with the line by which some programs know that it is git's."""
    old, new = (line.partition(" ")[2] for line in patch.split("\n", 2)[:2])
    return f"diff --git {old} {new}\n{patch}"


def taken_back(patch: str) -> str:
    """The patch that undoes one of a single file: it adds what the other takes away."""
    head, *hunks = patch.split("\n@@ ")
    out = [head]
    for hunk in hunks:
        ranges, _, body = hunk.partition("\n")
        old, new, more = ranges.split(" ", 2)
        out.append(f"-{new[1:]} +{old[1:]} {more}\n{_swapped(body)}")
    return "\n@@ ".join(out)


def _swapped(body: str) -> str:
    """The lines of a hunk, what it adds taken away, and before what it adds."""
    out: list[str] = []
    gone: list[str] = []
    come: list[str] = []
    last = out
    for line in body.split("\n"):
        match line[:1]:
            case "+":
                gone.append(f"-{line[1:]}")
                last = gone
            case "-":
                come.append(f"+{line[1:]}")
                last = come
            case "\\":  # says of the line before it that no newline ends it
                last.append(line)
            case _:
                out += [*gone, *come, line]
                gone.clear()
                come.clear()
                last = out
    return "\n".join([*out, *gone, *come])
