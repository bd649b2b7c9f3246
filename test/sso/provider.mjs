#!/usr/bin/env node
// provider.mjs --dir DIR: a real OpenID Connect provider on a free TLS port of 127.0.0.1, with a
// throwaway certificate authority below DIR. Prints {issuer, ca_file, control} as one line of JSON
// when ready and runs until SIGTERM or SIGINT. Below {control}, see control.mjs, a test gets ID
// tokens and makes the provider misbehave. This file: start, routes, end.

import { randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { createServer } from 'node:https';
import { parseArgs } from 'node:util';
import { localCertificate } from '../../dev/github/certificate.mjs';
import { sendJson } from './answer.mjs';
import { answerControl, CONTROL_PATH } from './control.mjs';
import { answerFault, initialSettings } from './faults.mjs';
import { TestProvider } from './instance.mjs';
import { SIGN_IN_HEADER } from './sign_in.mjs';

// The library writes notices with console.info; standard output is for our one line alone.
console.info = console.error;

const { dir } = parseArgs({ options: { dir: { type: 'string' } } }).values;
if (!dir) {
  console.error('usage: provider.mjs --dir DIR');
  process.exit(2);
}

const { cert, key, caFile } = localCertificate(dir);
const state = {
  authority: readFileSync(caFile),
  settings: initialSettings(),
  counters: { discovery: 0, key_set: 0 },
  // Only the sign-in of this process knows it: see answerAnyone.
  secret: randomBytes(16).toString('hex'),
};

const server = createServer({ cert, key }, (request, response) => {
  handle(request, response).catch((error) => {
    console.error(error);
    if (response.headersSent) response.destroy();
    else sendJson(response, 500, { error: error.message });
  });
});
server.listen(0, '127.0.0.1', start);

async function start() {
  state.port = server.address().port;
  state.issuer = `https://localhost:${state.port}`;
  state.provider = new TestProvider(state.issuer);
  await state.provider.rotate();
  console.log(JSON.stringify({ issuer: state.issuer, ca_file: caFile, control: state.issuer + CONTROL_PATH }));
}

async function handle(request, response) {
  const url = new URL(request.url, state.issuer);
  if (url.pathname.startsWith(`${CONTROL_PATH}/`)) return answerControl(state, request, response, url);
  return answerAnyone(request, response, url);
}

async function answerAnyone(request, response, url) {
  // A test gets tokens also while the provider is down or slow for everybody else.
  const isSignIn = request.headers[SIGN_IN_HEADER] === state.secret;
  if (!isSignIn && await answerFault(state, response, url.pathname)) return;
  await state.provider.answer(request, response, url);
}

function stop() {
  server.close(() => process.exit(0));
  server.closeAllConnections();
}
process.on('SIGTERM', stop);
process.on('SIGINT', stop);
