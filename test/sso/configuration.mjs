// What the library is told: clients, claims, lifetimes, and where a person signs in.

import { randomBytes } from 'node:crypto';
import { Store } from './store.mjs';

export const PATHS = { authorization: '/auth', token: '/token', jwks: '/jwks', discovery: '/.well-known/openid-configuration', interaction: '/interaction/' };

// Nothing listens there: the sign-in reads the code out of the redirect and does not follow it.
export const REDIRECT_URI = 'https://client.test/signed-in';

const MINUTE = 60;
const DAY = 24 * 60 * MINUTE;

// One set for the whole process, so that a sign-in survives a change of the signing keys.
const COOKIE_KEYS = [randomBytes(32).toString('hex')];

const client = (name, algorithm) => ({
  client_id: name,
  token_endpoint_auth_method: 'none',
  grant_types: ['authorization_code'],
  response_types: ['code'],
  redirect_uris: [REDIRECT_URI],
  id_token_signed_response_alg: algorithm,
});

export function makeConfiguration(jwks, findAccount) {
  return {
    adapter: Store,
    jwks,
    findAccount,
    clients: [client('client-1', 'RS256'), client('client-2', 'ES256')],
    claims: { openid: ['sub', 'groups'] },
    // Otherwise the groups would be told at the userinfo endpoint only.
    conformIdTokenClaims: false,
    pkce: { required: () => true },
    features: { devInteractions: { enabled: false } },
    interactions: { url: (context, interaction) => PATHS.interaction + interaction.uid },
    routes: { authorization: PATHS.authorization, token: PATHS.token, jwks: PATHS.jwks },
    cookies: { keys: COOKIE_KEYS },
    ttl: { IdToken: 10 * MINUTE, AccessToken: 10 * MINUTE, AuthorizationCode: MINUTE, Interaction: 10 * MINUTE, Grant: DAY, Session: DAY },
    renderError(context, error) {
      context.type = 'json';
      context.body = error;
    },
  };
}
