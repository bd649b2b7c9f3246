// Metrics of pull requests, computed from a provider's own records and from nothing of Keypup: the definitions of
// doc/metrics.md once more. Reads the emulator's truth about a repository; prints lines to compare.
import { readFileSync } from 'node:fs';

const { pullRequests } = JSON.parse(readFileSync(process.argv[2], 'utf8'));
const SIZES = [[10, 'XS'], [50, 'S'], [250, 'M'], [1000, 'L'], [Infinity, 'XL']];
const WEEK = 7 * 24 * 3600;
const MONDAY = Date.UTC(1970, 0, 5) / 1000;

const seconds = (text) => (text ? Date.parse(text) / 1000 : null);
const earliest = (times) => { const known = times.filter((time) => time !== null); return known.length ? Math.min(...known) : null; };
const minus = (later, earlier) => (later === null || earlier === null ? null : later - earlier);
const byTime = (one, other) => one.at - other.at || (one.id < other.id ? -1 : 1);
const show = (...values) => values.map((value) => (value === null ? '-' : value === true ? 't' : value === false ? 'f' : String(value))).join(' ');

// percentile_cont, by its definition.
function percentile(values, share) {
  if (!values.length) return null;
  const sorted = [...values].sort((one, other) => one - other);
  const place = share * (sorted.length - 1);
  const below = Math.floor(place);
  const above = Math.ceil(place);
  return Math.round(sorted[below] + (sorted[above] - sorted[below]) * (place - below));
}

function group(map, key, make) {
  if (!map.has(key)) map.set(key, make());
  return map.get(key);
}

const load = new Map();
const pairs = new Map();
const lines = [];

for (const pull of pullRequests) {
  const author = pull.author?.login ?? null;
  const created = seconds(pull.createdAt);
  const merged = seconds(pull.mergedAt);
  const times = (type) => pull.events.filter((event) => event.__typename === type);
  const marked = times('ReadyForReviewEvent').map((event) => seconds(event.createdAt));
  const ready = pull.isDraft ? null : marked.length ? Math.max(...marked) : created;

  const reviews = pull.reviews.filter((review) => review.state !== 'PENDING' && (review.author?.login ?? null) !== author).map((review) => ({
    id: String(review.fullDatabaseId), state: review.state, at: seconds(review.submittedAt), login: review.author?.login ?? null, bot: review.author?.__typename === 'Bot',
  })).sort(byTime);
  const people = reviews.filter((review) => !review.bot);
  const counted = people.filter((review) => ready !== null && review.at >= ready && (merged === null || review.at <= merged));
  const firstReview = earliest(counted.map((review) => review.at));
  const firstApproval = earliest(counted.filter((review) => review.state === 'APPROVED').map((review) => review.at));
  const began = earliest([seconds(pull.commits[0]?.authoredDate ?? null), created, ready, merged]);

  const byReviewer = (list) => { const map = new Map(); for (const review of list) group(map, review.login, () => []).push(review); return [...map.values()]; };
  let rounds = 0;
  for (const list of byReviewer(counted.filter((review) => ['APPROVED', 'CHANGES_REQUESTED'].includes(review.state)))) {
    rounds += list.slice(0, -1).filter((review) => review.state === 'CHANGES_REQUESTED').length;
  }
  const before = people.filter((review) => merged === null || review.at <= merged);
  const last = byReviewer(before.filter((review) => review.state !== 'COMMENTED')).map((list) => list.at(-1).state);
  const asked = pull.reviewRequests.some((request) => request.requestedReviewer);
  const state = last.includes('CHANGES_REQUESTED') ? 'CHANGES_REQUESTED' : last.includes('APPROVED') ? 'APPROVED' : asked || before.length ? 'PENDING' : 'NONE';
  const lineCount = pull.additions + pull.deletions;

  lines.push(show('pull', pull.number,
    earliest([ready, merged]) === null ? null : earliest([ready, merged]) - began, minus(firstReview, ready), minus(firstApproval ?? merged, firstReview), minus(merged, firstApproval),
    firstReview === null && merged !== null && ready !== null && ready <= merged ? merged - ready : null, minus(merged, began),
    firstReview !== null && firstReview >= created ? firstReview - created : null,
    rounds, new Set(counted.map((review) => review.login)).size, state, SIZES.find(([limit]) => lineCount < limit)[1],
    merged === null ? null : firstReview === null, merged === null || author === null || !pull.mergedBy ? null : pull.mergedBy.login === author,
    times('ReopenedEvent').length, pull.title.startsWith('Revert "'), pull.state === 'OPEN' && pull.isDraft ? 'draft' : pull.state.toLowerCase()));

  const met = new Set();
  for (const review of reviews) {
    const key = `${review.bot}/${review.login}`;
    const week = MONDAY + Math.floor((review.at - MONDAY) / WEEK) * WEEK;
    const entry = group(load, `${review.login ?? '-'} ${review.bot ? 't' : 'f'} ${week}`, () => ({ reviews: 0, pulls: new Set(), responses: [] }));
    entry.reviews += 1;
    entry.pulls.add(pull.number);
    if (!met.has(key) && ready !== null) {
      const requests = times('ReviewRequestedEvent').filter((event) => review.login !== null && event.requestedReviewer?.login === review.login).map((event) => seconds(event.createdAt)).filter((time) => time <= review.at);
      const start = Math.max(ready, requests.length ? Math.min(...requests) : ready);
      if (start <= review.at) entry.responses.push(review.at - start);
    }
    met.add(key);
    const pair = group(pairs, `${author ?? '-'} ${review.login ?? '-'}`, () => ({ reviews: 0, pulls: new Set(), approvals: 0 }));
    pair.reviews += 1;
    pair.pulls.add(pull.number);
    pair.approvals += review.state === 'APPROVED' ? 1 : 0;
  }
}
for (const [key, entry] of load) lines.push(show('load', key, entry.reviews, entry.pulls.size, entry.responses.length, percentile(entry.responses, 0.5), percentile(entry.responses, 0.9)));
for (const [key, pair] of pairs) lines.push(show('pair', key, pair.pulls.size, pair.reviews, pair.approvals));
process.stdout.write(`${lines.join('\n')}\n`);
