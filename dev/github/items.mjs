// Fields of issues, pull requests and of what hangs on them: comments, reviews, threads,
// timeline events, commits.

import { rollupOf } from './checks.mjs';
import { creationKey, databaseKey, page, sortedPage } from './connections.mjs';
import { newActor, nodeId } from './records.mjs';

const ITEM_KEYS = {
  CREATED_AT: (item) => [item.createdAt, item.number],
  UPDATED_AT: (item) => [item.updatedAt, item.number],
  COMMENTS: (item) => [item.comments.length, item.number],
};

/** Items of one kind in an order, sorted once and kept until the repository changes. */
function sortedItems(world, history, kind, field, direction) {
  return world.remembered(history, `${kind} ${field} ${direction}`, () => {
    const keyOf = ITEM_KEYS[field];
    const keyed = history[kind].map((item) => ({ item, key: keyOf(item) }));
    const sign = direction === 'DESC' ? -1 : 1;
    keyed.sort((a, b) => sign * (a.key[0] < b.key[0] ? -1 : a.key[0] > b.key[0] ? 1 : a.key[1] - b.key[1]));
    return keyed.map(({ item }) => item);
  });
}

function itemPage(world, history, kind, args, wanted) {
  const { field = 'CREATED_AT', direction = 'ASC' } = args.orderBy ?? {};
  const items = sortedItems(world, history, kind, field, direction).filter(wanted);
  return page(items, args, { order: `${kind} ${field}`, keyOf: ITEM_KEYS[field], descending: direction === 'DESC' });
}

const anyLabel = (names) => (item) => !names || item.labels.some((label) => names.some((name) => name.toLowerCase() === label.name.toLowerCase()));
const sameLogin = (login, actor) => actor !== null && actor.login.toLowerCase() === login.toLowerCase();

export function issuesPage(world, history, args, also = () => true) {
  const filter = args.filterBy ?? {};
  const since = filter.since ? Date.parse(filter.since) : null;
  const states = args.states ?? filter.states;
  const wanted = (issue) => (since === null || Date.parse(issue.updatedAt) >= since)
    && (!states || states.includes(issue.state))
    && anyLabel(args.labels)(issue) && anyLabel(filter.labels)(issue)
    && (!filter.createdBy || sameLogin(filter.createdBy, issue.author))
    && (!filter.assignee || issue.assignees.some((actor) => filter.assignee === '*' || sameLogin(filter.assignee, actor)))
    && (!filter.milestoneNumber || String(issue.milestone?.number) === filter.milestoneNumber)
    && also(issue);
  return itemPage(world, history, 'issues', args, wanted);
}

export function pullRequestsPage(world, history, args, also = () => true) {
  const wanted = (pull) => (!args.states || args.states.includes(pull.state))
    && (!args.baseRefName || pull.baseRefName === args.baseRefName)
    && (!args.headRefName || pull.headRefName === args.headRefName)
    && anyLabel(args.labels)(pull) && also(pull);
  return itemPage(world, history, 'pullRequests', args, wanted);
}

const inCreationOrder = { order: 'created', keyOf: creationKey };

/** "ReadyForReviewEvent" for READY_FOR_REVIEW_EVENT. */
const typeOfItem = (name) => name.toLowerCase().replace(/(^|_)(\w)/g, (_, __, letter) => letter.toUpperCase());

const pullRequestCommits = (pull) => pull.commits.map((commit, index) => ({
  __typename: 'PullRequestCommit', id: `PRC_${pull.id}_${commit.oid}`, fullDatabaseId: String(index + 1),
  createdAt: commit.committedDate,
  commit: { __typename: 'Commit', ...commit, statusCheckRollup: index === pull.commits.length - 1 ? rollupOf(pull) : null },
}));

/** The timeline: events, and where they are asked for also comments, reviews, threads and commits. */
function timelineItems(item, args, { world, access }, { schema }) {
  const types = args.itemTypes ? new Set(args.itemTypes.map(typeOfItem)) : null;
  const wants = (type) => types === null || types.has(type);
  let list = types === null ? item.events.slice() : item.events.filter((event) => types.has(event.__typename));
  if (wants('IssueComment')) list = list.concat(item.comments);
  if (item.__typename === 'PullRequest') {
    if (wants('PullRequestReview')) list = list.concat(world.visibleReviews(item, access.viewer));
    if (types?.has('PullRequestReviewThread')) list = list.concat(item.reviewThreads.map((thread) => Object.assign(Object.create(thread), { createdAt: thread.comments[0].createdAt })));
    if (wants('PullRequestCommit')) list = list.concat(pullRequestCommits(item));
  }
  if (args.since) list = list.filter((each) => Date.parse(each.createdAt) >= Date.parse(args.since));
  // A server that does not know a kind of event does not tell of it.
  list = list.filter((each) => schema.getType(each.__typename));
  const result = sortedPage(list, args, { order: 'timeline', keyOf: (each) => [...creationKey(each), each.id] });
  return Object.assign(result, { updatedAt: item.updatedAt });
}

