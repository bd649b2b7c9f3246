-- insight/working_time.sql: durations in working time: of the hours and days in which an account, or a person, works.
-- doc/working-time.md has the rules.

CREATE FUNCTION keypup.time_at_work(minutes integer[], holidays date[], time_zone text, from_at timestamptz,
  until_at timestamptz) RETURNS interval
LANGUAGE c STABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'keypup_time_at_work';
REVOKE ALL ON FUNCTION keypup.time_at_work(integer[], date[], text, timestamptz, timestamptz) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION keypup.time_at_work(integer[], date[], text, timestamptz, timestamptz) TO keypup_member;
COMMENT ON FUNCTION keypup.time_at_work(integer[], date[], text, timestamptz, timestamptz) IS
  'How much of the time between two moments is working time: spans of minutes from Monday 0:00 on, but for holidays, '
  'in the time zone, or UTC where this server does not know it. 0 in reverse; NULL for times without end.';

CREATE FUNCTION keypup.time_at_work(minutes integer[], holidays date[], time_zone text, spans tstzrange[],
  from_at timestamptz, until_at timestamptz) RETURNS interval
LANGUAGE sql STABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp
AS $$
  SELECT coalesce(sum(keypup.time_at_work(minutes, holidays, time_zone, greatest(lower(s.span), from_at),
    least(upper(s.span), until_at))), interval '0')
  FROM unnest(spans) AS s(span)
$$;
REVOKE ALL ON FUNCTION keypup.time_at_work(integer[], date[], text, tstzrange[], timestamptz, timestamptz) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION keypup.time_at_work(integer[], date[], text, tstzrange[], timestamptz, timestamptz)
  TO keypup_member;
COMMENT ON FUNCTION keypup.time_at_work(integer[], date[], text, tstzrange[], timestamptz, timestamptz) IS
  'The same of what lies in spans that do not overlap.';

CREATE FUNCTION keypup.working_time(account text, from_at timestamptz, until_at timestamptz,
  time_zone text DEFAULT NULL) RETURNS interval
LANGUAGE sql STABLE PARALLEL RESTRICTED SET search_path = pg_catalog, pg_temp
AS $$
  SELECT keypup.time_at_work(a.working_minutes, a.holidays, coalesce(working_time.time_zone, a.time_zone), from_at,
    until_at)
  FROM keypup.accounts a WHERE a.name = account
