-- model/model.sql: the provider-neutral tables that BI reads: projects, and who and what their items name. The items:
-- item.sql. Columns on which BI filters are bigint, uuid, text, boolean or timestamptz: their operators are
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
COMMENT ON COLUMN keypup.projects.external_id IS
  'The provider''s id, which survives renames; NULL before the first reading.';
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
  time_zone text CHECK (time_zone ~ '^[^[:cntrl:]]{1,100}$'),
  working_hours text[],
  working_minutes integer[],
  holidays date[],
  PRIMARY KEY (account_id, person_id),
  CHECK ((working_hours IS NULL) = (working_minutes IS NULL))
);
COMMENT ON TABLE keypup.people IS
  'Persons. One person may have several logins (identities); bots and teams are no persons.';
COMMENT ON COLUMN keypup.people.person_id IS 'Identifies the person.';
COMMENT ON COLUMN keypup.people.name IS 'Display name, as the provider gave it.';
COMMENT ON COLUMN keypup.people.time_zone IS
  'By which clocks the person works; NULL: the account''s. Set by set_person_working_time, as the columns below.';
COMMENT ON COLUMN keypup.people.working_hours IS 'In which hours of the week the person works; NULL: the account''s.';
COMMENT ON COLUMN keypup.people.working_minutes IS
  'The same: begin and end of each span, in minutes from Monday 0:00 on; NULL: the account''s.';
COMMENT ON COLUMN keypup.people.holidays IS
  'Days on which the person does not work, sorted, instead of the account''s; NULL: the account''s.';
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
  is_marked_bot boolean NOT NULL DEFAULT false,
  PRIMARY KEY (account_id, connection_id, external_id),
  FOREIGN KEY (account_id, connection_id) REFERENCES keypup.connections ON DELETE CASCADE,
  FOREIGN KEY (account_id, person_id) REFERENCES keypup.people
);
-- Of one login that several had, the person first: in the order of whoever looks it up, nothing is sorted.
CREATE INDEX identities_login ON keypup.identities (account_id, connection_id, login, (person_id IS NULL), external_id);
CREATE INDEX identities_person ON keypup.identities (account_id, person_id);
CREATE INDEX identities_marked_bot ON keypup.identities (account_id, connection_id) WHERE is_marked_bot;
COMMENT ON TABLE keypup.identities IS 'Logins at a provider, and which person or bot each belongs to.';
COMMENT ON COLUMN keypup.identities.connection_id IS 'The connection through which the login was seen.';
COMMENT ON COLUMN keypup.identities.external_id IS 'The provider''s id of the login.';
COMMENT ON COLUMN keypup.identities.login IS 'The login, as author and the like name it.';
COMMENT ON COLUMN keypup.identities.name IS 'Display name.';
COMMENT ON COLUMN keypup.identities.kind IS 'user, bot, mannequin, organization, enterprise_user, team or unknown.';
COMMENT ON COLUMN keypup.identities.person_id IS 'The person; NULL for bots and teams.';
COMMENT ON COLUMN keypup.identities.named_at IS 'When this login was stored.';
COMMENT ON COLUMN keypup.identities.is_marked_bot IS
  'Whether somebody said with mark_bot that this login is a bot''s, whatever the provider calls it.';
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
  CHECK (least(created_at, updated_at, closed_at) >= '0001-01-01 00:00:00+00'
    AND greatest(created_at, updated_at, closed_at) < '10000-01-01 00:00:00+00' AND isfinite(due_on))
);
COMMENT ON TABLE keypup.milestones IS
  'Milestones of a project: those of GitHub and GitLab, and the versions of Jira. One that several projects share '
  'stands in each.';
COMMENT ON COLUMN keypup.milestones.project_id IS 'The project.';
COMMENT ON COLUMN keypup.milestones.external_id IS
  'The provider''s id, as in milestone_ids of issues and pull requests.';
COMMENT ON COLUMN keypup.milestones.number IS 'Number within the project.';
COMMENT ON COLUMN keypup.milestones.title IS 'Title, as in the milestone column of issues and pull requests.';
COMMENT ON COLUMN keypup.milestones.state IS 'open or closed.';
COMMENT ON COLUMN keypup.milestones.url IS 'Where a person reads it.';
COMMENT ON COLUMN keypup.milestones.created_at IS 'When it was created.';
COMMENT ON COLUMN keypup.milestones.updated_at IS 'When it last changed.';
COMMENT ON COLUMN keypup.milestones.due_on IS 'When it is due; NULL without a date.';
COMMENT ON COLUMN keypup.milestones.closed_at IS 'When it was closed; NULL while open.';
COMMENT ON COLUMN keypup.milestones.open_items IS 'Open issues and pull requests in it, as of the last finished sync.';
COMMENT ON COLUMN keypup.milestones.closed_items IS
  'Closed or merged issues and pull requests in it, as of the last finished sync.';
COMMENT ON COLUMN keypup.milestones.named_at IS 'When this title was stored.';
SELECT keypup.protect_table('keypup.milestones', 'data.read');

CREATE TABLE keypup.sprints (
  account_id uuid NOT NULL,
  project_id bigint NOT NULL,
  external_id text NOT NULL,
  name text NOT NULL,
  state text NOT NULL CHECK (state IN ('future', 'active', 'closed')),
  url text,
  starts_at timestamptz,
  ends_at timestamptz,
  completed_at timestamptz,
  updated_at timestamptz,
  PRIMARY KEY (account_id, project_id, external_id),
  FOREIGN KEY (account_id, project_id) REFERENCES keypup.projects ON DELETE CASCADE,
  CHECK (least(starts_at, ends_at, completed_at, updated_at) >= '0001-01-01 00:00:00+00'
    AND greatest(starts_at, ends_at, completed_at, updated_at) < '10000-01-01 00:00:00+00')
);
COMMENT ON TABLE keypup.sprints IS
  'Time boxes in which issues are planned: the sprints of Jira, the iterations of GitLab. Empty where the provider '
  'has none.';
COMMENT ON COLUMN keypup.sprints.project_id IS 'The project.';
COMMENT ON COLUMN keypup.sprints.external_id IS 'The provider''s id, as in issues.sprint_ids.';
COMMENT ON COLUMN keypup.sprints.name IS 'Name.';
COMMENT ON COLUMN keypup.sprints.state IS 'future, active or closed.';
COMMENT ON COLUMN keypup.sprints.url IS 'Where a person reads it.';
COMMENT ON COLUMN keypup.sprints.starts_at IS 'When it begins, or began; NULL while that is not planned.';
COMMENT ON COLUMN keypup.sprints.ends_at IS 'When it is to end.';
COMMENT ON COLUMN keypup.sprints.completed_at IS 'When somebody closed it; NULL before.';
COMMENT ON COLUMN keypup.sprints.updated_at IS 'When it last changed; NULL where the provider does not say.';
SELECT keypup.protect_table('keypup.sprints', 'data.read');
