"""Several metrics in one: whether an answer mends the bug, and how well."""

from flywheel.programs import Answer, Case, Metrics, Score

VERSION = "1"
WEIGHTS = {"tests_pass": 0.8, "minimality": 0.1, "edit_similarity": 0.1}
USES = tuple(WEIGHTS)


def composite(case: Case, answer: Answer, metrics: Metrics) -> Score:
    """The weighted mean of other metrics; not known where one of them is not."""
    scores = {name: metrics.score(name, case, answer) for name in USES}
    known = {name: one.value for name, one in scores.items() if one.value is not None}
    if unknown := [name for name in USES if name not in known]:
        told = "; ".join(f"{name}: {scores[name].reason}" for name in unknown)
        return Score(None, f"not known: {told}", known)
    total = sum(WEIGHTS.values())
    value = sum(WEIGHTS[name] * known[name] for name in USES) / total
    return Score(value, ", ".join(f"{name} {known[name]:.2f}" for name in USES), known)
