// Serves the pages, and the rows of queries/*.sql that they draw, to browsers on this machine.
// Environment: see openDatabase; PORT, 8080 unless set. Prints one line of JSON when it is ready.

import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { extname } from 'node:path';
import { checkRole, explain, openDatabase, readRows } from './database.mjs';
import { readQueries } from './queries.mjs';

const TYPES = { '.html': 'text/html; charset=utf-8', '.css': 'text/css; charset=utf-8', '.mjs': 'text/javascript; charset=utf-8', '.js': 'text/javascript; charset=utf-8' };

const here = (path) => new URL(path, import.meta.url);
const index = readFileSync(here('pages/index.html'), 'utf8');
// The one script inside the page is its import map: named by its digest, so that no other may stand there.
const importMap = /<script type="importmap">([^]*?)<\/script>/.exec(index)[1];
const HEADERS = {
  'Content-Security-Policy': `default-src 'none'; script-src 'self' 'sha256-${createHash('sha256').update(importMap).digest('base64')}'; style-src 'self'; `
    + "img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
  'X-Content-Type-Options': 'nosniff',
  'Referrer-Policy': 'no-referrer',
  'Cross-Origin-Resource-Policy': 'same-origin',
  'Cache-Control': 'no-store',
};

// Every path that is served: nothing else of the disk can be asked for.
const files = new Map([
  ...['/', '/flow', '/reviews', '/delivery', '/access'].map((path) => [path, 'pages/index.html']),
  ...['page.mjs', 'sections.mjs', 'charts.mjs', 'tables.mjs', 'vega_util.mjs', 'style.css'].map((name) => [`/${name}`, `pages/${name}`]),
  ['/vega.js', 'node_modules/vega/build/vega.min.js'],
  ['/vega-lite.js', 'node_modules/vega-lite/build/vega-lite.min.js'],
  ['/vega-interpreter.mjs', 'node_modules/vega-interpreter/build/vega-interpreter.js'],
].map(([path, file]) => [path, { type: TYPES[extname(file)], content: readFileSync(here(file)) }]));

const queries = readQueries(here('queries/'));

async function answer(database, request) {
  if (request.method !== 'GET') return json(405, { message: 'Pages are only read.' });
  if (!URL.canParse(request.url, 'http://localhost')) return json(400, { message: 'There is no such address.' });
  const url = new URL(request.url, 'http://localhost');
  const file = files.get(url.pathname);
  if (file) return { status: 200, ...file };
  const query = queries.get(/^\/data\/(\w+)$/.exec(url.pathname)?.[1]);
  if (!query) return json(404, { message: 'There is no such page.' });
  try {
    return json(200, await readRows(database, query.text, query.names.map((name) => url.searchParams.get(name) ?? '')));
  } catch (error) {
    console.error(`${url.pathname}: ${error.code ?? ''} ${error.message}`);
    const { status, message } = explain(error);
    return json(status, { message });
  }
}

const json = (status, value) => ({ status, type: 'application/json; charset=utf-8', content: JSON.stringify(value) });

function startServer(database, port) {
  const server = createServer(async (request, response) => {
    // By name or number of this machine only: a name that somebody else's DNS points here would let their page read ours.
    const isOurs = [`localhost:${server.address().port}`, `127.0.0.1:${server.address().port}`].includes(request.headers.host);
    const reply = isOurs ? await answer(database, request) : json(421, { message: 'This server answers to localhost.' });
    response.writeHead(reply.status, { ...HEADERS, 'Content-Type': reply.type }).end(reply.content);
  });
  server.on('error', fail);
  server.listen(port, '127.0.0.1', () => console.log(JSON.stringify({ url: `http://localhost:${server.address().port}` })));
}

function fail(error) {
  console.error(`error: ${error.message}`);
  process.exit(1);
}

try {
  const database = openDatabase(process.env);
  await checkRole(database);
  startServer(database, Number(process.env.PORT ?? 8080));
} catch (error) {
  fail(error);
}
