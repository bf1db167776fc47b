/*
 * main.c - a chaos run: the ledger's own processes on real servers, under load, while a seeded
 * schedule of faults goes on; then everything that publishers know is held against everything that
 * the ledger says. Settings from the environment, see scripts/chaos.
 *
 * It fails (1) when a promise was broken, when a fault did not take place, when the ledger did not
 * come back after one, when one of its processes died by itself, or when the run did not reach a
 * path that it is meant to reach. Nothing is tried again until it passes.
 */
#include "base/clock.h"
#include "base/stop.h"
#include "tests/chaos/chaos.h"
#include "tests/chaos/checker.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum {
    FAULTS_MAX = 64,
    RECOVERY_MS = 60000,
    SETTLE_MS = 120000,
    SETTLE_BROKEN_MS = 20000, /* what is lost will not come */
    ALL_KINDS_MINUTES = 3,
};

static struct {
    uint32_t seed, rate;
    double minutes;
    bool chosen[FAULTS_MAX], all_chosen;
    bool broken;
    const char *torture; /* NULL: none */
    bool borne;
    uint64_t random;
    uint64_t begun_ms;
    uint32_t survived, not_met, not_recovered;
} run;

static uint32_t next_random(void) /* splitmix64 */
{
    uint64_t z = (run.random += 0x9E3779B97F4A7C15u);

    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    return (uint32_t)(z ^ (z >> 31));
}

static double elapsed_s(void)
{
    return (double)(clock_monotonic_ms() - run.begun_ms) / 1000;
}

/* --- settings ---------------------------------------------------------------------------- */

static void choose(const char *list)
{
    char copy[2048], *rest = copy;

    run.all_chosen = list == NULL || list[0] == '\0' || strcmp(list, "all") == 0;
    for (uint32_t i = 0; i < faults_count; i++) run.chosen[i] = run.all_chosen;
    if (run.all_chosen || strcmp(list, "none") == 0) return;
    (void)snprintf(copy, sizeof copy, "%s", list);
    for (char *word; (word = strsep(&rest, ",")) != NULL;) {
        uint32_t i = 0;
        while (i < faults_count && strcmp(faults[i].name, word) != 0) i++;
        if (i == faults_count)
            give_up("FAULTS: no fault is called %s; see scripts/chaos --help", word);
        run.chosen[i] = true;
    }
}

static void read_settings(void)
{
    const char *seed = getenv("SEED"), *minutes = getenv("MINUTES"), *rate = getenv("RATE");
    const char *broken = getenv("LEDGER_BROKEN");

    run.seed = seed != NULL && seed[0] != '\0' ? (uint32_t)strtoul(seed, NULL, 10)
                                               : (uint32_t)clock_wall_us() % 1000000;
    run.minutes = minutes != NULL && minutes[0] != '\0' ? strtod(minutes, NULL) : 3;
    run.rate = rate != NULL && rate[0] != '\0' ? (uint32_t)strtoul(rate, NULL, 10) : 300;
    run.broken = broken != NULL && broken[0] != '\0';
    run.torture = getenv("TORTURE");
    run.borne = true;
    if (run.minutes <= 0 || run.minutes > 10000 || run.rate == 0 || run.rate > 5000)
        give_up("MINUTES is over 0, RATE 1 to 5000 commands a second");
    run.random = run.seed;
    choose(getenv("FAULTS"));
}

/* --- one fault after the other ----------------------------------------------------------- */

/* Something that was sent after the fault has an answer, and events come. */
static bool recovered(uint64_t *took_ms)
{
    uint64_t from_ms = clock_monotonic_ms();
    uint32_t first = load.next, events = load.events;

    for (;;) {
        *took_ms = clock_monotonic_ms() - from_ms;
        for (uint32_t i = first; i < load.next; i++)
            if (load.has_reply[i] && load.events > events) return true;
        if (*took_ms > RECOVERY_MS) return false;
        stage_pause(50);
    }
}

static void strike(struct fault *fault)
{
    char note[NOTE_SIZE] = "";
    uint64_t took_ms = 0;

    printf("%7.1f s  %-20s ", elapsed_s(), fault->name);
    (void)fflush(stdout);
    bool met = fault->run(next_random(), note);
    bool back = recovered(&took_ms);
    printf("%-52s %s, answers after %.1f s\n", note,
           !met   ? "DID NOT TAKE PLACE"
           : back ? "survived"
                  : "DID NOT COME BACK",
           (double)took_ms / 1000);
    (void)fflush(stdout);
    fault->times += met;
    fault->failed += !met || !back;
    fault->recovery_ms += took_ms;
    if (took_ms > fault->recovery_most_ms) fault->recovery_most_ms = took_ms;
    run.survived += met && back;
    run.not_met += !met;
    run.not_recovered += !back;
}

