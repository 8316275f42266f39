"""A store in which a program was optimised, compared and spun, by the store's own functions."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from flywheel.store import (
    SPIN,
    Figure,
    Gate,
    KeptOutcome,
    Store,
    Study,
    StudyTrial,
    Trialled,
    VersionRow,
    record_deployment,
    record_figures,
    record_gate,
    record_outcomes,
    record_study,
    record_trials,
    record_version,
)

BEGAN = datetime(2026, 5, 1, tzinfo=UTC)
BASE, BETTER = "repair@base", "repair@0123456789abcdef"
DATASET = "repair-sft@fedcba9876543210"


def programs(store: Store) -> None:
    """One study with four trials, a version that won its comparison, and two rounds of a spin."""
    record_study(
        store,
        Study(
            study_id="study1",
            module="repair",
            module_hash="m",
            optimizer="miprov2",
            dataset=DATASET,
            metric="tests_pass@1",
            options={"seed": 0},
            seed=0,
            status="done",
            version_id=BETTER,
            started_at=BEGAN,
            ended_at=BEGAN + timedelta(hours=1),
        ),
    )
    values = (("full", 0.2), ("minibatch", 0.6), ("minibatch", None), ("full", 0.4))
    record_trials(
        store,
        [
            StudyTrial(
                study_id="study1",
                number=number,
                kind=kind,
                state_hash=str(number),
                value=value,
                n=20 if value is not None else 0,
                low=max(0.0, value - 0.2) if value is not None else None,
                high=min(1.0, value + 0.2) if value is not None else None,
                unknown=0,
                instructions={"mend": "Mend <b>it</b>."},
                demos=2,
                reasons={"a test fails": 3},
                usd=None,
                tokens=1000 + number,
                seconds=2.0,
                created_at=BEGAN,
            )
            for number, (kind, value) in enumerate(values)
        ],
    )
    record_version(
        store,
        VersionRow(
            version_id=BETTER, module="repair", parent="", optimizer="miprov2", options={}, seed=0,
            dataset=DATASET, metric="tests_pass@1", model="local", adapter=None, study_id="study1",
            trials=4, partial=False, usd=None, tokens=4006, seconds=8.0, created_at=BEGAN,
        ),
        {},
    )  # fmt: skip
    record_gate(
        store,
        Gate(
            gate_id="gate1", module="repair", champion=BASE, challenger=BETTER, dataset=DATASET,
            split="holdout", metric="tests_pass@1", n=40, unknown=1, champion_value=0.2,
            challenger_value=0.45, difference=0.25, low=0.1, high=0.4, p_value=0.002,
            test="mcnemar-exact", gains=11, regressions=1, better=True, code="c",
            run_id="r",
        ),
    )  # fmt: skip
    record_deployment(
        store, "repair", BETTER, action="deploy", replaced=BASE, gate_id="gate1", forced=False,
        reason="It beats repair@base.",
    )  # fmt: skip
    record_outcomes(
        store,
        Trialled(BETTER, "repair", "a", DATASET, "holdout", "tests_pass", "h", ""),
        [
            KeptOutcome(
                example_id=f"e{n}", value=float(n % 2), reason="a test fails" if n % 2 == 0 else "",
                parts={}, failure="", answer="x", code=None, usd=None, seconds=1.0,
                input_tokens=5, output_tokens=5, run_id="r",
            )
            for n in range(4)
        ],
    )  # fmt: skip
    record_figures(
        store,
        [
            Figure(f"s-{n}", SPIN, "repair by spin s", metric, value, 40, value - 0.1, value + 0.1,
                   created_at=BEGAN + timedelta(hours=n))
            for n in (1, 2)
            for metric, value in (("yield", 0.5), ("champion tests_pass", 0.2 + n / 10))
        ],
    )  # fmt: skip
