#!/usr/bin/env node
// An emulated GitHub: one TLS port that answers GraphQL like GitHub does, for tests and
// demonstrations. See README.md. This file: start, routes, tokens, end.

import { readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { createSecureServer } from 'node:http2';
import { Apps } from './apps.mjs';
import { Budget, Counters } from './budget.mjs';
import { localCertificate } from './certificate.mjs';
import { answerControl } from './control.mjs';
import { Faults, faultAnswer, replacesAnswer } from './faults.mjs';
import { generateHistory } from './generate.mjs';
import { answerGraphql, operationNameOf } from './graphql.mjs';
import { loadHistory } from './history.mjs';
import { Nulls } from './nulls.mjs';
import { USAGE, readOptions } from './options.mjs';
import { answerRest } from './rest.mjs';
import { leaveOut } from './schema.mjs';
import { SecondaryLimit } from './secondary.mjs';
import { Tokens } from './tokens.mjs';
import { drop, readBody, sendBytes, sendJson } from './transport.mjs';
import { World } from './world.mjs';

const GRAPHQL_PATHS = new Set(['/graphql', '/api/graphql']);
const DOCUMENTATION = 'https://docs.github.com/graphql';
const wait = (ms) => new Promise((resolve) => { setTimeout(resolve, ms); });

function makeEmulator(options) {
  const world = new World({ viewerLogin: options.viewer });
  for (const file of options.data) world.add(loadHistory(file));
  for (const settings of options.generate) world.add(generateHistory(settings));
  if (options.without.length > 0) leaveOut(options.without);
  const emulator = {
    world, budget: new Budget(options.points), counters: new Counters(), faults: new Faults(), secondary: new SecondaryLimit(),
    token: options.token, scopes: options.scopes, latency: options.latency, clockOffset: 0,
    without: options.without, forbidden: new Set(options.forbidden), serverVersion: options.serverVersion,
    log: (line) => { if (options.verbose) process.stderr.write(`${line}\n`); },
    now: () => Date.now() + emulator.clockOffset,
  };
  emulator.tokens = new Tokens(emulator, options.points);
  emulator.apps = new Apps(emulator);
  return emulator;
}

async function handle(emulator, request, response) {
  const url = new URL(request.url, 'https://localhost');
  if (url.pathname.startsWith('/_emulator/')) return handleControl(emulator, request, response);
  emulator.counters.countRequest(request);
  emulator.counters.enter();
  const admitted = emulator.secondary.enter();
  try {
    return await (admitted ? answerClient(emulator, request, response, url) : refuseClient(emulator, request, response));
  } finally {
    emulator.counters.leave();
    if (admitted) emulator.secondary.leave();
  }
}

async function handleControl(emulator, request, response) {
  const url = new URL(request.url, 'http://localhost');
  const { status, body } = answerControl(emulator, request.method, url, await readBody(request));
  return sendJson(request, response, status, {}, body);
}

async function refuseClient(emulator, request, response) {
  await readBody(request);
  const { status, headers, body } = emulator.secondary.answer();
  return sendJson(request, response, status, { ...headersOf(emulator, request), ...headers }, body);
}

/** Waits for the latency; a change of it holds for what waits already. */
async function waitAsSet(emulator) {
  const begun = performance.now();
  for (let waited = 0; waited < emulator.latency; waited = performance.now() - begun) await wait(Math.min(50, emulator.latency - waited));
}

async function answerClient(emulator, request, response, url) {
  const text = await readBody(request);
  const query = readJson(text);
  const isGraphql = request.method === 'POST' && GRAPHQL_PATHS.has(url.pathname);
  const operation = isGraphql ? operationNameOf(query) : undefined;
  const { setAnew } = emulator.faults;
  const fault = emulator.faults.take({ operation, path: url.pathname, repository: (name) => asksAbout(emulator.world, name, query?.variables) });
  await waitAsSet(emulator);
  if (fault) {
    emulator.counters.faulted += 1;
    if (fault.delay_ms) await wait(fault.delay_ms);
    if (replacesAnswer(fault)) return sendFault(emulator, request, response, fault, operation);
  }
  const nulls = new Nulls(fault?.nulls, query?.variables);
  const { status, body, headers } = await clientAnswer(emulator, request, url, { isGraphql, query, text, nulls });
  if (fault) fault.emptied = nulls.emptied.map((count, i) => count + (fault.emptied[i] ?? 0));
  if (fault?.late) await setAnew;
  emulator.log(`${request.method} ${url.pathname} ${operation ?? ''} ${status}`);
  return sendJson(request, response, status, { ...headersOf(emulator, request), ...headers }, body, fault);
}

async function sendFault(emulator, request, response, fault, operation) {
  emulator.log(`fault for ${operation ?? request.url}`);
  if (fault.drop) return drop(request);
  const { status, headers, bytes } = await faultAnswer(fault);
  return sendBytes(request, response, status, { ...headersOf(emulator, request), ...headers, ...(fault.headers ?? {}) }, bytes, fault);
}

async function clientAnswer(emulator, request, url, { isGraphql, query, text, nulls }) {
  if (!request.headers['user-agent']) {
    return { status: 403, body: { message: 'Request forbidden by administrative rules. Please make sure your request has a User-Agent header (https://docs.github.com/en/rest/overview/resources-in-the-rest-api#user-agent-required).' } };
  }
  const rest = answerRest(emulator, request, url, text);
  if (rest) {
    if (rest.status === 401) emulator.counters.unauthorized += 1;
    return rest;
  }
  const access = emulator.tokens.find(request.headers.authorization);
  if (!access) {
    emulator.counters.unauthorized += 1;
    return { status: 401, body: { message: 'Bad credentials', documentation_url: DOCUMENTATION, status: '401' } };
  }
  if (!isGraphql) {
    emulator.counters.unlisted.push(`${request.method} ${url.pathname}`);
    return { status: 404, body: { message: 'Not Found', documentation_url: 'https://docs.github.com/rest', status: '404' } };
  }
  if (query === undefined) return { status: 400, body: { message: 'Problems parsing JSON', documentation_url: DOCUMENTATION } };
  return answerGraphql(emulator, query, access, nulls);
}

/** Whether the variables of a request name the repository, or a thing of it. */
function asksAbout(world, name, variables = {}) {
  const history = world.find(name);
  const named = [`${variables?.owner}/${variables?.name}`, ...Object.values(variables ?? {}).flat()];
  return Boolean(history) && named.some((each) => typeof each === 'string' && (world.historyOfId.get(each) ?? world.find(each)) === history);
}

function readJson(text) {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

function headersOf(emulator, request) {
  const access = emulator.tokens.find(request.headers.authorization);
  return {
    ...(access?.budget ?? emulator.budget).headers(),
    date: new Date(emulator.now()).toUTCString(),
    ...(access?.scopes ? { 'x-oauth-scopes': access.scopes.join(', ') } : {}),
    ...(emulator.serverVersion ? { 'x-github-enterprise-version': emulator.serverVersion } : {}),
    'x-accepted-oauth-scopes': 'repo',
    'x-github-media-type': 'github.v4; format=json',
    server: 'github.com',
  };
}

async function start() {
  const options = readOptions(process.argv.slice(2));
  if (options.help) return process.stdout.write(`${USAGE}\n`);
  const certificate = options.cert
    ? { cert: readFileSync(options.cert), key: readFileSync(options.key), caFile: options.ca }
    : localCertificate(options.dir);
  const emulator = makeEmulator(options);
  const server = createSecureServer({ allowHTTP1: true, cert: certificate.cert, key: certificate.key }, (request, response) => {
    handle(emulator, request, response).catch((error) => {
      // A client that went away is no failure of ours.
      emulator.log(error.stack);
      drop(request);
    });
  });
  server.on('secureConnection', () => { emulator.counters.connections += 1; });
  server.on('sessionError', (error) => emulator.log(error.message));
  // Without TLS, for tests that ask often.
  const control = createServer({ keepAliveTimeout: 0 }, (request, response) => { handleControl(emulator, request, response); });
  control.listen(0, '127.0.0.1', () => server.listen(options.port, options.host, () => {
    const started = {
      url: `https://localhost:${server.address().port}`, ca_file: certificate.caFile, token: options.token,
      control: `http://127.0.0.1:${control.address().port}/_emulator`,
    };
    process.stdout.write(`${JSON.stringify(started)}\n`);
  }));
  for (const signal of ['SIGTERM', 'SIGINT']) process.on(signal, () => process.exit(0));
}

start().catch((error) => {
  process.stderr.write(`${error.message}\n`);
  process.exit(1);
});
