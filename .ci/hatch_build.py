"""Build hook: a wheel carries the content folders as `flywheel/_content/<kind>/`.

An editable install carries none: there the checkout's own folders are mounted, and a copy in
site-packages would both go stale and hide the checkout's `flywheel` behind a half package.
"""

from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

KINDS = ("critics", "metrics", "datasets")


class ContentHook(BuildHookInterface[Any]):
    """Adds each content folder that exists to a standard wheel."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Extend the wheel's forced inclusions; `version` is `standard` or `editable`."""
        if version != "standard":
            return
        for kind in KINDS:
            folder = Path(self.root) / kind
            if folder.is_dir():
                build_data["force_include"][str(folder)] = f"flywheel/_content/{kind}"
