/*
 * keypup.c
 *		Entry of the extension: its settings, and what must happen at load.
 *
 * Nothing here fails for a missing key or CA file: a server must start
 * without them, and say what is missing when it is needed.
 */
#include "postgres.h"

#include "fmgr.h"
#include "miscadmin.h"
#include "utils/guc.h"

#include "audit/gap.h"
#include "audit/refusal.h"
#include "http/pace.h"
#include "http/proxy.h"
#include "keypup.h"
#include "model/new_id.h"
#include "outside/question.h"
#include "outside/throttle.h"
#include "right/current_user.h"
#include "right/caller.h"
#include "right/lock_first.h"
#include "right/own_schema.h"
#include "right/plan_cost.h"
#include "right/policy_first.h"
#include "right/statistics.h"
#include "sign_in/attempts.h"
#include "token/secret_argument.h"
#include "token/turn.h"
#include "worker/launcher.h"
#include "worker_list.h"

PG_MODULE_MAGIC;

char *keypup_key_file = NULL;
char *keypup_key_command = NULL;
char *keypup_ca_file = NULL;
char *keypup_private_hosts = NULL;
char *keypup_proxy = NULL;
char *keypup_proxy_hosts = NULL;
char *keypup_proxy_ca_file = NULL;
int keypup_workers = 1;
int keypup_max_requests = 32;
int keypup_rate_reserve = 5;
int keypup_recheck_interval = 6 * 3600;
int keypup_sweep_interval = 7 * 86400;
int keypup_full_reread_interval = 90 * 86400;
int keypup_deletion_delay = 3600;
int keypup_sync_interval = 300;
int keypup_audit_retention = 30 * 86400;
int keypup_audit_checkpoint_interval = 3600;
int keypup_audit_count_interval = 60;
int keypup_change_timeout = 60;
int keypup_bcrypt_cost = 12;
int keypup_max_password_digests = 2;
int keypup_max_password_digests_per_role = 0;
int keypup_questions_per_minute = 120;
int keypup_max_questions = 32;
bool keypup_count_bots = true;

void _PG_init(void);

