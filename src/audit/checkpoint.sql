-- audit/checkpoint.sql: signed checkpoints, which show what the database held at a time: also when its tables are put
-- back to an earlier state as a whole. checkpoint.c has what is in one.

-- The leaves of the tree: it only grows, by the accounts that have new seals.
CREATE TABLE keypup.audit_checkpoint_heads (
  account_id uuid NOT NULL,
  leaf bigint NOT NULL UNIQUE,
  sequence bigint NOT NULL,
  seal bytea NOT NULL CHECK (octet_length(seal) = 32),
  PRIMARY KEY (account_id, leaf)
);
COMMENT ON TABLE keypup.audit_checkpoint_heads IS
  'Where chains of the audit log ended when a checkpoint was written: the leaves of its tree. Granted to nobody.';
COMMENT ON COLUMN keypup.audit_checkpoint_heads.account_id IS 'The account.';
COMMENT ON COLUMN keypup.audit_checkpoint_heads.leaf IS
  'Place in the tree, from 0. A checkpoint has those below its tree_size.';
COMMENT ON COLUMN keypup.audit_checkpoint_heads.sequence IS 'Number of the account''s last sealed record.';
COMMENT ON COLUMN keypup.audit_checkpoint_heads.seal IS 'Seal of that record.';
SELECT keypup.close_table('keypup.audit_checkpoint_heads');

CREATE TABLE keypup.audit_checkpoints (
  tree_size bigint NOT NULL PRIMARY KEY,
  created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  note text NOT NULL,
  verifier_key text NOT NULL,
  key_id integer NOT NULL,
  subtrees bytea NOT NULL
);
COMMENT ON TABLE keypup.audit_checkpoints IS
  'Signed checkpoints of the audit log; each is kept as long as its record (audit.checkpoint). For operators: granted '
  'to nobody, as its sizes tell how many accounts do something.';
COMMENT ON COLUMN keypup.audit_checkpoints.tree_size IS 'How many leaves its tree has.';
COMMENT ON COLUMN keypup.audit_checkpoints.created_at IS 'When.';
COMMENT ON COLUMN keypup.audit_checkpoints.note IS
  'The checkpoint: a signed note (c2sp.org/tlog-checkpoint). Keep it elsewhere, and give it to verify_audit.';
COMMENT ON COLUMN keypup.audit_checkpoints.verifier_key IS
  'What checks its signature, in any tool for signed notes: NAME+ID+KEY.';
COMMENT ON COLUMN keypup.audit_checkpoints.key_id IS 'The data key that the key of the signature is derived from.';
COMMENT ON COLUMN keypup.audit_checkpoints.subtrees IS
  'Roots of the perfect subtrees of the tree, the largest first, from which it grows on.';
SELECT keypup.close_table('keypup.audit_checkpoints');

CREATE FUNCTION keypup.sign_audit_checkpoint(key integer, origin text, size bigint, before_size bigint,
  before_subtrees bytea, OUT note text, OUT verifier_key text, OUT subtrees bytea)
LANGUAGE c VOLATILE STRICT AS 'MODULE_PATHNAME', 'keypup_sign_audit_checkpoint';
CREATE FUNCTION keypup.check_audit_checkpoints(OUT checkpoints bigint, OUT tree_size bigint, OUT problem text)
LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'keypup_check_audit_checkpoints';
CREATE FUNCTION keypup.open_audit_checkpoint(checkpoint text, OUT tree_size bigint, OUT note_text text)
LANGUAGE c VOLATILE STRICT AS 'MODULE_PATHNAME', 'keypup_open_audit_checkpoint';
REVOKE ALL ON FUNCTION keypup.sign_audit_checkpoint(integer, text, bigint, bigint, bytea),
  keypup.check_audit_checkpoints(), keypup.open_audit_checkpoint(text) FROM PUBLIC;
