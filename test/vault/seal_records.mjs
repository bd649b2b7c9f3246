// Prints records for open_records, sealed by node:crypto, which shares no code with the extension:
// lines "envelope KEY CONTEXT ENVELOPE PLAINTEXT valid|invalid" in hexadecimal.
import { createCipheriv, createHash } from 'node:crypto';

const bytes = (seed, length) => {
  const parts = [];
  for (let i = 0; i * 32 < length; i++) parts.push(createHash('sha256').update(`${seed}/${i}`).digest());
  return Buffer.concat(parts).subarray(0, length);
};
const u32 = (value) => { const b = Buffer.alloc(4); b.writeUInt32BE(value); return b; };

export const seal = (key, keyId, iv, context, plaintext, header = Buffer.concat([Buffer.from('KP\x01\x01'), u32(keyId)])) => {
  const cipher = createCipheriv('aes-256-gcm', key, iv);
  cipher.setAAD(Buffer.concat([Buffer.from('keypup/v1\0'), header, u32(Buffer.byteLength(context)), Buffer.from(context)]));
  return Buffer.concat([header, iv, cipher.update(plaintext), cipher.final(), cipher.getAuthTag()]);
};

const hexadecimal = (buffer) => (buffer.length ? Buffer.from(buffer).toString('hex') : '-');
const print = (key, context, envelope, plaintext, verdict) =>
  console.log(['envelope', hexadecimal(key), hexadecimal(Buffer.from(context)), hexadecimal(envelope), hexadecimal(plaintext), verdict].join(' '));

const context = 'account:11111111-1111-4111-8111-111111111111/connection:aaaaaaaa-aaaa-4aaa-8aaa-aaaaaaaaaaaa/rev:1/access_token';
for (const [number, length] of [1, 15, 16, 17, 40, 255, 4096, 8191, 8192].entries()) {
  const key = bytes(`key ${number}`, 32);
  print(key, context, seal(key, number + 1, bytes(`iv ${number}`, 12), context, bytes(`text ${number}`, length)), bytes(`text ${number}`, length), 'valid');
}
const key = bytes('key', 32);
const iv = bytes('iv', 12);
const text = Buffer.from('ghp_0123456789abcdefghijABCDEFGHIJ012345');
const good = seal(key, 1, iv, context, text);
print(key, '', seal(key, 4294967295, iv, '', text), text, 'valid');
print(key, 'größer ✓', seal(key, 1, iv, 'größer ✓', text), text, 'valid');
print(bytes('another key', 32), context, good, '', 'invalid');
for (const other of ['', context.replace('rev:1', 'rev:2'), context.replace('access', 'refresh'), context.replace('1111', '2222'), context + '\0'])
  print(key, other, good, '', 'invalid');
print(key, context, good.subarray(0, good.length - 12), '', 'invalid'); // a truncated tag
print(key, context, good.subarray(0, 36), '', 'invalid');
print(key, context, Buffer.alloc(0), '', 'invalid');
print(key, context, Buffer.concat([good, Buffer.from([0])]), '', 'invalid');
print(key, context, seal(key, 1, iv, context, Buffer.alloc(0)), '', 'invalid');
print(key, context, seal(key, 1, iv, context, bytes('long', 8193)), '', 'invalid');
for (const header of ['KP\x02\x01', 'KP\x01\x02', 'KQ\x01\x01', 'kp\x01\x01'])
  print(key, context, seal(key, 1, iv, context, text, Buffer.concat([Buffer.from(header), u32(1)])), '', 'invalid');
