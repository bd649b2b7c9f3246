// The kinds of chart: rows in, a Vega-Lite specification out. Each mark has a text, which the pointer shows and a screen reader says.

// Okabe and Ito's colours, which people with any colour vision tell apart.
export const COLORS = { blue: '#0072b2', orange: '#e69f00', green: '#009e73', vermilion: '#d55e00', purple: '#cc79a7', sky: '#56b4e9' };

/** A colour of the pages' style sheet, which has others for the dark. */
const pageColor = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();

const makeConfig = () => ({
  background: null,
  font: 'system-ui, "DejaVu Sans", sans-serif',
  view: { stroke: null },
  axis: { labelFontSize: 11, titleFontSize: 11, titleFontWeight: 'normal', labelColor: pageColor('quiet'), titleColor: pageColor('quiet'), gridColor: pageColor('grid'), domainColor: pageColor('line'), tickColor: pageColor('line') },
  legend: { orient: 'top', title: null, labelFontSize: 12, labelColor: pageColor('ink'), symbolType: 'square' },
  header: { title: null, labelFontSize: 12, labelFontWeight: 600, labelColor: pageColor('ink'), labelAnchor: 'start', labelPadding: 4 },
  text: { color: pageColor('ink') },
});

export const DAY = 86_400_000;
export const dateText = (milliseconds) => new Date(milliseconds).toISOString().slice(0, 10);
const valueText = (value, unit) => [value.toLocaleString('en', { maximumFractionDigits: 1 }), value === 1 ? unit?.replace(/s$/, '') : unit].filter(Boolean).join(' ');

/** One row a series and value that is there: {series, at, value, text}. series: [{name, title, color}]. */
function unpivot(rows, { x, series, unit }) {
  return rows.flatMap((row) => series.filter(({ name }) => row[name] !== null).map(({ name, title }) => ({
    series: title, at: Date.parse(row[x]), value: row[name], text: `${title}, ${row[x]}: ${valueText(row[name], unit)}`,
  })));
}

/** With a run each: only weeks that follow each other are joined by a line. */
function withRuns(values) {
  const last = new Map();
  return [...values].sort((a, b) => a.at - b.at).map((value) => {
    const before = last.get(value.series);
    const made = { ...value, run: before && value.at - before.at <= 7 * DAY ? before.run : value.at };
    last.set(value.series, made);
    return made;
  });
}

const marked = { description: { field: 'text' }, tooltip: { field: 'text', type: 'nominal' } };
const colored = (series) => ({ field: 'series', type: 'nominal', sort: null, legend: series.length > 1 ? {} : null, scale: { domain: series.map((s) => s.title), range: series.map((s) => s.color) } });
/** Mondays of a short period, and first days of months of a longer one: at most eight or so. */
function ticksOf({ from, to }) {
  const [start, end] = [Date.parse(from), Date.parse(to)];
  const weeks = (end - start) / DAY / 7;
  const ticks = [];
  if (weeks <= 30) {
    for (let day = start; day <= end; day += Math.max(1, Math.ceil(weeks / 8)) * 7 * DAY) ticks.push(day);
  } else {
    const step = [1, 2, 3, 6, 12, 24].find((months) => weeks / 4.3 / months <= 9) ?? 60;
    const first = new Date(start).getUTCFullYear();
    for (let month = 0; Date.UTC(first, month) <= end; month += step) if (Date.UTC(first, month) >= start) ticks.push(Date.UTC(first, month));
  }
  return ticks;
}

// The whole period in every chart, so that they can be read beside each other. Milliseconds as plain numbers, for which days are
// days wherever the browser is.
const overTime = (title, period) => ({
  field: 'at', type: 'quantitative', title, scale: { domain: [Date.parse(period.from), Date.parse(period.to) + DAY], nice: false, zero: false },
  axis: { grid: false, values: ticksOf(period), labelExpr: "utcFormat(datum.value, '%-d %b %y')", labelOverlap: true, labelFlush: true },
});
const withData = (values, specification) => ({ $schema: 'https://vega.github.io/schema/vega-lite/v6.json', config: makeConfig(), data: { values }, width: 'container', height: 240, ...specification });

