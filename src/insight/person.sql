-- insight/person.sql: which logins are one person, as somebody says or a rule knows (verified_person.sql), never by
-- guess; and who is in which team.
-- doc/metrics.md has the definitions.

CREATE TABLE keypup.person_merges (
  account_id uuid NOT NULL,
  connection_id uuid NOT NULL,
  external_id text NOT NULL,
  own_person_id uuid NOT NULL,
  rule text NOT NULL DEFAULT 'manual' CHECK (rule IN ('manual', 'same_account', 'same_member')),
  merged_at timestamptz NOT NULL DEFAULT now(),
  merged_by text NOT NULL,
  PRIMARY KEY (account_id, connection_id, external_id),
  FOREIGN KEY (account_id, connection_id, external_id) REFERENCES keypup.identities ON DELETE CASCADE,
  FOREIGN KEY (account_id, own_person_id) REFERENCES keypup.people ON DELETE CASCADE
);
CREATE INDEX person_merges_own ON keypup.person_merges (account_id, own_person_id);
COMMENT ON TABLE keypup.person_merges IS
  'Logins that stand for another person than their own, and by which rule. split_person takes a row back.';
COMMENT ON COLUMN keypup.person_merges.connection_id IS 'The connection of the login.';
COMMENT ON COLUMN keypup.person_merges.external_id IS 'The provider''s id of the login.';
COMMENT ON COLUMN keypup.person_merges.own_person_id IS 'The person that the login stands for once it is split again.';
COMMENT ON COLUMN keypup.person_merges.rule IS
  'manual: somebody said so, which no rule changes. same_account: the provider''s id and its address are the same. '
  'same_member: both ids are linked to one member.';
COMMENT ON COLUMN keypup.person_merges.merged_at IS 'When it was merged last.';
COMMENT ON COLUMN keypup.person_merges.merged_by IS 'Who merged it last: a member, or the worker.';
SELECT keypup.protect_table('keypup.person_merges', 'data.read');
-- A limited member sees those of the logins in their projects (model/login.sql), here and below.
ALTER POLICY member_reads ON keypup.person_merges USING (
  account_id OPERATOR(pg_catalog.=) ANY (ARRAY(SELECT keypup.my_accounts('data.read')))
  AND ((SELECT keypup.sees_all_projects('data.read'))
    OR (account_id, connection_id, external_id) OPERATOR(pg_catalog.=) ANY (SELECT i.account_id, i.connection_id,
      i.external_id FROM keypup.identities i)));
REVOKE ALL ON keypup.person_merges FROM keypup_worker;

CREATE TABLE keypup.person_splits (
  account_id uuid NOT NULL,
  connection_id uuid NOT NULL,
  external_id text NOT NULL,
  split_at timestamptz NOT NULL DEFAULT now(),
  split_by text NOT NULL,
  PRIMARY KEY (account_id, connection_id, external_id),
  FOREIGN KEY (account_id, connection_id, external_id) REFERENCES keypup.identities ON DELETE CASCADE
);
COMMENT ON TABLE keypup.person_splits IS
  'Logins that somebody took out of a merge: no rule merges them again. merge_people takes a row back.';
COMMENT ON COLUMN keypup.person_splits.connection_id IS 'The connection of the login.';
COMMENT ON COLUMN keypup.person_splits.external_id IS 'The provider''s id of the login.';
COMMENT ON COLUMN keypup.person_splits.split_at IS 'When it was split last.';
COMMENT ON COLUMN keypup.person_splits.split_by IS 'Who split it last.';
SELECT keypup.protect_table('keypup.person_splits', 'data.read');
ALTER POLICY member_reads ON keypup.person_splits USING (
  account_id OPERATOR(pg_catalog.=) ANY (ARRAY(SELECT keypup.my_accounts('data.read')))
  AND ((SELECT keypup.sees_all_projects('data.read'))
    OR (account_id, connection_id, external_id) OPERATOR(pg_catalog.=) ANY (SELECT i.account_id, i.connection_id,
      i.external_id FROM keypup.identities i)));
REVOKE ALL ON keypup.person_splits FROM keypup_worker;

