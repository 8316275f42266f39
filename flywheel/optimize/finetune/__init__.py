"""A small model tuned on this machine: traces in, an adapter out that the local server serves.

`train` is all that most need. torch and what comes with it are of the extra `train`, and imported
when something is trained.
"""

from __future__ import annotations

from flywheel.optimize.finetune.adapter import Manifest as Manifest
from flywheel.optimize.finetune.adapter import Trained as Trained
from flywheel.optimize.finetune.adapter import find as find_adapter
from flywheel.optimize.finetune.base import Base as Base
from flywheel.optimize.finetune.base import base_of as base_of
from flywheel.optimize.finetune.base import check_libraries as check_libraries
from flywheel.optimize.finetune.export import merge_folder as merge_folder
from flywheel.optimize.finetune.export import merge_gguf as merge_gguf
from flywheel.optimize.finetune.options import TrainOptions as TrainOptions
from flywheel.optimize.finetune.trace import KNOWN as KNOWN
from flywheel.optimize.finetune.trace import Message as Message
from flywheel.optimize.finetune.trace import Trace as Trace
from flywheel.optimize.finetune.trace import read_traces as read_traces
from flywheel.optimize.finetune.trace import write_traces as write_traces
from flywheel.optimize.finetune.train import Progress as Progress
from flywheel.optimize.finetune.train import train as train
from flywheel.optimize.finetune.train import training_hash as training_hash

__all__ = [
    "KNOWN",
    "Base",
    "Manifest",
    "Message",
    "Progress",
    "Trace",
    "TrainOptions",
    "Trained",
    "base_of",
    "check_libraries",
    "find_adapter",
    "merge_folder",
    "merge_gguf",
    "read_traces",
    "train",
    "training_hash",
    "write_traces",
]