// Half of the hours are below ten and some above a thousand: with a logarithmic scale, which has a place for 0, both are seen.
const upward = (log, tickCount) => ({
  scale: { zero: true, ...(log ? { type: 'symlog', constant: 1 } : {}) },
  axis: log ? { values: tickCount < 6 ? [0, 1, 10, 100, 1000, 10000] : [0, 1, 3, 10, 30, 100, 300, 1000, 3000, 10000] } : { tickCount, tickMinStep: 1 },
});

/** Lines over time: {x, xTitle, period: {from, to}, unit, yTitle, series, log?}. */
export function lines(rows, { x, xTitle, period, unit, yTitle, series, log = false }) {
  const values = withRuns(unpivot(rows, { x, series, unit }));
  return withData(values, {
    mark: { type: 'line', strokeWidth: 2, point: { size: 28, filled: true } },
    encoding: { x: overTime(xTitle, period), y: { field: 'value', type: 'quantitative', title: yTitle, ...upward(log, 6) }, color: colored(series), detail: { field: 'run' }, ...marked },
  });
}

/** The same, a small chart of its own for each series, under one another and of one scale. */
export function smallLines(rows, { x, xTitle, period, unit, yTitle, series, height = 72, log = false }) {
  const values = withRuns(unpivot(rows, { x, series, unit }));
  const { width, ...whole } = withData(values, { height: undefined });
  return {
    ...whole,
    facet: { row: { field: 'series', type: 'nominal', sort: series.map((s) => s.title), header: { labelAngle: 0, labelAlign: 'left', labelOrient: 'top' } } },
    spacing: 12,
    spec: {
      width, height,
      mark: { type: 'line', strokeWidth: 2, point: { size: 20, filled: true } },
      encoding: {
        x: overTime(xTitle, period), y: { field: 'value', type: 'quantitative', title: yTitle, ...upward(log, 3) },
        color: { ...colored(series), legend: null }, detail: { field: 'run' }, ...marked,
      },
    },
  };
}

/** Bars as wide as a week, the series on top of each other. */
export function weeks(rows, { x, xTitle, period, unit, yTitle, series }) {
  const values = rows.flatMap((row) => {
    const start = Date.parse(row[x]);
    let foot = 0;
    return series.filter(({ name }) => row[name] > 0).map(({ name, title }) => {
      const bottom = foot;
      foot += row[name];
      return { series: title, at: start + DAY / 2, end: start + 6.5 * DAY, bottom, top: foot, text: `${title}, ${row[x]}: ${valueText(row[name], unit)}` };
    });
  });
  return withData(values, {
    mark: { type: 'rect' },
    encoding: {
      x: overTime(xTitle, period), x2: { field: 'end' },
      y: { field: 'bottom', type: 'quantitative', title: yTitle, axis: { tickMinStep: 1, tickCount: 6 }, scale: values.length > 0 ? {} : { domain: [0, 1] } }, y2: { field: 'top' },
      color: colored(series), ...marked,
    },
  });
}

/** Areas on top of each other, the first series below. */
export function areas(rows, { x, xTitle, period, yTitle, unit, series }) {
  const values = unpivot(rows, { x, series, unit })
    .map((value) => ({ ...value, order: series.findIndex((s) => s.title === value.series) }));
  const encoding = {
    x: overTime(xTitle, period),
    y: { field: 'value', type: 'quantitative', stack: 'zero', title: yTitle, axis: { tickMinStep: 1, tickCount: 6 } },
    color: colored(series), order: { field: 'order', type: 'quantitative' },
  };
  // Points that are not to be seen carry the texts, since an area is one mark.
  return withData(values, { layer: [
    { mark: { type: 'area', opacity: 0.85, aria: false }, encoding },
    { mark: { type: 'point', filled: true, size: 60, opacity: 0 }, encoding: { ...encoding, ...marked } },
  ] });
}

