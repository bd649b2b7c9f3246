-- insight/verified_person.sql: logins that are one person by what the provider or the account itself says, and logins
-- that merely look alike. The first are merged by rule, the second only suggested. doc/metrics.md has the rules.

CREATE FUNCTION keypup.merge_by_rules(account_id uuid) RETURNS bigint
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  persons uuid[];
  targets uuid[];
  rules text[];
  moved bigint;
  merged bigint := 0;
BEGIN
  -- As merge_people does: two merges at once could make a circle.
  PERFORM FROM keypup.accounts a WHERE a.account_id = merge_by_rules.account_id FOR NO KEY UPDATE;
  LOOP
    WITH login AS MATERIALIZED (
      -- Who it is, beyond doubt: the member to whom the id is linked, or else the id at its address. An id made of a
      -- login changes hands.
      SELECT i.connection_id, i.external_id, i.person_id, c.base_url, c.created_at, g.rule,
        coalesce('member ' || l.member, 'id ' || c.base_url || ' ' || i.external_id) AS somebody
      FROM keypup.identities i
      JOIN keypup.connections c ON c.account_id = i.account_id AND c.connection_id = i.connection_id
      LEFT JOIN keypup.person_merges g ON g.account_id = i.account_id AND g.connection_id = i.connection_id
        AND g.external_id = i.external_id
      LEFT JOIN (keypup.person_identities l JOIN keypup.identity_providers p ON p.account_id = l.account_id
        AND p.issuer = l.issuer AND p.kind = 'repositories')
        ON l.account_id = i.account_id AND l.issuer = c.base_url AND l.subject = i.external_id
      WHERE i.account_id = merge_by_rules.account_id AND i.person_id IS NOT NULL AND i.external_id !~ '^login:'
        AND NOT EXISTS (SELECT FROM keypup.person_splits s WHERE s.account_id = i.account_id
          AND s.connection_id = i.connection_id AND s.external_id = i.external_id)
    ), anchor AS (
      -- What somebody said stands, then what was merged before, then the older connection.
      SELECT DISTINCT ON (l.somebody) l.somebody, l.person_id, l.base_url, l.external_id
      FROM login l
      ORDER BY l.somebody, l.rule IS NOT DISTINCT FROM 'manual' DESC, l.rule IS NULL, l.created_at, l.connection_id,
        l.external_id
    ), disputed AS (
      SELECT l.somebody FROM login l WHERE l.rule = 'manual' GROUP BY l.somebody HAVING count(DISTINCT l.person_id) > 1
    ), wanted AS (
      SELECT DISTINCT ON (l.person_id) l.person_id AS person, a.person_id AS target,
        CASE WHEN l.base_url = a.base_url AND l.external_id = a.external_id THEN 'same_account'
          ELSE 'same_member' END AS rule
      FROM login l JOIN anchor a ON a.somebody = l.somebody
      WHERE l.person_id <> a.person_id AND l.rule IS DISTINCT FROM 'manual' AND l.somebody NOT
        IN (SELECT d.somebody FROM disputed d)
      ORDER BY l.person_id, a.person_id
    ), settled AS (
      -- Whose target itself moves waits for the next round; in a circle one begins.
      SELECT w.person, w.target, w.rule FROM wanted w WHERE w.target NOT IN (SELECT o.person FROM wanted o)
      UNION
      (SELECT w.person, w.target, w.rule FROM wanted w
       WHERE NOT EXISTS (SELECT FROM wanted o WHERE o.target NOT IN (SELECT x.person FROM wanted x)) ORDER BY w.person
       LIMIT 1)
    )
    SELECT array_agg(s.person ORDER BY s.person), array_agg(s.target ORDER BY s.person),
      array_agg(s.rule ORDER BY s.person) INTO persons, targets, rules FROM settled s;
    EXIT WHEN persons IS NULL;
    PERFORM keypup.hold_people(account_id, persons || targets);
    INSERT INTO keypup.person_merges (account_id, connection_id, external_id, own_person_id, rule, merged_by)
    SELECT i.account_id, i.connection_id, i.external_id, i.person_id, w.rule,
      coalesce(keypup.current_user_name(), 'the worker')
    FROM unnest(persons, rules) AS w (person, rule) JOIN keypup.identities i ON i.account_id = merge_by_rules.account_id
      AND i.person_id = w.person
    ON CONFLICT DO NOTHING;  -- who was merged into the person before comes along, by the rule of then
    UPDATE keypup.identities i SET person_id = w.target
    FROM unnest(persons, targets) AS w (person, target) WHERE i.account_id = merge_by_rules.account_id
      AND i.person_id = w.person;
    GET DIAGNOSTICS moved = ROW_COUNT;
    PERFORM keypup.derive_for_people(account_id, targets);
    merged := merged + moved;
  END LOOP;
  IF merged > 0 THEN
    PERFORM keypup.record_action(account_id, 'person.merge', format('logins that are one person by rule: %s', merged));
  END IF;
  RETURN merged;
