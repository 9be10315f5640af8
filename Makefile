# todo_events: PGXS build.  `make` and `make install` use no network;
# `make deps` (called by `make demo` and `make test`) does.

EXTENSION = todo_events
# the version is written once, in todo_events.control
TE_VERSION := $(shell sed -n "s/^default_version = '\(.*\)'/\1/p" todo_events.control)

MODULE_big = todo_events
# one line a room, in order of dependency
RUNTIME_OBJS = clock.o inval.o own.o inject.o settings.o instance.o primary.o settings_check.o settings_kafka.o settings_rows.o version.o secret_copy.o shmem.o databases.o shortage.o launcher.o engine.o pending.o parking.o worker.o status.o io_process.o io_spawn.o wake.o replication.o views.o
LOG_OBJS = room.o ring.o log.o idempotency.o row.o mark.o token.o cursor.o reader.o durable.o json.o event.o identity.o epoch.o adopt.o maintain.o functions.o role.o
TASKS_OBJS = row_json.o trigger.o columns.o attachment.o attachment_row.o config.o counter.o filter.o upkeep.o change.o sequence.o told.o held.o capture.o partition.o alter.o ddl.o checks.o attach.o detach.o drop.o standard.o inspect.o health.o tasks.o
PUBLISHER_OBJS = window.o utf8.o routes.o topics.o connect.o cycle.o letter_store.o refusals.o dead_letters.o answers.o progress.o publish.o publisher.o
OBJS = src/todo_events.o \
	$(addprefix src/runtime/,$(RUNTIME_OBJS)) \
	$(addprefix src/log/,$(LOG_OBJS)) \
	$(addprefix src/tasks/,$(TASKS_OBJS)) \
	$(addprefix src/publisher/,$(PUBLISHER_OBJS))

# each room's SQL, assembled in order of dependency
ROOMS_SQL = src/runtime/runtime.sql src/log/log.sql src/tasks/tasks.sql src/publisher/publisher.sql src/runtime/replication.sql src/runtime/grants.sql
DATA_built = build/todo_events--$(TE_VERSION).sql
# what released versions installed, and the ways from one to the next: src/upgrade/README.md
UPGRADE_SQL = $(wildcard src/upgrade/todo_events--*.sql)
DATA = $(filter-out src/upgrade/todo_events--$(TE_VERSION).sql,$(UPGRADE_SQL))

PG_CPPFLAGS = -Isrc
PG_CFLAGS = -std=gnu11 -fsigned-char $(TE_CFLAGS)
# only what the server looks up by name is exported
SHLIB_LINK = -Wl,--version-script=build/todo_events.map
EXTRA_CLEAN = build/todo_events--$(TE_VERSION).sql build/todo_events.map build/upgrade.checked build/io

# tests on a private preloaded server; `make test` runs these and all others
REGRESS = attach attach_errors capture capture_types capture_partition sequence sequence_nested sequence_upkeep ddl_columns ddl_table ddl_types ddl_partition ddl_triggers ddl_transaction publish routes log
REGRESS_OPTS = --encoding=UTF8 --no-locale --inputdir=. --outputdir=build/regress --temp-instance=build/regress/instance --temp-config=test/server.conf
ISOLATION = sequence_update sequence_reinsert capture_partition_move attach_detach_all ddl_cached ddl_detach_partition ddl_health log_open_transaction log_idempotency log_rotation
ISOLATION_OPTS = --encoding=UTF8 --no-locale --inputdir=test/isolation --outputdir=build/isolation --temp-instance=build/isolation/instance --temp-config=test/server.conf
REGRESS_PREP = regress-directories
# PGHOST or PGPORT names a server that runs: there, what the owner of a database may do, whatever the server's settings
REGRESS_ANYWHERE = attach capture_types capture_partition sequence_nested routes
ifneq ($(PGHOST)$(PGPORT),)
REGRESS = $(REGRESS_ANYWHERE)
REGRESS_OPTS = --inputdir=. --outputdir=build/regress
ISOLATION =
endif

