// How each field of the schema is answered. A field without an entry here is the
// record's own property of that name, or else an empty value of the field's type.

import { getNamedType, isAbstractType, isEnumType, isListType, isNonNullType, isScalarType } from 'graphql';
import { schema } from './schema.mjs';
import { notFound } from './errors.mjs';
import { BODY_MARKER, SOURCE_MARKER, carriesBody, carriesSource } from './source.mjs';
import { compareKeys, creationKey, databaseKey, page, sortedPage } from './connections.mjs';
import { newActor } from './records.mjs';
import { checkResolvers } from './checks.mjs';
import { itemResolvers, issuesPage, pullRequestsPage } from './items.mjs';

const SITE = 'https://github.com';

function repositoryByName({ world, access }, owner, name, followRenames) {
  const history = world.find(`${owner}/${name}`, followRenames);
  // GitHub does not tell a private repository from one that does not exist.
  return history && access.sees(history) ? history.repository : notFound(`a Repository with the name '${owner}/${name}'`);
}

function nodeById({ world, access }, id, { schema: current }) {
  const record = world.byId.get(id);
  const history = world.historyOfId.get(id);
  const unwritten = record?.__typename === 'PullRequestReview' && record.state === 'PENDING' && record.author?.login !== access.viewer.login;
  const hidden = unwritten || (history && !access.sees(history)) || (record && !current.getType(record.__typename));
  return record && !hidden ? record : notFound(`a node with the global id of '${id}'`);
}

function ownerByLogin(world, login) {
  const key = login.toLowerCase();
  const history = world.histories.find((each) => each.repository.owner.login.toLowerCase() === key);
  if (history) return history.repository.owner;
  if (key === world.viewer.login.toLowerCase()) return world.viewer;
  if (world.accounts.has(key)) return world.accounts.get(key);
  return world.histories.map((each) => each.actors[key]).find(Boolean);
}

const ownerOrNotFound = (typename) => (_, { login }, { world }) => {
  const owner = ownerByLogin(world, login);
  return owner?.__typename === typename ? owner : notFound(`${typename === 'User' ? 'a' : 'an'} ${typename} with the login of '${login}'`);
};

const Query = {
  viewer: (_, __, { access }) => access.viewer,
  relay: () => ({ __typename: 'Query' }),
  id: () => 'Q_query',
  node: (_, { id }, context, info) => nodeById(context, id, info),
  nodes: (_, { ids }, context, info) => ids.map((id) => nodeById(context, id, info)),
  repository: (_, { owner, name, followRenames }, context) => repositoryByName(context, owner, name, followRenames),
  repositoryOwner: (_, { login }, { world }) => ownerByLogin(world, login) ?? null,
  organization: ownerOrNotFound('Organization'),
  user: ownerOrNotFound('User'),
  rateLimit: (_, __, { rateLimit }) => rateLimit,
};

const REPOSITORY_KEYS = {
  NAME: (r) => [r.name.toLowerCase(), r.databaseId], CREATED_AT: (r) => [r.createdAt, r.databaseId],
  UPDATED_AT: (r) => [r.updatedAt, r.databaseId], PUSHED_AT: (r) => [r.pushedAt ?? '', r.databaseId], STARGAZERS: databaseKey,
};

/** Repositories of an owner; those of the viewer are all that the token has to do with. */
function repositories(owner, args, { world, access }) {
  const isOwn = owner.id === access.viewer.id ? (history) => access.isAffiliatedWith(history) : ({ repository }) => repository.owner.id === owner.id;
  const own = world.histories.filter((history) => access.sees(history) && isOwn(history)).map((history) => history.repository);
  const { field = 'NAME', direction = 'ASC' } = args.orderBy ?? {};
  return sortedPage(own, args, { order: `repositories ${field}`, keyOf: REPOSITORY_KEYS[field], descending: direction === 'DESC' });
}

