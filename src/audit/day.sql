-- audit/day.sql: the audit log has a partition a day (UTC). The worker makes them ahead, and drops those whose records
-- have been kept as long as was promised.

-- Of this server, and so in no dump: since when its clock goes on without a leap.
CREATE TABLE keypup.audit_clock (
  only_row boolean NOT NULL DEFAULT true PRIMARY KEY CHECK (only_row),
  steady_since timestamptz NOT NULL,
  seen_at timestamptz NOT NULL,
  seals bigint NOT NULL DEFAULT 0,
  blocked_since timestamptz
);
COMMENT ON TABLE keypup.audit_clock IS
  'Since when the clock goes on without a leap, as the worker sees it each minute. Nothing is dropped before that is '
  'an hour. Who seals records locks its row. Granted to nobody.';
COMMENT ON COLUMN keypup.audit_clock.only_row IS 'There is one row.';
COMMENT ON COLUMN keypup.audit_clock.steady_since IS 'The clock has not leapt since then.';
COMMENT ON COLUMN keypup.audit_clock.seen_at IS 'When the worker last looked at it.';
COMMENT ON COLUMN keypup.audit_clock.seals IS 'How many times records were sealed: what follows on that looks at it.';
COMMENT ON COLUMN keypup.audit_clock.blocked_since IS
  'Since when days could not be made or dropped, as somebody reads the log in an open transaction; NULL: they could.';
SELECT keypup.close_table('keypup.audit_clock');

-- It outlives the account.
CREATE TABLE keypup.audit_holds (
  account_id uuid NOT NULL PRIMARY KEY,
  reason text NOT NULL CHECK (length(reason) BETWEEN 10 AND 1000),
  held_by text NOT NULL,
  held_at timestamptz NOT NULL DEFAULT now()
);
COMMENT ON TABLE keypup.audit_holds IS 'Accounts whose audit log is kept until further notice: legal holds.';
COMMENT ON COLUMN keypup.audit_holds.reason IS 'Why.';
COMMENT ON COLUMN keypup.audit_holds.held_by IS 'Who has set it.';
COMMENT ON COLUMN keypup.audit_holds.held_at IS 'When.';
SELECT keypup.protect_table('keypup.audit_holds', 'audit.read');
REVOKE ALL ON keypup.audit_holds FROM keypup_worker;

CREATE FUNCTION keypup.hold_audit_log(account text, reason text) RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  the_account uuid;
BEGIN
  PERFORM keypup.guard_writes();
  SELECT a.account_id INTO the_account FROM keypup.accounts a WHERE a.name = account OR a.account_id::text = account;
  -- One that was dropped has its log still.
  IF the_account IS NULL THEN
    SELECT l.account_id INTO the_account FROM keypup.audit_log l
    WHERE l.account_id = CASE WHEN account ~ '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$' THEN account::uuid END
    LIMIT 1;
  END IF;
  IF the_account IS NULL THEN
    RAISE EXCEPTION 'account "%" does not exist', account USING ERRCODE = 'undefined_object',
      HINT = 'Of an account that was dropped, give the account_id of its audit log.';
  END IF;
  IF reason IS NULL THEN
    DELETE FROM keypup.audit_holds h WHERE h.account_id = the_account;
    PERFORM keypup.record_action(the_account, 'audit.release', NULL::text);
    RETURN;
  ELSIF length(reason) NOT BETWEEN 10 AND 1000 THEN
    RAISE EXCEPTION 'a reason has 10 to 1000 characters' USING ERRCODE = 'invalid_parameter_value',
      HINT = 'Say what the records are held for; NULL ends the hold.';
  END IF;
  INSERT INTO keypup.audit_holds (account_id, reason, held_by)
  VALUES (the_account, hold_audit_log.reason, coalesce(keypup.current_user_name(), session_user))
  ON CONFLICT (account_id) DO UPDATE SET reason = EXCLUDED.reason, held_by = EXCLUDED.held_by, held_at = now();
  PERFORM keypup.record_action(the_account, 'audit.hold', left(reason, 500));
END
$$;
REVOKE ALL ON FUNCTION keypup.hold_audit_log(text, text) FROM PUBLIC;
COMMENT ON FUNCTION keypup.hold_audit_log(text, text) IS
  'Keeps the account''s audit log until further notice (a legal hold), whatever keypup.audit_retention says; reason '
  'NULL ends that. An account that was dropped is named by its account_id. For operators: granted to nobody.';

