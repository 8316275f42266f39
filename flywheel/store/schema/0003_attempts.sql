-- What models made of examples when they were asked to mend them, one row an answer. `sample` and
-- `turn` number the conversations about an example and the answers in each; `question` is what was
-- said before the answer, in that turn. `verdict`: fixed, suspect (passes, and by the tests' own
-- values), failed, rejected (no code came of it), unknown. `candidate_id` is the answer as a change
-- of the base, NULL where there is none or it is the base. Of the tests that fail for the bug,
-- `held_back` were not shown up to then, and `held_back_failing` of them failed.
CREATE TABLE attempts (
    attempt_id VARCHAR NOT NULL,
    example_id VARCHAR NOT NULL,
    baseline_id VARCHAR NOT NULL,
    run_id VARCHAR NOT NULL,
    model VARCHAR NOT NULL,
    prompt VARCHAR NOT NULL,
    call_id VARCHAR NOT NULL,
    seed INTEGER NOT NULL,
    show_tests BOOLEAN NOT NULL,
    sample INTEGER NOT NULL,
    turn INTEGER NOT NULL,
    question VARCHAR NOT NULL USING COMPRESSION zstd,
    answer VARCHAR NOT NULL USING COMPRESSION zstd,
    code VARCHAR USING COMPRESSION zstd,
    verdict VARCHAR NOT NULL,
    reason VARCHAR NOT NULL,
    candidate_id VARCHAR,
    error VARCHAR NOT NULL USING COMPRESSION zstd,
    held_back INTEGER NOT NULL,
    held_back_failing INTEGER NOT NULL,
    created_at TIMESTAMPTZ NOT NULL
);

-- The candidate that a fix is, as a change of the base; NULL where the fix is the base itself.
ALTER TABLE fixes ADD COLUMN fix_candidate_id VARCHAR;

CREATE OR REPLACE VIEW proven AS
SELECT example_id, candidate_id, baseline_id, origin, code, patch, created_at, fix_candidate_id
FROM fixes ANTI JOIN fallen USING (candidate_id, baseline_id)
WHERE proven
QUALIFY row_number() OVER (PARTITION BY example_id ORDER BY created_at, baseline_id) = 1;

-- As before; a bug may have several fixes, each with the run that it passed.
CREATE OR REPLACE VIEW examples AS
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
    coalesce(w.passing, g.passing) AS passing_tests,
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
    p.created_at,
    p.fix_candidate_id
FROM proven p
JOIN candidates c ON c.candidate_id = p.candidate_id
JOIN baselines b ON b.baseline_id = p.baseline_id
JOIN revisions r ON r.revision_id = b.revision_id
JOIN verdicts v ON v.candidate_id = p.candidate_id AND v.baseline_id = p.baseline_id
JOIN confirmations k ON k.candidate_id = p.candidate_id AND k.baseline_id = p.baseline_id
JOIN trials g ON g.candidate_id = coalesce(p.fix_candidate_id, p.candidate_id)
    AND g.baseline_id = p.baseline_id
    AND g.kind = CASE WHEN p.fix_candidate_id IS NULL THEN 'good' ELSE 'judge' END
LEFT JOIN trials w ON w.candidate_id = p.fix_candidate_id
    AND w.baseline_id = p.baseline_id AND w.kind = 'confirm'
LEFT JOIN fix_commits f ON f."commit" = c.origin
LEFT JOIN tests t ON t.baseline_id = p.baseline_id AND t.test_id = coalesce(k.error_test, k.failing[1]);

-- Verified refactorings: a function that a model wrote anew or improved, and that passes every test.
CREATE OR REPLACE VIEW rewrites AS
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
    AND (c.operator LIKE 'reimplement:%' OR c.operator LIKE 'refactor:%');
