// What stands at the head of a pull request that is open: its checks, whether it can be merged, and what its base branch
// asks for. Nothing is drawn for it: a history is otherwise the same with it and without.

import { databaseKey, page } from './connections.mjs';
import { hash32, later } from './random.mjs';
import { newIds } from './records.mjs';

/** A run of a check: of a check that was run again there are several of one name. */
export function newCheckRun(history, pull, fields) {
  const run = { __typename: 'CheckRun', ...newIds(history, 'CR'), workflow: null, status: 'COMPLETED', conclusion: 'SUCCESS', startedAt: null, completedAt: null, ...fields };
  pull.checks.push(run);
  return run;
}

/** A commit status, the older way: whoever says something else of the commit writes another one. */
export function newStatusContext(history, pull, fields) {
  const status = { __typename: 'StatusContext', ...newIds(history, 'SC'), state: 'SUCCESS', ...fields };
  pull.checks.push(status);
  return status;
}

export function addChecks(history, pull) {
  const draw = hash32(`${history.repository.nameWithOwner}#${pull.number}`);
  const head = pull.commits.at(-1);
  Object.assign(pull, draw % 7 === 0 ? { mergeable: 'CONFLICTING', mergeStateStatus: 'DIRTY' }
    : { mergeable: 'MERGEABLE', mergeStateStatus: draw % 7 === 1 ? 'BEHIND' : 'CLEAN' });
  if (!head || draw % 11 === 0) return;
  const at = (seconds) => later(head.committedDate, seconds);
  const run = (name, start, end, conclusion) => newCheckRun(history, pull, { workflow: name === 'docs' ? null : 'CI', name, conclusion, startedAt: at(start), completedAt: at(end) });
  run('build', 30, 330, 'SUCCESS');
  run('lint "quick"', 31, 60, 'NEUTRAL');
  run('docs', 31, 31, 'SKIPPED');
  if (draw % 5 < 2) run('test', 32, 900, draw % 5 === 0 ? 'FAILURE' : 'TIMED_OUT');
  if (draw % 5 > 0) run('test', 1000, 1800, 'SUCCESS');
  newStatusContext(history, pull, { context: 'ci/deploy-preview', state: draw % 13 === 0 ? 'ERROR' : 'SUCCESS', createdAt: at(2000) });
}

const STATE_OF_CONCLUSION = { SUCCESS: 'SUCCESS', NEUTRAL: 'SUCCESS', SKIPPED: 'SUCCESS' };
const stateOf = (check) => check.state ?? (check.status === 'COMPLETED' ? STATE_OF_CONCLUSION[check.conclusion] ?? 'FAILURE' : 'PENDING');

/** Of each name the last one counts. */
export function rollupState(checks) {
  const latest = new Map(checks.map((check) => [check.name ?? check.context, stateOf(check)]));
  const states = [...latest.values()];
  return ['ERROR', 'FAILURE', 'EXPECTED', 'PENDING'].find((state) => states.includes(state)) ?? 'SUCCESS';
}

/** A pull request without checks has none. */
export const rollupOf = (pull) => (pull.checks.length === 0 ? null : { __typename: 'StatusCheckRollup', id: `SCR_${pull.id}_${pull.commits.at(-1).oid}`, pull });

/** What a branch asks for of those who merge into it: a protection, rulesets, both or nothing. */
export function newBranch(history, name, { protection = null, rulesets = [] } = {}) {
  const branch = { id: `REF_${history.repository.databaseId}_${name}`, name, protection, rulesets };
  history.branches.push(branch);
  return branch;
}

const rule = (ref, type, parameters) => ({ __typename: 'RepositoryRule', id: `RRU_${ref.id}_${type}`, type, parameters });
/** Those who merge past a protection are not told what it would ask of them. */
const reviewRule = (__typename, ref) => (typeof ref.protection === 'number' ? { __typename, pattern: ref.name, requiredApprovingReviewCount: ref.protection } : null);

export const checkResolvers = {
  Ref: {
    branchProtectionRule: (ref, _, { access }) => (access.permissionOn(ref.history) === 'ADMIN' ? reviewRule('BranchProtectionRule', ref) : null),
    refUpdateRule: (ref, _, { access }) => (access.permissionOn(ref.history) === 'ADMIN' ? null : reviewRule('RefUpdateRule', ref)),
    rules: (ref, args) => page([
      ...(ref.rulesets?.length > 0 ? [rule(ref, 'DELETION', null), rule(ref, 'REQUIRED_STATUS_CHECKS', { __typename: 'RequiredStatusChecksParameters' })] : []),
      ...(ref.rulesets ?? []).map((count) => rule(ref, 'PULL_REQUEST', { __typename: 'PullRequestParameters', requiredApprovingReviewCount: count })),
    ], args, { order: 'rules', keyOf: (each) => [each.id] }),
  },
  CheckRun: {
    checkSuite: (run) => ({ __typename: 'CheckSuite', id: `CS_${run.id}`, workflowRun: run.workflow && { __typename: 'WorkflowRun', workflow: { __typename: 'Workflow', name: run.workflow } } }),
  },
  StatusCheckRollup: {
    state: ({ pull }) => rollupState(pull.checks),
    contexts: ({ pull }, args) => page(pull.checks, args, { order: 'checks', keyOf: databaseKey }),
  },
};

const openPull = (item) => {
  if (item?.__typename !== 'PullRequest') throw new Error('this change needs the number of a pull request');
  return item;
};

// As continuous integration does it, none of which GitHub takes for a change of the pull request.
export const CHECK_CHANGES = {
  /** A check begins, or ends: the last run of that name that goes on, or else another one. */
  check({ history, item, change, at }) {
    const name = change.name ?? 'build';
    const running = openPull(item).checks.findLast((each) => each.name === name && each.status !== 'COMPLETED');
    const run = running ?? newCheckRun(history, item, { workflow: change.workflow ?? null, name, status: 'IN_PROGRESS', conclusion: null, startedAt: at });
    if (change.conclusion) Object.assign(run, { status: 'COMPLETED', conclusion: change.conclusion, completedAt: at });
    return run;
  },

  commit_status({ history, item, change, at }) {
    openPull(item).checks = item.checks.filter((each) => each.context !== change.context);
    return newStatusContext(history, item, { context: change.context, state: change.state, createdAt: at });
  },

  /** mergeable, mergeStateStatus. */
  mergeability: ({ item, change }) => Object.assign(openPull(item), change.fields),

  /** What a branch asks for: protection, rulesets. */
  branch_rules({ history, change }) {
    const branch = history.branches.find((each) => each.name === change.branch) ?? newBranch(history, change.branch);
    return Object.assign(branch, change.fields);
  },
};
