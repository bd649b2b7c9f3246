-- model/model.sql: the provider-neutral tables that BI reads.
-- Columns on which BI filters are bigint, uuid, text, boolean or timestamptz: their operators are
-- leakproof, so that indexes still serve under row-level security.

CREATE TABLE keypup.projects (
  account_id uuid NOT NULL,
  project_id bigint NOT NULL DEFAULT keypup.new_id(),
  connection_id uuid NOT NULL,
  name text NOT NULL,
  external_id text,
  url text,
  visibility text,
  is_archived boolean,
  has_issues boolean,
  default_branch text,
  created_at timestamptz,
  updated_at timestamptz,
  pull_request_total bigint,
  issue_total bigint,
  tracked_at timestamptz NOT NULL DEFAULT now(),
  tracked_by text NOT NULL,
  PRIMARY KEY (account_id, project_id),
  UNIQUE (account_id, connection_id, external_id),
  FOREIGN KEY (account_id, connection_id) REFERENCES keypup.connections ON DELETE CASCADE
);
CREATE UNIQUE INDEX projects_name_key ON keypup.projects (account_id, connection_id, lower(name COLLATE "C"));
COMMENT ON TABLE keypup.projects IS 'The repositories that an account tracks.';
COMMENT ON COLUMN keypup.projects.project_id IS 'Identifies the project in every table of its account.';
COMMENT ON COLUMN keypup.projects.connection_id IS 'The connection through which it is read.';
COMMENT ON COLUMN keypup.projects.name IS 'As the provider writes it: owner/name. Follows renames.';
COMMENT ON COLUMN keypup.projects.external_id IS 'The provider''s id, which survives renames; NULL before the first reading.';
COMMENT ON COLUMN keypup.projects.url IS 'Where a person reads it.';
COMMENT ON COLUMN keypup.projects.visibility IS 'public, private or internal.';
COMMENT ON COLUMN keypup.projects.is_archived IS 'Whether it is read-only at the provider.';
COMMENT ON COLUMN keypup.projects.has_issues IS 'Whether it has an issue tracker.';
COMMENT ON COLUMN keypup.projects.default_branch IS 'Name of the main branch; NULL while the repository is empty.';
COMMENT ON COLUMN keypup.projects.created_at IS 'When it was created at the provider.';
COMMENT ON COLUMN keypup.projects.updated_at IS 'The provider''s time of last change of the repository itself.';
COMMENT ON COLUMN keypup.projects.pull_request_total IS 'Pull requests that the provider counts.';
COMMENT ON COLUMN keypup.projects.issue_total IS 'Issues that the provider counts.';
COMMENT ON COLUMN keypup.projects.tracked_at IS 'When track named it.';
COMMENT ON COLUMN keypup.projects.tracked_by IS 'Database role that called track.';
SELECT keypup.protect_table('keypup.projects', 'data.read');

CREATE TABLE keypup.people (
  account_id uuid NOT NULL REFERENCES keypup.accounts ON DELETE CASCADE,
  person_id uuid NOT NULL,
  name text,
  PRIMARY KEY (account_id, person_id)
);
COMMENT ON TABLE keypup.people IS 'Persons. One person may have several logins (identities); bots and teams are no persons.';
COMMENT ON COLUMN keypup.people.person_id IS 'Identifies the person.';
COMMENT ON COLUMN keypup.people.name IS 'Display name, as the provider gave it.';
SELECT keypup.protect_table('keypup.people', 'data.read');

