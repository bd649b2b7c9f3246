-- audit/gap.sql: what is lost on its way into the audit log is counted there. gap.c says where it is known from.

-- One for each that was lost while keypup was not preloaded.
CREATE SEQUENCE keypup.audit_losses;
REVOKE ALL ON SEQUENCE keypup.audit_losses FROM PUBLIC;

CREATE TABLE keypup.audit_gaps (
  only_row boolean NOT NULL DEFAULT true PRIMARY KEY CHECK (only_row),
  memory_started_at timestamptz NOT NULL,
  recorded bigint NOT NULL DEFAULT 0,
  recorded_at timestamptz,
  recorded_unloaded bigint NOT NULL DEFAULT 0
);
COMMENT ON TABLE keypup.audit_gaps IS
  'What the audit log says already of what it has lost. Of this server, and so in no dump. Granted to nobody.';
COMMENT ON COLUMN keypup.audit_gaps.only_row IS 'There is one row.';
COMMENT ON COLUMN keypup.audit_gaps.memory_started_at IS
  'Since when the server has the shared memory that was looked at.';
COMMENT ON COLUMN keypup.audit_gaps.recorded IS 'How many for want of room since then.';
COMMENT ON COLUMN keypup.audit_gaps.recorded_at IS 'When the last of these was lost.';
COMMENT ON COLUMN keypup.audit_gaps.recorded_unloaded IS 'How many while keypup was not preloaded.';
SELECT keypup.close_table('keypup.audit_gaps');

CREATE FUNCTION keypup.lost_notes(OUT started_at timestamptz, OUT lost_by text, OUT times bigint,
  OUT first_at timestamptz, OUT last_at timestamptz)
LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'keypup_lost_notes';
REVOKE ALL ON FUNCTION keypup.lost_notes() FROM PUBLIC;
COMMENT ON FUNCTION keypup.lost_notes() IS
  'Since when the server has its shared memory, what may have been lost before (NULL: nothing), and how many notes of '
  'this database have found no room since.';

CREATE FUNCTION keypup.record_gap(times bigint, first_at timestamptz, last_at timestamptz, why text) RETURNS void
LANGUAGE sql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$
  SELECT keypup.record_note(NULL::uuid, first_at, last_at, times, 'audit.gap', 'done', 'worker', 'worker', NULL::text,
    session_user::text, NULL::text, nullif(current_setting('application_name'), ''), why, NULL::bytea)
$$;
REVOKE ALL ON FUNCTION keypup.record_gap(bigint, timestamptz, timestamptz, text) FROM PUBLIC;
COMMENT ON FUNCTION keypup.record_gap(bigint, timestamptz, timestamptz, text) IS
  'Records that so many records were lost.';

CREATE FUNCTION keypup.record_audit_gaps() RETURNS bigint
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET lock_timeout = '100ms'
AS $$
DECLARE
  lost record;
  known keypup.audit_gaps;
  unloaded bigint;
BEGIN
  SELECT n.* INTO lost FROM keypup.lost_notes() n;
  INSERT INTO keypup.audit_gaps (memory_started_at) VALUES (lost.started_at) ON CONFLICT DO NOTHING;
  SELECT g.* INTO known FROM keypup.audit_gaps g FOR NO KEY UPDATE SKIP LOCKED;
  IF NOT FOUND THEN
    RETURN 0;
  END IF;
  IF known.memory_started_at <> lost.started_at THEN
    IF lost.lost_by IS NOT NULL THEN
      PERFORM keypup.record_gap(1::bigint, lost.started_at::timestamptz, lost.started_at::timestamptz,
        lost.lost_by || ': not known how many');
    END IF;
    known.recorded := 0;
    known.recorded_at := NULL;
  END IF;
  IF lost.times > known.recorded THEN
    PERFORM keypup.record_gap(lost.times - known.recorded,
      coalesce(known.recorded_at, lost.first_at::timestamptz), lost.last_at::timestamptz,
      'no room was left: the server''s log has them');
  END IF;
  SELECT CASE WHEN s.is_called THEN s.last_value ELSE 0 END INTO unloaded FROM keypup.audit_losses s;
  IF unloaded > known.recorded_unloaded THEN
    PERFORM keypup.record_gap(unloaded - known.recorded_unloaded, now(), now(),
      'keypup was not preloaded: the server''s log has them');
  END IF;
  UPDATE keypup.audit_gaps SET memory_started_at = lost.started_at, recorded = lost.times,
    recorded_at = coalesce(lost.last_at, known.recorded_at), recorded_unloaded = unloaded
  WHERE (memory_started_at, recorded, recorded_unloaded) IS DISTINCT FROM (lost.started_at, lost.times, unloaded);
  RETURN lost.times - known.recorded + unloaded - known.recorded_unloaded;
END
$$;
REVOKE ALL ON FUNCTION keypup.record_audit_gaps() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION keypup.record_audit_gaps() TO keypup_worker;
COMMENT ON FUNCTION keypup.record_audit_gaps() IS
  'Records how much was lost on its way into the audit log since it was called last. For the worker, each minute. '
  'Returns how many.';
