"""`flywheel doctor`: every finding has its remedy."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from flywheel import sandbox
from flywheel.cli import doctor
from flywheel.core.errors import SandboxError

Flywheel = Callable[..., Any]


def checks(ran: Any) -> dict[str, dict[str, Any]]:
    return {check["name"]: check for check in ran.json["checks"]}


def test_what_this_machine_has_is_found(flywheel: Flywheel) -> None:
    found = checks(flywheel("doctor", "--json"))
    for name in ("python", "git", "uv", "interpreters", "settings", "toolchains"):
        assert found[name]["ok"], found[name]


def test_what_fails_comes_with_a_remedy(
    flywheel: Flywheel, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    ran = flywheel("doctor")
    assert ran.code == 1
    assert "FAIL  git: not found on PATH" in ran.out
    assert "mend: apt install git" in ran.out


def test_a_git_too_old_is_found(flywheel: Flywheel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "_output", lambda command: "git version 1.8.3")
    (check,) = doctor._git(doctor.Session())
    assert not check.ok
    assert check.fix


def test_a_wrong_settings_file_is_a_finding_and_the_rest_is_still_checked(
    flywheel: Flywheel, folder: Path
) -> None:
    (folder / "flywheel.toml").write_text("[harvst]\n")
    ran = flywheel("doctor", "--json")
    found = checks(ran)
    assert ran.code == 1
    assert not ran.json["ok"]
    assert found["settings"]["fix"] == "Did you mean harvest?"
    assert found["git"]["ok"]


def test_little_disk_is_a_warning_not_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "ENOUGH_DISK_GIB", float("inf"))
    found = list(doctor._disk(doctor.Session()))
    assert len(found) == 2
    assert not any(check.ok or check.required for check in found)
    assert all(check.fix for check in found)


def test_no_sandbox_at_all_is_a_failure_with_its_remedy(
    flywheel: Flywheel, monkeypatch: pytest.MonkeyPatch
) -> None:
    def probe() -> None:
        raise SandboxError("No bubblewrap.", cause="not on PATH", hint="apt install bubblewrap")

    monkeypatch.setattr(sandbox, "probe", probe)
    ran = flywheel("doctor", "--json")
    assert ran.code == 1
    assert checks(ran)["sandbox"]["fix"] == "apt install bubblewrap"


def test_a_weaker_sandbox_is_a_warning_that_says_why(
    flywheel: Flywheel, monkeypatch: pytest.MonkeyPatch
) -> None:
    part = sandbox.Check("memory limit", False, "no control group", "run as root")
    weaker = sandbox.Probe(
        sandbox.Level.S3_SOFT, "memory is watched", Path("/usr/bin/bwrap"), "0.12", False, (part,)
    )
    monkeypatch.setattr(sandbox, "probe", lambda: weaker)
    ran = flywheel("doctor")
    assert ran.code == 0
    assert "warn  sandbox: memory limit: no control group\n      mend: run as root" in ran.out
    assert "level S3-soft: memory is watched" in ran.out
