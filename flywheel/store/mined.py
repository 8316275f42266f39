"""What came of the fixes of a history that were tried at their own commit."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from datetime import UTC, datetime

from flywheel.store.ingest import insert
from flywheel.store.store import Store


@dataclass(frozen=True, slots=True)
class MinedCommit:
    """What came of one fix."""

    repo: str
    """Repository, as shown to people."""
    commit: str
    """Full hash of the fix."""
    toolchain: str
    """`profile@hash`; another one may find more."""
    definition: str
    """Identity of what defines the commit's environment."""
    environment_hash: str | None
    """The environment, None when there is none."""
    outcome: str
    """`judged`, or why it was not."""
    detail: str
    """The cause in words, empty when it was judged."""
    examples: int
    """Examples that it gave."""
    seconds: float
    """Wall time it took."""


def record_mined(store: Store, mined: MinedCommit) -> None:
    """Store what came of one commit, in place of what was stored of it before."""
    row = {**asdict(mined), "created_at": datetime.now(UTC)}
    with store.writing() as connection:
        connection.execute(
            'DELETE FROM mined_commits WHERE repo = ? AND "commit" = ?', [mined.repo, mined.commit]
        )
        insert(connection, "mined_commits", [row])


def mined_commits(store: Store, repo: str, toolchain: str) -> dict[str, MinedCommit]:
    """What is stored of the fixes of a repository, by commit."""
    names = [field.name for field in fields(MinedCommit)]
    columns = ", ".join(f'"{name}"' for name in names)
    with store.reading() as connection:
        rows = connection.execute(
            f"SELECT {columns} FROM mined_commits WHERE repo = ? AND toolchain = ?",
            [repo, toolchain],
        ).fetchall()
    found = [MinedCommit(*row) for row in rows]
    return {one.commit: one for one in found}
