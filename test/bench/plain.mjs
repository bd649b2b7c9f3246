// plain.mjs URL OWNER/NAME: reads the same history as Keypup into tables, the way a good plain program
// does it: octokit's GraphQL client, page after page, further pages of nested lists where there are any,
// one upsert per page and table. Prints its seconds. Token in TOKEN, database in the libpq variables.
import { graphql } from '@octokit/graphql';
import pg from 'pg';

const [url, repository] = process.argv.slice(2);
const [owner, name] = repository.split('/');
const request = graphql.defaults({ baseUrl: url, headers: { authorization: `token ${process.env.TOKEN}` } });
const database = new pg.Client();

const who = 'author { __typename login }';
const page = 'pageInfo { hasNextPage endCursor }';
const reviewComments = `${page} nodes { fullDatabaseId createdAt updatedAt ${who} }`;
const reviews = `${page} nodes { id fullDatabaseId state submittedAt ${who} comments(first: 10) { ${reviewComments} } }`;
const comments = `${page} nodes { fullDatabaseId createdAt updatedAt ${who} }`;
const event = '{ createdAt actor { login } }';
const timeline = (types) => `${page} nodes { __typename ... on Node { id } ${types.map((type) => `... on ${type} ${event}`).join(' ')} }`;
const pullTypes = '[READY_FOR_REVIEW_EVENT, CONVERT_TO_DRAFT_EVENT, REVIEW_REQUESTED_EVENT, MERGED_EVENT, CLOSED_EVENT, REOPENED_EVENT]';
const issueTypes = '[CLOSED_EVENT, REOPENED_EVENT]';

const nested = {
  pullRequests: {
    reviews: { body: reviews, first: 20 }, comments: { body: comments, first: 50 },
    timelineItems: { body: timeline(['ReadyForReviewEvent', 'ConvertToDraftEvent', 'ReviewRequestedEvent', 'MergedEvent', 'ClosedEvent', 'ReopenedEvent']), first: 50, extra: `, itemTypes: ${pullTypes}` },
  },
  issues: { comments: { body: comments, first: 50 }, timelineItems: { body: timeline(['ClosedEvent', 'ReopenedEvent']), first: 50, extra: `, itemTypes: ${issueTypes}` } },
};
const fields = {
  pullRequests: `fullDatabaseId number title state isDraft createdAt updatedAt closedAt mergedAt baseRefName headRefName additions deletions changedFiles
    ${who} mergedBy { login } milestone { title } labels(first: 30) { nodes { name } } assignees(first: 10) { nodes { login } }
    reviewRequests(first: 10) { nodes { requestedReviewer { ... on User { login } } } } commits(first: 1) { totalCount nodes { commit { authoredDate } } }
    closingIssuesReferences(first: 10) { nodes { number } }`,
  issues: `fullDatabaseId number title state stateReason createdAt updatedAt closedAt ${who} milestone { title }
    labels(first: 30) { nodes { name } } assignees(first: 10) { nodes { login } }`,
};
const typeOf = { pullRequests: 'PullRequest', issues: 'Issue' };

// Reads a nested list to its end.
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

async function store(kind, items) {
  const rows = { items: [], reviews: [], comments: [], events: [] };
  for (const item of items) {
    rows.items.push({ kind, number: item.number, data: item });
    for (const [field, list] of Object.entries(nested[kind])) {
      const nodes = await complete(item.id, typeOf[kind], field, list, item[field]);
      for (const node of nodes) {
        const row = { id: node.fullDatabaseId ?? node.id, number: item.number, login: (node.author ?? node.actor)?.login ?? null, at: node.createdAt ?? node.submittedAt, state: node.state ?? node.__typename ?? null };
        if (field === 'reviews') {
          rows.reviews.push(row);
          for (const comment of await complete(node.id, 'PullRequestReview', 'comments', { body: reviewComments }, node.comments)) {
            rows.comments.push({ id: `r${comment.fullDatabaseId}`, number: item.number, login: comment.author?.login ?? null, at: comment.createdAt });
          }
        } else if (field === 'comments') rows.comments.push(row);
        else rows.events.push(row);
      }
      delete item[field];
    }
  }
  // Text cannot hold NUL or a lone surrogate.
  const clean = (rowsOfTable) => JSON.stringify(rowsOfTable, (key, value) => (typeof value === 'string' ? value.replaceAll('\0', '').replace(/\p{Surrogate}/gu, '') : value));
  await database.query('BEGIN');
  await database.query(`INSERT INTO plain_items SELECT * FROM jsonb_to_recordset($1) AS x(kind text, number bigint, data jsonb)
    ON CONFLICT (kind, number) DO UPDATE SET data = excluded.data`, [clean(rows.items)]);
  for (const table of ['reviews', 'comments', 'events']) {
    await database.query(`INSERT INTO plain_${table} SELECT * FROM jsonb_to_recordset($1) AS x(id text, number bigint, login text, at timestamptz, state text)
      ON CONFLICT (id) DO UPDATE SET login = excluded.login, at = excluded.at, state = excluded.state`, [clean(rows[table])]);
  }
  await database.query('COMMIT');
}

async function read(kind, size) {
  const lists = Object.entries(nested[kind]).map(([field, { body, first, extra = '' }]) => `${field}(first: ${first}${extra}) { ${body} }`).join('\n');
  for (let after = null, more = true; more;) {
    const { repository: answer } = await request(`query($owner: String!, $name: String!, $after: String) { repository(owner: $owner, name: $name) {
      ${kind}(first: ${size}, after: $after, orderBy: { field: CREATED_AT, direction: ASC }) { ${page} nodes { id ${fields[kind]} ${lists} } } } }`, { owner, name, after });
    await store(kind, answer[kind].nodes);
    ({ hasNextPage: more, endCursor: after } = answer[kind].pageInfo);
  }
}

await database.connect();
await database.query(`CREATE TABLE plain_items (kind text, number bigint, data jsonb, PRIMARY KEY (kind, number));
  CREATE TABLE plain_reviews (id text PRIMARY KEY, number bigint, login text, at timestamptz, state text);
  CREATE TABLE plain_comments (LIKE plain_reviews INCLUDING ALL); CREATE TABLE plain_events (LIKE plain_reviews INCLUDING ALL)`);
const started = performance.now();
await read('pullRequests', 25);
await read('issues', 50);
console.log(((performance.now() - started) / 1000).toFixed(1));
await database.query('DROP TABLE plain_items, plain_reviews, plain_comments, plain_events');
await database.end();
