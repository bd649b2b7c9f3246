import assert from 'node:assert/strict';
import { after, before, beforeEach, test } from 'node:test';
import { startServer } from '../client.mjs';

let client;
before(async () => { client = await startServer('--generate', 'acme/widgets:pulls=40,issues=20'); });
beforeEach(() => client.resetCounters());
after(() => client.stop());

const inPull = (selection) => `query Peek { repository(owner: "acme", name: "widgets") { pullRequest(number: 4) { ${selection} } pullRequests(first: 40) { nodes { ${selection} } } } }`;

test('each field that carries source is answered with the marker and recorded', async () => {
  const cases = {
    'PullRequestReviewComment.diffHunk': 'reviewThreads(first: 5) { nodes { comments(first: 5) { nodes { diffHunk } } } }',
    'PullRequestReviewComment.path': 'reviewThreads(first: 5) { nodes { comments(first: 5) { nodes { path } } } }',
    'PullRequestReviewThread.path': 'reviewThreads(first: 5) { nodes { path } }',
    'Commit.message': 'commits(first: 1) { nodes { commit { message } } }',
    'Commit.messageHeadline': 'commits(first: 1) { nodes { commit { messageHeadline } } }',
  };
  for (const [field, selection] of Object.entries(cases)) {
    await client.resetCounters();
    const { nodes } = (await client.data(inPull(selection).replace('pullRequest(number: 4)', 'id pullRequest: pullRequests(first: 1)').replace(`{ ${selection} }`, '{ totalCount }'))).repository.pullRequests;
    assert.ok(JSON.stringify(nodes).includes('SECRET SOURCE LINE'), field);
    assert.deepEqual((await client.counters()).violations, [{ query: 'Peek', field }]);
  }
});

test('files, blobs, trees and clone credentials are recorded', async () => {
  const { repository } = await client.data(`query Peek { repository(owner: "acme", name: "widgets") { tempCloneToken
    object(expression: "main:README.md") { ... on Blob { text } } pullRequests(first: 1) { nodes { files(first: 5) { nodes { path } } } } } }`);
  assert.match(JSON.stringify(repository), /"tempCloneToken":"SECRET SOURCE LINE/);
  assert.match(JSON.stringify(repository.object), /SECRET SOURCE LINE/);
  const fields = (await client.counters()).violations.map((violation) => violation.field).sort();
  assert.deepEqual(fields, ['Blob.text', 'PullRequest.files', 'PullRequestChangedFile.path', 'Repository.object', 'Repository.tempCloneToken']);
});

test('a field that is switched off is not asked for', async () => {
  await client.data('query Peek($on: Boolean!) { repository(owner: "acme", name: "widgets") { tempCloneToken @include(if: $on) id } }', { on: false });
  assert.deepEqual((await client.counters()).violations, []);
});

test('bodies are marked and counted, but no violation', async () => {
  const { repository } = await client.data('{ repository(owner: "acme", name: "widgets") { issues(first: 1) { nodes { body bodyText } } } }');
  assert.match(repository.issues.nodes[0].body, /SECRET BODY LINE/);
  const counters = await client.counters();
  assert.equal(counters.body_requests, 1);
  assert.deepEqual(counters.violations, []);
});

test('requests, operations and requests in flight are counted', async () => {
  await client.settings({ latency_ms: 50 });
  await Promise.all([1, 2, 3].map(() => client.data('query Who { viewer { login } }')));
  await client.settings({ latency_ms: 0 });
  const counters = await client.counters();
  assert.equal(counters.requests, 3);
  assert.equal(counters.points, 3);
  assert.deepEqual(counters.by_operation, { Who: { requests: 3, points: 3 } });
  assert.equal(counters.max_in_flight, 3);
  assert.ok(counters.connections >= 3);
});
