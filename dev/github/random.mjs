// Seeded pseudo-random numbers: the same seed gives the same history, byte for byte.

/** FNV-1a, 32 bit: a small stable hash of a text. */
export function hash32(text) {
  let hash = 0x811c9dc5;
  for (let i = 0; i < text.length; i += 1) {
    hash = Math.imul(hash ^ text.charCodeAt(i), 0x01000193);
  }
  return (hash ^ (hash >>> 15)) >>> 0;
}

/** A source of random numbers (mulberry32) with the few draws the histories need. */
export function seededRandom(seed) {
  let state = hash32(String(seed));
  const next = () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
  const integer = (from, to) => from + Math.floor(next() * (to - from + 1));
  return {
    next,
    /** A whole number, both ends included. */
    integer,
    chance: (probability) => next() < probability,
    pick: (list) => list[Math.floor(next() * list.length)],
    /** A count with a heavy tail: mostly near 0, seldom large (Pareto). */
    tail: (scale, shape, most) =>
      Math.min(most, Math.floor(scale * ((1 - next()) ** (-1 / shape) - 1))),
    /** `count` different elements of the list, in drawn order. */
    sample: (list, count) => {
      const rest = list.slice();
      const drawn = [];
      while (drawn.length < count && rest.length > 0) {
        drawn.push(rest.splice(Math.floor(next() * rest.length), 1)[0]);
      }
      return drawn;
    },
    /** A time between two ISO times, whole seconds, both ends included. */
    timeBetween: (from, to) => {
      const start = Date.parse(from);
      const span = Math.max(0, Date.parse(to) - start);
      return isoTime(start + Math.floor(next() * (span + 1)));
    },
    hex: (length) => {
      let text = '';
      while (text.length < length) text += integer(0, 15).toString(16);
      return text;
    },
  };
}

/** GitHub's form of a time: UTC, whole seconds, "Z". */
export function isoTime(milliseconds) {
  return `${new Date(Math.floor(milliseconds / 1000) * 1000).toISOString().slice(0, 19)}Z`;
}

/** The given time moved by some seconds. */
export function later(time, seconds) {
  return isoTime(Date.parse(time) + seconds * 1000);
}
