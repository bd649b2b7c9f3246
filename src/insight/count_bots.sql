-- insight/count_bots.sql: whether sums and percentiles count what bots opened. doc/metrics.md says which do.

CREATE FUNCTION keypup.counts_bots() RETURNS boolean
LANGUAGE c STABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'keypup_counts_bots';
REVOKE ALL ON FUNCTION keypup.counts_bots() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION keypup.counts_bots() TO keypup_member;
COMMENT ON FUNCTION keypup.counts_bots() IS
  'Whether views that sum over issues and pull requests count those that bots opened: the setting keypup.count_bots.';