CREATE TABLE keypup.identities (
  account_id uuid NOT NULL,
  connection_id uuid NOT NULL,
  external_id text NOT NULL,
  login text NOT NULL,
  name text,
  kind text NOT NULL CHECK (kind IN ('user', 'bot', 'mannequin', 'organization', 'enterprise_user', 'team', 'unknown')),
  person_id uuid,
  named_at timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (account_id, connection_id, external_id),
  FOREIGN KEY (account_id, connection_id) REFERENCES keypup.connections ON DELETE CASCADE,
  FOREIGN KEY (account_id, person_id) REFERENCES keypup.people
);
CREATE INDEX identities_login ON keypup.identities (account_id, connection_id, login);
CREATE INDEX identities_person ON keypup.identities (account_id, person_id);
COMMENT ON TABLE keypup.identities IS 'Logins at a provider, and which person or bot each belongs to.';
COMMENT ON COLUMN keypup.identities.connection_id IS 'The connection through which the login was seen.';
COMMENT ON COLUMN keypup.identities.external_id IS 'The provider''s id of the login.';
COMMENT ON COLUMN keypup.identities.login IS 'The login, as author and the like name it.';
COMMENT ON COLUMN keypup.identities.name IS 'Display name.';
COMMENT ON COLUMN keypup.identities.kind IS 'user, bot, mannequin, organization, enterprise_user, team or unknown.';
COMMENT ON COLUMN keypup.identities.person_id IS 'The person; NULL for bots and teams.';
COMMENT ON COLUMN keypup.identities.named_at IS 'When this login was stored.';
SELECT keypup.protect_table('keypup.identities', 'data.read');

CREATE TABLE keypup.labels (
  account_id uuid NOT NULL,
  project_id bigint NOT NULL,
  external_id text NOT NULL,
  name text NOT NULL,
  color text,
  created_at timestamptz,
  updated_at timestamptz,
  named_at timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (account_id, project_id, external_id),
  FOREIGN KEY (account_id, project_id) REFERENCES keypup.projects ON DELETE CASCADE
);
COMMENT ON TABLE keypup.labels IS 'Labels of a project.';
COMMENT ON COLUMN keypup.labels.project_id IS 'The project.';
COMMENT ON COLUMN keypup.labels.external_id IS 'The provider''s id; survives renames.';
COMMENT ON COLUMN keypup.labels.name IS 'Name, as in the labels column of issues and pull requests.';
COMMENT ON COLUMN keypup.labels.color IS 'Six hexadecimal digits.';
COMMENT ON COLUMN keypup.labels.created_at IS 'When it was created.';
COMMENT ON COLUMN keypup.labels.updated_at IS 'When it last changed.';
COMMENT ON COLUMN keypup.labels.named_at IS 'When this name was stored.';
SELECT keypup.protect_table('keypup.labels', 'data.read');

CREATE TABLE keypup.milestones (
  account_id uuid NOT NULL,
  project_id bigint NOT NULL,
  external_id text NOT NULL,
  number bigint NOT NULL,
  title text NOT NULL,
  state text NOT NULL CHECK (state IN ('open', 'closed')),
  url text,
  created_at timestamptz,
  updated_at timestamptz,
  due_on timestamptz,
  closed_at timestamptz,
  open_items bigint NOT NULL DEFAULT 0,
  closed_items bigint NOT NULL DEFAULT 0,
  named_at timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (account_id, project_id, external_id),
  FOREIGN KEY (account_id, project_id) REFERENCES keypup.projects ON DELETE CASCADE,
  -- PostgreSQL has times without end, and years of six digits; no provider's clock has.
  CHECK (least(created_at, updated_at, closed_at) >= '0001-01-01 00:00:00+00' AND greatest(created_at, updated_at, closed_at) < '10000-01-01 00:00:00+00' AND isfinite(due_on))
);
COMMENT ON TABLE keypup.milestones IS 'Milestones of a project.';
COMMENT ON COLUMN keypup.milestones.project_id IS 'The project.';
COMMENT ON COLUMN keypup.milestones.external_id IS 'The provider''s id.';
COMMENT ON COLUMN keypup.milestones.number IS 'Number within the project.';
COMMENT ON COLUMN keypup.milestones.title IS 'Title, as in the milestone column of issues and pull requests.';
COMMENT ON COLUMN keypup.milestones.state IS 'open or closed.';
COMMENT ON COLUMN keypup.milestones.url IS 'Where a person reads it.';
COMMENT ON COLUMN keypup.milestones.created_at IS 'When it was created.';
COMMENT ON COLUMN keypup.milestones.updated_at IS 'When it last changed.';
COMMENT ON COLUMN keypup.milestones.due_on IS 'When it is due; NULL without a date.';
COMMENT ON COLUMN keypup.milestones.closed_at IS 'When it was closed; NULL while open.';
COMMENT ON COLUMN keypup.milestones.open_items IS 'Open issues and pull requests in it, as of the last finished sync.';
COMMENT ON COLUMN keypup.milestones.closed_items IS 'Closed or merged issues and pull requests in it, as of the last finished sync.';
COMMENT ON COLUMN keypup.milestones.named_at IS 'When this title was stored.';
SELECT keypup.protect_table('keypup.milestones', 'data.read');

