-- The first shape of the store. Rows are only ever added, save that an `unknown` verdict may be
-- replaced by a settled one and a run by its finished self. No keys and no indexes: identity is
-- a content hash and ingestion leaves out what is already there, which costs one scan of an id
-- column where an index would have to be loaded at every opening.
--
-- zstd is named where text is long. Lists whose items say much the same from row to row are kept
-- as JSON for its sake: a list of names takes 12 bytes a name as VARCHAR[], less than one this way.

CREATE TABLE revisions (
    revision_id VARCHAR NOT NULL,
    repo VARCHAR NOT NULL,
    "commit" VARCHAR NOT NULL,
    tree VARCHAR NOT NULL,
    license VARCHAR,
    created_at TIMESTAMPTZ NOT NULL
);

CREATE TABLE environments (
    environment_hash VARCHAR NOT NULL,
    toolchain VARCHAR NOT NULL,
    details JSON NOT NULL,
    created_at TIMESTAMPTZ NOT NULL
);

CREATE TABLE baselines (
    baseline_id VARCHAR NOT NULL,
    revision_id VARCHAR NOT NULL,
    environment_hash VARCHAR NOT NULL,
    toolchain VARCHAR NOT NULL,
    runs INTEGER NOT NULL,
    suite_seconds DOUBLE NOT NULL,
    created_at TIMESTAMPTZ NOT NULL
);

-- The flake ledger: what the base commit's own suite said, test by test.
CREATE TABLE tests (
    baseline_id VARCHAR NOT NULL,
    position INTEGER NOT NULL,
    test_id VARCHAR NOT NULL,
    path VARCHAR NOT NULL,
    line INTEGER NOT NULL,
    outcome VARCHAR NOT NULL,
    seconds DOUBLE NOT NULL,
    flake_rate DOUBLE NOT NULL,
    reason VARCHAR NOT NULL,
    source VARCHAR NOT NULL USING COMPRESSION zstd
);

-- The first change of a candidate is columns; those that come with it are `others`, NULL for most.
-- `parts`, NULL for most: the proven bugs that it is made of, each with the tests that tell it.
CREATE TABLE candidates (
    candidate_id VARCHAR NOT NULL,
    path VARCHAR NOT NULL,
    symbol VARCHAR NOT NULL,
    span_start INTEGER NOT NULL,
    span_end INTEGER NOT NULL,
    before VARCHAR NOT NULL,
    after VARCHAR NOT NULL,
    line INTEGER NOT NULL,
    end_line INTEGER NOT NULL,
    source VARCHAR NOT NULL,
    operator VARCHAR NOT NULL,
    language VARCHAR NOT NULL,
    good VARCHAR NOT NULL USING COMPRESSION zstd,
    bad VARCHAR NOT NULL USING COMPRESSION zstd,
    patch VARCHAR NOT NULL USING COMPRESSION zstd,
    base_hash VARCHAR NOT NULL,
    origin VARCHAR,
    others JSON USING COMPRESSION zstd,
    parts JSON USING COMPRESSION zstd,
    created_at TIMESTAMPTZ NOT NULL
);

-- Commits of histories that candidates were taken from; `candidates.origin` names them.
-- `statement` is the commit's message without what gives the fix away.
CREATE TABLE fix_commits (
    "commit" VARCHAR NOT NULL,
    committed_at TIMESTAMPTZ NOT NULL,
    statement VARCHAR NOT NULL USING COMPRESSION zstd,
    signals JSON NOT NULL USING COMPRESSION zstd
);

-- Fixes of histories that were tried at their own commit: they are not tried again. `outcome`:
-- judged, or why not (no-environment, no-baseline …), with its cause in `detail`.
CREATE TABLE mined_commits (
    repo VARCHAR NOT NULL,
    "commit" VARCHAR NOT NULL,
    toolchain VARCHAR NOT NULL,
    definition VARCHAR NOT NULL,
    environment_hash VARCHAR,
    outcome VARCHAR NOT NULL,
    detail VARCHAR NOT NULL,
    examples INTEGER NOT NULL,
    seconds DOUBLE NOT NULL,
    created_at TIMESTAMPTZ NOT NULL
);

