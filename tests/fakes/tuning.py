"""OpenAI's files and fine-tuning jobs, beside the questions of `provider`.

A job goes through its script, one status a look, and stays at the last.
"""

from __future__ import annotations

import itertools
import json
import threading
from dataclasses import dataclass, field
from typing import Any

from tests.fakes.provider import Behaviour

BASE, TUNED = "gpt-4o-mini-2024-07-18", "ft:gpt-4o-mini-2024-07-18:ours::a1"
"""A model, and what becomes of it."""
TOKENS = 1_000
"""That a job says it has trained on."""


@dataclass
class Tuning:
    """The files and jobs of one account: `beside` of a provider."""

    script: list[str] = field(default_factory=lambda: ["validating_files", "running", "succeeded"])
    """Status after status."""
    reason: str = "the file has 3 rows and needs 10"
    """Why a job fails."""
    tokens: int | None = TOKENS
    """What it says of how much it has trained on."""
    tuned: str | None = TUNED
    """What comes of it."""
    refusal: str = ""
    """Why no job is begun; empty where they are."""
    key: str = "a-key-of-no-worth"
    """Who has another one may do nothing."""
    cut: bool = False
    """Whether nothing is said of a job that has begun."""
    outages: int = 0
    """Looks that are not answered first."""
    files: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    """Rows, by the names of their files."""
    jobs: list[dict[str, Any]] = field(default_factory=list)
    """What was asked for each job, with its name and how often it was looked at."""
    running: threading.Event = field(default_factory=threading.Event)
    """Set when a job was looked at."""

    def __call__(
        self, method: str, path: str, headers: dict[str, str], sent: bytes
    ) -> Behaviour | None:
        if path.endswith("/completions"):
            return None
        if headers.get("authorization") != f"Bearer {self.key}":
            return Behaviour(status=401, message="this key may not train")
        match method, path.partition("?")[0].strip("/").split("/"):
            case "POST", ["files"]:
                return self._uploaded(sent)
            case "POST", ["fine_tuning", "jobs"]:
                return self._begun(json.loads(sent))
            case "GET", ["fine_tuning", "jobs"]:
                found = [self._said(one, self._status(one)) for one in self.jobs]
                return _json({"object": "list", "data": found, "has_more": False})
            case "GET", ["fine_tuning", "jobs", name, "events"]:
                event = {"id": "e", "object": "fine_tuning.job.event", "created_at": 1}
                event |= {"level": "info", "message": f"at work on {name}"}
                event["data"] = {"step": 2, "total_steps": 9}
                return _json({"object": "list", "data": [event], "has_more": False})
            case "GET", ["fine_tuning", "jobs", name]:
                return self._looked(name)
        return None

    def _uploaded(self, sent: bytes) -> Behaviour:
        lines = [line for line in sent.splitlines() if line.startswith(b'{"messages"')]
        name = f"file-{len(self.files)}"
        self.files[name] = [json.loads(line) for line in lines]
        told = {"id": name, "object": "file", "bytes": len(sent), "created_at": 1}
        return _json(told | {"filename": "x", "purpose": "fine-tune", "status": "processed"})

    def _begun(self, body: dict[str, Any]) -> Behaviour:
        if body["training_file"] not in self.files:
            return Behaviour(status=400, message="no such file")
        if self.refusal:
            return Behaviour(status=400, message=self.refusal)
        self.jobs.append({**body, "id": f"ftjob-{len(self.jobs)}", "looks": itertools.count()})
        said = self._said(self.jobs[-1], self.script[0])
        text = json.dumps(said).encode()
        return Behaviour(raw=text[:9], headers={"connection": "close"}) if self.cut else _json(said)

    def _looked(self, name: str) -> Behaviour:
        if self.outages:
            self.outages -= 1
            return Behaviour(status=503, message="later")
        one = next((one for one in self.jobs if one["id"] == name), None)
        if one is None:
            return Behaviour(status=404, message=f"no job {name}")
        self.running.set()
        number = next(one["looks"])
        one["status"] = self.script[min(number, len(self.script) - 1)]
        return _json(self._said(one, one["status"]))

    def _status(self, one: dict[str, Any]) -> str:
        return str(one.get("status", self.script[0]))

    def _said(self, one: dict[str, Any], status: str) -> dict[str, Any]:
        done = status == "succeeded"
        return {
            "id": one["id"],
            "object": "fine_tuning.job",
            "created_at": 100,
            "finished_at": 160 if done else None,
            "model": one["model"],
            "fine_tuned_model": self.tuned if done else None,
            "organization_id": "org",
            "result_files": [],
            "seed": 1,
            "status": status,
            "trained_tokens": self.tokens if done else None,
            "training_file": one["training_file"],
            "hyperparameters": one["hyperparameters"],
            "error": {"code": "bad", "message": self.reason} if status == "failed" else None,
        }


def _json(said: object) -> Behaviour:
    return Behaviour(raw=json.dumps(said).encode())
