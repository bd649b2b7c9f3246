// Releases and deployments of a history: their records, how they are made up from a
// seed, and what people and machines do to them.

import { later, seededRandom } from './random.mjs';
import { actorOf, newIds, oidOf } from './records.mjs';

const commitAt = (id, time) => (time ? { oid: oidOf(id), authoredDate: time, committedDate: time } : null);

/** `commit_at`: when the commit of the tag was made; null for a draft whose tag does not exist yet. */
export function newRelease(history, { commit_at: commitTime, ...fields }) {
  const { createdAt } = fields;
  const ids = newIds(history, 'RE');
  const release = {
    __typename: 'Release', ...ids, tagName: 'v0', name: null, author: null, isDraft: false, isPrerelease: false,
    publishedAt: fields.isDraft ? null : createdAt, updatedAt: createdAt, tagCommit: commitAt(ids.id, commitTime), ...fields,
  };
  history.releases.push(release);
  return release;
}

export function newDeployment(history, { commit_at: commitTime, ref = history.repository.defaultBranch, ...fields }) {
  const { createdAt } = fields;
  const ids = newIds(history, 'DE');
  const deployment = {
    __typename: 'Deployment', ...ids, environment: 'production', creator: null, updatedAt: createdAt, state: 'PENDING',
    ref: ref === null ? null : { name: ref }, commit: commitAt(ids.id, commitTime), statuses: [], ...fields,
  };
  history.deployments.push(deployment);
  return deployment;
}

/** One more status. A success makes what was active in the environment before inactive, as GitHub does. */
export function newDeploymentStatus(history, deployment, state, at, creator = deployment.creator) {
  const status = addStatus(history, deployment, state, at, creator);
  if (state !== 'SUCCESS') return status;
  for (const other of history.deployments) {
    if (other === deployment || other.environment !== deployment.environment || other.state !== 'ACTIVE' || other.createdAt > deployment.createdAt) continue;
    addStatus(history, other, 'INACTIVE', at, creator);
  }
  return status;
}

function addStatus(history, deployment, state, at, creator) {
  const status = { __typename: 'DeploymentStatus', ...newIds(history, 'DES'), state, createdAt: at, updatedAt: at, creator };
  deployment.statuses.push(status);
  deployment.state = state === 'SUCCESS' ? 'ACTIVE' : state;
  if (deployment.updatedAt < at) deployment.updatedAt = at;
  return status;
}

/** What the settings ask for; drawn apart from all else, so that a history without them stays as it is. */
export function addDelivery(history, cast, { releases = 0, deployments = 0, seed = 1, first, last }) {
  const random = seededRandom(`${history.repository.nameWithOwner}/${seed}/delivery`);
  const timesOf = (count) => Array.from({ length: count }, () => random.timeBetween(first, last)).sort();
  timesOf(releases).forEach((createdAt, index) => addRelease(history, cast, random, createdAt, index));
  timesOf(deployments).forEach((createdAt, index) => addDeployment(history, cast, random, createdAt, index));
}

function addRelease(history, cast, random, createdAt, index) {
  const isDraft = index % 17 === 5;
  const publishedAt = isDraft ? null : later(createdAt, random.tail(60, 0.8, 800_000));
  newRelease(history, {
    tagName: index % 11 === 3 ? `release/ünïcode-${index}` : `v1.${index}`, name: index % 5 === 0 ? null : `Version 1.${index} "🎉"`, isDraft,
    isPrerelease: !isDraft && random.chance(0.2), createdAt, publishedAt, updatedAt: publishedAt ?? createdAt,
    author: index % 13 === 7 ? null : random.chance(0.2) ? actorOf(history, 'release-robot') : random.pick(cast.people),
    commit_at: isDraft ? null : later(createdAt, -random.tail(600, 0.8, 5_000_000)),
  });
}

const ENVIRONMENTS = ['production', 'production', 'staging', 'staging', 'preview/ünï "1"', 'eu-west-1'];
const STORIES = [
  ['QUEUED', 'IN_PROGRESS', 'SUCCESS'], ['IN_PROGRESS', 'SUCCESS'], ['SUCCESS'], ['WAITING', 'QUEUED', 'IN_PROGRESS', 'SUCCESS'],
  ['QUEUED', 'IN_PROGRESS', 'FAILURE'], ['IN_PROGRESS', 'ERROR'], ['IN_PROGRESS', 'FAILURE', 'IN_PROGRESS', 'SUCCESS'], [],
];

function addDeployment(history, cast, random, createdAt, index) {
  const deployment = newDeployment(history, {
    environment: random.pick(ENVIRONMENTS), createdAt, creator: random.chance(0.4) ? cast.bots[0] : random.pick(cast.people),
    ref: index % 9 === 4 ? null : index % 4 === 1 ? `topic-${index}` : history.repository.defaultBranch,
    commit_at: index % 14 === 6 ? null : later(createdAt, -random.tail(900, 0.8, 5_000_000)),
  });
  // One in eight is more than a page of statuses long.
  const story = index % 8 === 2 ? [...Array(random.integer(11, 130)).fill('IN_PROGRESS'), 'SUCCESS', 'FAILURE'] : random.pick(STORIES);
  let at = createdAt;
  for (const state of story) {
    at = later(at, 1 + random.tail(30, 1, 3000));
    newDeploymentStatus(history, deployment, state, at);
  }
  if (story.length === 0 && index % 2 === 0) deployment.state = 'ABANDONED';
}

function required(value, what) {
  if (value === undefined) throw new Error(`this change needs ${what}`);
  return value;
}

const releaseOf = (history, { tag }) => required(history.releases.find((each) => each.tagName === tag), `a release that exists; there is none of "${tag}"`);
const deploymentOf = (history, { deployment }) => required(deployment === undefined ? history.deployments.at(-1) : history.deployments.find((each) => each.id === deployment), 'a deployment that exists');

function remove(list, element) {
  list.splice(list.indexOf(element), 1);
  return element;
}

export const DELIVERY_CHANGES = {
  new_release: ({ history, change, at, actor }) => newRelease(history, {
    tagName: required(change.tag, 'a tag'), name: change.title ?? null, isDraft: Boolean(change.draft), isPrerelease: Boolean(change.prerelease),
    createdAt: at, author: actor, commit_at: change.draft ? null : change.commit_at ?? at,
  }),

  publish_release: ({ history, change, at }) => {
    const release = releaseOf(history, change);
    return Object.assign(release, { isDraft: false, publishedAt: at, updatedAt: at, tagCommit: release.tagCommit ?? commitAt(release.id, at) });
  },

  edit_release: ({ history, change, at }) => {
    const release = releaseOf(history, change);
    return Object.assign(release, { name: change.title ?? release.name, isPrerelease: change.prerelease ?? release.isPrerelease, updatedAt: at });
  },

  delete_release: ({ history, change }) => remove(history.releases, releaseOf(history, change)),

  /** `state`, where it is given, is its first status. */
  new_deployment({ history, change, at, actor }) {
    const deployment = newDeployment(history, { environment: change.environment ?? 'production', ref: change.ref, createdAt: at, creator: actor, commit_at: change.commit_at ?? at });
    if (change.state) newDeploymentStatus(history, deployment, change.state, at, actor);
    return deployment;
  },

  /** Of the newest deployment, or of the one with the id `deployment`. */
  deployment_status({ history, change, at, actor }) {
    const deployment = deploymentOf(history, change);
    newDeploymentStatus(history, deployment, required(change.state, 'a state'), at, actor);
    return deployment;
  },

  delete_deployment: ({ history, change }) => remove(history.deployments, deploymentOf(history, change)),
};

