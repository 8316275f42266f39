"""SWE-bench: instances as its loader and its harness read them, and what builds their images.

`base_commit` is the commit of the repository, in which the bug is not yet: `bug_patch` puts it
there, and `patch` mends it. SWE-bench itself knows no such step, so the image makes it:
`dockerfile` ends with the state that `patch` applies to. `test_patch` is empty, for the tests are
in the commit.
"""

from __future__ import annotations

import pyarrow as pa
import pyarrow.parquet as pq

from flywheel.curate.export.instance import BUG, TESTBED, Instance, instances
from flywheel.curate.export.output import Output, name_of

HELD = 100_000
"""Names of tests held in memory before they are written."""
_TEXT = pa.string()
_TEXTS = pa.list_(_TEXT)
SCHEMA = pa.schema(
    [
        *((name, _TEXT) for name in ("instance_id", "repo", "base_commit", "patch", "test_patch")),
        *((name, _TEXT) for name in ("problem_statement", "hints_text", "created_at", "version")),
        ("FAIL_TO_PASS", _TEXTS),
        ("PASS_TO_PASS", _TEXTS),
        *((name, _TEXT) for name in ("environment_setup_commit", "image", "log_parser")),
        *((name, _TEXT) for name in ("eval_type", "eval_script", "bug_patch", "dockerfile")),
        *((name, _TEXT) for name in ("row_id", "license", "source", "operator", "difficulty")),
    ]
)
"""Columns: those of SWE-bench, those its harness reads, and what is known beside."""
EVAL = f"""\
#!/bin/bash
set -uxo pipefail
cd {TESTBED}
: '>>>>> Start Test Output'
python -m pytest -rA --continue-on-collection-errors
: '>>>>> End Test Output'
"""
"""What the harness runs; the tests are those of the commit, so no patch of tests goes before."""
_READ_ME = """\
# {version} as SWE-bench instances

One Parquet file a split, columns as in SWE-bench.

- `base_commit` is the commit **without** the bug. `bug_patch` puts the bug into it; `patch` mends
  it, and applies to `base_commit` with `bug_patch`, not to `base_commit` alone.
- `test_patch` is empty: the tests that tell are in the commit.
- `image` names an image that is **not published**. Build it from the column `dockerfile`, with
  the column `bug_patch` beside it as `{bug}`, and give it that name. These files were not built
  by the program that wrote them.
- `PASS_TO_PASS` are the tests that passed in every run of the suite at the commit, without those
  that the bug fails.

```python
from swebench.harness.utils import load_swebench_dataset

instances = load_swebench_dataset("FOLDER", split="{split}")
```
"""


def write(output: Output) -> None:
    """Write every split as `SPLIT.parquet`."""
    for split in output.splits:
        name = name_of(split)
        with pq.ParquetWriter(output.path(f"{name}.parquet"), SCHEMA, compression="zstd") as file:
            waiting: list[dict[str, object]] = []
            held = 0
            for one in instances(output, split):
                waiting.append(_row(one))
                held += len(one.pass_to_pass)
                output.rows[name] += 1
                if held >= HELD:
                    file.write_table(pa.Table.from_pylist(waiting, SCHEMA))
                    waiting, held = [], 0
            file.write_table(pa.Table.from_pylist(waiting, SCHEMA))
    names = {"version": output.version.id, "split": name_of(output.splits[0]), "bug": BUG}
    output.write("README.md", _READ_ME.format(**names))


def image(instance: str) -> str:
    """Name of an instance's image; a name of SWE-bench's own would say that it is published."""
    return f"flywheel/sweb.eval.x86_64.{instance}:latest".lower().replace("__", "_1776_")


def _row(one: Instance) -> dict[str, object]:
    row = one.row
    return {
        "instance_id": one.id,
        "repo": one.repo,
        "base_commit": row["commit"],
        "patch": one.fix,
        "test_patch": "",
        "problem_statement": one.statement,
        "hints_text": "",
        "created_at": row["at"].isoformat(),
        "version": row["commit"][:12],
        "FAIL_TO_PASS": one.fail_to_pass,
        "PASS_TO_PASS": one.pass_to_pass,
        "environment_setup_commit": row["commit"],
        "image": image(one.id),
        "log_parser": "parse_log_pytest",
        "eval_type": "pass_and_fail",
        "eval_script": EVAL,
        "bug_patch": one.bug,
        "dockerfile": one.dockerfile,
    } | {name: row[name] for name in ("row_id", "license", "source", "operator", "difficulty")}