/** A bar a row, the longest first: {category, value, unit, title}. */
export function ranking(rows, { category, value, unit, title, color, most = 20 }) {
  const values = rows.slice(0, most).map((row, place) => ({ place, name: row[category], value: row[value], text: `${row[category]}: ${valueText(row[value], unit)}` }));
  const names = values.map(({ name }) => name);
  const y = { field: 'place', type: 'ordinal', sort: null, title: null, axis: { labelExpr: `${JSON.stringify(names)}[datum.value]`, labelLimit: 160, domain: false, ticks: false } };
  const x = { field: 'value', type: 'quantitative', title, axis: { tickMinStep: 1 } };
  return withData(values, {
    height: Math.max(60, values.length * 20),
    layer: [
      { mark: { type: 'bar', color, height: { band: 0.75 } }, encoding: { x, y, ...marked } },
      { mark: { type: 'text', align: 'left', dx: 4, fontSize: 11, aria: false }, encoding: { x, y, text: { field: 'value', format: ',' } } },
    ],
  });
}

/** A square a pair of names, the darker the more. */
export function pairs(rows, { down, across, value, unit, downTitle, acrossTitle, most = 16 }) {
  const heaviest = (field) => {
    const sums = new Map();
    for (const row of rows) sums.set(row[field], (sums.get(row[field]) ?? 0) + row[value]);
    return [...sums].sort((a, b) => b[1] - a[1]).slice(0, most).map(([name]) => name);
  };
  const [downNames, acrossNames] = [heaviest(down), heaviest(across)];
  const values = rows.filter((row) => downNames.includes(row[down]) && acrossNames.includes(row[across]))
    .map((row) => ({ ...row, text: `${row[across]} reviewed ${row[down]}: ${valueText(row[value], unit)}` }));
  const high = Math.max(...values.map((row) => row[value]));
  const x = { field: across, type: 'nominal', sort: acrossNames, title: acrossTitle, axis: { orient: 'top', labelAngle: -45, domain: false, ticks: false } };
  const y = { field: down, type: 'nominal', sort: downNames, title: downTitle, axis: { domain: false, ticks: false } };
  return withData(values, {
    height: Math.max(80, downNames.length * 22),
    layer: [
      { mark: { type: 'rect', stroke: pageColor('card') }, encoding: { x, y, color: { field: value, type: 'quantitative', scale: { scheme: 'blues', domain: [0, high] }, legend: null }, ...marked } },
      { mark: { type: 'text', fontSize: 10, aria: false }, encoding: { x, y, text: { field: value }, color: { condition: { test: `datum[${JSON.stringify(value)}] > ${0.6 * high}`, value: '#fff' }, value: '#1b1f24' } } },
    ],
  });
}

/** A mark a row along an axis of days, a line of them for each group. */
export function strips(rows, { group, groups, value, unit, title, describe }) {
  const values = rows.map((row) => ({ ...row, text: `${describe(row)}: ${valueText(row[value], unit)}` }));
  const lengths = rows.map((row) => row[value]);
  // From hours to years in one picture; but plain where all are much alike.
  const isWide = Math.max(...lengths) > 20 * (Math.min(...lengths) + 1);
  const scale = isWide ? { type: 'symlog', constant: 1, nice: false } : { zero: false };
  return withData(values, {
    height: 44 * new Set(rows.map((row) => row[group])).size,
    mark: { type: 'tick', thickness: 2, bandSize: 24, opacity: 0.7, color: COLORS.blue },
    encoding: {
      x: { field: value, type: 'quantitative', title, scale, axis: isWide ? { values: [0, 1, 2, 7, 14, 30, 90, 180, 365, 730, 1460, 2920] } : {} },
      y: { field: group, type: 'nominal', sort: groups, title: null, axis: { domain: false, ticks: false } },
      ...marked,
    },
  });
}
