/*
 * turn.h
 *		Turns at what takes a processor for long, password digests: so many at once
 *		in the whole server.
 */
#ifndef KEYPUP_TURN_H
#define KEYPUP_TURN_H

/*
 * register_turns
 *		Asks for the shared memory; called at preload.
 */
extern void register_turns(void);

/*
 * take_turn
 *		Waits until this process may compute a digest. source: a hash of where the
 *		demand comes from, among those of one database role; 0: from nowhere.
 *
 * Raises nothing but a cancel. From then on, until end_turn, the caller must not
 * raise an error. Where keypup is not preloaded nobody waits.
 */
extern void take_turn(uint64 source);

/*
 * end_turn
 *		Gives the turn back.
 */
extern void end_turn(void);

#endif
