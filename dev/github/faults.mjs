// Made-up failures. A fault is plain data; the first one that matches a request is used.
//
//   match: {operation?, path?, repository?, nth?, every?, times?}   which requests (nth counts from 1; repository: that their variables name)
//   status, headers, body (JSON), raw (text), body_base64 (bytes), content_type   what is answered
//   delay_ms               wait first
//   late                   the answer is made at once, and kept until the faults are set anew
//   drop                   close the connection without an answer
//   drop_after_bytes       close it in the middle of the body
//   drip: {bytes, ms}      send the body in small pieces
//   bomb_bytes             a gzip body that unpacks to so many bytes
//   endless                a body that never ends
//   nulls: [{path, …}]     places of the real answer that stay empty: see nulls.mjs
//
// A fault that names no answer (status, body, raw, body_base64, bomb_bytes, endless, drop)
// lets the real one through, with its headers and its transport changed.

import { createGzip, gzipSync } from 'node:zlib';

export class Faults {
  constructor(list = []) {
    this.set(list);
  }

  set(list) {
    this.release?.();
    this.setAnew = new Promise((resolve) => { this.release = resolve; });
    this.list = list.map((fault) => ({ ...fault, seen: 0, used: 0, emptied: [] }));
  }

  /** The fault for this request, or undefined. Counts the request either way. */
  take({ operation, path, repository = () => false }) {
    let found;
    for (const fault of this.list) {
      const match = fault.match ?? {};
      if (match.operation && match.operation !== operation) continue;
      if (match.path && match.path !== path) continue;
      if (match.repository && !repository(match.repository)) continue;
      fault.seen += 1;
      if (found || !isDue(fault, match)) continue;
      fault.used += 1;
      found = fault;
    }
    return found;
  }

  report() {
    return this.list.map(({ seen, used, emptied, match }) => ({ match: match ?? {}, seen, used, emptied }));
  }
}

function isDue(fault, match) {
  if (match.times !== undefined && fault.used >= match.times) return false;
  if (match.nth !== undefined && fault.seen !== match.nth) return false;
  return match.every === undefined || fault.seen % match.every === 0;
}

export function replacesAnswer(fault) {
  return ['status', 'body', 'raw', 'body_base64', 'bomb_bytes', 'endless', 'drop'].some((key) => fault[key] !== undefined);
}

/** {status, headers, bytes}: the answer of a fault that replaces the real one. */
export async function faultAnswer(fault) {
  const status = fault.status ?? 200;
  const headers = {};
  let bytes = Buffer.alloc(0);
  if (fault.bomb_bytes !== undefined) {
    bytes = await gzipOfSpaces(fault.bomb_bytes);
    headers['content-encoding'] = 'gzip';
  } else if (fault.body_base64 !== undefined) bytes = Buffer.from(fault.body_base64, 'base64');
  else if (fault.raw !== undefined) bytes = Buffer.from(fault.raw);
  else if (fault.body !== undefined) bytes = Buffer.from(JSON.stringify(fault.body));
  if (fault.gzip) {
    bytes = gzipSync(bytes);
    headers['content-encoding'] = 'gzip';
  }
  headers['content-type'] = fault.content_type ?? (fault.raw === undefined ? 'application/json; charset=utf-8' : 'text/html; charset=utf-8');
  return { status, headers, bytes };
}

/** A body of spaces, packed piece by piece so that a large one needs little memory. */
async function gzipOfSpaces(size) {
  const gzip = createGzip({ level: 9 });
  const packed = [];
  gzip.on('data', (piece) => packed.push(piece));
  const done = new Promise((resolve, reject) => gzip.on('end', resolve).on('error', reject));
  const spaces = Buffer.alloc(1 << 20, ' ');
  for (let left = size; left > 0; left -= spaces.length) {
    if (!gzip.write(spaces.subarray(0, Math.min(left, spaces.length)))) await new Promise((resolve) => { gzip.once('drain', resolve); });
  }
  gzip.end();
  await done;
  return Buffer.concat(packed);
}
