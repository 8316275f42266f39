-- Studies: one optimiser at work on one program, one row a study, which a later run of the same
-- work goes on with. `study_id` is the fingerprint of all that it depends on; `options` and
-- `reasons` are JSON: what it was told, and why examples gave nothing to learn from. `status`:
-- running, done, interrupted, budget, time-limit, failed. `version_id` is what it made, NULL for
-- nothing.
CREATE TABLE studies (
    study_id VARCHAR NOT NULL,
    module VARCHAR NOT NULL,
    module_hash VARCHAR NOT NULL,
    optimizer VARCHAR NOT NULL,
    dataset VARCHAR NOT NULL,
    metric VARCHAR NOT NULL,
    options JSON NOT NULL,
    seed BIGINT NOT NULL,
    status VARCHAR NOT NULL,
    reasons JSON NOT NULL,
    version_id VARCHAR,
    started_at TIMESTAMPTZ NOT NULL,
    ended_at TIMESTAMPTZ
);

-- Trials: states of a program that a study has scored, each once. `kind`: full (all rows of the
-- validation), minibatch (some of them), train (rows learnt from). `state_hash` is of instructions
-- and demos. `usd` and `tokens` are what the run that scored it first paid for it; NULL dollars
-- where a price is not known. `instructions` is JSON by step.
CREATE TABLE study_trials (
    study_id VARCHAR NOT NULL,
    number INTEGER NOT NULL,
    kind VARCHAR NOT NULL,
    state_hash VARCHAR NOT NULL,
    value DOUBLE,
    n INTEGER NOT NULL,
    low DOUBLE,
    high DOUBLE,
    unknown INTEGER NOT NULL,
    instructions JSON NOT NULL USING COMPRESSION zstd,
    demos INTEGER NOT NULL,
    reasons JSON NOT NULL USING COMPRESSION zstd,
    usd DOUBLE,
    tokens BIGINT NOT NULL,
    seconds DOUBLE NOT NULL,
    created_at TIMESTAMPTZ NOT NULL
);
