"""Candidates that language models write: modes, prompts, targets, and what is made of an answer."""

from __future__ import annotations

from flywheel.candidates.written.answer import Rejected as Rejected
from flywheel.candidates.written.answer import read as read_answer
from flywheel.candidates.written.correction import Broken as Broken
from flywheel.candidates.written.correction import Form as Form
from flywheel.candidates.written.correction import Mended as Mended
from flywheel.candidates.written.mode import ATTEMPT as ATTEMPT
from flywheel.candidates.written.mode import Mode as Mode
from flywheel.candidates.written.mode import chosen as choose_modes
from flywheel.candidates.written.signature import demonstration_of as demonstration_of
from flywheel.candidates.written.signature import signature_of as signature_of
from flywheel.candidates.written.source import WrittenSource as WrittenSource

__all__ = [
    "ATTEMPT",
    "Broken",
    "Form",
    "Mended",
    "Mode",
    "Rejected",
    "WrittenSource",
    "choose_modes",
    "demonstration_of",
    "read_answer",
    "signature_of",
]
