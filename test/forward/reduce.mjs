// Reduces the published schemas to what requests that forward the audit log consist of, and writes schemas.json:
//   npm pack @opentelemetry/otlp-transformer@0.211.0 google-proto-files@5.0.3     (both Apache-2.0), unpack each, and
//   node reduce.mjs OTLP_TRANSFORMER_FOLDER GOOGLE_PROTO_FILES_FOLDER > schemas.json
// A message is {field: type}; [type] is a list, {type} a map; enum:… the names that there are.

import { readFileSync } from 'node:fs';
import { join } from 'node:path';

const [otlp, google] = process.argv.slice(2);
const messages = {};
const camel = (name) => name.replace(/_(.)/g, (_, letter) => letter.toUpperCase());

// OpenTelemetry's own compiler leaves its messages in comments: @interface IName, and @property {type|null} [name] for each field.
const OTLP = ['ExportLogsServiceRequest', 'ResourceLogs', 'Resource', 'ScopeLogs', 'InstrumentationScope', 'LogRecord', 'KeyValue', 'AnyValue', 'ArrayValue', 'KeyValueList', 'EntityRef'];
const root = readFileSync(join(otlp, 'build/src/generated/root.js'), 'utf8');
for (const name of OTLP) {
  const comment = new RegExp(`@interface I${name}\\n([\\s\\S]*?)\\*/`).exec(root);
  if (!comment) continue;
  messages[`otlp.${name}`] = Object.fromEntries([...comment[1].matchAll(/@property \{(.*)\} \[(\w+)\]/g)].map(([, type, field]) => {
    const one = /Array\.<(.*)>\|null/.exec(type)?.[1] ?? type.replace('|null', '').replace(/\|null$/, '');
    const plain = /SeverityNumber/.test(one) ? 'severity' : /Long/.test(one) ? 'int64' : /Uint8Array/.test(one) ? 'bytes' : /\.I(\w+)$/.exec(one) ? `otlp.${/\.I(\w+)$/.exec(one)[1]}` : one;
    return [field, /^Array/.test(type) ? [plain] : plain];
  }));
}

// Google's are protocol buffers' own text.
const GOOGLE = { 'google/logging/v2/logging.proto': ['WriteLogEntriesRequest'], 'google/logging/v2/log_entry.proto': ['LogEntry', 'LogEntryOperation', 'LogEntrySourceLocation'], 'google/api/monitored_resource.proto': ['MonitoredResource'] };
const SCALARS = { string: 'string', bool: 'boolean', int64: 'int64', 'google.protobuf.Struct': 'struct', 'google.protobuf.Timestamp': 'timestamp', 'google.logging.type.LogSeverity': 'google.LogSeverity' };
for (const [file, names] of Object.entries(GOOGLE)) {
  const text = readFileSync(join(google, file), 'utf8').replace(/\/\/.*$/gm, '');
  for (const name of names) {
    const body = new RegExp(`^message ${name} \\{([\\s\\S]*?)^\\}`, 'm').exec(text)[1].replace(/option \(google[\s\S]*?\};/g, '');
    messages[`google.${name}`] = Object.fromEntries([...body.matchAll(/^\s*(repeated )?(map<string, string>|[\w.]+) (\w+) = \d+/gm)].map(([, repeated, type, field]) => {
      const plain = type.startsWith('map') ? { of: 'string' } : SCALARS[type] ?? `google.${type.split('.').at(-1)}`;
      return [camel(field), repeated ? [plain] : plain];
    }));
  }
}
messages['google.LogSeverity'] = { enum: ['DEFAULT', 'DEBUG', 'INFO', 'NOTICE', 'WARNING', 'ERROR', 'CRITICAL', 'ALERT', 'EMERGENCY'] };
process.stdout.write(`${JSON.stringify({ source: '@opentelemetry/otlp-transformer 0.211.0, google-proto-files 5.0.3', messages }, null, 1)}\n`);
