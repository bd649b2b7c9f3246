// Activity, approvals, status spans, reverts, team load and moving percentiles of one repository, computed from the emulated GitHub's own truth
// and from nothing of Keypup: node words.mjs truth.json zone teams.json. Prints lines to compare.
import { readFileSync } from 'node:fs';

const [file, zone, teamFile] = process.argv.slice(2);
const truth = JSON.parse(readFileSync(file, 'utf8'));
/** [{team, login, from, to}]: who was in which team, in seconds; to is null for those who still are. */
const memberships = JSON.parse(readFileSync(teamFile, 'utf8'));
const WEEK = 7 * 24 * 3600;
const MONDAY = Date.UTC(1970, 0, 5) / 1000;

const seconds = (text) => (text ? Date.parse(text) / 1000 : null);
const show = (...values) => values.map((value) => (value === null || value === undefined ? '-' : value === true ? 't' : value === false ? 'f' : String(value))).join(' ');
const login = (actor) => actor?.login ?? null;
const isBot = (actor) => actor?.__typename === 'Bot';
const known = (times) => times.filter((time) => time !== null);
const earliest = (times) => (known(times).length ? Math.min(...known(times)) : null);
const group = (map, key, make) => { if (!map.has(key)) map.set(key, make()); return map.get(key); };
const lines = [];
const calendar = new Intl.DateTimeFormat('en-CA', { timeZone: zone, year: 'numeric', month: '2-digit', day: '2-digit' });
/** The Monday, of the zone's days. */
const mondayOf = (at) => { const day = Date.parse(`${calendar.format(new Date(at * 1000))}T00:00:00Z`) / 1000; return day - ((day - MONDAY) % WEEK); };

/** Sorted as the provider dates them, then by what they are, then by id. */
const stateEvents = (item) => item.events.filter((event) => ['ClosedEvent', 'ReopenedEvent'].includes(event.__typename))
  .sort((a, b) => Date.parse(a.createdAt) - Date.parse(b.createdAt) || (a.__typename < b.__typename ? -1 : a.__typename > b.__typename ? 1 : a.id < b.id ? -1 : 1));

// Activity.
const NAMED = { ReviewRequestedEvent: 'REVIEWER_ASSIGNED', ReviewRequestRemovedEvent: 'REVIEWER_UNASSIGNED', AssignedEvent: 'USER_ASSIGNED', UnassignedEvent: 'USER_UNASSIGNED' };
function activity(kind, item) {
  const tell = (action, at, actor, subject = null) => lines.push(show('event', kind, item.number, action, seconds(at), login(actor), subject, isBot(actor)));
  tell('CREATED', item.createdAt, item.author);
  let open = true;
  for (const event of stateEvents(item)) {
    const opens = event.__typename === 'ReopenedEvent';
    // From the merge on nothing closes, and nothing opens.
    if (opens === open || (item.mergedAt && event.createdAt >= item.mergedAt)) continue;
    open = opens;
    tell(opens ? 'REOPENED' : 'CLOSED', event.createdAt, event.actor);
  }
  if (item.mergedAt) tell('MERGED', item.mergedAt, item.mergedBy);
  else if (open && item.state === 'CLOSED') tell('CLOSED', item.closedAt, null);
  else if (!open && item.state === 'OPEN') tell('REOPENED', item.updatedAt, null);
  for (const event of item.events) {
    const action = NAMED[event.__typename];
    // Whom a team's request concerns has no login.
    if (action && !(kind === 'issue' && action.startsWith('REVIEWER'))) tell(action, event.createdAt, event.actor, login(event.requestedReviewer ?? event.assignee));
  }
  for (const comment of item.comments) tell('COMMENTED', comment.createdAt, comment.author);
  for (const review of item.reviews ?? []) if (review.state !== 'PENDING') tell('REVIEWED', review.submittedAt, review.author, login(item.author));
}
for (const issue of truth.issues) activity('issue', issue);
for (const pull of truth.pullRequests) activity('pull_request', pull);