CREATE TABLE keypup.teams (
  account_id uuid NOT NULL REFERENCES keypup.accounts ON DELETE CASCADE,
  team text NOT NULL CHECK (team ~ '^[^[:cntrl:],]{1,100}$'),
  created_at timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (account_id, team)
);
COMMENT ON TABLE keypup.teams IS 'The teams of an account, as set_team names them.';
COMMENT ON COLUMN keypup.teams.team IS 'Name of the team; without commas.';
COMMENT ON COLUMN keypup.teams.created_at IS 'When it was set first.';
SELECT keypup.protect_table('keypup.teams', 'data.read');
REVOKE ALL ON keypup.teams FROM keypup_worker;

CREATE TABLE keypup.team_members (
  account_id uuid NOT NULL,
  team text NOT NULL,
  person_id uuid NOT NULL,
  joined_at timestamptz NOT NULL DEFAULT now(),
  left_at timestamptz CHECK (left_at >= joined_at),
  PRIMARY KEY (account_id, team, person_id, joined_at),
  FOREIGN KEY (account_id, team) REFERENCES keypup.teams ON DELETE CASCADE,
  FOREIGN KEY (account_id, person_id) REFERENCES keypup.people ON DELETE CASCADE
);
CREATE INDEX team_members_person ON keypup.team_members (account_id, person_id);
COMMENT ON TABLE keypup.team_members IS
  'Who was in which team, and when. Nothing is forgotten: who leaves gets a left_at.';
COMMENT ON COLUMN keypup.team_members.team IS 'The team.';
COMMENT ON COLUMN keypup.team_members.person_id IS
  'The person that the login which set_team names stands for on its own: neither a merge nor a split changes a row.';
COMMENT ON COLUMN keypup.team_members.joined_at IS 'When set_team named the person.';
COMMENT ON COLUMN keypup.team_members.left_at IS 'When set_team left the person out; NULL while in the team.';
SELECT keypup.protect_table('keypup.team_members', 'data.read');
ALTER POLICY member_reads ON keypup.team_members USING (
  account_id OPERATOR(pg_catalog.=) ANY (ARRAY(SELECT keypup.my_accounts('data.read')))
  AND ((SELECT keypup.sees_all_projects('data.read'))
    OR person_id OPERATOR(pg_catalog.=) ANY (ARRAY(
      SELECT u.person_id FROM keypup.people u UNION ALL SELECT g.own_person_id FROM keypup.person_merges g))));
REVOKE ALL ON keypup.team_members FROM keypup_worker;
-- And the teams that these are or were in.
ALTER POLICY member_reads ON keypup.teams USING (
  account_id OPERATOR(pg_catalog.=) ANY (ARRAY(SELECT keypup.my_accounts('data.read')))
  AND ((SELECT keypup.sees_all_projects('data.read'))
    OR (account_id, team) OPERATOR(pg_catalog.=) ANY (SELECT m.account_id, m.team FROM keypup.team_members m)));

-- A team's members as the persons that they are now, whatever they were when they joined.
CREATE VIEW keypup.team_memberships WITH (security_invoker = true, security_barrier = true) AS
SELECT m.account_id, m.team, coalesce(i.person_id, m.person_id) AS person_id, m.joined_at, m.left_at
FROM keypup.team_members m
LEFT JOIN keypup.person_merges g ON g.account_id = m.account_id AND g.own_person_id = m.person_id
LEFT JOIN keypup.identities i ON i.account_id = g.account_id AND i.connection_id = g.connection_id
  AND i.external_id = g.external_id;
REVOKE ALL ON keypup.team_memberships FROM PUBLIC;
GRANT SELECT ON keypup.team_memberships TO keypup_member;
COMMENT ON VIEW keypup.team_memberships IS
  'One row a time that a person, or a login that is the person now, was in a team: two of them may be at once. Count '
  'DISTINCT persons.';
COMMENT ON COLUMN keypup.team_memberships.account_id IS 'The account.';
COMMENT ON COLUMN keypup.team_memberships.team IS 'The team.';
COMMENT ON COLUMN keypup.team_memberships.person_id IS 'The person, after all merges.';
COMMENT ON COLUMN keypup.team_memberships.joined_at IS 'When the person joined.';
COMMENT ON COLUMN keypup.team_memberships.left_at IS 'When the person left; NULL while in the team.';