/* Each round has every kind once, in an order of its own. */
static void strike_until(uint64_t end_ms)
{
    uint32_t order[FAULTS_MAX], count = 0;

    for (uint32_t i = 0; i < faults_count; i++)
        if (run.chosen[i]) order[count++] = i;
    while (clock_monotonic_ms() < end_ms && !stop_requested()) {
        for (uint32_t i = count; i > 1; i--) {
            uint32_t other = next_random() % i, kept = order[i - 1];
            order[i - 1] = order[other];
            order[other] = kept;
        }
        for (uint32_t i = 0; i < count && clock_monotonic_ms() < end_ms && !stop_requested(); i++) {
            strike(&faults[order[i]]);
            stage_pause(next_random() % 1500);
        }
        if (count == 0) stage_pause(200);
    }
}

/* --- what was reached -------------------------------------------------------------------- */

struct reach {
    const char *what;
    uint32_t count;
};

static uint32_t count_replies(const struct history *history, enum result result, bool replayed)
{
    uint32_t count = 0;

    for (uint32_t i = 0; i < history->replies_count; i++)
        count += history->replies[i].result == result && history->replies[i].replayed == replayed;
    return count;
}

static bool print_reach(const struct history *history)
{
    const struct reach reached[] = {
        {"shards taken", count_in_logs("ledger-worker", "took shard")},
        {"shards given up for another", count_in_logs("ledger-worker", "gave up shard")},
        {"worker connected to PostgreSQL", count_in_logs("ledger-worker", "connected to Postgre")},
        {"worker connected to RabbitMQ", count_in_logs("ledger-worker", "connected to RabbitMQ")},
        {"worker tried again", count_in_logs("ledger-worker", "will try again")},
        {"replies took the long way", count_in_logs("ledger-worker", "replies go through the out")},
        {"relay took the lead", count_in_logs("ledger-relay", "leading, epoch")},
        {"relay was blocked by an alarm", count_in_logs("ledger-relay", "short of memory")},
        {"relay tried again", count_in_logs("ledger-relay", "will try again")},
        {"replies applied", count_replies(history, RESULT_APPLIED, false)},
        {"replies given again", count_replies(history, RESULT_APPLIED, true)},
        {"replies sent twice", history->replies_count - load.answered},
        {"refused: insufficient funds", count_replies(history, RESULT_INSUFFICIENT_FUNDS, false)},
        {"refused: key reused", count_replies(history, RESULT_KEY_REUSED, false)},
        {"dead letters", history->dead_letters_count},
        {"publishers' connections lost", (uint32_t)load.reconnects},
    };
    bool all = true;

    printf("\npaths reached\n");
    for (size_t i = 0; i < sizeof reached / sizeof reached[0]; i++) {
        printf("  %10u  %s\n", reached[i].count, reached[i].what);
        all = all && reached[i].count > 0;
    }
    return all;
}

/* --- the end ----------------------------------------------------------------------------- */

static void print_faults(void)
{
    printf("\n%-20s %-42s %6s %7s %12s\n", "fault", "", "times", "failed", "answers after");
    for (uint32_t i = 0; i < faults_count; i++) {
        const struct fault *fault = &faults[i];
        if (!run.chosen[i]) continue;
        double times = fault->times > 0 ? fault->times : 1;
        printf("%-20s %-42s %6u %7u %5.1f s, at most %.1f s\n", fault->name, fault->what,
               fault->times, fault->failed, (double)fault->recovery_ms / times / 1000,
               (double)fault->recovery_most_ms / 1000);
    }
}

static uint32_t print_deaths(void)
{
    uint32_t deaths = 0;

    for (uint32_t i = 0; i < PROCESSES_COUNT; i++) {
        printf("  %-10s started %u times, died by itself %u times\n", stage.processes[i].name,
               stage.processes[i].starts, stage.processes[i].deaths);
        deaths += stage.processes[i].deaths;
    }
    return deaths;
}

