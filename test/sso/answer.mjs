// Answers with a whole body.

export function send(response, status, headers, body) {
  response.writeHead(status, { 'content-length': Buffer.byteLength(body), ...headers });
  response.end(body);
}

export function sendJson(response, status, value) {
  send(response, status, { 'content-type': 'application/json' }, JSON.stringify(value));
}
