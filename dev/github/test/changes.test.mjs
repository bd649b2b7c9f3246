import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { startServer } from '../client.mjs';

const NAME = 'acme/widgets';
let client;
before(async () => { client = await startServer('--generate', `${NAME}:pulls=60,issues=40,seed=2`); });
after(() => client.stop());

const repository = (selection) => client.data(`{ repository(owner: "acme", name: "widgets") { ${selection} } }`).then((data) => data.repository);
const openPull = async () => (await client.truth(NAME)).pullRequests.findLast((pull) => pull.state === 'OPEN' && !pull.locked);

test('a comment is seen, and moves the pull request to the front', async () => {
  const pull = await openPull();
  const changed = await client.change(NAME, 'comment', { number: pull.number, at: '2026-10-01T10:00:00Z', actor: 'newcomer' });
  assert.equal(changed.updatedAt, '2026-10-01T10:00:00Z');
  const seen = await repository('pullRequests(first: 1, orderBy: {field: UPDATED_AT, direction: DESC}) { nodes { number updatedAt comments(last: 1) { totalCount nodes { id author { login } } } } }');
  const [node] = seen.pullRequests.nodes;
  assert.equal(node.number, pull.number);
  assert.equal(node.comments.totalCount, pull.comments.length + 1);
  assert.deepEqual(node.comments.nodes, [{ id: changed.id, author: { login: 'newcomer' } }]);
  await client.change(NAME, 'delete_comment', { number: pull.number, comment: changed.id });
  const after = await repository(`pullRequest(number: ${pull.number}) { comments(first: 1) { totalCount } }`);
  assert.equal(after.pullRequest.comments.totalCount, pull.comments.length);
});

test('a review without a bump leaves updatedAt alone', async () => {
  const pull = await openPull();
  await client.change(NAME, 'review', { number: pull.number, state: 'APPROVED', comments: 2, bump: false });
  const seen = await repository(`pullRequest(number: ${pull.number}) { updatedAt reviewDecision reviews(last: 1) { totalCount nodes { state comments(first: 5) { totalCount } } } }`);
  assert.equal(seen.pullRequest.updatedAt, pull.updatedAt);
  assert.equal(seen.pullRequest.reviews.totalCount, pull.reviews.length + 1);
  assert.deepEqual(seen.pullRequest.reviews.nodes, [{ state: 'APPROVED', comments: { totalCount: 2 } }]);
});

test('a merge has both events', async () => {
  const pull = await openPull();
  await client.change(NAME, 'merge', { number: pull.number, at: '2026-10-02T10:00:00Z', actor: 'alice' });
  const seen = await repository(`pullRequest(number: ${pull.number}) { state merged mergedAt closedAt mergedBy { login } mergeCommit { oid } timelineItems(last: 2, itemTypes: [CLOSED_EVENT, MERGED_EVENT]) { nodes { __typename } } }`);
  assert.equal(seen.pullRequest.state, 'MERGED');
  assert.equal(seen.pullRequest.mergedAt, '2026-10-02T10:00:00Z');
  assert.equal(seen.pullRequest.mergedBy.login, 'alice');
  assert.deepEqual(seen.pullRequest.timelineItems.nodes, [{ __typename: 'MergedEvent' }, { __typename: 'ClosedEvent' }]);
  await assert.rejects(client.change(NAME, 'merge', { number: pull.number }), /not open/);
});

