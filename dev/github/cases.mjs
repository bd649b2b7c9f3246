// One of every awkward thing, laid over the first items of a made-up history. The n-th
// pull request (or issue) gets the n-th case; a history with fewer items has fewer cases.

import { newCheckRun, newStatusContext } from './checks.mjs';
import { later } from './random.mjs';
import {
  actorOf, newComment, newEvent, newIssue, newPullRequest, newReview, newReviewComment, newReviewRequest, newThread, oidOf,
} from './records.mjs';
import { addCommits, addReview, closePullRequest, lastTimeOf, mergePullRequest } from './steps.mjs';

export const NASTY_TITLES = {
  nul: 'a\u0000b: a zero character',
  loneSurrogate: 'half a face \ud83d and \ude00x',
  longest: `${'x'.repeat(250)} end 6`.slice(0, 256),
  longestInEmoji: '🎉'.repeat(128),
  mixed: 'e\u0301 \u202eright to left\u202c שלום עולم "quoted" \'single\' \\back\\u0000slash\\ 👩‍👩‍👧‍👦 \u2028\ufeff<b>&amp;</b> $$; DROP TABLE x; --',
};

export function addPullRequestCases(history, cast, random) {
  const cases = [
    huge, nulTitle, loneSurrogate, longestTitle, emojiTitle, mixedTitle, reopenedThenMerged, mergedWithoutReview, selfReview, reviewBeforeReady,
    reviewsAfterMerge, dismissedReview, pendingReviewOfAnother, everyEvent, deletedAuthor, deletedFork, botAuthor, openWithRequests, openDraft, rebasedAfterOpening,
    mannequinAuthor, manyClosingReferences, mergedByDeletedAccount, redrafted, inMergeQueue, reviewByDeletedAccount, lockedPull,
  ];
  // The cases that leave an item open take one that is still open or undo its end.
  cases.forEach((apply, index) => {
    const pull = history.pullRequests[index + 2];
    if (pull) apply(history, cast, random, pull);
  });
}

/** Take back how the pull request ended and how it was reviewed, to tell another story. */
function clear(pull) {
  Object.assign(pull, {
    state: 'OPEN', closedAt: null, mergedAt: null, mergedBy: null, mergeCommit: null, isDraft: false,
    reviews: [], reviewThreads: [], reviewRequests: [], closingIssuesReferences: [],
    events: pull.events.filter((event) => ['LabeledEvent', 'AssignedEvent', 'MilestonedEvent'].includes(event.__typename)),
  });
}

const hours = (pull, count) => later(pull.createdAt, count * 3600);
const withAuthor = (cast, pull, index = 0) => { pull.author = cast.people[index]; };

function huge(history, cast, random, pull) {
  clear(pull);
  withAuthor(cast, pull);
  for (let i = 0; i < 120; i += 1) addReview(history, random, pull, { author: cast.people[1 + (i % 9)], createdAt: hours(pull, 1 + i), state: i % 4 === 0 ? 'CHANGES_REQUESTED' : 'COMMENTED' }, i % 3);
  const thread = newThread(history, pull);
  const review = pull.reviews[0];
  for (let i = 0; i < 115; i += 1) newReviewComment(history, thread, review, { createdAt: later(hours(pull, 2), i * 60), author: cast.people[i % 7] });
  for (let i = 0; i < 260; i += 1) newComment(history, pull, { createdAt: later(hours(pull, 3), i * 61), author: cast.people[i % 11] });
  for (let i = 0; i < 60; i += 1) newEvent(history, pull, 'HeadRefForcePushedEvent', later(hours(pull, 4), i * 90), pull.author);
  addCommits(pull, random, 300, hours(pull, 100));
  Object.assign(pull, { additions: 123_456, deletions: 65_432, changedFiles: 3_000 });
  mergePullRequest(history, pull, cast.people[1], hours(pull, 130));
}

const nulTitle = (history, cast, random, pull) => { pull.title = NASTY_TITLES.nul; };
const loneSurrogate = (history, cast, random, pull) => { pull.title = NASTY_TITLES.loneSurrogate; };
const longestTitle = (history, cast, random, pull) => { pull.title = NASTY_TITLES.longest; };
const emojiTitle = (history, cast, random, pull) => { pull.title = NASTY_TITLES.longestInEmoji; };
const mixedTitle = (history, cast, random, pull) => { pull.title = NASTY_TITLES.mixed; };

