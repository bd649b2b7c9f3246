// The control interface below /_emulator/: what a test reads and changes. It needs no
// token and counts as no request.

import { applyChange } from './change.mjs';
import { readGenerateSpec } from './options.mjs';
import { generateHistory } from './generate.mjs';

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
  'GET /_emulator/counters': (emulator) => ({ ...emulator.counters.report(), points_remaining: emulator.budget.remaining, faults: emulator.faults.report() }),
  'POST /_emulator/counters/reset': (emulator) => {
    emulator.counters.reset();
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
  };
  for (const [name, value] of Object.entries(settings)) {
    if (!setters[name]) throw new BadRequest(`no setting "${name}"`);
    setters[name](value);
  }
  return { latency_ms: emulator.latency, points_limit: emulator.budget.limit, points_remaining: emulator.budget.remaining, clock_offset_ms: emulator.clockOffset, scopes: emulator.scopes, faults: emulator.faults.list.length };
}
