"""Floor 4: the store, and the only SQL. Knows nothing of how rows come to be.

`Store` opens short sessions; `ingest` and the `record_*` functions put records in; the rest are
typed reads, each its own session.
"""

from flywheel.store.candidates import Proven, combined_parts, count_examples, proven_candidates
from flywheel.store.carried import (
    JUDGED_AGAIN,
    KEPT,
    RETIRED,
    Carried,
    CarriedCounts,
    CarriedHere,
    Standing,
    carried_at,
    carried_counts,
    record_carried,
    restore,
    standing,
)
from flywheel.store.fresh import Held, held
from flywheel.store.ingest import (
    Buffer,
    Ingested,
    KeptExample,
    Run,
    example_id,
    ingest,
    record_baseline,
    record_environment,
    record_revision,
    record_run,
)
from flywheel.store.mined import MinedCommit, mined_commits, record_mined
from flywheel.store.query import (
    Example,
    ExamplePart,
    KnownVerdict,
    Proof,
    Replayable,
    SurvivorGroup,
    baseline,
    environment_lock,
    example,
    examples,
    known_verdicts,
    replayable,
    sql,
    survivors,
)
from flywheel.store.retire import retire
from flywheel.store.store import Store

__all__ = [
    "JUDGED_AGAIN",
    "KEPT",
    "RETIRED",
    "Buffer",
    "Carried",
    "CarriedCounts",
    "CarriedHere",
    "Example",
    "ExamplePart",
    "Held",
    "Ingested",
    "KeptExample",
    "KnownVerdict",
    "MinedCommit",
    "Proof",
    "Proven",
    "Replayable",
    "Run",
    "Standing",
    "Store",
    "SurvivorGroup",
    "baseline",
    "carried_at",
    "carried_counts",
    "combined_parts",
    "count_examples",
    "environment_lock",
    "example",
    "example_id",
    "examples",
    "held",
    "ingest",
    "known_verdicts",
    "mined_commits",
    "proven_candidates",
    "record_baseline",
    "record_carried",
    "record_environment",
    "record_mined",
    "record_revision",
    "record_run",
    "replayable",
    "restore",
    "retire",
    "sql",
    "standing",
    "survivors",
]
