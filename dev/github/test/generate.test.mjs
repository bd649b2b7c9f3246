import assert from 'node:assert/strict';
import { test } from 'node:test';
import { generateHistory } from '../generate.mjs';
import { loadHistory } from '../history.mjs';
import { lastTimeOf } from '../steps.mjs';
import { readGenerateSpec } from '../options.mjs';
import { shared, startServer } from '../client.mjs';

const settings = { nameWithOwner: 'acme/widgets', pulls: 300, issues: 150, seed: 9 };
const history = generateHistory(settings);
const { pullRequests, issues } = history;
const items = [...issues, ...pullRequests];

test('the same seed gives the same bytes, another seed others', () => {
  const bytes = JSON.stringify(history);
  assert.equal(JSON.stringify(generateHistory(settings)), bytes);
  assert.notEqual(JSON.stringify(generateHistory({ ...settings, seed: 10 })), bytes);
});

test('a loaded file is completed in the same way each time', (t) => {
  const file = shared('data/github/mlswg__mls-protocol.json');
  if (!file) return t.skip('no ../shared/data/github beside the checkout');
  assert.equal(JSON.stringify(loadHistory(file)), JSON.stringify(loadHistory(file)));
});

test('numbers are one sequence with holes, ids are unique and beyond 32 bits', () => {
  const numbers = items.map((item) => item.number);
  assert.equal(new Set(numbers).size, items.length);
  assert.ok(Math.max(...numbers) > items.length);
  const ids = items.flatMap((item) => [item, ...item.comments, ...item.events, ...(item.reviews ?? []), ...(item.reviewThreads ?? []).flatMap((thread) => [thread, ...thread.comments])]).map((record) => record.id);
  assert.equal(new Set(ids).size, ids.length);
  assert.ok(items.every((item) => Number(item.fullDatabaseId) > 2 ** 31));
});

test('most pull requests are small and a few are huge', () => {
  const reviews = pullRequests.map((pull) => pull.reviews.length).sort((a, b) => a - b);
  assert.ok(reviews[Math.floor(reviews.length * 0.75)] <= 3);
  assert.ok(reviews.at(-1) >= 111);
  assert.ok(Math.max(...pullRequests.map((pull) => pull.comments.length)) >= 250);
  assert.ok(Math.max(...pullRequests.flatMap((pull) => pull.reviewThreads.map((thread) => thread.comments.length))) > 100);
  const crowded = issues.find((issue) => issue.comments.length >= 150);
  assert.ok(crowded.labels.length >= 30 && crowded.assignees.length >= 12 && crowded.events.length > 100);
});

test('every awkward case is there', () => {
  const some = (wanted) => assert.ok(pullRequests.some(wanted), wanted.toString());
  const types = (pull) => pull.events.map((event) => event.__typename);
  some((pull) => pull.title.includes('\u0000'));
  some((pull) => /\ud83d(?![\udc00-\udfff])/.test(pull.title));
  some((pull) => pull.title.length === 256);
  some((pull) => pull.title.includes('\u202e') && pull.title.includes('\\'));
  some((pull) => pull.author === null);
  some((pull) => pull.author?.__typename === 'Bot');
  some((pull) => pull.author?.__typename === 'Mannequin');
  some((pull) => pull.headRepository === null);
  some((pull) => pull.state === 'MERGED' && types(pull).includes('ReopenedEvent'));
  some((pull) => pull.state === 'MERGED' && pull.reviews.length === 0);
  some((pull) => pull.reviews.some((review) => review.author && review.author === pull.author));
  some((pull) => pull.reviews.some((review) => review.createdAt > pull.mergedAt && pull.mergedAt));
  some((pull) => pull.reviews.some((review) => review.state === 'DISMISSED') && types(pull).includes('ReviewDismissedEvent'));
  some((pull) => pull.reviews.some((review) => review.state === 'PENDING' && review.submittedAt === null));
  some((pull) => pull.reviews.some((review) => review.author === null));
  some((pull) => pull.events.some((event) => event.__typename === 'ReadyForReviewEvent' && pull.reviews.some((review) => review.createdAt < event.createdAt)));
  some((pull) => pull.commits[0].authoredDate > pull.createdAt);
  some((pull) => pull.reviewRequests.length > 10 && pull.reviewRequests.some((request) => request.requestedReviewer === null));
  some((pull) => pull.closingIssuesReferences.length > 10);
  some((pull) => pull.isDraft && pull.state === 'OPEN');
  some((pull) => new Set(types(pull)).size === 21);
});

test('a merged pull request has a merge and a close of the same time, and updatedAt is never too early', () => {
  for (const pull of pullRequests.filter((each) => each.state === 'MERGED')) {
    const at = (type) => pull.events.filter((event) => event.__typename === type).at(-1)?.createdAt;
    assert.equal(at('MergedEvent'), pull.mergedAt);
    assert.equal(at('ClosedEvent'), pull.closedAt);
  }
  for (const item of items) assert.equal(item.updatedAt, lastTimeOf(item));
});

test('titles cross the wire as JSON writes them', async () => {
  const client = await startServer('--generate', 'acme/widgets:pulls=40,issues=20,seed=4');
  try {
    const { text, json } = await client.graphql('{ repository(owner: "acme", name: "widgets") { pullRequests(first: 40) { nodes { number title } } } }');
    assert.ok(text.includes('a\\u0000b'));
    assert.ok(text.includes('half a face \\ud83d and \\ude00x'));
    const truth = await client.truth('acme/widgets');
    assert.deepEqual(json.data.repository.pullRequests.nodes, truth.pullRequests.map(({ number, title }) => ({ number, title })));
  } finally {
    await client.stop();
  }
});

test('the settings of a made-up repository are read', () => {
  assert.deepEqual(readGenerateSpec('a/b:pulls=2,seed=7'), { nameWithOwner: 'a/b', pulls: 2, seed: 7 });
  assert.throws(() => readGenerateSpec('nonsense'), /owner\/name/);
  assert.throws(() => readGenerateSpec('a/b:pulls=x'), /whole number/);
  assert.equal(generateHistory({ nameWithOwner: 'a/b', empty: 1 }).pullRequests.length, 0);
  assert.equal(generateHistory({ nameWithOwner: 'a/b', labels: 7, milestones: 120, pulls: 5, issues: 5 }).milestones.length, 120);
});

test('full items have something in each list, crowded ones two pages of it', () => {
  const { pullRequests, issues } = generateHistory({ nameWithOwner: 'a/b', labels: 60, milestones: 1, pulls: 0, issues: 22, crowded: 1, full: 2, long_threads: 1 });
  const sizes = (item) => ['labels', 'assignees', 'comments', 'reviews', 'reviewThreads', 'reviewRequests', 'closingIssuesReferences'].map((list) => item[list]?.length);
  assert.deepEqual(sizes(pullRequests[0]), [51, 21, 101, 51, 51, 22, 21]);
  assert.deepEqual(sizes(issues[22]).slice(0, 3), [51, 21, 101]);
  for (const item of [...pullRequests.slice(1), ...issues.slice(23)]) assert.ok(sizes(item).every((size) => size === undefined || size >= 2));
  assert.deepEqual(pullRequests.map((pull) => pull.reviewThreads[0].comments.length), [51, 1, 51]);
});