PG_CONFIG ?= pg_config
PGXS := $(shell $(PG_CONFIG) --pgxs 2>/dev/null)
ifneq ($(PGXS),)
include $(PGXS)
else ifneq ($(filter-out deps demo demo-stop test check-neon check-installed bench chaos model matrix check-upgrade,$(or $(MAKECMDGOALS),all)),)
$(error $(PG_CONFIG) not found: `make deps` installs it, PG_CONFIG=/path/to/pg_config names another)
endif

# structures in shared memory are declared in headers: whatever includes one is built anew with it
$(OBJS): $(wildcard src/*.h src/*/*.h)

# the one file that knows its version
src/runtime/version.o src/runtime/version.bc: override CPPFLAGS += -DTE_VERSION='"$(TE_VERSION)"'
src/runtime/version.o src/runtime/version.bc: todo_events.control

all: io build/upgrade.checked
.PHONY: io
io:
	$(MAKE) -C src/io TE_VERSION=$(TE_VERSION)

build/todo_events--$(TE_VERSION).sql: $(ROOMS_SQL) todo_events.control
	@mkdir -p build
	{ printf '%s\n' '\echo Use "CREATE EXTENSION todo_events" to load this file. \quit' \
	  '-- a trusted script runs as a superuser: nothing of the installer is in its path' \
	  'SET LOCAL search_path = pg_catalog, pg_temp;'; \
	  sed 's/@TE_VERSION@/$(TE_VERSION)/' $(ROOMS_SQL); } > $@

# what has been released does not change any more
build/upgrade.checked: $(wildcard src/upgrade/*) scripts/upgrade.sh build/todo_events--$(TE_VERSION).sql
	scripts/upgrade.sh check build/todo_events--$(TE_VERSION).sql
	@touch $@

# what every module has, the background workers' entries, and the C functions that the SQL names,
# of this version and of earlier ones: a library serves their objects too
build/todo_events.map: $(ROOMS_SQL) $(UPGRADE_SQL)
	@mkdir -p build
	{ echo '{ global: Pg_magic_func; _PG_init; te_launcher_main; te_engine_main; pg_finfo_*;'; \
	  sed -n "s/.*'MODULE_PATHNAME', *'\([a-z0-9_]*\)'.*/\1;/p" $(ROOMS_SQL) $(UPGRADE_SQL) | sort -u; \
	  echo 'local: *; };'; } > $@
todo_events.so: build/todo_events.map

install: install-io
.PHONY: install-io
install-io: io
	$(MKDIR_P) '$(DESTDIR)$(pkglibdir)'
	$(INSTALL_PROGRAM) build/io/todo_events_io '$(DESTDIR)$(pkglibdir)/todo_events_io-$(TE_VERSION)'

# pg_regress makes no parent directories
.PHONY: regress-directories
regress-directories:
	@$(MKDIR_P) build/regress build/isolation

# ---- what a developer calls -------------------------------------------------

# the packages and libraries that building, testing and the demo need
.PHONY: deps
deps:
	scripts/deps.sh $(DEPS)

# everything; SUITES="unit tap" for some of it, see scripts/test.sh
.PHONY: test
test:
	scripts/test.sh $(SUITES)

# what Neon-compatible PostgreSQL asks of an extension, a result for each line of docs/neon.md
.PHONY: check-neon
check-neon:
	scripts/test.sh neon

# the pgTAP suite on your own database, PGDATABASE, in one transaction that is rolled back
.PHONY: check-installed
check-installed:
	PGDATABASE='$(PGDATABASE)' scripts/pgtap.sh --installed

.PHONY: demo demo-stop
demo:
	scripts/demo.sh start $(DEMO_ARGS)
demo-stop:
	scripts/demo.sh stop

# every figure of README's table, measured here and now
.PHONY: bench
bench:
	bench/run $(BENCH)

# every suite on PostgreSQL 15, 17 and 18, with sanitizers and valgrind; as root, see scripts/matrix.sh
.PHONY: matrix
matrix:
	scripts/matrix.sh $(LEGS)

# the suites on objects of an earlier version under this library, and updated ones
.PHONY: check-upgrade
check-upgrade:
	scripts/upgrade.sh test $(SUITES)

# the long fault round: each process killed at each step, 200 times
.PHONY: chaos
chaos:
	scripts/test.sh --chaos-rounds 200 chaos

# the read rule, and that its broken variants fail
.PHONY: model
model:
	model/run
