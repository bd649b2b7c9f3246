// For the tests of this folder: start a server as its own process, and speak to it over TLS.

import { spawn } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { connect } from 'node:http2';
import { request as httpsRequest } from 'node:https';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { gunzipSync } from 'node:zlib';

const SERVER = fileURLToPath(new URL('./server.mjs', import.meta.url));

/** A path below the folder of shared material beside the checkout, or null when it is not there. */
export function shared(path) {
  const found = fileURLToPath(new URL(`../../../shared/${path}`, import.meta.url));
  return existsSync(found) ? found : null;
}

export async function startServer(...options) {
  const dir = mkdtempSync(join(tmpdir(), 'emulated-github-test.'));
  const child = spawn(process.execPath, [SERVER, '--port', '0', '--dir', dir, ...options], { stdio: ['ignore', 'pipe', 'pipe'] });
  let errors = '';
  child.stderr.on('data', (piece) => { errors += piece; });
  const line = await new Promise((resolve, reject) => {
    let text = '';
    child.stdout.on('data', (piece) => {
      text += piece;
      if (text.includes('\n')) resolve(text);
    });
    child.on('exit', (code) => reject(new Error(`server ended with ${code}: ${errors}`)));
  });
  return new Client(JSON.parse(line), child, dir, () => errors);
}

export class Client {
  constructor({ url, ca_file: caFile, token }, child, dir, errors) {
    Object.assign(this, { url, token, child, dir, errors, ca: readFileSync(caFile) });
  }

  stop() {
    return new Promise((resolve) => {
      this.child.on('exit', () => {
        rmSync(this.dir, { recursive: true, force: true });
        resolve();
      });
      this.child.kill('SIGTERM');
    });
  }

  /** {status, headers, text, json} of one HTTP/1.1 request. */
  http(method, path, { headers = {}, body } = {}) {
    return new Promise((resolve, reject) => {
      const request = httpsRequest(`${this.url}${path}`, { method, ca: this.ca, agent: false, headers }, (response) => {
        const pieces = [];
        response.on('data', (piece) => pieces.push(piece));
        response.on('error', reject);
        response.on('aborted', () => reject(new Error('aborted')));
        response.on('end', () => {
          let bytes = Buffer.concat(pieces);
          if (response.headers['content-encoding'] === 'gzip') bytes = gunzipSync(bytes);
          const text = bytes.toString();
          resolve({ status: response.statusCode, headers: response.headers, bytes, text, get json() { return JSON.parse(text); } });
        });
      });
      request.on('error', reject);
      request.end(body);
    });
  }

  /** One GraphQL request as the token's owner. */
  async graphql(query, variables = {}, { headers = {}, path = '/graphql', operationName } = {}) {
    return this.http('POST', path, {
      headers: { authorization: `Bearer ${this.token}`, 'user-agent': 'test', 'content-type': 'application/json', ...headers },
      body: JSON.stringify({ query, variables, operationName }),
    });
  }

  /** The data of an answer that must have no errors. */
  async data(query, variables = {}) {
    const { status, json } = await this.graphql(query, variables);
    if (status !== 200 || json.errors) throw new Error(`status ${status}: ${JSON.stringify(json.errors ?? json)}`);
    return json.data;
  }

  async control(method, path, body) {
    const answer = await this.http(method, `/_emulator/${path}`, { body: body === undefined ? undefined : JSON.stringify(body) });
    if (answer.status !== 200) throw new Error(`${path}: ${answer.text}`);
    return answer.json;
  }

  truth(repository) {
    return this.control('GET', `truth?repository=${encodeURIComponent(repository)}`);
  }

  change(repository, change, more = {}) {
    return this.control('POST', 'change', { repository, change, ...more });
  }

  settings(settings) {
    return this.control('POST', 'settings', settings);
  }

  counters() {
    return this.control('GET', 'counters');
  }

  resetCounters() {
    return this.control('POST', 'counters/reset');
  }

  /** One GraphQL request over HTTP/2: {status, json}. */
  http2(query) {
    return new Promise((resolve, reject) => {
      const session = connect(this.url, { ca: this.ca });
      session.on('error', reject);
      const stream = session.request({ ':method': 'POST', ':path': '/graphql', authorization: `token ${this.token}`, 'user-agent': 'test' });
      let status;
      let text = '';
      stream.on('response', (headers) => { status = headers[':status']; });
      stream.on('data', (piece) => { text += piece; });
      stream.on('end', () => {
        session.close();
        resolve({ status, json: JSON.parse(text) });
      });
      stream.on('error', reject);
      stream.end(JSON.stringify({ query }));
    });
  }
}
