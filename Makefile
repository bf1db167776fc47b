# One archive of everything that is not a main, so that a program or a test links only what it calls.
#   make CC=clang     another compiler      make SAN=1     with ASan and UBSan      make COV=1     counting lines
#   make BROKEN=1     able to break its promise, for the checker's own test
CC       := gcc
ifeq ($(MAKELEVEL),0)
MAKEFLAGS += -j$(shell nproc)
endif
MODE     := $(if $(SAN),san,$(if $(COV),cov,$(if $(BROKEN),broken,release)))
BUILD    := build/$(notdir $(CC))-$(MODE)
LIBS     := librabbitmq libpq hiredis msgpack jansson libmicrohttpd gnutls libssl libcrypto libcurl cjose rdkafka
WARN     := -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wformat=2 -Wundef -Wvla -Wstrict-prototypes \
            -Wmissing-prototypes -Wold-style-definition -Wpointer-arith -Wwrite-strings -Wcast-qual \
            -Wswitch-enum -Wimplicit-fallthrough -Werror
# What the processor can do against a jump to where nobody meant it.
MACHINE  := $(shell $(CC) -dumpmachine 2>/dev/null)
CONTROL_FLOW := $(if $(filter x86_64-%,$(MACHINE)),-fcf-protection,$(if $(filter aarch64-%,$(MACHINE)),-mbranch-protection=standard))
# _GNU_SOURCE: getrandom, accept4 and pthread names are Linux; the code is for Linux.
override CFLAGS  += -std=c17 -D_GNU_SOURCE -O2 -g -I. $(WARN) -MMD -MP -fstack-protector-strong -fPIE \
                    -fstack-clash-protection $(CONTROL_FLOW) $(shell pkg-config --cflags $(LIBS) 2>/dev/null)
override LDFLAGS += -pie -Wl,-z,relro,-z,now,-z,noexecstack,--as-needed
# Instrumented code makes gcc warn of what is not there.
ifdef SAN
override CFLAGS  += -O1 $(if $(findstring gcc,$(CC)),-w) -fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer
override LDFLAGS += -fsanitize=address,undefined
else
# The same bytes wherever the tree lies; but what counts lines needs to find them.
override CFLAGS  += -D_FORTIFY_SOURCE=3 $(if $(COV),,-ffile-prefix-map=$(CURDIR)=.)
endif
ifdef COV
override CFLAGS  += -w --coverage -O0 -U_FORTIFY_SOURCE -fprofile-update=atomic
override LDFLAGS += --coverage
endif