COMMENT ON FUNCTION keypup.sign_audit_checkpoint(integer, text, bigint, bigint, bytea) IS
  'Signs the tree of that size, which has grown from the one before by the leaves that are kept.';
COMMENT ON FUNCTION keypup.check_audit_checkpoints() IS
  'Whether the checkpoints that are kept, and the leaves between them, are as they were signed: how many are, and of '
  'the first that is not its size, and what is wrong.';
COMMENT ON FUNCTION keypup.open_audit_checkpoint(text) IS
  'The size and the text of a checkpoint that was kept elsewhere. An error where it is none, or where no key of this '
  'database has signed it.';

CREATE FUNCTION keypup.audit_checkpoint_key() RETURNS text
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$ SELECT c.verifier_key FROM keypup.audit_checkpoints c ORDER BY c.tree_size DESC LIMIT 1 $$;
REVOKE ALL ON FUNCTION keypup.audit_checkpoint_key() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION keypup.audit_checkpoint_key() TO keypup_member;
COMMENT ON FUNCTION keypup.audit_checkpoint_key() IS
  'The public key of the newest checkpoint of the audit log, as tools for signed notes take it: NAME+ID+KEY. NULL '
  'while there is none. Keep it outside of the database; it changes with rotate_keys, and in a copy of the database.';

CREATE FUNCTION keypup.moved_audit_heads(OUT account_id uuid, OUT sequence bigint, OUT seal bytea, OUT since bigint)
RETURNS SETOF record
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
  SELECT h.account_id, h.sequence, h.seal, k.sequence
  FROM keypup.audit_heads h
  LEFT JOIN LATERAL (
    SELECT k.sequence, k.seal FROM keypup.audit_checkpoint_heads k WHERE k.account_id = h.account_id
    ORDER BY k.leaf DESC LIMIT 1
  ) k ON true
  WHERE (h.sequence, h.seal) IS DISTINCT FROM (k.sequence, k.seal)
$$;
REVOKE ALL ON FUNCTION keypup.moved_audit_heads() FROM PUBLIC;
COMMENT ON FUNCTION keypup.moved_audit_heads() IS
  'Where chains end that do not end any more where the last checkpoint says (since; NULL: it does not know them).';

-- The record of a checkpoint is no reason for the next.
CREATE FUNCTION keypup.audit_has_moved() RETURNS boolean
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
  SELECT EXISTS (
    SELECT FROM keypup.moved_audit_heads() h
    WHERE h.account_id <> '00000000-0000-0000-0000-000000000000' OR h.since IS NULL OR EXISTS (
      SELECT FROM keypup.audit_log l
      WHERE l.account_id = h.account_id AND l.sequence > h.since AND l.action <> 'audit.checkpoint'))
$$;
REVOKE ALL ON FUNCTION keypup.audit_has_moved() FROM PUBLIC;
COMMENT ON FUNCTION keypup.audit_has_moved() IS
  'Whether records were sealed since the last checkpoint, beside its own.';

CREATE FUNCTION keypup.add_audit_checkpoint(key integer, new_size bigint, before_size bigint, before_subtrees bytea)
  RETURNS void
LANGUAGE sql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$
  INSERT INTO keypup.audit_checkpoints (tree_size, note, verifier_key, key_id, subtrees)
  SELECT new_size, s.note, s.verifier_key, key, s.subtrees
  FROM keypup.sign_audit_checkpoint(key, 'keypup/' || keypup.this_database(), new_size, before_size,
    before_subtrees) s
$$;
REVOKE ALL ON FUNCTION keypup.add_audit_checkpoint(integer, bigint, bigint, bytea) FROM PUBLIC;
COMMENT ON FUNCTION keypup.add_audit_checkpoint(integer, bigint, bigint, bytea) IS
  'Signs and keeps the checkpoint of that size, which follows on the one before.';

CREATE FUNCTION keypup.write_audit_checkpoint() RETURNS bigint
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET lock_timeout = '100ms'
AS $$
DECLARE
  key integer;
  before record;
  new_size bigint;