function reopenedThenMerged(history, cast, random, pull) {
  clear(pull);
  closePullRequest(history, pull, cast.people[2], hours(pull, 5));
  newEvent(history, pull, 'ReopenedEvent', hours(pull, 7), cast.people[2], { stateReason: null });
  mergePullRequest(history, pull, cast.people[3], hours(pull, 30));
}

function mergedWithoutReview(history, cast, random, pull) {
  clear(pull);
  withAuthor(cast, pull);
  mergePullRequest(history, pull, cast.people[0], hours(pull, 1));
}

function selfReview(history, cast, random, pull) {
  clear(pull);
  withAuthor(cast, pull);
  addReview(history, random, pull, { author: pull.author, createdAt: hours(pull, 1), state: 'COMMENTED' }, 2);
  addReview(history, random, pull, { author: cast.people[1], createdAt: hours(pull, 9), state: 'APPROVED' }, 0);
  mergePullRequest(history, pull, cast.people[1], hours(pull, 10));
}

function reviewBeforeReady(history, cast, random, pull) {
  clear(pull);
  withAuthor(cast, pull);
  addReview(history, random, pull, { author: cast.people[4], createdAt: hours(pull, 2), state: 'COMMENTED' }, 1);
  newEvent(history, pull, 'ReadyForReviewEvent', hours(pull, 20), pull.author);
  addReview(history, random, pull, { author: cast.people[4], createdAt: hours(pull, 26), state: 'APPROVED' }, 0);
  mergePullRequest(history, pull, cast.people[4], hours(pull, 27));
}

function reviewsAfterMerge(history, cast, random, pull) {
  clear(pull);
  withAuthor(cast, pull);
  mergePullRequest(history, pull, cast.people[1], hours(pull, 3));
  addReview(history, random, pull, { author: cast.people[2], createdAt: hours(pull, 50), state: 'COMMENTED' }, 3);
}

function dismissedReview(history, cast, random, pull) {
  clear(pull);
  withAuthor(cast, pull);
  const review = addReview(history, random, pull, { author: cast.people[5], createdAt: hours(pull, 4), state: 'DISMISSED' }, 1);
  newEvent(history, pull, 'ReviewDismissedEvent', hours(pull, 6), cast.people[1], { previousReviewState: 'CHANGES_REQUESTED', review: { id: review.id } });
  addReview(history, random, pull, { author: cast.people[1], createdAt: hours(pull, 8), state: 'APPROVED' }, 0);
  mergePullRequest(history, pull, cast.people[1], hours(pull, 9));
}

function pendingReviewOfAnother(history, cast, random, pull) {
  newReview(history, pull, { author: cast.people[6], createdAt: hours(pull, 1), submittedAt: null, state: 'PENDING' });
}

/** One event of each kind that a pull request can have. */
function everyEvent(history, cast, random, pull) {
  clear(pull);
  withAuthor(cast, pull);
  const [author, other] = cast.people;
  const [label] = history.labels;
  const add = (hour, type, fields) => newEvent(history, pull, type, hours(pull, hour), author, fields);
  add(1, 'ReviewRequestedEvent', { requestedReviewer: other });
  add(2, 'ReviewRequestedEvent', { requestedReviewer: cast.teams[0] });
  add(3, 'ReviewRequestedEvent', { requestedReviewer: null });
  add(4, 'ReviewRequestRemovedEvent', { requestedReviewer: cast.teams[0] });
  add(5, 'ConvertToDraftEvent');
  add(6, 'ReadyForReviewEvent');
  add(7, 'HeadRefForcePushedEvent');
  add(8, 'BaseRefChangedEvent', { previousRefName: 'develop', currentRefName: pull.baseRefName });
  add(9, 'LabeledEvent', { label });
  add(10, 'UnlabeledEvent', { label });
  pull.labels = pull.labels.filter((each) => each !== label);
  add(11, 'AssignedEvent', { assignee: cast.bots[0] });
  add(12, 'UnassignedEvent', { assignee: cast.bots[0] });
  add(13, 'MilestonedEvent', { milestoneTitle: 'a milestone that is gone' });
  add(14, 'DemilestonedEvent', { milestoneTitle: 'a milestone that is gone' });
  pull.milestone = null;
  add(15, 'RenamedTitleEvent', { previousTitle: 'before', currentTitle: pull.title });
  add(16, 'AutoMergeEnabledEvent');
  add(17, 'AutoMergeDisabledEvent', { reason: 'checks failed' });
  add(18, 'AddedToMergeQueueEvent');
  add(19, 'RemovedFromMergeQueueEvent', { reason: 'failed_checks' });
  closePullRequest(history, pull, author, hours(pull, 20));
  add(21, 'ReopenedEvent', { stateReason: null });
  const review = addReview(history, random, pull, { author: other, createdAt: hours(pull, 22), state: 'DISMISSED' }, 0);
  add(23, 'ReviewDismissedEvent', { previousReviewState: 'APPROVED', review: { id: review.id } });
  mergePullRequest(history, pull, cast.bots[0], hours(pull, 24));
}

