// What each page shows: a query, what its columns are called and counted in, and how it is drawn.

import { COLORS, areas, lines, pairs, ranking, smallLines, strips, weeks } from './charts.mjs';

const week = { name: 'week_start', title: 'Week from' };
const percentiles = [
  { name: 'p50', title: 'Median', color: COLORS.blue },
  { name: 'p75', title: '75th percentile', color: COLORS.orange },
  { name: 'p90', title: '90th percentile', color: COLORS.vermilion },
];
const inHours = (columns) => columns.map((column) => ({ ...column, unit: 'hours' }));

const throughput = [
  { name: 'pull_requests_merged', title: 'Pull requests merged', color: COLORS.blue },
  { name: 'issues_opened', title: 'Issues opened', color: COLORS.orange },
  { name: 'issues_closed', title: 'Issues closed', color: COLORS.green },
];
const stages = [
  { name: 'coding_p50', title: 'Coding', color: COLORS.blue },
  { name: 'pickup_p50', title: 'Pickup', color: COLORS.orange },
  { name: 'review_p50', title: 'Review', color: COLORS.green },
  { name: 'merge_p50', title: 'Merge', color: COLORS.purple },
];
const issueFlow = [
  { name: 'done', title: 'Done', color: COLORS.green },
  { name: 'open', title: 'Open', color: COLORS.orange },
];
const reviewed = [
  { name: 'reviewed', title: 'Reviewed', color: COLORS.blue },
  { name: 'without_review', title: 'Without a review', color: COLORS.vermilion },
];

const deployments = [
  { name: 'deployments', title: 'Succeeded', color: COLORS.blue },
  { name: 'failed_deployments', title: 'Failed', color: COLORS.vermilion },
];
const failures = [{ name: 'percent_failed', title: 'Change failure rate', color: COLORS.vermilion }];
const recovery = [{ name: 'p50', title: 'Median', color: COLORS.blue }, { name: 'longest', title: 'Longest', color: COLORS.vermilion }];
const signIns = [
  { name: 'sign_ins', title: 'Sign-ins', color: COLORS.blue },
  { name: 'refused_sign_ins', title: 'Refused sign-ins', color: COLORS.vermilion },
  { name: 'other_refusals', title: 'Other refusals', color: COLORS.orange },
];

const flow = {
  title: 'Flow',
  numbers: {
    query: 'flow_numbers',
    columns: [
      { name: 'pull_requests_merged', title: 'pull requests merged in the period' },
      { name: 'cycle_time_p50_hours', title: 'median cycle time, first commit to merge', unit: 'hours' },
      { name: 'pull_requests_open', title: 'pull requests open now' },
      { name: 'issues_open', title: 'issues open now' },
    ],
  },
  sections: [
    {
      query: 'throughput', title: 'Throughput by week', about: 'How much gets done: pull requests merged, issues opened and closed. The last week may not be over yet.',
      columns: [week, ...throughput],
      chart: (rows, period) => smallLines(rows, { period, x: 'week_start', xTitle: 'Week from', yTitle: 'a week', series: throughput }),
    },
    {
      query: 'cycle_time_stages', title: 'Cycle time by stage', about: 'Where the time goes: the median of each stage of the pull requests merged in the week, in hours. On a logarithmic scale, since a few take very long.',
      columns: [week, { name: 'merged', title: 'Merged' }, ...inHours([...stages, { name: 'cycle_p50', title: 'Whole cycle' }])],
      chart: (rows, period) => smallLines(rows, { period, x: 'week_start', xTitle: 'Week of the merge', unit: 'hours', yTitle: 'hours', series: stages, log: true }),
    },
    {
      query: 'issue_flow', title: 'Cumulative flow of issues', about: 'All issues opened until the end of each week: those that are done, and on top those still open. A widening upper band is a growing backlog.',
      columns: [{ name: 'day', title: 'End of' }, { name: 'done', title: 'Done' }, { name: 'open', title: 'Open' }, { name: 'opened', title: 'Opened' }],
      chart: (rows, period) => areas(rows, { period, x: 'day', xTitle: 'End of the week', yTitle: 'Issues', unit: 'issues', series: issueFlow }),
    },
    {
      query: 'work_in_progress', title: 'Work in progress and its age', about: 'Every pull request open now, whatever the period: a mark each, by what its review says. What stands far to the right waits for somebody.', isWide: true,
      columns: [
        { name: 'project', title: 'Project' }, { name: 'number', title: 'Number' }, { name: 'title', title: 'Title' }, { name: 'person', title: 'Author' }, { name: 'state_now', title: 'State' },
        { name: 'review_state', title: 'Review' }, { name: 'size_class', title: 'Size' }, { name: 'age_days', title: 'Age', unit: 'days' }, { name: 'idle_days', title: 'Idle', unit: 'days' },
      ],
      chart: (rows) => strips(rows, {
        group: 'review_state', groups: ['NONE', 'PENDING', 'CHANGES_REQUESTED', 'APPROVED'], value: 'age_days', unit: 'days', title: 'Age in days',
        describe: (row) => `${row.project} ${row.number}, ${row.review_state}`,
      }),
    },
  ],
};

