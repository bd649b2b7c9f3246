import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { startServer } from '../client.mjs';

let client;
before(async () => { client = await startServer('--generate', 'acme/widgets:pulls=30,issues=20', '--scopes', 'repo', '--token', 'the-token'); });
after(() => client.stop());

const REPOSITORY = 'repository(owner: "acme", name: "widgets")';
const firstError = async (query, variables) => {
  const { status, json } = await client.graphql(query, variables);
  assert.equal(status, 200);
  return json.errors[0];
};

test('a wrong token is 401', async () => {
  for (const authorization of ['Bearer nothing', 'token ', 'the-token', '']) {
    const answer = await client.graphql('{ viewer { login } }', {}, { headers: { authorization } });
    assert.equal(answer.status, 401);
    assert.equal(answer.json.message, 'Bad credentials');
  }
});

test('both words before the token are understood, and both paths', async () => {
  for (const [word, path] of [['Bearer', '/graphql'], ['token', '/api/graphql'], ['bearer', '/graphql']]) {
    const { json } = await client.graphql('{ viewer { login } }', {}, { path, headers: { authorization: `${word} the-token` } });
    assert.equal(json.data.viewer.login, 'emulated-viewer');
  }
});

test('a request without User-Agent is 403', async () => {
  const answer = await client.http('POST', '/graphql', { headers: { authorization: 'Bearer the-token' }, body: '{"query":"{viewer{login}}"}' });
  assert.equal(answer.status, 403);
});

test('a REST path is 404 and recorded', async () => {
  await client.resetCounters();
  const answer = await client.http('GET', '/repos/acme/widgets/pulls', { headers: { authorization: 'Bearer the-token', 'user-agent': 'test' } });
  assert.equal(answer.status, 404);
  assert.deepEqual((await client.counters()).unlisted, ['GET /repos/acme/widgets/pulls']);
});

test('a field that GitHub does not have is refused', async () => {
  const error = await firstError(`query Q { ${REPOSITORY} { id favouriteColour } }`);
  assert.deepEqual(error, {
    path: ['query Q', 'repository', 'favouriteColour'],
    extensions: { code: 'undefinedField', typeName: 'Repository', fieldName: 'favouriteColour' },
    locations: [{ line: 1, column: 59 }],
    message: "Field 'favouriteColour' doesn't exist on type 'Repository'",
  });
});

test('documents that GitHub refuses are refused, each with its code', async () => {
  const codes = {
    'query Q { ': 'parseError',
    'query Q { viewer(x: 1) { login } }': 'argumentNotAccepted',
    'query Q { node { id } }': 'missingRequiredArguments',
    'query Q { viewer { login { x } } }': 'selectionMismatch',
    'query Q { viewer }': 'selectionMismatch',
    'query Q { viewer { id ...F } }': 'useAndDefineFragment',
    'query Q { viewer { id } } fragment F on User { id }': 'useless_fragment',
    'query Q($a: Int) { viewer { id } }': 'variableNotUsed',
    'query Q { node(id: $id) { id } }': 'variableNotDefined',
    'query Q($id: Int!) { node(id: $id) { id } }': 'variableMismatch',
  };
  for (const [query, code] of Object.entries(codes)) {
    const { json } = await client.graphql(query);
    assert.equal(json.errors[0].extensions.code, code, query);
    assert.equal(json.data, undefined);
  }
});

test('a missing or wrong variable is refused', async () => {
  assert.match((await firstError('query Q($id: ID!) { node(id: $id) { id } }')).message, /\$id/);
  assert.match((await firstError('query Q($n: Int!) { viewer { repositories(first: $n) { totalCount } } }', { n: 'x' })).message, /\$n/);
});

test('every connection needs first or last from 1 to 100', async () => {
  const errorOf = (args) => firstError(`{ ${REPOSITORY} { issues${args} { totalCount } } }`);
  assert.equal((await errorOf('')).type, 'MISSING_PAGINATION_BOUNDARIES');
  assert.deepEqual((await errorOf('(first: 101)')).path, ['repository', 'issues']);
  assert.equal((await errorOf('(first: 101)')).type, 'EXCESSIVE_PAGINATION');
  assert.equal((await errorOf('(last: 500)')).type, 'EXCESSIVE_PAGINATION');
  assert.equal((await errorOf('(first: 0)')).type, 'INVALID_PAGINATION');
  assert.equal((await errorOf('(first: 1, last: 1)')).type, 'INVALID_CURSOR_ARGUMENTS');
});

test('more than 500,000 nodes are refused, exactly 500,000 are not', async () => {
  const query = (inner) => `{ ${REPOSITORY} { issues(first: 100) { nodes { comments(first: 100) { nodes { reactions(first: ${inner}) { totalCount } } } } } } }`;
  const error = await firstError(query(50));
  assert.equal(error.type, 'MAX_NODE_LIMIT_EXCEEDED');
  assert.equal(error.message, 'This query requests up to 510,100 possible nodes which exceeds the maximum limit of 500,000.');
  assert.equal((await client.graphql(query(48))).json.errors, undefined);
});

test('more than 100 ids are refused', async () => {
  const ids = Array.from({ length: 101 }, (_, i) => `I_${i}`);
  const error = await firstError('query Q($ids: [ID!]!) { nodes(ids: $ids) { id } }', { ids });
  assert.equal(error.type, 'ARGUMENT_LIMIT');
  assert.equal(error.message, 'You may not provide more than 100 node ids; you provided 101.');
});

test('what does not exist is null with NOT_FOUND, the rest is answered', async () => {
  const { issues: [issue] } = await client.truth('acme/widgets');
  const { json } = await client.graphql(`query Q($ids: [ID!]!) { nodes(ids: $ids) { id } gone: repository(owner: "acme", name: "gone") { id }
    ${REPOSITORY} { issue(number: 999999) { id } pullRequest(number: ${issue.number}) { id } } }`, { ids: [issue.id, 'I_gone'] });
  assert.deepEqual(json.data, { nodes: [{ id: issue.id }, null], gone: null, repository: { issue: null, pullRequest: null } });
  assert.deepEqual(json.errors.map((error) => [error.type, error.path.join('.')]).sort(), [
    ['NOT_FOUND', 'gone'], ['NOT_FOUND', 'nodes.1'], ['NOT_FOUND', 'repository.issue'], ['NOT_FOUND', 'repository.pullRequest'],
  ]);
});

test('a team name without the scope fails the whole query', async () => {
  const query = 'query Q($id: ID!) { node(id: $id) { ... on Team { name } } }';
  const { json } = await client.graphql(query, { id: 'x' });
  assert.equal(json.data, null);
  assert.equal(json.errors[0].type, 'INSUFFICIENT_SCOPES');
  await client.settings({ scopes: ['repo', 'read:org'] });
  assert.equal((await client.graphql(query, { id: 'x' })).json.errors[0].type, 'NOT_FOUND');
});

test('a mutation is refused', async () => {
  assert.equal((await firstError('mutation { addStar(input: {starrableId: "x"}) { clientMutationId } }')).type, 'FORBIDDEN');
});

test('HTTP/2 is spoken', async () => {
  const { status, json } = await client.http2('{ viewer { login } }');
  assert.equal(status, 200);
  assert.equal(json.data.viewer.login, 'emulated-viewer');
});

test('the token is never written to the log', async () => {
  assert.ok(!client.errors().includes('the-token'));
});
