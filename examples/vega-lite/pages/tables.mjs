// The exact numbers: a table beside each chart, and the few numbers above them.

/** Text of a cell. Numbers with one digit after the point where the column has hours or percents, and a dash for what is not there. */
export function cellText(value, column) {
  if (value === null || value === undefined) return '–';
  if (typeof value !== 'number') return String(value);
  const digits = column.unit === 'hours' || column.unit === '%' ? 1 : 0;
  return value.toLocaleString('en', { minimumFractionDigits: digits, maximumFractionDigits: digits });
}

export function element(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

/** columns: [{name, title, unit?}] in the order to show; rows: objects. */
export function makeTable(columns, rows, caption) {
  const isNumber = (column) => rows.some((row) => typeof row[column.name] === 'number');
  const kinds = columns.map((column) => (isNumber(column) ? { class: 'number' } : {}));
  const titled = ({ title, unit }) => (unit ? `${title} (${unit})` : title);
  return element('table', { 'aria-label': caption },
    element('thead', {}, element('tr', {}, ...columns.map((column, i) => element('th', { scope: 'col', 'data-column': column.name, ...kinds[i] }, titled(column))))),
    element('tbody', {}, ...rows.map((row) => element('tr', {}, ...columns.map((column, i) => element('td', kinds[i], cellText(row[column.name], column)))))));
}

/** The numbers at the top of a page. */
export function makeNumbers(columns, row) {
  return element('dl', { class: 'numbers' }, ...columns.map((column) => element('div', {},
    element('dt', {}, column.title),
    element('dd', { 'data-column': column.name }, cellText(row[column.name], column) + (column.unit && row[column.name] !== null ? ` ${column.unit}` : '')))));
}
