import assert from 'node:assert/strict';
import { readFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { shared, startServer } from '../client.mjs';
import { estimate } from '../cost.mjs';
import { findOperation, readDocument, schema } from '../schema.mjs';
import { getVariableValues } from 'graphql';

const QUERIES = shared('providers/github');
let client;
before(async () => { client = await startServer('--generate', 'acme/widgets:pulls=30,issues=20', '--points', '20'); });
after(() => client.stop());

function costOf(query, variables = {}) {
  const { document, errors } = readDocument(query);
  assert.deepEqual(errors, []);
  const operation = findOperation(document);
  const { coerced, errors: wrong } = getVariableValues(schema, operation.variableDefinitions, variables);
  assert.equal(wrong, undefined);
  return estimate(document, operation, coerced, ['read:org']);
}

test("GitHub's worked example of points: 5,101 requests are 51 points", () => {
  const { requests, points } = costOf(`{ viewer { login repositories(first: 100) { edges { node { id
    issues(first: 50) { edges { node { id labels(first: 60) { edges { node { id name } } } } } } } } } } }`);
  assert.equal(requests, 5101);
  assert.equal(points, 51);
});

test("GitHub's worked example of nodes: 22,060", () => {
  const { nodes } = costOf(`{ viewer { repositories(first: 50) { edges { repository: node { name
    pullRequests(first: 20) { edges { pullRequest: node { title comments(first: 10) { edges { comment: node { bodyHTML } } } } } }
    issues(first: 20) { totalCount edges { issue: node { title bodyHTML comments(first: 10) { edges { comment: node { bodyHTML } } } } } } } } }
    followers(first: 10) { edges { follower: node { login } } } } }`);
  assert.equal(nodes, 22060);
});

test('a field asked for twice is paid for once', () => {
  const once = costOf('{ viewer { repositories(first: 10) { nodes { id } } } }');
  const twice = costOf('{ viewer { repositories(first: 10) { nodes { id } } ...F } } fragment F on User { repositories(first: 10) { nodes { name } } }');
  assert.deepEqual([twice.requests, twice.nodes], [once.requests, once.nodes]);
});

test('points and nodes equal the list of examples', (t) => {
  if (!QUERIES) return t.skip('no ../shared/providers/github beside the checkout');
  const files = readdirSync(QUERIES);
  let compared = 0;
  for (const line of readFileSync(join(QUERIES, 'cost.txt'), 'utf8').split('\n')) {
    const match = /^(\d\d_\w+) +(\{.*?\}?),? +requests=(\d+) points=(\d+) nodes=(\d+)$/.exec(line);
    // Query 50 is newer than this schema.
    if (!match || match[1].startsWith('50_')) continue;
    const query = readFileSync(join(QUERIES, files.find((file) => file === `${match[1]}.graphql`)), 'utf8');
    const switches = match[2].endsWith('}') ? JSON.parse(match[2]) : allSwitches(match[2]);
    const variables = { owner: 'o', name: 'n', login: 'o', id: 'x', repo: 'x', field: 'UPDATED_AT', direction: 'ASC', events: ['CLOSED_EVENT'], ...switches };
    variables.ids = Array.from({ length: switches.ids ?? 1 }, (_, i) => `x${i}`);
    const cost = costOf(query, variables);
    assert.deepEqual({ requests: cost.requests, points: cost.points, nodes: cost.nodes }, { requests: Number(match[3]), points: Number(match[4]), nodes: Number(match[5]) }, line);
    compared += 1;
  }
  assert.ok(compared >= 23, `compared ${compared}`);
});

/** One line of the list is cut short: it switches on every connection. */
const allSwitches = (text) => JSON.parse(`${text.replace(/,[^,]*$/, '')},"timeline":true,"closing":true}`);

test('points are counted, told and run out', async () => {
  const start = await client.graphql('{ rateLimit { limit cost remaining used nodeCount resetAt } }');
  assert.deepEqual({ ...start.json.data.rateLimit, resetAt: 0 }, { limit: 20, cost: 1, remaining: 19, used: 1, nodeCount: 0, resetAt: 0 });
  assert.equal(start.headers['x-ratelimit-remaining'], '19');
  assert.equal(start.headers['x-ratelimit-limit'], '20');
  assert.equal(start.headers['x-ratelimit-resource'], 'graphql');
  assert.ok(Number(start.headers['x-ratelimit-reset']) > Date.now() / 1000 + 3000);
  await client.settings({ points_remaining: 1 });
  assert.equal((await client.graphql('{ viewer { login } }')).json.errors, undefined);
  const exhausted = await client.graphql('{ viewer { login } }');
  assert.equal(exhausted.status, 200);
  assert.equal(exhausted.json.errors[0].type, 'RATE_LIMITED');
  assert.equal(exhausted.headers['x-ratelimit-remaining'], '0');
  assert.equal((await client.counters()).points, 2);
  await client.settings({ reset_in_seconds: 0 });
  assert.equal((await client.graphql('{ viewer { login } }')).headers['x-ratelimit-remaining'], '19');
});
