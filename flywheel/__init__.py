"""flywheel: any git repository becomes proven (bad, error, good) training data."""

__version__ = "0.1.0"