// Spells of issues.
for (const issue of truth.issues) {
  const turns = [seconds(issue.createdAt)];
  for (const event of stateEvents(issue)) if ((event.__typename === 'ClosedEvent') === (turns.length % 2 === 1)) turns.push(seconds(event.createdAt));
  if (issue.state === 'CLOSED' && turns.length % 2 === 1) turns.push(seconds(issue.closedAt));
  turns.forEach((start, index) => lines.push(show('span', issue.number, index + 1, index % 2 ? 'closed' : 'open', start, turns[index + 1] ?? null)));
}

// When each pull request came to stand approved, told review by review.
const samples = { cycle_time: [], time_to_first_review: [], lead_time: [] };
const load = new Map();
for (const pull of truth.pullRequests) {
  const author = login(pull.author);
  const merged = seconds(pull.mergedAt);
  const submitted = pull.reviews.filter((review) => review.state !== 'PENDING' && login(review.author) !== author)
    .map((review) => {
      const dismissal = review.state === 'DISMISSED' ? pull.events.find((event) => event.__typename === 'ReviewDismissedEvent' && event.review?.id === review.id) : undefined;
      return { id: String(review.fullDatabaseId), node: review.id, state: dismissal?.previousReviewState ?? review.state, at: seconds(review.submittedAt), login: login(review.author), bot: isBot(review.author),
        ends: dismissal ? Math.max(seconds(review.submittedAt), seconds(dismissal.createdAt)) : null };
    })
    .sort((a, b) => a.at - b.at || (a.id < b.id ? -1 : 1));
  const people = submitted.filter((review) => !review.bot);
  const before = people.filter((review) => merged === null || review.at <= merged);
  const verdicts = new Map();
  const approvedAt = [];
  let stood = false;
  // A dismissal ends a verdict, if that is still what the reviewer says.
  const ends = before.filter((review) => review.ends !== null && review.state !== 'COMMENTED' && (merged === null || review.ends <= merged)).map((review) => ({ ...review, at: review.ends, isEnd: true }));
  const last = new Map();
  for (const review of [...before, ...ends].sort((a, b) => a.at - b.at || (a.id < b.id ? -1 : a.id > b.id ? 1 : a.isEnd ? 1 : -1))) {
    if (review.isEnd) {
      if (last.get(review.login) !== review.id) continue;
      verdicts.set(review.login, 'DISMISSED');
    } else if (review.state !== 'COMMENTED') {
      verdicts.set(review.login, review.state);
      last.set(review.login, review.id);
    }
    const stands = [...verdicts.values()].includes('APPROVED') && ![...verdicts.values()].includes('CHANGES_REQUESTED');
    if (stands && !stood) approvedAt.push(review.at);
    stood = stands;
  }
  // Merged after an approval that came after the last request for changes that still stood.
  const latest = (state) => Math.max(...before.filter((review) => last.get(review.login) === review.id && verdicts.get(review.login) === state).map((review) => review.at));
  if (merged !== null && latest('CHANGES_REQUESTED') > -Infinity && latest('APPROVED') > latest('CHANGES_REQUESTED') && !(approvedAt.at(-1) >= latest('APPROVED'))) approvedAt.push(latest('APPROVED'));
  const withVerdict = (state) => [...verdicts].filter(([who, verdict]) => who !== null && verdict === state).map(([who]) => who).sort();
  const undecided = [...new Set(before.map((review) => review.login))].filter((who) => who !== null && !['APPROVED', 'CHANGES_REQUESTED'].includes(verdicts.get(who))).sort();
  if (before.length > 0) {
    lines.push(show('verdict', pull.number, approvedAt[0], approvedAt.at(-1), `{${withVerdict('APPROVED')}}`, `{${withVerdict('CHANGES_REQUESTED')}}`, `{${undecided}}`));
  }

  const created = seconds(pull.createdAt);
  const times = (type) => earliest(pull.events.filter((event) => event.__typename === type).map((event) => seconds(event.createdAt)));
  const [marked, drafted] = [times('ReadyForReviewEvent'), times('ConvertToDraftEvent')];
  const openedAsDraft = marked !== null || drafted !== null ? marked !== null && (drafted === null || marked < drafted) : pull.isDraft;
  const ready = openedAsDraft ? marked : created;
  const first = earliest(before.filter((review) => ready !== null && review.at >= ready).map((review) => review.at));
  if (merged !== null) samples.cycle_time.push([merged, merged - earliest([seconds(pull.commits[0]?.authoredDate ?? null), created, ready, merged])]);
  if (first !== null && first >= created) samples.time_to_first_review.push([first, first - created]);

  const met = new Map();
  for (const review of submitted) {
    // Of a later review, the first request since the one before; it has no clock without one.
    const reviewer = `${review.bot} ${review.login}`;
    const since = met.get(reviewer) ?? -Infinity;
    const isFirst = since === -Infinity;
    const request = earliest(pull.events
      .filter((event) => event.__typename === 'ReviewRequestedEvent' && review.login !== null && login(event.requestedReviewer) === review.login)
      .map((event) => seconds(event.createdAt)).filter((at) => at <= review.at && at > since));
    const start = ready === null || (!isFirst && request === null) ? null : Math.max(ready, request ?? ready);
    const response = start !== null && start <= review.at ? review.at - start : null;
    met.set(reviewer, review.at);
    const teams = memberships.filter((member) => member.login === review.login && review.at >= member.from && (member.to === null || review.at < member.to)).map((member) => member.team);
    for (const team of teams.length ? teams : ['-']) {
      const entry = group(load, `${team} ${review.bot ? 't' : 'f'} ${mondayOf(review.at)}`, () => ({ reviewers: new Set(), reviews: 0, pulls: new Set(), first: 0, responses: [] }));
      entry.reviewers.add(review.login);
      entry.reviews += 1;
      entry.pulls.add(pull.number);
      if (response !== null) entry.responses.push(response);
      if (response !== null && isFirst) entry.first += 1;
    }
  }
}