CREATE TABLE keypup.pull_requests (
  account_id uuid NOT NULL,
  project_id bigint NOT NULL,
  number bigint NOT NULL,
  external_id text NOT NULL,
  node_id text NOT NULL,
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
  review_count bigint NOT NULL DEFAULT 0,
  comment_count bigint NOT NULL DEFAULT 0,
  labels text[] NOT NULL DEFAULT '{}',
  assignees text[] NOT NULL DEFAULT '{}',
  requested_reviewers text[] NOT NULL DEFAULT '{}',
  milestone text,
  closes_issues bigint[] NOT NULL DEFAULT '{}',
  is_read_early boolean NOT NULL DEFAULT false,
  deleted_at timestamptz,
  PRIMARY KEY (account_id, project_id, number),
  FOREIGN KEY (account_id, project_id) REFERENCES keypup.projects ON DELETE CASCADE,
  -- PostgreSQL has times without end, and years of six digits; no provider's clock has.
  CHECK (least(created_at, updated_at, closed_at, merged_at) >= '0001-01-01 00:00:00+00' AND greatest(created_at, updated_at, closed_at, merged_at) < '10000-01-01 00:00:00+00' AND isfinite(first_commit_at))
) WITH (fillfactor = 50);
-- For the time ranges of dashboards. None on updated_at: each change of a row would have to touch every index.
CREATE INDEX pull_requests_created ON keypup.pull_requests (account_id, created_at);
CREATE INDEX pull_requests_merged ON keypup.pull_requests (account_id, merged_at);
CREATE INDEX pull_requests_read_early ON keypup.pull_requests (account_id, project_id) WHERE is_read_early;
COMMENT ON TABLE keypup.pull_requests IS 'Pull requests: metadata only, no source code and no body.';
COMMENT ON COLUMN keypup.pull_requests.project_id IS 'The project.';
COMMENT ON COLUMN keypup.pull_requests.number IS 'Number within the project.';
COMMENT ON COLUMN keypup.pull_requests.external_id IS 'The provider''s number of the pull request across all projects.';
COMMENT ON COLUMN keypup.pull_requests.node_id IS 'The provider''s id by which it is asked for again.';
COMMENT ON COLUMN keypup.pull_requests.url IS 'Where a person reads it.';
COMMENT ON COLUMN keypup.pull_requests.title IS 'Title.';
COMMENT ON COLUMN keypup.pull_requests.state IS 'open, closed (without a merge) or merged.';
COMMENT ON COLUMN keypup.pull_requests.is_draft IS 'Whether it is a draft now; see ready_at for the history.';
COMMENT ON COLUMN keypup.pull_requests.author IS 'Login; NULL when the user was deleted.';
COMMENT ON COLUMN keypup.pull_requests.author_is_bot IS 'Whether a bot opened it.';
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
COMMENT ON COLUMN keypup.pull_requests.first_commit_at IS 'When its first commit was authored; a rebase can make this later than created_at.';
COMMENT ON COLUMN keypup.pull_requests.ready_at IS 'Last time that it was marked ready for review, or created_at if it never was a draft; NULL while a draft.';
COMMENT ON COLUMN keypup.pull_requests.review_requested_at IS 'First time that a review was requested.';
COMMENT ON COLUMN keypup.pull_requests.first_review_at IS 'First review by a person who is not the author; NULL while there is none.';
COMMENT ON COLUMN keypup.pull_requests.first_approval_at IS 'First approval by a person who is not the author; NULL while there is none.';
COMMENT ON COLUMN keypup.pull_requests.review_count IS 'Submitted reviews, by anyone.';
COMMENT ON COLUMN keypup.pull_requests.comment_count IS 'Comments on the pull request and in its reviews.';
COMMENT ON COLUMN keypup.pull_requests.labels IS 'Names of its labels, sorted.';
COMMENT ON COLUMN keypup.pull_requests.assignees IS 'Logins of its assignees, sorted.';
COMMENT ON COLUMN keypup.pull_requests.requested_reviewers IS 'Logins whose review is still awaited, and organization/name of teams that the token may read; sorted.';
COMMENT ON COLUMN keypup.pull_requests.milestone IS 'Title of its milestone.';
COMMENT ON COLUMN keypup.pull_requests.closes_issues IS 'Numbers of the issues of the same project that its merge closes, sorted.';
COMMENT ON COLUMN keypup.pull_requests.is_read_early IS
  'Whether it was read so soon after its last change that another change of the same second may be missing. It is read once more.';
