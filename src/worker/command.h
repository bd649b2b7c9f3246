/*
 * command.h
 *		What commands of sessions do to the workers.
 */
#ifndef KEYPUP_COMMAND_H
#define KEYPUP_COMMAND_H

/*
 * register_commands
 *		Called once, from _PG_init in the postmaster.
 */
extern void register_commands(void);

#endif
