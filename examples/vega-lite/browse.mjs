// Opens the pages in Chromium: takes a picture of one, or does as told and writes what a person would read there.
//   node browse.mjs --url http://localhost:8080/reviews --picture FILE.png [--width 390] [--height all]
//   node browse.mjs --url http://localhost:8080 --steps '[{"follow": "Reviews"}, {"choose": {"project": "demo/two"}}, {"period": "26 weeks"}]' > pages.json
// --colors dark: as on a device that is set to dark. --check: what axe finds on each page that not everybody can use.

import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { chromium } from 'playwright-core';

const READY = 180_000;

const { values: options } = parseArgs({ options: {
  url: { type: 'string' }, picture: { type: 'string' }, width: { type: 'string', default: '1280' }, height: { type: 'string', default: '900' }, colors: { type: 'string', default: 'light' },
  steps: { type: 'string', default: '[]' }, check: { type: 'boolean', default: false }, chromium: { type: 'string', default: '/usr/bin/chromium' },
} });

/** What a browser does by itself is switched off, and no name but localhost is found: it asks nobody but the server of the pages. */
async function openBrowser(profile) {
  return chromium.launchPersistentContext(profile, {
    executablePath: options.chromium,
    viewport: { width: Number(options.width), height: options.height === 'all' ? 900 : Number(options.height) },
    colorScheme: options.colors,
    // West of UTC, where days that are taken for midnights slip to the day before.
    timezoneId: 'America/Los_Angeles', locale: 'en-US',
    args: ['--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking', '--disable-component-update', '--disable-sync',
      '--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE localhost'],
    // As people see the pages: a bar takes its place from what it scrolls.
    ignoreDefaultArgs: ['--hide-scrollbars'],
    // In a container there may be none to be had; what it opens is ours.
    chromiumSandbox: false,
  });
}

/** Gathers what must not be: errors, and requests to anybody else. */
function watch(page, origin) {
  const seen = { errors: [], strangers: [], requests: [] };
  page.on('console', (message) => { if (['error', 'warning'].includes(message.type())) seen.errors.push(message.text()); });
  page.on('pageerror', (error) => seen.errors.push(error.message));
  page.on('requestfailed', (request) => seen.errors.push(`${request.url()}: ${request.failure()?.errorText}`));
  page.on('request', (request) => {
    const url = new URL(request.url());
    if (url.protocol === 'data:') return;
    (url.origin === origin ? seen.requests : seen.strangers).push(url.href);
  });
  return seen;
}

const settled = (page) => page.waitForFunction(() => document.body.dataset.state === 'ready', null, { timeout: READY });

const actions = {
  follow: (page, name) => page.getByRole('navigation').getByRole('link', { name }).click(),
  choose: async (page, wanted) => { for (const [name, label] of Object.entries(wanted)) await page.locator(`select[name=${name}]`).selectOption({ label }); },
  period: (page, name) => page.getByText(name, { exact: true }).click(),
};

async function perform(page, step) {
  for (const [name, value] of Object.entries(step)) {
    await page.evaluate(() => { document.body.dataset.state = 'acting'; });
    await actions[name](page, value);
    await settled(page);
  }
}

/** The page as text: filters, numbers, and of each section its table and the texts of its chart's marks. */
function readPage(page) {
  return page.evaluate(() => {
    const text = (node) => node?.textContent.trim() ?? null;
    const texts = (within, selector) => [...within.querySelectorAll(selector)].map(text);
    // What reaches over its place, where nobody can scroll to it; and tables that need scrolling to the side.
    const cut = () => [...document.querySelectorAll('body, body *:not(svg *)')].filter((node) => node.scrollWidth > node.clientWidth && node.clientWidth > 0
      && (node.matches('.rows') || !['auto', 'scroll'].includes(getComputedStyle(node).overflowX)) && getComputedStyle(node).textOverflow !== 'ellipsis' && getComputedStyle(node).display !== 'inline')
      .map((node) => `${node.closest('section')?.id ?? ''} ${node.localName}.${node.className}: ${node.scrollWidth} in ${node.clientWidth}: ${node.textContent.slice(0, 40)}`);
    return {
      title: document.title, address: location.pathname + location.search, as_of: text(document.querySelector('#as-of')), range: text(document.querySelector('#range')),
      accounts: texts(document, '#account-filter:not([hidden]) option'), projects: texts(document, 'select[name=project] option'),
      numbers: Object.fromEntries([...document.querySelectorAll('dd')].map((node) => [node.dataset.column, text(node)])),
      messages: texts(document, '.message'), resting: text(document.querySelector('#resting:not([hidden])')),
      cut: cut(),
      sections: Object.fromEntries([...document.querySelectorAll('section')].map((section) => [section.id, {
        title: text(section.querySelector('h2')), message: text(section.querySelector('.message')),
        headings: texts(section, 'th'),
        rows: [...section.querySelectorAll('tbody tr')].map((row) => Object.fromEntries([...row.cells].map((cell, i) => [section.querySelectorAll('th')[i].dataset.column, text(cell)]))),
        axes: texts(section, 'svg .role-axis-title text'),
        marks: [...section.querySelectorAll('svg [role="graphics-symbol"][aria-label]')].filter((mark) => !/axis|legend|title|header|line mark|area mark/.test(mark.getAttribute('aria-roledescription')))
          .map((mark) => { const { x, y, width, height } = mark.getBoundingClientRect(); return { text: mark.getAttribute('aria-label'), x: x + width / 2, y: y + height / 2, width, height }; }),
      }])),
      html: document.documentElement.outerHTML,
    };
  });
}

/** What axe finds on the page: rule, part of the page and reason. */
async function checkPage(page) {
  await page.evaluate(readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8'));
  const { violations } = await page.evaluate(() => globalThis.axe.run(document, { resultTypes: ['violations'] }));
  return violations.flatMap(({ id, nodes }) => nodes.map(({ html, failureSummary }) => `${id}: ${html.slice(0, 200)}: ${failureSummary}`));
}

const readAll = async (page) => ({ ...await readPage(page), ...(options.check ? { found: await checkPage(page) } : {}) });

const profile = mkdtempSync(join(tmpdir(), 'pages.'));
const browser = await openBrowser(profile);
try {
  const page = browser.pages()[0] ?? await browser.newPage();
  page.setDefaultTimeout(READY);
  const seen = watch(page, new URL(options.url).origin);
  await page.goto(options.url);
  await settled(page);
  const pages = [await readAll(page)];
  for (const step of JSON.parse(options.steps)) {
    await perform(page, step);
    pages.push(await readAll(page));
  }
  if (options.picture) await page.screenshot({ path: options.picture, fullPage: options.height === 'all' });
  else console.log(JSON.stringify({ pages, ...seen }));
} finally {
  await browser.close();
  rmSync(profile, { recursive: true, force: true });
}
