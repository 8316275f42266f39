"""Floor 1: isolation of untrusted programs. Knows nothing of tests."""

from flywheel.sandbox import seccomp
from flywheel.sandbox.cgroup import Slot, make_slot
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
from flywheel.sandbox.probe import Check, Level, Probe, find_bwrap, probe

__all__ = [
    "Box",
    "Check",
    "Completed",
    "Level",
    "Limits",
    "Mount",
    "Probe",
    "Slot",
    "boxed_uid",
    "find_bwrap",
    "give_to_box",
    "kill",
    "make_etc",
    "make_slot",
    "probe",
    "seccomp",
]
