// The tokens the server accepts, and whose each one is.

import { Budget } from './budget.mjs';
import { MainAccess, UserAccess } from './access.mjs';

const PERMISSIONS = ['READ', 'TRIAGE', 'WRITE', 'MAINTAIN', 'ADMIN'];

export class Tokens {
  constructor(emulator, points) {
    this.emulator = emulator;
    this.points = points;
    this.main = new MainAccess(emulator);
    this.users = new Map();
    // GitHub counts points by account, however many tokens it has.
    this.budgets = new Map();
  }

  /** The access of an Authorization header, or undefined when GitHub would answer 401. */
  find(authorization = '') {
    const token = /^(?:bearer|token) +(.+)$/i.exec(authorization)?.[1];
    if (token === undefined) return undefined;
    if (token === this.emulator.token) return this.main;
    return this.users.get(token) ?? this.emulator.apps.accessOf(token);
  }

  budgetOf(name, points) {
    if (!this.budgets.has(name)) this.budgets.set(name, new Budget(this.points));
    const budget = this.budgets.get(name);
    if (points !== undefined) budget.limit = Number(points);
    return budget;
  }

  /** Make, replace or revoke a user's token: the body of POST /_emulator/user. */
  setUser({ token, login, revoked = false, organizations = [], permissions = {}, scopes = [], points }) {
    if (typeof token !== 'string' || token === '') throw new Error('a user needs a token');
    if (token === this.emulator.token) throw new Error('this is the main token');
    if (revoked) return { revoked: this.users.delete(token) };
    if (typeof login !== 'string' || login === '') throw new Error('a user needs a login');
    if (!Array.isArray(organizations) || !Array.isArray(scopes)) throw new Error('organizations and scopes are lists');
    for (const [name, permission] of Object.entries(permissions)) {
      if (!PERMISSIONS.includes(permission)) throw new Error(`no permission "${permission}" on ${name}; there are: ${PERMISSIONS.join(', ')}`);
    }
    const viewer = this.emulator.world.account(login);
    const budget = this.budgetOf(`user ${viewer.login}`, points);
    this.users.set(token, new UserAccess(this.emulator, viewer, budget, { scopes, organizations, permissions }));
    return { login: viewer.login, id: viewer.id, databaseId: viewer.databaseId, organizations, permissions, scopes };
  }

  /** The points of every account, without any token. */
  report() {
    const entries = [['main', this.emulator.budget], ...this.budgets];
    return Object.fromEntries(entries.map(([name, { limit, used, remaining }]) => [name, { limit, used, remaining }]));
  }
}
