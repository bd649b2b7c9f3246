// All repositories the server knows, and the ways to find a thing in them: by global id,
// by name (following renames), by number, and in each order a client may ask for.

import { rollupOf } from './checks.mjs';
import { newActor } from './records.mjs';

export class World {
  constructor({ viewerLogin = 'emulated-viewer' } = {}) {
    this.accounts = new Map();
    this.viewer = newActor(viewerLogin);
    this.histories = [];
    this.byId = new Map([[this.viewer.id, this.viewer]]);
    this.parents = new WeakMap();
    this.historyOfId = new Map();
    this.names = new Map();
    this.numbers = new Map();
    this.orders = new Map();
    this.reviewComments = new Map();
  }

  add(history) {
    const key = history.repository.nameWithOwner.toLowerCase();
    if (this.names.get(key)?.repository.nameWithOwner.toLowerCase() === key) throw new Error(`repository ${key} exists already`);
    this.histories.push(history);
    this.names.set(key, history);
    this.index(history);
    return history;
  }

  /** A renamed repository is found by its old name until another one takes that name. */
  rename(history, nameWithOwner) {
    const key = nameWithOwner.toLowerCase();
    const holder = this.names.get(key);
    if (holder && holder !== history && holder.repository.nameWithOwner.toLowerCase() === key) throw new Error(`repository ${nameWithOwner} exists already`);
    this.names.set(key, history);
    this.index(history);
  }

  remove(history) {
    this.histories = this.histories.filter((other) => other !== history);
    for (const [name, holder] of this.names) if (holder === history) this.names.delete(name);
    this.forget(history);
  }

  find(nameWithOwner, followRenames = true) {
    const key = nameWithOwner.toLowerCase();
    const history = this.names.get(key);
    if (!history) return undefined;
    return followRenames || history.repository.nameWithOwner.toLowerCase() === key ? history : undefined;
  }

  forget(history) {
    for (const [id, owner] of this.historyOfId) {
      if (owner !== history) continue;
      this.historyOfId.delete(id);
      this.byId.delete(id);
    }
    this.orders.delete(history);
    this.numbers.delete(history);
  }

  /** Enter every record of a history anew. Called once at the start and after each change. */
  index(history) {
    this.forget(history);
    const enter = (record, parent) => {
      this.byId.set(record.id, record);
      this.historyOfId.set(record.id, history);
      this.parents.set(record, parent);
    };
    enter(history.repository, history);
    this.byId.set(history.repository.owner.id, history.repository.owner);
    for (const actor of Object.values(history.actors)) this.byId.set(actor.id, actor);
    for (const list of [history.teams, history.labels, history.milestones, history.releases, history.deployments, history.branches]) list.forEach((record) => enter(record, history));
    for (const deployment of history.deployments) deployment.statuses.forEach((status) => enter(status, deployment));
    const numbers = new Map();
    for (const item of [...history.issues, ...history.pullRequests]) {
      enter(item, history);
      numbers.set(item.number, item);
      item.comments.forEach((comment) => enter(comment, item));
      item.events.forEach((event) => enter(event, item));
      if (item.__typename === 'PullRequest') this.#indexReviews(item, enter);
    }
    this.numbers.set(history, numbers);
  }

  #indexReviews(pull, enter) {
    const rollup = rollupOf(pull);
    if (rollup) enter(rollup, pull);
    pull.reviewRequests.forEach((request) => enter(request, pull));
    for (const review of pull.reviews) {
      enter(review, pull);
      this.reviewComments.set(review.id, []);
    }
    for (const thread of pull.reviewThreads) {
      enter(thread, pull);
      for (const comment of thread.comments) {
        enter(comment, thread);
        this.reviewComments.get(comment.pullRequestReview?.id)?.push(comment);
      }
    }
  }

  /** The user with this login: as a repository's history knows it, or else made. */
  account(login) {
    const key = login.toLowerCase();
    if (key === this.viewer.login.toLowerCase()) return this.viewer;
    const known = this.histories.map((history) => history.actors[key]).find((actor) => actor?.__typename === 'User');
    if (known) return known;
    if (!this.accounts.has(key)) this.accounts.set(key, newActor(login));
    const made = this.accounts.get(key);
    if (!this.byId.has(made.id)) this.byId.set(made.id, made);
    return made;
  }

  parentOf(record) {
    return this.parents.get(record);
  }

  historyOf(record) {
    return this.historyOfId.get(record.id);
  }

  byNumber(history, number) {
    return this.numbers.get(history)?.get(number);
  }

  /** A list of a history computed once and kept until the history changes. */
  remembered(history, name, compute) {
    if (!this.orders.has(history)) this.orders.set(history, new Map());
    const known = this.orders.get(history);
    if (!known.has(name)) known.set(name, compute());
    return known.get(name);
  }

  /** A review that is being written is seen by its writer alone. */
  visibleReviews(pull, viewer) {
    const hidden = pull.reviews.some((review) => review.state === 'PENDING');
    if (!hidden) return pull.reviews;
    return pull.reviews.filter((review) => review.state !== 'PENDING' || review.author?.login === viewer.login);
  }
}
