import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { request as httpsRequest } from 'node:https';
import { after, afterEach, before, test } from 'node:test';
import { shared, startServer } from '../client.mjs';

const ERRORS = shared('providers/github/fixtures/errors.json');
let client;
before(async () => { client = await startServer('--generate', 'acme/widgets:pulls=40,issues=20'); });
afterEach(() => client.settings({ faults: [], latency_ms: 0, clock_offset_ms: 0 }));
after(() => client.stop());

const ask = (options) => client.graphql('query Who { viewer { login } }', {}, options);

test('every listed error shape can be produced once, and then the real answer comes', async (t) => {
  if (!ERRORS) return t.skip('no ../shared/providers/github/fixtures beside the checkout');
  for (const shape of JSON.parse(readFileSync(ERRORS, 'utf8'))) {
    const { status, headers, body, raw } = shape;
    await client.settings({ faults: [{ match: { operation: 'Who', times: 1 }, status, headers, body, raw, content_type: headers?.['content-type'] }] });
    const answer = await ask();
    assert.equal(answer.status, status, shape.name);
    if (raw) assert.equal(answer.text, raw);
    else assert.deepEqual(answer.json, body, shape.name);
    for (const [name, value] of Object.entries(headers ?? {})) assert.equal(answer.headers[name], value, shape.name);
    assert.equal((await ask()).json.data.viewer.login, 'emulated-viewer');
  }
});

test('a fault comes at the n-th or at every n-th request of its operation only', async () => {
  await client.settings({ faults: [{ match: { operation: 'Who', nth: 2 }, status: 502 }, { match: { operation: 'Who', every: 4, times: 1 }, status: 503 }, { match: { operation: 'Other' }, status: 500 }] });
  const seen = [];
  for (let i = 0; i < 9; i += 1) seen.push((await ask()).status);
  assert.deepEqual(seen, [200, 502, 200, 503, 200, 200, 200, 200, 200]);
  assert.deepEqual((await client.counters()).faults.map((fault) => fault.used), [1, 1, 0]);
});

test('the connection can be dropped before and in the middle of an answer', async () => {
  await client.settings({ faults: [{ match: { times: 1 }, drop: true }, { match: { times: 1 }, drop_after_bytes: 10 }] });
  await assert.rejects(ask());
  await assert.rejects(ask());
  assert.equal((await ask()).status, 200);
});

test('an answer can be delayed, dripped and given other headers', async () => {
  await client.settings({ faults: [{ match: { times: 1 }, delay_ms: 120, drip: { bytes: 10, ms: 10 }, headers: { 'x-github-sso': 'partial-results; organizations=1', date: 'Thu, 01 Jan 2026 00:00:00 GMT' } }] });
  const start = performance.now();
  const answer = await ask();
  assert.ok(performance.now() - start > 150);
  assert.equal(answer.json.data.viewer.login, 'emulated-viewer');
  assert.equal(answer.headers['x-github-sso'], 'partial-results; organizations=1');
  assert.equal(answer.headers.date, 'Thu, 01 Jan 2026 00:00:00 GMT');
});

test('a late answer is as old as its question', async () => {
  const [{ name }] = (await client.truth('acme/widgets')).labels;
  await client.settings({ faults: [{ match: { operation: 'Late', times: 1 }, late: true }] });
  const labels = async (operation) => (await client.graphql(`query ${operation} { repository(owner: "acme", name: "widgets") { labels(first: 1) { nodes { name } } } }`)).json.data.repository.labels.nodes[0].name;
  const late = labels('Late');
  while ((await client.counters()).faults[0].used === 0) await new Promise((resolve) => { setTimeout(resolve, 5); });
  await client.change('acme/widgets', 'rename_label', { label: name, to: 'renamed' });
  assert.equal(await labels('Now'), 'renamed');
  await client.settings({ faults: [] });
  assert.equal(await late, name);
});

test('a bomb is small on the wire and large when unpacked', async () => {
  await client.settings({ faults: [{ match: { times: 1 }, bomb_bytes: 50_000_000 }] });
  const answer = await ask({ headers: { 'accept-encoding': 'gzip' } });
  assert.equal(answer.headers['content-encoding'], 'gzip');
  assert.ok(Number(answer.headers['content-length']) < 100_000);
  assert.equal(answer.bytes.length, 50_000_000);
});

test('a body can be any bytes, and can have no end', async () => {
  await client.settings({ faults: [{ match: { times: 1 }, body_base64: Buffer.from([0x22, 0xff, 0x00, 0x22]).toString('base64') }, { match: { times: 1 }, endless: true }] });
  assert.deepEqual([...(await ask()).bytes], [0x22, 0xff, 0x00, 0x22]);
  const received = await new Promise((resolve, reject) => {
    const request = httpsRequest(`${client.url}/graphql`, { method: 'POST', ca: client.ca, agent: false }, (response) => {
      let size = 0;
      response.on('data', (piece) => {
        size += piece.length;
        if (size > 3_000_000) {
          response.destroy();
          resolve(size);
        }
      });
    });
    request.on('error', reject);
    request.end('{}');
  });
  assert.ok(received > 3_000_000);
  assert.equal((await ask()).status, 200);
});

test('the clock of the Date header can be wrong', async () => {
  await client.settings({ clock_offset_ms: -600_000 });
  const { headers } = await ask();
  assert.ok(Math.abs(Date.parse(headers.date) - (Date.now() - 600_000)) < 60_000);
});

test('gzip is used when the client accepts it, and only then', async () => {
  const query = '{ repository(owner: "acme", name: "widgets") { issues(first: 20) { nodes { id title } } } }';
  assert.equal((await client.graphql(query)).headers['content-encoding'], undefined);
  const packed = await client.graphql(query, {}, { headers: { 'accept-encoding': 'gzip, deflate' } });
  assert.equal(packed.headers['content-encoding'], 'gzip');
  assert.equal(packed.json.data.repository.issues.nodes.length, 20);
});

test('an unknown setting is refused', async () => {
  await assert.rejects(client.settings({ gravity: 0 }), /no setting/);
});
