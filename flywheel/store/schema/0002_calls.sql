-- Calls to language models, one row each: made, spared by a kept answer, failed or given up. They
-- come from the journal that keeps them first; the same call is stored once.
CREATE TABLE calls (
    call_id VARCHAR NOT NULL,
    run_id VARCHAR NOT NULL,
    role VARCHAR NOT NULL,
    purpose VARCHAR NOT NULL,
    profile VARCHAR NOT NULL,
    model VARCHAR NOT NULL,
    request_key VARCHAR NOT NULL,
    status VARCHAR NOT NULL,
    input_tokens INTEGER,
    output_tokens INTEGER,
    cache_read_tokens INTEGER,
    cache_write_tokens INTEGER,
    usd DOUBLE,
    seconds DOUBLE NOT NULL,
    streamed BOOLEAN NOT NULL,
    started_at TIMESTAMPTZ NOT NULL
);

-- What a model wrote and no test noticed is another way to write the same, and no gap in the tests.
CREATE OR REPLACE VIEW survivors AS
SELECT
    c.candidate_id, r.repo, r."commit", c.path, c.symbol, c.line, c.end_line, c.operator,
    c.before, c.after, c.bad, c.good, c.patch, j.selected AS tests, v.baseline_id, v.created_at
FROM verdicts v ANTI JOIN fallen x ON x.candidate_id = v.candidate_id
    AND x.baseline_id = v.baseline_id
JOIN candidates c ON c.candidate_id = v.candidate_id
JOIN baselines b ON b.baseline_id = v.baseline_id
JOIN revisions r ON r.revision_id = b.revision_id
JOIN trials j ON j.kind = 'judge'
    AND j.candidate_id = v.candidate_id AND j.baseline_id = v.baseline_id
WHERE v.verdict = 'survived' AND c.source <> 'written';

-- Verified refactorings: a function that a model wrote anew, and that passes every test.
CREATE VIEW rewrites AS
SELECT
    c.candidate_id, r.repo, r."commit", c.path, c.symbol, c.line, c.end_line, c.operator,
    c.bad AS rewritten, c.good AS original, c.patch, j.selected AS tests, v.baseline_id,
    v.created_at
FROM verdicts v ANTI JOIN fallen x ON x.candidate_id = v.candidate_id
    AND x.baseline_id = v.baseline_id
JOIN candidates c ON c.candidate_id = v.candidate_id
JOIN baselines b ON b.baseline_id = v.baseline_id
JOIN revisions r ON r.revision_id = b.revision_id
JOIN trials j ON j.kind = 'judge'
    AND j.candidate_id = v.candidate_id AND j.baseline_id = v.baseline_id
WHERE v.verdict = 'survived' AND c.source = 'written'
    AND c.operator LIKE 'reimplement:%';
