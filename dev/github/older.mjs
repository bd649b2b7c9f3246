// The schema of an older Enterprise Server: the published one without some types, fields
// of types and inputs, their arguments, and values of enumerations.

const typeNameOf = (type) => (type.type ? typeNameOf(type.type) : type.name.value);

/** The document of a schema without "Type.field"s, "Type.field(argument)"s and "Type"s. A name that does not exist is an error. */
export function withoutParts(document, names) {
  const types = new Set(names.filter((name) => !name.includes('.')));
  const members = new Set(names.filter((name) => name.includes('.')));
  checkNames(document, names);
  // What speaks of a type that is gone is gone with it.
  const stays = (parent) => (member) => !members.has(`${parent.name.value}.${member.name.value}`) && (!member.type || !types.has(typeNameOf(member.type)));
  const isKnown = (named) => !types.has(named.name.value);
  const prune = (definition) => ({
    ...definition,
    ...(definition.fields ? { fields: definition.fields.filter(stays(definition)).map((field) => pruneArguments(definition, field, types, members)) } : {}),
    ...(definition.values ? { values: definition.values.filter(stays(definition)) } : {}),
    ...(definition.types ? { types: definition.types.filter(isKnown) } : {}),
    ...(definition.interfaces ? { interfaces: definition.interfaces.filter(isKnown) } : {}),
  });
  const definitions = document.definitions.filter((definition) => !definition.name || !types.has(definition.name.value));
  return { ...document, definitions: definitions.map((definition) => (definition.name ? prune(definition) : definition)) };
}

function pruneArguments(parent, field, types, members) {
  if (!field.arguments) return field;
  const stays = (argument) => !types.has(typeNameOf(argument.type)) && !members.has(`${parent.name.value}.${field.name.value}(${argument.name.value})`);
  return { ...field, arguments: field.arguments.filter(stays) };
}

function checkNames(document, names) {
  const known = new Set();
  for (const definition of document.definitions) {
    if (!definition.name) continue;
    known.add(definition.name.value);
    for (const member of [...(definition.fields ?? []), ...(definition.values ?? [])]) {
      known.add(`${definition.name.value}.${member.name.value}`);
      for (const argument of member.arguments ?? []) known.add(`${definition.name.value}.${member.name.value}(${argument.name.value})`);
    }
  }
  const unknown = names.filter((name) => !known.has(name));
  if (unknown.length > 0) throw new Error(`the schema has no ${unknown.join(', ')}`);
}