const deletedAuthor = (history, cast, random, pull) => { pull.author = null; };
const deletedFork = (history, cast, random, pull) => { Object.assign(pull, { headRepository: null, isCrossRepository: true }); };
const botAuthor = (history, cast, random, pull) => { pull.author = cast.bots[1]; };
const mannequinAuthor = (history, cast, random, pull) => { pull.author = cast.mannequin; };
const lockedPull = (history, cast, random, pull) => { Object.assign(pull, { locked: true, activeLockReason: 'RESOLVED' }); };

function openWithRequests(history, cast, random, pull) {
  clear(pull);
  withAuthor(cast, pull);
  const reviewers = [...cast.people.slice(1, 13), cast.teams[0], cast.mannequin, cast.bots[0], null];
  reviewers.forEach((requestedReviewer, index) => {
    newReviewRequest(history, pull, requestedReviewer, index % 5 === 0);
    newEvent(history, pull, 'ReviewRequestedEvent', later(hours(pull, 1), index), pull.author, { requestedReviewer });
  });
}

function openDraft(history, cast, random, pull) {
  clear(pull);
  pull.isDraft = true;
}

function rebasedAfterOpening(history, cast, random, pull) {
  pull.commits = pull.commits.map((commit, index) => ({ ...commit, authoredDate: later(pull.createdAt, 900 + index), committedDate: later(pull.createdAt, 900 + index) }));
}

function manyClosingReferences(history, cast, random, pull) {
  const { nameWithOwner: repository } = history.repository;
  pull.closingIssuesReferences = history.issues.slice(0, 14).map(({ id, number }) => ({ id, number, repository }));
}

function mergedByDeletedAccount(history, cast, random, pull) {
  clear(pull);
  mergePullRequest(history, pull, null, hours(pull, 2));
}

function redrafted(history, cast, random, pull) {
  clear(pull);
  withAuthor(cast, pull);
  newEvent(history, pull, 'ReadyForReviewEvent', hours(pull, 2), pull.author);
  newEvent(history, pull, 'ConvertToDraftEvent', hours(pull, 4), pull.author);
  newEvent(history, pull, 'ReadyForReviewEvent', hours(pull, 40), pull.author);
  addReview(history, random, pull, { author: cast.people[3], createdAt: hours(pull, 45), state: 'APPROVED' }, 0);
  mergePullRequest(history, pull, cast.people[3], hours(pull, 46));
}

function inMergeQueue(history, cast, random, pull) {
  clear(pull);
  pull.isInMergeQueue = true;
  newEvent(history, pull, 'AddedToMergeQueueEvent', hours(pull, 3), cast.people[0]);
}

function reviewByDeletedAccount(history, cast, random, pull) {
  addReview(history, random, pull, { author: null, createdAt: hours(pull, 1), state: 'APPROVED' }, 1);
}

export function addIssueCases(history, cast, random) {
  const cases = [crowdedIssue, nulTitle, loneSurrogate, mixedTitle, deletedAuthor, reopenedIssue, everyIssueEvent, lockedPull, botAuthor, longestTitle];
  cases.forEach((apply, index) => {
    const issue = history.issues[index + 1];
    if (issue) apply(history, cast, random, issue);
  });
}