// In twentieths: whole numbers have no rounding. Interpolated as percentile_cont does.
function percentile(values, twentieths) {
  if (values.length === 0) return null;
  const sorted = values.slice().sort((a, b) => a - b);
  const place = (sorted.length - 1) * twentieths;
  const low = Math.floor(place / 20);
  return ((20 * sorted[low] + (place % 20) * ((sorted[low + 1] ?? sorted[low]) - sorted[low])) / 20).toFixed(2);
}
// A team has a row each week, from the first review of the account, or of when somebody joined, to now; who is in none has one from the first review on.
const beginnings = truth.pullRequests.flatMap((pull) => pull.reviews).map((review) => seconds(review.submittedAt)).filter((at) => at !== null);
if (beginnings.length) {
  for (const team of new Set(['-', ...memberships.map((member) => member.team)])) {
    const joined = team === '-' ? 0 : Math.min(...memberships.filter((member) => member.team === team).map((member) => member.from));
    for (let week = mondayOf(Math.max(joined, Math.min(...beginnings))); week <= mondayOf(Date.now() / 1000); week += WEEK) group(load, `${team} f ${week}`, () => ({ reviewers: new Set(), reviews: 0, pulls: new Set(), first: 0, responses: [] }));
  }
}
for (const [key, entry] of load) lines.push(show('team', key, entry.reviewers.size, entry.reviews, entry.pulls.size, entry.first, entry.responses.length, percentile(entry.responses, 10), percentile(entry.responses, 18)));

// Four weeks, of the zone's days.
for (const issue of truth.issues) if (issue.state === 'CLOSED' && issue.stateReason !== 'NOT_PLANNED' && issue.stateReason !== 'DUPLICATE' && issue.closedAt >= issue.createdAt) samples.lead_time.push([seconds(issue.closedAt), seconds(issue.closedAt) - seconds(issue.createdAt)]);
for (const [metric, measured] of Object.entries(samples)) {
  const weeks = measured.map(([at]) => mondayOf(at));
  for (let week = Math.min(...weeks); week <= mondayOf(Date.now() / 1000); week += WEEK) {
    const spans = measured.filter((_, index) => weeks[index] <= week && weeks[index] > week - 4 * WEEK).map(([, span]) => span);
    lines.push(show('moving', metric, week, week < mondayOf(Date.now() / 1000), spans.length, percentile(spans, 10), percentile(spans, 15), percentile(spans, 18)));
  }
}