const account = {
  repositories,
  repository: (owner, { name, followRenames }, context) => repositoryByName(context, owner.login, name, followRenames),
  url: (actor) => `${SITE}/${actor.login}`,
  resourcePath: (actor) => `/${actor.login}`,
  avatarUrl: (actor) => `https://avatars.githubusercontent.com/u/${actor.databaseId}?v=4`,
};

const labelPage = (labels, args) => {
  const { field = 'CREATED_AT', direction = 'ASC' } = args.orderBy ?? {};
  const keyOf = field === 'NAME' ? (label) => [label.name.toLowerCase(), ...databaseKey(label)] : creationKey;
  const wanted = args.query ? labels.filter((label) => label.name.toLowerCase().includes(args.query.toLowerCase())) : labels;
  return sortedPage(wanted, args, { order: `labels ${field}`, keyOf, descending: direction === 'DESC' });
};

const MILESTONE_KEYS = {
  CREATED_AT: (m) => [m.createdAt, m.number], UPDATED_AT: (m) => [m.updatedAt, m.number],
  DUE_DATE: (m) => [m.dueOn ?? '9999', m.number], NUMBER: (m) => [m.number],
};

function milestonePage(milestones, args) {
  const { field = 'NUMBER', direction = 'ASC' } = args.orderBy ?? {};
  const wanted = milestones.filter((m) => (!args.states || args.states.includes(m.state)) && (!args.query || m.title.includes(args.query)));
  return sortedPage(wanted, args, { order: `milestones ${field}`, keyOf: MILESTONE_KEYS[field], descending: direction === 'DESC' });
}

const itemOfType = (typename, words) => (repository, { number }, { world }) => {
  const item = world.byNumber(world.historyOf(repository), number);
  return item && (!typename || item.__typename === typename) ? item : notFound(`${words} with the number of ${number}`);
};

// A draft is shown to those who may write.
const seesDrafts = (history, access) => ['WRITE', 'MAINTAIN', 'ADMIN'].includes(access.permissionOn(history));
const releasesOf = (history, access) => history.releases.filter((release) => !release.isDraft || seesDrafts(history, access));
const latestOf = (history) => history.releases.filter((release) => !release.isDraft && !release.isPrerelease)
  .sort((a, b) => compareKeys(creationKey(b), creationKey(a)))[0] ?? null;

function releasePage(repository, args, { world, access }) {
  const { field = 'CREATED_AT', direction = 'DESC' } = args.orderBy ?? {};
  const keyOf = field === 'NAME' ? (release) => [release.tagName, ...databaseKey(release)] : creationKey;
  return sortedPage(releasesOf(world.historyOf(repository), access), args, { order: `releases ${field}`, keyOf, descending: direction === 'DESC' });
}

function deploymentPage(repository, args, { world }) {
  const { direction = 'ASC' } = args.orderBy ?? {};
  const wanted = world.historyOf(repository).deployments.filter((each) => !args.environments || args.environments.includes(each.environment));
  return sortedPage(wanted, args, { order: 'deployments', keyOf: creationKey, descending: direction === 'DESC' });
}

const Repository = {
  releases: releasePage,
  release: (repository, { tagName }, { world, access }) => releasesOf(world.historyOf(repository), access).find((release) => release.tagName === tagName) ?? null,
  latestRelease: (repository, _, { world }) => latestOf(world.historyOf(repository)),
  deployments: deploymentPage,
  viewerPermission: (repository, _, { world, access }) => (world.historyOf(repository) ? access.permissionOn(world.historyOf(repository)) : 'READ'),
  url: (repository) => `${SITE}/${repository.nameWithOwner}`,
  resourcePath: (repository) => `/${repository.nameWithOwner}`,
  sshUrl: (repository) => `git@github.com:${repository.nameWithOwner}.git`,
  defaultBranchRef: (repository, _, { world }) => (repository.isEmpty ? null : branch(world.historyOf(repository), repository.defaultBranch)),
  issues: (repository, args, { world }) => issuesPage(world, world.historyOf(repository), args),
  pullRequests: (repository, args, { world }) => pullRequestsPage(world, world.historyOf(repository), args),
  issue: itemOfType('Issue', 'an Issue'),
  pullRequest: itemOfType('PullRequest', 'a PullRequest'),
  issueOrPullRequest: itemOfType(null, 'an issue or pull request'),
  labels: (repository, args, { world }) => labelPage(world.historyOf(repository).labels, args),
  label: (repository, { name }, { world }) => world.historyOf(repository).labels.find((label) => label.name.toLowerCase() === name.toLowerCase()) ?? null,
  milestones: (repository, args, { world }) => milestonePage(world.historyOf(repository).milestones, args),
  milestone: (repository, { number }, { world }) => world.historyOf(repository).milestones.find((m) => m.number === number) ?? null,
};

