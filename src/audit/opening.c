/*
 * opening.c
 *		Who opens a sealed record has seen it, whether the transaction is rolled
 *		back or not: the records go the way of refusals (refusal.c), which outlive
 *		it. They are left at its end, as a query may open very many.
 */
#include "postgres.h"

#include "access/xact.h"
#include "miscadmin.h"
#include "utils/builtins.h"

#include "audit/opening.h"
#include "audit/refusal.h"
#include "compat.h"
#include "right/current_user.h"

/* What this transaction has opened, of one account; times is 0 when it has nothing. */
static Refusal opened;

static void
leave_opened(void)
{
	if (opened.times > 0)
		leave_refusal(&opened);
	opened.times = 0;
}

static void
end_transaction(XactEvent event, void *argument)
{
	if (event == XACT_EVENT_COMMIT || event == XACT_EVENT_ABORT || event == XACT_EVENT_PREPARE)
		leave_opened();
}

void
note_opened(Oid owner, const pg_uuid_t *account, const char *context)
{
	static bool registered = false;
	text *kind = NULL;
	text *actor;

	if (!registered)
		RegisterXactCallback(end_transaction, NULL);
	registered = true;
	if (opened.times > 0 && opened.has_account == (account != NULL) &&
		(account == NULL || memcmp(&opened.account, account, sizeof(*account)) == 0))
	{
		opened.times++;
		return;
	}
	leave_opened();
	actor = name_current_user(owner, &kind);
	describe_refusal(&opened, account, "token.decrypt",
					 actor == NULL ? NULL : text_to_cstring(kind),
					 actor == NULL ? NULL : text_to_cstring(actor), NULL, context);
	opened.was_done = true;
}

void
note_unopened(const pg_uuid_t *account, const char *context)
{
	const char *worker = MyBackendType == B_BG_WORKER ? "worker" : NULL;
	Refusal refusal;

	describe_refusal(&refusal, account, "token.open", worker, worker, NULL, context);
	leave_refusal(&refusal);
}