$$;
REVOKE ALL ON FUNCTION keypup.working_time(text, timestamptz, timestamptz, text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION keypup.working_time(text, timestamptz, timestamptz, text) TO keypup_member;
COMMENT ON FUNCTION keypup.working_time(text, timestamptz, timestamptz, text) IS
  'How much of the time between two moments is working time of the account, in its time zone or in another, as that of '
  'a person. NULL where the account is none of the current user''s.';

-- As OpenStreetMap writes opening hours, https://wiki.openstreetmap.org/wiki/Key:opening_hours: days and times alone.
CREATE FUNCTION keypup.minutes_of_week(hours text[]) RETURNS integer[]
LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  day CONSTANT text := '(Mo|Tu|We|Th|Fr|Sa|Su)';
  clock CONSTANT text := '([01][0-9]|2[0-3]):[0-5][0-9]-(([01][0-9]|2[0-3]):[0-5][0-9]|24:00)';
  names CONSTANT text := 'MoTuWeThFrSaSu';
BEGIN
  IF coalesce(cardinality(hours), 0) NOT BETWEEN 1 AND 50 OR EXISTS (
    SELECT FROM unnest(hours) AS h(line)
    WHERE h.line IS NULL OR h.line !~ format('^%1$s(-%1$s)?(,%1$s(-%1$s)?)* %2$s(,%2$s)*$', day, clock)
      OR length(h.line) > 200) THEN
    RAISE EXCEPTION 'working hours are malformed' USING ERRCODE = 'invalid_parameter_value',
      HINT = 'Write days and times: {Mo-Th 09:00-12:30,13:30-18:00} and {Fr 09:00-15:00}; Mo-Su 00:00-24:00 is always.';
  END IF;
  RETURN (
    WITH written AS (
      SELECT split_part(h.line, ' ', 1) AS days, split_part(h.line, ' ', 2) AS times FROM unnest(hours) AS h(line)
    ), span AS (
      SELECT (n.first_day + k.later) % 7 * 1440 + t.starts AS starts, CASE WHEN t.ends > t.starts THEN t.ends - t.starts
        ELSE t.ends + 1440 - t.starts END AS length
      FROM written w
      CROSS JOIN LATERAL string_to_table(w.days, ',') AS d(days)
      CROSS JOIN LATERAL (SELECT strpos(names, left(d.days, 2)) / 2 AS first_day,
        strpos(names, right(d.days, 2)) / 2 AS last_day) AS n
      CROSS JOIN LATERAL generate_series(0, (n.last_day - n.first_day + 7) % 7) AS k(later)
      CROSS JOIN LATERAL string_to_table(w.times, ',') AS c(times)
      CROSS JOIN LATERAL (SELECT left(c.times, 2)::integer * 60 + substr(c.times, 4, 2)::integer AS starts,
        substr(c.times, 7, 2)::integer * 60 + right(c.times, 2)::integer AS ends) AS t
    ), cut AS (
      -- What ends in the night after Sunday goes on at the beginning of the week.
      SELECT range_agg(int4range(s.starts - x.shift, s.starts + s.length - x.shift) * int4range(0, 10080)) AS spans
      FROM span s CROSS JOIN (VALUES (0), (10080)) AS x(shift)
    )
    SELECT array_agg(m.minute ORDER BY m.minute)
    FROM cut c
    CROSS JOIN LATERAL unnest(c.spans) AS u(span)
    CROSS JOIN LATERAL (VALUES (lower(u.span)), (upper(u.span))) AS m(minute)
  );
END
$$;
REVOKE ALL ON FUNCTION keypup.minutes_of_week(text[]) FROM PUBLIC;
COMMENT ON FUNCTION keypup.minutes_of_week(text[]) IS
  'Working hours as they are computed with: begin and end of each span, in minutes from Monday 0:00 on.';

CREATE FUNCTION keypup.set_working_hours(account text, hours text[]) RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  the_account uuid := keypup.authorize(account, 'settings.write');
  minutes integer[] := keypup.minutes_of_week(hours);
BEGIN
  UPDATE keypup.accounts a SET working_hours = hours, working_minutes = minutes WHERE a.account_id = the_account;
  PERFORM keypup.record_action(the_account, 'account.working_hours', array_to_string(hours, '; '));
END
$$;
REVOKE ALL ON FUNCTION keypup.set_working_hours(text, text[]) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION keypup.set_working_hours(text, text[]) TO keypup_member;
COMMENT ON FUNCTION keypup.set_working_hours(text, text[]) IS
  'Says in which hours of the week the account works, for example {Mo-Fr 09:00-12:30,13:30-17:00}; working times count '
  'by it from the next statement on, for the past too.';

CREATE FUNCTION keypup.sorted_holidays(days date[]) RETURNS date[]
LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  sorted date[] := ARRAY(SELECT DISTINCT d.day FROM unnest(days) AS d(day) ORDER BY 1);
BEGIN
  IF days IS NULL OR cardinality(sorted) > 2000 OR EXISTS (SELECT FROM unnest(sorted) AS d(day)
    WHERE d.day IS NULL OR d.day NOT BETWEEN '0001-01-01' AND '9999-12-31') THEN
    RAISE EXCEPTION 'holidays are malformed' USING ERRCODE = 'invalid_parameter_value',
      HINT = 'Give at most 2000 days, of years 1 to 9999; {} for none.';
  END IF;
  RETURN sorted;
END
$$;
REVOKE ALL ON FUNCTION keypup.sorted_holidays(date[]) FROM PUBLIC;
COMMENT ON FUNCTION keypup.sorted_holidays(date[]) IS 'Holidays as they are computed with: sorted, each once.';

CREATE FUNCTION keypup.set_holidays(account text, days date[]) RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET datestyle = 'ISO'
AS $$
DECLARE
  the_account uuid := keypup.authorize(account, 'settings.write');
  sorted date[] := keypup.sorted_holidays(days);
BEGIN
  UPDATE keypup.accounts a SET holidays = sorted WHERE a.account_id = the_account;
  PERFORM keypup.record_action(the_account, 'account.holidays', CASE WHEN sorted = '{}' THEN 'none' ELSE
    format('%s days, %s to %s', cardinality(sorted), sorted[1], sorted[cardinality(sorted)]) END);
END
$$;
REVOKE ALL ON FUNCTION keypup.set_holidays(text, date[]) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION keypup.set_holidays(text, date[]) TO keypup_member;
COMMENT ON FUNCTION keypup.set_holidays(text, date[]) IS
  'Says on which days the account does not work, whatever the day of the week: all of them, those of the past, too.';

CREATE FUNCTION keypup.set_person_working_time(account text, login text, hours text[] DEFAULT NULL,
  time_zone text DEFAULT NULL, holidays date[] DEFAULT NULL) RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  the_account uuid := keypup.authorize(account, 'settings.write');
  minutes integer[] := CASE WHEN hours IS NOT NULL THEN keypup.minutes_of_week(hours) END;
  zone text := CASE WHEN time_zone IS NOT NULL THEN keypup.time_zone_name(time_zone) END;
  days date[] := CASE WHEN holidays IS NOT NULL THEN keypup.sorted_holidays(holidays) END;
  person uuid;
BEGIN
  -- The person that the login is after a merge that goes on.
  PERFORM FROM keypup.accounts a WHERE a.account_id = the_account FOR NO KEY UPDATE;
  person := (SELECT l.person_id FROM keypup.find_logins(the_account, login) l LIMIT 1);
  UPDATE keypup.people u SET time_zone = zone, working_hours = hours, working_minutes = minutes, holidays = days
  WHERE u.account_id = the_account AND u.person_id = person;
  UPDATE keypup.accounts a SET has_person_working_times = EXISTS (
    SELECT FROM keypup.people u WHERE u.account_id = the_account
      AND (u.working_hours IS NOT NULL OR u.time_zone IS NOT NULL OR u.holidays IS NOT NULL))
  WHERE a.account_id = the_account;
  PERFORM keypup.record_action(the_account, 'person.working_time', format('"%s": %s', login,
    coalesce(nullif(concat_ws(', ', array_to_string(hours, '; '), zone, cardinality(days) || ' holidays'), ''),
      'as the account')));
END
$$;
REVOKE ALL ON FUNCTION keypup.set_person_working_time(text, text, text[], text, date[]) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION keypup.set_person_working_time(text, text, text[], text, date[]) TO keypup_member;
COMMENT ON FUNCTION keypup.set_person_working_time(text, text, text[], text, date[]) IS
  'Says in which hours the person of a login works, by the clocks of which time zone, and on which days not; the '
  'account''s where it is left out or NULL, as before: all three each time. Counts from the next statement on, for the '
  'past too, where a view says that it counts by a person.';

CREATE VIEW keypup.pull_request_working_times WITH (security_invoker = true, security_barrier = true) AS
-- The spans are those of pull_request_cycle and pull_request_metrics.
SELECT p.account_id, p.project_id, (
    SELECT j.name FROM keypup.projects j
    WHERE j.account_id = p.account_id AND j.project_id = p.project_id) AS project,
  p.number, p.key, p.author, p.author_is_bot, p.state, p.created_at, p.merged_at,
  keypup.time_at_work(w.minutes, w.holidays, w.zone, s.coding_started_at, least(p.ready_at, p.merged_at))
    AS working_coding_time,
  keypup.time_at_work(w.minutes, w.holidays, w.zone, p.ready_at, p.first_review_at)
    - coalesce(keypup.time_at_work(w.minutes, w.holidays, w.zone, p.draft_spans, p.ready_at, p.first_review_at), '0')
    AS working_pickup_time,
  keypup.time_at_work(w.minutes, w.holidays, w.zone, p.first_review_at, s.approved_at)
    - coalesce(keypup.time_at_work(w.minutes, w.holidays, w.zone, p.draft_spans, p.first_review_at, s.approved_at), '0')
    AS working_review_time,
  keypup.time_at_work(w.minutes, w.holidays, w.zone, p.first_approval_at, p.merged_at)
    - coalesce(keypup.time_at_work(w.minutes, w.holidays, w.zone, p.draft_spans, p.first_approval_at, p.merged_at), '0')
    AS working_merge_time,
  CASE WHEN p.first_review_at IS NULL AND p.ready_at <= p.merged_at
    THEN keypup.time_at_work(w.minutes, w.holidays, w.zone, p.ready_at, p.merged_at)
      - coalesce(keypup.time_at_work(w.minutes, w.holidays, w.zone, p.draft_spans, p.ready_at, p.merged_at), '0') END
    AS working_unreviewed_time,
  CASE WHEN p.ready_at <= p.merged_at
    THEN keypup.time_at_work(w.minutes, w.holidays, w.zone, p.draft_spans, p.ready_at, p.merged_at) END
    AS working_draft_time,
  keypup.time_at_work(w.minutes, w.holidays, w.zone, s.coding_started_at, p.merged_at) AS working_cycle_time,
  CASE WHEN p.first_review_at >= p.review_requested_at
    THEN keypup.time_at_work(w.minutes, w.holidays, w.zone, p.review_requested_at, p.first_review_at) END
    AS working_idle_time,
  CASE WHEN p.first_review_at >= p.created_at
    THEN keypup.time_at_work(w.minutes, w.holidays, w.zone, p.created_at, p.first_review_at) END
    AS working_time_to_first_review,
  keypup.time_at_work(w.minutes, w.holidays, w.zone, p.created_at, p.first_response_at)
    AS working_time_to_first_response,
  CASE WHEN p.merged_at >= p.created_at
    THEN keypup.time_at_work(w.minutes, w.holidays, w.zone, p.created_at, p.merged_at) END AS working_time_to_merge
FROM keypup.pull_requests p
-- LIMIT, so that the planner does not begin with the accounts.
CROSS JOIN LATERAL (
  SELECT a.working_minutes AS minutes, a.holidays, a.time_zone AS zone FROM keypup.accounts a
  WHERE a.account_id = p.account_id LIMIT 1) AS w
CROSS JOIN LATERAL (
  SELECT least(p.first_commit_at, p.created_at, p.ready_at, p.merged_at) AS coding_started_at,
    coalesce(p.first_approval_at, p.merged_at) AS approved_at) AS s
WHERE p.deleted_at IS NULL;
REVOKE ALL ON keypup.pull_request_working_times FROM PUBLIC;
GRANT SELECT ON keypup.pull_request_working_times TO keypup_member;
COMMENT ON VIEW keypup.pull_request_working_times IS
  'One row a pull request that is not deleted: its stages and other durations in working time, without the hours, '
  'nights and days in which the account does not work (set_working_hours, set_holidays): the account''s for all of '
  'them, whoever''s turn it was, so that the stages sum to the whole.';
COMMENT ON COLUMN keypup.pull_request_working_times.account_id IS 'The account.';
COMMENT ON COLUMN keypup.pull_request_working_times.project_id IS 'The project.';
COMMENT ON COLUMN keypup.pull_request_working_times.project IS 'Name of the project.';
COMMENT ON COLUMN keypup.pull_request_working_times.number IS 'Number within the project.';
COMMENT ON COLUMN keypup.pull_request_working_times.key IS 'As people write it: #12 or !12.';
COMMENT ON COLUMN keypup.pull_request_working_times.author IS 'Login; NULL when the user was deleted.';
COMMENT ON COLUMN keypup.pull_request_working_times.author_is_bot IS 'Whether a bot opened it.';
COMMENT ON COLUMN keypup.pull_request_working_times.state IS 'open, closed or merged.';
COMMENT ON COLUMN keypup.pull_request_working_times.created_at IS 'When it was opened.';
COMMENT ON COLUMN keypup.pull_request_working_times.merged_at IS 'When it was merged; NULL if not.';
COMMENT ON COLUMN keypup.pull_request_working_times.working_coding_time IS
  'Working time of coding_time: first commit (or opening, if earlier) to ready.';
COMMENT ON COLUMN keypup.pull_request_working_times.working_pickup_time IS
  'Working time of pickup_time: ready to the first review; NULL without one.';
COMMENT ON COLUMN keypup.pull_request_working_times.working_review_time IS
  'Working time of review_time: first review to first approval, or to the merge where nobody approved.';
COMMENT ON COLUMN keypup.pull_request_working_times.working_merge_time IS
  'Working time of merge_time: first approval to merge; NULL without an approval.';
COMMENT ON COLUMN keypup.pull_request_working_times.working_unreviewed_time IS
  'Working time of unreviewed_time: ready to merge where nobody reviewed; NULL otherwise.';
COMMENT ON COLUMN keypup.pull_request_working_times.working_draft_time IS
  'Working time of draft_time, in which it was a draft again and which no stage counts; NULL where it never was, and '
  'until merged.';
COMMENT ON COLUMN keypup.pull_request_working_times.working_cycle_time IS
  'Working time of cycle_time, start of coding to merge: the sum of these stages and working_draft_time; NULL until '
  'merged.';
COMMENT ON COLUMN keypup.pull_request_working_times.working_idle_time IS
  'Working time of idle_time: first review request to the first review; no part of the sum.';
COMMENT ON COLUMN keypup.pull_request_working_times.working_time_to_first_review IS
  'Working time of time_to_first_review: opening to the first review, draft time included.';
COMMENT ON COLUMN keypup.pull_request_working_times.working_time_to_first_response IS
  'Working time of time_to_first_response: opening to the first review or comment.';
COMMENT ON COLUMN keypup.pull_request_working_times.working_time_to_merge IS
  'Working time from the opening to the merge; NULL until merged, and where the merge is dated before the opening.';