export const branch = (history, name) => ({ ...history.branches.find((each) => each.name === name), history, __typename: 'Ref', id: `REF_${history.repository.databaseId}_${name}`, name, prefix: 'refs/heads/', repository: history.repository });

const repositoryOf = (record, _, { world }) => world.historyOf(record)?.repository;
const urlUnder = (path) => ({
  url: (record, args, context) => `${SITE}/${repositoryOf(record, args, context).nameWithOwner}/${path(record)}`,
  resourcePath: (record, args, context) => `/${repositoryOf(record, args, context).nameWithOwner}/${path(record)}`,
});
const having = (label) => (item) => item.labels.includes(label);
const inMilestone = (milestone) => (item) => item.milestone === milestone;

const Label = {
  repository: repositoryOf,
  ...urlUnder((label) => `labels/${encodeURIComponent(label.name.toWellFormed?.() ?? label.name)}`),
  issues: (label, args, { world }) => issuesPage(world, world.historyOf(label), args, having(label)),
  pullRequests: (label, args, { world }) => pullRequestsPage(world, world.historyOf(label), args, having(label)),
};

const Milestone = {
  repository: repositoryOf,
  ...urlUnder((milestone) => `milestone/${milestone.number}`),
  closed: (milestone) => milestone.state === 'CLOSED',
  issues: (milestone, args, { world }) => issuesPage(world, world.historyOf(milestone), args, inMilestone(milestone)),
  pullRequests: (milestone, args, { world }) => pullRequestsPage(world, world.historyOf(milestone), args, inMilestone(milestone)),
};

const Release = {
  repository: repositoryOf,
  databaseId: () => null,
  ...urlUnder((release) => `releases/tag/${encodeURIComponent(release.tagName)}`),
  isLatest: (release, _, { world }) => latestOf(world.historyOf(release)) === release,
  tag: (release, _, { world }) => (release.tagCommit ? { ...branch(world.historyOf(release), release.tagName), prefix: 'refs/tags/' } : null),
  tagCommit: (release) => release.tagCommit && { __typename: 'Commit', ...release.tagCommit },
};

const Deployment = {
  repository: repositoryOf,
  databaseId: () => null,
  originalEnvironment: (deployment) => deployment.environment,
  latestEnvironment: (deployment) => deployment.environment,
  creator: (deployment) => deployment.creator ?? GHOST,
  ref: (deployment, _, { world }) => deployment.ref && branch(world.historyOf(deployment), deployment.ref.name),
  commit: (deployment) => deployment.commit && { __typename: 'Commit', ...deployment.commit },
  commitOid: (deployment) => deployment.commit?.oid ?? '0'.repeat(40),
  // The newest comes first.
  statuses: (deployment, args) => sortedPage(deployment.statuses, args, { order: 'statuses', keyOf: creationKey, descending: true }),
  latestStatus: (deployment) => deployment.statuses.at(-1) ?? null,
};

// Whom GitHub names where an account is gone and somebody must be named.
const GHOST = newActor('ghost');

const DeploymentStatus = {
  deployment: (status, _, { world }) => world.parentOf(status),
  environment: (status, _, { world }) => world.parentOf(status).environment,
  creator: (status) => status.creator ?? GHOST,
};

