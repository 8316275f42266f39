"""Croissant 1.1: the files of an export with their hashes, and every column, for machines.

There is no date in it, for a version has none: the same inputs give the same bytes.
"""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path
from typing import Any

from flywheel.curate.draft import REST
from flywheel.curate.export.features import field
from flywheel.curate.export.output import Output, name_of
from flywheel.curate.version import ROWS, Version

FILE = "croissant.json"
"""Name of the file."""
CONFORMS = "http://mlcommons.org/croissant/1.1"
"""The edition of the format."""
_CONTEXT = Path(__file__).with_name("croissant_context.json")
SPDX = "https://spdx.org/licenses/"
"""Where each licence has its page."""
_IDENTIFIER = re.compile(r"[A-Za-z0-9.-]+")


def write(output: Output, *, data: str) -> None:
    """Describe the Parquet files that lie in the folder `data` of the export."""
    names = [name_of(split) for split in output.splits]
    files = sorted((output.folder / data).glob("*.parquet"))
    text = json.dumps(_described(output.version, names, data, files), indent=1, ensure_ascii=False)
    output.write(FILE, text + "\n")


def _described(version: Version, names: list[str], data: str, files: list[Path]) -> dict[str, Any]:
    rules, manifest = version.manifest.rules, version.manifest
    kind = {"encodingFormat": "application/x-parquet"}
    objects = [
        {
            "@type": "cr:FileObject",
            "@id": file.name,
            "name": file.name,
            "contentUrl": f"{data}/{file.name}",
            "contentSize": f"{file.stat().st_size} B",
            "sha256": _sha256(file),
        }
        | kind
        for file in files
    ]
    sets = [
        {
            "@type": "cr:FileSet",
            "@id": f"{name}-files",
            "name": f"{name}-files",
            "includes": f"{data}/{name}-*.parquet",
        }
        | kind
        for name in names
    ]
    found = {
        "@context": json.loads(_CONTEXT.read_text(encoding="utf-8")),
        "@type": "sc:Dataset",
        "conformsTo": CONFORMS,
        "name": manifest.name,
        "description": rules.description,
        "version": "1.0.0",
        "identifier": version.id,
        "citeAs": f"{rules.title}: {version.id}, built by flywheel {manifest.flywheel}",
        "creator": {"@type": "Organization", "name": "flywheel"},
        "distribution": [*objects, *sets],
        "recordSet": [_records(name) for name in names],
    }
    licences = [
        f"{SPDX}{one}" if _IDENTIFIER.fullmatch(one) else one
        for one in manifest.statistics["license"]
        if one not in ("none", REST)
    ]
    return {**found, "license": licences} if licences else found


def _records(name: str) -> dict[str, Any]:
    return {
        "@type": "cr:RecordSet",
        "@id": name,
        "name": name,
        "key": {"@id": f"{name}/row_id"},
        "field": [field(name, one.name, one.type, f"{name}-files") for one in ROWS],
    }


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
