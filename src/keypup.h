/*
 * keypup.h
 *		The settings, and what _PG_init calls in the rooms.
 */
#ifndef KEYPUP_H
#define KEYPUP_H

#define KEYPUP_VERSION "0.1.0"
#define MAX_PASSWORD_DIGESTS 64 /* that keypup.max_password_digests may be */

extern char *keypup_key_file;
extern char *keypup_key_command;
extern char *keypup_ca_file;
extern char *keypup_private_hosts;
extern char *keypup_proxy; /* http://HOST:PORT or https://HOST:PORT; empty: none */
extern char *keypup_proxy_hosts;
extern char *keypup_proxy_ca_file;
extern int keypup_workers; /* of a database: as it is in a worker of it */
extern int keypup_max_requests; /* requests in flight, a worker */
extern int keypup_rate_reserve; /* percent */
extern int keypup_sync_interval; /* seconds, as the three that follow */
extern int keypup_recheck_interval;
extern int keypup_sweep_interval;
extern int keypup_full_reread_interval;
extern int keypup_deletion_delay;
extern int keypup_audit_retention; /* seconds, as the next */
extern int keypup_audit_checkpoint_interval;
extern int keypup_audit_count_interval;
extern int keypup_change_timeout; /* seconds; 0: none */
extern int keypup_bcrypt_cost; /* log2 of bcrypt's rounds */
extern int keypup_max_password_digests; /* at once, in the server */
extern int keypup_max_password_digests_per_role; /* 0: one less, at least one */
extern int keypup_questions_per_minute; /* of an account, each kind */
extern int keypup_max_questions; /* at once, in the server */
extern bool keypup_count_bots; /* in sums over issues and pull requests */

#endif
