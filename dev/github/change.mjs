// Changes to a repository between two requests, as people make them on GitHub: the
// record, the event that GitHub writes, and updatedAt.

import { oidOf, actorOf, newActor, newComment, newEvent, newIssue, newLabel, newMilestone, newPullRequest, newReview, newReviewComment, newReviewRequest, newThread, reviewDecisionOf } from './records.mjs';
import { CHECK_CHANGES } from './checks.mjs';
import { DELIVERY_CHANGES } from './delivery.mjs';
import { isoTime } from './random.mjs';

/**
 * Apply one change and answer what it touched.
 *
 * change: {change, number?, at?, actor?, ...}. `at` is the time (default: now), `actor` the
 * login of who does it (default: octocat; null: a deleted account), `actor_type` User or Bot.
 * `bump: false` leaves updatedAt alone, as GitHub has done at times.
 */
export function applyChange(world, history, change) {
  const handler = CHANGES[change.change];
  if (!handler) throw new Error(`no change "${change.change}"; there are: ${Object.keys(CHANGES).join(', ')}`);
  const at = change.at ?? isoTime(Date.now());
  const actor = change.actor === null ? null : actorOf(history, change.actor ?? 'octocat', change.actor_type);
  const item = change.number === undefined ? undefined : world.byNumber(history, change.number);
  if (change.number !== undefined && !item && !change.change.startsWith('new_') && !change.change.includes('milestone')) throw new Error(`no issue or pull request number ${change.number}`);
  const touched = handler({ world, history, item, change, at, actor }) ?? item;
  if (item && change.bump !== false && !CHECK_CHANGES[change.change] && item.updatedAt < at) item.updatedAt = at;
  if (item?.__typename === 'PullRequest') item.reviewDecision = reviewDecisionOf(item);
  if (change.change !== 'delete_repository') world.index(history);
  return { change: change.change, at, number: item?.number ?? touched?.number, updatedAt: item?.updatedAt ?? touched?.updatedAt, id: touched?.id, record: touched };
}

function required(value, what) {
  if (value === undefined) throw new Error(`this change needs ${what}`);
  return value;
}

const isPull = (item) => {
  if (required(item, 'a number').__typename !== 'PullRequest') throw new Error(`number ${item.number} is not a pull request`);
  return item;
};
const nextNumber = (history) => 1 + Math.max(0, ...[...history.issues, ...history.pullRequests].map((item) => item.number), history.deletedNumber ?? 0);
const labelNamed = (history, name) => required(history.labels.find((label) => label.name === name), `a label that exists; there is no "${name}"`);
const milestoneOf = (history, { milestone }) => required(history.milestones.find((each) => each.number === milestone || each.title === milestone), `a milestone that exists; there is no "${milestone}"`);

function removeFrom(list, element) {
  const index = list.indexOf(element);
  if (index >= 0) list.splice(index, 1);
}

