"""Floor 1: isolation of untrusted programs. Knows nothing of tests."""

from flywheel.sandbox.launch import (
    Box,
    Completed,
    Limits,
    Mount,
    boxed_uid,
    give_to_box,
    kill,
    make_etc,
)

__all__ = [
    "Box",
    "Completed",
    "Limits",
    "Mount",
    "boxed_uid",
    "give_to_box",
    "kill",
    "make_etc",
]
