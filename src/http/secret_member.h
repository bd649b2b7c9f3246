/*
 * secret_member.h
 *		Secrets that stand in a reply.
 */
#ifndef KEYPUP_SECRET_MEMBER_H
#define KEYPUP_SECRET_MEMBER_H

#include "token/secret.h"

/*
 * take_secret_member
 *		Moves a text out of a JSON object: asterisks stay in its place, so that what
 *		is done with the reply cannot spill it.
 *
 * name: of a member of the outermost object. Returns NULL when there is none, or
 * one with escapes. The bytes need not be JSON.
 */
extern Secret *take_secret_member(char *json, Size length, const char *name);

#endif
