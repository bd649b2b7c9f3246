// One page: reads the filters from its address, asks for the rows of each section, and draws them.
// body[data-state] is loading until all is there, and then ready: so tests and screenshots know.

import { expressionInterpreter } from '/vega-interpreter.mjs';
import { DAY, dateText } from './charts.mjs';
import { pages } from './sections.mjs';
import { element, makeNumbers, makeTable } from './tables.mjs';

const { vega, vegaLite } = globalThis;
const PERIODS = [['13', '13 weeks'], ['26', '26 weeks'], ['52', '52 weeks'], ['all', 'All time']];
const path = location.pathname === '/' ? '/flow' : location.pathname;
const page = pages[path];
const filters = document.querySelector('#filters');
const main = document.querySelector('#content');
const chosen = Object.fromEntries(['account', 'project', 'period'].map((name) => [name, new URLSearchParams(location.search).get(name) ?? '']));
let views = [];
let drawing = 0;

/** Rows of a query as objects; an Error with a message for people otherwise. */
async function read(query, values = {}) {
  const response = await fetch(`/data/${query}?${new URLSearchParams(values)}`).catch(() => { throw new Error('The server of these pages does not answer.'); });
  const { columns, rows, message } = await response.json();
  if (!response.ok) throw new Error(message);
  return rows.map((row) => Object.fromEntries(columns.map((column, i) => [column, row[i]])));
}

function drawNavigation() {
  const search = new URLSearchParams(Object.entries(chosen).filter(([, value]) => value));
  document.querySelector('nav').replaceChildren(...Object.entries(pages).map(([address, { title }]) =>
    element('a', { href: `${address}?${search}`, ...(address === path ? { 'aria-current': 'page' } : {}) }, title)));
  history.replaceState(null, '', `${path}?${search}`);
}

function fillSelect(name, options) {
  if (!options.some(([value]) => value === chosen[name])) chosen[name] = options[0]?.[0] ?? '';
  filters.elements[name].replaceChildren(...options.map(([value, text]) => element('option', { value, ...(value === chosen[name] ? { selected: '' } : {}) }, text)));
}

function drawPeriods() {
  if (!PERIODS.some(([value]) => value === chosen.period)) chosen.period = '52';
  filters.querySelector('fieldset').append(...PERIODS.map(([value, text]) =>
    element('label', {}, element('input', { type: 'radio', name: 'period', value, ...(value === chosen.period ? { checked: '' } : {}) }), element('span', {}, text))));
}

/** The chosen weeks, which end with the last one in which anything happened: {from, to}. */
async function readPeriod() {
  const [{ first_week: first, last_week: last }] = await read('range', chosen);
  const end = Date.parse(last ?? dateText(Date.now())) + 6 * DAY;
  const start = chosen.period === 'all' ? Date.parse(first ?? dateText(end)) : end - Number(chosen.period) * 7 * DAY + DAY;
  return { from: dateText(start), to: dateText(end) };
}

function drawAsOf(projects) {
  const read = projects.filter((project) => project.last_run_finished_at);
  const oldest = read.map((project) => project.last_run_finished_at).sort()[0];
  const behind = projects.filter((project) => project.percent < 100 || project.last_error || project.phase === 'stopped');
  document.querySelector('#as-of').textContent = projects.length === 0 ? 'No project is tracked yet.'
    : `${oldest ? `As of ${oldest.slice(0, 16).replace('T', ' ')} UTC` : 'Not read completely yet'} · ${projects.length} ${projects.length === 1 ? 'project' : 'projects'}`
      + (behind.length ? ` · ${behind.map((project) => `${project.project}: ${project.last_error ?? `${project.phase}, ${project.percent} % read`}`).join('; ')}` : '');
}

/** A period that ended a week ago or more ended because nothing has happened since. */
function drawResting(to) {
  const place = document.querySelector('#resting');
  place.hidden = Date.parse(to) + 7 * DAY > Date.now();
  place.textContent = `Nothing has happened since ${to}: the period ends there, and not today.`;
}

const message = (text, isError = false) => element('p', { class: isError ? 'message error' : 'message', ...(isError ? { role: 'alert' } : {}) }, text);

