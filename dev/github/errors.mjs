// Failures in GitHub's shapes.

/** A failure inside an answer: GitHub puts its `type` beside the message. */
export class ProviderError extends Error {
  constructor(type, message) {
    super(message);
    this.type = type;
  }
}

export const notFound = (what) => new ProviderError('NOT_FOUND', `Could not resolve to ${what}.`);

/** Whether it is an error of the emulator's own: not one in GitHub's shapes, nor a null where the schema has none. */
export function isFailure({ originalError }) {
  return Boolean(originalError) && !(originalError instanceof ProviderError) && !/^Cannot return null for non-nullable field/.test(originalError.message);
}

/** An error of the executor as GitHub writes it. */
export function formatExecutionError(error) {
  const answer = {};
  const type = error.originalError?.type;
  if (type) answer.type = type;
  if (error.path) answer.path = error.path;
  if (error.locations) answer.locations = error.locations;
  answer.message = error.message;
  if (isFailure(error)) answer.extensions = { code: 'emulatorFailure' };
  return answer;
}

// What graphql-js says, and the code and words that GitHub uses for the same refusal.
const REFUSALS = [
  [/^Cannot query field "(\w+)" on type "(\w+)"/, 'undefinedField', (field, type) => ({ typeName: type, fieldName: field, message: `Field '${field}' doesn't exist on type '${type}'` })],
  [/^Unknown argument "(\w+)" on field "(\w+)\.(\w+)"/, 'argumentNotAccepted', (argument, type, field) => ({ name: field, typeName: 'Field', argumentName: argument, message: `Field '${field}' doesn't accept argument '${argument}'` })],
  [/^Field "(\w+)" argument "(\w+)" of type .* is required/, 'missingRequiredArguments', (field, argument) => ({ className: 'Field', name: field, arguments: argument, message: `Field '${field}' is missing required arguments: ${argument}` })],
  [/^Variable "\$(\w+)" is not defined/, 'variableNotDefined', (name) => ({ variableName: name, message: `Variable $${name} is used by but not declared` })],
  [/^Variable "\$(\w+)" is never used/, 'variableNotUsed', (name) => ({ variableName: name, message: `Variable $${name} is declared but not used` })],
  [/^Variable "\$(\w+)" of type "(.+)" used in position expecting type "(.+)"/, 'variableMismatch', (name, has, wants) => ({ variableName: name, typeName: has, message: `Type mismatch on variable $${name} (${has} / ${wants})` })],
  [/^Fragment "(\w+)" is never used/, 'useless_fragment', (name) => ({ fragmentName: name, message: `Fragment ${name} was defined, but not used` })],
  [/^Unknown fragment "(\w+)"/, 'useAndDefineFragment', (name) => ({ fragmentName: name, message: `Fragment ${name} was used, but not defined` })],
  [/^Field "(\w+)" of type "(.+)" must have a selection/, 'selectionMismatch', (field, type) => ({ nodeName: `field '${field}'`, typeName: type, message: `Field must have selections (field '${field}' returns ${type} but has no selections. Did you mean '${field} { ... }'?)` })],
  [/^Field "(\w+)" must not have a selection/, 'selectionMismatch', (field) => ({ nodeName: `field '${field}'`, message: `Selections can't be made on scalars (field '${field}')` })],
  [/^Fields "(\w+)" conflict/, 'fieldConflict', (field) => ({ fieldName: field, message: `Field '${field}' has a field conflict` })],
  [/^Unknown type "(\w+)"/, 'undefinedType', (type) => ({ typeName: type, message: `No such type ${type}, so it can't be a fragment condition` })],
  [/^Value .* does not exist in|^(Int|String|Boolean|Expected value|Enum) .*/, 'argumentLiteralsIncompatible', () => ({})],
];

/** A refusal of the validator as GitHub writes it. */
export function formatRefusal(error, document) {
  let extensions = { code: 'invalid' };
  let { message } = error;
  for (const [pattern, code, explain] of REFUSALS) {
    const match = pattern.exec(error.message);
    if (!match) continue;
    const { message: words, ...details } = explain(...match.slice(1));
    extensions = { code, ...details };
    message = words ?? message;
    break;
  }
  return { path: pathTo(document, error.nodes?.[0]), extensions, locations: error.locations ?? [], message };
}

/** Where a node of the document stands, in the words of GitHub's `path`: operation, fields, fragments. */
function pathTo(document, node) {
  if (!node?.loc) return [];
  const steps = [];
  const visit = (current) => {
    if (!current?.loc || current.loc.start > node.loc.start || current.loc.end < node.loc.end) return;
    const step = stepName(current);
    if (step) steps.push(step);
    const children = current.definitions ?? [...(current.arguments ?? []), ...(current.selectionSet?.selections ?? [])];
    for (const child of children) visit(child);
  };
  visit(document);
  return steps;
}

function stepName(node) {
  switch (node.kind) {
    case 'OperationDefinition': return `${node.operation}${node.name ? ` ${node.name.value}` : ''}`;
    case 'FragmentDefinition': return `fragment ${node.name.value}`;
    case 'InlineFragment': return node.typeCondition ? `... on ${node.typeCondition.name.value}` : '...';
    case 'FragmentSpread': return `... ${node.name.value}`;
    case 'Field': return node.alias?.value ?? node.name.value;
    case 'Argument': return node.name.value;
    default: return null;
  }
}
