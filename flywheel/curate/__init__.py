"""Floor 5: from proven rows to training data. Knows nothing of how rows were proven.

`Recipe` says what a dataset takes; `shingles` and `families` find what is nearly the same; `part`
makes splits through which nothing leaks; `Funnel` counts what was dropped, and why.
"""

from flywheel.curate.card import Card, card
from flywheel.curate.draft import Draft
from flywheel.curate.duplicates import families
from flywheel.curate.funnel import Funnel, Stage
from flywheel.curate.normal import Shingles, normal, shingles
from flywheel.curate.recipe import Recipe, Rules, Split, load_recipe
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
    find_version,
    load_version,
    versions,
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
    "Card",
    "Draft",
    "Funnel",
    "HoldoutName",
    "Manifest",
    "Parted",
    "Recipe",
    "Rules",
    "Shingles",
    "Split",
    "Stage",
    "Version",
    "card",
    "families",
    "find_version",
    "load_recipe",
    "load_version",
    "normal",
    "part",
    "shingles",
    "versions",
]
