-- Applies one stored plan, or refuses it: the only code that writes conversations.actor_id in PostgreSQL.
--
-- Installed by `bench db install`; it runs with the rights of its owner, so that the promoter needs none.
-- The same rules, in the same order, as domain/promoting/rules.py; a test takes both through every refusal.
-- A refusal is SQLSTATE BP001: its message is a key of domain/promoting/refusal.py, its detail holds the facts as
-- JSON. Names in double braces are filled in, quoted.
CREATE OR REPLACE FUNCTION "public".benchmark_apply(
    p_plan_hash text, p_requested_by text, p_dagster_run_id text, p_observed json
) RETURNS bigint
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET lock_timeout = '10s'
AS $function$
#variable_conflict use_variable
-- Every column below is qualified: the application may have columns of any name.
DECLARE
    utc CONSTANT text := 'YYYY-MM-DD"T"HH24:MI:SS"+00:00"';
    short CONSTANT text := left(p_plan_hash, 12);
    moment timestamptz;
    stored record;
    plan json;
    terms json;
    known bigint;
    undoing record;
    back boolean := false;
    links integer;
    approved text;
    evidence record;
    run record;
    line record;
    r record;
    actor record;
    seen json;
    held bigint;
    why text;
    n bigint;
    changes integer;
    changed bigint[] := '{}';
    before json;
    promotion bigint;