static bool every_kind_met(void)
{
    for (uint32_t i = 0; i < faults_count; i++)
        if (run.chosen[i] && faults[i].times == 0) return false;
    return true;
}

static bool judge(double seconds)
{
    const struct history *history = &load.history;
    struct findings findings = {0};
    bool ok = true;

    if (run.torture == NULL) print_faults();
    printf("\nprocesses\n");
    ok = print_deaths() == 0 && ok;
    bool reached = print_reach(history);
    printf("\nhistory: %u messages (%u confirmed), %u replies, %u events, %u outcomes, %u dead "
           "letters; %.0f commands/s\n",
           history->sent_count, load.confirmed, history->replies_count, history->events_count,
           history->journal_count, history->dead_letters_count,
           (double)history->sent_count / seconds);
    if (!history_check(history, stdout, &findings)) give_up("out of memory for the check");
    printf("\nseed %u: %u faults survived in %.0f s;", run.seed, run.survived, seconds);
    for (int promise = 0; promise < PROMISES_COUNT; promise++)
        printf(" %u %s%s", findings.count[promise], promise_word((enum promise)promise),
               promise + 1 < PROMISES_COUNT ? "," : "\n");
    if (run.not_met > 0) printf("FAILED: %u faults did not take place\n", run.not_met);
    if (run.not_recovered > 0) printf("FAILED: %u times it did not come back\n", run.not_recovered);
    bool whole =
        run.all_chosen && !run.broken && run.minutes >= ALL_KINDS_MINUTES && !stop_requested();
    if (whole && run.minutes > 2 * ALL_KINDS_MINUTES && !every_kind_met())
        ok = printf("FAILED: not every kind of fault was met\n") < 0;
    if (whole && !reached) ok = printf("FAILED: a path was not reached\n") < 0;
    if (!run.borne) printf("FAILED: it was not borne; see above\n");
    return ok && run.borne && findings.total == 0 && run.not_met == 0 && run.not_recovered == 0;
}

/* The broken variants that know no unique key cannot live beside one; a naive relay looks again at
 * once. */
static void break_schema(void)
{
    const char *broken = getenv("LEDGER_BROKEN");

    if (!run.broken) return;
    if (strcmp(broken, "no_unique_key") == 0 && setenv("LEDGER_REDIS_URL", "", 1) != 0)
        give_up("setenv");
    if (strcmp(broken, "redis_authority") == 0 && setenv("LEDGER_REDIS_BATCH_MIN", "1", 1) != 0)
        give_up("setenv");
    if (strcmp(broken, "id_after_last") == 0 && setenv("LEDGER_POLL_MS", "1", 1) != 0)
        give_up("setenv");
    if (strcmp(broken, "no_unique_key") == 0 || strcmp(broken, "redis_authority") == 0)
        (void)inside_number(stage.urls[SERVER_POSTGRES],
                            "ALTER TABLE ledger.journal DROP CONSTRAINT journal_pkey");
}

int main(void)
{
    struct err err = {0};

    must(stop_install(&err), &err);
    read_settings();
    (void)mkdir("build/test-logs", 0755);
    (void)mkdir("build/test-logs/chaos", 0755);
    load_open((uint32_t)(run.minutes * 60), run.rate, run.seed);
    stage_open();
    break_schema();
    stage_begin_processes();
    load_begin();
    stage_pause(YOUNG_QUEUE_MS);
    run.begun_ms = clock_monotonic_ms();
    printf("%s: seed %u, %.1f minutes, %u commands/s\n",
           run.torture != NULL ? run.torture : "chaos", run.seed, run.minutes, run.rate);
    (void)fflush(stdout);
    if (run.torture != NULL)
        run.borne = torture_run(run.torture);
    else
        strike_until(run.begun_ms + (uint64_t)(run.minutes * 60000));
    double seconds = elapsed_s();
    printf("%7.1f s  the load ends; waiting for what is owed\n", seconds);
    (void)fflush(stdout);
    load_end(run.broken ? SETTLE_BROKEN_MS : SETTLE_MS);
    if (run.torture != NULL && !ledgerctl_do("verify")) {
        printf("ledgerctl verify: THE BOOKS ARE WRONG\n");
        run.borne = false;
    }
    inside_read(&load.history);
    bool ok = judge(seconds);
    stage_close();
    load_close();
    printf("%s\n", ok ? "every promise was kept" : "THE RUN FAILED");
    return ok ? 0 : 1;
}
