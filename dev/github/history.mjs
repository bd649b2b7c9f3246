// Load a real history (a file made from a public repository, texts removed) and add,
// from a seed, what the file lacks: event times, sizes, commits, milestones, threads,
// closing references, a few deleted accounts and bots. A value that the file has is
// never changed.

import { readFileSync } from 'node:fs';
import { seededRandom, later } from './random.mjs';
import {
  actorOf, finishHistory, newComment, newEvent, newHistory, newIssue, newLabel, newMilestone,
  newPullRequest, newReview, newReviewComment, newThread, oidOf,
} from './records.mjs';

export function loadHistory(file) {
  return historyFromFile(JSON.parse(readFileSync(file, 'utf8')));
}

export function historyFromFile(data) {
  const items = [...data.issues, ...data.pulls].sort((a, b) => a.number - b.number);
  const firstTime = items.map((item) => item.createdAt).sort()[0];
  const createdAt = later(firstTime, -86400);
  const history = newHistory(data.repo, { createdAt, updatedAt: createdAt });
  const labels = new Map(data.labels.map((label) => [label.name, newLabel(history, { ...label, isDefault: label.name === 'bug' })]));
  addMilestones(history, items);
  for (const item of items) {
    const random = seededRandom(`${data.repo}#${item.number}`);
    if (item.reviews) addPullRequest(history, item, labels, random);
    else addIssue(history, item, labels, random);
  }
  addClosingReferences(history);
  return finishHistory(history);
}

function addMilestones(history, items) {
  const random = seededRandom(`${history.repository.nameWithOwner}#milestones`);
  const first = history.repository.createdAt;
  const last = items.map((item) => item.createdAt).sort().at(-1);
  for (let number = 1; number <= 5; number += 1) {
    const createdAt = random.timeBetween(first, last);
    const closedAt = number <= 3 ? random.timeBetween(createdAt, last) : null;
    newMilestone(history, {
      number, title: `Milestone ${number}`, createdAt, closedAt, state: closedAt ? 'CLOSED' : 'OPEN',
      updatedAt: closedAt ?? createdAt, dueOn: random.chance(0.5) ? later(createdAt, 90 * 86400) : null,
      creator: actorOf(history, items[0].author),
    });
  }
}

function sharedFields(history, item, labels) {
  return {
    id: item.id, number: item.number, title: item.title, state: item.state,
    author: actorOf(history, item.author), authorAssociation: item.authorAssociation,
    createdAt: item.createdAt, publishedAt: item.createdAt, updatedAt: item.updatedAt, closedAt: item.closedAt ?? null,
    labels: item.labels.map((name) => labels.get(name)).filter(Boolean),
    assignees: item.assignees.map((login) => actorOf(history, login)),
  };
}

function addComments(history, record, comments, random) {
  for (const comment of comments) {
    newComment(history, record, { ...comment, author: actorOf(history, comment.author) });
  }
  // A few remarks by a bot and by a deleted account, which the files have been stripped of.
  if (random.chance(0.02)) {
    newComment(history, record, { createdAt: random.timeBetween(record.createdAt, record.updatedAt), author: actorOf(history, 'github-actions', 'Bot') });
  }
  if (random.chance(0.01)) {
    newComment(history, record, { createdAt: random.timeBetween(record.createdAt, record.updatedAt), author: null });
  }
}

/** Labels, assignees and the milestone are set soon after an item is opened. */
function addSettingEvents(history, record, random) {
  const end = record.closedAt ?? record.updatedAt;
  const soon = () => random.timeBetween(record.createdAt, [later(record.createdAt, 7200), end].sort()[0]);
  const actor = random.chance(0.03) ? null : record.author;
  for (const label of record.labels) newEvent(history, record, 'LabeledEvent', soon(), actor, { label });
  for (const assignee of record.assignees) newEvent(history, record, 'AssignedEvent', soon(), actor, { assignee });
  if (!random.chance(0.12)) return;
  const milestone = random.pick(history.milestones);
  record.milestone = milestone;
  newEvent(history, record, 'MilestonedEvent', soon(), actor, { milestoneTitle: milestone.title });
}

function addIssue(history, item, labels, random) {
  const issue = newIssue(history, sharedFields(history, item, labels));
  addComments(history, issue, item.comments, random);
  addSettingEvents(history, issue, random);
  const closerActor = random.pick([issue.author, ...issue.comments.map((comment) => comment.author)]);
  if (random.chance(0.03) && issue.closedAt) addReopening(history, issue, random, { stateReason: 'COMPLETED' }, { stateReason: 'REOPENED' });
  if (issue.state !== 'CLOSED') return;
  issue.stateReason = random.chance(0.12) ? 'NOT_PLANNED' : random.chance(0.03) ? 'DUPLICATE' : 'COMPLETED';
  newEvent(history, issue, 'ClosedEvent', issue.closedAt, closerActor, { stateReason: issue.stateReason, closer: null });
  if (issue.stateReason === 'DUPLICATE') newEvent(history, issue, 'MarkedAsDuplicateEvent', issue.closedAt, closerActor);
}

function addReopening(history, record, random, closedFields, reopenedFields) {
  const closed = random.timeBetween(record.createdAt, record.closedAt);
  const reopened = random.timeBetween(closed, record.closedAt);
  newEvent(history, record, 'ClosedEvent', closed, record.author, closedFields);
  newEvent(history, record, 'ReopenedEvent', reopened, record.author, reopenedFields);
}

