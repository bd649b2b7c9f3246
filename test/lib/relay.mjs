// A TCP relay before the emulated GitHub, or before a proxy, which cuts connections at a byte:
// node relay.mjs --to PORT [--record] [--cert FILE --key FILE]: with these it speaks TLS itself to those who connect to it.
// It prints {"port", "control"}. POST control/set {after, how, times}: of the next `times` connections the server's
// bytes go through up to byte `after`; then the connection is `reset`, or `half` closed: no more is sent, all is read.
// GET control/counters: {connections, cut, longest}, longest in bytes that the server sent on one connection.
// With --record, GET control/bytes: what went through in both directions, without the relay's own TLS; POST control/forget.

import { readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { connect, createServer as createTcpServer } from 'node:net';
import { TLSSocket, createSecureContext } from 'node:tls';

const option = (name) => (process.argv.includes(name) ? process.argv[process.argv.indexOf(name) + 1] : undefined);
const target = Number(option('--to'));
const identity = option('--cert') && createSecureContext({ cert: readFileSync(option('--cert')), key: readFileSync(option('--key')) });
const records = process.argv.includes('--record');
const pieces = [];
const counters = { connections: 0, cut: 0, longest: 0 };
let cut = null;

function takeCut() {
  if (!cut || cut.times < 1) return null;
  cut.times -= 1;
  return { ...cut };
}

function end(client, server, how) {
  counters.cut += 1;
  if (how === 'half') client.end();
  else client.resetAndDestroy();
  server.resume();
}

function relay(wire) {
  const mine = takeCut();
  const client = identity ? new TLSSocket(wire, { isServer: true, secureContext: identity }) : wire;
  const server = connect(target, '127.0.0.1');
  let sent = 0;
  let over = false;
  counters.connections += 1;
  for (const [from, to] of [[client, server], [server, client]]) {
    from.on('error', () => to.destroy());
    from.on('close', () => to.destroy());
  }
  if (records) for (const side of [client, server]) side.on('data', (bytes) => pieces.push(bytes));
  client.on('data', (bytes) => server.write(bytes));
  server.on('data', (bytes) => {
    if (over) return;
    const room = mine ? mine.after - sent : Infinity;
    sent += Math.min(bytes.length, room);
    counters.longest = Math.max(counters.longest, sent);
    if (bytes.length <= room) { client.write(bytes); return; }
    over = true;
    // What goes through has to arrive before the reset.
    client.write(bytes.subarray(0, room), () => setTimeout(end, 5, client, server, mine.how));
  });
}

const tcp = createTcpServer({ allowHalfOpen: true, noDelay: true }, relay);
const control = createServer(async (request, response) => {
  let text = '';
  for await (const piece of request) text += piece;
  if (request.url === '/bytes') { response.end(Buffer.concat(pieces)); return; }
  if (request.url === '/forget') pieces.length = 0;
  else if (request.method === 'POST') {
    cut = JSON.parse(text);
    counters.cut = 0;
    counters.longest = 0;
  }
  response.end(JSON.stringify(counters));
});
tcp.listen(0, '127.0.0.1', () => control.listen(0, '127.0.0.1', () => {
  process.stdout.write(`${JSON.stringify({ port: tcp.address().port, control: `http://127.0.0.1:${control.address().port}` })}\n`);
}));
