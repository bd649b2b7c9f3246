// GitHub's published schema, and what it says about a document: valid or refused.

import { readFileSync } from 'node:fs';
import { buildASTSchema, parse, validate, GraphQLError } from 'graphql';
import { formatRefusal } from './errors.mjs';
import { withoutParts } from './older.mjs';

// The package's own entry parses an older copy of the schema; the text beside it is the current one.
const schemaFile = new URL('./node_modules/@octokit/graphql-schema/schema.graphql', import.meta.url);
const published = parse(readFileSync(schemaFile, 'utf8'), { noLocation: true });

/** The schema in use. It changes when parts are left out; importers see the new one. */
export let schema = build(published);

function build(document) {
  const built = buildASTSchema(document, { assumeValid: true, assumeValidSDL: true });
  const dateTime = built.getType('DateTime');
  dateTime.parseValue = readTime;
  dateTime.parseLiteral = (node) => readTime(node.value);
  return built;
}

/** Be an older server that lacks these: ["Type.field", "Type", ...]; an empty list brings everything back. */
export function leaveOut(names) {
  schema = build(withoutParts(published, names));
  known.clear();
}

function readTime(value) {
  if (typeof value !== 'string' || Number.isNaN(Date.parse(value))) throw new GraphQLError(`${JSON.stringify(value)} is not a valid DateTime`);
  return value;
}

const MOST_DOCUMENTS = 500;
const known = new Map();

/** {document, errors}: parsed and validated; remembered by the text, as clients repeat themselves. */
export function readDocument(text) {
  if (!known.has(text)) {
    if (known.size >= MOST_DOCUMENTS) known.clear();
    known.set(text, parseAndValidate(text));
  }
  return known.get(text);
}

function parseAndValidate(text) {
  let document;
  try {
    document = parse(text);
  } catch (error) {
    return { document: null, errors: [{ message: error.message, locations: error.locations ?? [], extensions: { code: 'parseError' } }] };
  }
  return { document, errors: validate(schema, document).map((error) => formatRefusal(error, document)) };
}

/** The operation a request means, or undefined when that is not clear. */
export function findOperation(document, operationName) {
  const operations = document.definitions.filter((definition) => definition.kind === 'OperationDefinition');
  if (operationName) return operations.find((operation) => operation.name?.value === operationName);
  return operations.length === 1 ? operations[0] : undefined;
}
