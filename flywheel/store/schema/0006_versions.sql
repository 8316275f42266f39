-- Versions of programs, one row each; the version itself is a folder of the registry. `version_id`
-- is `MODULE@HASH`, and `MODULE@base` is a module as its code has it, which has no row. `optimizer` is
-- empty where none made it. `adapter` is the hash of trained weights, NULL where there are none;
-- `study_id` the run of an optimiser that it came from, NULL where it came from none. `partial`: the
-- run was stopped. `usd` is NULL where a price is not known.
CREATE TABLE versions (
    version_id VARCHAR NOT NULL,
    module VARCHAR NOT NULL,
    parent VARCHAR NOT NULL,
    optimizer VARCHAR NOT NULL,
    options JSON NOT NULL,
    seed BIGINT NOT NULL,
    dataset VARCHAR NOT NULL,
    metric VARCHAR NOT NULL,
    model VARCHAR NOT NULL,
    adapter VARCHAR,
    study_id VARCHAR,
    trials INTEGER NOT NULL,
    partial BOOLEAN NOT NULL,
    usd DOUBLE,
    tokens BIGINT NOT NULL,
    seconds DOUBLE NOT NULL,
    created_at TIMESTAMPTZ NOT NULL
);

-- Which examples a version has seen. `role`: train, validation, demo.
CREATE TABLE version_rows (
    version_id VARCHAR NOT NULL,
    example_id VARCHAR NOT NULL,
    role VARCHAR NOT NULL
);

-- Verdicts of comparisons of two versions on the same rows. `difference` is challenger less
-- champion, `low` and `high` its 95 % interval, `n` the rows known of both, `unknown` the others;
-- `gains` and `regressions` count rows. `better`: significantly, by `test`. `code` is the hash of the
-- module's code under which both were run.
CREATE TABLE gates (
    gate_id VARCHAR NOT NULL,
    module VARCHAR NOT NULL,
    champion VARCHAR NOT NULL,
    challenger VARCHAR NOT NULL,
    dataset VARCHAR NOT NULL,
    split VARCHAR NOT NULL,
    metric VARCHAR NOT NULL,
    n INTEGER NOT NULL,
    unknown INTEGER NOT NULL,
    champion_value DOUBLE NOT NULL,
    challenger_value DOUBLE NOT NULL,
    difference DOUBLE NOT NULL,
    low DOUBLE NOT NULL,
    high DOUBLE NOT NULL,
    p_value DOUBLE NOT NULL,
    test VARCHAR NOT NULL,
    gains INTEGER NOT NULL,
    regressions INTEGER NOT NULL,
    better BOOLEAN NOT NULL,
    code VARCHAR NOT NULL,
    run_id VARCHAR NOT NULL,
    created_at TIMESTAMPTZ NOT NULL
);

-- What was deployed, in the order of `number`; the last row of a module says what is. `action`:
-- deploy, rollback. `replaced` was deployed before. `gate_id` is the comparison that allowed it, NULL
-- where none did; `forced`: it was deployed all the same.
CREATE TABLE deployments (
    module VARCHAR NOT NULL,
    number INTEGER NOT NULL,
    action VARCHAR NOT NULL,
    version_id VARCHAR NOT NULL,
    replaced VARCHAR NOT NULL,
    gate_id VARCHAR,
    forced BOOLEAN NOT NULL,
    reason VARCHAR NOT NULL,
    created_at TIMESTAMPTZ NOT NULL
);

-- How live traffic is shared, one row a version; the rows of the greatest `number` of a module hold
-- while its last deployment is `deployment`. Percents of one number sum to 100. Numbers of the same
-- versions, one after the other, are one `experiment`: its outcomes count together.
CREATE TABLE traffic (
    module VARCHAR NOT NULL,
    number INTEGER NOT NULL,
    experiment INTEGER NOT NULL,
    deployment INTEGER NOT NULL,
    version_id VARCHAR NOT NULL,
    percent DOUBLE NOT NULL,
    champion BOOLEAN NOT NULL,
    reason VARCHAR NOT NULL,
    created_at TIMESTAMPTZ NOT NULL
);

-- What came of live answers. `key` is a hash of what decided the version. `success` is NULL where it
-- is not known.
CREATE TABLE live_outcomes (
    module VARCHAR NOT NULL,
    experiment INTEGER NOT NULL,
    number BIGINT NOT NULL,
    version_id VARCHAR NOT NULL,
    key VARCHAR NOT NULL,
    success BOOLEAN,
    reason VARCHAR NOT NULL,
    usd DOUBLE,
    seconds DOUBLE,
    created_at TIMESTAMPTZ NOT NULL
);

-- From an example to what was gained by learning from it: one row an example, its role in a version,
-- and a comparison in which that version was the challenger. A version that was not compared has one
-- row with NULLs.
CREATE VIEW lineage AS
SELECT r.example_id, r.role, v.version_id, v.module, v.parent, v.optimizer, v.dataset AS learned_from,
    v.study_id, g.gate_id, g.champion, g.dataset, g.split, g.metric, g.n,
    g.difference AS gain, g.low, g.high, g.p_value, g.better,
    EXISTS (
        SELECT 1 FROM deployments d WHERE d.version_id = v.version_id AND d.action = 'deploy'
    ) AS deployed
FROM version_rows r
JOIN versions v ON v.version_id = r.version_id
LEFT JOIN gates g ON g.challenger = v.version_id;
