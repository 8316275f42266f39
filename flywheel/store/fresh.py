"""How fresh the store is: what it holds of each repository, and of which commit."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass
from datetime import datetime

from flywheel.store.store import Store


@dataclass(frozen=True, slots=True)
class Held:
    """What the store holds of one repository."""

    repo: str
    """Repository, as shown to people."""
    commit: str
    """Full hash of the commit that was harvested last."""
    harvested_at: datetime
    """When that harvest ended, or began where it did not."""
    ended: str
    """How it ended: `exhausted`, a limit, `interrupted`."""
    since: str | None
    """The revision since which alone it looked at what changed; None where it looked at all."""
    sources: tuple[str, ...]
    """Where its candidates came from; empty where an earlier version did not say."""
    toolchain: str | None
    """`profile@hash` that it was judged by, None where nothing was."""
    live: Counter[str]
    """Examples that stand, by source."""
    retired: Counter[str]
    """Examples that stand no more, by source; those judged again are not counted."""
    survivors: int
    """Changes that stand and that no test notices."""


def held(store: Store) -> tuple[Held, ...]:
    """What the store holds, repository by repository, the last harvested first."""
    with store.reading() as connection:
        runs = connection.execute(
            """
            SELECT repo, summary, coalesce(ended_at, started_at) AS done FROM runs
            WHERE coalesce(summary ->> '$.command', 'harvest') = 'harvest'
            QUALIFY row_number() OVER (PARTITION BY repo ORDER BY started_at DESC) = 1
            ORDER BY done DESC, repo
            """
        ).fetchall()
        toolchains = dict(
            connection.execute(
                """
                SELECT r.repo || '@' || r."commit", max_by(b.toolchain, b.created_at)
                FROM baselines b JOIN revisions r USING (revision_id) GROUP BY ALL
                """
            ).fetchall()
        )
        live = connection.execute(
            "SELECT repo, source, count(*) FROM examples GROUP BY ALL"
        ).fetchall()
        retired = connection.execute(
            "SELECT repo, source, count(*) FROM retired"
            " WHERE verdict = 'valid' AND state = 'retired' GROUP BY ALL"
        ).fetchall()
        survivors = dict(
            connection.execute("SELECT repo, count(*) FROM survivors GROUP BY repo").fetchall()
        )
    found = []
    for repo, text, at in runs:
        summary = json.loads(text)
        commit = summary.get("commit", "")
        found.append(
            Held(
                repo=repo,
                commit=commit,
                harvested_at=at,
                ended=summary.get("ended", ""),
                since=(summary.get("since") or {}).get("revision"),
                sources=tuple(summary.get("sources", ())),
                toolchain=toolchains.get(f"{repo}@{commit}"),
                live=Counter({source: n for name, source, n in live if name == repo}),
                retired=Counter({source: n for name, source, n in retired if name == repo}),
                survivors=survivors.get(repo, 0),
            )
        )
    return tuple(found)
