/*
 * statistics.h
 *		What the planner knows of the values in tables under row-level security.
 */
#ifndef KEYPUP_STATISTICS_H
#define KEYPUP_STATISTICS_H

/*
 * hide_statistics
 *		From now on this backend plans queries through policies without the values
 *		that ANALYZE has kept; at load.
 */
extern void hide_statistics(void);

#endif