CREATE VIEW keypup.team_people WITH (security_invoker = true, security_barrier = true) AS
SELECT DISTINCT m.account_id, m.team, m.person_id FROM keypup.team_memberships m WHERE m.left_at IS NULL;
REVOKE ALL ON keypup.team_people FROM PUBLIC;
GRANT SELECT ON keypup.team_people TO keypup_member;
COMMENT ON VIEW keypup.team_people IS 'One row a team and person that is in it now, merged logins counted once.';
COMMENT ON COLUMN keypup.team_people.account_id IS 'The account.';
COMMENT ON COLUMN keypup.team_people.team IS 'The team.';
COMMENT ON COLUMN keypup.team_people.person_id IS 'The person, after all merges.';

-- A login that was given up and taken by another: the one that is a person, then the lower id.
CREATE VIEW keypup.person_logins WITH (security_invoker = true, security_barrier = true) AS
SELECT DISTINCT ON (i.account_id, i.connection_id, i.login)
  i.account_id, (SELECT a.name FROM keypup.accounts a WHERE a.account_id = i.account_id) AS account, i.connection_id,
  i.login, i.person_id, coalesce(p.name, i.login) AS person, i.kind = 'bot' OR i.is_marked_bot AS is_bot, m.team,
  g.rule AS merged_by_rule
FROM keypup.identities i
LEFT JOIN keypup.people p ON p.account_id = i.account_id AND p.person_id = i.person_id
LEFT JOIN keypup.person_merges g ON g.account_id = i.account_id AND g.connection_id = i.connection_id
  AND g.external_id = i.external_id
LEFT JOIN (
  SELECT t.account_id, t.person_id, string_agg(t.team, ', ' ORDER BY t.team) AS team FROM keypup.team_people t
  GROUP BY t.account_id, t.person_id
) AS m ON m.account_id = i.account_id AND m.person_id = i.person_id
ORDER BY i.account_id, i.connection_id, i.login, i.person_id IS NULL, i.external_id;
REVOKE ALL ON keypup.person_logins FROM PUBLIC;
GRANT SELECT ON keypup.person_logins TO keypup_member;
COMMENT ON VIEW keypup.person_logins IS 'One row a connection and login: whose it is.';
COMMENT ON COLUMN keypup.person_logins.account_id IS 'The account.';
COMMENT ON COLUMN keypup.person_logins.account IS 'Name of the account.';
COMMENT ON COLUMN keypup.person_logins.connection_id IS 'The connection through which the login was seen.';
COMMENT ON COLUMN keypup.person_logins.login IS 'The login, as author and the like name it.';
COMMENT ON COLUMN keypup.person_logins.person_id IS
  'The person, after all merges; NULL for the provider''s bots and other logins that are no person.';
COMMENT ON COLUMN keypup.person_logins.person IS 'Name of the person; the login where there is none.';
COMMENT ON COLUMN keypup.person_logins.is_bot IS 'Whether it is a bot''s: the provider says so, or mark_bot.';
COMMENT ON COLUMN keypup.person_logins.team IS
  'Teams that the person is in now, sorted, with a comma between; NULL in none.';
COMMENT ON COLUMN keypup.person_logins.merged_by_rule IS
  'The rule that gave the login this person: manual, same_account or same_member, as in person_merges; NULL where it '
  'is its own.';

CREATE FUNCTION keypup.find_logins(account_id uuid, login text) RETURNS SETOF keypup.identities
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  persons bigint;
BEGIN
  SELECT count(DISTINCT i.person_id) INTO persons
  FROM keypup.identities i JOIN keypup.connections c ON c.account_id = i.account_id
    AND c.connection_id = i.connection_id
  WHERE i.account_id = find_logins.account_id AND lower(find_logins.login COLLATE "C")
    IN (lower(i.login COLLATE "C"), lower((c.name || '/' || i.login) COLLATE "C"));
  IF persons = 0 THEN
    RAISE EXCEPTION 'login "%" is no person''s', login USING ERRCODE = 'undefined_object',
      HINT = 'SELECT login FROM keypup.person_logins WHERE person_id IS NOT NULL shows the logins of persons.';
  ELSIF persons > 1 THEN
    RAISE EXCEPTION 'login "%" is % persons''', login, persons USING ERRCODE = 'ambiguous_parameter',
      HINT = 'Write connection/login.';
  END IF;
  RETURN QUERY SELECT i.*
  FROM keypup.identities i JOIN keypup.connections c ON c.account_id = i.account_id
    AND c.connection_id = i.connection_id
  WHERE i.account_id = find_logins.account_id AND i.person_id IS NOT NULL AND lower(find_logins.login COLLATE "C")
    IN (lower(i.login COLLATE "C"), lower((c.name || '/' || i.login) COLLATE "C"));