COMMENT ON COLUMN keypup.pull_requests.deleted_at IS 'When it was found to be gone at the provider; NULL while it is there.';
SELECT keypup.protect_table('keypup.pull_requests', 'data.read');

CREATE TABLE keypup.issues (
  account_id uuid NOT NULL,
  project_id bigint NOT NULL,
  number bigint NOT NULL,
  key text,
  external_id text NOT NULL,
  node_id text NOT NULL,
  url text,
  title text NOT NULL,
  state text NOT NULL CHECK (state IN ('open', 'closed')),
  state_reason text,
  type text,
  author text,
  author_is_bot boolean NOT NULL DEFAULT false,
  created_at timestamptz NOT NULL,
  updated_at timestamptz NOT NULL,
  closed_at timestamptz,
  closed_by text,
  first_response_at timestamptz,
  comment_count bigint NOT NULL DEFAULT 0,
  labels text[] NOT NULL DEFAULT '{}',
  assignees text[] NOT NULL DEFAULT '{}',
  milestone text,
  is_read_early boolean NOT NULL DEFAULT false,
  deleted_at timestamptz,
  PRIMARY KEY (account_id, project_id, number),
  FOREIGN KEY (account_id, project_id) REFERENCES keypup.projects ON DELETE CASCADE,
  -- PostgreSQL has times without end, and years of six digits; no provider's clock has.
  CHECK (least(created_at, updated_at, closed_at) >= '0001-01-01 00:00:00+00' AND greatest(created_at, updated_at, closed_at) < '10000-01-01 00:00:00+00')
) WITH (fillfactor = 50);
CREATE INDEX issues_created ON keypup.issues (account_id, created_at);
CREATE INDEX issues_closed ON keypup.issues (account_id, closed_at);
CREATE INDEX issues_read_early ON keypup.issues (account_id, project_id) WHERE is_read_early;
COMMENT ON TABLE keypup.issues IS 'Issues: metadata only, no body.';
COMMENT ON COLUMN keypup.issues.project_id IS 'The project.';
COMMENT ON COLUMN keypup.issues.number IS 'Number within the project.';
COMMENT ON COLUMN keypup.issues.key IS 'Key as Jira writes it; NULL elsewhere.';
COMMENT ON COLUMN keypup.issues.external_id IS 'The provider''s number of the issue across all projects.';
COMMENT ON COLUMN keypup.issues.node_id IS 'The provider''s id by which it is asked for again.';
COMMENT ON COLUMN keypup.issues.url IS 'Where a person reads it.';
COMMENT ON COLUMN keypup.issues.title IS 'Title.';
COMMENT ON COLUMN keypup.issues.state IS 'open or closed.';
COMMENT ON COLUMN keypup.issues.state_reason IS 'completed, not_planned, reopened or duplicate; NULL where the provider gives none.';
COMMENT ON COLUMN keypup.issues.type IS 'Kind of issue; NULL where the provider gives none.';
COMMENT ON COLUMN keypup.issues.author IS 'Login; NULL when the user was deleted.';
COMMENT ON COLUMN keypup.issues.author_is_bot IS 'Whether a bot opened it.';
COMMENT ON COLUMN keypup.issues.created_at IS 'When it was opened.';
COMMENT ON COLUMN keypup.issues.updated_at IS 'The provider''s time of last change.';
COMMENT ON COLUMN keypup.issues.closed_at IS 'When it was closed; NULL while open.';
COMMENT ON COLUMN keypup.issues.closed_by IS 'Login of who closed it last; NULL while open.';
COMMENT ON COLUMN keypup.issues.first_response_at IS 'First comment by a person who is not the author; NULL while there is none.';
COMMENT ON COLUMN keypup.issues.comment_count IS 'Comments on it.';
COMMENT ON COLUMN keypup.issues.labels IS 'Names of its labels, sorted.';
COMMENT ON COLUMN keypup.issues.assignees IS 'Logins of its assignees, sorted.';
COMMENT ON COLUMN keypup.issues.milestone IS 'Title of its milestone.';
COMMENT ON COLUMN keypup.issues.is_read_early IS
  'Whether it was read so soon after its last change that another change of the same second may be missing. It is read once more.';
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
  PRIMARY KEY (account_id, project_id, pull_request_number, external_id),
  FOREIGN KEY (account_id, project_id, pull_request_number) REFERENCES keypup.pull_requests ON DELETE CASCADE,
  -- PostgreSQL has times without end, and years of six digits; no provider's clock has.
  CHECK (least(submitted_at, updated_at) >= '0001-01-01 00:00:00+00' AND greatest(submitted_at, updated_at) < '10000-01-01 00:00:00+00')
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
  CHECK (least(created_at, updated_at) >= '0001-01-01 00:00:00+00' AND greatest(created_at, updated_at) < '10000-01-01 00:00:00+00')
);
CREATE INDEX comments_created ON keypup.comments (account_id, created_at);
COMMENT ON TABLE keypup.comments IS 'Comments on issues, on pull requests and in reviews: who and when, not what.';
COMMENT ON COLUMN keypup.comments.project_id IS 'The project.';
COMMENT ON COLUMN keypup.comments.item_kind IS 'issue, pull_request (its conversation) or review (on the changed lines).';
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
COMMENT ON COLUMN keypup.timeline_events.event IS 'assigned, unassigned, ready_for_review, convert_to_draft, review_requested, review_request_removed, merged, closed or reopened.';
COMMENT ON COLUMN keypup.timeline_events.actor IS 'Login of who did it; NULL when the user was deleted.';
COMMENT ON COLUMN keypup.timeline_events.subject IS 'Whom it concerns, the assignee or the reviewer asked: a login, or organization/name of a team that the token may read.';
COMMENT ON COLUMN keypup.timeline_events.occurred_at IS 'When it happened.';
SELECT keypup.protect_table('keypup.timeline_events', 'data.read');

