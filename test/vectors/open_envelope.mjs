// Opens envelopes with node:crypto, which shares no code with the extension.
// open_envelope.mjs WRAPPING_KEY WRAPPED_DATA_KEY DATA_KEY_ID ENVELOPE CONTEXT: prints the plaintext.
// open_envelope.mjs WRAPPING_KEY < LINES: lines WRAPPED_DATA_KEY DATA_KEY_ID ENVELOPE CONTEXT PLAINTEXT; prints how many opened.
// All in hexadecimal, but for the id, and the context of the first form.
import { createDecipheriv } from 'node:crypto';
import { readFileSync } from 'node:fs';

const open = (key, envelope, context) => {
  if (envelope.length < 37 || envelope.subarray(0, 4).toString('hex') !== '4b500101') throw new Error('not an envelope');
  const length = Buffer.alloc(4);
  length.writeUInt32BE(context.length);
  const cipher = createDecipheriv('aes-256-gcm', key, envelope.subarray(8, 20));
  cipher.setAAD(Buffer.concat([Buffer.from('keypup/v1\0'), envelope.subarray(0, 8), length, context]));
  cipher.setAuthTag(envelope.subarray(-16));
  return Buffer.concat([cipher.update(envelope.subarray(20, -16)), cipher.final()]);
};
const bytes = (text) => Buffer.from(text, 'hex');

const [wrappingKey, ...record] = process.argv.slice(2);
const openRecord = (wrapped, id, envelope, context) =>
  open(open(bytes(wrappingKey), bytes(wrapped), Buffer.from(`data_key:${id}`)), bytes(envelope), context);

if (record.length > 0) {
  const [wrapped, id, envelope, context] = record;
  process.stdout.write(openRecord(wrapped, id, envelope, Buffer.from(context)));
} else {
  const lines = readFileSync(0, 'utf8').trim().split('\n').map((line) => line.split(' '));
  const opened = lines.filter(([wrapped, id, envelope, context, plaintext]) =>
    openRecord(wrapped, id, envelope, bytes(context)).equals(bytes(plaintext)));
  process.stdout.write(`${opened.length} of ${lines.length} opened`);
}
