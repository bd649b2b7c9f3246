-- audit/action.sql: what the audit log can say, a sentence each.

CREATE TABLE keypup.audit_actions (
  action text NOT NULL PRIMARY KEY,
  is_counted boolean NOT NULL DEFAULT false,
  description text NOT NULL
);
COMMENT ON TABLE keypup.audit_actions IS
  'The actions of the audit log. Whoever lacks a right to do one is refused the permission that it takes.';
COMMENT ON COLUMN keypup.audit_actions.action IS 'As in audit_log: subject.action; for refusals a permission, too.';
COMMENT ON COLUMN keypup.audit_actions.is_counted IS
  'Whether what is done again soon is counted in one record; what is refused always is.';
COMMENT ON COLUMN keypup.audit_actions.description IS 'When it is recorded.';
GRANT SELECT ON keypup.audit_actions TO keypup_member;
-- Read by all, and written by nobody, also of those who may write all tables.
SELECT keypup.close_table('keypup.audit_actions');
CREATE POLICY member_reads ON keypup.audit_actions FOR SELECT TO keypup_member USING (true);

INSERT INTO keypup.audit_actions (action, is_counted, description) VALUES
('session.start', false, 'Somebody signs in: with an ID token, a password, an API key or a provider''s token.'),
('session.end', false, 'Somebody signs out.'),
('session.use', false, 'Somebody shows a handle of no session: refused.'),
('member.add', false, 'An account gets a member, also by a group of the identity provider.'),
('member.accept', false, 'A database role accepts its membership.'),
('member.change', false, 'A member gets another role, also by a group.'),
('member.remove', false, 'A member leaves; refused where it is the last owner.'),
('member.limit', false, 'A member sees some projects only, or all again.'),
('role.define', false, 'An account''s own role gets its permissions, or loses them.'),
('role.grant', false, 'Somebody would give a role that may do more than they: refused.'),
('identity_provider.add', false, 'An account believes an issuer of ID tokens, or its provider, who people are.'),
('identity_provider.remove', false, 'It does so no more.'),
('person.link', false, 'A subject of an issuer is a member.'),
('group.map', false, 'A group of an issuer gives a role.'),
('password.set', false, 'Somebody sets a password; refused with a wrong old one.'),
('totp.enroll', false, 'A person gets a seed of one-time codes.'),
('totp.confirm', false, 'A person shows the first one-time code, which are needed from then on.'),
('totp.remove', false, 'A person gives one-time codes up.'),
('totp.reset', false, 'An admin takes a person''s one-time codes away.'),
('second_factor.require', false, 'An account requires one-time codes with passwords, or no more.'),
('api_key.create', false, 'An API key is made.'),
('api_key.revoke', false, 'An API key is revoked.'),
('api_key.use', false, 'An API key is used for the first time on a day (UTC).'),
('support.grant', false, 'An account consents to support; refused to oneself, to members, and for too long.'),
('support.revoke', false, 'A consent is taken back.'),
('support.read', true, 'Support reads by consent or by break-glass: once for each session and hour.'),
('break_glass.request', false, 'Somebody of the operator asks to read an account in an incident.'),
('break_glass.approve', false, 'Another approves; refused to the same person twice.'),
('connection.create', false, 'A connection to a provider is made, with its token or as an app.'),
('connection.remove', false, 'A connection is removed, with all that came by it.'),
('connection.resume', false, 'A restored copy of a database reads by a connection, in place of the original.'),
('connection.discover', true, 'A provider is asked for the projects that a connection could track.'),
('token.use', true, 'The worker shows a connection''s token to the provider, counted by the hour; refused: by the '
  'provider, who does not accept it any more.'),
('token.replace', false, 'A connection gets another token.'),
('token.open', false, 'A sealed record does not open: it was changed, or belongs elsewhere, or its key is gone.'),
('token.decrypt', true, 'Somebody has a sealed record opened by decrypt_token, also in a transaction that was rolled '
  'back.'),
('app_key.replace', false, 'An app''s connection gets another private key.'),
('app_key.retry', false, 'An app''s key that was refused is tried again.'),
('webhook.set', false, 'A connection''s webhooks get a secret.'),
('webhook.remove', false, 'They are taken no more.'),
('webhook.receive', false, 'A webhook is refused, and why; those that are taken are in webhook_deliveries.'),
('project.track', false, 'A project is tracked.'),
('project.untrack', false, 'A project is forgotten, with all its rows.'),
('project.reread', false, 'A project, or an item of it, is read anew.'),
('sync.start', false, 'A run that reads what is new of a project starts.'),
('sync.finish', false, 'It has ended: all is stored.'),
('person.merge', false, 'Logins become one person.'),
('person.split', false, 'A login is a person of its own.'),
('person.working_time', false, 'When a person works, or that it is as the account does.'),
('team.set', false, 'A team gets its members.'),
('bot.mark', false, 'A login is a bot''s.'),
('bot.unmark', false, 'A login is a person''s.'),
('account.create', false, 'An account is made.'),
('account.shred', false, 'All keys of an account are destroyed: what was sealed with them opens never again.'),
('account.drop', false, 'An account is dropped: its last record.'),
('account.time_zone', false, 'Its days begin elsewhere.'),
('account.production_environments', false, 'Which environments are production.'),
('account.incident_labels', false, 'Which labels are incidents.'),
('account.deployment_window', false, 'Within which time deployments of a commit are one.'),
('account.rework_labels', false, 'Which labels mend what is in production.'),
('account.blocked_labels', false, 'Which labels say that something is blocked.'),
('account.stale_after', false, 'After how long without a change something is stale.'),
('account.working_hours', false, 'When an account works.'),
('account.holidays', false, 'On which days nobody works.'),
('key.create', false, 'A data key is made.'),
('key.rotate', false, 'A new data key takes the place of another, whose records are sealed again.'),
('key.destroy', false, 'A data key that seals nothing any more is destroyed.'),
('proxy.credentials', false, 'The user and password of the proxy are set, or taken away.'),
('setting.change', false, 'A setting of keypup is another than before, as the worker finds within a minute.'),
('audit.checkpoint', false, 'Where all chains of the log end is signed: the note is the detail.'),
('audit.gap', true, 'So many records were lost on their way into the log, and why.'),
('audit_sink.set', false, 'The log is forwarded to a sink, or the sink is shown another secret.'),
('audit_sink.remove', false, 'It is forwarded there no more.'),
('audit.expire', false, 'Records of a day are dropped after keypup.audit_retention.'),
('audit.hold', false, 'An account''s log is kept until further notice.'),
('audit.release', false, 'That ends.');

INSERT INTO keypup.audit_actions (action, description)
SELECT p.permission, 'Something that takes this permission is refused to who has it not.'
FROM (VALUES ('data.read'), ('settings.read'), ('tokens.use'), ('settings.write'), ('users.read'), ('users.manage'),
  ('tokens.create'), ('tokens.rotate'), ('tokens.delete'), ('features.manage'), ('audit.read'), ('billing.manage'),
  ('support.grant'), ('owners.manage'), ('account.delete'), ('audit.forward')) AS p (permission)
ON CONFLICT (action) DO NOTHING;
