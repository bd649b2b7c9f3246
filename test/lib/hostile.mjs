// An HTTPS server that speaks HTTP/1.1 as badly as it is told: node hostile.mjs --cert FILE --key FILE [--tls 1.1] [--tls12-ciphers LIST]
// It prints {"port", "control"}. POST control/set {head?, heads?, times?, tail?, rest?, end?}: what is answered to a
// request, as it goes over the wire: head, or one of heads in turn, then `times` times tail, in which # is how many came
// before, then rest; then the connection ends when `end` says so. GET control/counters: {connections, secured, requests,
// with_token}.

import { readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { createServer as createTlsServer } from 'node:tls';

const option = (name) => (process.argv.includes(name) ? process.argv[process.argv.indexOf(name) + 1] : undefined);
const counters = { connections: 0, secured: 0, requests: 0, with_token: 0 };
let answer = { head: 'HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}' };

async function send(socket) {
  socket.write(answer.heads?.[counters.requests % answer.heads.length] ?? answer.head ?? '', 'latin1');
  for (let i = 0; i < (answer.times ?? 0) && !socket.destroyed; i += 1) {
    if (!socket.write(answer.tail.replaceAll('#', i), 'latin1')) await new Promise((resolve) => { socket.once('drain', resolve); socket.once('close', resolve); });
  }
  socket.write(answer.rest ?? '', 'latin1');
  if (answer.end && !socket.destroyed) socket.end();
}

const old = option('--tls') === '1.1' ? { minVersion: 'TLSv1', maxVersion: 'TLSv1.1', ciphers: 'ALL:@SECLEVEL=0' } : {};
const chosen = option('--tls12-ciphers') ? { maxVersion: 'TLSv1.2', ciphers: option('--tls12-ciphers') } : {};
const tls = createTlsServer({ cert: readFileSync(option('--cert')), key: readFileSync(option('--key')), ...old, ...chosen }, (socket) => {
  let text = '';
  counters.secured += 1;
  socket.on('error', () => {});
  socket.on('data', (bytes) => {
    text += bytes.toString('latin1');
    if (!text.includes('\r\n\r\n')) return;
    counters.requests += 1;
    if (/^authorization:/im.test(text)) counters.with_token += 1;
    text = '';
    send(socket);
  });
});
tls.on('connection', (socket) => { counters.connections += 1; socket.on('error', () => {}); });
tls.on('tlsClientError', () => {});
const control = createServer(async (request, response) => {
  let text = '';
  for await (const piece of request) text += piece;
  if (request.method === 'POST') answer = JSON.parse(text);
  response.end(JSON.stringify(counters));
});
tls.listen(0, '127.0.0.1', () => control.listen(0, '127.0.0.1', () => {
  process.stdout.write(`${JSON.stringify({ port: tls.address().port, control: `http://127.0.0.1:${control.address().port}` })}\n`);
}));
