"""The proof that a program learns to mend: trained on some repositories, measured on others.

Every step is a command of flywheel's, printed as it is run, and each goes on where it was: run this
again after an interruption and nothing is judged, asked or trained twice.

    python tests/benchmarks/proof.py [--workspace FOLDER] [--rows N] [--quixbugs CLONE]

Which repositories are learned from and which are held out is decided by a hash, in the recipe
`repair-across`. The program `repair` is answered by SmolLM2-135M on this machine. Base,
few-shot, MIPROv2 and BootstrapFinetune stand side by side on the held-out rows; with a clone of
QuixBugs, the base and the trained one on its programs too, which nothing is ever trained on.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from quixbugs import cloned, prepare

PACKAGES = {
    "toolz==1.2.0": 1500,
    "boltons==26.2.0": 1500,
    "inflection==0.5.1": 1000,
    "django-environ==0.14.0": 300,
    "cachetools==8.0.0": 300,
    "itsdangerous==2.2.0": 100,
    "jinja2==3.1.6": 100,
}
"""Packages, and how many candidates of each are judged."""
TEXTS = Path(__file__).parents[2] / "datasets" / "repair-sft"
"""Where the texts and the recipe are of which the proof's differs in a few lines."""
CHANGES = {
    'title = "Repair"': 'title = "Repair, other repositories held out"',
    "per_definition = 10": "per_definition = 40",
    # Of these repositories a seed under which each split has one, and the hold-out two.
    'by = "component"': 'by = "repository"\nseed = 5',
    "holdout = 0.1": "holdout = 0.25",
    'holdout_name = "main"': 'holdout_name = "across"',
}
"""Lines of the recipe, and what stands in their place."""
STUDENT = f"""
[lm.student]
model = "local"
temperature = 0.0
timeout = 900
threads = {os.cpu_count()}
"""
OPTIMIZERS = {
    "bootstrap-finetune": ("--time-limit", "45m"),
    "bootstrap-fewshot": (),
    "miprov2": ("--trials", "6", "--time-limit", "15m"),
}
"""Optimisers, with what bounds them."""
ROWS = 210
"""Held-out rows that each version is measured on."""


class Workspace:
    """Where the commands run."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def flywheel(self, *arguments: str) -> Any:
        """What a command prints as JSON; ends the proof where it fails."""
        shown = shlex.join(["flywheel", "--workspace", str(self.root), *arguments])
        print(f"$ {shown}", flush=True)
        command = [sys.executable, "-c", "from flywheel.cli.main import main; main()"]
        began = time.monotonic()
        ran = subprocess.run(
            [*command, "--workspace", str(self.root), *arguments, "--json"],
            stdout=subprocess.PIPE,
            text=True,
            check=False,
        )
        if ran.returncode or not ran.stdout:
            raise SystemExit(ran.returncode or 1)
        print(f"  {time.monotonic() - began:.0f} s", flush=True)
        return json.loads(ran.stdout)

    def prepare(self) -> None:
        """A workspace with the student and the recipe; settings that are there stay."""
        settings = self.root / "flywheel.toml"
        self.root.mkdir(parents=True, exist_ok=True)
        said = settings.read_text() if settings.exists() else ""
        if "\n[lm.student]" not in f"\n{said}":
            settings.write_text(said + STUDENT)
        folder = self.root / "datasets" / "repair-across"
        folder.mkdir(parents=True, exist_ok=True)
        for text in ("prompt.md", "answer.md", "card.md"):
            shutil.copy(TEXTS / text, folder / text)
        recipe = (TEXTS / "recipe.toml").read_text()
        for old, new in CHANGES.items():
            if recipe.count(old) != 1:
                raise SystemExit(f"the recipe of repair-sft has not one line {old!r} any more")
            recipe = recipe.replace(old, new)
        (folder / "recipe.toml").write_text(recipe)

    def dataset(self) -> str:
        """The version that all is learned from and measured on: harvested and built once.

        A harvest that is run again judges anew what it could not decide, so the rows of a later
        build may differ: what was begun with one version goes on with it.
        """
        noted = self.root / "proof-dataset.txt"
        if not noted.exists():
            for package, candidates in PACKAGES.items():
                self.flywheel(
                    "harvest", "--repo", f"pypi:{package}", "--max-candidates", str(candidates)
                )
            noted.write_text(self.flywheel("dataset", "build", "repair-across")["version"])
        return noted.read_text()


def proven(workspace: Workspace, rows: int, quixbugs: Path | None) -> dict[str, Any]:
    """Every step; gives what was measured."""
    workspace.prepare()
    dataset = workspace.dataset()
    made = {}
    # Each ends with a verdict on the held-out rows. They are asked once: the table reads it again.
    for optimizer, bounds in OPTIMIZERS.items():
        made[optimizer] = workspace.flywheel(
            "optimize", "--module", "repair", "--dataset", dataset, "--optimizer", optimizer,
            "--gate-rows", str(rows), *bounds,
        )  # fmt: skip
    names = {"base": "repair@base"}
    names |= {name: said["version"] for name, said in made.items() if said["version"]}
    measured = workspace.flywheel(
        "evaluate", "--module", "repair", "--dataset", dataset, "--split", "holdout",
        "--versions", ",".join(names.values()), "--rows", str(rows),
    )  # fmt: skip
    found = {"dataset": dataset, "names": names, "optimized": made, "holdout": measured}
    if quixbugs is not None:
        other = prepare(quixbugs, workspace.root)
        found["quixbugs"] = workspace.flywheel(
            "evaluate", "--module", "repair", "--dataset", other, "--split", "holdout",
            "--versions", f"repair@base,{names['bootstrap-finetune']}",
        )  # fmt: skip
    return found


def table(found: dict[str, Any], key: str) -> str:
    """The proof as a table of Markdown."""
    measured = found[key]
    by_version = {version: name for name, version in found["names"].items()}
    compared = {one["challenger"]: one for one in measured["compared"]}
    lines = [
        "| program | mended | of | 95 % | beside base | p | a row, s |",
        "|---|---|---|---|---|---|---|",
    ]
    for one in measured["versions"]:
        mean, said = one["mean"], (compared.get(one["version"]) or {}).get("comparison")
        beside, p = "", ""
        if said is not None:
            beside = f"{said['difference']:+.3f} ({said['low']:+.3f} to {said['high']:+.3f})"
            p = f"{said['p_value']:.2g}"
        lines.append(
            f"| {by_version.get(one['version'], one['version'])} | {mean['value']:.3f}"
            f" | {mean['n']} | {mean['low']:.3f} to {mean['high']:.3f} | {beside} | {p}"
            f" | {one['latency']['p50']:.1f} |"
        )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--workspace", type=Path, default=Path(".flywheel-proof"))
    parser.add_argument("--rows", type=int, default=ROWS)
    parser.add_argument("--quixbugs", type=cloned)
    asked = parser.parse_args()
    workspace = Workspace(asked.workspace.resolve())
    found = proven(workspace, asked.rows, asked.quixbugs)
    (workspace.root / "proof.json").write_text(json.dumps(found, indent=1))
    print(f"\n{table(found, 'holdout')}")
    if "quixbugs" in found:
        print(f"\nQuixBugs\n\n{table(found, 'quixbugs')}")


if __name__ == "__main__":
    main()
