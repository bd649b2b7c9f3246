import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { startServer } from '../client.mjs';

let client;
let truth;
before(async () => {
  client = await startServer('--generate', 'acme/widgets:pulls=330,issues=210,seed=5');
  truth = await client.truth('acme/widgets');
});
after(() => client.stop());

/** Walk a connection of a node to its end; `size` records a page, forwards or backwards. */
async function walk(id, type, field, args, selection, { size = 100, backwards = false } = {}) {
  const found = [];
  const bounds = backwards ? `last: ${size}, before: $cursor` : `first: ${size}, after: $cursor`;
  const query = `query($id: ID!, $cursor: String) { node(id: $id) { ... on ${type} { page: ${field}(${bounds}${args}) {
    totalCount pageInfo { hasNextPage hasPreviousPage startCursor endCursor } nodes { ${selection} } } } } }`;
  for (let cursor = null, pages = 0; pages < 500; pages += 1) {
    const { node: { page } } = await client.data(query, { id, cursor });
    if (backwards) found.unshift(...page.nodes);
    else found.push(...page.nodes);
    const more = backwards ? page.pageInfo.hasPreviousPage : page.pageInfo.hasNextPage;
    if (!more) return { nodes: found, totalCount: page.totalCount };
    cursor = backwards ? page.pageInfo.startCursor : page.pageInfo.endCursor;
  }
  throw new Error('the connection never ends');
}

const ids = (list) => list.map((record) => record.id);
const sortedIds = (list) => ids(list).sort();

test('the repository lists page to the end in every order, forwards and backwards', async () => {
  for (const [field, records] of [['pullRequests', truth.pullRequests], ['issues', truth.issues]]) {
    for (const order of ['CREATED_AT', 'UPDATED_AT', 'COMMENTS']) {
      for (const direction of ['ASC', 'DESC']) {
        const args = `, orderBy: {field: ${order}, direction: ${direction}}`;
        const { nodes, totalCount } = await walk(truth.repository.id, 'Repository', field, args, 'id createdAt updatedAt');
        assert.equal(totalCount, records.length);
        assert.deepEqual(sortedIds(nodes), sortedIds(records));
        const back = await walk(truth.repository.id, 'Repository', field, args, 'id', { size: 37, backwards: true });
        assert.deepEqual(ids(back.nodes), ids(nodes));
        const key = { CREATED_AT: 'createdAt', UPDATED_AT: 'updatedAt' }[order];
        const times = nodes.map((node) => node[key]);
        if (key) assert.deepEqual(times, direction === 'ASC' ? times.slice().sort() : times.slice().sort().reverse());
      }
    }
  }
});

test('more than a page of items share one second', () => {
  const counts = new Map();
  for (const item of truth.pullRequests) counts.set(item.updatedAt, (counts.get(item.updatedAt) ?? 0) + 1);
  assert.ok(Math.max(...counts.values()) > 60);
});

test('issues since a time are those updated at or after it', async () => {
  const since = truth.issues.map((issue) => issue.updatedAt).sort()[100];
  const { nodes } = await walk(truth.repository.id, 'Repository', 'issues', `, filterBy: {since: "${since}"}, orderBy: {field: UPDATED_AT, direction: ASC}`, 'id', { size: 25 });
  assert.deepEqual(sortedIds(nodes), sortedIds(truth.issues.filter((issue) => issue.updatedAt >= since)));
  assert.ok(nodes.length < truth.issues.length);
});

test('states are filtered', async () => {
  for (const state of ['OPEN', 'CLOSED', 'MERGED']) {
    const { nodes } = await walk(truth.repository.id, 'Repository', 'pullRequests', `, states: [${state}]`, 'id');
    assert.deepEqual(sortedIds(nodes), sortedIds(truth.pullRequests.filter((pull) => pull.state === state)));
  }
});

