// Sending an answer over HTTP/1.1 or HTTP/2, whole, in pieces, cut short or without end.

import { gzipSync } from 'node:zlib';

const MOST_REQUEST_BYTES = 4 << 20;
const wait = (ms) => new Promise((resolve) => { setTimeout(resolve, ms); });

export async function readBody(request) {
  const pieces = [];
  let size = 0;
  for await (const piece of request) {
    size += piece.length;
    if (size > MOST_REQUEST_BYTES) throw new Error('request body is too large');
    pieces.push(piece);
  }
  return Buffer.concat(pieces).toString();
}

/** Close the connection without another word. */
export function drop(request) {
  if (request.stream?.session) request.stream.session.destroy();
  else request.socket.destroy();
}

/** Send JSON, packed when the client accepts it. `fault` may change how it is sent. */
export async function sendJson(request, response, status, headers, value, fault = {}) {
  let bytes = Buffer.from(JSON.stringify(value));
  const sent = { 'content-type': 'application/json; charset=utf-8', ...headers };
  if (bytes.length > 512 && /\bgzip\b/.test(request.headers['accept-encoding'] ?? '')) {
    bytes = gzipSync(bytes, { level: 1 });
    sent['content-encoding'] = 'gzip';
    sent.vary = 'Accept-Encoding';
  }
  await sendBytes(request, response, status, { ...sent, ...(fault.headers ?? {}) }, bytes, fault);
}

export async function sendBytes(request, response, status, headers, bytes, fault = {}) {
  if (response.destroyed || request.destroyed && !request.complete) return;
  const length = fault.endless ? {} : { 'content-length': String(bytes.length) };
  response.writeHead(status, { ...length, ...headers });
  if (fault.endless) await sendEndlessly(response);
  else if (fault.drop_after_bytes !== undefined) await sendPart(request, response, bytes.subarray(0, fault.drop_after_bytes));
  else if (fault.drip) await sendInDrops(response, bytes, fault.drip);
  else response.end(bytes);
}

async function sendPart(request, response, part) {
  // The written part has to reach the client before the connection goes.
  await new Promise((resolve) => { response.write(part.length > 0 ? part : Buffer.from(''), resolve); });
  await wait(20);
  drop(request);
}

async function sendInDrops(response, bytes, { bytes: size = 1, ms = 100 }) {
  for (let at = 0; at < bytes.length && !response.destroyed; at += size) {
    response.write(bytes.subarray(at, at + size));
    await wait(ms);
  }
  response.end();
}

async function sendEndlessly(response) {
  const piece = Buffer.alloc(64 << 10, ' ');
  let open = true;
  response.on('close', () => { open = false; });
  while (open && !response.destroyed) {
    if (!response.write(piece)) await Promise.race([new Promise((resolve) => { response.once('drain', resolve); }), wait(1000)]);
    else await wait(1);
  }
}
