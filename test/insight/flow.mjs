// Flow, throughput and lead times of one repository, computed from the emulated GitHub's own truth in plain JavaScript:
// node flow.mjs truth.json zone. Prints {daily: {day: [...]}, week: {start: [...]}, month: {start: [...]}, issues: {number: [...]}}.
import { readFileSync } from 'node:fs';

const [file, zone] = process.argv.slice(2);
const truth = JSON.parse(readFileSync(file, 'utf8'));
const calendar = new Intl.DateTimeFormat('en-CA', { timeZone: zone, year: 'numeric', month: '2-digit', day: '2-digit' });
const dayOf = (time) => calendar.format(new Date(time));
const shift = (day, days) => new Date(Date.parse(`${day}T00:00:00Z`) + days * 86_400_000).toISOString().slice(0, 10);
const monday = (day) => shift(day, -((new Date(`${day}T00:00:00Z`).getUTCDay() + 6) % 7));
const startOf = { week: monday, month: (day) => `${day.slice(0, 8)}01` };
const lastOf = { week: (day) => shift(day, 6), month: (day) => shift(startOf.month(shift(day, 31)), -1) };
const seconds = (from, to) => (Date.parse(to) - Date.parse(from)) / 1000;

/** Not done, though closed. */
const isDropped = (issue) => ['NOT_PLANNED', 'DUPLICATE'].includes(issue.stateReason);

/** Each change of an issue's state as [what, when, reason]: a walk along its events. Only the closing that stands has a reason. */
function walk(issue) {
  const changes = [['opened', issue.createdAt]];
  let open = true;
  const events = issue.events.filter((event) => event.__typename === 'ClosedEvent' || event.__typename === 'ReopenedEvent');
  events.sort((a, b) => Date.parse(a.createdAt) - Date.parse(b.createdAt) || (a.__typename < b.__typename ? -1 : 1));
  for (const event of events) {
    const opens = event.__typename === 'ReopenedEvent';
    if (opens === open) continue;
    open = opens;
    changes.push([opens ? 'reopened' : 'closed', event.createdAt]);
  }
  if (open && issue.state === 'CLOSED') changes.push(['closed', issue.closedAt]);
  if (issue.state === 'CLOSED') changes.at(-1).push(isDropped(issue) ? 'dropped' : 'done');
  return changes;
}

// In twentieths: whole numbers have no rounding. Interpolated as percentile_cont does.
const percentile = (sorted, twentieths) => {
  const place = (sorted.length - 1) * twentieths;
  const low = Math.floor(place / 20);
  return (20 * sorted[low] + (place % 20) * ((sorted[low + 1] ?? sorted[low]) - sorted[low])) / 20;
};
const percentiles = (values) => {
  if (values.length === 0) return [null, null, null];
  const sorted = values.slice().sort((a, b) => a - b);
  return [10, 15, 18].map((twentieths) => percentile(sorted, twentieths).toFixed(2));
};

const COLUMN = { opened: 0, closed: 1, done: 2, dropped: 3, reopened: 4 };
const counts = new Map();
for (const [what, when, reason] of truth.issues.flatMap(walk)) {
  const day = dayOf(when);
  if (!counts.has(day)) counts.set(day, [0, 0, 0, 0, 0]);
  counts.get(day)[COLUMN[what]] += 1;
  if (reason) counts.get(day)[COLUMN[reason]] += 1;
}
const merged = truth.pullRequests.filter((pull) => pull.mergedAt !== null);
const firstOfAll = [...counts.keys(), ...merged.map((pull) => dayOf(pull.mergedAt))].sort()[0];
const today = dayOf(Date.now());

const daily = {};
let stillOpen = 0;
for (let day = [...counts.keys()].sort()[0]; day && day <= today; day = shift(day, 1)) {
  const [opened, closed, done, dropped, reopened] = counts.get(day) ?? [0, 0, 0, 0, 0];
  stillOpen += opened - closed + reopened;
  daily[day] = [day < today ? 't' : 'f', opened, closed, done, dropped, reopened, stillOpen];
}

function periods(kind) {
  const start = startOf[kind];
  const rows = {};
  for (let day = firstOfAll; day && day <= today; day = shift(day, 1)) rows[start(day)] ??= { merged: 0, moved: [0, 0, 0, 0, 0], lead: [] };
  for (const pull of merged) rows[start(dayOf(pull.mergedAt))].merged += 1;
  for (const [day, moved] of counts) moved.forEach((count, index) => { rows[start(day)].moved[index] += count; });
  for (const issue of truth.issues) {
    if (issue.state === 'CLOSED' && !isDropped(issue)) rows[start(dayOf(issue.closedAt))].lead.push(seconds(issue.createdAt, issue.closedAt));
  }
  return Object.fromEntries(Object.entries(rows).map(([day, row]) => [day, [lastOf[kind](day) < today ? 't' : 'f', row.merged, ...row.moved, ...percentiles(row.lead)]]));
}

/** Lead time, first answer by a person who is not the author, reopenings, the pull requests that resolve it, and their lines. */
function issueRow(issue) {
  const answers = issue.comments.filter((comment) => comment.author?.__typename !== 'Bot' && comment.author?.login !== issue.author?.login
    && comment.createdAt >= issue.createdAt);
  const first = answers.map((comment) => comment.createdAt).sort()[0];
  const resolving = truth.pullRequests.filter((pull) => pull.state !== 'CLOSED'
    && pull.closingIssuesReferences.some((reference) => reference.number === issue.number && (!reference.repository || reference.repository === truth.repository?.nameWithOwner)));
  return [
    issue.state === 'CLOSED' ? (isDropped(issue) ? issue.stateReason.toLowerCase() : 'completed') : null, issue.state === 'CLOSED' ? seconds(issue.createdAt, issue.closedAt).toFixed(2) : null, first ? seconds(issue.createdAt, first).toFixed(2) : null,
    walk(issue).filter(([what]) => what === 'reopened').length, resolving.map((pull) => pull.number).sort((a, b) => a - b),
    resolving.length > 0 ? resolving.reduce((sum, pull) => sum + pull.additions + pull.deletions, 0) : null,
  ];
}

// Items of both kinds, each opened once, and closed once: at its last end.
const items = {};
for (const [kind, all] of [['issue', truth.issues], ['pull_request', truth.pullRequests]]) {
  const days = new Map();
  const count = (when, place) => { const day = dayOf(when); if (!days.has(day)) days.set(day, [0, 0, 0]); days.get(day)[place] += 1; };
  for (const item of all) {
    count(item.createdAt, 0);
    const end = item.mergedAt ?? item.closedAt;
    if (item.state === 'OPEN') continue;
    count(end, 1);
    if (kind === 'issue' ? !isDropped(item) : item.state === 'MERGED') count(end, 2);
  }
  for (let day = [...days.keys()].sort()[0]; day && day <= today; day = shift(day, 1)) items[`${kind}|${day}`] = [day < today ? 't' : 'f', ...(days.get(day) ?? [0, 0, 0])];
}

const issues = Object.fromEntries(truth.issues.map((issue) => [issue.number, issueRow(issue)]));
console.log(JSON.stringify({ daily, week: periods('week'), month: periods('month'), items, issues, open: truth.issues.filter((issue) => issue.state === 'OPEN').length }));