test('close, reopen, title, label, milestone and their events', async () => {
  const { issues, labels, milestones } = await client.truth(NAME);
  const issue = issues.find((each) => each.state === 'OPEN');
  const label = labels.find((each) => !issue.labels.some((has) => has.name === each.name));
  await client.change(NAME, 'close', { number: issue.number, state_reason: 'NOT_PLANNED' });
  await client.change(NAME, 'reopen', { number: issue.number });
  await client.change(NAME, 'title', { number: issue.number, title: 'A better title' });
  await client.change(NAME, 'label', { number: issue.number, label: label.name });
  await client.change(NAME, 'milestone', { number: issue.number, milestone: milestones[0].number });
  await client.change(NAME, 'rename_label', { label: label.name, to: 'renamed label' });
  const seen = await repository(`issue(number: ${issue.number}) { title state stateReason milestone { title } labels(last: 100) { nodes { id name } } timelineItems(last: 5) { nodes { __typename } } }`);
  assert.equal(seen.issue.title, 'A better title');
  assert.equal(seen.issue.state, 'OPEN');
  assert.equal(seen.issue.stateReason, 'REOPENED');
  assert.equal(seen.issue.milestone.title, milestones[0].title);
  assert.equal(seen.issue.labels.nodes.find((each) => each.id === label.id).name, 'renamed label');
  assert.deepEqual(seen.issue.timelineItems.nodes.map((node) => node.__typename).sort(), ['ClosedEvent', 'LabeledEvent', 'MilestonedEvent', 'RenamedTitleEvent', 'ReopenedEvent']);
});

test('a deleted issue is gone by number, by id and from the list, and its number is not given again', async () => {
  const created = await client.change(NAME, 'new_issue', { title: 'short-lived' });
  await client.change(NAME, 'delete', { number: created.number });
  const { json } = await client.graphql('query($id: ID!) { node(id: $id) { id } }', { id: created.id });
  assert.equal(json.data.node, null);
  assert.equal(json.errors[0].type, 'NOT_FOUND');
  assert.ok(!(await client.truth(NAME)).issues.some((issue) => issue.id === created.id));
  assert.equal((await client.change(NAME, 'new_pull_request')).number, created.number + 1);
});

test('paging by creation loses nobody when items are deleted and updated between two pages', async () => {
  const { pullRequests } = await client.truth(NAME);
  const query = 'query($after: String) { repository(owner: "acme", name: "widgets") { pullRequests(first: 20, after: $after, orderBy: {field: CREATED_AT, direction: ASC}) { nodes { id } pageInfo { endCursor hasNextPage } } } }';
  const seen = [];
  let after = null;
  for (let i = 0; ; i += 1) {
    const { repository: { pullRequests: page } } = await client.data(query, { after });
    seen.push(...page.nodes.map((node) => node.id));
    if (!page.pageInfo.hasNextPage) break;
    after = page.pageInfo.endCursor;
    if (i === 0) await client.change(NAME, 'delete', { number: pullRequests[19].number });
    await client.change(NAME, 'comment', { number: pullRequests[3].number });
  }
  assert.deepEqual(seen, pullRequests.map((pull) => pull.id));
});

test('a renamed repository is found by both names until the old one is taken', async () => {
  const before = await repository('id nameWithOwner');
  await client.change(NAME, 'rename', { to: 'gadgets' });
  assert.deepEqual(await repository('id nameWithOwner'), { id: before.id, nameWithOwner: 'acme/gadgets' });
  const strict = await client.graphql('{ repository(owner: "acme", name: "widgets", followRenames: false) { id } }');
  assert.equal(strict.json.errors[0].type, 'NOT_FOUND');
  const other = await client.control('POST', 'repository', { generate: `${NAME}:pulls=3,issues=2,seed=99` });
  assert.deepEqual(await repository('id nameWithOwner'), { id: other.id, nameWithOwner: NAME });
  const { node } = await client.data('query($id: ID!) { node(id: $id) { ... on Repository { nameWithOwner } } }', { id: before.id });
  assert.equal(node.nameWithOwner, 'acme/gadgets');
});

test('a nonsense change is refused', async () => {
  await assert.rejects(client.change(NAME, 'explode'), /no change/);
  await assert.rejects(client.change('acme/nothing', 'comment', { number: 1 }), /no repository/);
  await assert.rejects(client.change(NAME, 'comment', { number: 424242 }), /no issue or pull request/);
});
