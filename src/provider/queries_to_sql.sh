#!/bin/sh
# queries_to_sql.sh PROVIDER FILE.graphql …
# Prints the SQL function keypup.PROVIDER_query(name), which answers the text of each query file.
# Comments and indentation are dropped: they cost bytes on every request.
provider=$1
shift
echo "CREATE FUNCTION keypup.${provider}_query(name text) RETURNS text"
echo "LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp"
echo "AS \$function\$ BEGIN RETURN CASE name"
for file in "$@"; do
	echo "WHEN '$(basename "$file" .graphql)' THEN \$graphql\$"
	sed -e 's/#.*$//' -e 's/^[[:space:]]*//' -e '/^$/d' "$file"
	echo "\$graphql\$"
done
echo "END; END \$function\$;"
echo "REVOKE ALL ON FUNCTION keypup.${provider}_query(text) FROM PUBLIC;"
echo "GRANT EXECUTE ON FUNCTION keypup.${provider}_query(text) TO keypup_worker;"
echo "COMMENT ON FUNCTION keypup.${provider}_query(text) IS 'The text of a query that Keypup sends to ${provider}; nothing else is ever sent.';"