const Commit = {
  id: (commit) => `C_${commit.oid}`,
  abbreviatedOid: (commit) => commit.oid.slice(0, 7),
  pushedDate: () => null,
  author: ({ author }) => ({ __typename: 'GitActor', user: author?.__typename === 'User' ? author : null }),
};

const table = {
  ...checkResolvers,
  Query, Repository, Label, Milestone, Release, Deployment, DeploymentStatus, Commit,
  User: { ...account, isViewer: (user, _, { access }) => user.id === access.viewer.id },
  Organization: { ...account, viewerIsAMember: (organization, _, { access }) => access.isMemberOf(organization.login) },
  Bot: account,
  Mannequin: account,
  Team: { combinedSlug: (team, _, { world }) => `${world.historyOf(team).repository.owner.login}/${team.slug}` },
  ...itemResolvers({ labelPage, repositoryOf, branch, SITE }),
};

/** graphql-js asks this for every field. */
export function resolveField(source, args, context, info) {
  return context.nulls.resolve(info.path, () => answerField(source, args, context, info));
}

function answerField(source, args, context, info) {
  const { parentType, fieldName } = info;
  context.access.refuseField(parentType.name, fieldName, source);
  if (carriesSource(parentType.name, fieldName)) return marked(info.returnType, SOURCE_MARKER);
  if (carriesBody(parentType.name, fieldName)) return marked(info.returnType, `${BODY_MARKER} of ${source.id}`);
  const resolver = table[parentType.name]?.[fieldName];
  if (resolver) return resolver(source, args, context, info);
  const value = source?.[fieldName];
  if (typeof value === 'function') return value();
  return value === undefined ? emptyValue(info.returnType, source) : value;
}

export const resolveType = (value) => value.__typename;

/** A value of the type that shows, wherever it turns up, that it came from a marked field. */
function marked(type, marker) {
  const inner = isNonNullType(type) ? type.ofType : type;
  if (isListType(inner)) return [marked(inner.ofType, marker)];
  const named = getNamedType(inner);
  if (isEnumType(named)) return named.getValues()[0].value;
  if (isScalarType(named)) return named.name === 'Int' ? 4242 : named.name === 'Boolean' ? false : marker;
  const concrete = isAbstractType(named) ? (schema.getPossibleTypes(named).find((each) => each.name === 'Blob') ?? schema.getPossibleTypes(named)[0]) : named;
  if (concrete.name.endsWith('Connection')) return { __typename: concrete.name, totalCount: 1, nodes: [{}], edges: [{ node: {}, cursor: 'Y3Vyc29y' }] };
  return { __typename: concrete.name, id: `${concrete.name}_marked`, text: marker, message: marker, name: marker };
}

/** What stands for a field the histories know nothing about: null, or the type's empty value. */
function emptyValue(type, source) {
  if (isNonNullType(type)) return emptyNonNull(type.ofType, source);
  return getNamedType(type).name.endsWith('Connection') ? emptyNonNull(type, source) : null;
}

function emptyNonNull(type, source) {
  if (isListType(type)) return [];
  const named = getNamedType(type);
  if (isEnumType(named)) return named.getValues()[0].value;
  if (isScalarType(named)) return emptyScalar(named.name, source);
  if (named.name.endsWith('Connection')) return page([], {}, { order: 'empty', keyOf: databaseKey });
  const concrete = isAbstractType(named) ? schema.getPossibleTypes(named)[0] : named;
  return { __typename: concrete.name };
}

function emptyScalar(name, source) {
  switch (name) {
    case 'Int': case 'Float': return 0;
    case 'Boolean': return false;
    case 'ID': return 'EMPTY_id';
    case 'URI': return `${SITE}/`;
    case 'DateTime': return source?.createdAt ?? '2020-01-01T00:00:00Z';
    case 'GitObjectID': return '0'.repeat(40);
    default: return '';
  }
}
