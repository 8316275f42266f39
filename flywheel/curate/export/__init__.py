"""Exports: a version in the form that a training tool, a hub or a harness reads.

`export` writes one, whole or not at all; `FORMATS` are those there are, one module each.
"""

from flywheel.curate.export.output import OnProgress, name_of
from flywheel.curate.export.registry import FORMATS, Format
from flywheel.curate.export.run import USUAL, Exported, export, format_named, splits_named

__all__ = [
    "FORMATS",
    "USUAL",
    "Exported",
    "Format",
    "OnProgress",
    "export",
    "format_named",
    "name_of",
    "splits_named",
]
