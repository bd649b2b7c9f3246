// validate.mjs: reads requests {name, query, variables}, one JSON a line, and validates each against GitHub's published
// schema; says which fields that carry source code, or bodies, it selects. Prints TAP.
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { schema } from '../../dev/github/schema.mjs';

// The very graphql that the schema was built with.
const { parse, validate, visit, visitWithTypeInfo, TypeInfo } = createRequire(new URL('../../dev/github/package.json', import.meta.url))('graphql');

// By type and field: what holds source code, or text in which people quote it, or gives access to it.
const forbidden = /^(PullRequestReviewComment\.(diffHunk|path|.*[lL]ine|.*[pP]osition)|PullRequestReviewThread\.(path|.*[lL]ine|diffSide)|PullRequest\.files|Commit\.(message.*|tree|file|blame|archive|tarballUrl|zipballUrl)|Blob\..*|TreeEntry\..*|Release\.(releaseAssets|description.*|shortDescription.*)|ReleaseAsset\..*|Deployment\.(payload|description)|DeploymentStatus\.(description|logUrl|environmentUrl)|CheckRun\.(text|summary|title|annotations|steps|.*Url|externalId)|CheckAnnotation\..*|CheckStep\..*|StatusContext\.(description|.*Url)|Repository\.(object|codeowners|tempCloneToken|issueTemplates|contributingGuidelines|submodules|refs?)|.*\.(body|bodyHTML|bodyText|patch|email|suggestion.*))$/;

let number = 0;
let failed = 0;
const check = (good, name, why) => {
  number += 1;
  failed += good ? 0 : 1;
  console.log(`${good ? 'ok' : 'not ok'} ${number} - ${name}${good ? '' : `\n# ${why}`}`);
};

// The check can fail: a query that must not pass.
const selects = (query) => {
  const found = [];
  const info = new TypeInfo(schema);
  visit(parse(query), visitWithTypeInfo(info, {
    Field() {
      const name = `${info.getParentType()?.name}.${info.getFieldDef()?.name}`;
      if (forbidden.test(name)) found.push(name);
    },
  }));
  return found;
};
check(selects('{ node(id: "x") { ... on PullRequestReviewComment { diffHunk body } } }').length === 2, 'a field that carries source is found');
check(selects('{ node(id: "x") { ... on CheckRun { text annotations(first: 1) { nodes { message } } } ... on StatusContext { description } } }').length === 4, 'so are the output of a check, and what a status says');
check(selects('{ node(id: "x") { ... on Release { description } ... on Deployment { payload latestStatus { logUrl } } } }').length === 3, 'so are notes, payloads and logs');

for (const line of readFileSync(0, 'utf8').split('\n').filter(Boolean)) {
  const { name, query } = JSON.parse(line);
  const errors = validate(schema, parse(query));
  check(errors.length === 0, `${name} is valid in the published schema`, errors.map((error) => error.message).join('; '));
  const found = selects(query);
  check(found.length === 0, `${name} selects nothing that carries source code`, found.join(', '));
}
console.log(`1..${number}`);
process.exitCode = failed ? 1 : 0;