-- One row a run of a candidate. `kind`: judge (gave the verdict), confirm (the bad code again,
-- apart from the first), good (the good code on the same tests). The first failure is columns,
-- the further ones whose details were kept are `more_failures`. Where the confirmation failed in
-- the very words of the judging trial, the words are kept once, with the confirmation. `failing`
-- and `erroring` are lists of test ids.
CREATE TABLE trials (
    candidate_id VARCHAR NOT NULL,
    baseline_id VARCHAR NOT NULL,
    kind VARCHAR NOT NULL,
    status VARCHAR NOT NULL,
    outcome VARCHAR NOT NULL,
    reason VARCHAR NOT NULL,
    lane VARCHAR NOT NULL,
    selected INTEGER NOT NULL,
    passing INTEGER NOT NULL,
    failing JSON NOT NULL USING COMPRESSION zstd,
    erroring JSON NOT NULL USING COMPRESSION zstd,
    error_test VARCHAR,
    error_phase VARCHAR,
    error_type VARCHAR,
    error_message VARCHAR USING COMPRESSION zstd,
    error_assertion VARCHAR USING COMPRESSION zstd,
    error_traceback VARCHAR USING COMPRESSION zstd,
    more_failures JSON NOT NULL USING COMPRESSION zstd,
    phases MAP(VARCHAR, DOUBLE) NOT NULL,
    seconds DOUBLE NOT NULL,
    sandbox_level VARCHAR NOT NULL,
    created_at TIMESTAMPTZ NOT NULL
);

-- One row a candidate and baseline, pruned ones too: what is here is not judged again.
CREATE TABLE verdicts (
    candidate_id VARCHAR NOT NULL,
    baseline_id VARCHAR NOT NULL,
    verdict VARCHAR NOT NULL,
    reason VARCHAR NOT NULL,
    seconds DOUBLE NOT NULL,
    created_at TIMESTAMPTZ NOT NULL
);

-- Corrected code. `code` and `patch` are NULL for origin 'original': the candidate holds them.
-- `proven`: the bad code failed in both of its runs, in a common test, and this code passed.
CREATE TABLE fixes (
    fix_id VARCHAR NOT NULL,
    example_id VARCHAR NOT NULL,
    candidate_id VARCHAR NOT NULL,
    baseline_id VARCHAR NOT NULL,
    origin VARCHAR NOT NULL,
    code VARCHAR USING COMPRESSION zstd,
    patch VARCHAR USING COMPRESSION zstd,
    proven BOOLEAN NOT NULL,
    created_at TIMESTAMPTZ NOT NULL
);

-- What became of a verdict at a later commit, one row a verdict that was looked at again there.
-- `at_baseline` is that commit's. `state`: kept (what it rests on is unchanged: it stands there
-- too, as the candidate `here`), judged-again (a verdict of that baseline takes its place), retired
-- (it stands no more, for `reason`). The verdict itself stays where it was proven.
CREATE TABLE carried (
    candidate_id VARCHAR NOT NULL,
    baseline_id VARCHAR NOT NULL,
    at_baseline VARCHAR NOT NULL,
    state VARCHAR NOT NULL,
    reason VARCHAR NOT NULL,
    here VARCHAR,
    created_at TIMESTAMPTZ NOT NULL
);

-- One row a harvest.
CREATE TABLE runs (
    run_id VARCHAR NOT NULL,
    repo VARCHAR NOT NULL,
    started_at TIMESTAMPTZ NOT NULL,
    ended_at TIMESTAMPTZ,
    summary JSON NOT NULL
);

-- How one kept failure reads, for a person or a model.
CREATE MACRO failure_text(test_id, phase, kind, message, assertion, traceback) AS
    concat(
        CASE WHEN phase = 'call' THEN 'FAILED ' ELSE 'ERROR (' || phase || ') ' END,
        test_id,
        CASE WHEN kind <> '' THEN ' - ' || kind ELSE '' END,
        CASE WHEN message <> '' THEN ': ' || message ELSE '' END,
        CASE WHEN traceback <> '' THEN chr(10) || chr(10) || rtrim(traceback, chr(10))
             WHEN assertion <> '' THEN chr(10) || chr(10) || assertion
             ELSE '' END
    );

-- Verdicts that a later commit has taken away.
CREATE VIEW fallen AS
SELECT candidate_id, baseline_id, at_baseline, state, reason, created_at
FROM carried
WHERE state <> 'kept';

-- The same change proven under several baselines is one example: the earliest proof stands.
CREATE VIEW proven AS
SELECT example_id, candidate_id, baseline_id, origin, code, patch, created_at
FROM fixes ANTI JOIN fallen USING (candidate_id, baseline_id)
WHERE proven
QUALIFY row_number() OVER (PARTITION BY example_id ORDER BY created_at, baseline_id) = 1;

