-- insight/revert.sql: which pull request took which one back. doc/metrics.md has the definitions.

CREATE FUNCTION keypup.reverted_title(title text) RETURNS text
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE STRICT SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  parts text[];
BEGIN
  IF title COLLATE "C" !~* '^re(vert|apply)' THEN
    RETURN NULL;
  END IF;
  parts := regexp_match(title, '^[Rr](evert|eapply) "(.+)"( \(#[0-9]+\))?$');
  IF parts IS NOT NULL THEN
    RETURN CASE parts[1] WHEN 'evert' THEN parts[2] ELSE format('Revert "%s"', parts[2]) END;
  END IF;
  RETURN coalesce((regexp_match(title, '^[Rr]evert "(.+(…|\.\.\.))$'))[1],
    (regexp_match(title, '^[Rr]evert(\([^()]*\))?!?: +(.+)$'))[2]);
END
$$;
REVOKE ALL ON FUNCTION keypup.reverted_title(text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION keypup.reverted_title(text) TO keypup_member;
COMMENT ON FUNCTION keypup.reverted_title(text) IS
  'The title of what a pull request takes back, as its own title tells; NULL where that is none of a revert.';

-- Without the kind of change before it, and the number after it, that conventions add to titles.
CREATE FUNCTION keypup.plain_title(title text) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE STRICT SET search_path = pg_catalog, pg_temp
AS $$ SELECT regexp_replace(regexp_replace(
    lower(lower(title COLLATE "C") COLLATE "default"), '^[a-z]+(\([^()]*\))?!?: +', ''), ' \(#[0-9]+\)$', '') $$;
REVOKE ALL ON FUNCTION keypup.plain_title(text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION keypup.plain_title(text) TO keypup_member;
COMMENT ON FUNCTION keypup.plain_title(text) IS
  'A title in small letters, without a prefix such as "feat(api): " and a number such as " (#12)" at its end.';

-- A title that nothing has: what it begins is cut off, or it says more than the title. Only what can be meant by
-- nothing else is taken. A function, since the few reverts of which it is asked would count for thousands in a plan.
CREATE FUNCTION keypup.find_reverted(account uuid, project bigint, own_title text, before timestamptz,
  OUT number bigint, OUT title text)
LANGUAGE plpgsql STABLE STRICT PARALLEL RESTRICTED SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  quoted text := keypup.reverted_title(own_title);
  beginning text := (regexp_match(quoted, '^(.{5,})(…|\.\.\.)$'))[1];
  numbered text[] := regexp_match(quoted, '^(.+) \(#([0-9]{1,18})\)$');
  plain text := CASE WHEN own_title COLLATE "C" ~* '^revert[(!:]' THEN keypup.plain_title(quoted) END;
BEGIN
  IF beginning IS NOT NULL OR plain IS NOT NULL THEN
    SELECT max(p.number), max(p.title) INTO number, title
    FROM keypup.pull_requests p
    WHERE p.account_id = account AND p.project_id = project AND p.deleted_at IS NULL AND p.merged_at <= before
      AND CASE WHEN beginning IS NOT NULL THEN starts_with(p.title, beginning)
        ELSE strpos(lower(lower(p.title COLLATE "C") COLLATE "default"), plain) > 0
          AND keypup.plain_title(p.title) = plain END
    HAVING count(DISTINCT p.title) = 1;
  ELSIF numbered IS NOT NULL THEN
    SELECT p.number, p.title INTO number, title
    FROM keypup.pull_requests p
    WHERE p.account_id = account AND p.project_id = project AND p.number = numbered[2]::bigint
      AND p.deleted_at IS NULL AND p.merged_at <= before AND p.title = numbered[1];
  END IF;
END
$$;
REVOKE ALL ON FUNCTION keypup.find_reverted(uuid, bigint, text, timestamptz) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION keypup.find_reverted(uuid, bigint, text, timestamptz) TO keypup_member;
COMMENT ON FUNCTION keypup.find_reverted(uuid, bigint, text, timestamptz) IS
  'What a revert of a title that nothing has takes back, by its beginning, its number or what is left of it without '
  'what conventions add; NULL where that may be several.';

CREATE VIEW keypup.pull_request_reverts WITH (security_invoker = true, security_barrier = true) AS
-- What is merged under its title and what reverts under the title that it names, in one list in the order of time: no
-- join.
WITH listed AS (
  SELECT p.account_id, p.project_id, x.title COLLATE "C" AS title, x.happened_at, x.merged_number, x.revert_number,
    x.own_title, p.state AS revert_state, p.author AS revert_author, p.author_is_bot,
    p.merged_at AS revert_merged_at
  FROM keypup.pull_requests p
  CROSS JOIN LATERAL (
    SELECT p.title, p.merged_at AS happened_at, p.number AS merged_number, NULL::bigint AS revert_number,
      NULL::text AS own_title
    WHERE p.merged_at IS NOT NULL
    UNION ALL
    SELECT keypup.reverted_title(p.title), p.created_at, NULL, p.number, p.title
    WHERE p.title COLLATE "C" ~* '^re(vert|apply)'
  ) AS x
  WHERE p.deleted_at IS NULL
), named AS (
  SELECT l.account_id, l.project_id, l.title, l.happened_at, l.revert_number, l.own_title, l.revert_state,
    l.revert_author, l.author_is_bot, l.revert_merged_at, max(l.merged_number) OVER w AS number
  FROM listed l
  WINDOW w AS (PARTITION BY l.account_id, l.project_id, l.title ORDER BY l.happened_at,
    l.revert_number NULLS FIRST ROWS UNBOUNDED PRECEDING)
)
SELECT n.account_id, n.project_id, j.name AS project, coalesce(n.number, f.number) AS number,
  CASE WHEN n.number IS NOT NULL THEN n.title COLLATE "default" ELSE f.title END AS title,
  n.revert_number AS reverted_by, n.revert_author AS reverted_by_author, n.author_is_bot, n.revert_state,
    n.happened_at AS revert_created_at, n.revert_merged_at AS reverted_at
FROM named n
JOIN keypup.projects j ON j.account_id = n.account_id AND j.project_id = n.project_id
CROSS JOIN LATERAL keypup.find_reverted(n.account_id, n.project_id, CASE WHEN n.number IS NULL THEN n.own_title END,
  n.happened_at) AS f
WHERE n.revert_number IS NOT NULL AND n.title IS NOT NULL AND (n.number IS NOT NULL OR f.number IS NOT NULL);
REVOKE ALL ON keypup.pull_request_reverts FROM PUBLIC;
GRANT SELECT ON keypup.pull_request_reverts TO keypup_member;
COMMENT ON VIEW keypup.pull_request_reverts IS
  'One row a pull request that reverts another of the project, by its title: Revert "title", Reapply "title" (which '
  'reverts Revert "title") or revert: title.';
COMMENT ON COLUMN keypup.pull_request_reverts.account_id IS 'The account.';
COMMENT ON COLUMN keypup.pull_request_reverts.project_id IS 'The project.';
COMMENT ON COLUMN keypup.pull_request_reverts.project IS 'Name of the project.';
COMMENT ON COLUMN keypup.pull_request_reverts.number IS
  'The pull request that is reverted: of those with the title that were merged before the revert was opened, the one '
  'with the highest number; where none has it, the only one that can be meant.';
COMMENT ON COLUMN keypup.pull_request_reverts.title IS 'Its title.';
COMMENT ON COLUMN keypup.pull_request_reverts.reverted_by IS 'The pull request that reverts it.';
COMMENT ON COLUMN keypup.pull_request_reverts.reverted_by_author IS
  'Login of who opened that; NULL when the user was deleted.';
COMMENT ON COLUMN keypup.pull_request_reverts.author_is_bot IS 'Whether a bot opened that.';
COMMENT ON COLUMN keypup.pull_request_reverts.revert_state IS 'open, closed (it was not reverted) or merged.';
COMMENT ON COLUMN keypup.pull_request_reverts.revert_created_at IS 'When the revert was opened.';
COMMENT ON COLUMN keypup.pull_request_reverts.reverted_at IS 'When the revert was merged; NULL if not.';
