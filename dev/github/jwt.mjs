// The JSON web token with which a GitHub App says who it is: read and checked as GitHub
// does, with GitHub's words for each refusal.

import { verify } from 'node:crypto';

const LONGEST_SECONDS = 600;
const LEEWAY_SECONDS = 60;

const WORDS = {
  undecodable: 'A JSON web token could not be decoded',
  issuer: "'Issuer' claim ('iss') must be an Integer",
  unknown: 'Integration not found',
  issued: "'Issued at' claim ('iat') must be an Integer representing the time that the assertion was issued",
  expired: "'Expiration time' claim ('exp') must be a numeric value representing the future time at which the assertion expires",
  tooFar: "'Expiration time' claim ('exp') is too far in the future",
};

export class JwtRefusal extends Error {
  constructor(message, status = 401) {
    super(message);
    this.status = status;
  }
}

/** The app that a token names and has signed. findApp(iss) answers {publicKey, ...}; now is in milliseconds. */
export function checkJwt(token, findApp, now) {
  const { header, claims, signed, signature } = decode(token);
  if (header.alg !== 'RS256') throw new JwtRefusal(WORDS.undecodable);
  if (!['string', 'number'].includes(typeof claims.iss)) throw new JwtRefusal(WORDS.issuer);
  const app = findApp(String(claims.iss));
  if (!app) throw new JwtRefusal(WORDS.unknown, 404);
  if (!verify('RSA-SHA256', signed, app.publicKey, signature)) throw new JwtRefusal(WORDS.undecodable);
  checkTimes(claims, Math.floor(now / 1000));
  return app;
}

function decode(token) {
  const parts = /^([\w-]+)\.([\w-]+)\.([\w-]+)$/.exec(token);
  if (!parts) throw new JwtRefusal(WORDS.undecodable);
  const [header, claims] = parts.slice(1, 3).map(readObject);
  return { header, claims, signed: Buffer.from(`${parts[1]}.${parts[2]}`), signature: Buffer.from(parts[3], 'base64url') };
}

function readObject(part) {
  try {
    const value = JSON.parse(Buffer.from(part, 'base64url').toString());
    if (value !== null && typeof value === 'object') return value;
  } catch { /* refused below */ }
  throw new JwtRefusal(WORDS.undecodable);
}

function checkTimes({ iat, exp }, now) {
  if (typeof exp !== 'number' || exp <= now) throw new JwtRefusal(WORDS.expired);
  if (exp > now + LONGEST_SECONDS) throw new JwtRefusal(WORDS.tooFar);
  // GitHub has the same words for a time that is no integer and for one in the future.
  if (!Number.isInteger(iat) || iat > now + LEEWAY_SECONDS) throw new JwtRefusal(WORDS.issued);
}
