// The services that the toy providers read: node server.mjs --dir DIR --tracker-token USER:SECRET --board-token TOKEN
//
// It prints {"url", "elsewhere", "control", "ca_file"}: url/tracker, url/board and url/plain (doc/providers.md) are the APIs, elsewhere is another origin with the same
// certificate, which nothing is to ask. The control interface: GET truth, GET counters, POST change {provider, kind, id, …}, POST remove
// {provider, id}, POST rename {id, key}, POST settings {faults: [{path, …}]}. A fault answers whatever asks for its path: status, headers,
// raw (a body), half (half of the list, and an error), loop (the page after it is itself), away (the page after it is elsewhere).

import { createServer as createControl } from 'node:http';
import { createServer } from 'node:https';
import { localCertificate } from '../../dev/github/certificate.mjs';

const option = (name) => process.argv[process.argv.indexOf(name) + 1];
const { cert, key, caFile } = localCertificate(option('--dir'));
const tokens = {
  tracker: ['authorization', `Basic ${Buffer.from(option('--tracker-token')).toString('base64')}`],
  board: ['x-board-token', option('--board-token')],
  plain: ['authorization', `Bearer ${option('--board-token')}`],
};
const counters = { elsewhere: 0, refused: 0, methods: {} };
const PAGE = 3;
let faults = [];
let url = '';
let elsewhere = '';

const day = (n) => new Date(Date.UTC(2026, 0, 1 + n, 8, n)).toISOString().replace('.000', '');
const uuid = (n) => `00000000-0000-4000-8000-${String(n).padStart(12, '0')}`;
const people = [{ id: 501, login: 'ada', name: 'Ada' }, { id: 502, login: 'bob', name: null }, null];

// A project's issues have keys; number and id stay when those change.
const projects = [{ id: 10001, key: 'PROJ', archived: false, created: day(0) }, { id: 10002, key: 'NEXT', archived: false, created: day(1) }];
const labels = [{ id: 71, name: 'bug', color: 'ff0000' }, { id: 72, name: 'Wunsch – später', color: null }];
const versions = projects.flatMap((project) => Array.from({ length: 5 }, (_, i) => (
  { id: project.id * 10 + i, project: project.id, name: `1.${i}`, released: i % 2 === 1, due: i ? day(40 + i) : null, releasedAt: i % 2 ? day(20 + i) : null })));
const sprints = projects.map((project) => ({ id: project.id * 100, project: project.id, name: `Sprint of ${project.key}`, state: 'active', starts: day(5), ends: day(19) }));
const categories = { 'To do': 'new', Doing: 'indeterminate', Done: 'done' };
const issues = Array.from({ length: 17 }, (_, i) => {
  const project = projects[i < 10 ? 0 : 1];
  const done = i % 3 === 0;
  const status = done ? 'Done' : i % 3 === 1 ? 'To do' : 'Doing';
  const its = versions.filter((v) => v.project === project.id);
  return {
    id: 20000 + i, project: project.id, serial: (i % 10) + 1, title: `Issue ${i} \u{1F511} "quoted"`, type: i % 2 ? 'Bug' : 'Task', status, category: categories[status],
    resolution: done ? 'completed' : null, priority: i % 2 ? 'High' : null, parent: i % 5 ? null : 20001, points: i % 4 ? i / 2 : null, sprint: i % 3 ? sprints[i < 10 ? 0 : 1].id : null,
    // Of several the first is the one that BI shows.
    versions: i % 2 ? [its[i % 5], ...(i % 4 === 1 ? [its[(i + 1) % 5]] : [])].map(({ id, name }) => ({ id, name })) : [],
    moves: i % 3 === 1 ? [] : [{ id: 90000 + i, at: day(12 + i), by: people[i % 2], from: 'To do', to: status, category: categories[status] }], creator: people[i % 3], assignee: people[(i + 1) % 3], created: day(i), updated: day(30 + i), resolved: done ? day(29 + i) : null,
    labels: i % 4 ? [labels[1].name, labels[0].name].slice(i % 2) : [],
  };
});
const keyOf = (issue) => `${projects.find((p) => p.id === issue.project).key}-${issue.serial}`;
const shown = ({ serial, project, ...issue }) => ({ ...issue, key: keyOf({ serial, project }), url: `${url}/tracker/browse/${keyOf({ serial, project })}` });

const boards = Array.from({ length: 5 }, (_, i) => ({ id: uuid(i + 1), name: `Board ${i + 1}`, private: i % 2 === 1, archived: i === 4, tags: [{ id: uuid(100 + i), name: 'red' }] }));
const cards = Array.from({ length: 11 }, (_, i) => ({
  id: uuid(1000 + i * 7), board: boards[i < 8 ? 0 : 1].id, title: `Card ${i}`, done: i % 2 === 0, author: i % 3 ? `u${i}` : null, owners: i % 3 ? ['zoe', 'ada'] : [],
  tags: i % 2 ? ['red'] : [], created: day(i), updated: day(10 + i), doneAt: i % 2 === 0 ? day(9 + i) : null,
}));

const list = { id: 'L1', issues: [{ id: 7, title: 'Milk', is_open: true, created: day(1), updated: day(2), closed: null }, { id: 9, title: 'Tea', is_open: false, created: day(3), updated: day(4), closed: day(4) }] };

/** A page of a list from an opaque token on: [elements, the token of the page after it]. */
function pageOf(list, token, size = PAGE, fault = {}) {
  const from = token ? Number(Buffer.from(token, 'base64url').toString().slice(1)) : 0;
  const next = fault.loop ? from : from + size;
  return [list.slice(from, from + size), next < list.length ? Buffer.from(`@${next}`).toString('base64url') : undefined];
}