/** Every nested list is longer than a first page. */
function crowdedIssue(history, cast, random, issue) {
  for (let i = 0; i < 160; i += 1) newComment(history, issue, { createdAt: later(issue.createdAt, 60 * i), author: cast.people[i % 13] });
  const add = (list, value, seconds, type, fields) => {
    if (!list.includes(value)) list.push(value);
    newEvent(history, issue, type, later(issue.createdAt, seconds), cast.people[0], fields);
  };
  history.labels.slice(0, 30).forEach((label, i) => add(issue.labels, label, 10 + i, 'LabeledEvent', { label }));
  cast.people.slice(0, 14).forEach((assignee, i) => add(issue.assignees, assignee, 50 + i, 'AssignedEvent', { assignee }));
  for (let i = 0; i < 60; i += 1) {
    newEvent(history, issue, 'RenamedTitleEvent', later(issue.createdAt, 100 + i), cast.people[0], { previousTitle: `title ${i}`, currentTitle: `title ${i + 1}` });
  }
}

function reopenedIssue(history, cast, random, issue) {
  const at = lastTimeOf(issue);
  if (issue.state === 'OPEN') newEvent(history, issue, 'ClosedEvent', later(at, 60), cast.people[0], { stateReason: 'COMPLETED', closer: null });
  Object.assign(issue, { state: 'OPEN', stateReason: 'REOPENED', closedAt: null });
  newEvent(history, issue, 'ReopenedEvent', later(at, 3600), cast.people[1], { stateReason: 'REOPENED' });
}

function everyIssueEvent(history, cast, random, issue) {
  const add = (hour, type, fields) => newEvent(history, issue, type, hours(issue, hour), cast.people[0], fields);
  const [label] = history.labels;
  add(1, 'TransferredEvent', { fromRepository: null });
  add(2, 'LabeledEvent', { label });
  add(3, 'UnlabeledEvent', { label });
  issue.labels = issue.labels.filter((each) => each !== label);
  add(4, 'AssignedEvent', { assignee: cast.people[1] });
  add(5, 'UnassignedEvent', { assignee: cast.people[1] });
  issue.assignees = issue.assignees.filter((actor) => actor !== cast.people[1]);
  add(6, 'MilestonedEvent', { milestoneTitle: 'gone' });
  add(7, 'DemilestonedEvent', { milestoneTitle: 'gone' });
  issue.milestone = null;
  add(8, 'RenamedTitleEvent', { previousTitle: 'before', currentTitle: issue.title });
  add(9, 'CommentDeletedEvent', { deletedCommentAuthor: cast.people[2] });
  add(10, 'MarkedAsDuplicateEvent', { canonical: null, duplicate: null });
  add(11, 'ConvertedToDiscussionEvent', {});
}

/**
 * Pull requests and issues that have something in each of their lists. The first of them, `crowded` of each, have two pages of each
 * list for a client that asks for 50 (reviews, threads, comments of a thread, labels), 20 (assignees, requests, closing references) or
 * 100 (timelines) at first; of the last pull requests, `long_threads` in number, only the first thread has two pages. Then come `open`
 * pull requests that have all that is told of an open one; every third of them has two pages of checks. Needs 51 labels, a milestone
 * and 21 issues.
 */
export function addFullItems(history, cast, { crowded = 0, full = 0, open = 0, long_threads: longThreads = 0 }) {
  const others = history.issues.slice(0, 21);
  const crowd = Array.from({ length: 21 }, (_, i) => actorOf(history, `crowd-${i}`));
  crowd.forEach((actor) => { actor.name ??= actor.login; });
  for (let i = 0; i < crowded + full + open; i += 1) {
    const number = 1 + Math.max(0, ...[...history.issues, ...history.pullRequests].map((item) => item.number));
    const createdAt = later('2024-06-01T00:00:00Z', i * 3600);
    const fields = { title: `item ${i}`, createdAt, author: crowd[0], milestone: history.milestones[0] };
    if (i >= crowded + full) {
      addOpenPullRequest(history, { number, ...fields }, i % 3 === 0);
      continue;
    }
    addFullPullRequest(history, cast, { number, ...fields }, crowd, others, i < crowded, i < crowded || i >= crowded + full - longThreads);
    addFullIssue(history, { number: number + 1, ...fields }, crowd, i < crowded);
  }
}

