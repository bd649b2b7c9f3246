// What a test asks of this process, below /_control:
//   GET sign_in?client=client-1&sub=subject-1[&groups=a,b][&nonce=n-1]  {id_token}, from a real sign-in
//   POST settings {"rotate": true, …}  new signing keys, or a setting of faults.mjs; answers all settings
//   GET counters  how often the discovery document and the key set have been asked for

import { text } from 'node:stream/consumers';
import { sendJson } from './answer.mjs';
import { signIn } from './sign_in.mjs';

export const CONTROL_PATH = '/_control';

const ROUTES = {
  'GET /sign_in': answerSignIn,
  'POST /settings': answerSettings,
  'GET /counters': (state, request, response) => sendJson(response, 200, state.counters),
};

export async function answerControl(state, request, response, url) {
  const route = ROUTES[`${request.method} ${url.pathname.slice(CONTROL_PATH.length)}`];
  if (route) await route(state, request, response, url.searchParams);
  else sendJson(response, 404, { error: 'no such control' });
}

async function answerSignIn(state, request, response, query) {
  const person = { client: query.get('client'), sub: query.get('sub'), groups: query.get('groups'), nonce: query.get('nonce') };
  if (!person.client || !person.sub) return sendJson(response, 400, { error: 'client and sub are needed' });
  return sendJson(response, 200, { id_token: await signIn(state, person) });
}

async function answerSettings(state, request, response) {
  const { rotate, ...changes } = JSON.parse(await text(request));
  const unknown = Object.keys(changes).filter((name) => !Object.hasOwn(state.settings, name));
  if (unknown.length > 0) return sendJson(response, 400, { error: `no such setting: ${unknown.join(', ')}` });
  Object.assign(state.settings, changes);
  if (rotate) await state.provider.rotate();
  return sendJson(response, 200, { ...state.settings, generation: state.provider.generation });
}
