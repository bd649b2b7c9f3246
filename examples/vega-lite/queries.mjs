// The queries that a page may ask for: queries/NAME.sql, and no other SQL.
// They are written for psql as they stand; here each :'name' becomes a bind parameter.

import { readFileSync, readdirSync } from 'node:fs';

/** Map of name to {text, names}: names are those of the parameters, in the order of $1, $2 … */
export function readQueries(folder) {
  return new Map(readdirSync(folder).filter((file) => file.endsWith('.sql')).sort().map((file) => [
    file.slice(0, -'.sql'.length), bindByName(readFileSync(new URL(file, folder), 'utf8')),
  ]));
}

function bindByName(sql) {
  const names = [];
  const text = sql.replace(/:'(\w+)'/g, (_, name) => {
    if (!names.includes(name)) names.push(name);
    return `$${names.indexOf(name) + 1}::text`;
  });
  return { text, names };
}