function fillItem(history, item, crowd, isCrowded) {
  const at = (seconds) => later(item.createdAt, seconds);
  const [author] = crowd;
  item.labels.push(...history.labels.slice(0, isCrowded ? 51 : 2));
  item.assignees.push(...(isCrowded ? crowd : crowd.slice(0, 2)));
  for (let i = 0; i < (isCrowded ? 101 : 2); i += 1) newComment(history, item, { createdAt: at(i), author: crowd[i % 21] });
  newEvent(history, item, 'AssignedEvent', at(200), author, { assignee: author });
  newEvent(history, item, 'UnassignedEvent', at(201), author, { assignee: author });
  newEvent(history, item, 'ClosedEvent', at(202), author, { stateReason: null, closer: null });
  newEvent(history, item, 'ReopenedEvent', at(203), author, { stateReason: null });
}

function addFullIssue(history, fields, crowd, isCrowded) {
  const issue = newIssue(history, fields);
  fillItem(history, issue, crowd, isCrowded);
  const closedAt = later(issue.createdAt, 210);
  Object.assign(issue, { state: 'CLOSED', stateReason: 'DUPLICATE', closedAt });
  newEvent(history, issue, 'ClosedEvent', closedAt, crowd[0], { stateReason: 'DUPLICATE', closer: null });
}

function addFullPullRequest(history, cast, fields, crowd, others, isCrowded, hasLongThread) {
  const commits = Array.from({ length: isCrowded ? 51 : 2 }, (_, i) => ({ oid: oidOf(`${fields.number}:${i}`), authoredDate: fields.createdAt, committedDate: fields.createdAt, author: crowd[i % 21] }));
  const pull = newPullRequest(history, { ...fields, commits });
  const at = (seconds) => later(pull.createdAt, seconds);
  fillItem(history, pull, crowd, isCrowded);
  const { nameWithOwner: repository } = history.repository;
  pull.closingIssuesReferences = others.slice(0, isCrowded ? 21 : 2).map(({ id, number }) => ({ id, number, repository }));
  [cast.teams[0], ...(isCrowded ? crowd : crowd.slice(0, 2))].forEach((requestedReviewer, i) => {
    newReviewRequest(history, pull, requestedReviewer);
    newEvent(history, pull, 'ReviewRequestedEvent', at(220 + i), crowd[0], { requestedReviewer });
  });
  newEvent(history, pull, 'ReviewRequestRemovedEvent', at(250), crowd[0], { requestedReviewer: crowd[1] });
  newEvent(history, pull, 'ConvertToDraftEvent', at(251), crowd[0]);
  newEvent(history, pull, 'ReadyForReviewEvent', at(252), crowd[0]);
  for (let i = 0; i < (isCrowded ? 51 : 2); i += 1) {
    const review = newReview(history, pull, { createdAt: at(300 + i), author: crowd[i % 21] });
    const thread = newThread(history, pull);
    for (let j = 0; j < (hasLongThread && i === 0 ? 51 : 1); j += 1) newReviewComment(history, thread, review, { createdAt: at(300 + i + j) });
  }
  pull.reviews[0].state = 'DISMISSED';
  newEvent(history, pull, 'ReviewDismissedEvent', at(390), crowd[0], { previousReviewState: 'APPROVED', review: { id: pull.reviews[0].id } });
  mergePullRequest(history, pull, crowd[0], at(400));
}

function addOpenPullRequest(history, fields, isCrowded) {
  const pull = newPullRequest(history, { ...fields, mergeable: 'CONFLICTING', mergeStateStatus: 'DIRTY' });
  const at = (seconds) => later(pull.createdAt, seconds);
  pull.commits = [{ oid: oidOf(pull.id), authoredDate: pull.createdAt, committedDate: pull.createdAt }];
  newReview(history, pull, { createdAt: at(1), author: history.actors['crowd-1'], state: 'APPROVED' });
  newStatusContext(history, pull, { context: 'ci/preview', createdAt: at(10) });
  for (let i = 0; i < (isCrowded ? 51 : 2); i += 1) newCheckRun(history, pull, { workflow: 'CI', name: `check ${i}`, conclusion: i === 0 ? 'FAILURE' : 'SUCCESS', startedAt: at(10 + i), completedAt: at(20 + i) });
}
