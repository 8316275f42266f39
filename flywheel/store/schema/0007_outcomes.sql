-- What versions of programs answered to the rows of datasets, and what the answers are worth: one row
-- a version, example and metric. `answered_by` is the hash of what answered: the program's code, the
-- version's state, and the model. `judge` is the model that a metric asked, empty where none is.
-- `value` is NULL where it is not known: `reason` says why. `failure` says why there is no answer
-- (unreadable, raised, context-length, content-filter), empty where there is one. `usd` and `seconds`
-- are of the calls when they were made, also where a later run took their kept answers; NULL where
-- that is not known.
CREATE TABLE outcomes (
    version_id VARCHAR NOT NULL,
    module VARCHAR NOT NULL,
    answered_by VARCHAR NOT NULL,
    dataset VARCHAR NOT NULL,
    split VARCHAR NOT NULL,
    metric VARCHAR NOT NULL,
    metric_hash VARCHAR NOT NULL,
    judge VARCHAR NOT NULL,
    example_id VARCHAR NOT NULL,
    value DOUBLE,
    reason VARCHAR NOT NULL USING COMPRESSION zstd,
    parts JSON NOT NULL USING COMPRESSION zstd,
    failure VARCHAR NOT NULL,
    answer VARCHAR NOT NULL USING COMPRESSION zstd,
    code VARCHAR USING COMPRESSION zstd,
    answer_hash VARCHAR NOT NULL,
    usd DOUBLE,
    seconds DOUBLE,
    input_tokens BIGINT NOT NULL,
    output_tokens BIGINT NOT NULL,
    run_id VARCHAR NOT NULL,
    created_at TIMESTAMPTZ NOT NULL
);
