// Where the library keeps sessions, interactions, grants and codes. Its own store in memory starts
// empty with every instance, and a sign-in under way would not survive a change of the signing keys.

const records = new Map();

export class Store {
  constructor(model) {
    this.model = model;
  }

  key(id) {
    return `${this.model}:${id}`;
  }

  async upsert(id, payload) {
    records.set(this.key(id), payload);
  }

  // The library itself looks at the time of expiry that is in the payload.
  async find(id) {
    return records.get(this.key(id));
  }

  async findByUid(uid) {
    return this.first((payload) => payload.uid === uid);
  }

  async findByUserCode(userCode) {
    return this.first((payload) => payload.userCode === userCode);
  }

  async consume(id) {
    records.get(this.key(id)).consumed = Math.floor(Date.now() / 1000);
  }

  async destroy(id) {
    records.delete(this.key(id));
  }

  async revokeByGrantId(grantId) {
    for (const [key, payload] of this.mine()) if (payload.grantId === grantId) records.delete(key);
  }

  mine() {
    return [...records].filter(([key]) => key.startsWith(`${this.model}:`));
  }

  first(matches) {
    return this.mine().find(([, payload]) => matches(payload))?.[1];
  }
}