function addPullRequest(history, item, labels, random) {
  const pull = newPullRequest(history, {
    ...sharedFields(history, item, labels),
    baseRefName: item.baseRefName, headRefName: item.headRefName, headRepository: item.headRepository,
    isCrossRepository: item.headRepository !== item.baseRepository,
    mergedAt: item.mergedAt, mergedBy: actorOf(history, item.mergedBy),
    mergeCommit: item.mergeCommit ? { oid: item.mergeCommit.oid } : null,
    changedFiles: 1 + random.tail(1, 1.2, 200), additions: 1 + random.tail(12, 0.9, 40000), deletions: random.tail(5, 0.9, 20000),
  });
  addCommits(pull, item.headRefOid, random);
  addReviews(history, pull, item.reviews, random);
  addComments(history, pull, item.comments, random);
  addSettingEvents(history, pull, random);
  addDraftAndRequestEvents(history, pull, random);
  addEndEvents(history, pull, random);
}

/** Mostly written before the pull request was opened; one in ten was rebased later. */
function addCommits(pull, headRefOid, random) {
  const count = 1 + random.tail(0.8, 1, 120);
  const end = pull.closedAt ?? pull.updatedAt;
  const rebased = random.chance(0.1);
  const first = rebased ? random.timeBetween(pull.createdAt, end) : later(pull.createdAt, -60 - random.tail(3600, 0.7, 5_000_000));
  const times = [first];
  while (times.length < count) times.push(random.timeBetween(first, end));
  times.sort();
  pull.commits = times.map((time, index) => ({
    oid: index === count - 1 ? headRefOid : oidOf(`${pull.id}:${index}`), authoredDate: time, committedDate: rebased ? later(time, 30) : time, author: pull.author,
  }));
}

/** Comments at the same place of the changes answer each other: they are one thread. */
function addReviews(history, pull, reviews, random) {
  const threadAt = new Map();
  for (const given of reviews) {
    const review = newReview(history, pull, {
      id: given.id, state: given.state, author: actorOf(history, given.author), authorAssociation: given.authorAssociation,
      createdAt: given.createdAt, submittedAt: given.createdAt, updatedAt: given.updatedAt,
    });
    for (const comment of given.comments) {
      const place = comment.originalPosition;
      if (!threadAt.has(place)) threadAt.set(place, newThread(history, pull, { isOutdated: random.chance(0.4) }));
      newReviewComment(history, threadAt.get(place), review, { createdAt: comment.createdAt, updatedAt: comment.updatedAt });
    }
  }
  for (const thread of pull.reviewThreads) {
    if (!random.chance(0.5)) continue;
    thread.isResolved = true;
    thread.resolvedBy = pull.author;
  }
  if (random.chance(0.02)) {
    newReview(history, pull, { author: actorOf(history, 'github-actions', 'Bot'), createdAt: random.timeBetween(pull.createdAt, pull.closedAt ?? pull.updatedAt) });
  }
}

function addDraftAndRequestEvents(history, pull, random) {
  const people = pull.reviews.filter((review) => review.author && review.author.__typename === 'User' && review.author !== pull.author);
  const firstReviewAt = people.map((review) => review.createdAt).sort()[0];
  const end = firstReviewAt ?? pull.closedAt ?? pull.updatedAt;
  let readyAt = pull.createdAt;
  if (random.chance(0.2)) {
    readyAt = random.timeBetween(pull.createdAt, end);
    newEvent(history, pull, 'ReadyForReviewEvent', readyAt, pull.author);
    if (random.chance(0.15)) {
      const draftAt = random.timeBetween(readyAt, end);
      newEvent(history, pull, 'ConvertToDraftEvent', draftAt, pull.author);
      readyAt = random.timeBetween(draftAt, end);
      newEvent(history, pull, 'ReadyForReviewEvent', readyAt, pull.author);
    }
  }
  for (const reviewer of new Set(people.map((review) => review.author))) {
    if (!random.chance(0.6)) continue;
    newEvent(history, pull, 'ReviewRequestedEvent', random.timeBetween(readyAt, end), pull.author, { requestedReviewer: reviewer });
  }
}

function addEndEvents(history, pull, random) {
  if (pull.closedAt === null) return;
  if (random.chance(0.03)) addReopening(history, pull, random, { stateReason: null, closer: null }, { stateReason: null });
  const actor = pull.mergedAt ? pull.mergedBy : pull.author;
  if (pull.mergedAt) newEvent(history, pull, 'MergedEvent', pull.mergedAt, actor, { mergeRefName: pull.baseRefName });
  newEvent(history, pull, 'ClosedEvent', pull.closedAt, actor, { stateReason: null, closer: null });
}

/** An issue closed in the very moment of a merge was closed by that merge. */
function addClosingReferences(history) {
  const mergedAt = new Map(history.pullRequests.filter((pull) => pull.mergedAt).map((pull) => [Date.parse(pull.mergedAt), pull]));
  for (const issue of history.issues) {
    if (issue.closedAt === null) continue;
    const second = Date.parse(issue.closedAt);
    const pull = [0, -1000, -2000, 1000].map((shift) => mergedAt.get(second + shift)).find(Boolean);
    if (pull) referTo(history, pull, issue);
  }
}

export function referTo(history, pull, issue) {
  pull.closingIssuesReferences.push({ id: issue.id, number: issue.number, repository: history.repository.nameWithOwner });
  const closing = issue.events.filter((event) => event.__typename === 'ClosedEvent').at(-1);
  if (closing && closing.createdAt === issue.closedAt) closing.closer = { __typename: 'PullRequest', id: pull.id, number: pull.number };
}