function commentPage(item, args) {
  const descending = args.orderBy?.direction === 'DESC';
  return sortedPage(item.comments, args, { order: 'comments', keyOf: (c) => [c.createdAt, ...databaseKey(c)], descending });
}

function reviewPage(pull, args, { world, access }) {
  const reviews = world.visibleReviews(pull, access.viewer).filter((review) => (!args.states || args.states.includes(review.state))
    && (!args.author || (review.author && sameLogin(args.author, review.author))));
  return sortedPage(reviews, args, { order: 'reviews', keyOf: creationKey });
}

function participants(item, args) {
  const people = [item.author, ...item.comments.map((comment) => comment.author), ...(item.reviews ?? []).map((review) => review.author)];
  return page([...new Set(people.filter((actor) => actor?.__typename === 'User'))].sort((a, b) => a.databaseId - b.databaseId), args, { order: 'participants', keyOf: databaseKey });
}

/** A fork is a repository of which only the name is known. */
function headRepository(pull, _, { world, access }) {
  if (pull.headRepository === null) return null;
  const known = world.find(pull.headRepository);
  if (known) return access.sees(known) ? known.repository : null;
  const [owner, name] = pull.headRepository.split('/');
  const { databaseId } = newActor(pull.headRepository);
  return { __typename: 'Repository', id: nodeId('R', 0, databaseId), databaseId, name, nameWithOwner: pull.headRepository, owner: newActor(owner), isFork: true };
}

function closedByPullRequests(issue, args, { world }) {
  const history = world.historyOf(issue);
  const closing = world.remembered(history, 'closing pull requests', () => {
    const map = new Map();
    for (const pull of history.pullRequests) {
      for (const reference of pull.closingIssuesReferences) map.set(reference.id, [...(map.get(reference.id) ?? []), pull]);
    }
    return map;
  });
  const pulls = (closing.get(issue.id) ?? []).filter((pull) => args.includeClosedPrs || pull.state === 'OPEN');
  return sortedPage(pulls, args, { order: 'closing pull requests', keyOf: (pull) => [pull.number] });
}

const reviewCommentCount = (pull) => pull.reviewThreads.reduce((sum, thread) => sum + thread.comments.length, 0);
const mannerOfState = (item) => item.state !== 'OPEN';