CREATE FUNCTION keypup.audit_days(OUT day date, OUT partition regclass) RETURNS SETOF record
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
  SELECT to_date(right(c.relname, 8), 'YYYYMMDD'), c.oid::regclass
  FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
  WHERE i.inhparent = 'keypup.audit_log'::regclass AND c.relname ~ '^audit_log_\d{8}$'
$$;
REVOKE ALL ON FUNCTION keypup.audit_days() FROM PUBLIC;
COMMENT ON FUNCTION keypup.audit_days() IS 'The days that have a partition of the audit log.';

CREATE FUNCTION keypup.make_audit_day(day date) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp SET client_min_messages = error
AS $$
DECLARE
  partition text := 'audit_log_' || to_char(day, 'YYYYMMDD');
  first_id bigint := keypup.record_id_at(day::timestamp AT TIME ZONE 'UTC');
  end_id bigint := keypup.record_id_at((day + 1)::timestamp AT TIME ZONE 'UTC');
BEGIN
  EXECUTE format('CREATE TABLE keypup.%I (LIKE keypup.audit_log_other INCLUDING DEFAULTS INCLUDING CONSTRAINTS '
    'INCLUDING INDEXES)', partition);
  EXECUTE format('COMMENT ON TABLE keypup.%I IS ''Records of one day. Read audit_log.''', partition);
  PERFORM keypup.close_table(format('keypup.%I', partition)::regclass);
  -- What came before its partition goes there.
  EXECUTE format('WITH moved AS (DELETE FROM keypup.audit_log_other o WHERE o.record_id >= %s AND o.record_id < %s '
    'RETURNING o.*) INSERT INTO keypup.%I SELECT m.* FROM moved m', first_id, end_id, partition);
  EXECUTE format('ALTER TABLE keypup.audit_log ATTACH PARTITION keypup.%I FOR VALUES FROM (%s) TO (%s)', partition,
    first_id, end_id);
END
$$;
REVOKE ALL ON FUNCTION keypup.make_audit_day(date) FROM PUBLIC;
COMMENT ON FUNCTION keypup.make_audit_day(date) IS
  'Makes the partition of a day, with what there is of it already. The caller has locked audit_log.';

CREATE FUNCTION keypup.make_audit_days() RETURNS bigint
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  today date := (now() AT TIME ZONE 'UTC')::date;
  missing date[];
BEGIN
  -- Where a dump is being restored, the partitions that it had are made before any record is there.
  IF NOT EXISTS (SELECT FROM keypup.audit_log) THEN
    RETURN 0;
  END IF;
  missing := ARRAY(
    SELECT w.day FROM (
      SELECT today + ahead AS day FROM generate_series(0, 3) AS ahead
      UNION
      SELECT (timestamp '2000-01-01' + o.record_id / 86400000000 * interval '1 day')::date
      FROM keypup.audit_log_other o) w
    WHERE NOT EXISTS (SELECT FROM keypup.audit_days() d WHERE d.day = w.day)
      AND to_regclass('keypup.audit_log_' || to_char(w.day, 'YYYYMMDD')) IS NULL
    ORDER BY w.day LIMIT 10);
  IF cardinality(missing) = 0 THEN
    RETURN 0;
  END IF;
  -- The whole, not only what records are moved out of: who has planned without the new partitions and waits for that
  -- one would read it when they are gone from there.
  LOCK TABLE keypup.audit_log IN ACCESS EXCLUSIVE MODE;
  PERFORM keypup.make_audit_day(m.day) FROM unnest(missing) AS m (day);
  RETURN cardinality(missing);
END
$$;
REVOKE ALL ON FUNCTION keypup.make_audit_days() FROM PUBLIC;
COMMENT ON FUNCTION keypup.make_audit_days() IS
  'Makes the partitions of the days that have records, and of today and the three days that follow.';

CREATE FUNCTION keypup.clock_is_steady() RETURNS boolean
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  is_steady boolean;
BEGIN
  INSERT INTO keypup.audit_clock AS c (steady_since, seen_at) VALUES (clock_timestamp(), clock_timestamp())
  ON CONFLICT (only_row) DO UPDATE SET seen_at = EXCLUDED.seen_at,
    steady_since = CASE WHEN EXCLUDED.seen_at BETWEEN c.seen_at AND c.seen_at + interval '10 minutes'
      THEN c.steady_since ELSE EXCLUDED.seen_at END
  RETURNING c.seen_at - c.steady_since >= interval '1 hour' INTO is_steady;
  RETURN is_steady;
