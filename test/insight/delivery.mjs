// Deliveries of one project, computed from its rows in plain JavaScript: node delivery.mjs rows.json zone. The rows are
// {production: [pattern], incidents: [pattern], rework: [pattern], window: seconds, default_branch, deployments, releases, pull_requests, issues}, as the tables have them.
// Prints {carried: [...], incidents: [...], deployments: [...], week: {start: [...]}, month: {start: [...]}, dora: [...]}, all as text.
import { readFileSync } from 'node:fs';

const [file, zone] = process.argv.slice(2);
const rows = JSON.parse(readFileSync(file, 'utf8'));
const calendar = new Intl.DateTimeFormat('en-CA', { timeZone: zone, year: 'numeric', month: '2-digit', day: '2-digit' });
const dayOf = (time) => calendar.format(new Date(time));
const shift = (day, days) => new Date(Date.parse(`${day}T00:00:00Z`) + days * 86_400_000).toISOString().slice(0, 10);
const startOf = { week: (day) => shift(day, -((new Date(`${day}T00:00:00Z`).getUTCDay() + 6) % 7)), month: (day) => `${day.slice(0, 8)}01` };
const after = { week: (day) => shift(day, 7), month: (day) => startOf.month(shift(day, 31)) };
const MINUTE = 60_000;
const milliseconds = (time) => (time === null ? null : Date.parse(time));
const seconds = (span) => (span === null ? '' : (span / 1000).toFixed(2));

/** A pattern of SQL's LIKE as a regular expression. */
const like = (pattern) => new RegExp(`^${pattern.replace(/[.*+?^${}()|[\]\\]/g, '\\$&').replaceAll('%', '.*').replaceAll('_', '.')}$`, 's');
const matches = (patterns, text) => text !== null && patterns.map(like).some((pattern) => pattern.test(text.toLowerCase()));

const production = rows.deployments.filter((deployment) => deployment.deleted_at === null && matches(rows.production, deployment.environment));
const isRelease = (release) => release.deleted_at === null && !release.is_draft && !release.is_prerelease && release.published_at !== null;
const isDeployed = production.some((d) => d.succeeded_at !== null) || (production.length > 0 && !rows.releases.some(isRelease));
const earliest = (times) => (times.some((time) => time !== null) ? Math.min(...times.filter((time) => time !== null)) : null);

/** Deployments in their order, each put to the change that is under way with its commit: within the window of the first one, or while none of it has succeeded. */
function changesOf(deployments) {
  const window = rows.window * 1000;
  const changes = [];
  const underWay = new Map();
  const sorted = deployments.map((d) => ({ ...d, at: Date.parse(d.created_at) })).sort((a, b) => a.at - b.at || (a.external_id < b.external_id ? -1 : 1));
  for (const deployment of sorted) {
    const commit = window > 0 && deployment.commit_at !== null ? `${Date.parse(deployment.commit_at)} ${deployment.ref}` : null;
    let change = commit === null ? undefined : underWay.get(commit);
    if (change === undefined || deployment.at - change.last > window) change = { members: [], edge: deployment.at + window };
    else if (deployment.at > change.edge) {
      // No pause, and the window is over: the next one begins where it ended.
      const edge = change.edge + Math.ceil((deployment.at - change.edge) / window) * window;
      change = change.members.some((d) => d.succeeded_at !== null) ? { members: [], edge } : Object.assign(change, { edge });
    }
    if (change.members.length === 0) changes.push(change);
    change.members.push(deployment);
    change.last = deployment.succeeded_at === null ? Math.max(deployment.at, milliseconds(deployment.failed_at) ?? deployment.at) : deployment.at;
    if (commit !== null) underWay.set(commit, change);
  }
  return changes.map(({ members }) => ({
    id: members[0].external_id, begun: members[0].at, commit: milliseconds(members[0].commit_at),
    succeeded: earliest(members.map((d) => milliseconds(d.succeeded_at))), failed: earliest(members.map((d) => milliseconds(d.failed_at))),
    environments: new Set(members.filter((d) => d.succeeded_at !== null).map((d) => d.environment.toLowerCase())).size,
  }));
}
const deliveries = isDeployed
  ? changesOf(production)
  : rows.releases.filter(isRelease)
    .map((r) => ({ id: r.external_id, begun: milliseconds(r.published_at), commit: milliseconds(r.commit_at), succeeded: milliseconds(r.published_at), failed: null, environments: '' }));
