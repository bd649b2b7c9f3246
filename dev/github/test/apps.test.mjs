import assert from 'node:assert/strict';
import { generateKeyPairSync, sign } from 'node:crypto';
import { after, before, beforeEach, test } from 'node:test';
import { startServer } from '../client.mjs';

const keys = generateKeyPairSync('rsa', { modulusLength: 2048 });
const otherKeys = generateKeyPairSync('rsa', { modulusLength: 2048 });
const pem = keys.publicKey.export({ type: 'spki', format: 'pem' });

let client;
before(async () => {
  client = await startServer('--generate', 'acme/open:pulls=4,issues=4', '--generate', 'acme/secret:pulls=4,issues=4,private=1', '--generate', 'bolt/hidden:pulls=4,issues=4,private=1');
});
after(() => client.stop());
beforeEach(() => client.settings({ clock_offset_ms: 0 }));

const encode = (value) => Buffer.from(JSON.stringify(value)).toString('base64url');
const seconds = () => Math.floor(Date.now() / 1000);
const times = () => ({ iat: seconds() - 60, exp: seconds() + 540 });

function jwt(claims = {}, { header = { alg: 'RS256', typ: 'JWT' }, key = keys.privateKey } = {}) {
  const signed = `${encode(header)}.${encode({ ...times(), iss: '7', ...claims })}`;
  return `${signed}.${sign('RSA-SHA256', Buffer.from(signed), key).toString('base64url')}`;
}

const setApp = (more = {}) => client.control('POST', 'app', { app_id: 7, client_id: 'Iv1.seven', public_key_pem: pem, installations: [{ id: 42, repositories: ['acme/secret'] }, { id: 43 }], ...more });
const ask = (token, { id = 42, prefix = '', word = 'Bearer', body } = {}) => client.http('POST', `${prefix}/app/installations/${id}/access_tokens`, {
  headers: { 'user-agent': 'test', ...(token === null ? {} : { authorization: `${word} ${token}` }) }, body: body && JSON.stringify(body),
});
const as = (token, query, variables) => client.graphql(query, variables, { headers: { authorization: `Bearer ${token}` } });
const visible = async (token) => {
  const names = ['acme/open', 'acme/secret', 'bolt/hidden'];
  const { json } = await as(token, `{ ${names.map((name, i) => `r${i}: repository(owner: "${name.split('/')[0]}", name: "${name.split('/')[1]}") { id }`).join(' ')} }`);
  return names.filter((_, i) => json.data[`r${i}`]);
};

test('an installation gets a token that sees its repositories', async () => {
  await setApp();
  await client.resetCounters();
  const answer = await ask(jwt());
  assert.equal(answer.status, 201);
  const { token, expires_at: expires, ...rest } = answer.json;
  assert.match(token, /^ghs_/);
  assert.match(expires, /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/);
  assert.ok(Math.abs(Date.parse(expires) - Date.now() - 3_600_000) < 60_000);
  assert.deepEqual(rest, { permissions: { metadata: 'read', issues: 'read', pull_requests: 'read' }, repository_selection: 'selected' });
  assert.deepEqual(await visible(token), ['acme/open', 'acme/secret']);
  const { json, headers } = await as(token, '{ viewer { login } organization(login: "acme") { viewerIsAMember } repository(owner: "acme", name: "secret") { viewerPermission issues(first: 1) { totalCount } } }');
  assert.deepEqual(json.data, { viewer: { login: 'app-7[bot]' }, organization: { viewerIsAMember: false }, repository: { viewerPermission: 'READ', issues: { totalCount: 4 } } });
  assert.equal(headers['x-oauth-scopes'], undefined);
  const counters = await client.counters();
  assert.equal(counters.app_tokens, 1);
  assert.deepEqual(counters.unlisted, []);
});

test('an installation on all repositories sees them all, also on an Enterprise Server', async () => {
  await setApp();
  const { status, json } = await ask(jwt({ iss: 7 }), { id: 43, prefix: '/api/v3' });
  assert.equal(status, 201);
  assert.equal(json.repository_selection, 'all');
  assert.deepEqual(await visible(json.token), ['acme/open', 'acme/secret', 'bolt/hidden']);
  assert.equal((await ask(jwt({ iss: 'Iv1.seven' }), { id: 43 })).status, 201);
});