/** The resolver tables of every type in this file; `shared` are pieces of the repository's tables. */
export function itemResolvers({ labelPage, repositoryOf, branch, SITE }) {
  const kindOf = (item) => (item.__typename === 'PullRequest' ? 'pull' : 'issues');
  const path = (item, context) => `${repositoryOf(item, null, context).nameWithOwner}/${kindOf(item)}/${item.number}`;
  const address = { url: (item, _, context) => `${SITE}/${path(item, context)}`, resourcePath: (item, _, context) => `/${path(item, context)}` };
  const common = { repository: repositoryOf, databaseId: (record) => shortId(record), viewerDidAuthor: (record, _, { access }) => record.author?.login === access.viewer.login };
  const subject = (record, _, { world }) => world.parentOf(record);
  const anchored = (name) => ({
    url: (record, _, context) => `${SITE}/${path(itemOf(record, context), context)}#${name}-${record.fullDatabaseId}`,
    resourcePath: (record, _, context) => `/${path(itemOf(record, context), context)}#${name}-${record.fullDatabaseId}`,
  });
  const item = {
    ...common, ...address, closed: mannerOfState, timelineItems, comments: commentPage, participants,
    labels: (record, args) => labelPage(record.labels, args),
    assignees: (record, args) => sortedPage(record.assignees.filter((actor) => actor.__typename === 'User'), args, { order: 'assignees', keyOf: databaseKey }),
  };
  const pullRequest = {
    ...item,
    permalink: address.url,
    merged: (pull) => pull.mergedAt !== null,
    baseRepository: repositoryOf,
    headRepository,
    headRepositoryOwner: (pull, args, context) => headRepository(pull, args, context)?.owner ?? null,
    baseRef: (pull, _, { world }) => branch(world.historyOf(pull), pull.baseRefName),
    headRefOid: (pull) => pull.commits.at(-1)?.oid ?? '0'.repeat(40),
    mergeCommit: (pull) => pull.mergeCommit && { __typename: 'Commit', authoredDate: pull.mergedAt, committedDate: pull.mergedAt, ...pull.mergeCommit },
    commits: (pull, args) => page(pullRequestCommits(pull), args, { order: 'commits', keyOf: (commit) => [Number(commit.fullDatabaseId)] }),
    reviews: reviewPage,
    reviewThreads: (pull, args) => sortedPage(pull.reviewThreads, args, { order: 'threads', keyOf: databaseKey }),
    reviewRequests: (pull, args) => sortedPage(pull.reviewRequests, args, { order: 'review requests', keyOf: databaseKey }),
    totalCommentsCount: (pull) => pull.comments.length + reviewCommentCount(pull),
    closingIssuesReferences: (pull, args, { world, access }) => sortedPage(
      pull.closingIssuesReferences.map((reference) => world.byId.get(reference.id)).filter((issue) => issue && access.sees(world.historyOf(issue))), args, { order: 'closing', keyOf: (issue) => [issue.number] }),
  };
  const reviewComments = (record, args, { world }) => sortedPage(record.comments ?? world.reviewComments.get(record.id) ?? [], args, inCreationOrder);
  const thread = { repository: repositoryOf, pullRequest: subject, comments: reviewComments };
  const tables = {
    Issue: { ...item, closedByPullRequestsReferences: closedByPullRequests, stateReason },
    PullRequest: pullRequest,
    IssueComment: {
      ...common, ...anchored('issuecomment'), issue: subject, publishedAt: (c) => c.createdAt,
      pullRequest: (comment, _, { world }) => (world.parentOf(comment).__typename === 'PullRequest' ? world.parentOf(comment) : null),
    },
    PullRequestReview: { ...common, ...anchored('pullrequestreview'), pullRequest: subject, comments: reviewComments, publishedAt: (r) => r.submittedAt },
    PullRequestReviewThread: thread,
    PullRequestReviewComment: {
      ...common, ...anchored('discussion_r'), publishedAt: (c) => c.createdAt, draftedAt: (c) => c.createdAt, state: () => 'SUBMITTED',
      pullRequest: (comment, _, { world }) => world.parentOf(world.parentOf(comment)),
      pullRequestReview: (comment, _, { world }) => world.byId.get(comment.pullRequestReview?.id) ?? null,
      replyTo: (comment, _, { world }) => world.byId.get(comment.replyTo?.id) ?? null,
      outdated: (comment, _, { world }) => world.parentOf(comment).isOutdated,
    },
    ReviewRequest: { pullRequest: subject, databaseId: shortId },
    PullRequestCommit: {},
  };
  return { ...tables, ...eventResolvers(subject, anchored('event')) };
}

/** Whoever does not ask for duplicates is told of issues that are not planned. */
const stateReason = (issue, { enableDuplicate }) => (issue.stateReason === 'DUPLICATE' && !enableDuplicate ? 'NOT_PLANNED' : issue.stateReason);

/** What carries a comment or an event: its issue or pull request. */
function itemOf(record, { world }) {
  let parent = world.parentOf(record);
  while (parent.number === undefined) parent = world.parentOf(parent);
  return parent;
}

/** The old 32-bit id, which newer things no longer have. */
const shortId = (record) => (Number(record.fullDatabaseId) <= 0x7fffffff ? Number(record.fullDatabaseId) : null);

const EVENT_TYPES = ['ReadyForReviewEvent', 'ConvertToDraftEvent', 'ReviewRequestedEvent', 'ReviewRequestRemovedEvent', 'ReviewDismissedEvent', 'ClosedEvent', 'ReopenedEvent', 'MergedEvent', 'HeadRefForcePushedEvent', 'BaseRefChangedEvent', 'AddedToMergeQueueEvent', 'RemovedFromMergeQueueEvent', 'AutoMergeEnabledEvent', 'AutoMergeDisabledEvent', 'LabeledEvent', 'UnlabeledEvent', 'AssignedEvent', 'UnassignedEvent', 'MilestonedEvent', 'DemilestonedEvent', 'RenamedTitleEvent', 'MarkedAsDuplicateEvent', 'TransferredEvent', 'ConvertedToDiscussionEvent', 'CommentDeletedEvent'];

function eventResolvers(subject, address) {
  const userOnly = (actor) => (actor?.__typename === 'User' ? actor : null);
  const event = {
    ...address, databaseId: shortId, pullRequest: subject, issue: subject, closable: subject, labelable: subject, assignable: subject, subject,
    user: (each) => userOnly(each.assignee), enqueuer: (each) => userOnly(each.actor), enabler: (each) => userOnly(each.actor), disabler: (each) => userOnly(each.actor),
    closer: (each, _, { world }) => (each.closer?.id ? world.byId.get(each.closer.id) ?? null : each.closer ?? null),
    review: (each, _, { world }) => world.byId.get(each.review?.id) ?? null,
    commit: (each, _, { world }) => world.parentOf(each).mergeCommit && { __typename: 'Commit', ...world.parentOf(each).mergeCommit },
  };
  return Object.fromEntries(EVENT_TYPES.map((type) => [type, event]));
}
