// Places of an answer that stay empty: what a server does that has not answered in full, or that breaks its own schema.
// A fault with `nulls: [{path, …}]` lets the request be executed, and then
//
//   path       which places, by the keys of the answer: "nodes.*.reviews", "n*.reviews.nodes.3"; * is any one key, n* any that begins so
//   item       only in the part of the answer that is about this id, of those that were asked for
//   every      every second, third, … of these places in an answer; 1 (all) by default
//   type       of the errors entry that comes with each of them; null: an entry without a type
//   message    its words
//   error      false: there is no entry
//   raw        put into the finished answer, whatever the schema says. Otherwise the place is refused while the query is
//              executed: where the schema lets nothing be null, all up to the next place that may be null is
//   value      with raw: what stands there instead of null; $SERIAL in it becomes another number each time

import { ProviderError } from './errors.mjs';

export const UNFINISHED = 'Resource limits for this query exceeded.';

const keysOf = (path) => (path === undefined ? [] : [...keysOf(path.prev), path.key]);
/** The id that a part of the answer is about: nodes.N of ids, or nN of idN. */
const itemOf = (keys, variables) => (keys[0] === 'nodes' ? variables?.ids?.[keys[1]] : variables?.[String(keys[0]).replace(/^n/, 'id')]);
const fits = (pattern, key) => (pattern.endsWith('*') ? String(key).startsWith(pattern.slice(0, -1)) : pattern === String(key));

let serial = 0;

class Place {
  constructor({ path, item, every = 1, type = null, message = UNFINISHED, error = true, raw = false, value = null }) {
    Object.assign(this, { pattern: path.split('.'), item, every, type, message, error, raw, value, seen: 0, emptied: 0 });
  }

  matches(keys, variables) {
    if (keys.length !== this.pattern.length || !this.pattern.every((pattern, i) => fits(pattern, keys[i]))) return false;
    if (this.item !== undefined && this.item !== itemOf(keys, variables)) return false;
    this.seen += 1;
    if (this.seen % this.every !== 0) return false;
    this.emptied += 1;
    return true;
  }
}

/** The empty places of one answer. */
export class Nulls {
  constructor(list = [], variables = {}) {
    const places = list.map((each) => new Place(each));
    this.places = places;
    this.variables = variables;
    this.refused = places.filter((place) => !place.raw);
    this.raw = places.filter((place) => place.raw);
  }

  /** How many there were of each. */
  get emptied() {
    return this.places.map((place) => place.emptied);
  }

  /** What the resolver of the field answers: null, an error, or else what it would have. */
  resolve(path, answer) {
    if (this.refused.length === 0) return answer();
    const keys = keysOf(path);
    const found = this.#find(this.refused, keys);
    if (found) return emptiness(found);
    const value = answer();
    return Array.isArray(value) ? value.map((element, i) => this.#element([...keys, i], element)) : value;
  }

  #find(places, keys) {
    return places.find((place) => place.matches(keys, this.variables));
  }

  #element(keys, element) {
    const found = this.#find(this.refused, keys);
    return found ? emptiness(found) : element;
  }

  /** The finished answer, with its raw places. A copy: lists may be the histories' own. */
  finish(answer) {
    if (this.raw.length === 0) return answer;
    const body = JSON.parse(JSON.stringify(answer));
    const errors = body.errors ?? [];
    const visit = (value, keys) => {
      if (value === null || typeof value !== 'object') return;
      for (const key of Array.isArray(value) ? value.keys() : Object.keys(value)) {
        const here = [...keys, key];
        const found = this.#find(this.raw, here);
        if (!found) visit(value[key], here);
        else {
          value[key] = JSON.parse(JSON.stringify(found.value).replaceAll('$SERIAL', () => (serial += 1)));
          if (found.error) errors.push({ ...(found.type ? { type: found.type } : {}), path: here, message: found.message });
        }
      }
    };
    visit(body.data, []);
    return errors.length > 0 ? { ...body, errors } : body;
  }
}

/** graphql-js takes an error that a resolver returns, also within a list, for one that it threw. */
function emptiness({ error, type, message }) {
  return error ? new ProviderError(type, message) : null;
}
