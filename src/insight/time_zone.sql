-- insight/time_zone.sql: where the days, weeks and months of an account begin.

CREATE FUNCTION keypup.known_time_zone(zone text) RETURNS text
LANGUAGE c STABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'keypup_known_time_zone';
REVOKE ALL ON FUNCTION keypup.known_time_zone(text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION keypup.known_time_zone(text) TO keypup_member;
COMMENT ON FUNCTION keypup.known_time_zone(text) IS
  'The time zone, or UTC where this server does not know it: views never fail on one.';

-- The planner takes generate_series for 1,000 rows, here for 10: series are made for each of thousands of rows, most of
-- them of one period, and what seems to give millions would be compiled for longer than it runs.
CREATE FUNCTION keypup.period_starts(first_start timestamp, until timestamp, step interval) RETURNS SETOF timestamp
LANGUAGE internal IMMUTABLE STRICT PARALLEL SAFE ROWS 10 AS 'generate_series_timestamp';
REVOKE ALL ON FUNCTION keypup.period_starts(timestamp, timestamp, interval) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION keypup.period_starts(timestamp, timestamp, interval) TO keypup_member;
COMMENT ON FUNCTION keypup.period_starts(timestamp, timestamp, interval) IS
  'When each day, week or month begins, from the first on until a time: generate_series.';

CREATE FUNCTION keypup.time_zone_name(zone text) RETURNS text
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  its_name text;
BEGIN
  -- An abbreviation is a fixed offset, whatever the season: only UTC is meant so.
  SELECT z.name INTO its_name FROM pg_timezone_names z
  WHERE lower(z.name COLLATE "C") = lower(zone COLLATE "C") AND z.name !~ '^(posix|right)/'
    AND (z.name = 'UTC' OR NOT EXISTS (SELECT FROM pg_timezone_abbrevs b WHERE b.abbrev = upper(z.name COLLATE "C")));
  IF its_name IS NULL THEN
    RAISE EXCEPTION 'time zone "%" is unknown', coalesce(regexp_replace(left(zone, 100), '[[:cntrl:]]', '?', 'g'), '')
      USING ERRCODE = 'invalid_parameter_value', HINT = 'Write it as Europe/Paris or UTC; SELECT name FROM '
        'pg_timezone_names shows all.';
  END IF;
  RETURN its_name;
END
$$;
REVOKE ALL ON FUNCTION keypup.time_zone_name(text) FROM PUBLIC;
COMMENT ON FUNCTION keypup.time_zone_name(text) IS
  'The name of a time zone in the server''s spelling; fails where it knows none.';

CREATE FUNCTION keypup.set_time_zone(account text, time_zone text) RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  the_account uuid := keypup.authorize(account, 'settings.write');
  zone text := keypup.time_zone_name(time_zone);
BEGIN
  UPDATE keypup.accounts a SET time_zone = zone WHERE a.account_id = the_account;
  PERFORM keypup.record_action(the_account, 'account.time_zone', zone);
END
$$;
REVOKE ALL ON FUNCTION keypup.set_time_zone(text, text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION keypup.set_time_zone(text, text) TO keypup_member;
COMMENT ON FUNCTION keypup.set_time_zone(text, text) IS
  'Sets where the days, weeks and months of the account begin; the views count by it from the next statement on.';