test('labels and milestones page to the end', async () => {
  assert.equal(truth.labels.length, 130);
  const labels = await walk(truth.repository.id, 'Repository', 'labels', '', 'id name');
  assert.deepEqual(sortedIds(labels.nodes), sortedIds(truth.labels));
  const milestones = await walk(truth.repository.id, 'Repository', 'milestones', ', orderBy: {field: UPDATED_AT, direction: DESC}', 'id updatedAt', { size: 5 });
  assert.deepEqual(sortedIds(milestones.nodes), sortedIds(truth.milestones));
});

test('every nested list of the largest pull request pages to the end', async () => {
  const pull = truth.pullRequests.reduce((a, b) => (b.reviews.length > a.reviews.length ? b : a));
  assert.ok(pull.reviews.length >= 111 && pull.comments.length >= 250);
  const lists = { reviews: pull.reviews, comments: pull.comments, reviewThreads: pull.reviewThreads, labels: pull.labels, assignees: pull.assignees };
  for (const [field, records] of Object.entries(lists)) {
    for (const backwards of [false, true]) {
      const { nodes, totalCount } = await walk(pull.id, 'PullRequest', field, '', 'id', { size: 23, backwards });
      assert.equal(totalCount, records.length, field);
      assert.deepEqual(sortedIds(nodes), sortedIds(records), field);
    }
  }
  const thread = pull.reviewThreads.reduce((a, b) => (b.comments.length > a.comments.length ? b : a));
  assert.ok(thread.comments.length > 100);
  const comments = await walk(thread.id, 'PullRequestReviewThread', 'comments', '', 'id replyTo { id }', { size: 9 });
  assert.deepEqual(ids(comments.nodes), ids(thread.comments));
  assert.equal(comments.nodes[0].replyTo, null);
  assert.equal(comments.nodes[1].replyTo.id, thread.comments[0].id);
  const commits = await walk(pull.id, 'PullRequest', 'commits', '', 'commit { oid }');
  assert.deepEqual(commits.nodes.map((node) => node.commit.oid), pull.commits.map((commit) => commit.oid));
});

test('the comments of reviews and of threads are the same ones', async () => {
  for (const pull of truth.pullRequests.filter((each) => each.reviewThreads.length > 1).slice(0, 10)) {
    const { nodes } = await walk(pull.id, 'PullRequest', 'reviews', '', 'id comments(first: 100) { nodes { id } }');
    const some = nodes.flatMap((review) => ids(review.comments.nodes));
    const all = pull.reviewThreads.flatMap((thread) => ids(thread.comments));
    if (all.length <= 100) assert.deepEqual(some.sort(), all.sort());
  }
});

test('timelines hold each event once, filtered by type', async () => {
  const EVENTS = 'CLOSED_EVENT, MERGED_EVENT, READY_FOR_REVIEW_EVENT, LABELED_EVENT';
  for (const pull of truth.pullRequests.slice(0, 40)) {
    const { nodes } = await walk(pull.id, 'PullRequest', 'timelineItems', `, itemTypes: [${EVENTS}]`, '__typename ... on Node { id }', { size: 4 });
    const wanted = pull.events.filter((event) => ['ClosedEvent', 'MergedEvent', 'ReadyForReviewEvent', 'LabeledEvent'].includes(event.__typename));
    assert.deepEqual(ids(nodes), ids(wanted));
  }
});

test('a cursor of another order is refused', async () => {
  const query = 'query($after: String, $field: IssueOrderField!) { repository(owner: "acme", name: "widgets") { issues(first: 5, after: $after, orderBy: {field: $field, direction: ASC}) { pageInfo { endCursor } } } }';
  const { repository: { issues } } = await client.data(query, { field: 'CREATED_AT' });
  const { json } = await client.graphql(query, { field: 'UPDATED_AT', after: issues.pageInfo.endCursor });
  assert.equal(json.errors[0].type, 'INVALID_CURSOR_ARGUMENTS');
  assert.equal((await client.graphql(query, { field: 'CREATED_AT', after: 'nonsense' })).json.errors[0].type, 'INVALID_CURSOR_ARGUMENTS');
});