BEGIN
    IF current_setting('transaction_isolation') <> 'read committed' THEN
        RAISE EXCEPTION 'benchmark_apply sees what others have committed under READ COMMITTED alone';
    END IF;
    -- One at a time. Whoever takes this lock afterwards sees how this transaction ended.
    PERFORM pg_advisory_xact_lock(7871567807088330186);
    moment := clock_timestamp();

    -- Whether it may be applied at all

    SELECT p.document, p.terms_hash, p.made_at INTO stored FROM "public".benchmark_plans p
    WHERE p.plan_hash = p_plan_hash ORDER BY p.plan_id DESC LIMIT 1;
    IF NOT FOUND THEN
        RAISE EXCEPTION USING ERRCODE = 'BP001', MESSAGE = 'plan_unknown',
            DETAIL = json_build_object('plan_hash', p_plan_hash);
    END IF;
    IF encode(sha256(convert_to(stored.document, 'UTF8')), 'hex') <> p_plan_hash THEN
        RAISE EXCEPTION USING ERRCODE = 'BP001', MESSAGE = 'plan_altered',
            DETAIL = json_build_object('plan_hash', p_plan_hash);
    END IF;
    plan := stored.document;
    terms := plan->'terms';

    SELECT p.promotion_id INTO known FROM "public".benchmark_promotions p WHERE p.plan_hash = p_plan_hash;
    IF FOUND THEN
        WITH RECURSIVE later AS (
            SELECT p.promotion_id FROM "public".benchmark_promotions p WHERE p.undoes = known
            UNION ALL
            SELECT p.promotion_id FROM "public".benchmark_promotions p JOIN later ON p.undoes = later.promotion_id
        ) SELECT count(*) INTO links FROM later;
        IF links % 2 = 1 THEN
            RAISE EXCEPTION USING ERRCODE = 'BP001', MESSAGE = 'plan_undone', DETAIL = json_build_object(
                'reason', (SELECT p.reason FROM "public".benchmark_promotions p WHERE p.undoes = known));
        END IF;
        FOR r IN SELECT l.conversation_id, l.new_actor_id, c."actor_id" AS holds
                 FROM "public".benchmark_promotion_rows l
                 LEFT JOIN "public"."conversations" c ON c."conversation_id" = l.conversation_id
                 WHERE l.promotion_id = known AND l.changed ORDER BY l.conversation_id
        LOOP
            IF r.holds IS DISTINCT FROM r.new_actor_id THEN
                RAISE EXCEPTION USING ERRCODE = 'BP001', MESSAGE = 'changed_since', DETAIL = json_build_object(
                    'promotion_id', known, 'conversation_id', r.conversation_id,
                    'holds', r.holds, 'planned', r.new_actor_id);
            END IF;
        END LOOP;
        RETURN known;
    END IF;

    IF plan->>'kind' = 'rollback' OR plan->>'undoes' IS NOT NULL THEN
        SELECT p.promotion_id INTO undoing FROM "public".benchmark_promotions p
        WHERE p.promotion_id = (plan->>'undoes')::bigint AND plan->>'kind' = 'rollback';
        IF NOT FOUND OR EXISTS (
            (SELECT l.conversation_id, l.new_actor_id, l.old_actor_id FROM "public".benchmark_promotion_rows l
             WHERE l.promotion_id = undoing.promotion_id AND l.changed
             EXCEPT SELECT x.conversation_id, x.old_actor_id, x.new_actor_id FROM json_to_recordset(plan->'rows')
                AS x(conversation_id bigint, old_actor_id bigint, new_actor_id bigint))
            UNION ALL
            (SELECT x.conversation_id, x.old_actor_id, x.new_actor_id FROM json_to_recordset(plan->'rows')
                AS x(conversation_id bigint, old_actor_id bigint, new_actor_id bigint)
             EXCEPT SELECT l.conversation_id, l.new_actor_id, l.old_actor_id
             FROM "public".benchmark_promotion_rows l
             WHERE l.promotion_id = undoing.promotion_id AND l.changed)
        ) OR EXISTS (SELECT FROM json_array_elements(plan->'rows') x WHERE x->>'decision' IS NOT NULL) THEN
            RAISE EXCEPTION USING ERRCODE = 'BP001', MESSAGE = 'not_an_undoing',
                DETAIL = json_build_object('promotion_id', plan->'undoes');
        END IF;
        SELECT p.reason INTO why FROM "public".benchmark_promotions p WHERE p.undoes = undoing.promotion_id;
        IF FOUND THEN
            RAISE EXCEPTION USING ERRCODE = 'BP001', MESSAGE = 'undone_already',
                DETAIL = json_build_object('promotion_id', undoing.promotion_id, 'reason', why);
        END IF;
        -- Undoing a promotion goes back; undoing that goes forth again, and is checked like a promotion.
        WITH RECURSIVE earlier AS (
            SELECT p.undoes FROM "public".benchmark_promotions p WHERE p.promotion_id = undoing.promotion_id
            UNION ALL
            SELECT p.undoes FROM "public".benchmark_promotions p JOIN earlier ON p.promotion_id = earlier.undoes
        ) SELECT count(*) INTO links FROM earlier;
        back := links % 2 = 1;
    END IF;

    SELECT count(*) INTO changes FROM json_array_elements(plan->'rows') x
    WHERE coalesce(x->>'decision', 'promote') = 'promote';
    IF changes > 0 THEN
        IF NOT back THEN
            SELECT f.frozen, f.reason, f.set_by, f.set_at INTO r FROM "public".benchmark_freezes f
            ORDER BY f.freeze_id DESC LIMIT 1;
            IF r.frozen THEN
                RAISE EXCEPTION USING ERRCODE = 'BP001', MESSAGE = 'frozen', DETAIL = json_build_object(
                    'set_by', r.set_by, 'reason', r.reason, 'set_at', to_char(r.set_at AT TIME ZONE 'UTC', utc));
            END IF;
        END IF;
        IF stored.made_at < moment - make_interval(secs => 3600 * (terms->>'plan_hours')::float8) THEN
            RAISE EXCEPTION USING ERRCODE = 'BP001', MESSAGE = 'plan_expired', DETAIL = json_build_object(
                'made_at', to_char(stored.made_at AT TIME ZONE 'UTC', utc),
                'plan_hours', (terms->>'plan_hours')::float8);
        END IF;
        IF terms->>'approval' <> 'auto' THEN
            SELECT a.approved_by INTO r FROM "public".benchmark_approvals a
            WHERE a.plan_hash = p_plan_hash ORDER BY a.approval_id DESC LIMIT 1;
            IF NOT FOUND THEN
                RAISE EXCEPTION USING ERRCODE = 'BP001', MESSAGE = 'approval_missing',
                    DETAIL = json_build_object('short', short);
            END IF;
            approved := r.approved_by;
            SELECT a.approved_by, a.approved_at INTO r FROM "public".benchmark_approvals a
            WHERE a.plan_hash = p_plan_hash AND NOT ((terms->>'second_person')::boolean AND a.approved_by IN (
                SELECT p.requested_by FROM "public".benchmark_plans p WHERE p.plan_hash = p_plan_hash))
            ORDER BY a.approval_id DESC LIMIT 1;
            IF NOT FOUND THEN
                RAISE EXCEPTION USING ERRCODE = 'BP001', MESSAGE = 'approval_own',
                    DETAIL = json_build_object('approved_by', approved, 'short', short);
            END IF;
            approved := r.approved_by;
            IF r.approved_at < moment - make_interval(secs => 3600 * (terms->>'approval_hours')::float8) THEN
                RAISE EXCEPTION USING ERRCODE = 'BP001', MESSAGE = 'approval_expired', DETAIL = json_build_object(
                    'approved_by', approved, 'approved_at', to_char(r.approved_at AT TIME ZONE 'UTC', utc),
                    'approval_hours', (terms->>'approval_hours')::float8, 'short', short);
            END IF;
        END IF;
        IF changes > (terms->>'max_rows')::integer THEN
            RAISE EXCEPTION USING ERRCODE = 'BP001', MESSAGE = 'too_many_rows',
                DETAIL = json_build_object('rows', changes, 'max_rows', terms->'max_rows');
        END IF;
    END IF;

    -- What it rests on

    FOR evidence IN SELECT * FROM json_to_recordset(plan->'evidence')
        AS x(task text, benchmark_id text, evidence_hash text)
    LOOP
        SELECT b.evidence_hash, b.invalid, b.task, json_array_length(b.suite->'test_cases') AS cases INTO run
        FROM "public".benchmark_runs b
        WHERE b.benchmark_id = evidence.benchmark_id AND b.task_type = evidence.task FOR SHARE;
        IF NOT FOUND THEN
            RAISE EXCEPTION USING ERRCODE = 'BP001', MESSAGE = 'evidence_gone',
                DETAIL = json_build_object('benchmark_id', evidence.benchmark_id);
        END IF;
        IF run.evidence_hash IS DISTINCT FROM evidence.evidence_hash THEN
            RAISE EXCEPTION USING ERRCODE = 'BP001', MESSAGE = 'evidence_changed',
                DETAIL = json_build_object('benchmark_id', evidence.benchmark_id);
        END IF;
        FOR r IN SELECT * FROM json_to_recordset(plan->'rows')
            AS x(task text, conversation_id bigint, conversation text, decision text, new_actor_id bigint,
                 new_actor text)
            WHERE x.task = evidence.task AND coalesce(x.decision, 'promote') = 'promote'
        LOOP
            IF run.invalid IS NOT NULL THEN
                RAISE EXCEPTION USING ERRCODE = 'BP001', MESSAGE = 'evidence_invalid',
                    DETAIL = json_build_object('benchmark_id', evidence.benchmark_id, 'reason', run.invalid);
            END IF;
            IF NOT (run.task->'conversations')::jsonb @> to_jsonb(r.conversation_id) THEN
                RAISE EXCEPTION USING ERRCODE = 'BP001', MESSAGE = 'not_listed', DETAIL = json_build_object(
                    'conversation_id', r.conversation_id, 'conversation', r.conversation, 'task', r.task);
            END IF;
            SELECT h.standing, h.correctness_score, h.cases, h.cases_correct, h.model_run_id, m.started_at INTO line
            FROM "public".benchmark_history h
            JOIN "public".benchmark_model_runs m ON m.model_run_id = h.model_run_id
            WHERE h.benchmark_id = evidence.benchmark_id AND h.actor_id = r.new_actor_id FOR SHARE;
            IF NOT FOUND THEN
                RAISE EXCEPTION USING ERRCODE = 'BP001', MESSAGE = 'evidence_gone',
                    DETAIL = json_build_object('benchmark_id', evidence.benchmark_id);
            END IF;
            why := NULL;
            IF line.standing <> 'qualified' OR line.correctness_score <> 100 OR line.cases_correct <> line.cases THEN
                why := format('%s, %s/%s correct', line.standing, line.cases_correct, line.cases);
            ELSIF line.cases <> run.cases OR run.cases <> (
                    SELECT count(DISTINCT s.case_id) FROM "public".benchmark_samples s
                    WHERE s.model_run_id = line.model_run_id AND s.outcome = 'correct')
                OR EXISTS (SELECT FROM "public".benchmark_samples s
                    WHERE s.model_run_id = line.model_run_id AND s.outcome IN ('wrong', 'invalid'))
            THEN
                why := 'its samples do not show every case right';
            END IF;
            IF why IS NOT NULL THEN
                RAISE EXCEPTION USING ERRCODE = 'BP001', MESSAGE = 'not_qualified', DETAIL = json_build_object(
                    'model', r.new_actor, 'benchmark_id', evidence.benchmark_id, 'why', why);
            END IF;
            IF line.started_at < moment - make_interval(secs => 86400 * (terms->>'evidence_days')::float8) THEN
                RAISE EXCEPTION USING ERRCODE = 'BP001', MESSAGE = 'evidence_old', DETAIL = json_build_object(
                    'model', r.new_actor, 'measured_at', to_char(line.started_at AT TIME ZONE 'UTC', utc),
                    'evidence_days', (terms->>'evidence_days')::float8);
            END IF;
        END LOOP;
    END LOOP;

    -- The rows

    FOR r IN SELECT * FROM json_to_recordset(plan->'rows')
        AS x(conversation_id bigint, conversation text, task text, decision text, old_actor_id bigint,
             old_actor text, new_actor_id bigint, new_actor text, identity_hash text)
        WHERE coalesce(x.decision, 'promote') = 'promote'
    LOOP
        IF NOT back AND plan->>'kind' <> 'rollback' AND NOT EXISTS (
            SELECT FROM json_to_recordset(plan->'evidence') AS x(task text) WHERE x.task = r.task)
        THEN
            RAISE EXCEPTION USING ERRCODE = 'BP001', MESSAGE = 'no_evidence',
                DETAIL = json_build_object('task', r.task);
        END IF;
        IF r.new_actor_id IS NOT NULL THEN
            -- The lock waits for whoever is about to disable the actor, and keeps it enabled until the commit.
            SELECT a."actor_type"::text AS kind, coalesce(CAST(a."enabled" AS integer), 0) <> 0 AS enabled,
                   coalesce(a."execution_path", '') AS path INTO actor
            FROM "public"."actors" a WHERE a."actor_id" = r.new_actor_id FOR SHARE;
            IF NOT FOUND AND back THEN
                CONTINUE;
            ELSIF NOT FOUND THEN
                RAISE EXCEPTION USING ERRCODE = 'BP001', MESSAGE = 'actor_gone',
                    DETAIL = json_build_object('actor_id', r.new_actor_id, 'actor', r.new_actor);
            ELSIF NOT back AND actor.kind IS DISTINCT FROM 'ai_model' THEN
                RAISE EXCEPTION USING ERRCODE = 'BP001', MESSAGE = 'actor_type',
                    DETAIL = json_build_object('actor', r.new_actor);
            ELSIF NOT back AND NOT actor.enabled THEN
                RAISE EXCEPTION USING ERRCODE = 'BP001', MESSAGE = 'actor_disabled',
                    DETAIL = json_build_object('actor', r.new_actor);
            ELSIF plan->>'kind' <> 'rollback' THEN
                SELECT x.value INTO seen FROM json_array_elements(p_observed) AS x(value)
                WHERE (x.value->>'actor_id')::bigint = r.new_actor_id;
                IF seen->>'execution_path' IS DISTINCT FROM actor.path THEN
                    RAISE EXCEPTION USING ERRCODE = 'BP001', MESSAGE = 'actor_moved',
                        DETAIL = json_build_object('actor', r.new_actor, 'path', actor.path);
                ELSIF r.identity_hash IS NULL OR seen->>'identity_hash' IS DISTINCT FROM r.identity_hash THEN
                    RAISE EXCEPTION USING ERRCODE = 'BP001', MESSAGE = 'identity_changed',
                        DETAIL = json_build_object('actor', r.new_actor, 'why', 'its identity differs');
                END IF;
            END IF;
        END IF;
        SELECT count(*) INTO n FROM "public"."conversations" c WHERE c."conversation_id" = r.conversation_id;
        IF n > 1 THEN
            RAISE EXCEPTION USING ERRCODE = 'BP001', MESSAGE = 'conversation_ambiguous', DETAIL = json_build_object(
                'conversation_id', r.conversation_id, 'conversation', r.conversation, 'rows', n);
        END IF;
        UPDATE "public"."conversations" c SET "actor_id" = r.new_actor_id
        WHERE c."conversation_id" = r.conversation_id
            AND c."actor_id" IS NOT DISTINCT FROM r.old_actor_id;
        GET DIAGNOSTICS n = ROW_COUNT;
        IF n = 1 THEN
            changed := changed || r.conversation_id;
        ELSIF n > 1 OR plan->>'kind' <> 'rollback' THEN
            SELECT c."actor_id" INTO held FROM "public"."conversations" c
            WHERE c."conversation_id" = r.conversation_id;
            RAISE EXCEPTION USING ERRCODE = 'BP001', MESSAGE = 'conversation_changed', DETAIL = json_build_object(
                'conversation_id', r.conversation_id, 'conversation', r.conversation, 'planned', r.old_actor_id,
                'planned_name', r.old_actor, 'holds', held);
        END IF;
    END LOOP;
    FOR r IN SELECT x.conversation_id, x.new_actor_id, c."actor_id" AS holds
        FROM json_to_recordset(plan->'rows') AS x(conversation_id bigint, new_actor_id bigint)
        LEFT JOIN "public"."conversations" c ON c."conversation_id" = x.conversation_id
        WHERE x.conversation_id = ANY (changed)
    LOOP
        IF r.holds IS DISTINCT FROM r.new_actor_id THEN
            RAISE EXCEPTION USING ERRCODE = 'BP001', MESSAGE = 'not_as_written', DETAIL = json_build_object(
                'conversation_id', r.conversation_id, 'holds', r.holds, 'planned', r.new_actor_id);
        END IF;
    END LOOP;

    -- What is written beside: the audit, the registry, and the intent to write the documents

    IF changes > 0 THEN
        INSERT INTO "public".benchmark_promotions (kind, plan_hash, terms_hash, plan, undoes, bar, reason,
            requested_by, approved_by, database_role, dagster_run_id, applied_at)
        VALUES (plan->>'kind', p_plan_hash, stored.terms_hash, plan, (plan->>'undoes')::bigint, plan->>'bar', plan->>'reason',
            p_requested_by, approved, session_user, p_dagster_run_id, moment)
        RETURNING promotion_id INTO promotion;
        INSERT INTO "public".benchmark_intents (promotion_id, made_at) VALUES (promotion, moment);
    END IF;
    FOR r IN SELECT * FROM json_to_recordset(plan->'rows')
        AS x(conversation_id bigint, conversation text, task text, decision text, reason text,
             old_actor_id bigint, old_actor text, new_actor_id bigint, new_actor text, identity_hash text,
             runner_up_actor_id bigint, gain float8, avg_latency_ms float8)
    LOOP
        SELECT x.benchmark_id, x.evidence_hash INTO evidence FROM json_to_recordset(plan->'evidence')
            AS x(task text, benchmark_id text, evidence_hash text) WHERE x.task = r.task;
        SELECT json_build_object('conversation_id', k.conversation_id, 'task_type', k.task_type,
                'champion_actor_id', k.champion_actor_id, 'runner_up_actor_id', k.runner_up_actor_id,
                'benchmark_id', k.benchmark_id, 'avg_latency_ms', k.avg_latency_ms,
                'decided_at', to_char(k.decided_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"+00:00"'))
            INTO before FROM "public".benchmark_champions k WHERE k.conversation_id = r.conversation_id;
        IF coalesce(r.decision, 'promote') = 'promote' THEN
            INSERT INTO "public".benchmark_promotion_rows (promotion_id, conversation_id, task_type, benchmark_id,
                evidence_hash, conversation, old_actor_id, old_actor, new_actor_id, new_actor, identity_hash,
                runner_up_actor_id, expected_gain, reason, changed, old_champion)
            VALUES (promotion, r.conversation_id, r.task, evidence.benchmark_id, evidence.evidence_hash,
                r.conversation, r.old_actor_id, r.old_actor, r.new_actor_id, r.new_actor, r.identity_hash,
                r.runner_up_actor_id, r.gain, r.reason, r.conversation_id = ANY (changed), before);
        END IF;
        IF plan->>'kind' = 'rollback' THEN
            CONTINUE WHEN NOT r.conversation_id = ANY (changed);
            DELETE FROM "public".benchmark_champions k WHERE k.conversation_id = r.conversation_id;
            INSERT INTO "public".benchmark_champions (conversation_id, task_type, champion_actor_id,
                runner_up_actor_id, benchmark_id, avg_latency_ms, decided_at)
            SELECT (o->>'conversation_id')::bigint, o->>'task_type', (o->>'champion_actor_id')::bigint,
                (o->>'runner_up_actor_id')::bigint, o->>'benchmark_id', (o->>'avg_latency_ms')::float8,
                (o->>'decided_at')::timestamptz
            FROM (SELECT l.old_champion FROM "public".benchmark_promotion_rows l
                  WHERE l.promotion_id = undoing.promotion_id AND l.conversation_id = r.conversation_id
                      AND json_typeof(l.old_champion) = 'object') AS was(o);
        ELSIF r.conversation_id = ANY (changed)
            OR (r.decision = 'keep' AND r.new_actor_id = r.old_actor_id) THEN
            INSERT INTO "public".benchmark_champions AS k (conversation_id, task_type, champion_actor_id,
                runner_up_actor_id, benchmark_id, avg_latency_ms, decided_at)
            VALUES (r.conversation_id, r.task, r.new_actor_id, r.runner_up_actor_id, evidence.benchmark_id,
                r.avg_latency_ms, moment)
            ON CONFLICT (conversation_id) DO UPDATE SET task_type = excluded.task_type,
                champion_actor_id = excluded.champion_actor_id, runner_up_actor_id = excluded.runner_up_actor_id,
                benchmark_id = excluded.benchmark_id, avg_latency_ms = excluded.avg_latency_ms,
                decided_at = excluded.decided_at
            WHERE (k.task_type, k.champion_actor_id, k.runner_up_actor_id, k.benchmark_id, k.avg_latency_ms)
                IS DISTINCT FROM (excluded.task_type, excluded.champion_actor_id, excluded.runner_up_actor_id,
                    excluded.benchmark_id, excluded.avg_latency_ms);
        END IF;
    END LOOP;
    RETURN promotion;
END
$function$;;

COMMENT ON FUNCTION "public".benchmark_apply(text, text, text, json) IS 'bench_pipeline 82acdc3cc9b11df36b242c04a34558a59f104da38b1575d5104ef10ace211bb2';

REVOKE ALL ON FUNCTION "public".benchmark_apply(text, text, text, json) FROM PUBLIC;

REVOKE ALL ON FUNCTION "public".benchmark_refuse_change() FROM PUBLIC;

DO $do$ BEGIN IF NOT EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = 'bench_recorder') THEN CREATE ROLE "bench_recorder" LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOINHERIT; END IF; END $do$;

DO $do$ BEGIN IF NOT EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = 'bench_promoter') THEN CREATE ROLE "bench_promoter" LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOINHERIT; END IF; END $do$;

