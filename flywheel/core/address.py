"""Addresses as they may be shown and kept: without the name and the password in them."""

from __future__ import annotations

import re

_CREDENTIALS = re.compile(r"(?<=://)[^/@\s]+@")


def without_credentials(text: str) -> str:
    """An address, or a text that has some, without what logs in there."""
    return _CREDENTIALS.sub("", text)
