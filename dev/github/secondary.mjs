// GitHub's secondary limit on requests in flight at once. Here all tokens count together,
// and a refused request does not count against the others.

export class SecondaryLimit {
  constructor() {
    this.concurrency = null;
    this.retryAfter = 1;
    this.admitted = 0;
    this.refused = 0;
  }

  /** Let a request in, or answer false: then it is to be refused and never leaves. */
  enter() {
    if (this.concurrency !== null && this.admitted >= this.concurrency) {
      this.refused += 1;
      return false;
    }
    this.admitted += 1;
    return true;
  }

  leave() {
    this.admitted -= 1;
  }

  /** {status, headers, body} of a refusal. */
  answer() {
    return {
      status: 403,
      headers: { 'retry-after': String(this.retryAfter) },
      body: {
        message: 'You have exceeded a secondary rate limit. Please wait a few minutes before you try again.',
        documentation_url: 'https://docs.github.com/rest/overview/rate-limits-for-the-rest-api#about-secondary-rate-limits',
      },
    };
  }
}
