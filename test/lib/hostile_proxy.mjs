// A proxy that is no good: node hostile_proxy.mjs --cert FILE --key FILE
// It prints {"port", "control"}. POST control/set {head?, times?, tail?, end?, intercept?}: what CONNECT is answered, as it
// goes over the wire: head, then `times` times tail; then the connection ends when `end` says so, or, with `intercept`,
// TLS is spoken with the certificate, as if this were the host. GET control/counters: {connections, connects, secured,
// heard}: how many connections, and CONNECT requests, and TLS handshakes; what was said within TLS.

import { readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { createServer as createTcpServer } from 'node:net';
import { TLSSocket, createSecureContext } from 'node:tls';

const option = (name) => process.argv[process.argv.indexOf(name) + 1];
const identity = createSecureContext({ cert: readFileSync(option('--cert')), key: readFileSync(option('--key')) });
const counters = { connections: 0, connects: 0, secured: 0, heard: '' };
let answer = {};

function intercept(socket) {
  const host = new TLSSocket(socket, { isServer: true, secureContext: identity, ALPNProtocols: ['http/1.1'] });
  host.on('secure', () => { counters.secured += 1; });
  host.on('error', () => {});
  host.on('data', (bytes) => { counters.heard += bytes.toString('latin1'); });
}

async function send(socket, { head, times, tail, end, intercept: intercepts }) {
  socket.write(head ?? '');
  for (let i = 0; i < (times ?? 0) && !socket.destroyed; i += 1) {
    if (!socket.write(tail)) await new Promise((resolve) => { socket.once('drain', resolve); socket.once('close', resolve); });
  }
  if (intercepts) intercept(socket);
  else if (end && !socket.destroyed) socket.end();
}

const proxy = createTcpServer((socket) => {
  let text = '';
  const listen = (bytes) => {
    text += bytes.toString('latin1');
    if (!text.includes('\r\n\r\n')) return;
    if (text.startsWith('CONNECT ')) counters.connects += 1;
    socket.off('data', listen);
    send(socket, answer);
  };
  counters.connections += 1;
  socket.on('error', () => {});
  socket.on('data', listen);
});
const control = createServer(async (request, response) => {
  let text = '';
  for await (const piece of request) text += piece;
  if (request.method === 'POST') answer = JSON.parse(text);
  response.end(JSON.stringify(counters));
});
proxy.listen(0, '127.0.0.1', () => control.listen(0, '127.0.0.1', () => {
  process.stdout.write(`${JSON.stringify({ port: proxy.address().port, control: `http://127.0.0.1:${control.address().port}` })}\n`);
}));
