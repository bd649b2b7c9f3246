// A receiver of audit logs: OTLP/HTTP at /NAME/v1/logs, Google Cloud Logging at /NAME/v2/entries:write, and access tokens for it at /NAME/token.
//   node receiver.mjs --dir FOLDER [--unchecked]
// It prints {"port", "url", "ca_file", "control"}. Each request is held against the published schema; what does not fit is answered 400
// and kept in wrong. POST control/set {NAME: {fault, every, header, public_key, lives, most}}: every k-th request of NAME meets the fault:
// 429, bare (429 without Retry-After), 503, 400, 401, redirect, html, json (of somebody else), half (of a reply), empty, partial, many (more rejected than
// there were), reset (before it is read), drop (when its records are stored), hang. POST control/clear: all
// records are forgotten. GET control/state: {NAME: {requests, records, tokens, largest}, wrong}; GET control/records?NAME: [[account, sequence, id], …].

import { createServer as createHttpServer } from 'node:http';
import { createServer } from 'node:https';
import { createVerify, randomBytes } from 'node:crypto';
import { localCertificate } from '../../dev/github/certificate.mjs';
import { misfits } from './schema.mjs';

const option = (name) => (process.argv.includes(name) ? process.argv[process.argv.indexOf(name) + 1] : undefined);
const unchecked = process.argv.includes('--unchecked');
const sinks = {};
const wrong = [];
const sinkOf = (name) => (sinks[name] ??= { settings: {}, requests: 0, records: [], tokens: new Map(), largest: 0, bytes: 0 });
const decode = (part) => JSON.parse(Buffer.from(part, 'base64url').toString());

/** The records of a request, [account, sequence, id] each, after it was found to be as it should be. */
function readOtlp(body) {
  const bad = misfits('otlp.ExportLogsServiceRequest', body);
  if (bad.length > 0) throw new Error(bad.slice(0, 3).join('; '));
  return body.resourceLogs.flatMap((resource) => {
    const of = Object.fromEntries(resource.resource.attributes.map(({ key, value }) => [key, value.stringValue]));
    return resource.scopeLogs.flatMap((scope) => scope.logRecords.map((record) => {
      const has = Object.fromEntries(record.attributes.map(({ key, value }) => [key, value]));
      if (Object.keys(has).length !== record.attributes.length) throw new Error('an attribute is there twice');
      if (record.severityNumber !== (has['keypup.audit.outcome'].stringValue === 'done' ? 9 : 13)) throw new Error('severity');
      return [of['keypup.account.id'], Number(has['keypup.audit.sequence'].intValue), has['log.record.uid'].stringValue, has['keypup.audit.action'].stringValue];
    }));
  });
}

function readGoogle(body) {
  const bad = misfits('google.WriteLogEntriesRequest', body);
  if (bad.length > 0) throw new Error(bad.slice(0, 3).join('; '));
  if (!/^projects\/[a-z0-9-]+\/logs\/[A-Za-z0-9._-]+$/.test(body.logName) || body.entries.length > 1000) throw new Error('logName, or too many');
  return body.entries.map(({ insertId, jsonPayload }) => {
    if (!/^[\w-]{1,512}$/.test(insertId)) throw new Error('insertId');
    return [jsonPayload.account_id, jsonPayload.sequence, insertId, jsonPayload.action];
  });
}

/** An access token for an assertion (RFC 7523), or the error that Google gives. */
function exchange(sink, text, url) {
  const form = new URLSearchParams(text);
  const [header, claims, signature] = (form.get('assertion') ?? '').split('.');
  const said = decode(claims);
  const now = Date.now() / 1000;
  if (form.get('grant_type') !== 'urn:ietf:params:oauth:grant-type:jwt-bearer' || decode(header).alg !== 'RS256'
    || said.aud !== url || said.scope !== 'https://www.googleapis.com/auth/logging.write' || Math.abs(said.iat - now) > 60 || said.exp - said.iat > 3600
    || !createVerify('RSA-SHA256').update(`${header}.${claims}`).verify(sink.settings.public_key, signature, 'base64url')) return [400, { error: 'invalid_grant' }];
  const token = `ya29.${randomBytes(24).toString('base64url')}`;
  const lives = sink.settings.lives ?? 3600;
  sink.tokens.set(token, now + lives);
  return [200, { access_token: token, expires_in: lives, token_type: 'Bearer' }];
}

const FAULTS = {
  429: [429, { error: { code: 429, status: 'RESOURCE_EXHAUSTED' } }, { 'Retry-After': '1' }],
  bare: [429, {}],
  json: [200, { message: 'please sign in' }],
  503: [503, {}, { 'Retry-After': '1' }],
  400: [400, { error: { code: 400, status: 'INVALID_ARGUMENT', message: 'ECHO' } }],
  401: [401, {}],
  redirect: [302, {}, { Location: 'https://elsewhere.example/' }],
};

