-- tracker/provider.sql: an issue tracker. Its API is read by GET, and its lists go on at a token, or at a link.

INSERT INTO keypup.providers (provider, title, project_pattern, project_hint, token_hint, authorizes_by, reads)
VALUES ('tracker', 'Tracker', '^[A-Z][A-Z0-9]{1,9}$', 'Write the key of a project, as PROJ.',
  'Write a token as user:secret.', 'basic',
  '{issues,labels,milestones,timeline_events,status_history,sprints}');
