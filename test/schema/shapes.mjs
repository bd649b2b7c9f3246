// shapes.mjs: reads {shapes} and then requests {name, query}, one JSON a line, and holds what keypup.github_shapes says must be there
// against the queries and GitHub's published schema: every field that is asked for is named, with its kind; what the schema lets never be
// null may not be null; and a list may not, whatever the schema says. Prints TAP.
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { schema } from '../../dev/github/schema.mjs';

const graphql = createRequire(new URL('../../dev/github/package.json', import.meta.url))('graphql');
const { parse, getNamedType, getNullableType, isAbstractType, isCompositeType, isEnumType, isListType, isNonNullType } = graphql;

const [first, ...lines] = readFileSync(0, 'utf8').split('\n').filter(Boolean);
const { shapes } = JSON.parse(first);
const ROOTS = {
  'KeypupRepository repository': 'WholeRepository', 'KeypupRepositoryById node': 'WholeRepository', 'KeypupLabels node.labels': 'LabelList',
  'KeypupMilestones node.milestones': 'MilestoneList', 'KeypupPullRequestStubs node.pullRequests': 'StubList', 'KeypupIssueStubs node.issues': 'StubList',
  'KeypupReleasePages node.releases': 'ReleaseList', 'KeypupDeploymentPages node.deployments': 'DeploymentList', 'KeypupPullRequests nodes': 'PullRequest',
  'KeypupMergeStates nodes': 'MergeState', 'KeypupIssues nodes': 'Issue', 'KeypupReleases nodes': 'Release', 'KeypupDeployments nodes': 'Deployment', 'KeypupExistence nodes': 'Existing',
  'KeypupNestedPages n0': 'NestedPage', 'KeypupPoll nodes': 'Polled', 'KeypupPoll delivering': 'Delivering', 'KeypupPoll unfinished': 'DeploymentState',
  'KeypupProjects viewer.repositories': 'FoundList', 'KeypupViewer viewer': 'Viewer', 'KeypupViewer nodes': 'Viewed',
};
// Null where the schema allows it, and yet needed: nothing can be stored without.
const NEEDED = new Set(['fullDatabaseId']);
const KINDS = { String: 'text', URI: 'text', ID: 'text', Int: 'number', Boolean: 'boolean', DateTime: 'time', BigInt: 'key', GitObjectID: 'text' };

// A list that tells nothing where it is null: the rules of a branch in a repository that can have none.
const MAY_BE_NULL = new Set(['BaseRef.rules']);

let number = 0;
let failed = 0;
const check = (wrong, name) => {
  number += 1;
  failed += wrong.length > 0 ? 1 : 0;
  console.log(`${wrong.length > 0 ? 'not ok' : 'ok'} ${number} - ${name}${wrong.map((each) => `\n# ${each}`).join('')}`);
};

function misfits(document, operation, wrong) {
  const fragments = new Map(document.definitions.filter((each) => each.kind === 'FragmentDefinition').map((each) => [each.name.value, each]));
  const seen = new Set();
  /** shape: null above the parts of the answer that have one. */
  const visit = (type, selectionSet, shape, path, condition) => {
    for (const selection of selectionSet.selections) {
      if (selection.kind !== 'Field') {
        const fragment = selection.kind === 'FragmentSpread' ? fragments.get(selection.name.value) : selection;
        const inner = fragment.typeCondition ? schema.getType(fragment.typeCondition.name.value) : type;
        visit(inner, fragment.selectionSet, shape, path, isAbstractType(inner) ? condition : inner.name);
        continue;
      }
      const field = selection.name.value;
      const key = (selection.alias ?? selection.name).value;
      const here = [...path, key];
      if (field === '__typename') continue;
      const definition = type.getFields()[field];
      const composite = isCompositeType(getNamedType(definition.type));
      if (shape === null) {
        const root = ROOTS[`${operation} ${here.join('.')}`] ?? null;
        if (root) seen.add(`${operation} ${here.join('.')}`);
        if (composite && field !== 'rateLimit') visit(getNamedType(definition.type), selection.selectionSet, root, here, null);
        continue;
      }
      const conditional = shapes[shape][`on ${condition}`] ?? shapes[shape][`if ${key}`];
      let member = shapes[shape][key] ?? shapes[conditional]?.[key];
      if (shape === 'PageInfo' && key === 'endCursor') member = `${shapes.NextPage.endCursor}?`;
      if (member === undefined) {
        wrong.push(`${shape}.${key} is asked for, and has no shape`);
        continue;
      }
      check_member(definition.type, member, `${shape}.${key}`);
      if (composite) visit(getNamedType(definition.type), selection.selectionSet, member.replace(/[[\]?~]/g, ''), here, null);
    }
  };
  const check_member = (type, member, name) => {
    const named = getNamedType(type);
    const inner = getNullableType(type);
    const isList = isListType(inner) || named.name.endsWith('Connection');
    if (isListType(inner) !== member.startsWith('[')) wrong.push(`${name} is ${member} where the schema has ${type}`);
    const kind = member.replace(/[[\]?~]/g, '');
    const expected = isCompositeType(named) ? null : isEnumType(named) ? 'text' : KINDS[named.name];
    if (expected !== null ? kind !== expected : !shapes[kind]) wrong.push(`${name} is ${member} where the schema has ${type}`);
    const mayBeNull = member.endsWith('?');
    if (mayBeNull && (isNonNullType(type) || isList) && !MAY_BE_NULL.has(name)) wrong.push(`${name} may not be null`);
    if (!mayBeNull && !isNonNullType(type) && !isList && !NEEDED.has(name.split('.')[1])) wrong.push(`${name} may be null`);
  };
  visit(schema.getQueryType(), document.definitions.find((each) => each.kind === 'OperationDefinition').selectionSet, null, [], null);
  return seen;
}

const all = new Set();
for (const line of lines) {
  const { name, query } = JSON.parse(line);
  const wrong = [];
  for (const root of misfits(parse(query), /query (\w+)/.exec(query)[1], wrong)) all.add(root);
  check([...new Set(wrong)], `what must be there in the answer to ${name} is what is asked for`);
}
check(Object.keys(ROOTS).filter((root) => !all.has(root)), 'every shape of an answer was met');
console.log(`1..${number}`);
process.exitCode = failed ? 1 : 0;
