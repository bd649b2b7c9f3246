// strong.mjs URL OWNER/NAME: reads the fields that Keypup reads, as fast as a program can that does not know how Keypup does it:
// whole pages of a hundred from both ends of each list at once, all lists at once, further pages of nested lists beside them, up to
// 64 requests in flight, one statement for a page and table. Prints its seconds. Token in TOKEN, database in the libpq variables.
import { graphql } from '@octokit/graphql';
import pg from 'pg';

const [url, repository] = process.argv.slice(2);
const [owner, name] = repository.split('/');
const octokit = graphql.defaults({ baseUrl: url, headers: { authorization: `token ${process.env.TOKEN}` } });
const database = new pg.Pool({ max: 4 });

// GitHub allows a hundred at once, of all that use the token.
const free = { places: 64, waiting: [] };
async function request(query, variables) {
  if (free.places === 0) await new Promise((resolve) => { free.waiting.push(resolve); });
  else free.places -= 1;
  try {
    return await octokit(query, variables);
  } finally {
    if (free.waiting.length > 0) free.waiting.shift()();
    else free.places += 1;
  }
}

const page = 'pageInfo { hasNextPage endCursor }';
const actor = '{ ... on Actor { __typename login ... on User { id name } ... on Bot { id } ... on Mannequin { id } ... on Organization { id name } } }';
const reviewer = '{ __typename ... on User { id login name } ... on Bot { id login } ... on Mannequin { id login } ... on Team { combinedSlug } }';
const reviewComments = `${page} nodes { id fullDatabaseId createdAt updatedAt url author ${actor} pullRequestReview { fullDatabaseId } }`;
const events = {
  IssueComment: `fullDatabaseId createdAt updatedAt url author ${actor}`,
  AssignedEvent: `createdAt actor ${actor} assignee ${actor}`, UnassignedEvent: `createdAt actor ${actor} assignee ${actor}`,
  ClosedEvent: `createdAt actor ${actor}`, ReopenedEvent: `createdAt actor ${actor}`,
  ReadyForReviewEvent: `createdAt actor ${actor}`, ConvertToDraftEvent: `createdAt actor ${actor}`, MergedEvent: `createdAt actor ${actor}`,
  ReviewRequestedEvent: `createdAt actor ${actor} requestedReviewer ${reviewer}`, ReviewRequestRemovedEvent: `createdAt actor ${actor} requestedReviewer ${reviewer}`,
};
const typeName = (event) => event.replace(/(?<!^)[A-Z]/g, (letter) => `_${letter}`).toUpperCase();
const timeline = (types) => ({
  first: 100, body: `${page} nodes { __typename ... on Node { id } ${types.map((type) => `... on ${type} { ${events[type]} }`).join(' ')} }`,
  extra: `, itemTypes: [${types.map(typeName).join(', ')}]`,
});
const labels = { first: 50, body: `${page} nodes { id name }` };
const assignees = { first: 20, body: `${page} nodes ${actor}` };
const nested = {
  pullRequests: {
    labels, assignees,
    reviewRequests: { first: 20, body: `${page} nodes { requestedReviewer ${reviewer} }` },
    reviews: { first: 50, body: `${page} nodes { id fullDatabaseId state submittedAt updatedAt url author ${actor} }` },
    // What most pull requests have; each more costs a hundredth of a point for every pull request.
    reviewThreads: { first: 10, body: `${page} nodes { id comments(first: 20) { ${reviewComments} } }` },
    timelineItems: timeline(Object.keys(events)),
    closingIssuesReferences: { first: 20, body: `${page} nodes { number repository { id } }` },
  },
  issues: { labels, assignees, timelineItems: timeline(['IssueComment', 'AssignedEvent', 'UnassignedEvent', 'ClosedEvent', 'ReopenedEvent']) },
};
const fields = {
  pullRequests: `fullDatabaseId number url title state isDraft createdAt updatedAt closedAt mergedAt baseRefName headRefName additions deletions
    changedFiles author ${actor} mergedBy ${actor} milestone { id title } commits(first: 1) { totalCount nodes { commit { authoredDate } } }`,
  issues: `fullDatabaseId number url title state stateReason createdAt updatedAt closedAt author ${actor} milestone { id title }`,
};
const typeOf = { pullRequests: 'PullRequest', issues: 'Issue' };

async function complete(id, type, field, { body, extra = '' }, first) {
  const nodes = [...first.nodes];
  for (let { pageInfo } = first; pageInfo.hasNextPage;) {
    const { node } = await request(`query($id: ID!, $after: String) { node(id: $id) { ... on ${type} { ${field}(first: 100, after: $after${extra}) { ${body} } } } }`,
      { id, after: pageInfo.endCursor });
    nodes.push(...node[field].nodes);
    pageInfo = node[field].pageInfo;
  }
  return nodes;
}

const login = (someone) => someone?.login ?? someone?.combinedSlug ?? null;
const columns = 'id text, number bigint, kind text, login text, at timestamptz, changed_at timestamptz, state text, url text, data jsonb';

