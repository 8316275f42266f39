-- Changes of good code that were judged to try its tests. They are no candidates of a harvest, and
-- never examples; what a harvest judged of the same changes is in `verdicts`. `kind`: empty-body,
-- early-return, mutant. `patch` leads from the wrong code to the good one, as a candidate's does.
CREATE TABLE wrong_fixes (
    candidate_id VARCHAR NOT NULL,
    baseline_id VARCHAR NOT NULL,
    path VARCHAR NOT NULL,
    symbol VARCHAR NOT NULL,
    line INTEGER NOT NULL,
    kind VARCHAR NOT NULL,
    operator VARCHAR NOT NULL,
    patch VARCHAR NOT NULL USING COMPRESSION zstd,
    verdict VARCHAR NOT NULL,
    reason VARCHAR NOT NULL,
    seconds DOUBLE NOT NULL,
    created_at TIMESTAMPTZ NOT NULL
);

-- What the tests of a definition are worth: of the wrong fixes `tried`, so many `rejected`. It
-- belongs to a definition of one state of a file, and to all examples of it; one for an example that
-- changes several places has its `candidate_id`, and the first place's definition. `by_kind` counts
-- rejected, through, unknown and passed by kind; the other two lists hold candidate ids. Where fewer
-- than `least` were tried there is no score, below `weak_below` the score is weak.
CREATE TABLE oracles (
    baseline_id VARCHAR NOT NULL,
    path VARCHAR NOT NULL,
    symbol VARCHAR NOT NULL,
    base_hash VARCHAR NOT NULL,
    candidate_id VARCHAR,
    tried INTEGER NOT NULL,
    rejected INTEGER NOT NULL,
    by_kind JSON NOT NULL,
    rejected_ids JSON NOT NULL USING COMPRESSION zstd,
    let_through JSON NOT NULL USING COMPRESSION zstd,
    least INTEGER NOT NULL,
    weak_below DOUBLE NOT NULL,
    seconds DOUBLE NOT NULL,
    created_at TIMESTAMPTZ NOT NULL
);

ALTER VIEW examples RENAME TO proven_examples;

-- As before, and what is known of the tests behind each. The example's own change is rejected by
-- definition, so it does not count where it is among what was tried.
CREATE VIEW examples AS
SELECT * EXCLUDE (tried, rejected, least, weak_below),
    CASE WHEN tried >= least THEN rejected / tried END AS oracle_strength,
    tried AS oracle_tried,
    CASE WHEN tried >= least THEN rejected / tried < weak_below END AS weak
FROM (
    SELECT e.*,
        o.tried - list_contains(from_json(o.rejected_ids, '["VARCHAR"]'), e.candidate_id)::INTEGER
            AS tried,
        o.rejected - list_contains(from_json(o.rejected_ids, '["VARCHAR"]'), e.candidate_id)::INTEGER
            AS rejected,
        o.least, o.weak_below
    FROM proven_examples e
    JOIN candidates c ON c.candidate_id = e.candidate_id
    LEFT JOIN oracles o ON o.baseline_id = e.baseline_id
        AND o.path = c.path AND o.symbol = c.symbol AND o.base_hash = c.base_hash
        AND o.candidate_id IS NOT DISTINCT FROM
            CASE WHEN c.others IS NOT NULL THEN c.candidate_id END
);
