// Holds JSON against the published schemas in schemas.json, as strictly as proto3's JSON mapping is: no field that is not there, numbers of 64 bits as text.

import { readFileSync } from 'node:fs';
import { join } from 'node:path';

const { messages } = JSON.parse(readFileSync(join(import.meta.dirname ?? new URL('.', import.meta.url).pathname, 'schemas.json'), 'utf8'));
const SCALARS = {
  string: (value) => typeof value === 'string',
  boolean: (value) => typeof value === 'boolean',
  number: (value) => typeof value === 'number',
  int64: (value) => typeof value === 'string' && /^-?\d{1,20}$/.test(value),
  bytes: (value) => typeof value === 'string' && /^[0-9a-f]*$/.test(value),
  // Numbers, as the names may not be used in OTLP's JSON.
  severity: (value) => Number.isInteger(value) && value >= 1 && value <= 24,
  struct: (value) => value !== null && typeof value === 'object' && !Array.isArray(value),
  timestamp: (value) => typeof value === 'string' && /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?Z$/.test(value) && !Number.isNaN(Date.parse(value)),
};

/** What is wrong with a value, a line each; none when it fits. */
export function misfits(type, value, at = '') {
  if (Array.isArray(type)) return Array.isArray(value) ? value.flatMap((item, i) => misfits(type[0], item, `${at}[${i}]`)) : [`${at}: no list`];
  if (typeof type === 'object') return SCALARS.struct(value) ? Object.entries(value).flatMap(([key, item]) => misfits(type.of, item, `${at}.${key}`)) : [`${at}: no map`];
  if (SCALARS[type]) return SCALARS[type](value) ? [] : [`${at}: no ${type}`];
  const message = messages[type];
  if (!message) return [`${at}: ${type} is not used here`];
  if (message.enum) return message.enum.includes(value) ? [] : [`${at}: ${value} is none of ${type}`];
  if (!SCALARS.struct(value)) return [`${at}: no ${type}`];
  return Object.entries(value).flatMap(([field, item]) => (Object.hasOwn(message, field) ? misfits(message[field], item, `${at}.${field}`) : [`${at}.${field}: there is none in ${type}`]));
}
