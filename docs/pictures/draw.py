"""Draw the pictures of the documentation from a workspace, by the notebooks' own charts.

python docs/pictures/draw.py WORKSPACE
"""

from __future__ import annotations

import sys
from pathlib import Path

import flywheel
from flywheel.notebook import Note, charts

FOLDER = Path(__file__).parent


def main(workspace: str) -> None:
    """Draw each picture; a workspace that has nothing for one is an error."""
    door = flywheel.open(workspace)
    pictures = {
        "yield-by-operator": charts.yield_by_operator(door, most=16),
        "errors-by-type": charts.errors_by_type(door, most=10),
    }
    for name, picture in pictures.items():
        if isinstance(picture, Note):
            sys.exit(f"{name}: {picture.message}")
        picture.save(FOLDER / f"{name}.svg")


if __name__ == "__main__":
    main(*sys.argv[1:])