const reviews = {
  title: 'Reviews',
  numbers: {
    query: 'review_numbers',
    columns: [
      { name: 'reviews', title: 'reviews of others’ pull requests' },
      { name: 'reviewers', title: 'people who reviewed' },
      { name: 'time_to_first_review_p50_hours', title: 'median time to first review', unit: 'hours' },
      { name: 'percent_without_review', title: 'merged without a review', unit: '%' },
    ],
  },
  sections: [
    {
      query: 'review_load', title: 'Review load per person', about: 'Who carries the reviewing: reviews of others’ pull requests, and how soon they came. Without bots; the chart shows the first twenty.',
      columns: [{ name: 'reviewer', title: 'Reviewer' }, { name: 'reviews', title: 'Reviews' }, { name: 'pull_requests', title: 'Pull requests' }, ...inHours([{ name: 'response_p50', title: 'Response, median' }, { name: 'response_p90', title: 'Response, 90th percentile' }])],
      chart: (rows) => ranking(rows, { category: 'reviewer', value: 'reviews', unit: 'reviews', title: 'Reviews', color: COLORS.blue }),
    },
    {
      query: 'reviewer_pairs', title: 'Who reviews whom', about: 'Pull requests of each author that each person reviewed; an empty column beside a dark one is knowledge in few heads. The chart shows the sixteen busiest.',
      columns: [{ name: 'author', title: 'Author' }, { name: 'reviewer', title: 'Reviewer' }, { name: 'pull_requests', title: 'Pull requests' }, { name: 'reviews', title: 'Reviews' }, { name: 'approvals', title: 'Approvals' }],
      chart: (rows) => pairs(rows, { down: 'author', across: 'reviewer', value: 'pull_requests', unit: 'pull requests', downTitle: 'Author', acrossTitle: 'Reviewer' }),
    },
    {
      query: 'time_to_first_review', title: 'Time to first review', about: 'Hours from the opening to the first review by another person, by the week of that review. On a logarithmic scale, since a few wait for very long.',
      columns: [week, { name: 'pull_requests', title: 'Pull requests' }, ...inHours(percentiles)],
      chart: (rows, period) => lines(rows, { period, x: 'week_start', xTitle: 'Week of the first review', yTitle: 'Hours, logarithmic', unit: 'hours', series: percentiles, log: true }),
    },
    {
      query: 'merged_without_review', title: 'Merged without a review', about: 'Pull requests merged by week, and how many of them nobody but the author had reviewed before the merge.',
      columns: [week, ...reviewed, { name: 'percent_without_review', title: 'Without a review', unit: '%' }],
      chart: (rows, period) => weeks(rows, { period, x: 'week_start', xTitle: 'Week of the merge', yTitle: 'Pull requests merged', unit: 'pull requests', series: reviewed }),
    },
  ],
};

const delivery = {
  title: 'Delivery',
  numbers: {
    query: 'delivery_numbers',
    columns: [
      { name: 'deployments', title: 'deployments to production' },
      { name: 'lead_time_p50_hours', title: 'median lead time for changes', unit: 'hours' },
      { name: 'change_failure_percent', title: 'change failure rate', unit: '%' },
      { name: 'recovery_time_p50_hours', title: 'median recovery time', unit: 'hours' },
    ],
  },
  sections: [
    {
      query: 'deployment_frequency', title: 'Deployment frequency', about: 'Deployments to production by week; in a project without any, its releases. Days are those with a deployment, added up over projects.',
      columns: [week, ...deployments, { name: 'deployment_days', title: 'Days' }],
      chart: (rows, period) => weeks(rows, { period, x: 'week_start', xTitle: 'Week of the deployment', yTitle: 'Deployments', unit: 'deployments', series: deployments }),
    },
    {
      query: 'lead_time_for_changes', title: 'Lead time for changes', about: 'Hours from the first commit of a pull request until it runs in production, by week of the deployment. On a logarithmic scale.',
      columns: [week, { name: 'pull_requests', title: 'Pull requests' }, ...inHours(percentiles)],
      chart: (rows, period) => lines(rows, { period, x: 'week_start', xTitle: 'Week of the deployment', yTitle: 'Hours, logarithmic', unit: 'hours', series: percentiles, log: true }),
    },
    {
      query: 'change_failure_rate', title: 'Change failure rate', about: 'How many of the week’s deployments were followed by an incident before the next one. Which issues are incidents, the account says by labels.',
      columns: [week, { name: 'deployments', title: 'Deployments' }, { name: 'failed_changes', title: 'Followed by an incident' }, { name: 'percent_failed', title: 'Rate', unit: '%' }],
      chart: (rows, period) => lines(rows, { period, x: 'week_start', xTitle: 'Week of the deployment', yTitle: 'Percent of deployments', unit: '%', series: failures }),
    },
    {
      query: 'recovery_time', title: 'Recovery time', about: 'Hours from a deployment to the closing of an incident that is put down to it; those still open are left out. On a logarithmic scale.',
      columns: [week, { name: 'incidents', title: 'Incidents' }, ...inHours(recovery)],
      chart: (rows, period) => lines(rows, { period, x: 'week_start', xTitle: 'Week of the deployment', yTitle: 'Hours, logarithmic', unit: 'hours', series: recovery, log: true }),
    },
  ],
};

const access = {
  title: 'Access',
  numbers: {
    query: 'access_numbers',
    columns: [
      { name: 'sign_ins', title: 'sign-ins' },
      { name: 'refused_sign_ins', title: 'refused sign-ins' },
      { name: 'other_refusals', title: 'other refusals' },
    ],
  },
  sections: [
    {
      query: 'sign_ins_and_refusals', title: 'Sign-ins and refusals', about: 'How often somebody signed in, and was refused it or anything else, by day: as long as the audit log is kept, whatever the period.', isWide: true,
      empty: 'No records that you may see: it takes the permission audit.read, which owners and admins have.',
      columns: [{ name: 'day', title: 'Day' }, ...signIns],
      chart: (rows) => smallLines(rows, { period: { from: rows.at(-1).day, to: rows[0].day }, x: 'day', xTitle: 'Day', yTitle: 'a day', series: signIns }),
    },
  ],
};

/** By path. */
export const pages = { '/flow': flow, '/reviews': reviews, '/delivery': delivery, '/access': access };