async function drawChart(place, specification, title) {
  // For the width there is; charts of several parts take it without their axes. Expressions are interpreted: no page needs eval.
  const width = Math.max(240, place.clientWidth - (specification.facet ? 90 : 10));
  const sized = JSON.parse(JSON.stringify(specification), (key, value) => (key === 'width' && value === 'container' ? width : value));
  const { spec } = vegaLite.compile(specification.facet ? sized : { ...sized, autosize: { type: 'fit-x', contains: 'padding' } });
  const view = new vega.View(vega.parse({ ...spec, description: title }, null, { ast: true }), { expr: expressionInterpreter, renderer: 'svg', container: place, hover: true });
  views.push(view);
  await view.runAsync();
  // A mark without data has nothing to be read out.
  for (const mark of place.querySelectorAll('g[role]:empty')) mark.setAttribute('aria-hidden', 'true');
}

/** A section with its place for a chart and for a table; filled by fillSection. */
function makeSection({ query, title, about, isWide }) {
  return element('section', { id: query, ...(isWide ? { class: 'wide' } : {}) }, element('h2', {}, title), element('p', { class: 'about' }, about), element('div', { class: 'both' }, message('Reading …')));
}

async function fillSection(place, { query, title, columns, chart, empty = 'No data yet in this period.' }, values) {
  const both = place.querySelector('.both');
  try {
    const rows = await read(query, values);
    if (rows.length === 0) return both.replaceChildren(message(empty));
    const drawn = element('div', { class: 'chart' });
    const table = element('div', { class: 'rows', tabindex: '0' }, makeTable(columns, rows, title));
    both.replaceChildren(drawn, table);
    await drawChart(drawn, chart(rows, values), title);
    table.style.maxHeight = `${Math.max(240, drawn.clientHeight)}px`;
  } catch (error) {
    both.replaceChildren(message(error.message, true));
  }
}

async function fillNumbers(place, { query, columns }, values) {
  try {
    const [row] = await read(query, values);
    place.replaceChildren(makeNumbers(columns, row));
  } catch (error) {
    place.replaceChildren(message(error.message, true));
  }
}

async function draw() {
  const number = ++drawing;
  document.body.dataset.state = 'loading';
  drawNavigation();
  try {
    const { from, to } = await readPeriod();
    const values = { account: chosen.account, project: chosen.project, from, to };
    if (number !== drawing) return;
    filters.querySelector('#range').textContent = `${from} to ${to}`;
    drawResting(to);
    for (const view of views.splice(0)) view.finalize();
    const sections = page.sections.map((section) => [makeSection(section), section]);
    const numbers = element('div');
    main.replaceChildren(numbers, ...sections.map(([place]) => place));
    await Promise.all([fillNumbers(numbers, page.numbers, values), ...sections.map(([place, section]) => fillSection(place, section, values))]);
  } catch (error) {
    if (number === drawing) main.replaceChildren(message(error.message, true));
  }
  if (number === drawing) document.body.dataset.state = 'ready';
}

async function chooseAccount() {
  const projects = await read('projects', { account: chosen.account });
  fillSelect('project', [['', 'All projects'], ...projects.map((project) => [String(project.project_id), project.project])]);
  drawAsOf(projects);
}

async function start() {
  document.title = `${page.title} · Keypup`;
  drawPeriods();
  try {
    const accounts = await read('accounts');
    fillSelect('account', accounts.map(({ account_id: value, account }) => [value, account]));
    document.querySelector('#account-filter').hidden = accounts.length < 2;
    await chooseAccount();
  } catch (error) {
    drawNavigation();
    main.replaceChildren(message(error.message, true));
    document.body.dataset.state = 'ready';
    return;
  }
  filters.addEventListener('submit', (event) => event.preventDefault());
  filters.addEventListener('change', async ({ target }) => {
    chosen[target.name] = target.value;
    if (target.name === 'account') await chooseAccount();
    await draw();
  });
  let width = innerWidth;
  let waiting;
  addEventListener('resize', () => {
    clearTimeout(waiting);
    waiting = setTimeout(() => { if (innerWidth !== width) { width = innerWidth; draw(); } }, 250);
  });
  // Charts have the colours of the light or of the dark.
  matchMedia('(prefers-color-scheme: dark)').addEventListener('change', draw);
  await draw();
}

start();
