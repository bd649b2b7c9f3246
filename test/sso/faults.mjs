// What a test may set to make the provider misbehave, and the answers that come of it.

import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { setTimeout as wait } from 'node:timers/promises';
import { send, sendJson } from './answer.mjs';
import { PATHS } from './configuration.mjs';

const CHUNK = '{"kty":"RSA","kid":"another","n":"AQAB","e":"AQAB"},'.repeat(300);
const JSON_TYPE = { 'content-type': 'application/json' };

export const initialSettings = () => ({
  down: false,
  delay_ms: 0,
  discovery: null,
  key_set: null,
  key_set_raw: null,
  key_set_status: null,
  key_set_location: null,
  // true or "key_set": the key set's body does not end; "discovery": the discovery document's.
  endless: false,
});

/** Answer true if this request has been answered here, not to reach the provider. */
export async function answerFault({ settings, counters }, response, path) {
  const what = { [PATHS.discovery]: 'discovery', [PATHS.jwks]: 'key_set' }[path];
  if (what) counters[what] += 1;
  if (settings.delay_ms > 0) await wait(settings.delay_ms);
  if (settings.down) sendJson(response, 503, { error: 'down' });
  else if (what && isEndless(settings, what)) await sendEndlessly(response);
  else if (what === 'discovery' && settings.discovery !== null) sendJson(response, 200, settings.discovery);
  else if (what === 'key_set' && replacesKeySet(settings)) sendKeySet(settings, response);
  else return false;
  return true;
}

function isEndless({ endless }, what) {
  return endless === what || (endless === true && what === 'key_set');
}

function replacesKeySet(settings) {
  return settings.key_set !== null || settings.key_set_raw !== null || settings.key_set_status !== null;
}

function sendKeySet(settings, response) {
  const location = settings.key_set_location === null ? {} : { location: settings.key_set_location };
  const body = settings.key_set_raw ?? (settings.key_set === null ? '' : JSON.stringify(settings.key_set));
  send(response, settings.key_set_status ?? 200, { ...JSON_TYPE, ...location }, body);
}

function* endlessBody() {
  yield '{"keys":[';
  for (;;) yield CHUNK;
}

async function sendEndlessly(response) {
  response.writeHead(200, JSON_TYPE);
  // It ends when the client has had enough, which is no error of ours.
  await pipeline(Readable.from(endlessBody()), response).catch(() => {});
}
