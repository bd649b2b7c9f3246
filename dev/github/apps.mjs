// GitHub Apps: their public keys, where they are installed, and the tokens that their
// installations were given.

import { createPublicKey, randomBytes } from 'node:crypto';
import { InstallationAccess } from './access.mjs';
import { isoTime } from './random.mjs';
import { newActor } from './records.mjs';

const DEFAULT_PERMISSIONS = { metadata: 'read', issues: 'read', pull_requests: 'read' };
const RANKS = ['read', 'write', 'admin'];

export class Apps {
  constructor(emulator) {
    this.emulator = emulator;
    this.apps = new Map();
    this.tokens = new Map();
    this.issued = 0;
  }

  /** Make or replace an app: the body of POST /_emulator/app. An installation that is left out is uninstalled. */
  setApp({ app_id: appId, client_id: clientId, public_key_pem: pem, installations = [], token_seconds: seconds = 3600, points }) {
    if (appId === undefined || appId === null) throw new Error('an app needs an app_id');
    const publicKey = createPublicKey(pem);
    if (publicKey.asymmetricKeyType !== 'rsa') throw new Error('the key of an app must be an RSA key');
    const app = { appId: String(appId), clientId, publicKey, seconds: Number(seconds), installations: new Map() };
    for (const { id, repositories = null, permissions = DEFAULT_PERMISSIONS, suspended = false } of installations) {
      if (!/^\d+$/.test(String(id))) throw new Error('an installation needs an id, a whole number');
      const budget = this.emulator.tokens.budgetOf(`installation ${id}`, points);
      app.installations.set(String(id), { id: String(id), repositories, permissions: { metadata: 'read', ...permissions }, suspended, budget });
    }
    this.apps.set(app.appId, app);
    return { app_id: app.appId, installations: [...app.installations.keys()].map(Number) };
  }

  /** The app of a JWT's issuer: its id or its client id. */
  findApp(issuer) {
    return this.apps.get(issuer) ?? [...this.apps.values()].find((app) => app.clientId !== undefined && app.clientId === issuer);
  }

  /** A new token of an installation, for all it may do or, with `wanted`, for less: {status, body}. */
  issueToken(app, installation, wanted) {
    const permissions = wanted.permissions ?? installation.permissions;
    for (const [name, level] of Object.entries(permissions)) {
      if (RANKS.indexOf(level) < 0 || RANKS.indexOf(level) > RANKS.indexOf(installation.permissions[name])) return refused('The permissions requested are not granted to this installation.');
    }
    const chosen = wanted.repositories && this.#choose(installation, wanted.repositories);
    if (wanted.repositories && !chosen) return refused('There is at least one repository that does not exist or is not accessible to the parent installation.');
    const token = `ghs_${randomBytes(18).toString('hex')}`;
    const expires = this.emulator.now() + app.seconds * 1000;
    const granted = { metadata: 'read', ...permissions };
    const repositories = chosen ? chosen.map(({ repository }) => repository.nameWithOwner) : installation.repositories;
    this.tokens.set(token, { appId: app.appId, installation: installation.id, expires, permissions: granted, repositories });
    this.issued += 1;
    return {
      status: 201,
      body: {
        token, expires_at: isoTime(expires), permissions: granted, repository_selection: repositories === null ? 'all' : 'selected',
        ...(chosen ? { repositories: chosen.map(describe) } : {}),
      },
    };
  }

  /** The histories with these short names that the installation is on, or null when one is missing. */
  #choose(installation, names) {
    const { world } = this.emulator;
    const open = installation.repositories === null ? world.histories : installation.repositories.map((name) => world.find(name)).filter(Boolean);
    const chosen = names.map((name) => open.find(({ repository }) => repository.name.toLowerCase() === String(name).toLowerCase()));
    return chosen.includes(undefined) ? null : chosen;
  }

  /** What a token may see, until it expires or its installation is gone. */
  accessOf(token) {
    const known = this.tokens.get(token);
    const installation = known && this.apps.get(known.appId)?.installations.get(known.installation);
    if (!installation || installation.suspended || known.expires <= this.emulator.now()) return undefined;
    const viewer = newActor(`app-${known.appId}[bot]`);
    // A token keeps what it was given, but never reaches where the app no longer is.
    const repositories = installation.repositories && known.repositories
      ? known.repositories.filter((name) => this.#isOn(installation, name)) : known.repositories ?? installation.repositories;
    return new InstallationAccess(this.emulator, viewer, installation.budget, { installation: installation.id, repositories, permissions: known.permissions });
  }

  #isOn(installation, name) {
    const { world } = this.emulator;
    return installation.repositories.some((each) => world.find(each) === world.find(name));
  }
}

const refused = (message) => ({ status: 422, body: { message, documentation_url: 'https://docs.github.com/rest/apps/apps#create-an-installation-access-token-for-an-app', status: '422' } });

const describe = ({ repository }) => ({
  id: repository.databaseId, node_id: repository.id, name: repository.name, full_name: repository.nameWithOwner, private: repository.isPrivate,
});
