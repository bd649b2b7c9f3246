// A client's part of the authorization code flow with PKCE, over TLS, with the forms filled in.

import { createHash, randomBytes } from 'node:crypto';
import { request as makeRequest } from 'node:https';
import { PATHS, REDIRECT_URI } from './configuration.mjs';

export const SIGN_IN_HEADER = 'x-sign-in-of-this-process';

const MOST_REDIRECTS = 10;

/** {client, sub, groups, nonce} to an ID token; groups and nonce may be null. */
export async function signIn(state, person) {
  const verifier = randomBytes(32).toString('base64url');
  const code = await authorize(state, person, createHash('sha256').update(verifier).digest('base64url'));
  const form = new URLSearchParams({ grant_type: 'authorization_code', client_id: person.client, code, redirect_uri: REDIRECT_URI, code_verifier: verifier });
  const answer = await call(state, new URL(PATHS.token, state.issuer), { method: 'POST', body: form.toString() });
  if (answer.status !== 200) throw new Error(`the token endpoint answers ${answer.status}: ${answer.text}`);
  return JSON.parse(answer.text).id_token;
}

/** Follow the redirects, by way of the interaction, until one leads to the client with a code. */
async function authorize(state, person, challenge) {
  const cookies = new Map();
  let url = authorizationUrl(state, person, challenge);
  for (let count = 0; count < MOST_REDIRECTS; count += 1) {
    const answer = await call(state, url, { cookies });
    if (!answer.location) throw new Error(`${url.pathname} answers ${answer.status}: ${answer.text}`);
    url = new URL(answer.location, state.issuer);
    if (url.href.startsWith(REDIRECT_URI)) return codeOf(url);
    if (url.pathname.startsWith(PATHS.interaction)) fillIn(url, person);
  }
  throw new Error(`more than ${MOST_REDIRECTS} redirects`);
}

function authorizationUrl(state, { client, nonce }, challenge) {
  const url = new URL(PATHS.authorization, state.issuer);
  url.search = new URLSearchParams({
    client_id: client, response_type: 'code', scope: 'openid', redirect_uri: REDIRECT_URI,
    code_challenge: challenge, code_challenge_method: 'S256', ...(nonce !== null && { nonce }),
  });
  return url;
}

function codeOf(url) {
  const code = url.searchParams.get('code');
  if (!code) throw new Error(`no code: ${url.search}`);
  return code;
}

function fillIn(url, { sub, groups }) {
  url.searchParams.set('sub', sub);
  if (groups !== null) url.searchParams.set('groups', groups);
}

function call(state, url, { method = 'GET', body, cookies = new Map() }) {
  const headers = { host: url.host, [SIGN_IN_HEADER]: state.secret };
  if (cookies.size > 0) headers.cookie = [...cookies].map(([name, value]) => `${name}=${value}`).join('; ');
  if (body) headers['content-type'] = 'application/x-www-form-urlencoded';
  // By address, as "localhost" may be looked up as ::1, where nobody listens.
  const where = { host: '127.0.0.1', port: state.port, servername: url.hostname, path: url.pathname + url.search, ca: state.authority };
  return new Promise((resolve, reject) => {
    const request = makeRequest({ ...where, method, headers }, async (response) => {
      try {
        keepCookies(cookies, response.headers['set-cookie'] ?? []);
        const text = (await response.toArray()).join('');
        resolve({ status: response.statusCode, location: response.headers.location, text });
      } catch (error) {
        reject(error);
      }
    });
    request.on('error', reject);
    request.end(body);
  });
}

/** Paths are left out: one jar serves one sign-in, and the provider's names do not clash in it. */
function keepCookies(cookies, lines) {
  for (const line of lines) {
    const [, name, value] = /^([^=]+)=([^;]*)/.exec(line);
    if (value) cookies.set(name, value);
    else cookies.delete(name);
  }
}
