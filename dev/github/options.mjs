// The command line.

import { randomBytes } from 'node:crypto';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';

export const USAGE = `usage: node server.mjs [options]
  --port N           port to listen on (0: any free one)
  --host ADDRESS     address to listen on (127.0.0.1)
  --data FILE        a real history to load; may be repeated
  --generate SPEC    owner/name:pulls=200,issues=100,seed=1,labels=130,milestones=12,releases=0,deployments=0,crowded=0,full=0,open=0,long_threads=0,empty=0,private=0,small_ids=0; may be repeated
  --token TOKEN      the token to accept (default: a random one)
  --scopes LIST      scopes of the token, comma separated (repo,read:org)
  --viewer LOGIN     the account of the token (emulated-viewer)
  --points N         points an hour (5000)
  --without LIST     Type.field,Type.field(argument),Type: what an older Enterprise Server lacks
  --forbidden LIST   Type.field: what the token may not read, answered with FORBIDDEN
  --server-version V be an Enterprise Server of this version (3.9.1)
  --latency MS       wait before each answer (0)
  --dir DIR          where the certificates are made (a folder below the system's temporary one)
  --cert, --key, --ca FILE   use these certificates instead
  --verbose          one line a request on stderr`;

export function readOptions(argv) {
  const text = (value) => ({ type: 'string', default: value });
  const { values } = parseArgs({
    args: argv,
    options: {
      port: text('0'), host: text('127.0.0.1'), token: text(''), scopes: text('repo,read:org'), viewer: text('emulated-viewer'), points: text('5000'),
      latency: text('0'), without: text(''), forbidden: text(''), 'server-version': text(''), dir: text(''), cert: text(''), key: text(''), ca: text(''),
      data: { type: 'string', multiple: true, default: [] }, generate: { type: 'string', multiple: true, default: [] },
      verbose: { type: 'boolean', default: false }, help: { type: 'boolean', default: false },
    },
  });
  return {
    ...values,
    port: wholeNumber('port', values.port), points: wholeNumber('points', values.points), latency: wholeNumber('latency', values.latency),
    token: values.token || `ghp_${randomBytes(18).toString('hex')}`,
    scopes: readList(values.scopes), without: readList(values.without), forbidden: readList(values.forbidden), serverVersion: values['server-version'],
    dir: values.dir || join(tmpdir(), `emulated-github.${process.pid}`),
    generate: values.generate.map(readGenerateSpec),
  };
}

const readList = (text) => text.split(',').map((part) => part.trim()).filter(Boolean);

function wholeNumber(name, value) {
  if (!/^\d+$/.test(value)) throw new Error(`--${name} takes a whole number, not "${value}"`);
  return Number(value);
}

/** "owner/name:pulls=2000,seed=7" as {nameWithOwner, pulls, seed, ...}. */
export function readGenerateSpec(spec) {
  const match = /^([\w.-]+\/[\w.-]+)(?::(.*))?$/.exec(spec);
  if (!match) throw new Error(`--generate takes owner/name:key=value,..., not "${spec}"`);
  const settings = { nameWithOwner: match[1] };
  for (const pair of (match[2] ?? '').split(',').filter(Boolean)) {
    const [key, value] = pair.split('=');
    settings[key] = wholeNumber(`generate ${key}`, value ?? '');
  }
  return settings;
}
