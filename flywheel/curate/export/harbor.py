"""Harbor: a folder for each task, with what an agent is told, its container, and its verifier.

The verifier runs the suite in the agent's own container and gives 1 when every test that must pass
does, else 0. The solution is the patch; it is in no image.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from flywheel.curate.export.instance import BUG, TESTBED, Instance, instances
from flywheel.curate.export.output import Output, name_of

SECONDS = 1800
"""What the suite may take in a container."""
VERIFIER = Path(__file__).with_name("verifier.py")
"""Plugin of pytest that says whether the tests that must pass do."""
_TEST = f"""\
#!/bin/bash
cd {TESTBED}
echo 0 > /logs/verifier/reward.txt
PYTHONPATH=/tests python -m pytest -p {VERIFIER.stem} -q --continue-on-collection-errors
"""
_SOLVE = f"""\
#!/bin/bash
set -e
cd {TESTBED}
git apply /solution/fix.patch
"""
_READ_ME = """\
# {version} as Harbor tasks

A folder for each split, in it one for each task: `harbor run -p {split}`.

Each container begins at the row's commit with the bug put in. The images are built from
`environment/Dockerfile`; they were not built by the program that wrote them, and name their base
by a tag and not by a digest.
"""


def write(output: Output) -> None:
    """Write a task for every instance."""
    for split in output.splits:
        name = name_of(split)
        for one in instances(output, split):
            _write(output, f"{name}/{one.id.lower()}", one)
            output.rows[name] += 1
    names = {"version": output.version.id, "split": name_of(output.splits[0])}
    output.write("README.md", _READ_ME.format(**names))


def _write(output: Output, folder: str, one: Instance) -> None:
    tests = {"fail_to_pass": one.fail_to_pass, "pass_to_pass": one.pass_to_pass}
    output.write(f"{folder}/task.toml", _task(output, one))
    output.write(f"{folder}/instruction.md", one.statement)
    output.write(f"{folder}/environment/Dockerfile", one.dockerfile)
    output.write(f"{folder}/environment/{BUG}", one.bug)
    output.write(f"{folder}/tests/test.sh", _TEST, executable=True)
    output.write(f"{folder}/tests/tests.json", json.dumps(tests, indent=1) + "\n")
    shutil.copyfile(VERIFIER, output.path(f"{folder}/tests/{VERIFIER.name}"))
    output.write(f"{folder}/solution/solve.sh", _SOLVE, executable=True)
    output.write(f"{folder}/solution/fix.patch", one.fix)


def _task(output: Output, one: Instance) -> str:
    row = one.row
    known = ("row_id", "repo", "commit", "path", "symbol", "license", "source", "operator")
    told = {name: row[name] for name in (*known, "difficulty") if row[name] is not None}
    metadata = "".join(f"{name} = {_quoted(value)}\n" for name, value in told.items())
    return f"""\
schema_version = "1.4"

[task]
name = {_quoted(f"{output.version.manifest.name}/{one.id}".lower())}
description = {_quoted(f"Mend {row['symbol']} in {row['path']}.")}
keywords = ["bug-fix", "python"]

[metadata]
dataset = {_quoted(output.version.id)}
{metadata}
[verifier]
timeout_sec = {SECONDS}.0

[environment]
build_timeout_sec = {SECONDS}.0
workdir = "{TESTBED}"
"""


def _quoted(text: str) -> str:
    """A text as TOML has it: as JSON, without the escapes of half a character."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")
