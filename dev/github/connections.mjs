// Cursor connections. A cursor names the order and the key of one element, not its
// position: items that come or go between two pages move nobody else (keyset paging).

import { ProviderError } from './errors.mjs';

const encodeCursor = (order, key) => Buffer.from(`cursor:v2:${JSON.stringify([order, ...key])}`).toString('base64');

function decodeCursor(cursor, order) {
  const text = Buffer.from(cursor, 'base64').toString();
  try {
    const [cursorOrder, ...key] = JSON.parse(text.replace(/^cursor:v2:/, ''));
    if (text.startsWith('cursor:v2:') && cursorOrder === order) return key;
  } catch { /* not one of ours: refused below */ }
  throw new ProviderError('INVALID_CURSOR_ARGUMENTS', `\`${cursor}\` does not appear to be a valid cursor.`);
}

export function compareKeys(a, b) {
  for (let i = 0; i < a.length; i += 1) {
    if (a[i] < b[i]) return -1;
    if (a[i] > b[i]) return 1;
  }
  return 0;
}

/** How many elements of a list sorted by key come before (or, with `through`, up to and with) the key. */
function countBefore(items, keyOf, sign, key, through) {
  let low = 0;
  let high = items.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    const order = sign * compareKeys(keyOf(items[middle]), key);
    if (order < 0 || (through && order === 0)) low = middle + 1;
    else high = middle;
  }
  return low;
}

/**
 * One page of a list.
 *
 * items: sorted by keyOf, ascending, or descending when `descending`.
 * order: the name of that order; a cursor of another order is refused.
 */
export function page(items, args, { order, keyOf, descending = false }) {
  const sign = descending ? -1 : 1;
  const name = `${order}${descending ? ' DESC' : ''}`;
  // After a made-up cursor the list begins anew: what nulls.mjs puts into an answer may lead round and round.
  let from = args.after && !args.after.startsWith('round:') ? countBefore(items, keyOf, sign, decodeCursor(args.after, name), true) : 0;
  let to = args.before ? countBefore(items, keyOf, sign, decodeCursor(args.before, name), false) : items.length;
  if (Number.isInteger(args.skip)) from += args.skip;
  to = Math.max(from, to);
  if (Number.isInteger(args.first)) to = Math.min(to, from + args.first);
  else if (Number.isInteger(args.last)) from = Math.max(from, to - args.last);
  const nodes = items.slice(from, to);
  const cursor = (node) => encodeCursor(name, keyOf(node));
  return {
    totalCount: items.length,
    filteredCount: items.length,
    pageCount: nodes.length,
    nodes,
    edges: () => nodes.map((node) => ({ cursor: cursor(node), node })),
    pageInfo: () => ({
      hasNextPage: to < items.length,
      hasPreviousPage: from > 0,
      startCursor: nodes.length > 0 ? cursor(nodes[0]) : null,
      endCursor: nodes.length > 0 ? cursor(nodes.at(-1)) : null,
    }),
  };
}

export const databaseKey = (record) => [Number(record.fullDatabaseId ?? record.databaseId)];
export const creationKey = (record) => [record.createdAt, Number(record.fullDatabaseId ?? 0)];

/** One page of a list that needs sorting first. */
export function sortedPage(items, args, options) {
  const sign = options.descending ? -1 : 1;
  const sorted = items.slice().sort((a, b) => sign * compareKeys(options.keyOf(a), options.keyOf(b)));
  return page(sorted, args, options);
}
