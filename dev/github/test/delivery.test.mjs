import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { startServer } from '../client.mjs';
import { generateHistory } from '../generate.mjs';

const NAME = 'acme/widgets';
let client;
before(async () => { client = await startServer('--generate', `${NAME}:pulls=5,issues=5,seed=2,releases=130,deployments=150`, '--generate', 'acme/idle:pulls=3,issues=3'); });
after(() => client.stop());

const repository = (selection, name = 'widgets') => client.data(`{ repository(owner: "acme", name: "${name}") { ${selection} } }`).then((data) => data.repository);
const newest = 'first: 1, orderBy: {field: CREATED_AT, direction: DESC}';

async function all(connection, selection) {
  const nodes = [];
  for (let after = ''; after !== undefined;) {
    const page = (await repository(`${connection}(first: 100${after}, orderBy: {field: CREATED_AT, direction: DESC}) { totalCount pageInfo { hasNextPage endCursor } nodes { ${selection} } }`))[connection];
    nodes.push(...page.nodes);
    after = page.pageInfo.hasNextPage ? `, after: "${page.pageInfo.endCursor}"` : undefined;
    if (after === undefined) assert.equal(page.totalCount, nodes.length);
  }
  return nodes;
}

test('a history has releases and deployments only when it is asked for some, and is the same otherwise', () => {
  const settings = { nameWithOwner: NAME, pulls: 20, issues: 10, seed: 4 };
  const [without, with_] = [generateHistory(settings), generateHistory({ ...settings, releases: 5, deployments: 6 })];
  assert.deepEqual([without.releases.length, without.deployments.length, with_.releases.length, with_.deployments.length], [0, 0, 5, 6]);
  for (const kind of ['labels', 'milestones', 'issues', 'pullRequests']) assert.ok(JSON.stringify(without[kind]) === JSON.stringify(with_[kind]), kind);
  assert.ok(JSON.stringify(generateHistory({ ...settings, releases: 5, deployments: 6 })) === JSON.stringify(with_));
});

test('every release is told, newest first, with its commit', async () => {
  const told = await all('releases', 'id tagName name url isDraft isPrerelease createdAt publishedAt updatedAt author { __typename login } tagCommit { committedDate }');
  const truth = (await client.truth(NAME)).releases.sort((a, b) => (a.createdAt < b.createdAt ? 1 : -1));
  assert.deepEqual(told.map((release) => release.id), truth.map((release) => release.id));
  told.forEach((release, index) => {
    assert.equal(release.tagCommit?.committedDate, truth[index].tagCommit?.committedDate);
    assert.equal(release.author?.login, truth[index].author?.login);
    assert.equal(release.publishedAt === null, release.isDraft);
    assert.equal(release.url, `https://github.com/${NAME}/releases/tag/${encodeURIComponent(release.tagName)}`);
  });
  for (const kind of ['isDraft', 'isPrerelease']) assert.ok(told.some((release) => release[kind]) && told.some((release) => !release[kind]));
});

test('drafts are shown to those who may write', async () => {
  await client.control('POST', 'user', { token: 'reader', login: 'reader', permissions: { [NAME]: 'READ' } });
  await client.control('POST', 'user', { token: 'writer', login: 'writer', permissions: { [NAME]: 'WRITE' } });
  const count = async (token) => (await client.graphql('{ repository(owner: "acme", name: "widgets") { releases(first: 1) { totalCount } } }', {}, { headers: { authorization: `Bearer ${token}` } })).json.data.repository.releases.totalCount;
  const drafts = (await client.truth(NAME)).releases.filter((release) => release.isDraft).length;
  assert.ok(drafts > 0);
  assert.deepEqual([await count('reader'), await count('writer')], [130 - drafts, 130]);
});

test('every deployment is told with its state and its statuses, the newest first', async () => {
  const told = await all('deployments', 'id environment state ref { name } creator { __typename login } createdAt updatedAt commit { committedDate } statuses(first: 100) { totalCount nodes { state createdAt } } latestStatus { state }');
  const truth = new Map((await client.truth(NAME)).deployments.map((deployment) => [deployment.id, deployment]));
  assert.equal(told.length, truth.size);
  for (const { id, state, statuses, latestStatus, ref } of told) {
    const record = truth.get(id);
    assert.equal(state, record.state);
    assert.equal(ref?.name, record.ref?.name);
    assert.equal(statuses.totalCount, record.statuses.length);
    assert.deepEqual(statuses.nodes.map((status) => status.state), record.statuses.map((status) => status.state).reverse().slice(0, 100));
    assert.equal(latestStatus?.state, record.statuses.at(-1)?.state);
  }
  for (const state of ['ACTIVE', 'INACTIVE', 'FAILURE', 'ERROR', 'PENDING', 'ABANDONED']) assert.ok(told.some((deployment) => deployment.state === state), state);
  assert.ok(told.some((deployment) => deployment.statuses.totalCount > 100));
  // GitHub's own default is the other direction.
  const oldest = (await repository('deployments(first: 1) { nodes { id } }')).deployments.nodes[0].id;
  assert.equal(oldest, told.at(-1).id);
});

