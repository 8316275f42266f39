"""Floor 7: programs made better, and the proof of it.

A program is run over rows, its answers are measured, an optimiser looks for a better state of it,
and a gate compares two of them on rows that neither has seen. It knows no store and no workspace.

Its modules are imported by name: most of them import DSPy, which takes a second.
"""
