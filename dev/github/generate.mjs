// A made-up history: mostly small items, a heavy tail, and (cases.mjs) one of every
// awkward thing. Everything follows from the seed: same settings, same bytes.

import { addChecks, newBranch } from './checks.mjs';
import { hash32, isoTime, later, seededRandom } from './random.mjs';
import {
  actorOf, finishHistory, newComment, newEvent, newHistory, newIssue, newLabel, newMilestone, newPullRequest, newReviewRequest, newTeam,
} from './records.mjs';
import { addDelivery } from './delivery.mjs';
import { addFullItems, addIssueCases, addPullRequestCases } from './cases.mjs';
import { addCommits, addReview, closePullRequest, lastTimeOf, mergePullRequest } from './steps.mjs';

const PEOPLE = ['alice', 'bob', 'carol', 'dave', 'erin', 'frank', 'grace', 'heidi', 'ivan', 'judy', 'mallory', 'niaj', 'olivia', 'peggy', 'rupert', 'sybil', 'trent', 'victor', 'walter', 'Zoë-x'].map((login) => login.normalize('NFD').replace(/[^\w-]/g, ''));
const BOTS = ['github-actions', 'dependabot', 'renovate'];
const WORDS = ['Add', 'Fix', 'Remove', 'Speed up', 'parser', 'index', 'cache', 'the flaky test', 'login', 'docs', 'für', 'naïve', '日本語', 'build', 'timeout', 'α→β', 'retry', 'rounding'];
const FIRST_DAY = '2024-01-01T08:00:00Z';
const LAST_DAY = '2025-06-01T08:00:00Z';
const ASSOCIATIONS = ['MEMBER', 'MEMBER', 'COLLABORATOR', 'CONTRIBUTOR', 'NONE', 'FIRST_TIME_CONTRIBUTOR', 'OWNER'];

/**
 * settings: nameWithOwner and, all optional, pulls, issues, seed, labels, milestones, releases, deployments, crowded, full, open,
 * long_threads, empty, private, issues_disabled, small_ids.
 */
export function generateHistory(settings) {
  const { nameWithOwner, pulls = 200, issues = 100, seed = 1, labels = 130, milestones = 12 } = settings;
  const history = newHistory(nameWithOwner, {
    createdAt: '2023-12-31T00:00:00Z', updatedAt: '2023-12-31T00:00:00Z', description: 'A made-up repository: "quotes", \\ and 🎉',
    isPrivate: Boolean(settings.private), visibility: settings.private ? 'PRIVATE' : 'PUBLIC', isEmpty: Boolean(settings.empty),
    hasIssuesEnabled: !settings.issues_disabled,
  }, `${nameWithOwner}/${seed}`);
  // As on a server that is too old to know ids beyond 32 bits.
  if (settings.small_ids) history.lastDatabaseId = 1000;
  if (settings.empty) return history;
  const random = seededRandom(`${nameWithOwner}/${seed}`);
  const cast = makeCast(history);
  addLabels(history, labels, random);
  addMilestones(history, milestones, cast, random);
  addItems(history, cast, random, pulls, settings.issues_disabled ? 0 : issues);
  addIssueCases(history, cast, random);
  addPullRequestCases(history, cast, random);
  addBulkEdit(history, cast);
  if (settings.crowded || settings.full || settings.open) addFullItems(history, cast, settings);
  for (const item of [...history.issues, ...history.pullRequests]) item.updatedAt = lastTimeOf(item);
  newBranch(history, 'main', { protection: [null, 1, 2][hash32(nameWithOwner) % 3], rulesets: hash32(nameWithOwner) % 2 === 0 ? [] : [1] });
  for (const pull of history.pullRequests) if (pull.state === 'OPEN' && pull.checks.length === 0) addChecks(history, pull);
  addDelivery(history, cast, { ...settings, first: FIRST_DAY, last: LAST_DAY });
  return finishHistory(history);
}

function makeCast(history) {
  return {
    people: PEOPLE.map((login) => actorOf(history, login)),
    bots: BOTS.map((login) => actorOf(history, login, 'Bot')),
    mannequin: actorOf(history, 'imported-from-elsewhere', 'Mannequin'),
    teams: [newTeam(history, 'core', 'Core "team"'), newTeam(history, 'docs', 'Docs')],
  };
}

