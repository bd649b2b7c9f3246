// Checks dashboards against @grafana/schema, the types that Grafana publishes of its JSON; writes what does not fit, a line each.
//   node check.mjs FILE.json …

import { readFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import ts from 'typescript';

const here = import.meta.dirname;
const PANELS = { gauge: 'Gauge', stat: 'Stat', table: 'Table', timeseries: 'TimeSeries' };
const literal = (value) => JSON.stringify(value ?? {}, null, 1);

/** A program in which the dashboard has its type, and the options and fields of each panel those of its kind. */
function programOf(board) {
  const kinds = [...new Set(board.panels.map((panel) => panel.type))];
  for (const kind of kinds) if (!PANELS[kind]) throw new Error(`panels of kind ${kind} are not known here`);
  return [
    "import type { Dashboard } from '@grafana/schema';",
    ...kinds.map((kind) => `import type * as ${kind} from '@grafana/schema/dist/esm/raw/composable/${kind}/panelcfg/x/${PANELS[kind]}PanelCfg_types.gen';`),
    // JSON has the values of enumerations, and leaves out what is as Grafana has it anyway.
    'type Written<T> = T extends string ? `${T}` : T extends (infer U)[] ? Written<U>[] : T extends object ? { [K in keyof T]?: Written<T[K]> } : T;',
    ...kinds.map((kind) => `type ${kind}_fields = ${kind === 'timeseries' || kind === 'table' ? `Written<${kind}.FieldConfig>` : 'Record<string, never>'};`),
    `export const dashboard: Dashboard = ${literal(board)};`,
    ...board.panels.flatMap(({ id, type, options, fieldConfig }) => [
      `export const options_${id}: Written<${type}.Options> = ${literal(options)};`,
      `export const fields_${id}: ${type}_fields = ${literal(fieldConfig.defaults.custom)};`,
    ]),
  ].join('\n');
}

const programs = new Map(process.argv.slice(2).map((file) => [join(here, basename(file, '.json').concat('.ts')), programOf(JSON.parse(readFileSync(file, 'utf8')))]));
const options = { strict: true, noEmit: true, skipLibCheck: true, types: [], target: ts.ScriptTarget.ES2022, module: ts.ModuleKind.ESNext, moduleResolution: ts.ModuleResolutionKind.Bundler };
const host = ts.createCompilerHost(options);
const { fileExists, readFile } = host;
host.fileExists = (name) => programs.has(name) || fileExists(name);
host.readFile = (name) => programs.get(name) ?? readFile(name);
const program = ts.createProgram([...programs.keys()], options, host);

let found = 0;
for (const { file, start, messageText } of ts.getPreEmitDiagnostics(program)) {
  const line = file && file.text.slice(0, start).split('\n').length;
  const near = file ? `${basename(file.fileName, '.ts')}: ${file.text.split('\n')[line - 1].trim()}: ` : '';
  console.log(near + ts.flattenDiagnosticMessageText(messageText, '; '));
  found++;
}
console.log(`${programs.size} dashboards, ${found} faults`);
process.exit(found ? 1 : 0);
