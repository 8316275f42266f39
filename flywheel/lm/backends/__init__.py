"""Where answers come from: Anthropic, a model on this machine, and what DSPy routes to."""

from __future__ import annotations

from flywheel.lm.backends.backend import Backend as Backend
from flywheel.lm.backends.backend import Batch as Batch
from flywheel.lm.backends.backend import BatchBackend as BatchBackend
from flywheel.lm.backends.backend import BatchItem as BatchItem
from flywheel.lm.backends.choose import backend_of as backend_of
from flywheel.lm.backends.choose import check_local as check_local
from flywheel.lm.backends.choose import local_file as local_file
from flywheel.lm.backends.prices import cache_saving as cache_saving
from flywheel.lm.backends.prices import meant as meant
from flywheel.lm.backends.prices import price_of as price_of
from flywheel.lm.backends.served import Processes as Processes

__all__ = [
    "Backend",
    "Batch",
    "BatchBackend",
    "BatchItem",
    "Processes",
    "backend_of",
    "cache_saving",
    "check_local",
    "local_file",
    "meant",
    "price_of",
]
