// What happens to an item, step by step: made-up histories (generate.mjs) and the awkward cases in them (cases.mjs) are put together of it.

import { later } from './random.mjs';
import { newEvent, newReview, newReviewComment, newThread, oidOf } from './records.mjs';
import { referTo } from './history.mjs';

/** Mostly written before the pull request was opened; now and then under an address that is nobody's. */
export function addCommits(pull, random, count, end) {
  const first = random.chance(0.12) ? random.timeBetween(pull.createdAt, end) : later(pull.createdAt, -60 - random.tail(3000, 0.6, 9_000_000));
  const times = [first];
  while (times.length < count) times.push(random.timeBetween(first, end));
  pull.commits = times.sort().map((time, index) => ({ oid: oidOf(`${pull.id}:${index}`), authoredDate: time, committedDate: time, author: index % 4 === 3 ? null : pull.author }));
}

/** A review with some comments: on a new thread, or an answer in one that is there. */
export function addReview(history, random, pull, fields, comments = random.tail(0.8, 1.2, 12)) {
  const review = newReview(history, pull, fields);
  for (let i = 0; i < comments; i += 1) {
    const earlier = pull.reviewThreads.filter((thread) => thread.comments[0].createdAt <= review.createdAt);
    const thread = earlier.length > 0 && random.chance(0.4) ? random.pick(earlier)
      : newThread(history, pull, { isOutdated: random.chance(0.3), isResolved: random.chance(0.4) });
    if (thread.isResolved && pull.author?.__typename === 'User') thread.resolvedBy = pull.author;
    newReviewComment(history, thread, review, { createdAt: review.createdAt });
  }
  return review;
}

export function mergePullRequest(history, pull, actor, at) {
  Object.assign(pull, { state: 'MERGED', mergedAt: at, closedAt: at, mergedBy: actor, mergeCommit: { oid: oidOf(`${pull.id}:merge`) } });
  newEvent(history, pull, 'MergedEvent', at, actor, { mergeRefName: pull.baseRefName });
  newEvent(history, pull, 'ClosedEvent', at, actor, { stateReason: null, closer: null });
  const issue = history.issues.find((each) => each.number === pull.number - 1 && each.state === 'CLOSED');
  if (issue) referTo(history, pull, issue);
}

export function closePullRequest(history, pull, actor, at) {
  Object.assign(pull, { state: 'CLOSED', closedAt: at });
  newEvent(history, pull, 'ClosedEvent', at, actor, { stateReason: null, closer: null });
}

/** What updatedAt has to be at least: the time of the newest thing that happened to the item. */
export function lastTimeOf(item) {
  const times = [item.createdAt, item.closedAt, item.lastEditedAt, ...item.events.map((event) => event.createdAt), ...item.comments.map((c) => c.updatedAt)];
  for (const review of item.reviews ?? []) if (review.state !== 'PENDING') times.push(review.updatedAt);
  for (const thread of item.reviewThreads ?? []) times.push(...thread.comments.map((c) => c.updatedAt));
  return times.filter(Boolean).sort().at(-1);
}
