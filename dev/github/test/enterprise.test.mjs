import assert from 'node:assert/strict';
import { after, afterEach, before, test } from 'node:test';
import { startServer } from '../client.mjs';

const LACKS = ['PullRequest.isInMergeQueue', 'Repository.isFork', 'AddedToMergeQueueEvent', 'PullRequestTimelineItemsItemType.ADDED_TO_MERGE_QUEUE_EVENT'];
let client;
before(async () => {
  client = await startServer('--generate', 'acme/widgets:pulls=40,issues=5', '--token', 'the-token', '--without', LACKS.join(','), '--server-version', '3.9.1');
});
afterEach(() => client.settings({ without: LACKS }));
after(() => client.stop());

const REPOSITORY = 'repository(owner: "acme", name: "widgets")';
const TIMELINE = 'query T($types: [PullRequestTimelineItemsItemType!]) { REPOSITORY { pullRequests(first: 40) { nodes { timelineItems(first: 100, itemTypes: $types) { nodes { __typename } } } } } }'.replace('REPOSITORY', REPOSITORY);
const ask = (query, variables) => client.graphql(query, variables, { path: '/api/graphql' });

test('a field that an older server lacks is refused as one that never was', async () => {
  const { status, json } = await ask(`query Q { ${REPOSITORY} { id isFork pullRequests(first: 1) { nodes { isInMergeQueue } } } }`);
  assert.equal(status, 200);
  assert.deepEqual(json, {
    errors: [
      { path: ['query Q', 'repository', 'isFork'], extensions: { code: 'undefinedField', typeName: 'Repository', fieldName: 'isFork' }, locations: [{ line: 1, column: 59 }], message: "Field 'isFork' doesn't exist on type 'Repository'" },
      { path: ['query Q', 'repository', 'pullRequests', 'nodes', 'isInMergeQueue'], extensions: { code: 'undefinedField', typeName: 'PullRequest', fieldName: 'isInMergeQueue' }, locations: [{ line: 1, column: 99 }], message: "Field 'isInMergeQueue' doesn't exist on type 'PullRequest'" },
    ],
  });
});

test('so is an argument; without it duplicates are issues that are not planned', async () => {
  await client.change('acme/widgets', 'close', { number: (await client.truth('acme/widgets')).issues[0].number, state_reason: 'DUPLICATE' });
  const reasons = async (argument) => (await ask(`{ ${REPOSITORY} { issues(first: 1) { nodes { stateReason${argument} } } } }`)).json;
  assert.equal((await reasons('(enableDuplicate: true)')).data.repository.issues.nodes[0].stateReason, 'DUPLICATE');
  assert.equal((await reasons('')).data.repository.issues.nodes[0].stateReason, 'NOT_PLANNED');
  await client.settings({ without: ['Issue.stateReason(enableDuplicate)'] });
  assert.deepEqual((await reasons('(enableDuplicate: true)')).errors[0].extensions, { code: 'argumentNotAccepted', name: 'stateReason', typeName: 'Field', argumentName: 'enableDuplicate' });
  assert.equal((await reasons('')).data.repository.issues.nodes[0].stateReason, 'NOT_PLANNED');
});

test('the rest is answered', async () => {
  assert.equal((await ask(`{ ${REPOSITORY} { id pullRequests(first: 1) { nodes { isDraft } } } }`)).json.errors, undefined);
});

test('a type that is gone is gone from fragments, values and timelines', async () => {
  const fragment = await ask('query($id: ID!) { node(id: $id) { ... on AddedToMergeQueueEvent { id } } }', { id: 'x' });
  assert.equal(fragment.json.errors[0].extensions.code, 'undefinedType');
  assert.match((await ask(TIMELINE, { types: ['ADDED_TO_MERGE_QUEUE_EVENT'] })).json.errors[0].message, /\$types/);
  const kinds = async () => {
    const { json } = await ask(TIMELINE);
    assert.equal(json.errors, undefined);
    return new Set(json.data.repository.pullRequests.nodes.flatMap((pull) => pull.timelineItems.nodes.map((node) => node.__typename)));
  };
  assert.ok(!(await kinds()).has('AddedToMergeQueueEvent'));
  await client.settings({ without: [] });
  assert.ok((await kinds()).has('AddedToMergeQueueEvent'));
  const { json } = await ask(`{ ${REPOSITORY} { isFork } }`);
  assert.equal(json.data.repository.isFork, false);
});

test('an event of a kind that is gone is not found by its id', async () => {
  const { pullRequests } = await client.truth('acme/widgets');
  const event = pullRequests.flatMap((pull) => pull.events).find((each) => each.__typename === 'AddedToMergeQueueEvent');
  const { json } = await ask('query($id: ID!) { node(id: $id) { id } }', { id: event.id });
  assert.deepEqual([json.data, json.errors[0].type], [{ node: null }, 'NOT_FOUND']);
});

test('a name that the schema does not have is refused', async () => {
  await assert.rejects(client.settings({ without: ['PullRequest.colour'] }), /no PullRequest.colour/);
  await assert.rejects(startServer('--without', 'NoSuchType'), /no NoSuchType/);
});

test('the version is told', async () => {
  await client.resetCounters();
  const meta = (headers) => client.http('GET', '/api/v3/meta', { headers: { 'user-agent': 'test', ...headers } });
  const { status, headers, json } = await meta({ authorization: 'Bearer the-token' });
  assert.equal(status, 200);
  assert.equal(json.installed_version, '3.9.1');
  assert.equal(headers['x-github-enterprise-version'], '3.9.1');
  assert.equal((await meta({})).status, 200);
  assert.equal((await meta({ authorization: 'Bearer wrong' })).status, 401);
  assert.deepEqual((await client.counters()).unlisted, []);
});

test('github.com has no such path', async () => {
  await client.settings({ server_version: '' });
  assert.equal((await client.http('GET', '/api/v3/meta', { headers: { 'user-agent': 'test', authorization: 'Bearer the-token' } })).status, 404);
});
