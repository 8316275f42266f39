"""Whether the repository's own tests pass with an answer in the place of the bug."""

from flywheel.programs import Answer, Case, Critic, Score

VERSION = "1"


def tests_pass(case: Case, answer: Answer, critic: Critic) -> Score:
    """Whether every test passes: those that fail for the bug, and those that pass with it.

    Parts: `resolved`, the share of the failing tests that it `mended`, the share of the passing
    tests that it `kept`. What the tests could not be asked is not known.
    """
    if answer.code is None:
        return Score(0.0, "the answer holds no code", {"resolved": 0.0})
    proof = critic.prove(case, answer.code)
    parts = {"mended": proof.mended, "kept": proof.kept}
    known = {name: share for name, share in parts.items() if share is not None}
    if proof.resolved is None:
        return Score(None, proof.reason, known)
    value = float(proof.resolved)
    return Score(value, proof.reason, {"resolved": value, **known})
