// What a query asks for, before it is executed: GitHub's published formula for points and
// nodes, the bounds of every connection, and the fields that are selected.
//
//   requests = sum over the connections of the product of their parents' page sizes
//   points   = max(1, round(requests / 100))
//   nodes    = sum over the connections of that product times the own page size
//
// https://docs.github.com/graphql/overview/rate-limits-and-query-limits-for-the-graphql-api

import { getArgumentValues, getDirectiveValues, getNamedType, GraphQLIncludeDirective, GraphQLSkipDirective } from 'graphql';
import { schema } from './schema.mjs';
import { carriesBody, carriesSource } from './source.mjs';

export const NODE_LIMIT = 500_000;
const MOST_IDS = 100;
const SCOPED_FIELDS = new Map([
  ['Team.name', ['read:org', 'read:discussion']], ['Team.slug', ['read:org', 'read:discussion']], ['Team.combinedSlug', ['read:org', 'read:discussion']],
  ['User.email', ['user:email', 'read:user']],
]);

/** {requests, points, nodes, errors, source, bodies}; errors are complete GitHub errors. */
export function estimate(document, operation, variables, scopes) {
  const survey = {
    variables, scopes, requests: 0, nodes: 0, errors: [], source: new Set(), bodies: new Set(),
    fragments: new Map(document.definitions.filter((d) => d.kind === 'FragmentDefinition').map((d) => [d.name.value, d])),
  };
  const root = operation.operation === 'mutation' ? schema.getMutationType() : schema.getQueryType();
  measure(survey, root, [operation.selectionSet], 1, []);
  const { requests, nodes, errors } = survey;
  if (nodes > NODE_LIMIT) {
    errors.push({ type: 'MAX_NODE_LIMIT_EXCEEDED', message: `This query requests up to ${nodes.toLocaleString('en-US')} possible nodes which exceeds the maximum limit of 500,000.` });
  }
  return { requests, nodes, points: Math.max(1, Math.round(requests / 100)), errors, source: [...survey.source], bodies: [...survey.bodies] };
}

function measure(survey, parentType, selectionSets, times, path) {
  const fields = new Map();
  for (const selectionSet of selectionSets) collect(survey, parentType, selectionSet, fields, new Set());
  for (const { type, nodes } of fields.values()) measureField(survey, type, nodes, times, path);
}

/** The fields of a selection by type and answer key: a field asked for twice is paid for once. */
function collect(survey, type, selectionSet, fields, seen) {
  for (const selection of selectionSet.selections) {
    if (!isSwitchedOn(selection, survey.variables)) continue;
    if (selection.kind === 'Field') {
      const key = `${type.name}.${(selection.alias ?? selection.name).value}`;
      if (!fields.has(key)) fields.set(key, { type, nodes: [] });
      fields.get(key).nodes.push(selection);
      continue;
    }
    const fragment = selection.kind === 'FragmentSpread' ? survey.fragments.get(selection.name.value) : selection;
    if (selection.kind === 'FragmentSpread') {
      const use = `${type.name}.${selection.name.value}`;
      if (seen.has(use)) continue;
      seen.add(use);
    }
    const condition = fragment.typeCondition ? schema.getType(fragment.typeCondition.name.value) : type;
    collect(survey, condition, fragment.selectionSet, fields, seen);
  }
}

function isSwitchedOn(selection, variables) {
  if (!selection.directives || selection.directives.length === 0) return true;
  if (getDirectiveValues(GraphQLSkipDirective, selection, variables)?.if === true) return false;
  return getDirectiveValues(GraphQLIncludeDirective, selection, variables)?.if !== false;
}

function measureField(survey, type, nodes, times, path) {
  const [node] = nodes;
  const name = node.name.value;
  const definition = type.getFields?.()[name];
  if (!definition) return;
  noteField(survey, type, name, node);
  const here = [...path, (node.alias ?? node.name).value];
  const returned = getNamedType(definition.type);
  const isConnection = returned.name.endsWith('Connection') && definition.args.some((arg) => arg.name === 'first');
  let childTimes = times;
  if (isConnection || (type.name === 'Query' && name === 'nodes')) {
    const args = getArgumentValues(definition, node, survey.variables);
    const size = isConnection ? pageSize(survey, name, args, node, here) : idCount(survey, args, node, here);
    survey.requests += times;
    survey.nodes += times * size;
    childTimes = times * size;
  }
  const children = nodes.map((each) => each.selectionSet).filter(Boolean);
  if (children.length > 0) measure(survey, returned, children, childTimes, here);
}

function noteField(survey, type, name, node) {
  if (carriesSource(type.name, name)) survey.source.add(`${type.name}.${name}`);
  if (carriesBody(type.name, name)) survey.bodies.add(`${type.name}.${name}`);
  const needed = SCOPED_FIELDS.get(`${type.name}.${name}`);
  // Null: an app, which has permissions instead.
  if (!needed || survey.scopes === null || needed.some((scope) => survey.scopes.includes(scope))) return;
  const list = (scopes) => `[${scopes.map((scope) => `'${scope}'`).join(', ')}]`;
  addError(survey, 'INSUFFICIENT_SCOPES', node, undefined, `Your token has not been granted the required scopes to execute this query. The '${name}' field requires one of the following scopes: ${list(needed)}, but your token has only been granted the: ${list(survey.scopes)} scopes. Please modify your token's scopes at: https://github.com/settings/tokens.`);
}

function addError(survey, type, node, path, message) {
  const { line, column } = node.loc.startToken;
  survey.errors.push({ type, ...(path ? { path } : {}), locations: [{ line, column }], message });
}

function pageSize(survey, name, args, node, path) {
  const refuse = (type, message) => {
    addError(survey, type, node, path, message);
    return 0;
  };
  const { first, last } = args;
  if (!Number.isInteger(first) && !Number.isInteger(last)) {
    return refuse('MISSING_PAGINATION_BOUNDARIES', `You must provide a \`first\` or \`last\` value to properly paginate the \`${name}\` connection.`);
  }
  if (Number.isInteger(first) && Number.isInteger(last)) {
    return refuse('INVALID_CURSOR_ARGUMENTS', `Passing both \`first\` and \`last\` to paginate the \`${name}\` connection is not supported.`);
  }
  const [bound, size] = Number.isInteger(first) ? ['first', first] : ['last', last];
  if (size > 100) {
    return refuse('EXCESSIVE_PAGINATION', `Requesting ${size} records on the \`${name}\` connection exceeds the \`${bound}\` limit of 100 records.`);
  }
  if (size < 1) return refuse('INVALID_PAGINATION', `\`${bound}\` on the \`${name}\` connection must be at least 1.`);
  return size;
}

function idCount(survey, args, node, path) {
  if (args.ids.length > MOST_IDS) {
    addError(survey, 'ARGUMENT_LIMIT', node, path, `You may not provide more than 100 node ids; you provided ${args.ids.length}.`);
  }
  return args.ids.length;
}