BEGIN
  -- Nobody seals meanwhile.
  PERFORM FROM keypup.audit_clock c FOR NO KEY UPDATE SKIP LOCKED;
  IF NOT FOUND OR EXISTS (
    SELECT FROM keypup.audit_checkpoints c
    WHERE c.tree_size > 0 AND c.created_at <= clock_timestamp()
      AND c.created_at > clock_timestamp() - current_setting('keypup.audit_checkpoint_interval')::interval) THEN
    RETURN 0;
  END IF;
  IF keypup.audit_has_moved() THEN
    key := keypup.active_audit_key();
  END IF;
  IF key IS NULL THEN
    RETURN 0;
  END IF;
  -- The first follows on the empty tree, so that each has one before it.
  IF NOT EXISTS (SELECT FROM keypup.audit_checkpoints) THEN
    PERFORM keypup.add_audit_checkpoint(key, 0::bigint, 0::bigint, ''::bytea);
  END IF;
  SELECT c.tree_size, c.subtrees INTO before FROM keypup.audit_checkpoints c ORDER BY c.tree_size DESC LIMIT 1;
  INSERT INTO keypup.audit_checkpoint_heads (account_id, leaf, sequence, seal)
  SELECT h.account_id, before.tree_size + row_number() OVER (ORDER BY h.account_id) - 1, h.sequence, h.seal
  FROM keypup.moved_audit_heads() h;
  GET DIAGNOSTICS new_size = ROW_COUNT;
  new_size := before.tree_size + new_size;
  PERFORM keypup.add_audit_checkpoint(key, new_size, before.tree_size::bigint, before.subtrees::bytea);
  PERFORM keypup.record_work(NULL::uuid, 'audit.checkpoint',
    (SELECT c.note FROM keypup.audit_checkpoints c WHERE c.tree_size = new_size));
  PERFORM keypup.expire_audit_checkpoints();
  RETURN 1;
EXCEPTION
  -- Somebody holds the log; or there is no key yet, or no more.
  WHEN lock_not_available OR config_file_error THEN RETURN 0;
END
$$;
REVOKE ALL ON FUNCTION keypup.write_audit_checkpoint() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION keypup.write_audit_checkpoint() TO keypup_worker;
COMMENT ON FUNCTION keypup.write_audit_checkpoint() IS
  'Writes a checkpoint of the audit log where keypup.audit_checkpoint_interval has passed since the last, and records '
  'were sealed. For the worker, each minute. Returns how many.';

-- The last one that has expired stays: what follows grows from its tree.
CREATE FUNCTION keypup.expire_audit_checkpoints() RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  first_size bigint;
BEGIN
  IF EXISTS (SELECT FROM keypup.audit_holds) THEN
    RETURN;
  END IF;
  SELECT max(c.tree_size) INTO first_size FROM keypup.audit_checkpoints c
  WHERE c.tree_size < (
    SELECT min(split_part(l.detail, E'\n', 2)::bigint) FROM keypup.audit_log l
    WHERE l.account_id = '00000000-0000-0000-0000-000000000000' AND l.action = 'audit.checkpoint');
  DELETE FROM keypup.audit_checkpoints c WHERE c.tree_size < first_size;
  DELETE FROM keypup.audit_checkpoint_heads k WHERE k.leaf < first_size;
END
$$;
REVOKE ALL ON FUNCTION keypup.expire_audit_checkpoints() FROM PUBLIC;
COMMENT ON FUNCTION keypup.expire_audit_checkpoints() IS
  'Drops the checkpoints whose records have expired. Where any account is held (hold_audit_log), all are kept.';