MAINS    := worker/main.c outbox/main.c notary/main.c dlq/main.c gateway/main.c webhooks/main.c ledgerctl/main.c client/demo.c
SRCS     := $(filter-out $(MAINS),$(wildcard base/*.c protocol/*.c ledger/*.c outbox/*.c notary/*.c dlq/*.c worker/*.c \
            client/*.c import/*.c gateway/*.c webhooks/*.c ledgerctl/*.c)) build/gen/migrations.c build/gen/openapi.c
PROGRAMS := $(addprefix $(BUILD)/bin/,ledger-worker ledger-relay ledger-notary ledger-dlq ledger-gateway ledger-webhooks ledgerctl ledger-demo)
UNIT     := $(patsubst tests/%.c,$(BUILD)/tests/%,$(wildcard tests/unit/test_*.c))
INTEGRATION := $(patsubst tests/%.c,$(BUILD)/tests/%,$(wildcard tests/integration/it_*.c))
BENCH_PARTS := $(addprefix $(BUILD)/tests/bench/,commands.o samples.o figures.o)
BENCHES  := $(addprefix $(BUILD)/tests/bench/,load wait passthrough echo rpc callers sustain allocations.so)
MODEL    := $(patsubst %.c,$(BUILD)/%.o,$(wildcard tests/model*.c tests/stream.c))
CHAOS    := $(patsubst %.c,$(BUILD)/%.o,$(wildcard tests/chaos/*.c))
REPLAY   := $(patsubst tests/fuzz/%.c,$(BUILD)/tests/fuzz/%,$(wildcard tests/fuzz/fuzz_*.c))
FUZZERS  := $(patsubst tests/fuzz/%.c,build/fuzz/%,$(wildcard tests/fuzz/fuzz_*.c))
# What can break its promise is compiled anew, the rest is the release build's.
BREAKABLE := $(shell grep -l '"base/broken.h"' */*.c)
SHARED   := $(if $(BROKEN),build/$(notdir $(CC))-release,$(BUILD))
OBJECT    = $(foreach c,$(1),$(if $(filter $(c),$(BREAKABLE)),$(BUILD),$(SHARED))/$(c:.c=.o))
ARCHIVE  := $(BUILD)/all.a
# Archives last: they answer to what stands before them.
LINK      = @echo "  ld $@"; $(CC) $(LDFLAGS) -o $@ $(filter %.o,$^) $(filter %.a,$^)
PURE     := -lmsgpackc -lcjose -ljansson -lcrypto -lm -lpthread
ALL      := $(shell pkg-config --libs $(LIBS) 2>/dev/null) -lpthread -lm

.PHONY: help build run up down test unit integration chaos torture fuzz mutation lint format coverage image deb package-test dist bench clean objects tests
help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 20
build: setup-build ## the programs, in build/gcc-release/bin
	@$(MAKE) --no-print-directory programs
.PHONY: programs setup-build
programs: $(PROGRAMS)
# All that is compiled. With sanitizers only what needs no server runs, so no more than that is linked.
objects: $(ARCHIVE) $(call OBJECT,$(MAINS)) $(INTEGRATION:=.o)
tests: $(UNIT) $(REPLAY) $(if $(SAN),,$(INTEGRATION)) $(if $(SAN)$(COV),,$(BUILD)/tests/chaos/chaos)
setup-build:
	@scripts/setup build
run: ## everything on one screen, until Ctrl-C (DEMO_SECONDS=n ends by itself)
	@scripts/setup run && $(MAKE) --no-print-directory programs && scripts/run
up: ## the same in the background; addresses in .run/env
	@scripts/setup run && $(MAKE) --no-print-directory programs && scripts/run --background
down: ## ends it
	@scripts/run --down
test: ## every test, on private servers
	@scripts/setup test && scripts/test
unit: $(UNIT) ## the tests that need no server
	@set -e; for test in $(UNIT); do $$test; done
integration: ## the tests on real servers alone
	@scripts/setup test && scripts/test integration
chaos: ## faults under load, then the checker: SEED=, MINUTES=3, FAULTS=, BROKEN_WAY=all for its own test
	@scripts/setup test && $(MAKE) --no-print-directory programs $(BUILD)/tests/chaos/chaos && \
	 $(if $(BROKEN_WAY),$(MAKE) --no-print-directory BROKEN=1 programs && scripts/chaos broken $(filter-out all,$(BROKEN_WAY)),scripts/chaos)
torture: ## a held reader, a memory alarm, Redis in trouble, each for a while under load: MINUTES=10, HOLD=60
	@scripts/setup test && $(MAKE) --no-print-directory programs $(BUILD)/tests/chaos/chaos && scripts/torture
fuzz: $(FUZZERS) ## each decoder fuzzed for SECONDS=60
	@set -e; for fuzzer in $(FUZZERS); do echo "$$fuzzer"; mkdir -p $$fuzzer.corpus; \
	 $$fuzzer -max_total_time=$(or $(SECONDS),$(FUZZ_SECONDS),60) -max_len=8192 -print_final_stats=1 -verbosity=0 \
	 -artifact_prefix=$$fuzzer. $$fuzzer.corpus tests/fuzz/corpus/$${fuzzer##*/fuzz_}; done
mutation: ## the money rules changed in one place at a time, each for a unit test to notice: JOBS=2, ONLY=ledger/decide.c:120
	@scripts/setup test && $(MAKE) --no-print-directory $(UNIT) && \
	 tests/mutation/mutate.py $(BUILD) $(if $(JOBS),--jobs $(JOBS)) $(if $(ONLY),--only $(ONLY))
lint: ## format, house rules, clang-tidy, shellcheck, manifests
	@scripts/setup lint && scripts/lint
format: ## formats all C
	@clang-format -i $$(git ls-files -co --exclude-standard '*.c' '*.h')
coverage: ## line coverage of protocol/, ledger/ and outbox/; fails under 90%
	@scripts/setup test && scripts/coverage
image: ## the container image, built and run restricted without an engine; TWICE=1 builds it again to compare
	@scripts/setup image && $(MAKE) --no-print-directory programs && scripts/image $(if $(TWICE),twice)
deb: ## the Debian package, in build/deb
	@scripts/setup deb && $(MAKE) --no-print-directory programs && scripts/deb
package-test: ## the same installed in a fresh Debian with systemd, upgraded under load, removed
	@scripts/setup package && $(MAKE) --no-print-directory programs && scripts/package-test
dist: ## the source of the last commit as build/ledger-VERSION.tar.gz, the same bytes each time
	@mkdir -p build && version=$$(sed -nE 's/^.define LEDGER_VERSION "(.*)"/\1/p' base/version.h) && \
	 git archive --format=tar --prefix=ledger-$$version/ HEAD | gzip -9n >build/ledger-$$version.tar.gz && \
	 (cd build && sha256sum ledger-$$version.tar.gz | tee ledger-$$version.tar.gz.sha256)
bench: ## the measurements of docs/performance.md, each beside its reference
	@scripts/setup bench && $(MAKE) --no-print-directory programs $(BENCHES) && scripts/bench
clean: ## what was built
	rm -rf build

build/gen/migrations.c: $(sort $(wildcard ledger/schema/*.sql)) scripts/embed
	@mkdir -p $(@D)
	scripts/embed $@ $(filter %.sql,$^)
build/gen/openapi.c: gateway/openapi.json scripts/embed
	@mkdir -p $(@D)
	scripts/embed --one openapi_document gateway/openapi.h $@ $<
define COMPILE
	@mkdir -p $(@D)
	@echo "  cc $<"; $(CC) $(CFLAGS) -c -o $@ $<
endef
$(SHARED)/%.o: %.c Makefile
	$(COMPILE)
ifdef BROKEN
$(BUILD)/%.o: override CFLAGS += -DLEDGER_BROKEN
$(BUILD)/%.o: %.c Makefile
	$(COMPILE)
endif
$(ARCHIVE): $(call OBJECT,$(SRCS))
	@rm -f $@
	@ar rcs $@ $^
$(BUILD)/bin/ledger-worker: $(call OBJECT,worker/main.c) $(ARCHIVE)
$(BUILD)/bin/ledger-relay: $(call OBJECT,outbox/main.c) $(ARCHIVE)
$(BUILD)/bin/ledger-notary: $(call OBJECT,notary/main.c) $(ARCHIVE)
$(BUILD)/bin/ledger-dlq: $(call OBJECT,dlq/main.c) $(ARCHIVE)
$(BUILD)/bin/ledger-gateway: $(call OBJECT,gateway/main.c) $(ARCHIVE)
$(BUILD)/bin/ledger-webhooks: $(call OBJECT,webhooks/main.c) $(ARCHIVE)
$(BUILD)/bin/ledgerctl: $(call OBJECT,ledgerctl/main.c) $(ARCHIVE)
$(BUILD)/bin/ledger-demo: $(call OBJECT,client/demo.c) $(ARCHIVE)
$(PROGRAMS):
	@mkdir -p $(@D)
	$(LINK) $(ALL)
# The unit tests link no client library: the linker proves that what they test does no I/O.
$(addprefix $(BUILD)/tests/,unit/test_ledger_model integration/it_model): $(MODEL)
$(UNIT): %: %.o $(ARCHIVE)
	$(LINK) $(PURE) -lcmocka
$(INTEGRATION): %: %.o $(ARCHIVE)
	$(LINK) $(ALL) -lcmocka
$(BUILD)/tests/chaos/chaos: $(CHAOS) $(ARCHIVE)
	$(LINK) $(ALL)
$(filter-out %.so,$(BENCHES)): %: %.o $(BENCH_PARTS) $(ARCHIVE)
	$(LINK) $(ALL)
$(BUILD)/tests/bench/allocations.so: tests/bench/allocations.c Makefile
	@mkdir -p $(@D)
	@echo "  ld $@"; $(CC) $(filter-out -MMD -MP -fPIE,$(CFLAGS)) -fPIC -shared -o $@ $<
$(REPLAY): %: %.o $(call OBJECT,tests/fuzz/replay_main.c) $(ARCHIVE)
	$(LINK) $(PURE)
$(FUZZERS): build/fuzz/%: tests/fuzz/%.c $(wildcard base/*.c protocol/*.c) dlq/letter.c dlq/line.c import/line.c import/csv.c outbox/dead_since.c
	@mkdir -p $(@D)
	clang $(filter-out -MMD -MP -D_FORTIFY_SOURCE=3,$(CFLAGS)) -fsanitize=fuzzer,address,undefined -o $@ $< \
	 $(filter-out %_amqp.c %_pg.c %_redis.c %_http.c %_kafka.c,$(filter %.c,$(wordlist 2,999,$^))) $(PURE)
.SECONDARY:
# Of this build alone: another one may be writing its own just now.
-include $(shell find $(BUILD) $(SHARED) -name '*.d' 2>/dev/null)