test('a success makes what was active in the environment before inactive, and nothing else', async () => {
  const one = await client.change(NAME, 'new_deployment', { environment: 'one', state: 'SUCCESS', at: '2026-10-01T10:00:00Z' });
  const two = await client.change(NAME, 'new_deployment', { environment: 'two', state: 'SUCCESS', at: '2026-10-01T11:00:00Z' });
  const again = await client.change(NAME, 'new_deployment', { environment: 'one', state: 'QUEUED', at: '2026-10-01T12:00:00Z' });
  const states = async () => (await client.data('query($ids: [ID!]!) { nodes(ids: $ids) { ... on Deployment { state updatedAt } } }', { ids: [one.id, two.id, again.id] })).nodes.map((node) => node.state);
  assert.deepEqual(await states(), ['ACTIVE', 'ACTIVE', 'QUEUED']);
  await client.change(NAME, 'deployment_status', { state: 'SUCCESS', at: '2026-10-01T12:10:00Z' });
  assert.deepEqual(await states(), ['INACTIVE', 'ACTIVE', 'ACTIVE']);
  const { deployments } = await repository(`deployments(${newest}) { nodes { id updatedAt statuses(first: 10) { nodes { state createdAt } } } }`);
  assert.deepEqual(deployments.nodes[0], { id: again.id, updatedAt: '2026-10-01T12:10:00Z', statuses: { nodes: [{ state: 'SUCCESS', createdAt: '2026-10-01T12:10:00Z' }, { state: 'QUEUED', createdAt: '2026-10-01T12:00:00Z' }] } });
  await client.change(NAME, 'delete_deployment', { deployment: two.id });
  await assert.rejects(client.change(NAME, 'deployment_status', { deployment: two.id, state: 'FAILURE' }), /a deployment that exists/);
  await assert.rejects(client.data('query($id: ID!) { node(id: $id) { id } }', { id: two.id }), /NOT_FOUND/);
});

test('a release is made, published, edited and deleted', async () => {
  const latest = async () => (await repository('latestRelease { tagName name isDraft updatedAt }')).latestRelease;
  const before = await latest();
  await client.change(NAME, 'new_release', { tag: 'v9', title: 'Nine', draft: true, at: '2026-10-02T10:00:00Z' });
  assert.deepEqual(await latest(), before);
  await client.change(NAME, 'publish_release', { tag: 'v9', at: '2026-10-02T11:00:00Z' });
  assert.deepEqual(await latest(), { tagName: 'v9', name: 'Nine', isDraft: false, updatedAt: '2026-10-02T11:00:00Z' });
  await client.change(NAME, 'edit_release', { tag: 'v9', title: 'Nine!', at: '2026-10-02T12:00:00Z' });
  assert.equal((await repository('release(tagName: "v9") { name publishedAt updatedAt }')).release.name, 'Nine!');
  await client.change(NAME, 'new_release', { tag: 'v10-beta', prerelease: true, at: '2026-10-03T10:00:00Z' });
  assert.equal((await latest()).tagName, 'v9');
  await client.change(NAME, 'delete_release', { tag: 'v9' });
  assert.deepEqual(await latest(), before);
  await assert.rejects(client.change(NAME, 'edit_release', { tag: 'v9' }), /a release that exists/);
  assert.equal((await repository('latestRelease { id }', 'idle')).latestRelease, null);
});

test('what is forbidden is null up to the next field that may be, with the reason', async () => {
  await client.settings({ forbidden: ['Repository.deployments', 'acme/idle:Repository.latestRelease'] });
  const ask = (name, selection) => client.graphql(`{ viewer { login } repository(owner: "acme", name: "${name}") { id ${selection} } }`).then((answer) => answer.json);
  const refused = await ask('widgets', 'deployments(first: 1) { totalCount }');
  assert.equal(refused.data.repository, null);
  assert.equal(refused.data.viewer.login, 'emulated-viewer');
  const [{ type, path, message }] = refused.errors;
  assert.deepEqual([type, path, message], ['FORBIDDEN', ['repository', 'deployments'], 'Resource not accessible by personal access token']);
  assert.equal((await ask('idle', 'latestRelease { id }')).errors[0].type, 'FORBIDDEN');
  assert.ok((await ask('widgets', 'latestRelease { id }')).data.repository.latestRelease.id);
  await client.settings({ forbidden: [] });
  assert.equal((await ask('widgets', 'deployments(first: 1) { totalCount }')).errors, undefined);
});

test('notes, payloads, logs and assets are answered with a marker and recorded', async () => {
  await client.resetCounters();
  const seen = await repository(`releases(first: 1) { nodes { description releaseAssets(first: 1) { nodes { name } } } } deployments(last: 1) { nodes { payload latestStatus { logUrl } } }`);
  assert.match(JSON.stringify(seen.releases), /SECRET BODY LINE/);
  const { violations, body_requests: bodies } = await client.counters();
  assert.deepEqual(violations.map((violation) => violation.field).sort(), ['Deployment.payload', 'DeploymentStatus.logUrl', 'Release.releaseAssets', 'ReleaseAsset.name']);
  assert.equal(bodies, 1);
});

test('an assignment is an event with whom it concerns', async () => {
  const [issue] = (await client.truth(NAME)).issues;
  await client.change(NAME, 'assign', { number: issue.number, assignee: 'newcomer', actor: 'alice' });
  await client.change(NAME, 'unassign', { number: issue.number, assignee: 'newcomer', actor: 'bob' });
  const seen = await repository(`issue(number: ${issue.number}) { timelineItems(last: 2, itemTypes: [ASSIGNED_EVENT, UNASSIGNED_EVENT]) { nodes { __typename ... on AssignedEvent { actor { login } assignee { ... on User { login } } } ... on UnassignedEvent { actor { login } assignee { ... on User { login } } } } } }`);
  const of = (type, login) => ({ __typename: type, actor: { login }, assignee: { login: 'newcomer' } });
  assert.deepEqual(seen.issue.timelineItems.nodes, [of('AssignedEvent', 'alice'), of('UnassignedEvent', 'bob')]);
});