END
$$;
REVOKE ALL ON FUNCTION keypup.merge_by_rules(uuid) FROM PUBLIC;
COMMENT ON FUNCTION keypup.merge_by_rules(uuid) IS
  'Merges the logins of an account that a rule knows to be one person. Granted to nobody.';

CREATE FUNCTION keypup.merge_verified_people(account text) RETURNS bigint
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  RETURN keypup.merge_by_rules(keypup.authorize(account, 'users.manage'));
END
$$;
REVOKE ALL ON FUNCTION keypup.merge_verified_people(text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION keypup.merge_verified_people(text) TO keypup_member;
COMMENT ON FUNCTION keypup.merge_verified_people(text) IS
  'Merges the logins that are one person by a rule (person_merges.rule), and returns how many it moved. Nothing is '
  'guessed; split_person takes each back for good.';

-- The worker asks every minute: accounts in which no rule can hold cost it no look at their people.
CREATE FUNCTION keypup.merge_verified_people_of_accounts() RETURNS bigint
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET lock_timeout = '10ms'
AS $$
DECLARE
  the_account uuid;
BEGIN
  FOR the_account IN
    SELECT c.account_id FROM keypup.connections c GROUP BY c.account_id, c.base_url HAVING count(*) > 1
    UNION
    SELECT l.account_id FROM keypup.person_identities l JOIN keypup.identity_providers p ON p.account_id = l.account_id
      AND p.issuer = l.issuer
    WHERE p.kind = 'repositories' GROUP BY l.account_id, l.member HAVING count(*) > 1
    ORDER BY 1
  LOOP
    -- Somebody who merges by hand, or another worker, is not waited for.
    PERFORM FROM keypup.accounts a WHERE a.account_id = the_account FOR NO KEY UPDATE SKIP LOCKED;
    IF FOUND THEN
      BEGIN
        PERFORM keypup.merge_by_rules(the_account);
      EXCEPTION
        WHEN lock_not_available OR deadlock_detected THEN NULL;  -- the next minute will do
      END;
    END IF;
  END LOOP;
  RETURN 0;
END
$$;
REVOKE ALL ON FUNCTION keypup.merge_verified_people_of_accounts() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION keypup.merge_verified_people_of_accounts() TO keypup_worker;
COMMENT ON FUNCTION keypup.merge_verified_people_of_accounts() IS
  'merge_verified_people for each account; for the worker.';

CREATE VIEW keypup.person_suggestions WITH (security_invoker = true, security_barrier = true) AS
WITH login AS (
  SELECT i.account_id, i.connection_id, i.external_id, c.name AS connection, c.base_url, c.created_at, i.login,
    i.person_id, coalesce(p.name, i.login) AS person,
      lower(lower(regexp_replace(btrim(i.name), '\s+', ' ', 'g') COLLATE "C") COLLATE "default") AS spoken_name
  FROM keypup.identities i
  JOIN keypup.connections c ON c.account_id = i.account_id AND c.connection_id = i.connection_id
  LEFT JOIN keypup.people p ON p.account_id = i.account_id AND p.person_id = i.person_id
  WHERE i.person_id IS NOT NULL
    AND NOT EXISTS (SELECT FROM keypup.person_splits s WHERE s.account_id = i.account_id
      AND s.connection_id = i.connection_id AND s.external_id = i.external_id)
), likeness AS (
  -- One word is a first name, or a login: many have it.
  SELECT l.*, 'same_name' AS reason, l.spoken_name AS likeness FROM login l WHERE l.spoken_name ~ '\S \S'
  UNION ALL
  SELECT l.*, 'same_login', lower(l.login COLLATE "C") FROM login l
), beside AS (
  SELECT k.*, first_value(k.connection_id) OVER w AS into_connection_id,
    first_value(k.connection) OVER w AS into_connection, first_value(k.base_url) OVER w AS into_base_url,
      first_value(k.login) OVER w AS into_login, first_value(k.person_id) OVER w AS into_person_id,
      first_value(k.person) OVER w AS into_person
  FROM likeness k
  WINDOW w AS (PARTITION BY k.account_id, k.reason, k.likeness ORDER BY k.created_at, k.connection_id, k.external_id)
)
SELECT b.account_id,
  (array_agg(b.connection_id ORDER BY b.created_at, b.connection_id, b.external_id, b.reason))[1] AS connection_id,
  (array_agg(b.connection ORDER BY b.created_at, b.connection_id, b.external_id, b.reason))[1] AS connection,
    (array_agg(b.login ORDER BY b.created_at, b.connection_id, b.external_id, b.reason))[1] AS login, b.person_id,
  b.person, (array_agg(b.into_connection_id ORDER BY b.created_at, b.connection_id, b.external_id,
    b.reason))[1] AS into_connection_id,
  (array_agg(b.into_connection ORDER BY b.created_at, b.connection_id, b.external_id, b.reason))[1] AS into_connection,
  (array_agg(b.into_login ORDER BY b.created_at, b.connection_id, b.external_id, b.reason))[1] AS into_login,
  b.into_person_id, b.into_person, array_agg(DISTINCT b.reason ORDER BY b.reason) AS reasons
FROM beside b
-- At one address one login is one account: where two connections have it as two, it was given up and taken by another.
WHERE b.person_id <> b.into_person_id AND (b.reason = 'same_name' OR b.base_url <> b.into_base_url)
GROUP BY b.account_id, b.person_id, b.person, b.into_person_id, b.into_person;
REVOKE ALL ON keypup.person_suggestions FROM PUBLIC;
GRANT SELECT ON keypup.person_suggestions TO keypup_member;
COMMENT ON VIEW keypup.person_suggestions IS
  'One row two persons that look alike, by a login of each: for somebody to judge. Nothing is merged by it; a login '
  'that was split is in none.';
COMMENT ON COLUMN keypup.person_suggestions.account_id IS 'The account.';
COMMENT ON COLUMN keypup.person_suggestions.connection_id IS
  'The connection of the login; of several alike, the oldest.';
COMMENT ON COLUMN keypup.person_suggestions.connection IS 'Name of the connection.';
COMMENT ON COLUMN keypup.person_suggestions.login IS 'The login.';
COMMENT ON COLUMN keypup.person_suggestions.person_id IS 'The person, after all merges.';
COMMENT ON COLUMN keypup.person_suggestions.person IS 'Name of the person.';
COMMENT ON COLUMN keypup.person_suggestions.into_connection_id IS
  'The connection of the login that it looks like: of all alike, the one of the oldest connection.';
COMMENT ON COLUMN keypup.person_suggestions.into_connection IS 'Name of that connection.';
COMMENT ON COLUMN keypup.person_suggestions.into_login IS 'The login that it looks like.';
COMMENT ON COLUMN keypup.person_suggestions.into_person_id IS 'The person of that login, after all merges.';
COMMENT ON COLUMN keypup.person_suggestions.into_person IS 'Name of that person.';
COMMENT ON COLUMN keypup.person_suggestions.reasons IS
  'What is alike, sorted: same_login (at another address, in any case), same_name (of two words or more).';