// Issues by label and by type, week by week: each from its first until now. A walk along the events of each issue.
const breakdown = new Map();
for (const issue of truth.issues) {
  const changes = [[0, seconds(issue.createdAt)]];
  for (const event of stateEvents(issue)) {
    const closes = event.__typename === 'ClosedEvent';
    if (closes === (changes.length % 2 === 1)) changes.push([closes ? 1 : 2, seconds(event.createdAt)]);
  }
  if (issue.state === 'CLOSED' && changes.length % 2 === 1) changes.push([1, seconds(issue.closedAt)]);
  if (issue.state === 'OPEN' && changes.length % 2 === 0) changes.push([2, seconds(issue.updatedAt)]);
  const isDone = !['NOT_PLANNED', 'DUPLICATE'].includes(issue.stateReason);
  const labels = new Set(issue.labels.map((label) => label.name));
  for (const key of [...(labels.size ? labels : ['-'])].map((label) => `label ${label}`).concat(`type ${issue.issueType?.name ?? '-'}`)) {
    const weeks = group(breakdown, key, () => new Map());
    const week = (at) => group(weeks, mondayOf(at), () => ({ counts: [0, 0, 0, 0, 0], leads: [] }));
    for (const [what, at] of changes) week(at).counts[what] += 1;
    if (issue.state === 'CLOSED') {
      week(changes.at(-1)[1]).counts[isDone ? 3 : 4] += 1;
      if (isDone) week(seconds(issue.closedAt)).leads.push(seconds(issue.closedAt) - seconds(issue.createdAt));
    }
  }
}
const thisWeek = mondayOf(Date.now() / 1000);
for (const [key, weeks] of breakdown) {
  for (let week = Math.min(...weeks.keys()); week <= thisWeek; week += WEEK) {
    const { counts, leads } = weeks.get(week) ?? { counts: [0, 0, 0, 0, 0], leads: [] };
    lines.push(show('by', key, week, week < thisWeek, ...counts, counts[1] === 0 ? null : (counts[2] / counts[1]).toFixed(4), percentile(leads, 10), percentile(leads, 18)));
  }
}

// What is taken back, by title: as it is quoted; else by the number at its end, by how it begins, or by what is left of it without what conventions add.
const plain = (title) => title.toLowerCase().replace(/^[a-z]+(\([^()]*\))?!?: +/, '').replace(/ \(#\d+\)$/, '');
for (const revert of truth.pullRequests) {
  const whole = revert.title.match(/^[Rr](evert|eapply) "(.+)"( \(#\d+\))?$/);
  const cut = revert.title.match(/^[Rr]evert "(.+(?:…|\.\.\.))$/);
  const colon = revert.title.match(/^[Rr]evert(?:\([^()]*\))?!?: +(.+)$/);
  const quoted = whole ? (whole[1] === 'evert' ? whole[2] : `Revert "${whole[2]}"`) : cut?.[1] ?? colon?.[1];
  if (quoted === undefined) continue;
  const merged = truth.pullRequests.filter((pull) => pull.mergedAt !== null && pull.mergedAt <= revert.createdAt);
  const exact = merged.filter((pull) => pull.title === quoted);
  const [, start, number] = quoted.match(/^(.*) \(#(\d+)\)$/) ?? [];
  const alike = merged.filter((pull) => (/.{5}(…|\.\.\.)$/.test(quoted) ? pull.title.startsWith(quoted.replace(/(…|\.\.\.)$/, '')) : colon ? plain(pull.title) === plain(quoted) : pull.number === Number(number) && pull.title === start));
  const meant = exact.length ? exact : new Set(alike.map((pull) => pull.title)).size === 1 ? alike : [];
  if (meant.length) lines.push(show('revert', Math.max(...meant.map((pull) => pull.number)), revert.number));
}
process.stdout.write(`${lines.join('\n')}\n`);
