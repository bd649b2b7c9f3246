import assert from 'node:assert/strict';
import { after, afterEach, before, test } from 'node:test';
import { startServer } from '../client.mjs';

let client;
before(async () => { client = await startServer(); });
afterEach(() => client.settings({ secondary_concurrency: null, secondary_retry_after: 1, latency_ms: 0 }));
after(() => client.stop());

const ask = () => client.graphql('{ viewer { login } }');
const together = (count) => Promise.all(Array.from({ length: count }, ask));
const statuses = (answers) => answers.map((answer) => answer.status).sort();

test('requests beyond the limit are refused while the others are in flight', async () => {
  await client.resetCounters();
  await client.settings({ secondary_concurrency: 2, latency_ms: 1000 });
  const answers = await together(5);
  assert.deepEqual(statuses(answers), [200, 200, 403, 403, 403]);
  const refused = answers.find((answer) => answer.status === 403);
  assert.equal(refused.headers['retry-after'], '1');
  assert.match(refused.json.message, /^You have exceeded a secondary rate limit/);
  const counters = await client.counters();
  assert.equal(counters.secondary_refused, 3);
  assert.ok(counters.max_in_flight >= 3 && counters.max_in_flight <= 5);
  assert.equal(counters.in_flight, 0);
  assert.equal(counters.points, 2);
});

test('one after the other is never refused', async () => {
  await client.settings({ secondary_concurrency: 1 });
  for (let i = 0; i < 5; i += 1) assert.equal((await ask()).status, 200);
});

test('the time to wait can be set, and the limit lifted', async () => {
  await client.settings({ secondary_concurrency: 0, secondary_retry_after: 60 });
  const answer = await ask();
  assert.equal(answer.status, 403);
  assert.equal(answer.headers['retry-after'], '60');
  await client.settings({ secondary_concurrency: null });
  assert.equal((await ask()).status, 200);
});

test('the most requests at once are counted', async () => {
  await client.settings({ latency_ms: 1000 });
  await client.resetCounters();
  assert.deepEqual(statuses(await together(4)), [200, 200, 200, 200]);
  assert.equal((await client.counters()).max_in_flight, 4);
});
