// The records of a repository's history, in GitHub's words, with every field that
// GitHub calls non-null filled. A record is plain JSON: the truth that a test reads is
// these records as they stand. People, labels and milestones are shared objects, so a
// renamed label is renamed wherever it is shown.

import { createHash } from 'node:crypto';
import { hash32 } from './random.mjs';

const FIRST_NAMES = ['Ada', 'Björn', 'Chloé', 'Dmitri', 'Eva', 'Farid', 'Grace', 'Hana', 'İnci', 'Jean', 'Kwame', 'Lucía'];
const LAST_NAMES = ['Lovelace', 'Ångström', 'Dupont', 'Ivanova', 'Müller', "O'Brien", 'Hopper', 'Suzuki', 'Öztürk', 'Mensah'];
const ACTOR_PREFIX = { User: 'U', Bot: 'BOT', Mannequin: 'M', Organization: 'O', Team: 'T' };

/** An opaque global id, in the look of GitHub's "next" format. */
export function nodeId(prefix, scope, databaseId) {
  const bytes = Buffer.alloc(12);
  bytes.writeUInt32BE(scope >>> 0, 0);
  bytes.writeBigUInt64BE(BigInt(databaseId), 4);
  return `${prefix}_kw${bytes.toString('base64url')}`;
}

export const oidOf = (text) => createHash('sha1').update(text).digest('hex');

/** A person, bot, mannequin or organization. The same login is the same account in every repository. */
export function newActor(login, typename = 'User') {
  const hash = hash32(`${typename}:${login.toLowerCase()}`);
  const databaseId = hash & 0x7fffffff;
  const actor = { __typename: typename, id: nodeId(ACTOR_PREFIX[typename], 0, databaseId), databaseId, login };
  if (typename === 'User' || typename === 'Organization') {
    actor.name = hash % 5 === 0 ? null : `${FIRST_NAMES[hash % FIRST_NAMES.length]} ${LAST_NAMES[(hash >>> 8) % LAST_NAMES.length]}`;
  }
  return actor;
}

/** An empty history of one repository. Everything else is added to it. Repositories of different seeds share no id. */
export function newHistory(nameWithOwner, fields = {}, idSeed = nameWithOwner) {
  const [owner, name] = nameWithOwner.split('/');
  const databaseId = hash32(`repository:${idSeed}`) & 0x7fffffff;
  const history = {
    repository: {
      __typename: 'Repository', id: nodeId('R', 0, databaseId), databaseId, name, nameWithOwner,
      owner: newActor(owner, 'Organization'),
      description: null, isPrivate: false, visibility: 'PUBLIC', isArchived: false, archivedAt: null,
      isDisabled: false, isLocked: false, lockReason: null, isEmpty: false, isFork: false, isMirror: false,
      isTemplate: false, hasIssuesEnabled: true, hasDiscussionsEnabled: false,
      createdAt: '2020-01-01T00:00:00Z', updatedAt: '2020-01-01T00:00:00Z', pushedAt: null,
      defaultBranch: 'main', ...fields,
    },
    actors: {}, teams: [], labels: [], milestones: [], issues: [], pullRequests: [], releases: [], deployments: [], branches: [],
  };
  // Ids beyond 32 bits, and apart from those of every other repository.
  const firstId = 2_200_000_000 + (hash32(idSeed) % 1_000_000) * 1_000_000;
  Object.defineProperty(history, 'lastDatabaseId', { value: firstId, writable: true, enumerable: false });
  return history;
}

export function newIds(history, prefix) {
  history.lastDatabaseId += 1;
  const databaseId = history.lastDatabaseId;
  return { id: nodeId(prefix, history.repository.databaseId, databaseId), fullDatabaseId: String(databaseId) };
}

/** The account with this login, made when it is new; null (a deleted account) stays null. */
export function actorOf(history, login, typename = 'User') {
  if (login === null || login === undefined) return null;
  const key = login.toLowerCase();
  if (!Object.hasOwn(history.actors, key)) history.actors[key] = newActor(login, typename);
  return history.actors[key];
}

export function newTeam(history, slug, name) {
  const { databaseId } = newActor(`${history.repository.owner.login}/${slug}`, 'Team');
  const team = { __typename: 'Team', id: nodeId('T', 0, databaseId), databaseId, slug, name };
  history.teams.push(team);
  return team;
}

export function newLabel(history, fields) {
  const label = {
    __typename: 'Label', ...newIds(history, 'LA'), description: null, color: 'ededed', isDefault: false,
    createdAt: history.repository.createdAt, updatedAt: history.repository.createdAt, ...fields,
  };
  history.labels.push(label);
  return label;
}

export function newMilestone(history, fields) {
  const { createdAt } = fields;
  const milestone = {
    __typename: 'Milestone', ...newIds(history, 'MI'), number: history.milestones.length + 1, description: null, state: 'OPEN',
    dueOn: null, updatedAt: createdAt, closedAt: null, creator: null, progressPercentage: 0, ...fields,
  };
  history.milestones.push(milestone);
  return milestone;
}

const itemFields = (createdAt) => ({
  author: null, authorAssociation: 'NONE', createdAt, updatedAt: createdAt, publishedAt: createdAt,
  lastEditedAt: null, closedAt: null, locked: false, activeLockReason: null, milestone: null,
  labels: [], assignees: [], comments: [], events: [],
});

