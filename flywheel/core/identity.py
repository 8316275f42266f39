"""Identity is a content hash: the same content has the same id on every machine."""

from __future__ import annotations

import hashlib
import json
from typing import Any

ID_LENGTH = 16
"""Hex digits kept of a SHA-256 (64 bits): short to type, no collision below a billion rows."""


def content_hash(*parts: Any) -> str:
    """Hash JSON-representable parts to a short hex id.

    The parts are canonicalised (sorted keys, no spaces), so equal values hash equal.
    """
    text = json.dumps(parts, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()[:ID_LENGTH]


def bytes_hash(data: bytes) -> str:
    """Hash raw bytes to a short hex id."""
    return hashlib.sha256(data).hexdigest()[:ID_LENGTH]


def answer_hash(text: str, code: str | None) -> str:
    """Identity of an answer: the text as it came, and the code that was read from it.

    The same text is another answer where another program reads other code from it, or none.
    """
    said = text if code is None else f"{text}\0{code}"
    return bytes_hash(said.encode("utf-8", "backslashreplace"))
