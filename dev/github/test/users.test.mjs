import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { startServer } from '../client.mjs';

let client;
let secret;
before(async () => {
  client = await startServer('--generate', 'acme/open:pulls=10,issues=10', '--generate', 'acme/secret:pulls=10,issues=10,private=1', '--generate', 'bolt/hidden:pulls=3,issues=3,private=1', '--token', 'the-token');
  secret = await client.truth('acme/secret');
});
after(() => client.stop());

const setUser = (user) => client.control('POST', 'user', user);
const as = (token, query, variables) => client.graphql(query, variables, { headers: { authorization: `Bearer ${token}` } });
const permissions = '{ open: repository(owner: "acme", name: "open") { viewerPermission } secret: repository(owner: "acme", name: "secret") { viewerPermission } }';

test('a user is the viewer of its token, with one id for one login', async () => {
  const made = await setUser({ token: 'ada-token', login: 'ada' });
  assert.match(made.id, /^U_kw/);
  const query = 'query($id: ID!) { viewer { __typename id login isViewer } node(id: $id) { ... on User { login } } user(login: "ADA") { id } }';
  const { json } = await as('ada-token', query, { id: made.id });
  assert.deepEqual(json.data, { viewer: { __typename: 'User', id: made.id, login: 'ada', isViewer: true }, node: { login: 'ada' }, user: { id: made.id } });
  assert.equal((await setUser({ token: 'another', login: 'ada' })).id, made.id);
  assert.equal((await client.data('{ viewer { login } }')).viewer.login, 'emulated-viewer');
});

test('a user that a history knows is that one', async () => {
  const { id } = await setUser({ token: 'alice-token', login: 'alice' });
  assert.equal(id, secret.actors.alice.id);
});

test('a user has the permissions it was given', async () => {
  await setUser({ token: 'bob-token', login: 'bob', permissions: { 'acme/secret': 'TRIAGE' } });
  assert.deepEqual((await as('bob-token', permissions)).json, { data: { open: { viewerPermission: 'READ' }, secret: { viewerPermission: 'TRIAGE' } } });
  assert.deepEqual((await client.graphql(permissions)).json, { data: { open: { viewerPermission: 'ADMIN' }, secret: { viewerPermission: 'ADMIN' } } });
  const { json } = await as('bob-token', '{ viewer { repositories(first: 9) { nodes { nameWithOwner } } } organization(login: "acme") { repositories(first: 9) { totalCount } } }');
  assert.deepEqual(json.data, { viewer: { repositories: { nodes: [{ nameWithOwner: 'acme/secret' }] } }, organization: { repositories: { totalCount: 2 } } });
});

test('a private repository is not found without a permission, nor is anything in it', async () => {
  await setUser({ token: 'carol-token', login: 'carol', organizations: ['acme'] });
  const ids = [secret.repository.id, secret.issues[0].id, secret.pullRequests[0].id, secret.labels[0].id];
  const query = 'query($ids: [ID!]!, $id: ID!) { repository(owner: "acme", name: "secret") { id } node(id: $id) { id } nodes(ids: $ids) { id } }';
  const { json } = await as('carol-token', query, { ids, id: ids[0] });
  assert.deepEqual(json.data, { repository: null, node: null, nodes: [null, null, null, null] });
  assert.ok(json.errors.every((error) => error.type === 'NOT_FOUND'));
  assert.deepEqual(json.errors.map((error) => error.path.join('.')).sort(), ['node', 'nodes.0', 'nodes.1', 'nodes.2', 'nodes.3', 'repository']);
  assert.equal(json.errors.find((error) => error.path[0] === 'repository').message, "Could not resolve to a Repository with the name 'acme/secret'.");
  const all = await client.graphql(query, { ids, id: ids[0] });
  assert.equal(all.json.errors, undefined);
});

test('a call replaces what the token was', async () => {
  await setUser({ token: 'carol-token', login: 'carol', permissions: { 'acme/secret': 'WRITE' } });
  assert.equal((await as('carol-token', permissions)).json.data.secret.viewerPermission, 'WRITE');
  await setUser({ token: 'carol-token', login: 'carol' });
  assert.equal((await as('carol-token', permissions)).json.data.secret, null);
});

