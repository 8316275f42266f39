"""Seconds of a harvest after a commit that changes one function, against the first, full one.

    python tests/benchmarks/bench_fresh.py [--package pypi:NAME] [--function PATH:NAME] [--jobs N]

The package's files are committed to a repository of their own; the full harvest and the next one
share a warm environment, as they would on anybody's machine. Prints one JSON object.
"""

from __future__ import annotations

import argparse
import ast
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from flywheel.git import resolve

GIT = {
    "GIT_AUTHOR_NAME": "bench",
    "GIT_AUTHOR_EMAIL": "bench@example.org",
    "GIT_COMMITTER_NAME": "bench",
    "GIT_COMMITTER_EMAIL": "bench@example.org",
}


def git(root: Path, *arguments: str) -> None:
    subprocess.run(["git", *arguments], cwd=root, env={**os.environ, **GIT}, check=True)


def harvest(root: Path, folder: Path, *arguments: str) -> dict[str, Any]:
    """One harvest of everything, as a user would run it; wall seconds beside its summary."""
    argv = [sys.executable, "-c", "from flywheel.cli.main import main; main()"]
    argv += ["--quiet", "--workspace", str(folder / "workspace"), "harvest", "--json"]
    argv += ["--repo", str(root), "--max-candidates", "0", *arguments]
    started = time.monotonic()
    done = subprocess.run(
        argv,
        env={**os.environ, "FLYWHEEL_PATHS_CACHE": str(folder / "cache")},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return {"wall": round(time.monotonic() - started, 2), **json.loads(done.stdout)}


def change(root: Path, where: str) -> None:
    """Put a statement that does nothing of note before a function's last one."""
    path, _, name = where.partition(":")
    file = root / path
    text = file.read_text()
    function = next(
        node
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.FunctionDef) and node.name == name
    )
    last = function.body[-1]
    lines = text.splitlines(keepends=True)
    lines.insert(last.lineno - 1, " " * last.col_offset + "changed = True\n")
    file.write_text("".join(lines))


def shown(done: dict[str, Any]) -> dict[str, Any]:
    counts = done["candidates"]
    return {
        "wall": done["wall"],
        "seconds": done.get("seconds"),
        "judged": counts["judged"],
        "known": counts.get("known"),
        "valid": counts["valid"],
        "survived": counts["survived"],
        "carried": done.get("carried"),
        "ended": done["ended"],
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--package", default="pypi:inflection==0.5.1")
    parser.add_argument("--function", default="inflection/__init__.py:ordinal")
    parser.add_argument("--jobs", type=int, default=2)
    options = parser.parse_args()
    jobs = ("--jobs", str(options.jobs))
    with tempfile.TemporaryDirectory(prefix="bench-fresh-") as temporary:
        folder = Path(temporary)
        folder.chmod(0o755)
        root = folder / "repository"
        resolve(options.package, folder / "cache").export(root)
        git(root, "init", "--quiet")
        git(root, "add", "-A", "--force")
        git(root, "commit", "--quiet", "-m", "Everything")
        first = harvest(root, folder, *jobs)
        change(root, options.function)
        git(root, "commit", "--quiet", "-a", "-m", "One function")
        part = harvest(root, folder, *jobs, "--since", "HEAD~1")
        # The same function once more, so that nothing of the part is known at this commit.
        change(root, options.function)
        git(root, "commit", "--quiet", "-a", "-m", "The function again")
        following = harvest(root, folder, *jobs)
    environment = first["seconds"]["environment"]
    print(
        json.dumps(
            {
                "package": options.package,
                "function": options.function,
                "full": shown(first),
                "since": shown(part),
                "following": shown(following),
                "share_of_full": round(following["wall"] / (first["wall"] - environment), 4),
                "share_of_judging": round(
                    following["seconds"]["judging"] / first["seconds"]["judging"], 4
                ),
            },
            indent=2,
        )
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
