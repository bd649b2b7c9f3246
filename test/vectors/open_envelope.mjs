// open_envelope.mjs WRAPPING_KEY WRAPPED_DATA_KEY DATA_KEY_ID ENVELOPE CONTEXT (hexadecimal but for the last two and the id)
// Opens an envelope with node:crypto, which shares no code with the extension, and prints the plaintext.
import { createDecipheriv } from 'node:crypto';

const open = (key, envelope, context) => {
  if (envelope.length < 37 || envelope.subarray(0, 4).toString('hex') !== '4b500101') throw new Error('not an envelope');
  const length = Buffer.alloc(4);
  length.writeUInt32BE(Buffer.byteLength(context));
  const cipher = createDecipheriv('aes-256-gcm', key, envelope.subarray(8, 20));
  cipher.setAAD(Buffer.concat([Buffer.from('keypup/v1\0'), envelope.subarray(0, 8), length, Buffer.from(context)]));
  cipher.setAuthTag(envelope.subarray(-16));
  return Buffer.concat([cipher.update(envelope.subarray(20, -16)), cipher.final()]);
};

const [wrappingKey, wrapped, id, envelope, context] = process.argv.slice(2);
const dataKey = open(Buffer.from(wrappingKey, 'hex'), Buffer.from(wrapped, 'hex'), `data_key:${id}`);
process.stdout.write(open(dataKey, Buffer.from(envelope, 'hex'), context));
