// The control interface below /_emulator/: what a test reads and changes. It needs no
// token and counts as no request.

import { applyChange } from './change.mjs';
import { readGenerateSpec } from './options.mjs';
import { generateHistory } from './generate.mjs';
import { leaveOut } from './schema.mjs';

class BadRequest extends Error {}

/** {status, body} for one control request. */
export function answerControl(emulator, method, url, text) {
  try {
    const handler = handlers[`${method} ${url.pathname}`];
    if (!handler) return { status: 404, body: { message: `no ${method} ${url.pathname} here` } };
    return { status: 200, body: handler(emulator, url, text === '' ? {} : JSON.parse(text)) };
  } catch (error) {
    if (!(error instanceof BadRequest)) emulator.log(error.stack);
    return { status: 400, body: { message: error.message } };
  }
}

function historyByName(emulator, name) {
  const history = emulator.world.find(name ?? '');
  if (!history) throw new BadRequest(`no repository "${name}"`);
  return history;
}

const handlers = {
  'GET /_emulator/counters': (emulator) => ({
    ...emulator.counters.report(), app_tokens: emulator.apps.issued, secondary_refused: emulator.secondary.refused,
    points_remaining: emulator.budget.remaining, budgets: emulator.tokens.report(), faults: emulator.faults.report(),
  }),
  'POST /_emulator/counters/reset': (emulator) => {
    emulator.counters.reset();
    emulator.apps.issued = 0;
    emulator.secondary.refused = 0;
    return emulator.counters.report();
  },
  'GET /_emulator/repositories': (emulator) => emulator.world.histories.map(({ repository, issues, pullRequests }) => ({
    nameWithOwner: repository.nameWithOwner, id: repository.id, issues: issues.length, pullRequests: pullRequests.length,
  })),
  'GET /_emulator/truth': (emulator, url) => historyByName(emulator, url.searchParams.get('repository')),
  'POST /_emulator/change': (emulator, url, change) => applyChange(emulator.world, historyByName(emulator, change.repository), change),
  'POST /_emulator/repository': (emulator, url, { generate }) => {
    const history = emulator.world.add(generateHistory(readGenerateSpec(generate)));
    return { nameWithOwner: history.repository.nameWithOwner, id: history.repository.id };
  },
  'POST /_emulator/user': (emulator, url, user) => emulator.tokens.setUser(user),
  'POST /_emulator/app': (emulator, url, app) => emulator.apps.setApp(app),
  'POST /_emulator/settings': (emulator, url, settings) => changeSettings(emulator, settings),
};

function changeSettings(emulator, settings) {
  const setters = {
    latency_ms: (value) => { emulator.latency = value; },
    points_limit: (value) => { emulator.budget.limit = value; },
    points_remaining: (value) => emulator.budget.setRemaining(value),
    reset_in_seconds: (value) => { emulator.budget.resetAt = Date.now() + value * 1000; },
    clock_offset_ms: (value) => { emulator.clockOffset = value; },
    scopes: (value) => { emulator.scopes = value; },
    token: (value) => { emulator.token = value; },
    faults: (value) => emulator.faults.set(value),
    secondary_concurrency: (value) => { emulator.secondary.concurrency = value === null ? null : Number(value); },
    secondary_retry_after: (value) => { emulator.secondary.retryAfter = value; },
    without: (value) => {
      leaveOut(value);
      emulator.without = value;
    },
    forbidden: (value) => { emulator.forbidden = new Set(value); },
    server_version: (value) => { emulator.serverVersion = value; },
  };
  for (const [name, value] of Object.entries(settings)) {
    if (!setters[name]) throw new BadRequest(`no setting "${name}"`);
    setters[name](value);
  }
  const { latency, budget, clockOffset, scopes, faults, secondary, without, forbidden, serverVersion } = emulator;
  return {
    latency_ms: latency, points_limit: budget.limit, points_remaining: budget.remaining, clock_offset_ms: clockOffset, scopes, faults: faults.list.length,
    secondary_concurrency: secondary.concurrency, secondary_retry_after: secondary.retryAfter, without, forbidden: [...forbidden], server_version: serverVersion,
  };
}
