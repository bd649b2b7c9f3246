/*
 * secret_argument.h
 *		Statements that pass a secret as a bound parameter: it stands in no plan.
 */
#ifndef KEYPUP_SECRET_ARGUMENT_H
#define KEYPUP_SECRET_ARGUMENT_H

/*
 * register_secret_arguments
 *		From now on plans and the executor show no bound parameters of statements
 *		in which a function of ours is called that takes a secret; at load.
 */
extern void register_secret_arguments(void);

#endif
