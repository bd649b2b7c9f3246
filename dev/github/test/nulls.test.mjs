import assert from 'node:assert/strict';
import { after, afterEach, before, test } from 'node:test';
import { startServer } from '../client.mjs';

let client;
let ids;
before(async () => {
  client = await startServer('--generate', 'acme/widgets:pulls=12,issues=8', '--generate', 'acme/other:pulls=3,issues=3,seed=2');
  ids = (await client.truth('acme/widgets')).pullRequests.slice(0, 6).map((pull) => pull.id);
});
afterEach(() => client.settings({ faults: [] }));
after(() => client.stop());

const QUERY = `query Pulls($ids: [ID!]!) { rateLimit { cost } nodes(ids: $ids) { id ... on PullRequest { number title
  labels(first: 5) { nodes { name } } reviews(first: 5) { nodes { id author { login } } } } } }`;
const ask = () => client.graphql(QUERY, { ids }).then(({ status, json }) => ({ status, ...json }));
const leaveEmpty = (nulls, match = {}) => client.settings({ faults: [{ match: { operation: 'Pulls', ...match }, nulls }] });

test('every second node is null, each with an error entry, and the others are whole', async () => {
  const whole = (await ask()).data.nodes;
  await leaveEmpty([{ path: 'nodes.*', every: 2, type: 'RESOURCE_LIMITS_EXCEEDED' }]);
  const { status, data, errors } = await ask();
  assert.equal(status, 200);
  assert.deepEqual(data.nodes, whole.map((node, i) => (i % 2 ? null : node)));
  assert.deepEqual(errors.map(({ type, path, message }) => ({ type, path, message })), [1, 3, 5].map((i) => (
    { type: 'RESOURCE_LIMITS_EXCEEDED', path: ['nodes', i], message: 'Resource limits for this query exceeded.' })));
  assert.deepEqual((await client.counters()).faults[0].emptied, [3]);
});

test('a list that may be null is null, and no more', async () => {
  await leaveEmpty([{ path: 'nodes.2.reviews', type: 'FORBIDDEN', message: 'No.' }, { path: 'nodes.3.labels', error: false }]);
  const { data, errors } = await ask();
  assert.deepEqual([data.nodes[2].reviews, data.nodes[3].labels], [null, null]);
  assert.deepEqual(errors.map(({ type, path, message }) => ({ type, path, message })), [{ type: 'FORBIDDEN', path: ['nodes', 2, 'reviews'], message: 'No.' }]);
  assert.equal(typeof data.nodes[2].title, 'string');
});

test('what the schema lets nothing be null in takes all with it, up to the next that may be null', async () => {
  await leaveEmpty([{ path: 'nodes.1.title', type: 'FORBIDDEN' }, { path: 'nodes.4.number', error: false }]);
  const { data, errors } = await ask();
  assert.deepEqual([data.nodes[0].id, data.nodes[1], data.nodes[4]], [ids[0], null, null]);
  assert.deepEqual(errors.map(({ type, path }) => [type, path]), [['FORBIDDEN', ['nodes', 1, 'title']], [undefined, ['nodes', 4, 'number']]]);
  assert.equal(errors[1].extensions, undefined);
  await leaveEmpty([{ path: 'nodes' }]);
  const none = await ask();
  assert.deepEqual([none.data, none.errors[0].path], [null, ['nodes']]);
});

test('a place can be that of one item, wherever in the request it is asked for', async () => {
  await leaveEmpty([{ path: 'nodes.*.reviews', item: ids[4] }, { path: 'nodes.*.labels', item: 'nobody' }]);
  const { data } = await ask();
  assert.deepEqual(data.nodes.map((node) => node.reviews === null), [false, false, false, false, true, false]);
  assert.deepEqual((await client.counters()).faults[0].emptied, [1, 0]);
});

test('raw places break the schema, and can hold anything', async () => {
  await leaveEmpty([{ path: 'nodes.0.title', raw: true, error: false, value: { unexpected: 5 } }, { path: 'nodes.1.number', raw: true, type: 'X' }]);
  const { data, errors } = await ask();
  assert.deepEqual([data.nodes[0].title, data.nodes[1].number], [{ unexpected: 5 }, null]);
  assert.equal(data.nodes[1].id, ids[1]);
  assert.deepEqual(errors.map(({ type, path }) => [type, path]), [['X', ['nodes', 1, 'number']]]);
  await client.settings({ faults: [] });
  assert.equal(typeof (await ask()).data.nodes[0].title, 'string');
});

test('only requests about the repository are hit, and only so many', async () => {
  await leaveEmpty([{ path: 'nodes.0' }], { repository: 'acme/other' });
  assert.equal((await ask()).data.nodes[0].id, ids[0]);
  await leaveEmpty([{ path: 'nodes.0' }], { repository: 'acme/widgets', times: 1 });
  assert.equal((await ask()).data.nodes[0], null);
  assert.equal((await ask()).data.nodes[0].id, ids[0]);
});