CREATE FUNCTION keypup.compare_with_checkpoint(tree_size bigint, note_text text) RETURNS text
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  kept record;
BEGIN
  SELECT min(c.tree_size) AS first_size, max(c.tree_size) AS last_size,
    bool_or(c.tree_size = compare_with_checkpoint.tree_size) AS has_size,
    -- Others may have added signatures to it.
    bool_or(starts_with(c.note, compare_with_checkpoint.note_text || E'\n')) AS has_same
  INTO kept FROM keypup.audit_checkpoints c;
  IF tree_size < kept.first_size THEN
    RAISE EXCEPTION 'the checkpoint of size % has expired', tree_size USING ERRCODE = 'invalid_parameter_value',
      HINT = 'Those of the time of keypup.audit_retention can be compared.';
  END IF;
  RETURN CASE
    WHEN kept.has_same THEN NULL
    WHEN kept.has_size THEN format('the checkpoint of size %s: another of that size is kept', tree_size)
    WHEN tree_size < kept.last_size THEN format('the checkpoint of size %s: it is not kept any more', tree_size)
    ELSE format('the checkpoint of size %s: the log ends before it', tree_size)
  END;
END
$$;
REVOKE ALL ON FUNCTION keypup.compare_with_checkpoint(bigint, text) FROM PUBLIC;
COMMENT ON FUNCTION keypup.compare_with_checkpoint(bigint, text) IS
  'What the checkpoints that are kept say against one that was kept elsewhere; NULL: nothing.';

-- What is kept is checked first: only then it proves something of the account.
CREATE FUNCTION keypup.compare_with_checkpoints(account_id uuid, checkpoint text, last bigint, OUT sequence bigint,
  OUT problem text)
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  opened record;
  kept record;
  size bigint;
BEGIN
  SELECT o.tree_size, o.note_text INTO opened FROM keypup.open_audit_checkpoint(checkpoint) o;
  SELECT c.tree_size, c.problem INTO kept FROM keypup.check_audit_checkpoints() c;
  IF kept.problem IS NOT NULL THEN
    problem := format('the checkpoint of size %s: %s', kept.tree_size, kept.problem);
    RETURN;
  END IF;
  -- Each has a record, which is sealed.
  SELECT split_part(l.detail, E'\n', 2) INTO size FROM keypup.audit_log l
  WHERE l.account_id = '00000000-0000-0000-0000-000000000000' AND l.action = 'audit.checkpoint'
    AND NOT EXISTS (SELECT FROM keypup.audit_checkpoints c WHERE c.note = l.detail)
  ORDER BY l.record_id LIMIT 1;
  IF FOUND THEN
    problem := format('the checkpoint of size %s: it is recorded, and not kept', size);
    RETURN;
  END IF;
  SELECT k.sequence, CASE WHEN k.sequence > e.last THEN 'it is missing: a checkpoint has a later one'
                          ELSE 'it is another than when a checkpoint was written' END
  INTO sequence, problem
  FROM keypup.audit_checkpoint_heads k
  CROSS JOIN (
    SELECT greatest(compare_with_checkpoints.last, (
      SELECT h.sequence FROM keypup.audit_heads h
      WHERE h.account_id = compare_with_checkpoints.account_id)) AS last
  ) e
  LEFT JOIN keypup.audit_log l ON l.account_id = k.account_id AND l.sequence = k.sequence
  WHERE k.account_id = compare_with_checkpoints.account_id AND (k.sequence > e.last OR l.seal <> k.seal)
  ORDER BY k.sequence LIMIT 1;
  IF problem IS NULL AND checkpoint IS NOT NULL THEN
    problem := keypup.compare_with_checkpoint(opened.tree_size, opened.note_text);
  END IF;
END
$$;
REVOKE ALL ON FUNCTION keypup.compare_with_checkpoints(uuid, text, bigint) FROM PUBLIC;
COMMENT ON FUNCTION keypup.compare_with_checkpoints(uuid, text, bigint) IS
  'What checkpoints say against an account''s chain, which was verified up to its last record: those that are kept, '
  'and one that was kept elsewhere (NULL: none). sequence is the first record that is not as it was then, where one is '
  'known.';