const spoil = (fault, list) => (fault.half ? list.slice(0, list.length / 2) : list);
const because = (fault) => (fault.half ? { errors: [{ message: 'shard 3 did not answer' }] } : {});

function answerTracker(path, query, fault) {
  const [, kind, id, list] = path.split('/');
  const project = projects.find((p) => String(p.id) === id || p.key === id);
  if (kind === 'project' && !project) return [404, { message: 'no such project' }];
  if (kind === 'project' && list === 'versions') {
    const [values, next] = pageOf(versions.filter((v) => v.project === project.id), query.get('token'), PAGE, fault);
    const link = next && `${fault.away ? elsewhere : url}/tracker/project/${id}/versions?token=${next}`;
    return [200, { values: spoil(fault, values), next: link, ...because(fault) }];
  }
  if (kind === 'project') return [200, { ...project, url: `${url}/tracker/browse/${project.key}`, labels, sprints: sprints.filter((s) => s.project === project.id), issueTotal: issues.filter((i) => i.project === project.id).length }];
  if (kind !== 'search') return [404, { message: 'no such path' }];
  const found = issues.filter((i) => String(i.project) === query.get('project') && i.updated >= (query.get('since') ?? '') && (query.get('id') ?? String(i.id)) === String(i.id));
  found.sort((a, b) => (a.updated < b.updated ? -1 : a.updated > b.updated ? 1 : a.id - b.id));
  const [page, next] = pageOf(found, query.get('pageToken'), PAGE, fault);
  return [200, { issues: spoil(fault, page.map(shown)), nextPageToken: next, ...because(fault) }];
}

function answerBoard(path, asked, fault) {
  if (path === '/boards') {
    const [page, cursor] = pageOf(boards, asked.cursor, 2, fault);
    return [200, { boards: spoil(fault, page), cursor: cursor ?? null, ...because(fault) }];
  }
  const board = boards.find((b) => b.id === asked.id || b.name === asked.name);
  if (!board) return [404, { message: 'no such board' }];
  const its = cards.filter((c) => c.board === board.id);
  if (path === '/board') return [200, { board: { ...board, url: `${url}/b/${board.id}`, total: its.length } }];
  const [page, cursor] = pageOf(its, asked.cursor, Math.min(PAGE, asked.limit), fault);
  return [200, { cards: spoil(fault, page), cursor: cursor ?? null, ...because(fault) }];
}

async function readText(request) {
  let text = '';
  for await (const piece of request) text += piece;
  return text;
}

const api = createServer({ cert, key }, async (request, response) => {
  const { pathname, searchParams } = new URL(request.url, url);
  const [, provider, path] = /^\/(tracker|board|plain)(\/.*)$/.exec(pathname) ?? [];
  const text = await readText(request);
  const reply = (status, body, headers = {}) => {
    response.writeHead(status, { 'content-type': 'application/json', ...headers });
    response.end(typeof body === 'string' ? body : JSON.stringify(body));
  };
  if (!provider) return reply(404, {});
  counters.methods[`${provider} ${request.method}`] = (counters.methods[`${provider} ${request.method}`] ?? 0) + 1;
  const [header, value] = tokens[provider];
  if (request.headers[header] !== value) {
    counters.refused += 1;
    return reply(401, { message: 'who are you?' });
  }
  const fault = faults.find((f) => pathname.startsWith(f.path)) ?? {};
  const headers = JSON.parse(JSON.stringify(fault.headers ?? {}).replaceAll('$elsewhere', elsewhere));
  if (fault.status || fault.raw) return reply(fault.status ?? 200, fault.raw ?? { message: 'no' }, headers);
  if ((request.method === 'POST') !== (provider === 'board')) return reply(405, {});
  if (provider === 'plain') return reply(200, path === '/lists/shopping' ? list : {});
  return reply(...(provider === 'tracker' ? answerTracker(path, searchParams, fault) : answerBoard(path, JSON.parse(text), fault)));
});

const trap = createServer({ cert, key }, (request, response) => {
  counters.elsewhere += 1;
  response.end('{}');
});

const lists = { 'tracker issue': issues, 'tracker version': versions, 'board card': cards };
const controls = {
  '/truth': () => ({ projects, labels, versions, sprints, issues: issues.map((i) => ({ ...shown(i), project: i.project })), boards, cards }),
  '/counters': () => counters,
  '/settings': (asked) => { faults = asked.faults; return {}; },
  '/change': ({ provider, kind, id, ...fields }) => Object.assign(lists[`${provider} ${kind}`].find((i) => i.id === id), fields),
  '/remove': ({ id }) => cards.splice(cards.findIndex((c) => c.id === id), 1),
  '/rename': ({ id, key: newKey }) => Object.assign(projects.find((p) => p.id === id), { key: newKey }),
};
const control = createControl(async (request, response) => {
  const text = await readText(request);
  response.end(JSON.stringify(controls[request.url](text ? JSON.parse(text) : {})));
});

const listen = (server) => new Promise((resolve) => { server.listen(0, '127.0.0.1', () => resolve(server.address().port)); });
url = `https://localhost:${await listen(api)}`;
elsewhere = `https://localhost:${await listen(trap)}`;
process.stdout.write(`${JSON.stringify({ url, elsewhere, control: `http://127.0.0.1:${await listen(control)}`, ca_file: caFile })}\n`);
