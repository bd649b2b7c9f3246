/*
 * own_schema.h
 *		Schema keypup is the extension's own.
 */
#ifndef KEYPUP_OWN_SCHEMA_H
#define KEYPUP_OWN_SCHEMA_H

/*
 * guard_own_schema
 *		From now on nobody but its owner and superusers makes anything in schema
 *		keypup, or moves anything into it. Called when the library is loaded.
 */
extern void guard_own_schema(void);

#endif