-- What pull_requests and issues say of their own reviews, comments and events. Called by a
-- provider's store function for the items of its page; rows that stay as they are are not written.
-- Each item looks its own rows up by key, and is updated where it was found: no plan can turn this into
-- a join of whole tables, not even on tables that were never analyzed.
CREATE FUNCTION keypup.derive_pull_requests(account uuid, project bigint, numbers bigint[]) RETURNS void
LANGUAGE plpgsql VOLATILE STRICT SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  WITH derived AS (
    SELECT p.ctid AS row,
           CASE WHEN NOT p.is_draft THEN coalesce(happened.ready_at, p.created_at) END AS ready_at,
           happened.review_requested_at, reviewed.first_review_at, reviewed.first_approval_at, reviewed.review_count, commented.comment_count
    FROM keypup.pull_requests p
    CROSS JOIN LATERAL (
      SELECT count(*) FILTER (WHERE r.state <> 'pending') AS review_count,
             min(r.submitted_at) FILTER (WHERE r.state <> 'pending' AND NOT r.author_is_bot AND r.author IS DISTINCT FROM p.author) AS first_review_at,
             min(r.submitted_at) FILTER (WHERE r.state = 'approved' AND NOT r.author_is_bot AND r.author IS DISTINCT FROM p.author) AS first_approval_at
      FROM keypup.reviews r
      WHERE r.account_id = p.account_id AND r.project_id = p.project_id AND r.pull_request_number = p.number
    ) AS reviewed
    CROSS JOIN LATERAL (
      SELECT count(*) AS comment_count
      FROM keypup.comments c
      WHERE c.account_id = p.account_id AND c.project_id = p.project_id AND c.item_number = p.number AND c.item_kind IN ('pull_request', 'review')
    ) AS commented
    CROSS JOIN LATERAL (
      SELECT max(e.occurred_at) FILTER (WHERE e.event = 'ready_for_review') AS ready_at,
             min(e.occurred_at) FILTER (WHERE e.event = 'review_requested') AS review_requested_at
      FROM keypup.timeline_events e
      WHERE e.account_id = p.account_id AND e.project_id = p.project_id AND e.item_number = p.number AND e.item_kind = 'pull_request'
    ) AS happened
    WHERE p.account_id = account AND p.project_id = project AND p.number = ANY (numbers)
  )
  UPDATE keypup.pull_requests p
  SET ready_at = d.ready_at, review_requested_at = d.review_requested_at, first_review_at = d.first_review_at,
      first_approval_at = d.first_approval_at, review_count = d.review_count, comment_count = d.comment_count
  FROM derived d
  WHERE p.ctid = d.row
    AND (p.ready_at, p.review_requested_at, p.first_review_at, p.first_approval_at, p.review_count, p.comment_count)
        IS DISTINCT FROM (d.ready_at, d.review_requested_at, d.first_review_at, d.first_approval_at, d.review_count, d.comment_count);

  WITH commented AS MATERIALIZED (
    SELECT c.item_number, c.review_external_id, count(*) AS comment_count
    FROM (SELECT DISTINCT unnest(numbers)) AS n (number)
    CROSS JOIN LATERAL (
      SELECT c.item_number, c.review_external_id
      FROM keypup.comments c
      WHERE c.account_id = account AND c.project_id = project AND c.item_number = n.number AND c.item_kind = 'review'
      OFFSET 0
    ) AS c
    GROUP BY c.item_number, c.review_external_id
  ), derived AS (
    SELECT r.row, coalesce(c.comment_count, 0) AS comment_count
    FROM (SELECT DISTINCT unnest(numbers)) AS n (number)
    CROSS JOIN LATERAL (
      SELECT r.ctid AS row, r.pull_request_number, r.external_id, r.comment_count
      FROM keypup.reviews r
      WHERE r.account_id = account AND r.project_id = project AND r.pull_request_number = n.number
      OFFSET 0
    ) AS r
    LEFT JOIN commented c ON c.item_number = r.pull_request_number AND c.review_external_id = r.external_id
    WHERE r.comment_count <> coalesce(c.comment_count, 0)
  )
  UPDATE keypup.reviews r
  SET comment_count = d.comment_count
  FROM derived d
  WHERE r.ctid = d.row;
