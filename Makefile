# Keypup: PGXS build. `make`, `make install`, `make installcheck` as for any extension; in a folder of its own with
# `make -f ../Makefile`, from a source tree that was not built in.
EXTENSION = keypup
EXTVERSION = 0.1.0
MODULE_big = keypup

OBJS = $(patsubst $(srcdir)/%.c,%.o,$(sort $(wildcard $(srcdir)/src/*.c $(srcdir)/src/*/*.c)))

# The install script is the rooms' SQL; order in a room says in what order its files are. A room uses those before it.
ROOMS = account worker audit token http outside provider connection model sync grant forward provider/github operation right sign_in rotation \
	webhook insight installation
ROOM_SQL = $(foreach room,$(ROOMS),$(addprefix src/$(room)/,$(shell cat $(srcdir)/src/$(room)/order)))

DATA_built = $(EXTENSION)--$(EXTVERSION).sql
EXTRA_CLEAN = src/provider/github/queries.sql

REGRESS = install access digest http model github queue insight_pull_request insight_delivery cycle_time insight_issue insight_words
REGRESS += insight_person insight_review insight_check insight_team insight_work insight_bi insight_odd
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

$(EXTENSION)--$(EXTVERSION).sql: $(ROOM_SQL) $(ROOMS:%=src/%/order) Makefile
	{ printf '%s\n' '\echo Use "CREATE EXTENSION keypup" to load this file. \quit'; cat $(filter %.sql,$^); } > $@

# Each query stands in a .graphql file of its own; the database keeps its text in a function.
GITHUB_QUERIES = $(sort $(wildcard $(srcdir)/src/provider/github/*.graphql))
src/provider/github/queries.sql: src/provider/queries_to_sql.sh $(GITHUB_QUERIES)
	sh $< github $(filter %.graphql,$^) > $@
