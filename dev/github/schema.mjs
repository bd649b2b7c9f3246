// GitHub's published schema, and what it says about a document: valid or refused.

import { readFileSync } from 'node:fs';
import { buildSchema, parse, validate, GraphQLError } from 'graphql';
import { formatRefusal } from './errors.mjs';

// The package's own entry parses an older copy of the schema; the text beside it is the current one.
const schemaFile = new URL('./node_modules/@octokit/graphql-schema/schema.graphql', import.meta.url);
export const schema = buildSchema(readFileSync(schemaFile, 'utf8'), { assumeValid: true });

const dateTime = schema.getType('DateTime');
dateTime.parseValue = readTime;
dateTime.parseLiteral = (node) => readTime(node.value);

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