END
$$;
REVOKE ALL ON FUNCTION keypup.derive_pull_requests(uuid, bigint, bigint[]) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION keypup.derive_pull_requests(uuid, bigint, bigint[]) TO keypup_worker;
COMMENT ON FUNCTION keypup.derive_pull_requests(uuid, bigint, bigint[]) IS 'Brings counts and first times of pull requests up to date with their reviews, comments and events.';

CREATE FUNCTION keypup.derive_issues(account uuid, project bigint, numbers bigint[]) RETURNS void
LANGUAGE plpgsql VOLATILE STRICT SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  WITH derived AS (
    SELECT i.ctid AS row, commented.comment_count, commented.first_response_at,
           CASE WHEN i.state = 'closed' THEN (
             SELECT e.actor FROM keypup.timeline_events e
             WHERE e.account_id = i.account_id AND e.project_id = i.project_id AND e.item_number = i.number AND e.item_kind = 'issue' AND e.event = 'closed'
             ORDER BY e.occurred_at DESC, e.external_id DESC LIMIT 1) END AS closed_by
    FROM keypup.issues i
    CROSS JOIN LATERAL (
      SELECT count(*) AS comment_count,
             min(c.created_at) FILTER (WHERE NOT c.author_is_bot AND c.author IS DISTINCT FROM i.author) AS first_response_at
      FROM keypup.comments c
      WHERE c.account_id = i.account_id AND c.project_id = i.project_id AND c.item_number = i.number AND c.item_kind = 'issue'
    ) AS commented
    WHERE i.account_id = account AND i.project_id = project AND i.number = ANY (numbers)
  )
  UPDATE keypup.issues i
  SET comment_count = d.comment_count, first_response_at = d.first_response_at, closed_by = d.closed_by
  FROM derived d
  WHERE i.ctid = d.row
    AND (i.comment_count, i.first_response_at, i.closed_by) IS DISTINCT FROM (d.comment_count, d.first_response_at, d.closed_by);