-- The run that a proof rests on, its lists as lists.
CREATE VIEW confirmations AS
SELECT * REPLACE (
    from_json(failing, '["VARCHAR"]') AS failing,
    from_json(erroring, '["VARCHAR"]') AS erroring,
    from_json(more_failures, '[{"test_id": "VARCHAR", "phase": "VARCHAR", "type": "VARCHAR",
        "message": "VARCHAR", "assertion": "VARCHAR", "traceback": "VARCHAR"}]') AS more_failures
)
FROM trials
WHERE kind = 'confirm';

-- The product: bad code that fails again and again, its error, and good code that passes.
CREATE VIEW examples AS
SELECT
    p.example_id,
    r.repo,
    r."commit",
    c.path,
    c.symbol,
    c.language,
    r.license,
    c.source,
    c.operator,
    c.bad,
    coalesce(p.code, c.good) AS good,
    coalesce(p.patch, c.patch) AS patch,
    concat(
        failure_text(k.error_test, k.error_phase, k.error_type, k.error_message,
                     k.error_assertion, k.error_traceback),
        list_aggregate(
            list_transform(k.more_failures, lambda x: chr(10) || chr(10) || failure_text(
                x.test_id, x.phase, x."type", x.message, x.assertion, x.traceback)),
            'string_agg', ''),
        CASE WHEN len(k.failing) > len(k.more_failures) + (k.error_test IS NOT NULL)::INTEGER
             THEN chr(10) || chr(10) || 'also failing:' || chr(10) || list_aggregate(
                 list_filter(k.failing, lambda t: t IS DISTINCT FROM k.error_test
                     AND NOT list_contains(
                         list_transform(k.more_failures, lambda x: x.test_id), t)),
                 'string_agg', chr(10))
             ELSE '' END
    ) AS error,
    coalesce(k.error_type, '') AS error_type,
    coalesce(k.error_message, '') AS error_message,
    coalesce(k.error_assertion, '') AS assertion,
    coalesce(k.error_traceback, '') AS traceback,
    coalesce(k.error_test, k.failing[1]) AS test_id,
    t.source AS test_source,
    k.failing AS failing_tests,
    g.passing AS passing_tests,
    v.seconds,
    t.flake_rate,
    k.sandbox_level,
    b.environment_hash,
    b.toolchain,
    p.origin AS fix_origin,
    c.origin,
    f.statement,
    from_json(c.parts, '[{"candidate_id": "VARCHAR", "tests": ["VARCHAR"]}]') AS parts,
    c.line,
    c.end_line,
    p.candidate_id,
    p.baseline_id,
    p.created_at
FROM proven p
JOIN candidates c ON c.candidate_id = p.candidate_id
JOIN baselines b ON b.baseline_id = p.baseline_id
JOIN revisions r ON r.revision_id = b.revision_id
JOIN verdicts v ON v.candidate_id = p.candidate_id AND v.baseline_id = p.baseline_id
JOIN confirmations k ON k.candidate_id = p.candidate_id AND k.baseline_id = p.baseline_id
JOIN trials g ON g.kind = 'good'
    AND g.candidate_id = p.candidate_id AND g.baseline_id = p.baseline_id
LEFT JOIN fix_commits f ON f."commit" = c.origin
LEFT JOIN tests t ON t.baseline_id = p.baseline_id AND t.test_id = coalesce(k.error_test, k.failing[1]);

-- Covered code whose change no test noticed: a gap in the tests.
CREATE VIEW survivors AS
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
WHERE v.verdict = 'survived';

-- Examples and survivors that stand no more: what they were, and why.
CREATE VIEW retired AS
SELECT
    x.state, x.reason, v.verdict, r.repo, r."commit", l."commit" AS retired_at,
    c.path, c.symbol, c.source, c.operator, c.bad, c.good, c.line, c.end_line,
    x.candidate_id, x.baseline_id, x.created_at
FROM fallen x
JOIN verdicts v ON v.candidate_id = x.candidate_id AND v.baseline_id = x.baseline_id
JOIN candidates c ON c.candidate_id = x.candidate_id
JOIN baselines b ON b.baseline_id = x.baseline_id
JOIN revisions r ON r.revision_id = b.revision_id
JOIN baselines n ON n.baseline_id = x.at_baseline
JOIN revisions l ON l.revision_id = n.revision_id
WHERE v.verdict IN ('valid', 'survived');