deliveries.sort((a, b) => a.begun - b.begun || (a.id < b.id ? -1 : 1));
const ended = deliveries.filter((d) => d.succeeded !== null || d.failed !== null).map((d) => ({ ...d, at: d.succeeded ?? d.failed }));

const isIncident = (issue) => issue.deleted_at === null && (matches(rows.incidents, issue.type) || issue.labels.some((label) => matches(rows.incidents, label)));
const brokenNumbers = new Set(rows.issues.filter(isIncident).map((issue) => issue.number));

/** true: mends what is in production; false: was planned; null: by a bot, and tells nothing. */
function mends(pull) {
  if (pull.labels.some((label) => matches([...rows.rework, ...rows.incidents], label)) || pull.closes_issues.some((number) => brokenNumbers.has(number))) return true;
  if (/^revert ".+("( \(#[0-9]+\))?|…|\.\.\.)$|^revert(\([^()]*\))?!?: +.+$/is.test(pull.title)) return true;
  return pull.author_is_bot ? null : false;
}
const isRework = (pulls) => pulls.some((p) => p.mends === true) && !pulls.some((p) => p.mends === false);

const carried = rows.pull_requests
  .filter((p) => p.deleted_at === null && p.merged_at !== null)
  .map((p) => {
    const merged = Date.parse(p.merged_at);
    const isMain = p.base_branch === rows.default_branch || p.base_branch === null || rows.default_branch === null ||
      (rows.default_branch === 'main' && p.base_branch === 'master');
    const by = isMain && deliveries.find((d) => d.succeeded !== null && d.succeeded >= merged && d.begun >= merged && (d.commit ?? d.begun) >= merged - MINUTE);
    const begun = Math.min(...[p.first_commit_at, p.created_at, p.ready_at, p.merged_at].filter((time) => time !== null).map((time) => Date.parse(time)));
    return { number: p.number, by: by ? by.id : null, at: by ? by.succeeded : null, deploy: by ? by.succeeded - merged : null, lead: by ? by.succeeded - begun : null, mends: mends(p) };
  });

const incidents = rows.issues
  .filter((i) => isIncident(i) && !(i.state === 'closed' && ['not_planned', 'duplicate'].includes(i.state_reason)))
  .map((i) => {
    const opened = Date.parse(i.created_at);
    const closed = i.state === 'closed' ? milliseconds(i.closed_at) : null;
    const cause = deliveries.findLast((d) => d.succeeded !== null && d.succeeded <= opened && d.begun <= opened);
    return {
      number: i.number, cause: cause?.id ?? null, at: cause?.succeeded ?? null, closed,
      restore: closed !== null && closed >= opened ? closed - opened : null, recovery: cause && closed !== null && closed >= cause.succeeded ? closed - cause.succeeded : null,
    };
  });

// In twentieths: whole numbers have no rounding. Interpolated as percentile_cont does.
function percentile(values, twentieths) {
  if (values.length === 0) return null;
  const sorted = values.slice().sort((a, b) => a - b);
  const place = (sorted.length - 1) * twentieths;
  const low = Math.floor(place / 20);
  return (20 * sorted[low] + (place % 20) * ((sorted[low + 1] ?? sorted[low]) - sorted[low])) / 20;
}

const result = {
  carried: carried.map((p) => [p.number, p.by ?? '', seconds(p.deploy), seconds(p.lead)].join('|')),
  incidents: incidents.map((i) => [i.number, i.cause ?? '', seconds(i.restore), seconds(i.recovery)].join('|')),
  deployments: ended.map((d) => {
    const broken = incidents.filter((i) => i.cause === d.id);
    const recovered = broken.length > 0 && broken.every((i) => i.closed !== null) ? Math.max(...broken.map((i) => i.closed)) : null;
    const mine = carried.filter((p) => p.by === d.id);
    return [d.id, d.environments, d.succeeded !== null ? 't' : 'f', mine.length, seconds(percentile(mine.map((p) => p.lead), 10)), broken.length,
      seconds(recovered !== null && recovered >= d.at ? recovered - d.at : null), mine.filter((p) => p.mends).length, isRework(mine) ? 't' : 'f'].join('|');
  }),
};
for (const period of ['week', 'month']) {
  const place = (at) => startOf[period](dayOf(at));
  result[period] = [];
  const first = ended.map((d) => place(d.at)).sort()[0];
  for (let start = first; start && start <= dayOf(Date.now()); start = after[period](start)) {
    const here = ended.filter((d) => place(d.at) === start);
    const good = here.filter((d) => d.succeeded !== null);
    const leads = carried.filter((p) => p.at !== null && place(p.at) === start).map((p) => p.lead);
    const broken = incidents.filter((i) => i.at !== null && place(i.at) === start);
    const changes = new Set(broken.map((i) => i.cause)).size;
    result[period].push([start, after[period](start) <= dayOf(Date.now()) ? 't' : 'f', good.length, new Set(good.map((d) => dayOf(d.at))).size, here.length - good.length, changes,
      good.length === 0 ? '' : (changes / good.length).toFixed(4), leads.length, ...[10, 15, 18].map((n) => seconds(percentile(leads, n))),
      seconds(percentile(broken.map((i) => i.recovery).filter((span) => span !== null), 10))].join('|'));
  }
}

// The four keys: day by day back from today, seven to a week.
result.dora = [];
const now = Date.now();
const begun = ended.filter((d) => d.at <= now).map((d) => dayOf(d.at)).sort()[0];
if (begun !== undefined) {
  const today = dayOf(now);
  const recent = new Set();
  for (let back = 0; back < 91; back += 1) recent.add(shift(today, -back));
  const good = ended.filter((d) => d.succeeded !== null && d.at <= now && recent.has(dayOf(d.at)));
  const bad = ended.filter((d) => d.succeeded === null && d.at <= now && recent.has(dayOf(d.at)));
  const busy = new Set(good.map((d) => dayOf(d.at)));
  const perWeek = [];
  for (let week = 0; week < 13; week += 1) {
    const days = [0, 1, 2, 3, 4, 5, 6].map((n) => shift(today, -7 * week - n));
    // The week that the first delivery is in counts only if it was the first day, or there is no other.
    if (week > 0 && days.at(-1) < begun) break;
    perWeek.push(days.filter((day) => busy.has(day)).length);
  }
  const leads = carried.filter((p) => p.at !== null && p.at <= now && recent.has(dayOf(p.at))).map((p) => p.lead);
  const broken = incidents.filter((i) => i.at !== null && i.at <= now && recent.has(dayOf(i.at)));
  const changes = new Set(broken.map((i) => i.cause)).size;
  const rework = good.filter((d) => isRework(carried.filter((p) => p.by === d.id))).length;
  result.dora.push([perWeek.length, good.length, bad.length, changes, percentile(perWeek, 10), seconds(percentile(leads, 10)),
    good.length === 0 ? '' : (changes / good.length).toFixed(4), seconds(percentile(broken.map((i) => i.recovery).filter((span) => span !== null), 10)),
    rework, good.length === 0 ? '' : (rework / good.length).toFixed(4)].join('|'));
}
process.stdout.write(JSON.stringify(result));