export function newIssue(history, fields) {
  const issue = {
    __typename: 'Issue', ...newIds(history, 'I'), number: 0, title: '', state: 'OPEN', stateReason: null,
    ...itemFields(fields.createdAt), ...fields,
  };
  history.issues.push(issue);
  return issue;
}

export function newPullRequest(history, fields) {
  const pull = {
    __typename: 'PullRequest', ...newIds(history, 'PR'), number: 0, title: '', state: 'OPEN', isDraft: false,
    ...itemFields(fields.createdAt),
    baseRefName: history.repository.defaultBranch, headRefName: 'topic',
    headRepository: history.repository.nameWithOwner, isCrossRepository: false,
    mergedAt: null, mergedBy: null, mergeCommit: null, isInMergeQueue: false, reviewDecision: null,
    additions: 0, deletions: 0, changedFiles: 0, commits: [], checks: [], mergeable: 'MERGEABLE', mergeStateStatus: 'CLEAN',
    reviewRequests: [], reviews: [], reviewThreads: [], closingIssuesReferences: [], ...fields,
  };
  history.pullRequests.push(pull);
  return pull;
}

const remarkFields = (createdAt) => ({
  author: null, authorAssociation: 'NONE', createdAt, updatedAt: createdAt, lastEditedAt: null, isMinimized: false,
});

/** A comment in the conversation of an issue or pull request. */
export function newComment(history, item, fields) {
  const comment = { __typename: 'IssueComment', ...newIds(history, 'IC'), ...remarkFields(fields.createdAt), ...fields };
  item.comments.push(comment);
  return comment;
}

export function newReview(history, pull, fields) {
  const review = {
    __typename: 'PullRequestReview', ...newIds(history, 'PRR'), state: 'COMMENTED', submittedAt: fields.createdAt,
    ...remarkFields(fields.createdAt), ...fields,
  };
  pull.reviews.push(review);
  return review;
}

export function newThread(history, pull, fields = {}) {
  const thread = {
    __typename: 'PullRequestReviewThread', ...newIds(history, 'PRRT'), isResolved: false, isOutdated: false, resolvedBy: null,
    comments: [], ...fields,
  };
  pull.reviewThreads.push(thread);
  return thread;
}

/** A comment on the changes: part of a thread and of a review. The first one of a thread answers nothing. */
export function newReviewComment(history, thread, review, fields) {
  const comment = {
    __typename: 'PullRequestReviewComment', ...newIds(history, 'PRRC'), ...remarkFields(fields.createdAt),
    replyTo: thread.comments.length > 0 ? { id: thread.comments[0].id } : null,
    pullRequestReview: { id: review.id }, author: review.author, authorAssociation: review.authorAssociation, ...fields,
  };
  thread.comments.push(comment);
  return comment;
}

export function newEvent(history, item, typename, createdAt, actor, fields = {}) {
  const event = { __typename: typename, ...newIds(history, 'EV'), createdAt, actor, ...fields };
  item.events.push(event);
  return event;
}

export function newReviewRequest(history, pull, requestedReviewer, asCodeOwner = false) {
  const request = { __typename: 'ReviewRequest', ...newIds(history, 'RR'), asCodeOwner, requestedReviewer };
  pull.reviewRequests.push(request);
  return request;
}

/** What GitHub shows beside the merge button: the latest opinion of each reviewer decides. */
export function reviewDecisionOf(pull) {
  const opinions = new Map();
  for (const review of pull.reviews) {
    if (['APPROVED', 'CHANGES_REQUESTED', 'DISMISSED'].includes(review.state)) {
      opinions.set(review.author === null ? review.id : review.author.id, review.state);
    }
  }
  const states = [...opinions.values()];
  if (states.includes('CHANGES_REQUESTED')) return 'CHANGES_REQUESTED';
  if (states.includes('APPROVED')) return 'APPROVED';
  return pull.reviewRequests.length > 0 ? 'REVIEW_REQUIRED' : null;
}

const byTime = (a, b) => (a.createdAt < b.createdAt ? -1 : a.createdAt > b.createdAt ? 1 : Number(a.fullDatabaseId) - Number(b.fullDatabaseId));

/** Put lists in GitHub's order (creation) and fill what follows from the rest. Called once a history is complete. */
export function finishHistory(history) {
  const items = [...history.issues, ...history.pullRequests];
  for (const item of items) {
    item.events.sort(byTime);
    item.comments.sort(byTime);
  }
  for (const pull of history.pullRequests) {
    pull.reviews.sort(byTime);
    pull.reviewDecision = reviewDecisionOf(pull);
  }
  for (const milestone of history.milestones) {
    const inside = items.filter((item) => item.milestone === milestone);
    const closed = inside.filter((item) => item.state !== 'OPEN').length;
    milestone.progressPercentage = inside.length === 0 ? 0 : (100 * closed) / inside.length;
  }
  const { repository } = history;
  for (const item of items) {
    if (item.updatedAt > repository.updatedAt) repository.updatedAt = item.updatedAt;
    if (item.mergedAt && item.mergedAt > (repository.pushedAt ?? '')) repository.pushedAt = item.mergedAt;
  }
  return history;
}