async function store(kind, items) {
  const rows = { items: [], reviews: [], comments: [], events: [] };
  await Promise.all(items.map(async (item) => {
    await Promise.all(Object.entries(nested[kind]).map(async ([field, list]) => {
      const nodes = await complete(item.id, typeOf[kind], field, list, item[field]);
      item[field] = nodes;
      if (field === 'reviewThreads') {
        await Promise.all(nodes.map(async (thread) => {
          for (const each of await complete(thread.id, 'PullRequestReviewThread', 'comments', { body: reviewComments }, thread.comments)) {
            rows.comments.push({ id: `r${each.fullDatabaseId}`, number: item.number, kind: 'review', login: login(each.author), at: each.createdAt, changed_at: each.updatedAt, url: each.url });
          }
        }));
      } else if (field === 'reviews') {
        rows.reviews.push(...nodes.map((each) => ({ id: each.fullDatabaseId, number: item.number, login: login(each.author), at: each.submittedAt, changed_at: each.updatedAt, state: each.state, url: each.url })));
      } else if (field === 'timelineItems') {
        for (const each of nodes) {
          const row = { id: each.fullDatabaseId ?? each.id, number: item.number, kind, login: login(each.author ?? each.actor), at: each.createdAt, changed_at: each.updatedAt, url: each.url };
          if (each.__typename === 'IssueComment') rows.comments.push(row);
          else rows.events.push({ ...row, state: each.__typename, data: login(each.assignee ?? each.requestedReviewer) });
        }
      }
    }));
    for (const field of ['reviews', 'reviewThreads', 'timelineItems']) delete item[field];
    rows.items.push({ id: item.id, number: item.number, kind, login: login(item.author), at: item.createdAt, changed_at: item.updatedAt, state: item.state, url: item.url, data: item });
  }));
  // Text cannot hold NUL or a lone surrogate.
  const clean = (list) => JSON.stringify(list, (key, value) => (typeof value === 'string' ? value.replaceAll('\0', '').replace(/\p{Surrogate}/gu, '') : value));
  await Promise.all(Object.entries(rows).filter(([, list]) => list.length > 0).map(([table, list]) => database.query(
    `INSERT INTO strong_${table} SELECT DISTINCT ON (id) * FROM jsonb_to_recordset($1) AS x(${columns}) ORDER BY id
     ON CONFLICT (id) DO UPDATE SET login = excluded.login, at = excluded.at, changed_at = excluded.changed_at, state = excluded.state, data = excluded.data`, [clean(list)])));
}

// Reads from one end until the other reader's pages are met.
async function read(kind, direction, size, seen) {
  const lists = Object.entries(nested[kind]).map(([field, { body, first, extra = '' }]) => `${field}(first: ${first}${extra}) { ${body} }`).join('\n');
  const stored = [];
  for (let after = null, more = true; more;) {
    const { repository: answer } = await request(`query($owner: String!, $name: String!, $after: String) { repository(owner: $owner, name: $name) {
      ${kind}(first: ${size}, after: $after, orderBy: { field: CREATED_AT, direction: ${direction} }) { ${page} nodes { id ${fields[kind]} ${lists} } } } }`, { owner, name, after });
    const fresh = answer[kind].nodes.filter(({ id }) => !seen.has(id));
    ({ hasNextPage: more, endCursor: after } = answer[kind].pageInfo);
    more &&= fresh.length === answer[kind].nodes.length;
    for (const { id } of fresh) seen.add(id);
    stored.push(store(kind, fresh));
  }
  await Promise.all(stored);
}

// What the repository says of itself, and its short lists.
async function readRepository() {
  const { repository: answer } = await request(`query($owner: String!, $name: String!) { repository(owner: $owner, name: $name) {
    id nameWithOwner url visibility isArchived hasIssuesEnabled createdAt updatedAt defaultBranchRef { name }
    labels(first: 100) { ${page} nodes { id name color createdAt updatedAt } }
    milestones(first: 100) { ${page} nodes { id number title state url createdAt updatedAt dueOn closedAt } }
    releases(first: 20) { ${page} nodes { id tagName name url isDraft isPrerelease createdAt publishedAt updatedAt author ${actor} tagCommit { committedDate } } }
    deployments(first: 20) { ${page} nodes { id environment state createdAt updatedAt ref { name } creator ${actor} commit { committedDate } statuses(first: 10) { ${page} nodes { state createdAt } } } } } }`, { owner, name });
  await database.query('INSERT INTO strong_items (id, kind, data) VALUES ($1, $2, $3)', [answer.id, 'repository', JSON.stringify(answer)]);
}

await database.query(`CREATE TABLE strong_items (${columns}, PRIMARY KEY (id)); CREATE TABLE strong_reviews (LIKE strong_items INCLUDING ALL);
  CREATE TABLE strong_comments (LIKE strong_items INCLUDING ALL); CREATE TABLE strong_events (LIKE strong_items INCLUDING ALL)`);
const started = performance.now();
const both = (kind, size) => {
  const seen = new Set();
  return ['ASC', 'DESC'].map((direction) => read(kind, direction, size, seen));
};
await Promise.all([readRepository(), ...both('pullRequests', 100), ...both('issues', 100)]);
console.log(((performance.now() - started) / 1000).toFixed(1));
await database.query('DROP TABLE strong_items, strong_reviews, strong_comments, strong_events');
await database.end();
