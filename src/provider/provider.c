/*
 * provider.c
 *		The providers that this build knows.
 */
#include "postgres.h"

#include "provider/provider.h"

static const Provider *const providers[] = {
	&github_provider,
};

const Provider *
find_provider(const char *name)
{
	for (int i = 0; i < (int) lengthof(providers); i++)
	{
		if (strcmp(providers[i]->name, name) == 0)
			return providers[i];
	}
	elog(ERROR, "provider \"%s\" is unknown to this build", name);
	return NULL; /* not reached */
}

Secret *
make_authorization(const Provider *provider, Secret *token)
{
	Size length = strlen(provider->authorization_scheme);
	Secret *value = allocate_secret(length + token->length + 1);

	memcpy(value->bytes, provider->authorization_scheme, length);
	memcpy(value->bytes + length, token->bytes, token->length);
	wipe_secret(token);
	return value;
}