END
$$;
REVOKE ALL ON FUNCTION keypup.clock_is_steady() FROM PUBLIC;
COMMENT ON FUNCTION keypup.clock_is_steady() IS
  'Whether the clock has gone on for an hour without a leap: of more than ten minutes from one minute to the next, or '
  'back. A server that was down begins anew.';

CREATE FUNCTION keypup.expire_audit_day(day date, partition regclass) RETURNS boolean
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  -- Looked up once: it must be the same throughout.
  kept uuid[] := keypup.kept_accounts(partition);
  expired bigint;
  held bigint;
BEGIN
  EXECUTE format('SELECT count(*) FILTER (WHERE l.account_id <> ALL ($1)), count(*) FILTER (WHERE l.account_id = ANY '
    '($1)) FROM %s l', partition) INTO expired, held USING kept;
  IF held > 0 AND expired = 0 THEN
    RETURN false;
  END IF;
  PERFORM keypup.keep_audit_boundaries(partition, kept);
  IF held > 0 THEN
    EXECUTE format('DELETE FROM %s l WHERE l.account_id <> ALL ($1)', partition) USING kept;
  ELSE
    EXECUTE format('DROP TABLE %s', partition);
  END IF;
  IF expired > 0 THEN
    PERFORM keypup.record_work(NULL::uuid, 'audit.expire',
      format('%s: %s records, %s are held', day, expired, held));
  END IF;
  RETURN true;
END
$$;
REVOKE ALL ON FUNCTION keypup.expire_audit_day(date, regclass) FROM PUBLIC;
COMMENT ON FUNCTION keypup.expire_audit_day(date, regclass) IS
  'Drops the records of a day: its partition, or where there is a legal hold, or records that are not yet forwarded, '
  'what belongs to other accounts. Returns whether there was any.';

CREATE FUNCTION keypup.expire_audit_log() RETURNS bigint
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  expired record;
  how_many bigint := 0;
BEGIN
  FOR expired IN
    SELECT d.day, d.partition FROM keypup.audit_days() d
    WHERE (d.day + 1)::timestamp AT TIME ZONE 'UTC' <= now() - current_setting('keypup.audit_retention')::interval
    ORDER BY d.day
  LOOP
    EXIT WHEN how_many = 10;
    -- Days that are kept are in no other's way.
    IF keypup.expire_audit_day(expired.day, expired.partition) THEN
      how_many := how_many + 1;
    END IF;
  END LOOP;
  RETURN how_many;
END
$$;
REVOKE ALL ON FUNCTION keypup.expire_audit_log() FROM PUBLIC;
COMMENT ON FUNCTION keypup.expire_audit_log() IS
  'Drops the days of the audit log that are older than keypup.audit_retention.';

-- Whoever holds a lock that is needed is not waited for: it is done another minute.
CREATE FUNCTION keypup.keep_audit_days() RETURNS bigint
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET lock_timeout = '100ms'
AS $$
DECLARE
  how_many bigint := 0;
  is_blocked boolean := false;
BEGIN
  PERFORM keypup.record_settings();
  BEGIN
    how_many := keypup.make_audit_days();
  EXCEPTION WHEN lock_not_available OR deadlock_detected THEN is_blocked := true;
  END;
  IF keypup.clock_is_steady() THEN
    BEGIN
      how_many := how_many + keypup.expire_audit_log();
    EXCEPTION WHEN lock_not_available OR deadlock_detected THEN is_blocked := true;
    END;
  END IF;
  UPDATE keypup.audit_clock SET blocked_since = CASE WHEN is_blocked THEN clock_timestamp() END
  WHERE (blocked_since IS NOT NULL) <> is_blocked;
  RETURN how_many;
END
$$;
REVOKE ALL ON FUNCTION keypup.keep_audit_days() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION keypup.keep_audit_days() TO keypup_worker;
COMMENT ON FUNCTION keypup.keep_audit_days() IS
  'Makes the partitions of the audit log that are needed, drops those that have expired, and records what has changed '
  'in the settings. For the worker, each minute.';