DO $do$ DECLARE kind text; name regclass; BEGIN
    FOR kind, name IN SELECT CASE c.relkind WHEN 'S' THEN 'SEQUENCE' ELSE 'TABLE' END, c.oid FROM pg_catalog.pg_class c
        WHERE c.relnamespace = '"public"'::regnamespace AND c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S')
            AND pg_catalog.pg_has_role(c.relowner, 'USAGE')
    LOOP
        EXECUTE format('REVOKE ALL ON %s %s FROM %I, %I', kind, name, 'bench_recorder', 'bench_promoter');
    END LOOP;
END $do$;

GRANT USAGE ON SCHEMA "public" TO "bench_recorder", "bench_promoter";

GRANT SELECT ON "public"."actors" TO "bench_recorder";

GRANT SELECT ON "public"."conversations" TO "bench_recorder";

GRANT SELECT ON "public"."workflows" TO "bench_recorder";

GRANT SELECT ON "public"."workflow_conversations" TO "bench_recorder";

GRANT SELECT ON "public"."prompt_templates" TO "bench_recorder";

GRANT SELECT ON "public"."postings" TO "bench_recorder";

GRANT SELECT ON "public"."interactions" TO "bench_recorder";

GRANT SELECT ON "public"."benchmark_schema_version" TO "bench_recorder";

