"""Floor 5: from proven rows to training data. Knows nothing of how rows were proven.

`Recipe` says what a dataset takes, `build` makes a `Version` of it from a store, `audit` proves
that nothing leaks through its splits; a `Funnel` counts what was dropped, and why.
"""

from flywheel.curate.audit import (
    Audited,
    Check,
    Leak,
    audit,
)
from flywheel.curate.build import (
    Built,
    build,
)
from flywheel.curate.card import (
    Card,
    card,
)
from flywheel.curate.diff import (
    Difference,
    difference,
)
from flywheel.curate.draft import Draft
from flywheel.curate.duplicates import families
from flywheel.curate.funnel import (
    Funnel,
    Stage,
)
from flywheel.curate.normal import (
    Shingles,
    normal,
    shingles,
)
from flywheel.curate.recipe import (
    Recipe,
    Rules,
    Split,
    load_recipe,
)
from flywheel.curate.split import (
    HOLDOUT,
    LINKED,
    LINKS,
    TOUCHES_HOLDOUT,
    TRAIN,
    VALIDATION,
    Parted,
    part,
)
from flywheel.curate.version import (
    ROWS,
    SPLITS,
    HoldoutName,
    Manifest,
    Version,
    find_row,
    find_version,
    load_version,
    versions,
    whereabouts,
)

__all__ = [
    "HOLDOUT",
    "LINKED",
    "LINKS",
    "ROWS",
    "SPLITS",
    "TOUCHES_HOLDOUT",
    "TRAIN",
    "VALIDATION",
    "Audited",
    "Built",
    "Card",
    "Check",
    "Difference",
    "Draft",
    "Funnel",
    "HoldoutName",
    "Leak",
    "Manifest",
    "Parted",
    "Recipe",
    "Rules",
    "Shingles",
    "Split",
    "Stage",
    "Version",
    "audit",
    "build",
    "card",
    "difference",
    "families",
    "find_row",
    "find_version",
    "load_recipe",
    "load_version",
    "normal",
    "part",
    "shingles",
    "versions",
    "whereabouts",
]
