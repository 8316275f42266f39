"""A dataset of the Hugging Face Hub: Parquet in `data/`, the card as README.md, Croissant.

Written here is the front matter of the card, which loaders and the Hub read; its body is the card
of the version, or is given.
"""

from __future__ import annotations

import json
from typing import Any

from flywheel.core.errors import UsageError
from flywheel.curate.card import card
from flywheel.curate.export import croissant
from flywheel.curate.export.features import feature
from flywheel.curate.export.output import Output, name_of
from flywheel.curate.export.shards import write_shards
from flywheel.curate.version import ROWS, Version

CARD, DATA = "README.md", "data"
"""The card, and the folder of the rows."""
SIZES = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"))
"""What the Hub calls datasets of fewer rows than so many."""
LARGEST = "1M<n<10M"
"""What it calls greater ones."""
LICENCES = frozenset(
    (
        *("apache-2.0", "mit", "bsd-2-clause", "bsd-3-clause", "isc", "unlicense", "zlib"),
        *(
            "bsl-1.0",
            "cc0-1.0",
            "mpl-2.0",
            "lgpl-2.1",
            "lgpl-3.0",
            "gpl-2.0",
            "gpl-3.0",
            "agpl-3.0",
        ),
    )
)
"""Licences that the Hub knows, as it writes them; any other is `other` to it."""


def write(output: Output) -> None:
    """Write rows, card, pictures and the description for machines."""
    write_shards(output, folder=f"{DATA}/")
    croissant.write(output, data=DATA)
    front = json.dumps(_front(output), indent=1, ensure_ascii=False)  # JSON is YAML
    body, pictures = output.body, output.pictures
    if body is None:
        files = {split: f"{DATA}/{name_of(split)}-*.parquet" for split in output.splits}
        made = card(output.version, data=files)
        body, pictures = made.text, made.pictures
    output.write(CARD, f"---\n{front}\n---\n\n{body.strip()}\n")
    for name, data in pictures.items():
        if not output.path(name).resolve().is_relative_to(output.folder.resolve()):
            raise UsageError(f"The picture {name} is not within the export.")
        output.path(name).write_bytes(data)


def _front(output: Output) -> dict[str, Any]:
    manifest = output.version.manifest
    names = [name_of(split) for split in output.splits]
    sizes = {
        name: sum(one.stat().st_size for one in (output.folder / DATA).glob(f"{name}-*"))
        for name in names
    }
    total, rows = sum(sizes.values()), output.rows.total()
    return {
        "pretty_name": manifest.rules.title,
        "license": _licences(output.version),
        "task_categories": ["text-generation"],
        "tags": ["code", "program-repair", *sorted(manifest.statistics["language"])],
        "size_categories": [next((name for most, name in SIZES if rows < most), LARGEST)],
        "configs": [
            {
                "config_name": "default",
                "data_files": [
                    {"split": name, "path": f"{DATA}/{name}-*.parquet"} for name in names
                ],
            }
        ],
        "dataset_info": {
            "features": [feature(one.name, one.type) for one in ROWS],
            "splits": [
                {"name": name, "num_bytes": sizes[name], "num_examples": output.rows[name]}
                for name in names
            ],
            "download_size": total,
            "dataset_size": total,
        },
    }


def _licences(version: Version) -> list[str]:
    """What the Hub calls the licences of the rows; one that it does not know is `other`."""
    told = {one.lower() for one in version.manifest.statistics["license"]}
    known = sorted(told & LICENCES)
    more = ["unknown"] if "none" in told else []
    return [*known, *(["other"] if told - LICENCES - {"none"} else []), *more]