END
$$;
REVOKE ALL ON FUNCTION keypup.derive_issues(uuid, bigint, bigint[]) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION keypup.derive_issues(uuid, bigint, bigint[]) TO keypup_worker;
COMMENT ON FUNCTION keypup.derive_issues(uuid, bigint, bigint[]) IS 'Brings counts and first times of issues up to date with their comments and events.';

CREATE FUNCTION keypup.derive_milestones(account uuid, project bigint) RETURNS void
LANGUAGE plpgsql VOLATILE STRICT SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  WITH item AS (
    SELECT milestone, state FROM keypup.issues
    WHERE account_id = account AND project_id = project AND milestone IS NOT NULL AND deleted_at IS NULL
    UNION ALL
    SELECT milestone, state FROM keypup.pull_requests
    WHERE account_id = account AND project_id = project AND milestone IS NOT NULL AND deleted_at IS NULL
  ), counted AS MATERIALIZED (
    SELECT milestone, count(*) FILTER (WHERE state = 'open') AS open_items, count(*) FILTER (WHERE state <> 'open') AS closed_items
    FROM item GROUP BY milestone
  )
  UPDATE keypup.milestones m
  SET open_items = coalesce(c.open_items, 0), closed_items = coalesce(c.closed_items, 0)
  FROM keypup.milestones o LEFT JOIN counted c ON c.milestone = o.title
  WHERE o.account_id = account AND o.project_id = project
    AND m.account_id = o.account_id AND m.project_id = o.project_id AND m.external_id = o.external_id
    AND (m.open_items, m.closed_items) IS DISTINCT FROM (coalesce(c.open_items, 0), coalesce(c.closed_items, 0));
END
$$;
REVOKE ALL ON FUNCTION keypup.derive_milestones(uuid, bigint) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION keypup.derive_milestones(uuid, bigint) TO keypup_worker;
COMMENT ON FUNCTION keypup.derive_milestones(uuid, bigint) IS 'Counts the items of each milestone of a project.';
