// One GraphQL request: read, refuse or execute it, count what it asked for.
// Answers {status, body, operationName}; the transport is the server's business.

import { execute, getVariableValues } from 'graphql';
import { estimate } from './cost.mjs';
import { formatExecutionError, isFailure } from './errors.mjs';
import { Nulls } from './nulls.mjs';
import { resolveField, resolveType } from './resolvers.mjs';
import { findOperation, readDocument, schema } from './schema.mjs';

/** The operation's name as far as it can be told before anything is checked (faults are matched by it). */
export function operationNameOf(request) {
  if (typeof request?.operationName === 'string' && request.operationName) return request.operationName;
  return /\b(?:query|mutation|subscription)\s+(\w+)/.exec(String(request?.query ?? '').replace(/#.*/g, ''))?.[1] ?? 'anonymous';
}

/** nulls: the places of the answer that a fault leaves empty (nulls.mjs). */
export async function answerGraphql(emulator, request, access, nulls = new Nulls()) {
  const { counters } = emulator;
  const name = operationNameOf(request);
  const refuse = (errors, extra = {}) => {
    counters.refused += 1;
    counters.countOperation(name, 0);
    return { status: 200, body: { ...extra, errors } };
  };
  if (typeof request?.query !== 'string' || request.query.trim() === '') {
    return refuse([{ message: 'A query attribute must be specified and must be a string.' }]);
  }
  const { document, errors } = readDocument(request.query);
  if (errors.length > 0) return refuse(errors);
  const operation = findOperation(document, request.operationName);
  if (!operation) return refuse([{ message: request.operationName ? `No operation named "${request.operationName}"` : 'An operation name is required' }]);
  if (operation.operation !== 'query') return refuse([{ type: 'FORBIDDEN', message: 'Resource not accessible by this token: it may read only.' }], { data: null });
  const { coerced, errors: variableErrors } = getVariableValues(schema, operation.variableDefinitions ?? [], request.variables ?? {});
  if (variableErrors) return refuse(variableErrors.map((error) => ({ extensions: { value: null, problems: [{ path: [], explanation: error.message }] }, locations: error.locations, message: error.message })));

  const asked = estimate(document, operation, coerced, access.scopes);
  // Recorded even when the request is then refused: the client did ask.
  for (const field of asked.source) counters.violations.push({ query: name, field });
  if (asked.bodies.length > 0) counters.bodyRequests += 1;
  if (asked.errors.length > 0) return refuse(asked.errors, asked.errors.some((error) => error.type === 'MAX_NODE_LIMIT_EXCEEDED') ? {} : { data: null });
  if (!access.budget.spend(asked.points)) {
    counters.countOperation(name, 0);
    return { status: 200, body: { errors: [{ type: 'RATE_LIMITED', message: `API rate limit exceeded for ${access.limited}.` }] } };
  }
  counters.countOperation(name, asked.points);
  return { status: 200, body: await run(emulator, access, document, operation, request, asked, nulls) };
}

async function run(emulator, access, document, operation, request, asked, nulls) {
  const result = await execute({
    schema, document, operationName: operation.name?.value, variableValues: request.variables ?? {},
    contextValue: { world: emulator.world, access, nulls, rateLimit: access.budget.field(asked.points, asked.nodes) },
    fieldResolver: resolveField, typeResolver: resolveType,
  });
  if (!result.errors) return nulls.finish({ data: result.data });
  for (const error of result.errors) {
    if (isFailure(error)) emulator.log(`emulator failure: ${error.originalError.stack}`);
  }
  return nulls.finish({ data: result.data ?? null, errors: result.errors.map(formatExecutionError) });
}
