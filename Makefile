# Keypup: PGXS build. `make`, `make install`, `make installcheck` as for any extension; in a folder of its own with
# `make -f ../Makefile`, from a source tree that was not built in.
EXTENSION = keypup
EXTVERSION = 0.1.0
MODULE_big = keypup

OBJS = \
	src/keypup.o src/datum.o src/kept_plan.o src/shared_area.o \
	src/token/aes_gcm.o src/token/envelope.o src/token/key_file.o src/token/secret.o \
	src/token/wrapping.o src/token/keyring.o src/token/token.o src/token/rotation.o \
	src/token/digest.o src/token/turn.o src/token/totp.o src/token/app_key.o src/token/secret_argument.o \
	src/access/asker.o src/access/session.o src/access/jws.o src/access/id_token.o src/access/attempts.o \
	src/access/inquiry.o src/access/throttle.o src/access/plan_cost.o src/access/policy_first.o src/access/statistics.o src/access/caller.o src/access/change_timeout.o src/access/own_schema.o src/access/role_name.o src/access/role_opener.o src/audit/refusal.o src/audit/undone.o \
	src/http/pace.o src/http/policy.o src/http/proxy.o src/http/request.o src/http/tls.o src/http/client.o src/http/json.o \
	src/http/secret_member.o src/http/shape.o src/http/json_time.o src/http/json_rows.o \
	src/model/this_database.o src/model/new_id.o \
	src/provider/github/github.o src/provider/provider.o src/webhook/webhook.o \
	src/sync/step.o src/sync/set_aside.o src/sync/runner.o src/sync/job.o src/sync/reply.o src/sync/app_token.o src/sync/errand.o src/sync/upkeep.o src/sync/settings.o src/sync/worker.o src/sync/call.o src/sync/worker_list.o src/sync/database_list.o src/sync/diagnosis.o \
	src/sync/command.o src/sync/launcher.o \
	src/operation/worker_status.o src/operation/installation.o \
	src/insight/time_zone.o

# The install script is the rooms' SQL in dependency order: a room may only use rooms above it.
ROOMS = \
	src/access/access.sql src/access/role.sql \
	src/audit/audit.sql \
	src/token/token.sql \
	src/token/digest.sql src/token/app_key.sql src/token/totp.sql \
	src/http/http.sql src/http/proxy.sql \
	src/model/connection.sql src/model/model.sql src/model/delivery.sql src/model/login.sql src/model/name.sql src/model/app.sql \
	src/sync/failure.sql src/sync/sync.sql src/sync/queue.sql src/sync/run.sql src/sync/halt.sql src/sync/app_token.sql src/sync/call.sql \
	src/provider/github/queries.sql \
	src/provider/github/shape.sql src/provider/github/part.sql \
	src/provider/github/request.sql \
	src/provider/github/queue.sql src/provider/github/repository.sql \
	src/provider/github/nested.sql src/provider/github/store.sql \
	src/provider/github/again.sql \
	src/provider/github/delivery.sql \
	src/provider/github/sweep.sql \
	src/provider/github/answer.sql \
	src/provider/github/app.sql \
	src/provider/github/projects.sql src/provider/github/viewer.sql \
	src/operation/status.sql src/operation/worker_status.sql \
	src/access/support.sql src/access/session.sql src/access/rights.sql \
	src/access/database_role.sql \
	src/access/member.sql src/access/sso.sql src/access/key_set.sql src/access/sign_in.sql src/access/provider_sign_in.sql src/access/second_factor.sql src/access/password.sql src/access/totp.sql src/access/manage.sql src/access/app.sql \
	src/sync/reread.sql \
	src/token/rotation.sql src/access/remove.sql src/operation/installation.sql \
	src/provider/github/webhook.sql src/webhook/webhook.sql \
	src/insight/cycle_time.sql src/insight/person.sql src/insight/verified_person.sql src/insight/pull_request.sql \
	src/insight/time_zone.sql src/insight/issue.sql src/insight/flow.sql \
	src/insight/delivery.sql src/insight/delivery_series.sql src/insight/devlake.sql \
	src/insight/activity.sql src/insight/verdict.sql src/insight/next_step.sql src/insight/fields.sql \
	src/insight/breakdown.sql src/insight/moving.sql src/insight/team.sql src/insight/revert.sql \
	src/operation/wanted_rights.sql src/operation/install.sql

DATA_built = $(EXTENSION)--$(EXTVERSION).sql
EXTRA_CLEAN = src/provider/github/queries.sql

REGRESS = install access digest http github insight_pull_request insight_delivery cycle_time insight_issue insight_words
REGRESS += insight_person insight_odd queue
# The tests' answers are the same whatever the server is set to: the order of texts is C's, and what a session inherits is PostgreSQL's default.
NO_LOCALE = 1
ENCODING = UTF8
installcheck: export PGOPTIONS = -c client_min_messages=notice -c default_transaction_isolation=read\ committed -c default_transaction_read_only=off \
	-c extra_float_digits=1 -c jit=off -c lock_timeout=0 -c quote_all_identifiers=off -c row_security=on -c standard_conforming_strings=on -c statement_timeout=0 \
	-c transform_null_equals=off
REGRESS_OPTS = --inputdir=$(srcdir) --outputdir=.
ISOLATION = last_owner lock_order renames
ISOLATION_OPTS = --inputdir=$(srcdir) --outputdir=.

PG_CFLAGS = -Wall -Wextra -Wno-unused-parameter -Wno-declaration-after-statement
PG_CPPFLAGS = -I$(srcdir)/src -isystem $(shell $(PG_CONFIG) --includedir-server)
SHLIB_LINK = -lcurl -lssl -lcrypto -lcrypt

# Nothing here is worth inlining into a query: no bitcode is built.
override with_llvm = no

PG_CONFIG ?= pg_config
PGXS := $(shell $(PG_CONFIG) --pgxs)
include $(PGXS)

# A build folder has the folders of the source.
$(shell mkdir -p $(sort $(dir $(OBJS) $(EXTRA_CLEAN))))

# PGXS knows no header dependencies: any change of a header builds all anew, which takes seconds.
$(OBJS): $(wildcard $(srcdir)/src/*.h $(srcdir)/src/*/*.h)

$(EXTENSION)--$(EXTVERSION).sql: $(ROOMS) Makefile
	{ printf '%s\n' '\echo Use "CREATE EXTENSION keypup" to load this file. \quit'; cat $(filter %.sql,$^); } > $@

# Each query stands in a .graphql file of its own; the database keeps its text in a function.
GITHUB_QUERIES = $(sort $(wildcard $(srcdir)/src/provider/github/*.graphql))
src/provider/github/queries.sql: src/provider/queries_to_sql.sh $(GITHUB_QUERIES)
	sh $< github $(filter %.graphql,$^) > $@
