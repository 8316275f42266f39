"""What is exported is read by the programs that it is for: the real ones, as they are released.

They lie in a folder of their own, which `make check` fills from `.ci/consumers.lock`. All of them
run in one process, for their imports take most of the time.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from flywheel.curate.export import export, shards
from tests.fakes.exports import TREE, pairs, real, repairs

ROOT = Path(__file__).parents[3]
CONSUMERS = ROOT / ".venv" / ".consumers"
SCRIPT = Path(__file__).with_name("consumers.py")
CHECKS = re.findall(r"^    (\w+),$", SCRIPT.read_text().partition("\nCHECKS")[2], re.MULTILINE)
LOCKS = [ROOT / ".ci" / name for name in ("consumers.lock", "consumers-source.lock")]


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str | None]:
    """What each check raised, None where it raised nothing."""
    if not (CONSUMERS / ".ready").exists():
        pytest.skip(f"the consumers are not installed: make {CONSUMERS.relative_to(ROOT)}/.ready")
    root = tmp_path_factory.mktemp("exports")
    repair, preference = repairs(root / "versions"), pairs(root / "versions")
    job: dict[str, object] = {"told": str(root / "told.json"), "tree": TREE}
    job |= {"repair": str(repair.folder), "preference": str(preference.folder)}
    for name in ("parquet", "trl-sft", "trl-chat", "openai-chat", "sharegpt", "axolotl", "dspy"):
        job[name] = str(export(repair, name, root / name).folder)
    for name in ("trl-dpo", "trl-kto", "openai-dpo"):
        job[name] = str(export(preference, name, root / name).folder)
    job["axolotl-dpo"] = str(export(preference, "axolotl", root / "axolotl-dpo").folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(shards, "GROUP", 5)
        every = ("train", "validation", "holdout")
        hub = export(repair, "huggingface", root / "hub", splits=every, shard_bytes=1)
    job["huggingface"] = str(hub.folder)
    job["swebench"] = str(export(repair, "swebench", root / "swebench").folder)
    one = real(root / "versions")
    job["swebench-real"] = str(export(one, "swebench", root / "swebench-real").folder)
    job["harbor"] = str(export(repair, "harbor", root / "harbor").folder / "train")
    (root / "job.json").write_text(json.dumps(job))
    environ = {
        "HF_HOME": str(root / "home"),
        "HF_HUB_OFFLINE": "1",
        "HOME": str(root / "home"),
        "DSPY_CACHEDIR": str(root / "dspy"),
        "PYTHONPATH": str(CONSUMERS),
    }
    done = subprocess.run(
        [sys.executable, str(SCRIPT), str(root / "job.json")],
        cwd=root,
        env=os.environ | environ,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    found: dict[str, str | None] = json.loads((root / "told.json").read_text())
    return found


@pytest.mark.parametrize("check", CHECKS)
def test_the_consumer_is_content(told: dict[str, str | None], check: str) -> None:
    assert told[check] is None, told[check]


@pytest.mark.parametrize("lock", LOCKS, ids=lambda path: path.name)
def test_the_locks_of_the_consumers_name_no_registry_and_hash_everything(lock: Path) -> None:
    text = lock.read_text()
    assert "://" not in text
    requirements = [
        one
        for one in text.replace("\\\n", " ").splitlines()
        if one and not one.lstrip().startswith("#")
    ]
    assert requirements
    assert all("--hash=sha256:" in one for one in requirements)
