// GraphQL over Keypup's views for programs on this machine, read as a viewer.
// Environment: see openDatabase; PGROLE, the viewer that requests are made as, PGUSER unless set; PORT, 5678 unless set.
// Prints one line of JSON when it is ready.

import { readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { checkServerIdentity } from 'node:tls';
import builders from 'graphile-build-pg';
import pg from 'pg';
import postgraphile from 'postgraphile';

const SECONDS = 15;

/**
 * A pool from the environment: PGHOST, PGPORT, PGDATABASE, PGUSER, PGPASSWORD or PGPASSFILE, PGSSLROOTCERT. Over the network
 * with TLS as sslmode=verify-full has it, over a socket in a directory without.
 */
function openDatabase(environment) {
  const host = environment.PGHOST ?? '';
  const isSocket = host.startsWith('/');
  for (const name of ['PGHOST', 'PGUSER', ...(isSocket ? [] : ['PGSSLROOTCERT'])]) {
    if (!environment[name]) throw new Error(`${name} is not set`);
  }
  const pool = new pg.Pool({
    ssl: !isSocket && { ca: readFileSync(environment.PGSSLROOTCERT), rejectUnauthorized: true, checkServerIdentity: (_, certificate) => checkServerIdentity(host, certificate) },
    max: 4, connectionTimeoutMillis: 10_000, application_name: 'keypup graphql',
    statement_timeout: SECONDS * 1000, options: '-c default_transaction_read_only=on -c TimeZone=UTC',
  });
  // A connection that breaks while idle is replaced at the next query.
  pool.on('error', (error) => console.error(`a connection ended: ${error.message}`));
  return pool;
}

/** Refuses a role that row-level security does not hold for: it would show every account. */
async function checkRole(pool, role) {
  const { rows: [found] } = await pool.query('SELECT rolsuper OR rolbypassrls AS sees_all FROM pg_catalog.pg_roles WHERE rolname = $1', [role]);
  if (!found) throw new Error(`role "${role}" does not exist`);
  if (found.sees_all) throw new Error(`role "${role}" sees every account: read as a viewer`);
}

const optionsFor = (role) => ({
  pgSettings: { role },
  // Everything here is an extension's, which is left out otherwise; and what the viewer may not read is left out.
  includeExtensionResources: true, ignoreRBAC: false,
  // A viewer reads tables and views: functions would be mutations.
  disableDefaultMutations: true, skipPlugins: [builders.PgMutationProceduresPlugin, builders.PgQueryProceduresPlugin, builders.PgComputedColumnsPlugin],
  dynamicJson: true, legacyRelations: 'omit', graphiql: false, disableQueryLog: true, retryOnInitFail: false,
});

async function startServer(pool, role, port) {
  const answer = postgraphile.postgraphile(pool, 'keypup', optionsFor(role));
  await answer.getGraphQLSchema();
  const server = createServer((request, response) => {
    // By name or number of this machine only: a name that somebody else's DNS points here would let their page read ours.
    const isOurs = [`localhost:${server.address().port}`, `127.0.0.1:${server.address().port}`].includes(request.headers.host);
    if (isOurs) answer(request, response);
    else response.writeHead(421).end();
  });
  server.on('error', fail);
  server.listen(port, '127.0.0.1', () => console.log(JSON.stringify({ url: `http://localhost:${server.address().port}/graphql` })));
}

function fail(error) {
  console.error(`error: ${error.message}`);
  process.exit(1);
}

try {
  const pool = openDatabase(process.env);
  const role = process.env.PGROLE ?? process.env.PGUSER;
  await checkRole(pool, role);
  await startServer(pool, role, Number(process.env.PORT ?? 5678));
} catch (error) {
  fail(error);
}