test('a JWT that GitHub refuses is refused, in its words', async () => {
  await setApp();
  const undecodable = 'A JSON web token could not be decoded';
  const expired = "'Expiration time' claim ('exp') must be a numeric value representing the future time at which the assertion expires";
  const tooFar = "'Expiration time' claim ('exp') is too far in the future";
  const issued = "'Issued at' claim ('iat') must be an Integer representing the time that the assertion was issued";
  const [header, claims] = jwt().split('.');
  const cases = [
    ['nothing', undecodable], [`${header}.${claims}.`, undecodable], [`${encode({ alg: 'none' })}.${claims}.AAAA`, undecodable],
    [jwt({}, { key: otherKeys.privateKey }), undecodable], [jwt({}, { header: { alg: 'RS512' } }), undecodable], [client.token, undecodable], [null, undecodable],
    [jwt({ exp: seconds() - 1 }), expired], [jwt({ exp: undefined }), expired], [jwt({ exp: seconds() + 630 }), tooFar],
    [jwt({ iat: seconds() + 90 }), issued], [jwt({ iat: undefined }), issued], [jwt({ iat: 'now' }), issued],
    [jwt({ iss: undefined }), "'Issuer' claim ('iss') must be an Integer"],
  ];
  for (const [token, message] of cases) {
    const { status, json } = await ask(token);
    assert.equal(status, 401, message);
    assert.equal(json.message, message);
  }
  assert.equal((await ask(jwt({ iat: seconds() + 30 }))).status, 201);
  assert.equal((await ask(jwt(), { word: 'token' })).status, 401);
});

test('an unknown app or installation is 404, a suspended one 403', async () => {
  await setApp({ installations: [{ id: 42 }, { id: 44, suspended: true }] });
  assert.equal((await ask(jwt({ iss: '8' }))).json.message, 'Integration not found');
  assert.equal((await ask(jwt(), { id: 99 })).status, 404);
  assert.equal((await ask(jwt(), { id: 44 })).status, 403);
});

test('the server\'s clock decides: a client that is ahead is refused', async () => {
  await setApp();
  await client.settings({ clock_offset_ms: -300_000 });
  assert.match((await ask(jwt())).json.message, /too far in the future/);
});

test('a token ends after its time, and with its installation', async () => {
  await setApp({ token_seconds: 120 });
  const { json: { token } } = await ask(jwt());
  assert.equal((await as(token, '{ viewer { login } }')).status, 200);
  await client.settings({ clock_offset_ms: 121_000 });
  const late = await as(token, '{ viewer { login } }');
  assert.equal(late.status, 401);
  assert.equal(late.json.message, 'Bad credentials');
  await client.settings({ clock_offset_ms: 0 });
  assert.equal((await as(token, '{ viewer { login } }')).status, 200);
  await setApp({ installations: [{ id: 43 }] });
  assert.equal((await as(token, '{ viewer { login } }')).status, 401);
});

test('a token can be asked for less, never for more', async () => {
  await setApp({ installations: [{ id: 42, repositories: ['acme/secret', 'acme/open'], permissions: { issues: 'read', pull_requests: 'write' } }] });
  const less = await ask(jwt(), { body: { permissions: { pull_requests: 'read' }, repositories: ['open'] } });
  assert.equal(less.status, 201);
  assert.deepEqual(less.json.permissions, { metadata: 'read', pull_requests: 'read' });
  assert.deepEqual(less.json.repositories.map((repository) => repository.full_name), ['acme/open']);
  assert.deepEqual(await visible(less.json.token), ['acme/open']);
  const refused = await as(less.json.token, '{ repository(owner: "acme", name: "open") { pullRequests(first: 1) { totalCount } issues(first: 1) { totalCount } } }');
  assert.deepEqual([refused.json.errors[0].type, refused.json.errors[0].message], ['FORBIDDEN', 'Resource not accessible by integration']);
  assert.equal((await ask(jwt(), { body: { permissions: { contents: 'read' } } })).status, 422);
  assert.equal((await ask(jwt(), { body: { permissions: { issues: 'write' } } })).status, 422);
  assert.equal((await ask(jwt(), { body: { repositories: ['hidden'] } })).status, 422);
});

test('teams have names for an app that may read members', async () => {
  const [team] = (await client.truth('acme/secret')).teams;
  const query = 'query($id: ID!) { node(id: $id) { ... on Team { slug } } }';
  await setApp({ installations: [{ id: 42 }, { id: 43, permissions: { members: 'read' } }] });
  const [without, withMembers] = [await ask(jwt()), await ask(jwt(), { id: 43 })].map((answer) => answer.json.token);
  assert.equal((await as(without, query, { id: team.id })).json.errors[0].type, 'FORBIDDEN');
  assert.equal((await as(withMembers, query, { id: team.id })).json.data.node.slug, team.slug);
});

test('the tokens of an installation share its points', async () => {
  await setApp({ installations: [{ id: 45 }], points: 2 });
  for (let i = 0; i < 2; i += 1) assert.equal((await as((await ask(jwt(), { id: 45 })).json.token, '{ viewer { login } }')).json.errors, undefined);
  const { json } = await as((await ask(jwt(), { id: 45 })).json.token, '{ viewer { login } }');
  assert.equal(json.errors[0].message, 'API rate limit exceeded for installation ID 45.');
  assert.deepEqual((await client.counters()).budgets['installation 45'], { limit: 2, used: 2, remaining: 0 });
});

test('an app without a proper key is refused', async () => {
  await assert.rejects(setApp({ public_key_pem: 'no key' }));
  const { publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  await assert.rejects(setApp({ public_key_pem: publicKey.export({ type: 'spki', format: 'pem' }) }), /RSA/);
});
