import assert from 'node:assert/strict';
import { readFileSync, readdirSync } from 'node:fs';
import { after, before, test } from 'node:test';
import { join } from 'node:path';
import { shared, startServer } from '../client.mjs';

const QUERIES = shared('providers/github');
const DATA = shared('data/github/cfrg__draft-irtf-cfrg-vdaf.json');
let client;
let truths;

before(async () => {
  client = await startServer('--generate', 'acme/widgets:pulls=120,issues=80,seed=3', ...(DATA ? ['--data', DATA] : []));
  truths = [await client.truth('acme/widgets')];
  if (DATA) truths.push(await client.truth('cfrg/draft-irtf-cfrg-vdaf'));
});
after(() => client.stop());

function variablesFor(file, truth, lists) {
  const { repository, issues, pullRequests } = truth;
  const thread = pullRequests.flatMap((pull) => pull.reviewThreads)[0];
  const isPull = file.startsWith('1');
  const ids = file.startsWith('04') ? [repository.id] : (isPull ? pullRequests : issues).slice(0, 50).map((item) => item.id);
  const idByFile = { 12: ids[0], 13: thread.id, 22: ids[0] };
  return {
    owner: repository.owner.login, name: repository.name, login: repository.owner.login, repo: repository.id,
    id: idByFile[file.slice(0, 2)] ?? repository.id, ids, events: isPull ? lists.pr_events : lists.issue_events,
    field: 'UPDATED_AT', direction: 'DESC', filter: {}, bodies: true,
    labels: true, assignees: true, requests: true, reviews: true, threads: true, comments: true, timeline: true, closing: true,
  };
}

test('every query that the schema knows is executed without an error', async (t) => {
  if (!QUERIES) return t.skip('no ../shared/providers/github beside the checkout');
  const lists = JSON.parse(readFileSync(join(QUERIES, 'variables.json'), 'utf8'));
  let executed = 0;
  for (const file of readdirSync(QUERIES).filter((name) => name.endsWith('.graphql'))) {
    const query = readFileSync(join(QUERIES, file), 'utf8');
    for (const truth of truths) {
      const { status, json } = await client.graphql(query, variablesFor(file, truth, lists));
      assert.equal(status, 200, file);
      if (file.startsWith('50_')) {
        assert.deepEqual(json.errors.map((error) => error.extensions.code), ['undefinedField', 'undefinedField']);
        continue;
      }
      assert.equal(json.errors, undefined, `${file}: ${JSON.stringify(json.errors)}`);
      assert.ok(!JSON.stringify(json.data).includes('SECRET SOURCE LINE'), file);
      executed += 1;
    }
  }
  assert.ok(executed >= 18 * truths.length);
  assert.deepEqual((await client.counters()).violations, []);
});

test('a pull request is answered as the truth has it', async () => {
  for (const truth of truths) {
    const ids = truth.pullRequests.slice(0, 60).map((pull) => pull.id);
    const { nodes } = await client.data(`query($ids: [ID!]!) { nodes(ids: $ids) { ... on PullRequest {
      id fullDatabaseId number title state isDraft createdAt updatedAt closedAt mergedAt merged additions deletions changedFiles reviewDecision totalCommentsCount
      author { __typename login } mergedBy { login } mergeCommit { oid } milestone { title } headRepository { nameWithOwner }
      reviews(first: 1) { totalCount } comments(first: 1) { totalCount } labels(first: 1) { totalCount }
      commits(first: 1) { totalCount nodes { commit { oid authoredDate } } } } } }`, { ids });
    nodes.forEach((node, index) => {
      const pull = truth.pullRequests[index];
      for (const key of ['id', 'fullDatabaseId', 'number', 'title', 'state', 'isDraft', 'createdAt', 'updatedAt', 'closedAt', 'mergedAt', 'additions', 'deletions', 'changedFiles', 'reviewDecision', 'mergeCommit']) {
        assert.deepEqual(node[key], pull[key], `${key} of ${pull.number}`);
      }
      assert.equal(node.merged, pull.state === 'MERGED');
      assert.equal(node.author?.login, pull.author?.login);
      assert.equal(node.author?.__typename, pull.author?.__typename);
      assert.equal(node.mergedBy?.login, pull.mergedBy?.login);
      assert.equal(node.milestone?.title, pull.milestone?.title);
      assert.equal(node.headRepository?.nameWithOwner ?? null, pull.headRepository);
      assert.equal(node.reviews.totalCount, pull.reviews.filter((review) => review.state !== 'PENDING').length);
      assert.equal(node.comments.totalCount, pull.comments.length);
      assert.equal(node.labels.totalCount, pull.labels.length);
      assert.equal(node.commits.totalCount, pull.commits.length);
      assert.equal(node.commits.nodes[0].commit.authoredDate, pull.commits[0].authoredDate);
      assert.equal(node.totalCommentsCount, pull.comments.length + pull.reviewThreads.reduce((sum, thread) => sum + thread.comments.length, 0));
      assert.ok(Number(node.fullDatabaseId) > 2 ** 31);
    });
  }
});

test('values of a loaded file are kept', async (t) => {
  if (!DATA) return t.skip('no ../shared/data/github beside the checkout');
  const file = JSON.parse(readFileSync(DATA, 'utf8'));
  const truth = truths[1];
  assert.equal(truth.pullRequests.length, file.pulls.length);
  assert.equal(truth.issues.length, file.issues.length);
  const byNumber = new Map([...truth.pullRequests, ...truth.issues].map((item) => [item.number, item]));
  for (const item of [...file.pulls, ...file.issues]) {
    const kept = byNumber.get(item.number);
    for (const key of ['id', 'title', 'state', 'createdAt', 'updatedAt', 'authorAssociation']) assert.equal(kept[key], item[key]);
    assert.equal(kept.author.login, item.author);
    assert.deepEqual(kept.labels.map((label) => label.name), item.labels);
    assert.ok(kept.comments.length >= item.comments.length);
    for (const review of item.reviews ?? []) assert.equal(kept.reviews.find((each) => each.id === review.id).submittedAt, review.createdAt);
    if (item.mergedAt) assert.deepEqual(kept.events.map((event) => event.__typename).filter((type) => ['MergedEvent', 'ClosedEvent'].includes(type)).slice(-2).sort(), ['ClosedEvent', 'MergedEvent']);
  }
});

test('fifty pull requests with all that hangs on them take less than fifty requests for one', async (t) => {
  if (!QUERIES || !DATA) return t.skip('no ../shared beside the checkout');
  const lists = JSON.parse(readFileSync(join(QUERIES, 'variables.json'), 'utf8'));
  const query = readFileSync(join(QUERIES, '11_pull_requests_by_id.graphql'), 'utf8');
  const fifty = variablesFor('11', truths[1], lists);
  const one = { ...fifty, ids: fifty.ids.slice(0, 1) };
  const took = async (variables) => {
    const start = performance.now();
    await client.data(query, variables);
    return performance.now() - start;
  };
  // In turn, and the quickest of each: whatever else the machine does meets both.
  const times = { one: Infinity, fifty: Infinity };
  for (let i = 0; i < 7; i += 1) {
    times.one = Math.min(times.one, await took(one));
    times.fifty = Math.min(times.fifty, await took(fifty));
  }
  t.diagnostic(`one: ${times.one.toFixed(1)} ms, fifty: ${times.fifty.toFixed(1)} ms`);
  assert.ok(times.fifty < 50 * times.one);
});
