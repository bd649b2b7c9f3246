/*
 * installation.c
 *		What keypup.check_installation asks and SQL cannot tell: which library runs,
 *		whether certificates can be checked, and what the launcher knows.
 */
#include "postgres.h"

#include <unistd.h>

#include <curl/curl.h>
#include <openssl/err.h>
#include <openssl/pem.h>

#include "fmgr.h"
#include "funcapi.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"
#include "utils/tuplestore.h"

#include "datum.h"
#include "keypup.h"
#include "worker/database_list.h"
#include "worker/launcher.h"
#include "worker_list.h"

PG_FUNCTION_INFO_V1(keypup_library);
PG_FUNCTION_INFO_V1(keypup_check_ca_file);
PG_FUNCTION_INFO_V1(keypup_list_databases);

/* A row of version, preloaded, launcher_refused. */
Datum
keypup_library(PG_FUNCTION_ARGS)
{
	Datum values[3] = {CStringGetTextDatum(KEYPUP_VERSION), BoolGetDatum(has_shared_lists()),
					   BoolGetDatum(launcher_was_refused())};

	return return_row(fcinfo, 3, values, NULL);
}

/* --- certificate authorities --- */

/* -1: it cannot be opened, and errno says why. */
static int
count_certificates(const char *path)
{
	FILE *file = fopen(path, "r");
	X509 *certificate;
	int count = 0;

	if (file == NULL)
		return -1;
	while ((certificate = PEM_read_X509(file, NULL, NULL, NULL)) != NULL)
	{
		X509_free(certificate);
		count++;
	}
	/* The last error is that there are no more. */
	ERR_clear_error();
	fclose(file);
	return count;
}

/* Where libcurl looks when keypup.ca_file is not set; NULL: it does not say. */
static const char *
default_ca_file(void)
{
	const curl_version_info_data *curl = curl_version_info(CURLVERSION_NOW);

	return curl->age >= CURLVERSION_SEVENTH ? curl->cainfo : NULL;
}

/* A row of ok, detail, remedy. */
Datum
keypup_check_ca_file(PG_FUNCTION_ARGS)
{
	bool is_set = keypup_ca_file != NULL && keypup_ca_file[0] != '\0';
	const char *path = is_set ? keypup_ca_file : default_ca_file();
	const char *name = is_set ? "keypup.ca_file" : "the system's file of certificate authorities";
	int count = path == NULL ? 0 : count_certificates(path);
	char *detail;
	Datum values[3];
	bool nulls[3] = {path == NULL, false, path == NULL || count > 0};

	if (path == NULL)
		detail = pstrdup("libcurl does not say where the system keeps certificate authorities");
	else if (count < 0)
		detail = psprintf("%s, \"%s\", cannot be read: %s", name, path, strerror(errno));
	else if (count == 0)
		detail = psprintf("%s, \"%s\", has no certificate in it", name, path);
	else
		detail = psprintf("%s, \"%s\", has %d certificates", name, path, count);
	values[0] = BoolGetDatum(count > 0);
	values[1] = CStringGetTextDatum(detail);
	values[2] = CStringGetTextDatum(
		is_set
			? "It must be a PEM file that the server's user can read."
			: "Install the certificate authorities (Debian: ca-certificates), or set keypup.ca_file.");
	return return_row(fcinfo, 3, values, nulls);
}

/* --- the launcher's list --- */

/* Rows of database_id, workers_wanted, waits_for_standby, no_slot_since. */
Datum
keypup_list_databases(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	Oid *databases = palloc(sizeof(Oid) * MAX_DATABASES);
	int count = has_shared_lists() ? list_databases(databases) : 0;

	InitMaterializedSRF(fcinfo, 0);
	for (int i = 0; i < count; i++)
	{
		DatabaseEntry known = look_up_database(databases[i]);
		bool has_work = known.finding == FINDING_WORK;
		Datum values[4] = {ObjectIdGetDatum(databases[i]), Int32GetDatum(known.workers_wanted),
						   BoolGetDatum(known.waits_for_standby),
						   TimestampTzGetDatum(known.no_slot_since)};
		bool nulls[4] = {false, !has_work, !has_work, known.no_slot_since == 0};

		tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
	}
	return (Datum) 0;
}
