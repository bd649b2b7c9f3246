/*
 * diagnosis.h
 *		Why no worker works in this database, in words.
 */
#ifndef KEYPUP_DIAGNOSIS_H
#define KEYPUP_DIAGNOSIS_H

typedef enum Health
{
	HEALTH_UNKNOWN, /* it is about to start, or it is not for this server to say */
	HEALTH_GOOD,
	HEALTH_BAD
} Health;

typedef struct Diagnosis
{
	Health health;
	char *detail; /* as a message has it; palloc'd, as the other */
	char *remedy; /* a sentence, or NULL */
} Diagnosis;

/*
 * diagnose_workers
 *		Of this database, as far as shared memory and pg_database tell.
 *
 * Needs neither to be preloaded nor a row of ours. What the remedy quotes of the
 * configuration, it quotes only to those who may read it.
 */
extern Diagnosis diagnose_workers(void);

/*
 * warn_without_workers
 *		A WARNING when none works, once in a transaction.
 */
extern void warn_without_workers(void);

#endif
