// The few REST paths there are: the token of an app's installation, what it may see, and the version
// of an Enterprise Server. Any other path is the server's to refuse.

import { JwtRefusal, checkJwt } from './jwt.mjs';

const DOCUMENTATION = 'https://docs.github.com/rest';
const refusal = (status, message) => ({ status, body: { message, documentation_url: DOCUMENTATION, status: String(status) } });

/** {status, body}, or undefined when this is none of the paths. */
export function answerRest(emulator, request, url, text) {
  if (request.method === 'GET' && url.pathname === '/api/v3/meta' && emulator.serverVersion) return answerMeta(emulator, request);
  const path = url.pathname.replace(/^\/api\/v3(?=\/)/, '');
  if (request.method === 'GET' && path === '/installation/repositories') return answerRepositories(emulator, request, url);
  const installation = /^\/app\/installations\/(\d+)\/access_tokens$/.exec(path)?.[1];
  if (request.method !== 'POST' || installation === undefined) return undefined;
  return answerAccessToken(emulator, request, installation, text);
}

/** Anybody may ask; a token that is sent must be a good one. */
function answerMeta(emulator, request) {
  const { authorization } = request.headers;
  if (authorization !== undefined && !emulator.tokens.find(authorization)) return refusal(401, 'Bad credentials');
  return { status: 200, body: { verifiable_password_authentication: true, installed_version: emulator.serverVersion } };
}

/** What an app's installation may see, by pages; for its own tokens only. */
function answerRepositories(emulator, request, url) {
  const access = emulator.tokens.find(request.headers.authorization ?? '');
  if (!access) return refusal(401, 'Bad credentials');
  if (!access.installation) return refusal(403, 'You must authenticate with an installation access token in order to list repositories for an installation.');
  const size = Math.min(Number(url.searchParams.get('per_page') ?? 30), 100);
  const page = Number(url.searchParams.get('page') ?? 1);
  const all = emulator.world.histories.filter((history) => access.isAffiliatedWith(history)).map(({ repository }) => repository);
  const repositories = all.slice((page - 1) * size, page * size).map((repository) => ({
    node_id: repository.id, full_name: repository.nameWithOwner, visibility: repository.visibility.toLowerCase(), archived: repository.isArchived, fork: repository.isFork ?? false,
  }));
  const headers = page * size < all.length ? { link: `<${url.origin}${url.pathname}?per_page=${size}&page=${page + 1}>; rel="next", <${url.origin}${url.pathname}?per_page=${size}&page=${Math.ceil(all.length / size)}>; rel="last"` } : {};
  return { status: 200, headers, body: { total_count: all.length, repositories } };
}

function answerAccessToken(emulator, request, installationId, text) {
  const { authorization = '' } = request.headers;
  // A web token must come as "Bearer": "token" is for the others.
  if (/^(?!bearer )\w+ /i.test(authorization)) return refusal(401, 'Bad credentials');
  let wanted;
  try {
    wanted = text.trim() === '' ? {} : JSON.parse(text);
  } catch {
    return refusal(400, 'Problems parsing JSON');
  }
  let app;
  try {
    app = checkJwt(authorization.replace(/^bearer +/i, ''), (issuer) => emulator.apps.findApp(issuer), emulator.now());
  } catch (error) {
    if (!(error instanceof JwtRefusal)) throw error;
    return refusal(error.status, error.message);
  }
  const installation = app.installations.get(installationId);
  if (!installation) return refusal(404, 'Not Found');
  if (installation.suspended) return refusal(403, 'This installation has been suspended');
  return emulator.apps.issueToken(app, installation, wanted ?? {});
}
