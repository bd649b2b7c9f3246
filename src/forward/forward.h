/*
 * forward.h
 *		The audit log goes to where others collect logs.
 */
#ifndef KEYPUP_FORWARD_H
#define KEYPUP_FORWARD_H

#include "outside/runner.h"

/*
 * forward_audit_log
 *		Sends the sinks that have none under way their next records. Called outside
 *		steps, by workers only; looks once a second, or as soon as a sink has taken some.
 *
 * Returns whether anything was sent.
 */
extern bool forward_audit_log(Runner *runner);

#endif