function addLabels(history, count, random) {
  const known = ['bug', 'enhancement', 'good first issue', 'ünïcode', 'emoji 🚀', 'with "quotes"', 'back\\slash', 'مهم'];
  for (let i = 0; i < count; i += 1) {
    newLabel(history, {
      name: known[i] ?? `label ${i}`, color: random.hex(6), isDefault: i < 3, description: i % 3 === 0 ? null : `About ${i}`,
      createdAt: later(history.repository.createdAt, Math.floor(i / 4)), updatedAt: later(history.repository.createdAt, i),
    });
  }
}

function addMilestones(history, count, cast, random) {
  for (let i = 0; i < count; i += 1) {
    const createdAt = random.timeBetween(FIRST_DAY, LAST_DAY);
    const closedAt = random.chance(0.5) ? random.timeBetween(createdAt, LAST_DAY) : null;
    newMilestone(history, {
      title: `v${i}.0`, createdAt, closedAt, state: closedAt ? 'CLOSED' : 'OPEN', updatedAt: closedAt ?? createdAt,
      dueOn: random.chance(0.6) ? later(createdAt, 30 * 86400) : null, creator: i === 1 ? null : random.pick(cast.people),
    });
  }
}

/** Issues and pull requests share one sequence of numbers; deleted ones left holes. */
function addItems(history, cast, random, pulls, issues) {
  const kinds = random.sample([...Array(pulls).fill('pull'), ...Array(issues).fill('issue')], pulls + issues);
  const step = (Date.parse(LAST_DAY) - Date.parse(FIRST_DAY)) / (kinds.length + 1);
  let number = 0;
  kinds.forEach((kind, index) => {
    number += random.chance(0.04) ? random.integer(2, 5) : 1;
    const createdAt = isoTime(Date.parse(FIRST_DAY) + step * (index + random.next() * 0.9));
    if (kind === 'pull') addPullRequest(history, cast, random, number, createdAt);
    else addIssue(history, cast, random, number, createdAt);
  });
}

function someone(cast, random) {
  const draw = random.next();
  if (draw < 0.03) return null;
  if (draw < 0.1) return random.pick(cast.bots);
  return random.chance(0.5) ? cast.people[random.integer(0, 4)] : random.pick(cast.people);
}

const title = (random) => Array.from({ length: random.integer(2, 6) }, () => random.pick(WORDS)).join(' ');

function sharedFields(cast, random, number, createdAt) {
  return { number, title: title(random), createdAt, publishedAt: createdAt, author: someone(cast, random), authorAssociation: random.pick(ASSOCIATIONS) };
}

function addRemarks(history, cast, random, item, count, end) {
  for (let i = 0; i < count; i += 1) {
    const createdAt = random.timeBetween(item.createdAt, end);
    const edited = random.chance(0.1) ? later(createdAt, 600) : null;
    newComment(history, item, {
      createdAt, updatedAt: edited ?? createdAt, lastEditedAt: edited, author: someone(cast, random),
      authorAssociation: random.pick(ASSOCIATIONS), isMinimized: random.chance(0.02),
    });
  }
}

function addSettings(history, cast, random, item, end) {
  const at = () => random.timeBetween(item.createdAt, end);
  for (const label of random.sample(history.labels.slice(0, 40), random.tail(0.8, 1.5, 8))) {
    item.labels.push(label);
    newEvent(history, item, 'LabeledEvent', at(), item.author, { label });
  }
  for (const assignee of random.sample(cast.people, random.tail(0.4, 1.5, 4))) {
    item.assignees.push(assignee);
    newEvent(history, item, 'AssignedEvent', at(), item.author, { assignee });
  }
  if (history.milestones.length === 0 || !random.chance(0.2)) return;
  item.milestone = random.pick(history.milestones);
  newEvent(history, item, 'MilestonedEvent', at(), someone(cast, random), { milestoneTitle: item.milestone.title });
}

