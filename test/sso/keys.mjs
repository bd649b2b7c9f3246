// The signing keys: one for RS256 and one for ES256, as a private JSON Web Key set.

import { generateKeyPair } from 'node:crypto';
import { promisify } from 'node:util';

const makePair = promisify(generateKeyPair);

/** The generation's number ends the names of its keys: rsa-1 and ec-1, then rsa-2 and ec-2. */
export async function makeKeys(generation) {
  const [rsa, ec] = await Promise.all([makePair('rsa', { modulusLength: 2048 }), makePair('ec', { namedCurve: 'P-256' })]);
  const describe = (pair, kid, alg) => ({ ...pair.privateKey.export({ format: 'jwk' }), kid, alg, use: 'sig' });
  return { keys: [describe(rsa, `rsa-${generation}`, 'RS256'), describe(ec, `ec-${generation}`, 'ES256')] };
}