function answer(sink, path, request, text, socket) {
  const { fault, every = 1, header, most } = sink.settings;
  const meets = fault && sink.requests % every === 0;
  if (path === '/token') return exchange(sink, text, `https://${request.headers.host}${request.url}`);
  if (meets && FAULTS[fault]) return FAULTS[fault];
  if (meets && fault === 'html') return [200, '<html>Welcome</html>', { 'Content-Type': 'text/html' }];
  const google = path === '/v2/entries:write';
  const bearer = /^Bearer (.*)$/.exec(request.headers.authorization ?? '')?.[1];
  if (google && !(sink.tokens.get(bearer) > Date.now() / 1000)) return [401, { error: { code: 401, status: 'UNAUTHENTICATED' } }];
  if (!google && header && request.headers[header[0]] !== header[1]) return [401, {}];
  const body = JSON.parse(text);
  if (unchecked) return [200, {}];
  let records = (google ? readGoogle : readOtlp)(body);
  if (most && records.length > most) return [413, {}];
  sink.largest = Math.max(sink.largest, records.length);
  sink.bytes = Math.max(sink.bytes, text.length);
  const partial = meets && fault === 'partial';
  if (partial) records = records.slice(1);
  sink.records.push(...records);
  if (meets && fault === 'drop') { socket.destroy(); return undefined; }
  if (meets && fault === 'half') return [200, '{"partialSuccess":', { 'Content-Length': 100 }];
  if (meets && fault === 'empty') return [200, ''];
  if (meets && fault === 'many') return [200, { partialSuccess: { rejectedLogRecords: '12345678901234567890' } }];
  if (partial && google) return [400, { error: { code: 400, status: 'INVALID_ARGUMENT', details: [{ '@type': 'type.googleapis.com/google.logging.v2.WriteLogEntriesPartialErrors', logEntryErrors: { 0: { code: 3 } } }] } }];
  return [200, google ? {} : { partialSuccess: partial ? { rejectedLogRecords: '1', errorMessage: 'one is too old' } : {} }];
}

const { cert, key, caFile } = localCertificate(option('--dir'));
const server = createServer({ cert, key }, async (request, response) => {
  const [, name, path] = /^\/([a-z]+)(\/.*)$/.exec(request.url) ?? [];
  if (!name || request.method !== 'POST') { response.writeHead(404).end(); return; }
  const sink = sinkOf(name);
  sink.requests += 1;
  const { fault, every = 1 } = sink.settings;
  if (fault === 'hang') return;
  if (fault === 'reset' && sink.requests % every === 0) { request.socket.destroy(); return; }
  let text = '';
  try {
    request.setEncoding('utf8');
    for await (const piece of request) text += piece;
    const given = answer(sink, path, request, text, request.socket);
    if (!given) return;
    const [status, body, headers] = given;
    response.writeHead(status, { 'Content-Type': 'application/json', ...headers });
    if (headers?.['Content-Length']) response.write(body, () => request.socket.destroy());
    else response.end(typeof body === 'string' ? body : JSON.stringify(body));
  } catch (error) {
    if (request.errored || request.aborted) return;
    wrong.push(`${request.url}: ${error.message}`);
    response.writeHead(400, { 'Content-Type': 'application/json' }).end('{}');
  }
});
server.on('tlsClientError', () => {});
const control = createHttpServer(async (request, response) => {
  let text = '';
  for await (const piece of request) text += piece;
  const url = new URL(request.url, 'http://x');
  let reply = {};
  if (url.pathname === '/set') for (const [name, settings] of Object.entries(JSON.parse(text))) sinkOf(name).settings = settings;
  if (url.pathname === '/clear') for (const sink of Object.values(sinks)) Object.assign(sink, { requests: 0, records: [], largest: 0 });
  if (url.pathname === '/state') reply = { ...Object.fromEntries(Object.entries(sinks).map(([name, { requests, records, tokens, largest, bytes }]) => [name, { requests, records: records.length, tokens: tokens.size, largest, bytes }])), wrong };
  if (url.pathname === '/records') reply = sinkOf(url.search.slice(1)).records;
  response.end(JSON.stringify(reply));
});
server.listen(0, '127.0.0.1', () => control.listen(0, '127.0.0.1', () => {
  const { port } = server.address();
  process.stdout.write(`${JSON.stringify({ port, url: `https://localhost:${port}`, ca_file: caFile, control: `http://127.0.0.1:${control.address().port}` })}\n`);
}));