function addIssue(history, cast, random, number, createdAt) {
  const issue = newIssue(history, sharedFields(cast, random, number, createdAt));
  const end = later(createdAt, 600 + random.tail(40_000, 0.6, 30_000_000));
  addRemarks(history, cast, random, issue, random.tail(1.2, 1.1, 60), end);
  addSettings(history, cast, random, issue, end);
  if (!random.chance(0.75)) return;
  issue.state = 'CLOSED';
  issue.closedAt = end;
  issue.stateReason = random.pick(['COMPLETED', 'COMPLETED', 'COMPLETED', 'NOT_PLANNED', 'DUPLICATE']);
  newEvent(history, issue, 'ClosedEvent', end, someone(cast, random), { stateReason: issue.stateReason, closer: null });
}

function addPullRequest(history, cast, random, number, createdAt) {
  const fork = random.chance(0.3);
  const pull = newPullRequest(history, {
    ...sharedFields(cast, random, number, createdAt), headRefName: `topic-${number}`, isCrossRepository: fork,
    headRepository: fork ? `${random.pick(cast.people).login}/${history.repository.name}` : history.repository.nameWithOwner,
    additions: random.tail(20, 0.8, 90_000), deletions: random.tail(8, 0.8, 50_000), changedFiles: 1 + random.tail(1.5, 1, 900),
  });
  const end = later(createdAt, 300 + random.tail(30_000, 0.6, 20_000_000));
  addCommits(pull, random, 1 + random.tail(0.8, 1, 90), end);
  const readyAt = addDraftHistory(history, pull, random, end);
  addReviewing(history, cast, random, pull, readyAt, end);
  addRemarks(history, cast, random, pull, random.tail(1, 1.1, 60), end);
  addSettings(history, cast, random, pull, end);
  endPullRequest(history, cast, random, pull, end);
}

function addDraftHistory(history, pull, random, end) {
  let readyAt = pull.createdAt;
  if (!random.chance(0.2)) return readyAt;
  for (let rounds = random.chance(0.15) ? 2 : 1; rounds > 0; rounds -= 1) {
    readyAt = random.timeBetween(readyAt, end);
    newEvent(history, pull, 'ReadyForReviewEvent', readyAt, pull.author);
    if (rounds < 2) continue;
    readyAt = random.timeBetween(readyAt, end);
    newEvent(history, pull, 'ConvertToDraftEvent', readyAt, pull.author);
  }
  return readyAt;
}

function addReviewing(history, cast, random, pull, readyAt, end) {
  const count = random.chance(0.2) ? 0 : random.tail(2.2, 1.5, 25);
  const reviewers = random.sample(cast.people.filter((person) => person !== pull.author), 3);
  if (random.chance(0.5)) newEvent(history, pull, 'ReviewRequestedEvent', readyAt, pull.author, { requestedReviewer: reviewers[0] });
  for (let i = 0; i < count; i += 1) {
    addReview(history, random, pull, {
      author: random.chance(0.08) ? random.pick(cast.bots) : random.pick(reviewers), createdAt: random.timeBetween(readyAt, end),
      state: random.pick(['APPROVED', 'APPROVED', 'COMMENTED', 'CHANGES_REQUESTED']), authorAssociation: 'MEMBER',
    });
  }
}

function endPullRequest(history, cast, random, pull, end) {
  const draw = random.next();
  if (draw < 0.72) return mergePullRequest(history, pull, random.pick(cast.people), end);
  if (draw < 0.85) return closePullRequest(history, pull, someone(cast, random), end);
  if (random.chance(0.5)) {
    const requestedReviewer = random.pick([...cast.people, cast.teams[0]]);
    newReviewRequest(history, pull, requestedReviewer);
    newEvent(history, pull, 'ReviewRequestedEvent', end, pull.author, { requestedReviewer });
  }
}

/** One evening somebody gave a label to many items at once: they share one updatedAt. */
function addBulkEdit(history, cast) {
  const label = history.labels.at(-1);
  if (!label) return;
  const items = [...history.pullRequests, ...history.issues];
  const at = later(items.map(lastTimeOf).sort().at(-1) ?? LAST_DAY, 3600);
  const share = items.filter((item, index) => index % 4 === 1).slice(0, 250);
  for (const item of share) {
    if (!item.labels.includes(label)) item.labels.push(label);
    newEvent(history, item, 'LabeledEvent', at, cast.people[0], { label });
  }
}
