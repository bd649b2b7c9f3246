// nullable.mjs: reads requests {name, query}, one JSON a line, and prints {operation, path} for each place of their answers that may be
// null by GitHub's published schema: fields, and elements of lists. A path is written as in dev/github/nulls.mjs.
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { schema } from '../../dev/github/schema.mjs';

const { parse, getNullableType, isListType, isNonNullType, getNamedType, isCompositeType } = createRequire(new URL('../../dev/github/package.json', import.meta.url))('graphql');

const found = new Map();

function walk(document, operation) {
  const fragments = new Map(document.definitions.filter((each) => each.kind === 'FragmentDefinition').map((each) => [each.name.value, each]));
  const visit = (type, selectionSet, path) => {
    for (const selection of selectionSet.selections) {
      if (selection.kind !== 'Field') {
        const fragment = selection.kind === 'FragmentSpread' ? fragments.get(selection.name.value) : selection;
        visit(fragment.typeCondition ? schema.getType(fragment.typeCondition.name.value) : type, fragment.selectionSet, path);
        continue;
      }
      if (selection.name.value === '__typename') continue;
      const key = (selection.alias ?? selection.name).value.replace(/^n\d+$/, 'n*');
      complete(type.getFields()[selection.name.value].type, selection, [...path, key]);
    }
  };
  const complete = (type, selection, path) => {
    if (!isNonNullType(type)) found.set(`${operation} ${path.join('.')}`, { operation, path: path.join('.') });
    const inner = getNullableType(type);
    if (isListType(inner)) complete(inner.ofType, selection, [...path, '*']);
    else if (isCompositeType(getNamedType(inner))) visit(getNamedType(inner), selection.selectionSet, path);
  };
  visit(schema.getQueryType(), document.definitions.find((each) => each.kind === 'OperationDefinition').selectionSet, []);
}

for (const line of readFileSync(0, 'utf8').split('\n').filter(Boolean)) {
  const { query } = JSON.parse(line);
  walk(parse(query), /query (\w+)/.exec(query)[1]);
}
for (const place of found.values()) console.log(JSON.stringify(place));