static void
define_settings(void)
{
	DefineCustomStringVariable(
		"keypup.key_file", "File with the keys that wrap the data keys.",
		"One key a line: its number and 64 hexadecimal digits. Readable by the server's user only.",
		&keypup_key_file, "", PGC_SIGHUP, GUC_SUPERUSER_ONLY, NULL, NULL, NULL);
	DefineCustomStringVariable(
		"keypup.key_command", "Command that prints the keys, instead of keypup.key_file.",
		"It prints what the key file would contain, and exits with 0.", &keypup_key_command, "",
		PGC_SIGHUP, GUC_SUPERUSER_ONLY, NULL, NULL, NULL);
	DefineCustomStringVariable(
		"keypup.ca_file",
		"File with the certificates that providers' certificates are checked against.",
		"Empty for the system's own.", &keypup_ca_file, "", PGC_SIGHUP, GUC_SUPERUSER_ONLY, NULL,
		NULL, NULL);
	DefineCustomStringVariable(
		"keypup.private_hosts", "Hosts that may resolve to a private address, separated by commas.",
		"For a provider in your own network. Empty by default.", &keypup_private_hosts, "",
		PGC_SIGHUP, GUC_SUPERUSER_ONLY, NULL, NULL, NULL);
	DefineCustomStringVariable(
		"keypup.proxy", "HTTP proxy that requests to keypup.proxy_hosts go through.",
		"http://HOST:PORT or https://HOST:PORT. Its user and password: keypup.set_proxy_credentials.",
		&keypup_proxy, "", PGC_SIGHUP, GUC_SUPERUSER_ONLY, check_proxy, NULL, NULL);
	DefineCustomStringVariable(
		"keypup.proxy_hosts", "Hosts that are asked through the proxy only, separated by commas.",
		"HOST or HOST:PORT. Their addresses cannot be checked here. All others are asked directly.",
		&keypup_proxy_hosts, "", PGC_SIGHUP, GUC_SUPERUSER_ONLY, check_proxy_hosts, NULL, NULL);
	DefineCustomStringVariable(
		"keypup.proxy_ca_file",
		"File with the certificates that the certificate of an https proxy is checked against.",
		"Empty for the system's own.", &keypup_proxy_ca_file, "", PGC_SIGHUP, GUC_SUPERUSER_ONLY,
		NULL, NULL, NULL);
	DefineCustomIntVariable("keypup.workers", "Workers of each database that has the extension.",
							"Each takes one of max_worker_processes. 0 switches them off.",
							&keypup_workers, 1, 0, MAX_WORKERS_OF_DATABASE, PGC_SUSET, 0, NULL,
							NULL, NULL);
	DefineCustomIntVariable(
		"keypup.max_requests", "Requests that one worker may have in flight for an account.",
		"Twice as many for all. Fewer of a connection whose provider asks for less, and then more "
		"as its answers come.",
		&keypup_max_requests, 32, 1, 64, PGC_SIGHUP, 0, NULL, NULL, NULL);
	DefineCustomIntVariable("keypup.rate_reserve",
							"Percent of a token's rate limit that is left for its people.",
							"When no more is left, requests wait for the hour to end.",
							&keypup_rate_reserve, 5, 0, 90, PGC_SIGHUP, 0, NULL, NULL, NULL);
	DefineCustomIntVariable(
		"keypup.recheck_interval", "How often open and just closed items are read again.",
		"Whether the provider says that they changed or not.", &keypup_recheck_interval, 6 * 3600,
		60, 30 * 86400, PGC_SIGHUP, GUC_UNIT_S, NULL, NULL, NULL);
	DefineCustomIntVariable("keypup.sweep_interval",
							"How often all items are compared with the provider's.",
							"Finds what was deleted or transferred.", &keypup_sweep_interval,
							7 * 86400, 60, 90 * 86400, PGC_SIGHUP, GUC_UNIT_S, NULL, NULL, NULL);
	DefineCustomIntVariable(
		"keypup.full_reread_interval", "Within which time all items are read again.",
		"Whether the provider says that they changed or not: a slice with each sweep.",
		&keypup_full_reread_interval, 90 * 86400, 60, 3650 * 86400, PGC_SIGHUP, GUC_UNIT_S, NULL,
		NULL, NULL);
	DefineCustomIntVariable("keypup.deletion_delay",
							"How long an item must be gone to be marked as deleted.",
							"It is asked for a second time then.", &keypup_deletion_delay, 3600, 0,
							86400, PGC_SIGHUP, GUC_UNIT_S, NULL, NULL, NULL);
	DefineCustomIntVariable(
		"keypup.sync_interval", "Time from the end of a project's run to the start of its next.",
		NULL, &keypup_sync_interval, 300, 1, 86400, PGC_SIGHUP, GUC_UNIT_S, NULL, NULL, NULL);
	DefineCustomIntVariable(
		"keypup.audit_retention", "How long records of the audit log are kept.",
		"Whole days are dropped, by the worker, when the last record of the day is so old.",
		&keypup_audit_retention, 30 * 86400, 86400, INT_MAX, PGC_SIGHUP, GUC_UNIT_S, NULL, NULL,
		NULL);
	DefineCustomIntVariable("keypup.audit_count_interval",
							"How long the same refusal is counted in one record of the audit log.",
							"Then it has another record.", &keypup_audit_count_interval, 60, 1,
							3600, PGC_SIGHUP, GUC_UNIT_S, NULL, NULL, NULL);
	DefineCustomIntVariable(
		"keypup.audit_checkpoint_interval",
		"How often the worker signs where the chains of the audit log end.",
		"Where records were sealed since. What a backup of the tables could undo unseen is so much.",
		&keypup_audit_checkpoint_interval, 3600, 1, 7 * 86400, PGC_SIGHUP, GUC_UNIT_S, NULL, NULL,
		NULL);
	DefineCustomIntVariable(
		"keypup.change_timeout",
		"How long a transaction that has changed something may stay open; then its session ends.",
		"Others of the account wait for it. Superusers are free of it; 0: everybody is.",
		&keypup_change_timeout, 60, 0, 86400, PGC_SIGHUP, GUC_UNIT_S, NULL, NULL, NULL);
	DefineCustomIntVariable(
		"keypup.bcrypt_cost", "How slow a password's digest is: each step doubles its time.",
		"Holds for new digests; those that are stored keep the cost they were made with.",
		&keypup_bcrypt_cost, 12, 10, 16, PGC_SIGHUP, 0, NULL, NULL, NULL);
	DefineCustomIntVariable(
		"keypup.max_password_digests",
		"Password digests that are computed at once in the whole server; others wait.",
		"Each takes a processor for the time that keypup.bcrypt_cost gives it.",
		&keypup_max_password_digests, 2, 1, MAX_PASSWORD_DIGESTS, PGC_SIGHUP, 0, NULL, NULL, NULL);
	DefineCustomIntVariable("keypup.max_password_digests_per_role",
							"Password digests that are computed at once for one database role.",
							"0: one less than keypup.max_password_digests, and at least one.",
							&keypup_max_password_digests_per_role, 0, 0, MAX_PASSWORD_DIGESTS,
							PGC_SIGHUP, 0, NULL, NULL, NULL);
	DefineCustomIntVariable(
		"keypup.questions_per_minute",
		"Questions a minute that sessions may have providers asked, for each account and kind.",
		"Sign-ins with a provider's token, pages of discover, key sets of token issuers. Of sign-ins "
		"from one place two thirds.",
		&keypup_questions_per_minute, 120, 1, 100000, PGC_SIGHUP, 0, NULL, NULL, NULL);
	DefineCustomIntVariable(
		"keypup.max_questions",
		"Sessions of the whole server that may wait for a worker to ask a provider.",
		"A quarter of them of one account.", &keypup_max_questions, 32, 4, 512,
		/* A session that loads keypup by itself has no shared memory, and may not define such a setting. */
		process_shared_preload_libraries_in_progress ? PGC_POSTMASTER : PGC_SIGHUP, 0, NULL, NULL,
		NULL);
	DefineCustomBoolVariable(
		"keypup.count_bots",
		"Whether views that sum over issues and pull requests count those that bots opened.",
		"Views with a row for each have a column that says whether a bot opened it.",
		&keypup_count_bots, true, PGC_USERSET, 0, NULL, NULL, NULL);
	MarkGUCPrefixReserved("keypup");
}

void
_PG_init(void)
{
	define_settings();
	register_plan_cost();
	put_policies_first();
	hide_statistics();
	register_secret_arguments();
	guard_own_schema();
	register_caller();
	watch_cursors();
	ask_before_locks();
	if (process_shared_preload_libraries_in_progress)
	{
		register_launcher();
		register_attempts();
		register_turns();
		register_questions();
		register_throttle();
		register_paces();
		register_refusals();
		register_gaps();
		register_ids();
	}
}
