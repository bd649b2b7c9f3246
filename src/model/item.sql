-- model/item.sql: issues and pull requests, and what belongs to one of them: reviews, comments, events. What a provider
-- does not have is NULL, or an empty list; keypup.provider_capabilities tells which.

-- Keys as Jira writes them, wherever people wrote them. Whether there is such an issue is item_links' question.
CREATE FUNCTION keypup.mentioned_keys(title text, branch text) RETURNS text[]
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  words text := coalesce(branch || ' ', '') || title;
BEGIN
  -- None is cut in two.
  IF length(words) > 2000 THEN
    words := regexp_replace(left(words, 2000), '[A-Za-z0-9_-]*$', '');
  END IF;
  IF words !~ '[A-Z0-9]-[1-9]' THEN
    RETURN '{}';
  END IF;
  RETURN ARRAY(
    SELECT m[1] FROM regexp_matches(words, '(?:^|[^A-Za-z0-9])([A-Z][A-Z0-9_]{1,19}-[1-9][0-9]{0,8})(?![A-Za-z0-9])',
      'g') AS m
    GROUP BY 1 ORDER BY m[1] COLLATE "C" LIMIT 20);
END
$$;
REVOKE ALL ON FUNCTION keypup.mentioned_keys(text, text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION keypup.mentioned_keys(text, text) TO keypup_member, keypup_worker;
COMMENT ON FUNCTION keypup.mentioned_keys(text, text) IS
  'What looks like the key of an issue, as PROJ-12, in a title and the name of a branch: sorted, twenty at most.';

-- The numbers that people write: #12, but neither other/repository#12 nor &#12; nor #12a. Whether there is such an
-- issue is the question of issue_pull_request_links.
CREATE FUNCTION keypup.numbers_in_title(title text) RETURNS bigint[]
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE STRICT SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  IF strpos(title, '#') = 0 THEN
    RETURN '{}';
  ELSIF length(title) > 2000 THEN
    -- None is cut in two.
    title := regexp_replace(left(title, 2000), '[[:alnum:]_#]*$', '');
  END IF;
  RETURN ARRAY(
    SELECT DISTINCT m[1]::bigint FROM regexp_matches(title,
      '(?<![[:alnum:]_.&/#-])#([0-9]{1,9})(?![[:alnum:]_])', 'g') AS m ORDER BY 1);
END
$$;
CREATE FUNCTION keypup.number_in_branch(branch text) RETURNS bigint
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE STRICT SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  IF branch !~ '[0-9]' THEN
    RETURN NULL;
  END IF;
  RETURN (regexp_match(lower(branch COLLATE "C") COLLATE "default",
    '(?:^|/)(?:issues?[-_/]?|fix(?:es)?[-_/]|(?=[0-9]+[-_][[:alpha:]]))([0-9]{1,9})(?:$|[-_/])'))[1]::bigint;
END
$$;
REVOKE ALL ON FUNCTION keypup.numbers_in_title(text), keypup.number_in_branch(text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION keypup.numbers_in_title(text), keypup.number_in_branch(text)
  TO keypup_member, keypup_worker;
COMMENT ON FUNCTION keypup.numbers_in_title(text) IS
  'The numbers of issues that a title names as #12, sorted, each once.';
COMMENT ON FUNCTION keypup.number_in_branch(text) IS
  'The number of an issue that a branch is named after, as issue-12, fix/12 or 12-title; NULL without one.';

CREATE TABLE keypup.pull_requests (
  account_id uuid NOT NULL,
  project_id bigint NOT NULL,
  number bigint NOT NULL,
  key text NOT NULL,
  external_id text NOT NULL,
  global_id text,
  url text,
  title text NOT NULL,
  state text NOT NULL CHECK (state IN ('open', 'closed', 'merged')),
  is_draft boolean NOT NULL,
  author text,
  author_is_bot boolean NOT NULL DEFAULT false,
  created_at timestamptz NOT NULL,
  updated_at timestamptz NOT NULL,
  closed_at timestamptz,
  merged_at timestamptz,
  merged_by text,
  base_branch text,
  head_branch text,
  additions bigint,
  deletions bigint,
  changed_files bigint,
  commit_count bigint,
  first_commit_at timestamptz,
  ready_at timestamptz,
  review_requested_at timestamptz,
  first_review_at timestamptz,
  first_approval_at timestamptz,
  first_response_at timestamptz,
  draft_spans tstzrange[],
  review_count bigint NOT NULL DEFAULT 0,
  comment_count bigint NOT NULL DEFAULT 0,
  labels text[] NOT NULL DEFAULT '{}',
  assignees text[] NOT NULL DEFAULT '{}',
  requested_reviewers text[] NOT NULL DEFAULT '{}',
  milestone text,
  milestone_ids text[] NOT NULL DEFAULT '{}',
  closes_issues bigint[] NOT NULL DEFAULT '{}',
  closes_elsewhere text[] NOT NULL DEFAULT '{}' CHECK (array_to_string(closes_elsewhere, E'\n', '') COLLATE "C"
    ~ '^([^\n]+ [0-9]{1,18}(\n[^\n]+ [0-9]{1,18})*)?$'),
  mentioned_keys text[] NOT NULL GENERATED ALWAYS AS (keypup.mentioned_keys(title, head_branch)) STORED,
  title_numbers bigint[] NOT NULL GENERATED ALWAYS AS (keypup.numbers_in_title(title)) STORED,
  branch_number bigint GENERATED ALWAYS AS (keypup.number_in_branch(head_branch)) STORED,
  is_read_early boolean NOT NULL DEFAULT false,
  deleted_at timestamptz,
  PRIMARY KEY (account_id, project_id, number),
  FOREIGN KEY (account_id, project_id) REFERENCES keypup.projects ON DELETE CASCADE,
  -- PostgreSQL has times without end, and years of six digits; no provider's clock has.
  CHECK (least(created_at, updated_at, closed_at, merged_at) >= '0001-01-01 00:00:00+00'
    AND greatest(created_at, updated_at, closed_at, merged_at) < '10000-01-01 00:00:00+00'
    AND isfinite(first_commit_at))
) WITH (fillfactor = 50);
-- For the time ranges of dashboards. None on updated_at: each change of a row would have to touch every index.
CREATE INDEX pull_requests_created ON keypup.pull_requests (account_id, created_at);
CREATE INDEX pull_requests_merged ON keypup.pull_requests (account_id, merged_at);
CREATE INDEX pull_requests_deleted ON keypup.pull_requests (account_id, project_id, number)
  WHERE deleted_at IS NOT NULL;
CREATE INDEX pull_requests_read_early ON keypup.pull_requests (account_id, project_id) WHERE is_read_early;
COMMENT ON TABLE keypup.pull_requests IS 'Pull requests: metadata only, no source code and no body.';
COMMENT ON COLUMN keypup.pull_requests.project_id IS 'The project.';
COMMENT ON COLUMN keypup.pull_requests.number IS 'Number within the project, which never changes.';
COMMENT ON COLUMN keypup.pull_requests.key IS
  'As people write it: #12 or !12. Follows a move where the provider gives a new one.';
COMMENT ON COLUMN keypup.pull_requests.external_id IS 'The provider''s number of the pull request across all projects.';
COMMENT ON COLUMN keypup.pull_requests.global_id IS
  'The id by which the provider''s API asks for it, where that is not external_id: GitHub''s node id, GitLab''s '
  'global id.';
COMMENT ON COLUMN keypup.pull_requests.url IS 'Where a person reads it.';
COMMENT ON COLUMN keypup.pull_requests.title IS 'Title.';
COMMENT ON COLUMN keypup.pull_requests.state IS 'open, closed (without a merge) or merged.';
COMMENT ON COLUMN keypup.pull_requests.is_draft IS 'Whether it is a draft now; see ready_at for the history.';
COMMENT ON COLUMN keypup.pull_requests.author IS 'Login; NULL when the user was deleted.';
COMMENT ON COLUMN keypup.pull_requests.author_is_bot IS
  'Whether a bot opened it: the provider says so, or mark_bot; here and below.';
COMMENT ON COLUMN keypup.pull_requests.created_at IS 'When it was opened.';
COMMENT ON COLUMN keypup.pull_requests.updated_at IS 'The provider''s time of last change.';
COMMENT ON COLUMN keypup.pull_requests.closed_at IS 'When it was closed, merged ones too; NULL while open.';
COMMENT ON COLUMN keypup.pull_requests.merged_at IS 'When it was merged; NULL if not.';
COMMENT ON COLUMN keypup.pull_requests.merged_by IS 'Login of who merged it.';
COMMENT ON COLUMN keypup.pull_requests.base_branch IS 'Branch that it changes.';
COMMENT ON COLUMN keypup.pull_requests.head_branch IS 'Branch that holds the change.';
COMMENT ON COLUMN keypup.pull_requests.additions IS 'Lines added.';
COMMENT ON COLUMN keypup.pull_requests.deletions IS 'Lines deleted.';
COMMENT ON COLUMN keypup.pull_requests.changed_files IS 'Files changed.';
COMMENT ON COLUMN keypup.pull_requests.commit_count IS 'Commits in it.';
COMMENT ON COLUMN keypup.pull_requests.first_commit_at IS
  'When its first commit was authored; a rebase can make this later than created_at.';
COMMENT ON COLUMN keypup.pull_requests.ready_at IS
  'First time that it was ready for review: created_at, if it was not opened as a draft; NULL while it never was.';
COMMENT ON COLUMN keypup.pull_requests.draft_spans IS
  'When it was a draft again after ready_at; the last has no end while it still is. NULL: never.';
COMMENT ON COLUMN keypup.pull_requests.review_requested_at IS 'First time that a review was requested.';
COMMENT ON COLUMN keypup.pull_requests.first_review_at IS
  'First review between ready and merge by a person who is not the author, by whatever login; NULL while there is '
  'none.';
COMMENT ON COLUMN keypup.pull_requests.first_approval_at IS
  'First such review that approved, also where it was dismissed later; NULL while there is none.';
COMMENT ON COLUMN keypup.pull_requests.first_response_at IS
  'First review or comment between opening and merge by a person who is not the author; NULL while there is none.';
COMMENT ON COLUMN keypup.pull_requests.review_count IS 'Submitted reviews, by anyone.';
COMMENT ON COLUMN keypup.pull_requests.comment_count IS 'Comments on the pull request and in its reviews.';
COMMENT ON COLUMN keypup.pull_requests.labels IS 'Names of its labels, sorted.';
COMMENT ON COLUMN keypup.pull_requests.assignees IS 'Logins of its assignees, sorted.';
COMMENT ON COLUMN keypup.pull_requests.requested_reviewers IS
  'Logins whose review is still awaited, and organization/name of teams that the token may read; sorted.';
COMMENT ON COLUMN keypup.pull_requests.milestone IS 'Title of its milestone; of the first where it has several.';
COMMENT ON COLUMN keypup.pull_requests.milestone_ids IS 'Its milestones, by milestones.external_id.';
COMMENT ON COLUMN keypup.pull_requests.closes_issues IS
  'Numbers of the issues of the same project that its merge closes, sorted.';
COMMENT ON COLUMN keypup.pull_requests.closes_elsewhere IS
  'The issues of other projects that its merge closes, each as the provider''s id of the project, a blank, and the '
  'number; sorted. See item_links.';
COMMENT ON COLUMN keypup.pull_requests.mentioned_keys IS
  'What looks like the key of an issue, as PROJ-12, in its title or the name of its branch. See item_links.';
COMMENT ON COLUMN keypup.pull_requests.title_numbers IS 'Numbers that its title names as #12, sorted.';
COMMENT ON COLUMN keypup.pull_requests.branch_number IS
  'The number that its branch is named after, as issue-12, fix/12 or 12-title; NULL without one.';
COMMENT ON COLUMN keypup.pull_requests.is_read_early IS
  'Whether it was read so soon after its last change that another change of the same second may be missing. It is '
  'read once more.';
COMMENT ON COLUMN keypup.pull_requests.deleted_at IS
  'When it was found to be gone at the provider; NULL while it is there.';
SELECT keypup.protect_table('keypup.pull_requests', 'data.read');

CREATE TABLE keypup.issues (
  account_id uuid NOT NULL,
  project_id bigint NOT NULL,
  number bigint NOT NULL,
  key text NOT NULL,
  external_id text NOT NULL,
  global_id text,
  url text,
  title text NOT NULL,
  state text NOT NULL CHECK (state IN ('open', 'closed')),
  state_reason text,
  status text,
  status_category text CHECK (status_category IN ('todo', 'in_progress', 'done')),
  resolution text,
  type text,
  priority text,
  parent_id text,
  estimate double precision,
  author text,
  author_is_bot boolean NOT NULL DEFAULT false,
  created_at timestamptz NOT NULL,
  updated_at timestamptz NOT NULL,
  closed_at timestamptz,
  closed_by text,
  first_response_at timestamptz,
  transition_times timestamptz[],
  comment_count bigint NOT NULL DEFAULT 0,
  labels text[] NOT NULL DEFAULT '{}',
  assignees text[] NOT NULL DEFAULT '{}',
  milestone text,
  milestone_ids text[] NOT NULL DEFAULT '{}',
  sprint_ids text[] NOT NULL DEFAULT '{}',
  is_read_early boolean NOT NULL DEFAULT false,
  deleted_at timestamptz,
  PRIMARY KEY (account_id, project_id, number),
  FOREIGN KEY (account_id, project_id) REFERENCES keypup.projects ON DELETE CASCADE,
  -- PostgreSQL has times without end, and years of six digits; no provider's clock has.
  CHECK (least(created_at, updated_at, closed_at) >= '0001-01-01 00:00:00+00'
    AND greatest(created_at, updated_at, closed_at) < '10000-01-01 00:00:00+00')
) WITH (fillfactor = 95);
CREATE INDEX issues_created ON keypup.issues (account_id, created_at);
CREATE INDEX issues_closed ON keypup.issues (account_id, closed_at);
-- For keys that others mention; '#12' nobody looks for without its project.
CREATE INDEX issues_key ON keypup.issues (account_id, key) WHERE key !~ '^[#!]';
CREATE INDEX issues_transitions ON keypup.issues (account_id, project_id, number) WHERE transition_times IS NOT NULL;
CREATE INDEX issues_read_early ON keypup.issues (account_id, project_id) WHERE is_read_early;
COMMENT ON TABLE keypup.issues IS 'Issues: metadata only, no body.';
COMMENT ON COLUMN keypup.issues.project_id IS 'The project.';
COMMENT ON COLUMN keypup.issues.number IS 'Number within the project, which never changes.';
COMMENT ON COLUMN keypup.issues.key IS
  'As people write it: #12 or PROJ-12. Follows a move where the provider gives a new one.';
COMMENT ON COLUMN keypup.issues.external_id IS 'The provider''s number of the issue across all projects.';
COMMENT ON COLUMN keypup.issues.global_id IS
  'The id by which the provider''s API asks for it, where that is not external_id: GitHub''s node id, GitLab''s '
  'global id.';
COMMENT ON COLUMN keypup.issues.url IS 'Where a person reads it.';
COMMENT ON COLUMN keypup.issues.title IS 'Title.';
COMMENT ON COLUMN keypup.issues.state IS 'open or closed.';
COMMENT ON COLUMN keypup.issues.state_reason IS
  'completed, not_planned, reopened or duplicate; NULL where the provider gives none.';
COMMENT ON COLUMN keypup.issues.status IS
  'Name of its status in the project''s workflow; NULL where the provider has none but state.';
COMMENT ON COLUMN keypup.issues.status_category IS
  'What the status means: todo, in_progress or done; NULL where the provider has none.';
COMMENT ON COLUMN keypup.issues.resolution IS
  'How it was resolved, in the project''s words; NULL while it is not, or where the provider has none.';
COMMENT ON COLUMN keypup.issues.type IS 'Kind of issue; NULL where the provider gives none.';
COMMENT ON COLUMN keypup.issues.priority IS 'Priority, in the project''s words; NULL where the provider has none.';
COMMENT ON COLUMN keypup.issues.parent_id IS
  'external_id of the issue of which it is a part (of its epic, for example), which may be in another project; NULL '
  'without one.';
COMMENT ON COLUMN keypup.issues.estimate IS 'Estimate in story points; NULL without one.';
COMMENT ON COLUMN keypup.issues.author IS 'Login; NULL when the user was deleted.';
COMMENT ON COLUMN keypup.issues.author_is_bot IS 'Whether a bot opened it.';
COMMENT ON COLUMN keypup.issues.created_at IS 'When it was opened.';
COMMENT ON COLUMN keypup.issues.updated_at IS 'The provider''s time of last change.';
COMMENT ON COLUMN keypup.issues.closed_at IS 'When it was closed; NULL while open.';
COMMENT ON COLUMN keypup.issues.closed_by IS 'Login of who closed it last; NULL while open.';
COMMENT ON COLUMN keypup.issues.first_response_at IS
  'First comment by a person who is not the author; NULL while there is none.';
COMMENT ON COLUMN keypup.issues.transition_times IS
  'When it was opened, closed, opened again, … in turn, where that is more than the row says: NULL of an issue that '
  'was opened at created_at and, if it is closed, closed at closed_at.';
COMMENT ON COLUMN keypup.issues.comment_count IS 'Comments on it.';
COMMENT ON COLUMN keypup.issues.labels IS 'Names of its labels, sorted.';
COMMENT ON COLUMN keypup.issues.assignees IS 'Logins of its assignees, sorted.';
COMMENT ON COLUMN keypup.issues.milestone IS 'Title of its milestone; of the first where it has several.';
COMMENT ON COLUMN keypup.issues.milestone_ids IS 'Its milestones, by milestones.external_id.';
COMMENT ON COLUMN keypup.issues.sprint_ids IS 'Its sprints, the last one now, by sprints.external_id.';
COMMENT ON COLUMN keypup.issues.is_read_early IS
  'Whether it was read so soon after its last change that another change of the same second may be missing. It is '
  'read once more.';
COMMENT ON COLUMN keypup.issues.deleted_at IS 'When it was found to be gone at the provider; NULL while it is there.';
SELECT keypup.protect_table('keypup.issues', 'data.read');

CREATE TABLE keypup.reviews (
  account_id uuid NOT NULL,
  project_id bigint NOT NULL,
  pull_request_number bigint NOT NULL,
  external_id text NOT NULL,
  author text,
  author_is_bot boolean NOT NULL DEFAULT false,
  state text NOT NULL CHECK (state IN ('approved', 'changes_requested', 'commented', 'dismissed', 'pending')),
  submitted_at timestamptz,
  updated_at timestamptz,
  url text,
  comment_count bigint NOT NULL DEFAULT 0,
  is_by_author boolean NOT NULL DEFAULT false,
  dismissed_state text,
  dismissed_at timestamptz,
  PRIMARY KEY (account_id, project_id, pull_request_number, external_id),
  FOREIGN KEY (account_id, project_id, pull_request_number) REFERENCES keypup.pull_requests ON DELETE CASCADE,
  -- PostgreSQL has times without end, and years of six digits; no provider's clock has.
  CHECK (least(submitted_at, updated_at) >= '0001-01-01 00:00:00+00'
    AND greatest(submitted_at, updated_at) < '10000-01-01 00:00:00+00')
) WITH (fillfactor = 80);
CREATE INDEX reviews_submitted ON keypup.reviews (account_id, submitted_at);
COMMENT ON TABLE keypup.reviews IS 'Reviews of pull requests.';
COMMENT ON COLUMN keypup.reviews.project_id IS 'The project.';
COMMENT ON COLUMN keypup.reviews.pull_request_number IS 'The pull request reviewed.';
COMMENT ON COLUMN keypup.reviews.external_id IS 'The provider''s id.';
COMMENT ON COLUMN keypup.reviews.author IS 'Login; NULL when the user was deleted.';
COMMENT ON COLUMN keypup.reviews.author_is_bot IS 'Whether a bot reviewed.';
COMMENT ON COLUMN keypup.reviews.state IS 'approved, changes_requested, commented, dismissed or pending.';
COMMENT ON COLUMN keypup.reviews.submitted_at IS 'When it was submitted.';
COMMENT ON COLUMN keypup.reviews.updated_at IS 'The provider''s time of last change.';
COMMENT ON COLUMN keypup.reviews.url IS 'Where a person reads it.';
COMMENT ON COLUMN keypup.reviews.comment_count IS 'Comments that belong to the review.';
COMMENT ON COLUMN keypup.reviews.is_by_author IS
  'Whether the pull request''s author wrote it, by this or another login of the same person; true, too, where both are '
  'deleted users.';
COMMENT ON COLUMN keypup.reviews.dismissed_state IS
  'What a dismissed review said before: approved, changes_requested or commented; NULL where that is not known.';
COMMENT ON COLUMN keypup.reviews.dismissed_at IS
  'When it was dismissed; NULL where it was not, or that is not known.';
SELECT keypup.protect_table('keypup.reviews', 'data.read');

CREATE TABLE keypup.comments (
  account_id uuid NOT NULL,
  project_id bigint NOT NULL,
  item_kind text NOT NULL CHECK (item_kind IN ('issue', 'pull_request', 'review')),
  item_number bigint NOT NULL,
  external_id text NOT NULL,
  author text,
  author_is_bot boolean NOT NULL DEFAULT false,
  created_at timestamptz NOT NULL,
  updated_at timestamptz,
  url text,
  review_external_id text,
  thread_id text,
  PRIMARY KEY (account_id, project_id, item_number, item_kind, external_id),
  FOREIGN KEY (account_id, project_id) REFERENCES keypup.projects ON DELETE CASCADE,
  -- PostgreSQL has times without end, and years of six digits; no provider's clock has.
  CHECK (least(created_at, updated_at) >= '0001-01-01 00:00:00+00'
    AND greatest(created_at, updated_at) < '10000-01-01 00:00:00+00')
);
CREATE INDEX comments_created ON keypup.comments (account_id, created_at);
COMMENT ON TABLE keypup.comments IS 'Comments on issues, on pull requests and in reviews: who and when, not what.';
COMMENT ON COLUMN keypup.comments.project_id IS 'The project.';
COMMENT ON COLUMN keypup.comments.item_kind IS
  'issue, pull_request (its conversation) or review (on the changed lines).';
COMMENT ON COLUMN keypup.comments.item_number IS 'Number of the issue or pull request.';
COMMENT ON COLUMN keypup.comments.external_id IS 'The provider''s id.';
COMMENT ON COLUMN keypup.comments.author IS 'Login; NULL when the user was deleted.';
COMMENT ON COLUMN keypup.comments.author_is_bot IS 'Whether a bot commented.';
COMMENT ON COLUMN keypup.comments.created_at IS 'When it was written.';
COMMENT ON COLUMN keypup.comments.updated_at IS 'The provider''s time of last change.';
COMMENT ON COLUMN keypup.comments.url IS 'Where a person reads it.';
COMMENT ON COLUMN keypup.comments.review_external_id IS 'The review that a review comment belongs to.';
COMMENT ON COLUMN keypup.comments.thread_id IS 'The discussion thread that a review comment belongs to.';
SELECT keypup.protect_table('keypup.comments', 'data.read');

CREATE TABLE keypup.timeline_events (
  account_id uuid NOT NULL,
  project_id bigint NOT NULL,
  item_kind text NOT NULL CHECK (item_kind IN ('issue', 'pull_request')),
  item_number bigint NOT NULL,
  external_id text NOT NULL,
  event text NOT NULL,
  actor text,
  subject text,
  from_value text,
  to_value text,
  to_category text CHECK (to_category IN ('todo', 'in_progress', 'done')),
  occurred_at timestamptz NOT NULL,
  PRIMARY KEY (account_id, project_id, item_number, item_kind, external_id),
  FOREIGN KEY (account_id, project_id) REFERENCES keypup.projects ON DELETE CASCADE,
  -- PostgreSQL has times without end, and years of six digits; no provider's clock has.
  CHECK (occurred_at >= '0001-01-01 00:00:00+00' AND occurred_at < '10000-01-01 00:00:00+00')
);
CREATE INDEX timeline_events_occurred ON keypup.timeline_events (account_id, occurred_at);
COMMENT ON TABLE keypup.timeline_events IS 'What happened to issues and pull requests, and when.';
COMMENT ON COLUMN keypup.timeline_events.project_id IS 'The project.';
COMMENT ON COLUMN keypup.timeline_events.item_kind IS 'issue or pull_request.';
COMMENT ON COLUMN keypup.timeline_events.item_number IS 'Number of the issue or pull request.';
COMMENT ON COLUMN keypup.timeline_events.external_id IS 'The provider''s id.';
COMMENT ON COLUMN keypup.timeline_events.event IS
  'assigned, unassigned, labeled, unlabeled, ready_for_review, convert_to_draft, review_requested, '
  'review_request_removed, review_dismissed, merged, closed, reopened or status_changed.';
COMMENT ON COLUMN keypup.timeline_events.actor IS 'Login of who did it; NULL when the user was deleted.';
COMMENT ON COLUMN keypup.timeline_events.subject IS
  'Whom it concerns, the assignee, the reviewer asked, or whose review is dismissed: a login, or organization/name of '
  'a team that the token may read.';
COMMENT ON COLUMN keypup.timeline_events.from_value IS
  'Of a change of a value, what it was: the status before; of a dismissal, what the review said: approved, '
  'changes_requested or commented; of a label, labels.external_id.';
COMMENT ON COLUMN keypup.timeline_events.to_value IS
  'What it became: the status after; of a dismissal, which review became dismissed: reviews.external_id; of a label, '
  'its name when it was read.';
COMMENT ON COLUMN keypup.timeline_events.to_category IS 'What the status after means: todo, in_progress or done.';
COMMENT ON COLUMN keypup.timeline_events.occurred_at IS 'When it happened.';
SELECT keypup.protect_table('keypup.timeline_events', 'data.read');
