"""Floor 5: from proven rows to training data. Knows nothing of how rows were proven.

`Recipe` says what a dataset takes; `refused` reads licences, `screened` finds secrets, and a
`Matcher` functions of benchmarks; `shingles` and `families` find what is nearly the same; `part`
makes splits through which nothing leaks; `Funnel` counts what was dropped, and why.
"""

from flywheel.curate.contamination import Match, Matcher, load_matcher
from flywheel.curate.duplicates import families
from flywheel.curate.funnel import Funnel, Stage
from flywheel.curate.licence import refused
from flywheel.curate.normal import Shingles, normal, shingles
from flywheel.curate.recipe import Recipe, Rules, Split, load_recipe
from flywheel.curate.reviewed import Reviewed, entry, load_reviewed
from flywheel.curate.secrets import Finding, findings, screened
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

__all__ = [
    "HOLDOUT",
    "LINKED",
    "LINKS",
    "TOUCHES_HOLDOUT",
    "TRAIN",
    "VALIDATION",
    "Finding",
    "Funnel",
    "Match",
    "Matcher",
    "Parted",
    "Recipe",
    "Reviewed",
    "Rules",
    "Shingles",
    "Split",
    "Stage",
    "entry",
    "families",
    "findings",
    "load_matcher",
    "load_recipe",
    "load_reviewed",
    "normal",
    "part",
    "refused",
    "screened",
    "shingles",
]