END
$$;
REVOKE ALL ON FUNCTION keypup.find_logins(uuid, text) FROM PUBLIC;
COMMENT ON FUNCTION keypup.find_logins(uuid, text) IS
  'The logins of the one person that is meant by login, or by connection/login.';

CREATE FUNCTION keypup.merge_people(account text, login text, into_login text) RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  the_account uuid := keypup.authorize(account, 'users.manage');
  person uuid;
  target uuid;
BEGIN
  -- Two merges at once could make a circle.
  PERFORM FROM keypup.accounts a WHERE a.account_id = the_account FOR NO KEY UPDATE;
  person := (SELECT l.person_id FROM keypup.find_logins(the_account, login) l LIMIT 1);
  target := (SELECT l.person_id FROM keypup.find_logins(the_account, into_login) l LIMIT 1);
  IF person = target THEN
    RAISE EXCEPTION 'logins "%" and "%" are one person already', login, into_login USING ERRCODE = 'duplicate_object',
      HINT = 'keypup.split_person takes a merge back.';
  END IF;
  PERFORM keypup.hold_people(the_account, ARRAY[person, target]);
  DELETE FROM keypup.person_splits s USING keypup.identities i
  WHERE i.account_id = the_account AND i.person_id = person AND s.account_id = i.account_id
    AND s.connection_id = i.connection_id AND s.external_id = i.external_id;
  INSERT INTO keypup.person_merges AS g (account_id, connection_id, external_id, own_person_id, rule, merged_by)
  SELECT i.account_id, i.connection_id, i.external_id, i.person_id, 'manual', keypup.current_user_name()
  FROM keypup.identities i WHERE i.account_id = the_account AND i.person_id = person
  ON CONFLICT (account_id, connection_id, external_id) DO UPDATE SET merged_at = now(), merged_by = excluded.merged_by,
    rule = excluded.rule;
  UPDATE keypup.identities i SET person_id = target WHERE i.account_id = the_account AND i.person_id = person;
  PERFORM keypup.derive_for_people(the_account, ARRAY[target]);
  PERFORM keypup.record_action(the_account, 'person.merge', format('"%s" into "%s": manual', login, into_login));
