-- Figures: what runs have measured, one row a run, subject and metric. `kind`: harvest, correct,
-- audit, metric … `subject` is what was measured (a repository, some answers of one, a dataset or a
-- program with its version), `version` what measured it, where that has one: figures of different
-- versions are no trend. `n` is the sample, `low` and `high` the 95 % interval, NULL where there is
-- none; `value` is NULL where it is not known.
CREATE TABLE figures (
    run_id VARCHAR NOT NULL,
    kind VARCHAR NOT NULL,
    subject VARCHAR NOT NULL,
    metric VARCHAR NOT NULL,
    version VARCHAR NOT NULL,
    value DOUBLE,
    n INTEGER NOT NULL,
    low DOUBLE,
    high DOUBLE,
    detail JSON NOT NULL,
    created_at TIMESTAMPTZ NOT NULL
);

-- What metrics say of answers, one row an answer and metric. `judge` is the model that was asked,
-- empty where none is. `value` is NULL where it is not known: `reason` says why. `usd` is what its
-- questions cost, NULL where a price is not known.
CREATE TABLE scores (
    metric VARCHAR NOT NULL,
    version VARCHAR NOT NULL,
    metric_hash VARCHAR NOT NULL,
    judge VARCHAR NOT NULL,
    example_id VARCHAR NOT NULL,
    answer_hash VARCHAR NOT NULL,
    value DOUBLE,
    reason VARCHAR NOT NULL USING COMPRESSION zstd,
    parts JSON NOT NULL USING COMPRESSION zstd,
    seconds DOUBLE NOT NULL,
    usd DOUBLE,
    created_at TIMESTAMPTZ NOT NULL
);

-- Answers that were judged to be measured, as changes of the base: no candidates of a harvest, and
-- never examples. What harvests and corrections judged of the same changes is in `verdicts`.
-- `resolved`: every test passes. `failing` is a list of test ids, complete.
CREATE TABLE judged_answers (
    candidate_id VARCHAR NOT NULL,
    baseline_id VARCHAR NOT NULL,
    resolved BOOLEAN NOT NULL,
    reason VARCHAR NOT NULL,
    failing JSON NOT NULL USING COMPRESSION zstd,
    seconds DOUBLE NOT NULL,
    created_at TIMESTAMPTZ NOT NULL
);
