// The hourly budget of points, and the counters a test reads.

const HOUR = 3_600_000;

export class Budget {
  constructor(limit, now = Date.now) {
    this.limit = limit;
    this.now = now;
    this.restart();
  }

  restart() {
    this.used = 0;
    this.resetAt = Math.ceil((this.now() + HOUR) / 1000) * 1000;
  }

  get remaining() {
    if (this.now() >= this.resetAt) this.restart();
    return Math.max(0, this.limit - this.used);
  }

  setRemaining(points) {
    this.used = this.limit - points;
  }

  /** Take points, or answer false and take nothing when too few are left. */
  spend(points) {
    if (this.remaining < points) return false;
    this.used += points;
    return true;
  }

  headers() {
    const { remaining } = this;
    return {
      'x-ratelimit-limit': String(this.limit),
      'x-ratelimit-remaining': String(remaining),
      'x-ratelimit-used': String(this.used),
      'x-ratelimit-reset': String(Math.floor(this.resetAt / 1000)),
      'x-ratelimit-resource': 'graphql',
    };
  }

  field(cost, nodeCount) {
    const { remaining } = this;
    return { __typename: 'RateLimit', limit: this.limit, cost, remaining, used: this.used, nodeCount, resetAt: `${new Date(this.resetAt).toISOString().slice(0, 19)}Z` };
  }
}

export class Counters {
  constructor() {
    this.connections = 0;
    this.inFlight = 0;
    this.reset();
  }

  reset() {
    Object.assign(this, { requests: 0, http2: 0, proxyHeaders: 0, points: 0, violations: [], bodyRequests: 0, unlisted: [], byOperation: {}, faulted: 0, refused: 0, unauthorized: 0, maxInFlight: this.inFlight });
    this.connections = 0;
  }

  /** A request as it came: over HTTP/2 or not, and whether a header was in it that is a proxy's alone. */
  countRequest(request) {
    this.requests += 1;
    if (request.httpVersionMajor === 2) this.http2 += 1;
    if (Object.keys(request.headers).some((name) => name.startsWith('proxy-'))) this.proxyHeaders += 1;
  }

  enter() {
    this.inFlight += 1;
    this.maxInFlight = Math.max(this.maxInFlight, this.inFlight);
  }

  leave() {
    this.inFlight -= 1;
  }

  countOperation(name, points) {
    const entry = this.byOperation[name] ?? { requests: 0, points: 0 };
    entry.requests += 1;
    entry.points += points;
    this.byOperation[name] = entry;
    this.points += points;
  }

  report() {
    return {
      requests: this.requests, http2: this.http2, proxy_headers: this.proxyHeaders, points: this.points, violations: this.violations, body_requests: this.bodyRequests, unlisted: this.unlisted,
      by_operation: this.byOperation, faulted: this.faulted, refused: this.refused, unauthorized: this.unauthorized,
      max_in_flight: this.maxInFlight, in_flight: this.inFlight, connections: this.connections,
    };
  }
}
