/*
 * digest.h
 *		Whether a password that is shown is the one that was set.
 */
#ifndef KEYPUP_DIGEST_H
#define KEYPUP_DIGEST_H

typedef struct PasswordCheck PasswordCheck;

/*
 * prepare_password_check
 *		All that can fail of a check, before a turn is taken for the rest.
 *
 * password: NULL, or anything. hash: a digest by bcrypt; NULL where there is no such
 * person. cost: what the check shall cost, as bcrypt counts; a digest that was made
 * with a higher one costs that. In CurrentMemoryContext. Raises ERRCODE_OUT_OF_MEMORY.
 */
extern PasswordCheck *prepare_password_check(const text *password, const text *hash, int cost);

/*
 * run_password_check
 *		Whether the password has the digest. Takes as long for any other password, for
 *		one that cannot be one, and for a person who is not there. Raises nothing.
 */
extern bool run_password_check(PasswordCheck *check);

#endif
