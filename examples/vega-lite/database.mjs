// The database, as a viewer reads it: over TLS with the server's certificate and name checked, one read-only transaction a query.

import { readFileSync } from 'node:fs';
import { checkServerIdentity } from 'node:tls';
import pg from 'pg';

const SECONDS = 15;

// Counts and rounded hours are small: numbers, not text. Days stay text: as a Date they would move with the time zone.
const types = new pg.TypeOverrides();
types.setTypeParser(pg.types.builtins.INT8, Number);
types.setTypeParser(pg.types.builtins.NUMERIC, Number);
types.setTypeParser(pg.types.builtins.DATE, String);

/** A pool from the environment: PGHOST, PGPORT, PGDATABASE, PGUSER, PGPASSWORD or PGPASSFILE, PGSSLROOTCERT. Never without TLS. */
export function openDatabase(environment) {
  for (const name of ['PGHOST', 'PGUSER', 'PGSSLROOTCERT']) {
    if (!environment[name]) throw new Error(`${name} is not set`);
  }
  const host = environment.PGHOST;
  const pool = new pg.Pool({
    host, port: Number(environment.PGPORT ?? 5432), database: environment.PGDATABASE ?? environment.PGUSER, user: environment.PGUSER,
    // As sslmode=verify-full: the certificate is by this authority, and for this host.
    ssl: { ca: readFileSync(environment.PGSSLROOTCERT), rejectUnauthorized: true, checkServerIdentity: (_, certificate) => checkServerIdentity(host, certificate) },
    types, max: 4, connectionTimeoutMillis: 10_000, application_name: 'keypup pages',
    statement_timeout: SECONDS * 1000, idle_in_transaction_session_timeout: SECONDS * 1000, options: '-c default_transaction_read_only=on -c TimeZone=UTC',
  });
  // A connection that breaks while idle is replaced at the next query.
  pool.on('error', (error) => console.error(`a connection ended: ${error.message}`));
  return pool;
}

/** Refuses a role that row-level security does not hold for: it would show every account. */
export async function checkRole(pool) {
  const { rows: [role] } = await pool.query('SELECT rolname, rolsuper OR rolbypassrls AS sees_all FROM pg_roles WHERE rolname = current_user');
  if (role.sees_all) throw new Error(`role "${role.rolname}" sees every account: connect as a viewer`);
}

/** {columns, rows} of one statement. values: its bind parameters. */
export async function readRows(pool, text, values) {
  const client = await pool.connect();
  let failure;
  try {
    await client.query('BEGIN TRANSACTION READ ONLY');
    const result = await client.query({ text, values, rowMode: 'array' });
    await client.query('COMMIT');
    return { columns: result.fields.map((field) => field.name), rows: result.rows };
  } catch (error) {
    failure = error;
    throw error;
  } finally {
    // Whatever state an error left it in, nobody gets it again.
    client.release(failure);
  }
}

/** What a person is told of an error, and with which status. The rest is for the server's own log. */
export function explain(error) {
  switch (error.code) {
    case '42501': return { status: 403, message: 'This database role is in no account of Keypup, or may not read its data.' };
    case '57014': return { status: 504, message: `The database needed more than ${SECONDS} seconds. Choose a shorter period or one project.` };
    case '22007': case '22008': case '22P02': case '22003': return { status: 400, message: 'A filter has a value that makes no sense.' };
    case '42P01': return { status: 501, message: 'This version of Keypup does not have the view for it yet.' };
    default: return { status: 502, message: 'The database cannot be read now.' };
  }
}