GRANT SELECT, INSERT ON "public"."benchmark_approvals" TO "bench_recorder";

GRANT USAGE ON SEQUENCE "public"."benchmark_approvals_approval_id_seq" TO "bench_recorder";

GRANT SELECT, INSERT, UPDATE, DELETE ON "public"."benchmark_candidates" TO "bench_recorder";

GRANT SELECT ON "public"."benchmark_champions" TO "bench_recorder";

GRANT SELECT, INSERT ON "public"."benchmark_decisions" TO "bench_recorder";

GRANT USAGE ON SEQUENCE "public"."benchmark_decisions_decision_id_seq" TO "bench_recorder";

GRANT SELECT, INSERT ON "public"."benchmark_freezes" TO "bench_recorder";

GRANT USAGE ON SEQUENCE "public"."benchmark_freezes_freeze_id_seq" TO "bench_recorder";

GRANT SELECT, INSERT, UPDATE, DELETE ON "public"."benchmark_history" TO "bench_recorder";

GRANT SELECT, UPDATE ON "public"."benchmark_intents" TO "bench_recorder";

GRANT SELECT, INSERT, UPDATE, DELETE ON "public"."benchmark_model_runs" TO "bench_recorder";

GRANT USAGE ON SEQUENCE "public"."benchmark_model_runs_model_run_id_seq" TO "bench_recorder";

GRANT SELECT, INSERT, UPDATE, DELETE ON "public"."benchmark_pass_loads" TO "bench_recorder";

GRANT SELECT, INSERT ON "public"."benchmark_plans" TO "bench_recorder";

GRANT USAGE ON SEQUENCE "public"."benchmark_plans_plan_id_seq" TO "bench_recorder";

GRANT SELECT ON "public"."benchmark_promotion_rows" TO "bench_recorder";

GRANT SELECT ON "public"."benchmark_promotions" TO "bench_recorder";

GRANT SELECT, INSERT, UPDATE, DELETE ON "public"."benchmark_runs" TO "bench_recorder";

GRANT SELECT, INSERT, UPDATE, DELETE ON "public"."benchmark_samples" TO "bench_recorder";

GRANT USAGE ON SEQUENCE "public"."benchmark_samples_sample_id_seq" TO "bench_recorder";

GRANT SELECT, INSERT ON "public"."benchmark_validations" TO "bench_recorder";

GRANT USAGE ON SEQUENCE "public"."benchmark_validations_validation_id_seq" TO "bench_recorder";

GRANT EXECUTE ON FUNCTION "public".benchmark_apply(text, text, text, json) TO "bench_promoter";
