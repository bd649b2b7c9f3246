// Metrics of pull requests, computed from a provider's own records and from nothing of Keypup: the definitions of
// doc/metrics.md once more. Reads the emulator's truth about a repository; prints lines to compare.
import { readFileSync } from 'node:fs';

const [file, zone] = process.argv.slice(2);
const { pullRequests } = JSON.parse(readFileSync(file, 'utf8'));
const SIZES = [[10, 'XS'], [50, 'S'], [250, 'M'], [1000, 'L'], [Infinity, 'XL']];
const REVERTS = [/^[Rr]evert ".+"( \(#\d+\))?$/, /^[Rr]eapply ".+"( \(#\d+\))?$/, /^[Rr]evert ".+(…|\.\.\.)$/, /^[Rr]evert(\([^()]*\))?!?: +.+$/];
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

// The Monday of the week in which something happened, by the zone's calendar.
const calendar = new Intl.DateTimeFormat('en-CA', { timeZone: zone, year: 'numeric', month: '2-digit', day: '2-digit' });
const mondayOf = (at) => { const day = Date.parse(`${calendar.format(new Date(at * 1000))}T00:00:00Z`) / 1000; return day - ((day - MONDAY) % WEEK); };

const load = new Map();
const pairs = new Map();
const lines = [];

/** Replays what happened to the draft mark: when it was ready first, and when it was a draft again. */
function replay(pull) {
  const toggles = pull.events.filter((event) => ['ReadyForReviewEvent', 'ConvertToDraftEvent'].includes(event.__typename))
    .map((event) => ({ ready: event.__typename === 'ReadyForReviewEvent', at: seconds(event.createdAt), id: event.id })).sort(byTime);
  const first = toggles[0];
  let draft = first ? first.ready : pull.isDraft;
  let ready = draft ? null : seconds(pull.createdAt);
  let since = null;
  const spans = [];
  for (const toggle of toggles) {
    if (toggle.ready && ready === null) ready = toggle.at;
    else if (toggle.ready && since !== null) spans.push([since, toggle.at]);
    if (toggle.ready) since = null;
    else if (ready !== null && since === null) since = toggle.at;
    draft = !toggle.ready;
  }
  if (since !== null && pull.isDraft) spans.push([since, Infinity]);
  return { ready, spans };
}

/** Whose turn it is, one step after the other: the author's, or that of whose review ends it. */
function takeTurns(pull, author, ready, reviews, own, end) {
  if (ready === null) return [];
  const steps = [{ at: ready, source: 1, id: '', step: 'ready' }];
  for (const event of pull.events) {
    const step = { ConvertToDraftEvent: 'draft', ReadyForReviewEvent: 'ready', ReviewRequestedEvent: 'ready' }[event.__typename];
    if (step && seconds(event.createdAt) > ready) steps.push({ at: seconds(event.createdAt), source: 2, id: event.id, step });
  }
  for (const review of reviews) if (!review.bot && review.at >= ready) steps.push({ at: review.at, source: 3, id: review.id, login: review.login, step: review.own ? 'answer' : review.said === 'APPROVED' ? 'approval' : 'question' });
  for (const comment of own) if (comment.at >= ready) steps.push({ ...comment, source: 4, step: 'answer' });
  steps.sort((one, other) => one.at - other.at || one.source - other.source || (one.id < other.id ? -1 : 1));
  const turns = [];
  let isAsked = false;
  for (const { at, step, login } of steps) {
    if (end !== null && at >= end) break;
    const turn = step === 'ready' ? 'reviewer' : step === 'answer' ? (isAsked ? 'reviewer' : turns.at(-1).turn) : 'author';
    if (step !== 'answer') isAsked = step === 'question';
    if (turns.at(-1)?.turn !== turn) turns.push({ turn, at, by: login ?? null });
  }
  return turns.map(({ turn, at }, place) => {
    const next = turns[place + 1];
    return { place: place + 1, turn, login: turn === 'author' ? author : next?.by ?? null, at, until: next?.at ?? end };
  });
}

for (const pull of pullRequests) {
  const author = pull.author?.login ?? null;
  const created = seconds(pull.createdAt);
  const merged = seconds(pull.mergedAt);
  const end = pull.state === 'OPEN' ? null : merged ?? seconds(pull.closedAt);
  const times = (type) => pull.events.filter((event) => event.__typename === type);
  const { ready, spans } = replay(pull);
  const drafted = (from, until) => (from === null || until === null ? 0 : spans.reduce((sum, [begin, stop]) => sum + Math.max(0, Math.min(stop, until) - Math.max(begin, from)), 0));
  const stage = (later, earlier) => (minus(later, earlier) === null ? null : later - earlier - drafted(earlier, later));

  // What a review said before it was dismissed only the event tells.
  const dismissals = new Map(times('ReviewDismissedEvent').filter((event) => event.review).map((event) => [event.review.id, event]));
  const everybodys = pull.reviews.filter((review) => review.state !== 'PENDING').map((review) => {
    const dismissal = review.state === 'DISMISSED' ? dismissals.get(review.id) : undefined;
    const at = seconds(review.submittedAt);
    const login = review.author?.login ?? null;
    return { id: String(review.fullDatabaseId), state: review.state, said: dismissal?.previousReviewState ?? review.state, at, login, own: login === author,
      bot: review.author?.__typename === 'Bot', until: dismissal ? Math.max(at, seconds(dismissal.createdAt)) : null };
  }).sort(byTime);
  const reviews = everybodys.filter((review) => !review.own);
  const people = reviews.filter((review) => !review.bot);
  const inTime = (at, from) => from !== null && at >= from && (merged === null || at <= merged);
  const counted = people.filter((review) => inTime(review.at, ready));
  const firstReview = earliest(counted.map((review) => review.at));
  const firstApproval = earliest(counted.filter((review) => review.said === 'APPROVED').map((review) => review.at));
  const began = earliest([seconds(pull.commits[0]?.authoredDate ?? null), created, ready, merged]);
  const comments = [...pull.comments, ...pull.reviewThreads.flatMap((thread) => thread.comments)].map((comment) => ({
    at: seconds(comment.createdAt), id: String(comment.fullDatabaseId), login: comment.author?.login ?? null, bot: comment.author?.__typename === 'Bot' }));
  const firstResponse = earliest([...people, ...comments.filter((comment) => !comment.bot && comment.login !== author)].map((each) => each.at).filter((at) => inTime(at, created)));

  // A round ends with a verdict that answers: an approval answers all that was asked for, a second request its own first.
  let rounds = 0;
  const open = new Set();
  for (const review of counted) {
    if (review.said === 'APPROVED' ? open.size > 0 : review.said === 'CHANGES_REQUESTED' && open.has(review.login)) rounds += 1;
    if (review.said === 'APPROVED') open.clear();
    else if (review.said === 'CHANGES_REQUESTED') open.add(review.login);
  }
  // What stands, now or at the merge.
  const before = people.filter((review) => merged === null || review.at <= merged);
  const standing = new Map();
  for (const review of before) {
    const stands = review.until !== null && merged !== null && review.until > merged ? review.said : review.state;
    if (stands !== 'COMMENTED' && !(stands === 'DISMISSED' && review.said === 'COMMENTED')) standing.set(review.login, { stands, at: review.at });
  }
  const latest = (verdict) => Math.max(...[...standing.values()].filter(({ stands }) => stands === verdict).map(({ at }) => at));
  const asked = pull.reviewRequests.some((request) => request.requestedReviewer);
  const against = latest('CHANGES_REQUESTED');
  const inFavour = latest('APPROVED');
  const state = against > -Infinity && !(merged !== null && inFavour > against) ? 'CHANGES_REQUESTED' : inFavour > -Infinity ? 'APPROVED' : asked || before.length ? 'PENDING' : 'NONE';
  const lineCount = pull.additions + pull.deletions;

  lines.push(show('pull', pull.number,
    earliest([ready, merged]) === null ? null : earliest([ready, merged]) - began, stage(firstReview, ready), stage(firstApproval ?? merged, firstReview), stage(merged, firstApproval),
    firstReview === null && merged !== null && ready !== null && ready <= merged ? stage(merged, ready) : null,
    spans.length && merged !== null && ready <= merged ? drafted(ready, merged) : null, minus(merged, began),
    firstReview !== null && firstReview >= created ? firstReview - created : null, minus(firstResponse, created),
    rounds, new Set(counted.map((review) => review.login)).size, state, SIZES.find(([limit]) => lineCount < limit)[1],
    merged === null ? null : firstReview === null, merged === null || author === null || !pull.mergedBy ? null : pull.mergedBy.login === author,
    times('ReopenedEvent').length, REVERTS.some((pattern) => pattern.test(pull.title)), pull.commits.length > 0 && seconds(pull.commits[0].authoredDate) < created - 90 * 24 * 3600, pull.state === 'OPEN' && pull.isDraft ? 'draft' : pull.state.toLowerCase()));
  const own = comments.filter((comment) => author !== null && comment.login === author && !comment.bot);
  for (const span of takeTurns(pull, author, ready, everybodys, own, end)) lines.push(show('turn', pull.number, span.place, span.turn, span.login, span.at, span.until));

  const met = new Map();
  for (const review of reviews) {
    const key = `${review.bot}/${review.login}`;
    const weeks = group(load, `${review.login ?? '-'} ${review.bot ? 't' : 'f'}`, () => new Map());
    const entry = group(weeks, mondayOf(review.at), () => ({ reviews: 0, pulls: new Set(), first: 0, responses: [] }));
    entry.reviews += 1;
    entry.pulls.add(pull.number);
    const previous = met.get(key) ?? null;
    const requests = times('ReviewRequestedEvent').filter((event) => review.login !== null && event.requestedReviewer?.login === review.login).map((event) => seconds(event.createdAt))
      .filter((time) => time <= review.at && (previous === null || time > previous));
    if (ready !== null && (previous === null || requests.length)) {
      const start = Math.max(ready, requests.length ? Math.min(...requests) : ready);
      if (start <= review.at) {
        entry.responses.push(review.at - start);
        entry.first += previous === null ? 1 : 0;
      }
    }
    met.set(key, review.at);
    const pair = group(pairs, `${author ?? '-'} ${review.login ?? '-'}`, () => ({ reviews: 0, pulls: new Set(), approvals: 0 }));
    pair.reviews += 1;
    pair.pulls.add(pull.number);
    pair.approvals += review.said === 'APPROVED' ? 1 : 0;
  }
}
// From a reviewer's first week to the last, no week left out.
for (const [key, weeks] of load) {
  for (let week = Math.min(...weeks.keys()); week <= Math.max(...weeks.keys()); week += WEEK) {
    const entry = weeks.get(week) ?? { reviews: 0, pulls: new Set(), first: 0, responses: [] };
    lines.push(show('load', key, week, entry.reviews, entry.pulls.size, entry.first, entry.responses.length, percentile(entry.responses, 0.5), percentile(entry.responses, 0.9)));
  }
}
for (const [key, pair] of pairs) lines.push(show('pair', key, pair.pulls.size, pair.reviews, pair.approvals));
process.stdout.write(`${lines.join('\n')}\n`);