test('a permission stays with a repository that is renamed, and a repository that turns private is gone', async () => {
  await setUser({ token: 'dave-token', login: 'dave', permissions: { 'bolt/hidden': 'MAINTAIN' } });
  await client.change('bolt/hidden', 'rename', { to: 'found' });
  const found = await as('dave-token', '{ repository(owner: "bolt", name: "found") { viewerPermission } }');
  assert.equal(found.json.data.repository.viewerPermission, 'MAINTAIN');
  await client.change('acme/open', 'repository_fields', { fields: { isPrivate: true } });
  assert.equal((await as('dave-token', permissions)).json.data.open, null);
  await client.change('acme/open', 'repository_fields', { fields: { isPrivate: false } });
});

test('membership of an organization is answered', async () => {
  await setUser({ token: 'erin-token', login: 'erin', organizations: ['Acme'] });
  const query = '{ acme: organization(login: "acme") { viewerIsAMember } bolt: organization(login: "bolt") { viewerIsAMember } }';
  assert.deepEqual((await as('erin-token', query)).json.data, { acme: { viewerIsAMember: true }, bolt: { viewerIsAMember: false } });
  assert.deepEqual(await client.data(query), { acme: { viewerIsAMember: true }, bolt: { viewerIsAMember: true } });
});

test('scopes belong to the token', async () => {
  await setUser({ token: 'frank-token', login: 'frank', scopes: ['read:org'] });
  await setUser({ token: 'grace-token', login: 'grace' });
  const query = 'query($id: ID!) { node(id: $id) { ... on Team { slug } } viewer { login } }';
  const granted = await as('frank-token', query, { id: 'x' });
  assert.equal(granted.headers['x-oauth-scopes'], 'read:org');
  assert.equal(granted.json.errors[0].type, 'NOT_FOUND');
  const bare = await as('grace-token', query, { id: 'x' });
  assert.equal(bare.headers['x-oauth-scopes'], '');
  assert.equal(bare.json.errors[0].type, 'INSUFFICIENT_SCOPES');
  assert.equal((await client.graphql(query, { id: 'x' })).headers['x-oauth-scopes'], 'repo, read:org');
});

test('a revoked token is 401', async () => {
  await setUser({ token: 'heidi-token', login: 'heidi' });
  assert.equal((await as('heidi-token', '{ viewer { login } }')).status, 200);
  assert.deepEqual(await setUser({ token: 'heidi-token', revoked: true }), { revoked: true });
  const answer = await as('heidi-token', '{ viewer { login } }');
  assert.equal(answer.status, 401);
  assert.equal(answer.json.message, 'Bad credentials');
});

test('each account has its own points', async () => {
  await setUser({ token: 'ivan-token', login: 'ivan', points: 2 });
  await setUser({ token: 'ivan-other-token', login: 'ivan' });
  const before = (await client.counters()).budgets;
  const query = '{ viewer { login } rateLimit { limit remaining } }';
  assert.deepEqual((await as('ivan-token', query)).json.data.rateLimit, { limit: 2, remaining: 1 });
  const last = await as('ivan-other-token', query);
  assert.equal(last.headers['x-ratelimit-remaining'], '0');
  assert.match((await as('ivan-token', query)).json.errors[0].message, /^API rate limit exceeded for user ID \d+/);
  const after = (await client.counters()).budgets;
  assert.deepEqual(after['user ivan'], { limit: 2, used: 2, remaining: 0 });
  assert.deepEqual(after.main, before.main);
});

test('nonsense is refused', async () => {
  await assert.rejects(setUser({ login: 'x' }), /needs a token/);
  await assert.rejects(setUser({ token: 'the-token', login: 'x' }), /main token/);
  await assert.rejects(setUser({ token: 'x', login: 'x', permissions: { 'acme/open': 'OWNER' } }), /no permission .*OWNER/);
});
