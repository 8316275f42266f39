"""Notes: what stands where a picture would, when there is nothing to draw."""

from __future__ import annotations

from dataclasses import dataclass

from flywheel.notebook.markup import code_of, text_of


@dataclass(frozen=True, slots=True)
class Note:
    """Why there is no picture, and what makes one."""

    message: str
    """What there is nothing of."""
    command: str | None = None
    """The command that makes some, None where there is no such."""

    def __repr__(self) -> str:
        """As a terminal shows it."""
        return self.message if self.command is None else f"{self.message}\n{self.command}"

    def _repr_html_(self) -> str:
        command = "" if self.command is None else f" <code>{text_of(self.command)}</code>"
        return f"<p><i>{text_of(self.message)}</i>{command}</p>"

    def _repr_markdown_(self) -> str:
        command = "" if self.command is None else f" {code_of(self.command)}"
        return f"{self.message}{command}"
