// What the holder of a token is and may see. Three kinds: the main token sees everything,
// a user what the permissions say, an installation of an app the repositories it is on.

import { ProviderError } from './errors.mjs';

/** The permission a list {"owner/name": value} gives on a repository; renamed ones are still found. */
function permissionListed(world, permissions, history) {
  const name = Object.keys(permissions).find((each) => world.find(each) === history);
  return name === undefined ? undefined : permissions[name];
}

const permissionOfAnybody = (history) => (history.repository.isPrivate ? null : 'READ');

/** The main token: an administrator of all there is. */
export class MainAccess {
  constructor(emulator) {
    this.emulator = emulator;
    this.viewer = emulator.world.viewer;
    this.name = 'main';
    this.limited = `user ID ${this.viewer.databaseId}`;
  }

  get budget() {
    return this.emulator.budget;
  }

  get scopes() {
    return this.emulator.scopes;
  }

  permissionOn() {
    return 'ADMIN';
  }

  isAffiliatedWith() {
    return true;
  }

  isMemberOf() {
    return true;
  }

  /** "Owner/name:Type.field" speaks of one repository. */
  refuseField(typeName, fieldName, source) {
    const { forbidden } = this.emulator;
    const field = `${typeName}.${fieldName}`;
    if (forbidden.size > 0 && (forbidden.has(field) || forbidden.has(`${source?.nameWithOwner}:${field}`))) {
      throw new ProviderError('FORBIDDEN', 'Resource not accessible by personal access token');
    }
  }

  sees(history) {
    return this.permissionOn(history) !== null;
  }
}

export class UserAccess extends MainAccess {
  #budget;

  constructor(emulator, viewer, budget, { scopes, organizations, permissions }) {
    super(emulator);
    this.viewer = viewer;
    this.name = `user ${viewer.login}`;
    this.limited = `user ID ${viewer.databaseId}`;
    this.#budget = budget;
    this.granted = scopes;
    this.organizations = new Set(organizations.map((login) => login.toLowerCase()));
    this.permissions = permissions;
  }

  get budget() {
    return this.#budget;
  }

  get scopes() {
    return this.granted;
  }

  permissionOn(history) {
    return permissionListed(this.emulator.world, this.permissions, history) ?? permissionOfAnybody(history);
  }

  isAffiliatedWith(history) {
    return Boolean(permissionListed(this.emulator.world, this.permissions, history));
  }

  isMemberOf(login) {
    return this.organizations.has(login.toLowerCase());
  }
}

// What an app must have been granted for a field.
const PERMISSION_OF_FIELD = {
  'Repository.issues': 'issues', 'Repository.issue': 'issues',
  'Repository.pullRequests': 'pull_requests', 'Repository.pullRequest': 'pull_requests',
  'Repository.deployments': 'deployments', 'Repository.releases': 'contents', 'Repository.latestRelease': 'contents', 'Repository.release': 'contents',
  'Commit.statusCheckRollup': 'checks', 'CheckSuite.workflowRun': 'actions', 'Ref.branchProtectionRule': 'administration',
  'Team.name': 'members', 'Team.slug': 'members', 'Team.combinedSlug': 'members',
};

export class InstallationAccess extends MainAccess {
  #budget;

  /** repositories: a list of "owner/name", or null for all. */
  constructor(emulator, viewer, budget, { installation, repositories, permissions }) {
    super(emulator);
    this.viewer = viewer;
    this.installation = installation;
    this.name = `installation ${installation}`;
    this.limited = `installation ID ${installation}`;
    this.#budget = budget;
    this.repositories = repositories;
    this.granted = permissions;
  }

  get budget() {
    return this.#budget;
  }

  /** An app has permissions, no scopes: the header with the scopes is left out. */
  get scopes() {
    return null;
  }

  permissionOn(history) {
    if (!this.isAffiliatedWith(history)) return permissionOfAnybody(history);
    return ['write', 'admin'].includes(this.granted.contents) ? 'WRITE' : 'READ';
  }

  isAffiliatedWith(history) {
    return this.repositories === null || this.repositories.some((name) => this.emulator.world.find(name) === history);
  }

  isMemberOf() {
    return false;
  }

  refuseField(typeName, fieldName) {
    const needed = PERMISSION_OF_FIELD[`${typeName}.${fieldName}`];
    if (needed && !this.granted[needed]) throw new ProviderError('FORBIDDEN', 'Resource not accessible by integration');
  }
}