const CHANGES = {
  comment: ({ history, item, change, at, actor }) => newComment(history, required(item, 'a number'), { createdAt: at, author: actor, authorAssociation: change.author_association ?? 'MEMBER' }),

  edit_comment({ item, change, at }) {
    const comment = commentOf(item, change);
    Object.assign(comment, { updatedAt: at, lastEditedAt: at });
    return comment;
  },

  delete_comment({ history, item, change, at, actor }) {
    const comment = commentOf(item, change);
    removeFrom(item.comments, comment);
    newEvent(history, item, 'CommentDeletedEvent', at, actor, { deletedCommentAuthor: comment.author });
    return comment;
  },

  /** A review; `comments` says how many remarks on the changes it has, each on a new thread. */
  review({ history, item, change, at, actor }) {
    const state = change.state ?? 'COMMENTED';
    const review = newReview(history, isPull(item), { createdAt: at, submittedAt: state === 'PENDING' ? null : at, author: actor, state, authorAssociation: change.author_association ?? 'MEMBER' });
    for (let i = 0; i < (change.comments ?? 0); i += 1) newReviewComment(history, newThread(history, item), review, { createdAt: at });
    item.reviewRequests = item.reviewRequests.filter((request) => request.requestedReviewer !== actor);
    return review;
  },

  /** An answer in a thread (by default the last one). */
  review_comment({ history, item, change, at, actor }) {
    const thread = required(isPull(item).reviewThreads.find((each) => each.id === change.thread) ?? item.reviewThreads.at(-1), 'a thread');
    const review = newReview(history, item, { createdAt: at, author: actor });
    return newReviewComment(history, thread, review, { createdAt: at });
  },

  dismiss_review({ history, item, change, at, actor }) {
    const review = required(isPull(item).reviews.find((each) => each.id === change.review) ?? item.reviews.at(-1), 'a review');
    newEvent(history, item, 'ReviewDismissedEvent', at, actor, { previousReviewState: review.state, review: { id: review.id } });
    Object.assign(review, { state: 'DISMISSED', updatedAt: at });
    return review;
  },

  request_review({ history, item, change, at, actor }) {
    const requestedReviewer = change.team ? required(history.teams.find((team) => team.slug === change.team), 'a team that exists') : actorOf(history, required(change.reviewer, 'a reviewer'));
    newEvent(history, isPull(item), 'ReviewRequestedEvent', at, actor, { requestedReviewer });
    return newReviewRequest(history, item, requestedReviewer);
  },

  remove_review_request({ history, item, change, at, actor }) {
    const request = required(isPull(item).reviewRequests.find((each) => (each.requestedReviewer?.login ?? each.requestedReviewer?.slug) === (change.reviewer ?? change.team)), 'a request that exists');
    removeFrom(item.reviewRequests, request);
    newEvent(history, item, 'ReviewRequestRemovedEvent', at, actor, { requestedReviewer: request.requestedReviewer });
    return request;
  },

  ready({ history, item, at, actor }) {
    isPull(item).isDraft = false;
    newEvent(history, item, 'ReadyForReviewEvent', at, actor);
  },

  draft({ history, item, at, actor }) {
    isPull(item).isDraft = true;
    newEvent(history, item, 'ConvertToDraftEvent', at, actor);
  },

  merge({ history, item, at, actor }) {
    if (isPull(item).state !== 'OPEN') throw new Error(`pull request ${item.number} is not open`);
    Object.assign(item, { state: 'MERGED', mergedAt: at, closedAt: at, mergedBy: actor, mergeCommit: { oid: oidOf(`${item.id}:merge`) }, isInMergeQueue: false });
    newEvent(history, item, 'MergedEvent', at, actor, { mergeRefName: item.baseRefName });
    newEvent(history, item, 'ClosedEvent', at, actor, { stateReason: null, closer: null });
    Object.assign(history.repository, { pushedAt: at, updatedAt: at });
  },

  close({ history, item, change, at, actor }) {
    const stateReason = required(item, 'a number').__typename === 'Issue' ? change.state_reason ?? 'COMPLETED' : null;
    Object.assign(item, { state: 'CLOSED', closedAt: at, ...(stateReason ? { stateReason } : {}) });
    newEvent(history, item, 'ClosedEvent', at, actor, { stateReason, closer: null });
  },

  reopen({ history, item, at, actor }) {
    const stateReason = required(item, 'a number').__typename === 'Issue' ? 'REOPENED' : null;
    if (item.state === 'MERGED') throw new Error('a merged pull request cannot be reopened');
    Object.assign(item, { state: 'OPEN', closedAt: null, ...(stateReason ? { stateReason } : {}) });
    newEvent(history, item, 'ReopenedEvent', at, actor, { stateReason });
  },

  title({ history, item, change, at, actor }) {
    newEvent(history, required(item, 'a number'), 'RenamedTitleEvent', at, actor, { previousTitle: item.title, currentTitle: required(change.title, 'a title') });
    item.title = change.title;
  },

  label({ history, item, change, at, actor }) {
    const label = labelNamed(history, change.label);
    if (!required(item, 'a number').labels.includes(label)) item.labels.push(label);
    newEvent(history, item, 'LabeledEvent', at, actor, { label });
  },

  unlabel({ history, item, change, at, actor }) {
    const label = labelNamed(history, change.label);
    removeFrom(required(item, 'a number').labels, label);
    newEvent(history, item, 'UnlabeledEvent', at, actor, { label });
  },

  assign({ history, item, change, at, actor }) {
    const assignee = actorOf(history, required(change.assignee, 'an assignee'));
    if (!item.assignees.includes(assignee)) item.assignees.push(assignee);
    newEvent(history, item, 'AssignedEvent', at, actor, { assignee });
  },

  unassign({ history, item, change, at, actor }) {
    const assignee = actorOf(history, required(change.assignee, 'an assignee'));
    removeFrom(item.assignees, assignee);
    newEvent(history, item, 'UnassignedEvent', at, actor, { assignee });
  },

  milestone({ history, item, change, at, actor }) {
    required(item, 'a number').milestone = milestoneOf(history, change);
    newEvent(history, item, 'MilestonedEvent', at, actor, { milestoneTitle: item.milestone.title });
  },

  demilestone({ history, item, at, actor }) {
    newEvent(history, required(item, 'a number'), 'DemilestonedEvent', at, actor, { milestoneTitle: item.milestone?.title ?? '' });
    item.milestone = null;
  },

  lock({ item, change }) {
    Object.assign(required(item, 'a number'), { locked: true, activeLockReason: change.reason ?? null });
  },

  force_push({ history, item, at, actor }) {
    isPull(item).commits = item.commits.map((commit, index) => ({ oid: oidOf(`${item.id}:${at}:${index}`), authoredDate: commit.authoredDate, committedDate: at, author: commit.author }));
    item.checks = [];
    newEvent(history, item, 'HeadRefForcePushedEvent', at, actor);
  },

  push({ item, at, actor }) {
    isPull(item).checks = [];
    item.commits.push({ oid: oidOf(`${item.id}:${at}:${item.commits.length}`), authoredDate: at, committedDate: at, author: actor });
  },

  close_reference({ history, item, change }) {
    const issue = required(history.issues.find((each) => each.number === change.issue), 'an issue that exists');
    isPull(item).closingIssuesReferences.push({ id: issue.id, number: issue.number, repository: history.repository.nameWithOwner });
  },

  /** Gone, with everything on it. Its number is never given again. */
  delete({ history, item }) {
    required(item, 'a number');
    // Not enumerable: this is no part of the history that a client or a test sees.
    const value = Math.max(history.deletedNumber ?? 0, item.number);
    Object.defineProperty(history, 'deletedNumber', { value, writable: true, enumerable: false });
    removeFrom(history.issues, item);
    removeFrom(history.pullRequests, item);
  },

  new_issue: ({ history, change, at, actor }) => newIssue(history, { number: nextNumber(history), title: change.title ?? 'A new issue', createdAt: at, author: actor, authorAssociation: change.author_association ?? 'MEMBER' }),

  new_pull_request({ history, change, at, actor }) {
    const pull = newPullRequest(history, { number: nextNumber(history), title: change.title ?? 'A new pull request', createdAt: at, author: actor, isDraft: Boolean(change.draft), authorAssociation: change.author_association ?? 'MEMBER', additions: 1, changedFiles: 1 });
    pull.commits = [{ oid: oidOf(pull.id), authoredDate: change.first_commit_at ?? at, committedDate: at, author: actor }];
    return pull;
  },

  /** A user is called otherwise, in all repositories; the login is free then, and whoever has it next is somebody else. */
  rename_user({ world, change }) {
    const from = required(change.login, 'a login').toLowerCase();
    const to = required(change.to, 'a new login in "to"');
    const renamed = [];
    for (const { actors } of world.histories.filter((each) => each.actors[from])) {
      renamed.push(Object.assign(actors[from], { login: to }));
      actors[to.toLowerCase()] = actors[from];
      actors[from] = Object.assign(newActor(`${change.login} the second`), { login: change.login });
    }
    return required(renamed[0], `a login that exists; there is no "${change.login}"`);
  },

  rename_team({ history, change }) {
    const team = required(history.teams.find((each) => each.slug === change.team), 'a team that exists');
    return Object.assign(team, { slug: required(change.to, 'a new slug in "to"') });
  },

  new_label: ({ history, change, at }) => newLabel(history, { name: required(change.label, 'a label'), createdAt: at, updatedAt: at, color: change.color ?? 'ededed' }),

  rename_label({ history, change, at }) {
    const label = labelNamed(history, change.label);
    return Object.assign(label, { name: required(change.to, 'a new name in "to"'), updatedAt: at });
  },

  delete_label({ history, change }) {
    const label = labelNamed(history, change.label);
    removeFrom(history.labels, label);
    for (const item of [...history.issues, ...history.pullRequests]) removeFrom(item.labels, label);
    return label;
  },

  new_milestone: ({ history, change, at, actor }) => newMilestone(history, { number: 1 + Math.max(0, ...history.milestones.map((each) => each.number)), title: change.title ?? 'A new milestone', createdAt: at, creator: actor, dueOn: change.due_on ?? null }),
  rename_milestone: ({ history, change, at }) => Object.assign(milestoneOf(history, change), { title: required(change.title, 'a title'), updatedAt: at }),
  close_milestone: ({ history, change, at }) => Object.assign(milestoneOf(history, change), { state: 'CLOSED', closedAt: at, updatedAt: at }),

  delete_milestone({ history, change }) {
    const milestone = milestoneOf(history, change);
    removeFrom(history.milestones, milestone);
    for (const item of [...history.issues, ...history.pullRequests]) if (item.milestone === milestone) item.milestone = null;
    return milestone;
  },

  ...DELIVERY_CHANGES,
  ...CHECK_CHANGES,

  /** Rename or transfer the repository: to "name" or "owner/name". */
  rename({ world, history, change, at }) {
    const { repository } = history;
    const to = required(change.to, 'a new name in "to"');
    const [owner, name] = to.includes('/') ? to.split('/') : [repository.owner.login, to];
    const before = repository.nameWithOwner;
    world.rename(history, `${owner}/${name}`);
    if (owner !== repository.owner.login) repository.owner = actorOf(history, owner, 'Organization');
    Object.assign(repository, { name, nameWithOwner: `${owner}/${name}`, updatedAt: at });
    for (const pull of history.pullRequests) {
      if (pull.headRepository === before) pull.headRepository = repository.nameWithOwner;
      for (const reference of pull.closingIssuesReferences) reference.repository = repository.nameWithOwner;
    }
    return repository;
  },

  /** Any of the repository's own flags: isArchived, hasIssuesEnabled, isPrivate, description, ... */
  repository_fields: ({ history, change, at }) => Object.assign(history.repository, change.fields, { updatedAt: at }),

  delete_repository({ world, history }) {
    world.remove(history);
    return history.repository;
  },
};

function commentOf(item, change) {
  return required(required(item, 'a number').comments.find((each) => each.id === change.comment) ?? (change.comment ? undefined : item.comments.at(-1)), 'a comment that exists');
}
