// tokens.mjs ISSUER CLIENT_ID: makes keys and ID tokens with node:crypto, good ones and bad ones of every kind.
// Prints {key_set, good: {name: token}, bad: {name: token}, fresh: token, twin: token} as JSON.
import { createHmac, generateKeyPairSync, sign } from 'node:crypto';

const [issuer, client] = process.argv.slice(2);
const rsa = generateKeyPairSync('rsa', { modulusLength: 2048 });
const ec = generateKeyPairSync('ec', { namedCurve: 'P-256' });
const stranger = generateKeyPairSync('rsa', { modulusLength: 2048 });
const jwk = (pair, kid, alg) => ({ ...pair.publicKey.export({ format: 'jwk' }), kid, alg, use: 'sig' });
const text = (part) => Buffer.from(typeof part === 'string' ? part : JSON.stringify(part)).toString('base64url');
const now = Math.floor(Date.now() / 1000);
const claims = (more = {}) => ({ iss: issuer, sub: 'subject-1', aud: client, iat: now, exp: now + 3600, ...more });
const make = (header, payload, key = rsa.privateKey) => {
  const signed = `${text(header)}.${text(payload)}`;
  const signature = key.asymmetricKeyType === 'ec' ? sign('sha256', Buffer.from(signed), { key, dsaEncoding: 'ieee-p1363' }) : sign('sha256', Buffer.from(signed), key);
  return `${signed}.${signature.toString('base64url')}`;
};
const rs256 = { alg: 'RS256', kid: 'rsa-1', typ: 'JWT' };
const es256 = { alg: 'ES256', kid: 'ec-1' };
const rs = (more) => make(rs256, claims(more));
let serial = 0;
const good = {
  rs256: rs({ jti: `${serial++}` }),
  es256: make(es256, claims(), ec.privateKey),
  nonce: rs({ nonce: 'n-1' }),
  'audience in a list': rs({ aud: [client, 'another'], azp: client }),
  'parallel': rs({ jti: `${serial++}` }),
  lured: rs({ sub: 'subject-9', groups: ['readers'] }),
  ...Object.fromEntries(['in both accounts', 'undone', 'undone in a savepoint', 'ended', 'prepared', 'kept', 'flushed', 'open'].map((name) => [name, rs({ jti: name })])),
  'in a group': rs({ sub: 'subject-7', groups: ['people', 'readers'] }),
  'in two groups': rs({ sub: 'subject-7', groups: ['readers', 'leads'] }),
  'in no group of ours': rs({ sub: 'subject-7', groups: ['people'] }),
  'groups in text': rs({ sub: 'subject-8', groups: 'readers' }),
  short: rs({ exp: now + 1800, jti: 'short' }),
};
const fresh = make(rs256, claims({ jti: 'fresh' }));
// Of good.es256, with the other signature that holds: (r, n - s) for (r, s), n the order of the curve.
const [ecHeader, ecPayload, ecSignature] = good.es256.split('.');
const rAndS = Buffer.from(ecSignature, 'base64url').toString('hex');
const otherS = 0xffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551n - BigInt(`0x${rAndS.slice(64)}`);
const twin = `${ecHeader}.${ecPayload}.${Buffer.from(rAndS.slice(0, 64) + otherS.toString(16).padStart(64, '0'), 'hex').toString('base64url')}`;
const [h, p, s] = fresh.split('.');
const last = s.at(-1);
const loose = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_';
const bad = {
  'a stranger\'s key': make(rs256, claims(), stranger.privateKey),
  'alg none': `${text({ alg: 'none' })}.${text(claims())}.`,
  'alg nOnE': `${text({ alg: 'nOnE', kid: 'rsa-1' })}.${text(claims())}.`,
  'HS256 with the public key as secret': (() => { const signed = `${text({ alg: 'HS256', kid: 'rsa-1' })}.${text(claims())}`; return `${signed}.${createHmac('sha256', rsa.publicKey.export({ type: 'spki', format: 'pem' })).update(signed).digest('base64url')}`; })(),
  'RS256 named for an EC key': make({ alg: 'RS256', kid: 'ec-1' }, claims(), ec.privateKey),
  'ES256 named for an RSA key': make({ alg: 'ES256', kid: 'rsa-1' }, claims()),
  'no kid': make({ alg: 'RS256' }, claims()),
  'a kid that is a path': make({ alg: 'RS256', kid: '../../rsa-1' }, claims()),
  'a kid that is SQL': make({ alg: 'RS256', kid: "rsa-1' OR true --" }, claims()),
  'a kid that is an object': make({ alg: 'RS256', kid: { a: 1 } }, claims()),
  'a key in its header': make({ ...rs256, jwk: jwk(stranger, 'rsa-1', 'RS256') }, claims(), stranger.privateKey),
  jku: make({ ...rs256, jku: 'https://evil.example/keys' }, claims()),
  x5u: make({ ...rs256, x5u: 'https://evil.example/cert' }, claims()),
  x5c: make({ ...rs256, x5c: ['MIIB'] }, claims()),
  crit: make({ ...rs256, crit: ['exp'] }, claims()),
  cty: make({ ...rs256, cty: 'JWT' }, claims()),
  'typ at+jwt': make({ ...rs256, typ: 'at+jwt' }, claims()),
  'no exp': rs({ exp: undefined }),
  'exp now': rs({ exp: now - 1 }),
  'exp in text': rs({ exp: `${now + 600}` }),
  'exp 1e400': make(rs256, JSON.stringify(claims({ exp: 0 })).replace('"exp":0', '"exp":1e400')),
  'exp with a fraction': make(rs256, JSON.stringify(claims({ exp: 0 })).replace('"exp":0', `"exp":${now + 600}.5`)),
  'exp in two days': rs({ exp: now + 2 * 86400 }),
  'no iat': rs({ iat: undefined }),
  'iat in the future': rs({ iat: now + 300 }),
  'nbf in the future': rs({ nbf: now + 300 }),
  'another audience': rs({ aud: 'another' }),
  'an audience list without us': rs({ aud: ['another', 'third'] }),
  'an audience list without azp': rs({ aud: [client, 'another'] }),
  'azp another': rs({ azp: 'another' }),
  'no audience': rs({ aud: undefined }),
  'an audience that is a number': rs({ aud: [7] }),
  'issuer with a slash': rs({ iss: `${issuer}/` }),
  'another issuer': rs({ iss: 'https://evil.example' }),
  'another subject': rs({ sub: 'subject-2' }),
  'no subject': rs({ sub: undefined }),
  'a subject that is a number': rs({ sub: 1 }),
  'an empty subject': rs({ sub: '' }),
  'the e-mail of a member': rs({ sub: 'subject-9', email: 'ann@acme.example', email_verified: true }),
  'two subjects': make(rs256, JSON.stringify(claims()).replace('{', '{"sub":"subject-2",')),
  'two subjects, one of them escaped': make(rs256, JSON.stringify(claims()).replace('{', '{"s\\u0075b":"subject-2",')),
  'two algorithms': make('{"alg":"none","kid":"rsa-1","alg":"RS256"}', claims()),
  'a list for claims': make(rs256, [claims()]),
  'text for claims': make(rs256, '"x"'),
  'NUL in a claim': make(rs256, JSON.stringify(claims({ x: 'a\u0000b' }))),
  'lone surrogate': make(rs256, JSON.stringify(claims()).replace('{', '{"x":"\\ud800",')),
  'invalid UTF-8': (() => { const signed = `${text(rs256)}.${Buffer.concat([Buffer.from('{"x":"\xff'.slice(0, 6), 'latin1'), Buffer.from([0xff]), Buffer.from(`",${JSON.stringify(claims()).slice(1)}`)]).toString('base64url')}`; return `${signed}.${sign('sha256', Buffer.from(signed), rsa.privateKey).toString('base64url')}`; })(),
  'deep nesting': make(rs256, JSON.stringify(claims()).replace('{', `{"x":${'['.repeat(2000)}${']'.repeat(2000)},`)),
  'a changed payload': `${h}.${text(claims({ sub: 'subject-1', admin: true }))}.${s}`,
  'a changed signature': `${h}.${p}.${s.slice(0, -8)}AAAAAAAA`,
  'a shortened signature': `${h}.${p}.${s.slice(0, -4)}`,
  'no signature': `${h}.${p}.`,
  'two parts': `${h}.${p}`,
  'five parts': `${h}.${p}.${s}.${s}.${s}`,
  'four parts': `${h}.${p}.${s}.`,
  padding: `${h}.${p}.${s}==`,
  'a blank': `${h}.${p}.${s} `,
  'a line end': `${h}.\n${p}.${s}`,
  'bits left over': `${h}.${p}.${s.slice(0, -1)}${loose[(loose.indexOf(last) & 0b110000) | ((loose.indexOf(last) + 1) & 0b1111)]}`,
  'plus and slash': `${h}.${p}.${s.replaceAll('-', '+').replaceAll('_', '/')}${/[-_]/.test(s) ? '' : '+'}`,
  'a token in a token': make({ ...rs256, cty: 'JWT' }, rs({})),
  'more than 16 KiB': rs({ x: 'x'.repeat(16384) }),
  nothing: '',
  dots: '..',
};
console.log(JSON.stringify({ key_set: { keys: [jwk(rsa, 'rsa-1', 'RS256'), jwk(ec, 'ec-1', 'ES256')] }, good, bad, fresh, twin }));
