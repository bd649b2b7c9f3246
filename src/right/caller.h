/*
 * caller.h
 *		Who called a function of ours that runs as its owner.
 */
#ifndef KEYPUP_CALLER_H
#define KEYPUP_CALLER_H

/*
 * register_caller
 *		From now on it is known on whose behalf functions are called. Called when the
 *		library is loaded.
 */
extern void register_caller(void);

/*
 * calling_role
 *		The role that called one of our functions, through any number of others of
 *		ours.
 *
 * owner: of the extension. Where the function runs as its caller, that is the
 * current user; otherwise whoever was the current user outside: the owner of the
 * function that called it, if that runs as its owner. InvalidOid: nobody, since a
 * maintenance command runs somebody's expression.
 */
extern Oid calling_role(Oid owner);

/*
 * find_call
 *		Which call of one of our functions by somebody else is at work, through any
 *		number of others of ours: a number, higher for a call within another. -1: none
 *		is known.
 *
 * owner: of the extension. began: gets the command of the transaction with which
 * the call has begun. What happens at its end is told to end_of_call (current_user.h).
 */
extern int find_call(Oid owner, CommandId *began);

#endif