END
$$;
REVOKE ALL ON FUNCTION keypup.merge_people(text, text, text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION keypup.merge_people(text, text, text) TO keypup_member;
COMMENT ON FUNCTION keypup.merge_people(text, text, text) IS
  'Says that the person of one login, with all logins, is the person of another. split_person takes it back.';

CREATE FUNCTION keypup.split_person(account text, login text) RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  the_account uuid := keypup.authorize(account, 'users.manage');
  split_logins bigint;
  persons uuid[];
BEGIN
  PERFORM FROM keypup.accounts a WHERE a.account_id = the_account FOR NO KEY UPDATE;
  SELECT array_agg(l.person_id) INTO persons FROM keypup.find_logins(the_account, login) l;
  PERFORM keypup.hold_people(the_account, persons);
  WITH split AS (
    DELETE FROM keypup.person_merges g USING keypup.find_logins(the_account, login) l
    WHERE g.account_id = the_account AND g.connection_id = l.connection_id AND g.external_id = l.external_id
    RETURNING g.connection_id, g.external_id, g.own_person_id
  ), restored AS (
    UPDATE keypup.identities i SET person_id = s.own_person_id FROM split s
    WHERE i.account_id = the_account AND i.connection_id = s.connection_id AND i.external_id = s.external_id
    RETURNING i.connection_id, i.external_id, i.person_id
  ), noted AS (
    INSERT INTO keypup.person_splits AS n (account_id, connection_id, external_id, split_by)
    SELECT the_account, r.connection_id, r.external_id, keypup.current_user_name() FROM restored r
    ON CONFLICT ON CONSTRAINT person_splits_pkey DO UPDATE SET split_at = now(), split_by = excluded.split_by
  )
  SELECT count(*), persons || array_agg(r.person_id) INTO split_logins, persons FROM restored r;
  IF split_logins = 0 THEN
    RAISE EXCEPTION 'login "%" was not merged into another', login USING ERRCODE = 'object_not_in_prerequisite_state',
      HINT = 'SELECT login FROM keypup.person_logins WHERE merged_by_rule IS NOT NULL shows the logins that were.';
  END IF;
  PERFORM keypup.derive_for_people(the_account, persons);
  PERFORM keypup.record_action(the_account, 'person.split', login);
END
$$;
REVOKE ALL ON FUNCTION keypup.split_person(text, text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION keypup.split_person(text, text) TO keypup_member;
COMMENT ON FUNCTION keypup.split_person(text, text) IS
  'Gives a merged login its own person back; no rule merges it again.';

CREATE FUNCTION keypup.set_team(account text, team text, logins text[]) RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  the_account uuid := keypup.authorize(account, 'users.manage');
  persons uuid[];
  own_persons uuid[];
BEGIN
  IF team IS NULL OR team !~ '^[^[:cntrl:],]{1,100}$' THEN
    RAISE EXCEPTION 'team name is malformed' USING ERRCODE = 'invalid_parameter_value',
      HINT = 'A name has 1 to 100 characters, no comma and no control character.';
  END IF;
  PERFORM FROM keypup.accounts a WHERE a.account_id = the_account FOR NO KEY UPDATE;
  -- Whoever a login stands for on its own is in the team, so that it is there, too, when a merge is taken back.
  SELECT coalesce(array_agg(DISTINCT l.person_id), '{}'),
    coalesce(array_agg(DISTINCT coalesce(g.own_person_id, l.person_id)), '{}') INTO persons, own_persons
  FROM unnest(logins) AS named(login)
  CROSS JOIN LATERAL keypup.find_logins(the_account, named.login) AS l
  LEFT JOIN keypup.person_merges g ON g.account_id = l.account_id AND g.connection_id = l.connection_id
    AND g.external_id = l.external_id;
  INSERT INTO keypup.teams (account_id, team) VALUES (the_account, set_team.team) ON CONFLICT DO NOTHING;
  UPDATE keypup.team_members m SET left_at = greatest(now(), m.joined_at)
  WHERE m.account_id = the_account AND m.team = set_team.team AND m.left_at IS NULL
    AND m.person_id <> ALL (persons)
    AND NOT EXISTS (SELECT FROM keypup.person_merges g JOIN keypup.identities i ON i.account_id = g.account_id
      AND i.connection_id = g.connection_id AND i.external_id = g.external_id
                    WHERE g.account_id = the_account AND g.own_person_id = m.person_id AND i.person_id = ANY (persons));
  -- Named again in the transaction that left it out: it never left.
  INSERT INTO keypup.team_members AS m (account_id, team, person_id)
  SELECT the_account, set_team.team, p FROM unnest(own_persons) AS p
  WHERE NOT EXISTS (SELECT FROM keypup.team_members t WHERE t.account_id = the_account AND t.team = set_team.team
    AND t.person_id = p AND t.left_at IS NULL)
  ON CONFLICT ON CONSTRAINT team_members_pkey DO UPDATE SET left_at = NULL;
  PERFORM keypup.record_action(the_account, 'team.set',
    format('"%s": %s', set_team.team, coalesce(array_to_string(logins, ', '), '')));
END
$$;
REVOKE ALL ON FUNCTION keypup.set_team(text, text, text[]) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION keypup.set_team(text, text, text[]) TO keypup_member;
COMMENT ON FUNCTION keypup.set_team(text, text, text[]) IS
  'Says who is in a team from now on: who is left out leaves, who is new joins; the history stays.';
