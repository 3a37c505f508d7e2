{#- A key of a plan (JSON) as our tables store it, see `key_text` in domain/models/ids.py. -#}
{%- macro key(v) -%}
CASE WHEN json_typeof({{ v }}) = 'string' AND {{ v }} #>> '{}' !~ '^(0|-?[1-9][0-9]*|".*)$' THEN {{ v }} #>> '{}'
    WHEN json_typeof({{ v }}) <> 'null' THEN ({{ v }})::text END
{%- endmacro -%}
{#- The rows of the plan in their order: `_id` as text, `_key` as our tables store it, `v` the row itself. -#}
{%- macro rows() -%}
(SELECT x.v, x.place, x.v->>'task' AS task, x.v->>'decision' AS decision, x.v->>'conversation' AS conversation,
    x.v->>'conversation_id' AS conversation_id, {{ key("(x.v->'conversation_id')") }} AS conversation_key,
    x.v->>'old_actor_id' AS old_id, {{ key("(x.v->'old_actor_id')") }} AS old_key,
    x.v->>'new_actor_id' AS new_id, {{ key("(x.v->'new_actor_id')") }} AS new_key, x.v->>'new_actor' AS new_actor,
    {{ key("(x.v->'runner_up_actor_id')") }} AS runner_up_key, (x.v->>'avg_latency_ms')::float8 AS latency_ms,
    coalesce(x.v->>'decision', 'promote') = 'promote' AS changes,
    coalesce(x.v->>'decision' = 'keep' AND x.v->>'new_actor_id' = x.v->>'old_actor_id', false) AS confirms
 FROM json_array_elements(plan->'rows') WITH ORDINALITY AS x(v, place) ORDER BY x.place)
{%- endmacro -%}
{%- macro key_json(k) -%}
CASE WHEN {{ k }} ~ '^(0|-?[1-9][0-9]*|".*")$' THEN {{ k }}::json ELSE to_json({{ k }}) END
{%- endmacro -%}
{#- The hash of the prompt that production keeps for the conversation of `r`, see `read_prompt_hashes`. -#}
{%- macro own_prompt() -%}
{%- if prompts -%}
SELECT encode(sha256(convert_to(string_agg(p.line, chr(30) ORDER BY p.line COLLATE "C"), 'UTF8')), 'hex')
                        FROM (SELECT {% for part in prompts.parts -%}
                            {{ " || chr(31) || " if not loop.first }}coalesce(t.{{ part }}::text, '')
                        {%- endfor %} AS line FROM {{ prompts.table }} t WHERE t.{{ prompts.conversation_id }} =
                            CAST(r.conversation_id AS {{ prompts.type }})) AS p
{%- else -%}
NULL::text
{%- endif -%}
{%- endmacro -%}
{%- macro refuse(reason) -%}
RAISE EXCEPTION USING ERRCODE = 'BP001', MESSAGE = '{{ reason }}', DETAIL = json_build_object(
{%- endmacro -%}
-- Applies one stored plan, or refuses it: the only code that writes conversations.actor_id in PostgreSQL.
--
-- Installed by `bench db install`; it runs with the rights of its owner, so that the promoter needs none.
-- The same rules, in the same order, as domain/promoting/rules.py; a test takes both through every refusal.
-- A refusal is SQLSTATE BP001: its message is a key of domain/promoting/refusal.py, its detail holds the facts as
-- JSON. Our own names are qualified; the search path is the owner's, for the triggers of the application.
CREATE OR REPLACE FUNCTION {{ ours }}.benchmark_apply(
    p_plan_hash text, p_account text, p_dagster_run_id text, p_observed json
) RETURNS bigint
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = {{ search_path }}
AS $function$
#variable_conflict use_variable
-- Every column below is qualified: the application may have columns of any name.
DECLARE
    utc CONSTANT text := 'YYYY-MM-DD"T"HH24:MI:SS"+00:00"';
    short CONSTANT text := left(p_plan_hash, 12);
    moment timestamptz;
    stored record;
    plan json;
    kind text;
    terms json;
    known bigint;
    undoing record;
    back boolean := false;
    links integer;
    approved text;
    most bigint;
    allowed json;
    allowed_now json;
    e record;
    run record;
    line record;
    newer record;
    second record;
    was record;
    r record;
    actor record;
    seen json;
    held {{ types.actor_id }};
    why text;
    context text;
    said text;
    n bigint;
    changes integer;
    changed text[] := '{}';
    before json;
    promotion bigint;
BEGIN
    IF current_setting('transaction_isolation') <> 'read committed' THEN
        RAISE EXCEPTION 'benchmark_apply sees what others have committed under READ COMMITTED alone';
    END IF;
    -- It gives way before the server looks for a deadlock, so that it never is the application that is ended.
    PERFORM set_config('lock_timeout', (SELECT greatest(s.setting::integer * 7 / 10, 1)::text FROM pg_catalog.pg_settings s
        WHERE s.name = 'deadlock_timeout'), true);
    -- One promotion at a time, and no freeze in between. These locks need a right on the tables.
    LOCK TABLE {{ ours }}.benchmark_promotions IN SHARE ROW EXCLUSIVE MODE;
    LOCK TABLE {{ ours }}.benchmark_freezes IN SHARE MODE;
    moment := clock_timestamp();

    -- Whether it may be applied at all

    SELECT p.document, p.terms_hash, p.made_at INTO stored FROM {{ ours }}.benchmark_plans p
    WHERE p.plan_hash = p_plan_hash ORDER BY p.plan_id DESC LIMIT 1;
    IF NOT FOUND THEN
        {{ refuse('plan_unknown') }}'plan_hash', p_plan_hash);
    END IF;
    IF encode(sha256(convert_to(stored.document, 'UTF8')), 'hex') <> p_plan_hash THEN
        {{ refuse('plan_altered') }}'plan_hash', p_plan_hash);
    END IF;
    plan := stored.document;
    kind := plan->>'kind';
    terms := plan->'terms';
    why := CASE
        WHEN kind IS NULL OR kind NOT IN ('promotion', 'rollback', 'failover') THEN 'kind'
        WHEN json_typeof(plan->'evidence') IS DISTINCT FROM 'array' THEN 'evidence'
        WHEN json_typeof(terms) IS DISTINCT FROM 'object' THEN 'terms'
        WHEN json_typeof(plan->'rows') IS DISTINCT FROM 'array' THEN 'rows'
    END;
    IF why IS NULL THEN
        SELECT 'terms.' || t.name INTO why FROM (VALUES (1, 'min_gain', 'number'), (3, 'max_rows', 'number'), (4, 'evidence_days', 'number'), (5, 'plan_hours', 'number'),
            (6, 'approval', 'string'), (7, 'approval_hours', 'number'), (8, 'second_person', 'boolean'),
            (9, 'schema_hash', 'string')) AS t(place, name, type)
        WHERE json_typeof(terms->t.name) IS DISTINCT FROM t.type
            OR t.name = 'approval' AND terms->>'approval' NOT IN ('auto', 'required')
        ORDER BY t.place LIMIT 1;
    END IF;
    IF why IS NULL THEN
        SELECT format('rows.%s.decision', x.place - 1) INTO why FROM {{ rows() }} AS x
        WHERE x.decision NOT IN ('promote', 'keep', 'inconclusive', 'invalid') LIMIT 1;
    END IF;
    IF why IS NOT NULL THEN
        {{ refuse('plan_malformed') }}'what', why, 'short', short);
    END IF;

    SELECT p.promotion_id INTO known FROM {{ ours }}.benchmark_promotions p WHERE p.plan_hash = p_plan_hash;
    IF FOUND THEN
        WITH RECURSIVE later AS (
            SELECT p.promotion_id FROM {{ ours }}.benchmark_promotions p WHERE p.undoes = known
            UNION ALL
            SELECT p.promotion_id FROM {{ ours }}.benchmark_promotions p JOIN later ON p.undoes = later.promotion_id
        ) SELECT count(*) INTO links FROM later;
        IF links % 2 = 1 THEN
            {{ refuse('plan_undone') }}
                'reason', (SELECT p.reason FROM {{ ours }}.benchmark_promotions p WHERE p.undoes = known));
        END IF;
        FOR r IN SELECT x.v, x.new_id, c.{{ c.actor_id }} AS holds FROM {{ rows() }} AS x
                 JOIN {{ ours }}.benchmark_promotion_rows l
                    ON l.promotion_id = known AND l.conversation_id = x.conversation_key AND l.changed
                 LEFT JOIN {{ conversations }} c
                    ON c.{{ c.conversation_id }} = CAST(x.conversation_id AS {{ types.conversation_id }})
                 ORDER BY x.place
        LOOP
            IF r.holds IS DISTINCT FROM CAST(r.new_id AS {{ types.actor_id }}) THEN
                held := r.holds;
                {{ refuse('changed_since') }}
                    'promotion_id', known, 'conversation_id', r.v->'conversation_id',
                    'holds', {{ held_json }}, 'planned', r.v->'new_actor_id');
            END IF;
        END LOOP;
        RETURN known;
    END IF;

    IF kind = 'rollback' OR plan->>'undoes' IS NOT NULL THEN
        SELECT p.promotion_id INTO undoing FROM {{ ours }}.benchmark_promotions p
        WHERE p.promotion_id = (plan->>'undoes')::bigint AND kind = 'rollback';
        IF NOT FOUND OR EXISTS (
            (SELECT l.conversation_id, l.new_actor_id, l.old_actor_id FROM {{ ours }}.benchmark_promotion_rows l
             WHERE l.promotion_id = undoing.promotion_id AND l.changed
             EXCEPT SELECT x.conversation_key, x.old_key, x.new_key FROM {{ rows() }} AS x)
            UNION ALL
            (SELECT x.conversation_key, x.old_key, x.new_key FROM {{ rows() }} AS x
             EXCEPT SELECT l.conversation_id, l.new_actor_id, l.old_actor_id
             FROM {{ ours }}.benchmark_promotion_rows l
             WHERE l.promotion_id = undoing.promotion_id AND l.changed)
        ) OR EXISTS (SELECT FROM {{ rows() }} AS x WHERE x.decision IS NOT NULL) THEN
            {{ refuse('not_an_undoing') }}'promotion_id', plan->'undoes');
        END IF;
        SELECT p.reason INTO why FROM {{ ours }}.benchmark_promotions p WHERE p.undoes = undoing.promotion_id;
        IF FOUND THEN
            {{ refuse('undone_already') }}'promotion_id', undoing.promotion_id, 'reason', why);
        END IF;
        -- Undoing a promotion goes back; undoing that goes forward again, and is checked like a promotion.
        WITH RECURSIVE earlier AS (
            SELECT p.undoes FROM {{ ours }}.benchmark_promotions p WHERE p.promotion_id = undoing.promotion_id
            UNION ALL
            SELECT p.undoes FROM {{ ours }}.benchmark_promotions p JOIN earlier ON p.promotion_id = earlier.undoes
        ) SELECT count(*) INTO links FROM earlier;
        back := links % 2 = 1;
    END IF;

    IF kind = 'promotion' AND EXISTS (SELECT FROM {{ rows() }} AS x WHERE x.decision IS NULL) THEN
        {{ refuse('plan_malformed') }}'what', 'rows.decision', 'short', short);
    END IF;
    IF EXISTS (SELECT FROM json_array_elements(plan->'evidence') AS x(v)
            WHERE x.v->'task_terms'->>'task' IS DISTINCT FROM x.v->>'task') THEN
        {{ refuse('plan_malformed') }}'what', 'evidence.task_terms', 'short', short);
    END IF;
    IF terms->>'schema_hash' <> ({{ schema_hash }}) THEN
        {{ refuse('schema_changed') }});
    END IF;

    SELECT count(*) INTO changes FROM {{ rows() }} AS x WHERE x.changes;
    IF changes > 0 THEN
        IF NOT back THEN
            SELECT f.frozen, f.reason, f.set_by, f.account, f.set_at INTO r FROM {{ ours }}.benchmark_freezes f
            ORDER BY f.freeze_id DESC LIMIT 1;
            IF r.frozen THEN
                {{ refuse('frozen') }}'set_by', CASE WHEN coalesce(r.account, '') IN ('', r.set_by) THEN r.set_by
                        ELSE format('%s (account %s)', r.set_by, r.account) END,
                    'reason', r.reason, 'set_at', to_char(r.set_at AT TIME ZONE 'UTC', utc));
            END IF;
        END IF;
        IF stored.made_at > moment THEN
            {{ refuse('in_future') }}
                'what', 'the plan', 'at', to_char(stored.made_at AT TIME ZONE 'UTC', utc));
        END IF;
        IF stored.made_at < moment - make_interval(secs => 3600 * (terms->>'plan_hours')::float8) THEN
            {{ refuse('plan_expired') }}'made_at', to_char(stored.made_at AT TIME ZONE 'UTC', utc),
                'plan_hours', (terms->>'plan_hours')::float8);
        END IF;
        IF terms->>'approval' <> 'auto' THEN
            SELECT a.approved_by INTO r FROM {{ ours }}.benchmark_approvals a
            WHERE a.plan_hash = p_plan_hash ORDER BY a.approval_id DESC LIMIT 1;
            IF NOT FOUND THEN
                {{ refuse('approval_missing') }}'short', short);
            END IF;
            approved := r.approved_by;
            SELECT a.approved_by, a.approved_at INTO r FROM {{ ours }}.benchmark_approvals a
            WHERE a.plan_hash = p_plan_hash AND NOT ((terms->>'second_person')::boolean AND a.approved_by IN (
                SELECT p.requested_by FROM {{ ours }}.benchmark_plans p WHERE p.plan_hash = p_plan_hash))
            ORDER BY a.approval_id DESC LIMIT 1;
            IF NOT FOUND THEN
                {{ refuse('approval_own') }}'approved_by', approved, 'short', short);
            END IF;
            approved := r.approved_by;
            IF r.approved_at > moment THEN
                {{ refuse('in_future') }}
                    'what', 'the approval', 'at', to_char(r.approved_at AT TIME ZONE 'UTC', utc));
            END IF;
            IF r.approved_at < moment - make_interval(secs => 3600 * (terms->>'approval_hours')::float8) THEN
                {{ refuse('approval_expired') }}
                    'approved_by', approved, 'approved_at', to_char(r.approved_at AT TIME ZONE 'UTC', utc),
                    'approval_hours', (terms->>'approval_hours')::float8, 'short', short);
            END IF;
        END IF;
        -- A sum counts only if each task states a limit of its own.
        SELECT least((terms->>'max_rows')::bigint,
            CASE WHEN count(t.planned) = count(*) THEN sum(t.planned) END,
            CASE WHEN count(t.recorded) = count(*) THEN sum(t.recorded) END)
        INTO most FROM (
            SELECT (x.v->'task_terms'->>'max_rows')::bigint AS planned,
                (coalesce(d.terms, x.v->'task_terms')->>'max_rows')::bigint AS recorded
            FROM json_array_elements(plan->'evidence') AS x(v)
            LEFT JOIN LATERAL (SELECT k.document::json AS terms FROM {{ ours }}.benchmark_task_terms k
                WHERE k.task_type = x.v->>'task' ORDER BY k.task_terms_id DESC LIMIT 1) AS d ON true) AS t;
        IF changes > most THEN
            {{ refuse('too_many_rows') }}'rows', changes, 'max_rows', most);
        END IF;
    END IF;

    -- What it rests on

    FOR e IN SELECT x.v->>'task' AS task, x.v->>'benchmark_id' AS benchmark_id, x.v->>'evidence_hash' AS evidence_hash,
            x.v->'task_terms' AS terms FROM json_array_elements(plan->'evidence') AS x(v)
    LOOP
        SELECT b.evidence_hash, b.invalid, b.task, b.suite_hash, b.prompt_hash, b.protocol_hash, b.evidence_key,
            b.started_at, json_array_length(b.suite->'test_cases') AS cases INTO run
        FROM {{ ours }}.benchmark_runs b
        WHERE b.benchmark_id = e.benchmark_id AND b.task_type = e.task FOR SHARE;
        IF NOT FOUND THEN
            {{ refuse('evidence_gone') }}'benchmark_id', e.benchmark_id);
        END IF;
        IF run.evidence_hash IS DISTINCT FROM e.evidence_hash THEN
            {{ refuse('evidence_changed') }}'benchmark_id', e.benchmark_id);
        END IF;
        allowed := e.terms;
        SELECT k.document INTO allowed_now FROM {{ ours }}.benchmark_task_terms k
        WHERE k.task_type = e.task ORDER BY k.task_terms_id DESC LIMIT 1;
        allowed_now := coalesce(allowed_now, allowed);
        FOR r IN SELECT x.* FROM {{ rows() }} AS x WHERE x.task = e.task AND (x.changes OR x.confirms)
        LOOP
            IF r.changes THEN
                IF run.invalid IS NOT NULL THEN
                    {{ refuse('evidence_invalid') }}'benchmark_id', e.benchmark_id, 'reason', run.invalid);
                END IF;
                IF NOT ((run.task->'conversations')::jsonb @> (r.v->'conversation_id')::jsonb
                        AND (allowed->'conversations')::jsonb @> (r.v->'conversation_id')::jsonb
                        AND (allowed_now->'conversations')::jsonb @> (r.v->'conversation_id')::jsonb) THEN
                    {{ refuse('not_listed') }}'conversation_id', r.v->'conversation_id',
                        'conversation', r.conversation, 'task', r.task);
                END IF;
                IF r.v->>'own_prompt' IS DISTINCT FROM ({{ own_prompt() }}) THEN
                    {{ refuse('prompt_changed') }}
                        'conversation_id', r.v->'conversation_id', 'conversation', r.conversation);
                END IF;
                IF kind = 'promotion' THEN
                    IF terms->>'approval' = 'auto'
                            AND NOT ((allowed->'auto')::jsonb @> (r.v->'conversation_id')::jsonb
                                AND (allowed_now->'auto')::jsonb @> (r.v->'conversation_id')::jsonb) THEN
                        {{ refuse('not_marked') }}'conversation_id', r.v->'conversation_id',
                            'conversation', r.conversation, 'task', r.task);
                    END IF;
                    why := CASE WHEN run.suite_hash <> allowed_now->>'suite_hash' THEN 'suite'
                        WHEN run.prompt_hash <> allowed_now->>'prompt_hash' THEN 'prompt' END;
                    IF why IS NOT NULL THEN
                        {{ refuse('task_changed') }}
                            'task', r.task, 'what', why, 'benchmark_id', e.benchmark_id);
                    END IF;
                END IF;
            END IF;

            -- The champion and the runner-up were measured, and every case was right
            FOR second IN SELECT x.actor_key, x.model, x.place FROM (VALUES (1, r.new_key, r.new_actor),
                (2, r.runner_up_key, r.v->>'runner_up')) AS x(place, actor_key, model)
                WHERE x.place = 1 OR x.actor_key IS NOT NULL ORDER BY x.place
            LOOP
                SELECT h.standing, h.correctness_score, h.cases, h.cases_correct, h.model_run_id, m.started_at,
                    m.identity, h.latency_ms INTO was
                FROM {{ ours }}.benchmark_history h
                JOIN {{ ours }}.benchmark_model_runs m ON m.model_run_id = h.model_run_id
                WHERE h.benchmark_run_id = e.benchmark_id AND h.actor_id = second.actor_key FOR SHARE;
                IF NOT FOUND AND second.place = 1 THEN
                    {{ refuse('evidence_gone') }}'benchmark_id', e.benchmark_id);
                END IF;
                why := NULL;
                IF NOT FOUND THEN
                    why := 'it was not measured';
                ELSIF was.standing <> 'qualified' OR was.correctness_score <> 100 OR was.cases_correct <> was.cases THEN
                    why := format('%s, %s/%s correct', was.standing, was.cases_correct, was.cases);
                ELSIF was.cases <> run.cases OR run.cases <> (
                        SELECT count(DISTINCT s.case_id) FROM {{ ours }}.benchmark_samples s
                        WHERE s.model_run_id = was.model_run_id AND s.outcome = 'correct')
                    OR EXISTS (SELECT FROM {{ ours }}.benchmark_samples s
                        WHERE s.model_run_id = was.model_run_id AND s.outcome IN ('wrong', 'invalid'))
                THEN
                    why := 'its samples do not show every case right';
                ELSIF second.place = 1 AND was.latency_ms IS DISTINCT FROM r.latency_ms THEN
                    why := 'the plan states another latency than was measured';
                END IF;
                IF why IS NOT NULL THEN
                    {{ refuse('not_qualified') }}
                        'model', second.model, 'benchmark_id', e.benchmark_id, 'why', why);
                END IF;
                IF second.place = 1 THEN
                    line := was;
                END IF;
            END LOOP;
            CONTINUE WHEN NOT r.changes;
            IF line.started_at > moment THEN
                {{ refuse('in_future') }}
                    'what', 'the measurement', 'at', to_char(line.started_at AT TIME ZONE 'UTC', utc));
            END IF;
            IF line.started_at < moment - make_interval(secs => 86400 * (terms->>'evidence_days')::float8) THEN
                {{ refuse('evidence_old') }}
                    'model', r.new_actor, 'measured_at', to_char(line.started_at AT TIME ZONE 'UTC', utc),
                    'evidence_days', (terms->>'evidence_days')::float8);
            END IF;

            -- What happened since: a bar, another champion, a newer benchmark
            FOR was IN SELECT p.promotion_id, p.kind, p.bar, p.undoes, p.reason, l.evidence_hash, l.benchmark_id
                FROM {{ ours }}.benchmark_promotions p
                JOIN {{ ours }}.benchmark_promotion_rows l ON l.promotion_id = coalesce(p.undoes, p.promotion_id)
                WHERE p.bar IS NOT NULL AND l.conversation_id = r.conversation_key
                    AND CASE WHEN p.kind = 'failover' THEN l.old_actor_id ELSE l.new_actor_id END = r.new_key
                ORDER BY p.promotion_id DESC
            LOOP
                WITH RECURSIVE later AS (
                    SELECT p.promotion_id FROM {{ ours }}.benchmark_promotions p WHERE p.undoes = was.promotion_id
                    UNION ALL
                    SELECT p.promotion_id FROM {{ ours }}.benchmark_promotions p
                    JOIN later ON p.undoes = later.promotion_id
                ) SELECT count(*) INTO links FROM later;
                CONTINUE WHEN links % 2 = 1;
                IF was.evidence_hash IS NOT DISTINCT FROM e.evidence_hash OR was.bar = 'evidence' AND EXISTS (
                    SELECT FROM {{ ours }}.benchmark_runs b
                    JOIN {{ ours }}.benchmark_history h ON h.benchmark_run_id = b.benchmark_id AND h.actor_id = r.new_key
                    JOIN {{ ours }}.benchmark_model_runs m ON m.model_run_id = h.model_run_id
                    WHERE b.benchmark_id = was.benchmark_id AND b.evidence_key = run.evidence_key
                        AND jsonb_strip_nulls(m.identity::jsonb) = jsonb_strip_nulls(line.identity::jsonb))
                THEN
                    {{ refuse('barred') }}
                        'actor', r.new_actor, 'conversation_id', r.v->'conversation_id',
                        'promotion_id', was.promotion_id, 'why', CASE WHEN was.undoes IS NULL
                            THEN format('failover %s replaced it (%s)', was.promotion_id, was.reason)
                            ELSE format('promotion %s did this and was undone (%s)', was.undoes, was.reason) END);
                END IF;
            END LOOP;
            IF kind = 'failover' THEN
                IF NOT EXISTS (SELECT FROM {{ ours }}.benchmark_champions k
                        WHERE k.conversation_id = r.conversation_key AND k.champion_actor_id = r.old_key
                            AND k.runner_up_actor_id = r.new_key AND k.benchmark_id = e.benchmark_id) THEN
                    {{ refuse('not_a_failover') }}
                        'conversation_id', r.v->'conversation_id', 'conversation', r.conversation);
                END IF;
                CONTINUE;
            END IF;
            -- The latest newer benchmark that says something about this row: it must not disagree
            SELECT b.benchmark_id, h.standing, h.latency_ms, o.standing AS old_standing,
                o.latency_ms AS old_latency_ms, coalesce(o.standing = 'qualified' AND o.final_passes > 0, false) AS met
            INTO newer
            FROM {{ ours }}.benchmark_runs b
            JOIN {{ ours }}.benchmark_history h ON h.benchmark_run_id = b.benchmark_id AND h.actor_id = r.new_key
            LEFT JOIN {{ ours }}.benchmark_history o ON o.benchmark_run_id = b.benchmark_id AND o.actor_id = r.old_key
            WHERE b.task_type = e.task AND b.suite_hash = run.suite_hash AND b.prompt_hash = run.prompt_hash
                AND b.purpose = 'benchmark' AND b.status = 'finished' AND b.invalid IS NULL
                AND b.started_at > run.started_at
                AND (h.standing = 'disqualified' OR b.protocol_hash = run.protocol_hash AND h.standing = 'qualified'
                    AND (r.old_key IS NULL OR coalesce(o.standing, 'inconclusive') <> 'inconclusive'))
            ORDER BY b.started_at DESC, b.benchmark_id LIMIT 1;
            IF FOUND AND (newer.standing <> 'qualified'
                OR r.new_key IS DISTINCT FROM (SELECT h.actor_id FROM {{ ours }}.benchmark_history h
                    WHERE h.benchmark_run_id = newer.benchmark_id AND h.rank IS NOT NULL AND h.actor_id IS NOT NULL
                    ORDER BY newer.met AND h.final_passes = 0, h.rank LIMIT 1)
                OR newer.old_standing = 'qualified' AND NOT coalesce(newer.latency_ms < newer.old_latency_ms, false))
            THEN
                {{ refuse('plan_outdated') }}
                    'task', e.task, 'planned_id', e.benchmark_id, 'newer_id', newer.benchmark_id,
                    'conversation_id', r.v->'conversation_id', 'conversation', r.conversation);
            END IF;
        END LOOP;
    END LOOP;

    -- The rows. A conversation is locked before its actor, in the order in which an application's UPDATE takes them.

    BEGIN
        FOR r IN SELECT x.* FROM {{ rows() }} AS x WHERE x.changes
        LOOP
            IF kind <> 'rollback' AND NOT EXISTS (
                SELECT FROM json_array_elements(plan->'evidence') AS x(v) WHERE x.v->>'task' = r.task)
            THEN
                {{ refuse('no_evidence') }}'task', r.task);
            END IF;
            n := 0;
            FOR links IN 1..2 LOOP
                IF links = 2 THEN
                    SELECT count(*) INTO n FROM {{ conversations }} c
                    WHERE c.{{ c.conversation_id }} = CAST(r.conversation_id AS {{ types.conversation_id }});
                    IF n > 1 THEN
                        {{ refuse('conversation_ambiguous') }}'conversation_id', r.v->'conversation_id',
                            'conversation', r.conversation, 'rows', n);
                    END IF;
                    UPDATE {{ conversations }} c SET {{ c.actor_id }} = CAST(r.new_id AS {{ types.actor_id }})
                    WHERE c.{{ c.conversation_id }} = CAST(r.conversation_id AS {{ types.conversation_id }})
                        AND c.{{ c.actor_id }} IS NOT DISTINCT FROM CAST(r.old_id AS {{ types.actor_id }});
                    GET DIAGNOSTICS n = ROW_COUNT;
                    -- The lock waits for a transaction that is about to disable the actor, and keeps it until the commit.
                    PERFORM FROM {{ actors }} a
                    WHERE a.{{ a.actor_id }} = CAST(r.new_id AS {{ types.key }}) FOR SHARE;
                END IF;
                CONTINUE WHEN r.new_id IS NULL;
                SELECT {{ is_model }} AS is_model, {{ enabled }} AS enabled,
                    coalesce(a.{{ a.execution_path }}, '') AS path INTO actor
                FROM {{ actors }} a WHERE a.{{ a.actor_id }} = CAST(r.new_id AS {{ types.key }});
                IF NOT FOUND AND back THEN
                    n := -1;
                    EXIT;
                ELSIF NOT FOUND THEN
                    {{ refuse('actor_gone') }}'actor_id', r.v->'new_actor_id', 'actor', r.new_actor);
                ELSIF NOT back AND NOT actor.is_model THEN
                    {{ refuse('actor_type') }}'actor', r.new_actor);
                ELSIF NOT back AND NOT actor.enabled THEN
                    {{ refuse('actor_disabled') }}'actor', r.new_actor);
                ELSIF kind <> 'rollback' THEN
                    SELECT x.value INTO seen FROM json_array_elements(p_observed) AS x(value)
                    WHERE x.value->>'actor_id' = r.new_id;
                    IF seen->>'execution_path' IS DISTINCT FROM actor.path THEN
                        {{ refuse('actor_moved') }}'actor', r.new_actor, 'path', actor.path);
                    ELSIF r.v->>'identity_hash' IS NULL
                            OR seen->>'identity_hash' IS DISTINCT FROM r.v->>'identity_hash' THEN
                        {{ refuse('identity_changed') }}'actor', r.new_actor, 'why', 'its identity differs');
                    END IF;
                END IF;
            END LOOP;
            IF n = 1 THEN
                changed := changed || r.conversation_key;
            ELSIF n >= 0 THEN
                SELECT c.{{ c.actor_id }} INTO held FROM {{ conversations }} c
                WHERE c.{{ c.conversation_id }} = CAST(r.conversation_id AS {{ types.conversation_id }});
                IF held = CAST(r.old_id AS {{ types.actor_id }}) THEN
                    SELECT string_agg(s.suspect, ', ' ORDER BY s.suspect) INTO why FROM (
                        SELECT 'trigger ' || t.tgname AS suspect FROM pg_catalog.pg_trigger t
                        WHERE t.tgrelid = {{ conversations_oid }} AND NOT t.tgisinternal
                        UNION ALL SELECT 'policy ' || p.polname FROM pg_catalog.pg_policy p
                        WHERE p.polrelid = {{ conversations_oid }}) AS s;
                    {{ refuse('update_ignored') }}'conversation_id', r.v->'conversation_id',
                        'conversation', r.conversation, 'holds', {{ held_json }},
                        'suspects', coalesce(why, 'the rules and policies of that table'));
                ELSIF kind <> 'rollback' OR n > 1 THEN
                    {{ refuse('conversation_changed') }}'conversation_id', r.v->'conversation_id',
                        'conversation', r.conversation, 'planned', r.v->'old_actor_id',
                        'planned_name', r.v->>'old_actor', 'holds', {{ held_json }});
                END IF;
            END IF;
        END LOOP;
        -- What the application defers to the commit happens now, so that its effect is seen.
        SET CONSTRAINTS ALL IMMEDIATE;
    EXCEPTION
        WHEN SQLSTATE 'BP001' OR lock_not_available OR deadlock_detected OR serialization_failure OR query_canceled
            OR admin_shutdown THEN
            RAISE;
        WHEN OTHERS THEN
            GET STACKED DIAGNOSTICS said = MESSAGE_TEXT, context = PG_EXCEPTION_CONTEXT;
            SELECT string_agg(t.tgname, ', ' ORDER BY t.tgname) INTO why FROM pg_catalog.pg_trigger t
            JOIN pg_catalog.pg_proc f ON f.oid = t.tgfoid
            WHERE NOT t.tgisinternal AND position(f.proname || '(' IN context) > 0;
            IF why IS NOT NULL THEN
                {{ refuse('trigger_failed') }}'triggers', why, 'error', said);
            ELSIF SQLSTATE LIKE '42%' THEN
                RAISE;  -- a name of ours is not there: the installation is older than the tables
            END IF;
            {{ refuse('constraint') }}'error', said);
    END;
    FOR r IN SELECT x.*, c.{{ c.actor_id }} AS holds FROM {{ rows() }} AS x
        LEFT JOIN {{ conversations }} c
            ON c.{{ c.conversation_id }} = CAST(x.conversation_id AS {{ types.conversation_id }})
        WHERE x.conversation_key = ANY (changed)
    LOOP
        IF r.holds IS DISTINCT FROM CAST(r.new_id AS {{ types.actor_id }}) THEN
            held := r.holds;
            {{ refuse('not_as_written') }}'conversation_id', r.v->'conversation_id',
                'holds', {{ held_json }}, 'planned', r.v->'new_actor_id');
        END IF;
    END LOOP;

    -- What is written beside: the audit, the registry, and the intent to write the documents

    IF changes > 0 THEN
        INSERT INTO {{ ours }}.benchmark_promotions (kind, plan_hash, terms_hash, plan, undoes, bar, reason,
            requested_by, account, approved_by, dagster_run_id, applied_at)
        VALUES (kind, p_plan_hash, stored.terms_hash, plan, (plan->>'undoes')::bigint, plan->>'bar',
            coalesce(plan->>'reason', ''), session_user, p_account, approved, p_dagster_run_id, moment)
        RETURNING promotion_id INTO promotion;
        INSERT INTO {{ ours }}.benchmark_intents (promotion_id, made_at) VALUES (promotion, moment);
    END IF;
    FOR r IN SELECT x.* FROM {{ rows() }} AS x
    LOOP
        SELECT x.v->>'benchmark_id' AS benchmark_id, x.v->>'evidence_hash' AS evidence_hash INTO e
        FROM json_array_elements(plan->'evidence') AS x(v) WHERE x.v->>'task' = r.task;
        SELECT json_build_object('conversation_id', r.v->'conversation_id', 'task_type', k.task_type,
                'champion_actor_id', {{ key_json('k.champion_actor_id') }},
                'runner_up_actor_id', {{ key_json('k.runner_up_actor_id') }},
                'benchmark_id', k.benchmark_id, 'avg_latency_ms', k.avg_latency_ms,
                'decided_at', to_char(k.decided_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"+00:00"'))
            INTO before FROM {{ ours }}.benchmark_champions k WHERE k.conversation_id = r.conversation_key;
        IF r.changes THEN
            INSERT INTO {{ ours }}.benchmark_promotion_rows (promotion_id, conversation_id, task_type, benchmark_id,
                evidence_hash, conversation, old_actor_id, old_actor, new_actor_id, new_actor, identity_hash,
                runner_up_actor_id, expected_gain, reason, changed, old_champion)
            VALUES (promotion, r.conversation_key, r.task, e.benchmark_id, e.evidence_hash, r.conversation,
                r.old_key, r.v->>'old_actor', r.new_key, r.new_actor, r.v->>'identity_hash', r.runner_up_key,
                (r.v->>'gain')::float8, r.v->>'reason', r.conversation_key = ANY (changed), before);
        END IF;
        IF kind = 'rollback' THEN
            CONTINUE WHEN NOT r.conversation_key = ANY (changed);
            DELETE FROM {{ ours }}.benchmark_champions k WHERE k.conversation_id = r.conversation_key;
            INSERT INTO {{ ours }}.benchmark_champions (conversation_id, task_type, champion_actor_id,
                runner_up_actor_id, benchmark_id, avg_latency_ms, decided_at)
            SELECT r.conversation_key, o->>'task_type', {{ key("(o->'champion_actor_id')") }},
                {{ key("(o->'runner_up_actor_id')") }}, o->>'benchmark_id', (o->>'avg_latency_ms')::float8,
                (o->>'decided_at')::timestamptz
            FROM (SELECT l.old_champion FROM {{ ours }}.benchmark_promotion_rows l
                  WHERE l.promotion_id = undoing.promotion_id AND l.conversation_id = r.conversation_key
                      AND json_typeof(l.old_champion) = 'object') AS was(o);
        ELSIF r.conversation_key = ANY (changed) OR r.confirms AND e.benchmark_id IS NOT NULL THEN
            INSERT INTO {{ ours }}.benchmark_champions AS k (conversation_id, task_type, champion_actor_id,
                runner_up_actor_id, benchmark_id, avg_latency_ms, decided_at)
            VALUES (r.conversation_key, r.task, r.new_key, r.runner_up_key, e.benchmark_id, r.latency_ms, moment)
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
EXCEPTION
    WHEN lock_not_available THEN
        -- The oldest transaction that holds more than a reading lock on one of the tables is the likely one.
        SELECT format(' (process %s of %s%s)', s.pid, coalesce(s.usename, 'the server'),
            coalesce(format(', whose query began %s s ago', round(extract(epoch FROM moment - s.query_start))), ''))
        INTO why FROM pg_catalog.pg_locks l JOIN pg_catalog.pg_stat_activity s ON s.pid = l.pid
        WHERE l.granted AND l.mode <> 'AccessShareLock' AND l.pid <> pg_backend_pid() AND l.relation IN (
            {{ conversations_oid }}, {{ actors_oid }}, {{ promotions_oid }}, {{ freezes_oid }})
        ORDER BY s.xact_start LIMIT 1;
        {{ refuse('busy') }}'seconds', 0, 'blockers', coalesce(why, ''));
END
$function$;
