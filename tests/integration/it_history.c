/*
 * it_history.c - an account's past on a real database, in the worker's role: at every transaction
 * of a random history against a simple replay of the replies; what one page costs, early and late;
 * what many and large ones cost; and a clock that was set back.
 *
 * LEDGER_HISTORY_ENTRIES (100000) is the length of the history whose pages are measured.
 */
#include "protocol/pack.h"
#include "tests/books.h"

static struct command past(const char *account, int64_t time_us)
{
    return (struct command){
        .type = COMMAND_GET_BALANCE, .account = text_of(account), .as_of.time_us = time_us};
}

static struct command past_of(const char *account, struct uuid transaction)
{
    return (struct command){
        .type = COMMAND_GET_BALANCE, .account = text_of(account), .as_of.transaction = transaction};
}

static struct command list(const char *account, struct page page)
{
    return (struct command){
        .type = COMMAND_LIST_TRANSACTIONS, .account = text_of(account), .page = page};
}

/* --- a random history, and its replay ---------------------------------------------------- */

enum {
    ACCOUNTS = 6,
    FIRST_OPEN = 4,
    ROUNDS = 120,
    ENTRIES_MAX = 4000,
    BOUNDARIES_MAX = 4000,
    HOLDS_MAX = 1000,
    LEGS = 4,
    AT_ONCE = 500
};

static const char *const NAMES[ACCOUNTS] = {"a", "b", "c", "d", "late", "never"};

struct told { /* an account after one of its changes, as a reply told it */
    struct uuid transaction;
    enum command_type type;
    int64_t balance, held, seq, time_us;
    struct uuid trace_id;
    struct text counterparty; /* a name of NAMES, or of the world */
    int64_t floor;
};

static struct replay {
    int64_t opened_us; /* 0: it was not */
    struct uuid opening;
    struct told entries[ENTRIES_MAX]; /* by seq; of 0 there is nothing */
    int64_t count;
} replays[ACCOUNTS];

static struct boundary {
    struct uuid transaction;
    int64_t time_us;
} boundaries[BOUNDARIES_MAX];
static uint32_t boundaries_count;

static struct uuid holds[HOLDS_MAX], movements[BOUNDARIES_MAX];
static uint32_t holds_count, movements_count, keys_count;

static uint32_t dice(uint32_t sides)
{
    return (uint32_t)rand() % sides;
}

static uint32_t account_at(struct text name)
{
    for (uint32_t i = 0; i < ACCOUNTS; i++)
        if (text_equal(name, text_of(NAMES[i]))) return i;
    fail_msg("no account is called %.*s", TEXT_ARGS(name));
    return 0;
}

static struct command random_command(void)
{
    const char *one = NAMES[dice(ACCOUNTS - 1)], *two = NAMES[dice(ACCOUNTS - 1)];
    struct command command = {.account = text_of(one), .amount.value = 1 + dice(300)};
    uint32_t thrown = dice(20);

    if (holds_count > 0) command.transaction = holds[holds_count - 1 - dice(holds_count) % 8];
    if (dice(20) == 0)
        return (struct command){.type = COMMAND_SET_FLOOR,
                                .account = text_of(one),
                                .amount.value = -(int64_t)dice(200)};
    if (thrown < 6) return deposit(one, 1 + dice(500));
    if (thrown < 8) return withdraw(one, 1 + dice(500));
    if (thrown < 11) return transfer(one, two, 1 + dice(300));
    if (thrown < 12) return transfer(one, "fees", 1 + dice(9));
    command.type = thrown < 14   ? COMMAND_HOLD
                   : thrown < 16 ? COMMAND_CAPTURE
                   : thrown < 17 ? COMMAND_RELEASE
                   : thrown < 18 ? COMMAND_EXPIRE_HOLD
                   : thrown < 19 ? COMMAND_REVERSE
                   : dice(3) > 0 ? COMMAND_UNFREEZE_ACCOUNT
                                 : COMMAND_FREEZE_ACCOUNT;
    if (command.type == COMMAND_HOLD) command.expires_in_s = 60;
    if (command.type == COMMAND_CAPTURE && dice(2) == 0) command.to = text_of(two);
    command.keeps_rest = command.type == COMMAND_CAPTURE && dice(2) == 0;
    command.has_amount = command.type == COMMAND_CAPTURE && dice(2) == 0;
    if (command.type == COMMAND_REVERSE && movements_count > 0)
        command.transaction = movements[dice(movements_count)];
    if (!command_has_target(command.type)) return command;
    command.account = (struct text){0};
    return command;
}

static bool has_target(const struct command *command)
{
    return !command_has_target(command->type) || !uuid_is_zero(&command->transaction);
}

static const char *next_key(void)
{
    return batch_text(bench, "key-%u", keys_count++);
}

static void add_random(void)
{
    struct command commands[LEGS] = {random_command()};

    if (!has_target(&commands[0])) return;
    if (dice(5) > 0) {
        batch_add(bench, next_key(), commands[0]);
        return;
    }
    for (uint32_t i = 1; i < LEGS; i++) commands[i] = random_command();
    for (uint32_t i = 0; i < LEGS; i++)
        if (!has_target(&commands[i])) return;
    batch_add_legs(bench, next_key(), dice(2) == 0, commands, LEGS);
}

/* --- what the replies say --- */

static const struct told *told_of(const struct replay *replay, const struct uuid *transaction)
{
    for (int64_t seq = 1; seq <= replay->count; seq++)
        if (uuid_compare(&replay->entries[seq].transaction, transaction) == 0)
            return &replay->entries[seq];
    return NULL;
}

/* A reversal's is that of what it reverses. */
static struct text counterparty_of(const struct command *command, const struct reply *reply,
                                   const struct replay *replay, uint32_t i)
{
    if (reply->balances_count == 2)
        return text_of(NAMES[account_at(reply->balances[1 - i].account)]);
    if (command->type == COMMAND_REVERSE)
        return told_of(replay, &command->transaction)->counterparty;
    return command->type == COMMAND_TRANSFER ? text_of("fees") : text_of("world:EUR");
}

static void take_balance(const struct work *work, const struct reply *reply, uint32_t i)
{
    const struct command *command = &work->request->command;
    const struct balance_view *view = &reply->balances[i];
    struct replay *replay = &replays[account_at(view->account)];

    if (command->type == COMMAND_OPEN_ACCOUNT) {
        replay->opened_us = reply->timestamp_us;
        replay->opening = reply->transaction;
        return;
    }
    assert_int_equal(view->seq, replay->count + 1);
    assert_in_range(view->seq, 1, ENTRIES_MAX - 1);
    assert_true(reply->timestamp_us >= replay->entries[replay->count].time_us);
    replay->entries[++replay->count] =
        (struct told){.transaction = reply->transaction,
                      .type = command->type,
                      .balance = view->balance,
                      .held = view->held,
                      .seq = view->seq,
                      .time_us = reply->timestamp_us,
                      .trace_id = reply->trace_id,
                      .floor = command->type == COMMAND_SET_FLOOR ? command->amount.value : 0,
                      .counterparty = counterparty_of(command, reply, replay, i)};
}

static void take_reply(const struct work *work)
{
    const struct reply *reply = &work->reply;
    enum command_type type = work->request->command.type;

    if (work->origin != ORIGIN_DECIDED || reply->result != RESULT_APPLIED) return;
    assert_in_range(boundaries_count, 0, BOUNDARIES_MAX - 1);
    boundaries[boundaries_count++] = (struct boundary){reply->transaction, reply->timestamp_us};
    if (type == COMMAND_HOLD && holds_count < HOLDS_MAX) holds[holds_count++] = reply->transaction;
    if (type == COMMAND_DEPOSIT || type == COMMAND_TRANSFER)
        movements[movements_count++] = reply->transaction;
    for (uint32_t i = 0; i < reply->balances_count; i++) take_balance(work, reply, i);
}

static void run_round(void)
{
    batch_run(bench);
    for (uint32_t i = 0; i < bench->batch.works_count; i++) take_reply(&bench->works[i]);
}

/* Holds come due, and now and then the server that is asked for the time is ahead of the next. */
static void shake(void)
{
    sql(owner, "UPDATE hold SET expires_at = now() WHERE remaining > 0 AND random() < 0.1");
    if (dice(10) == 0)
        sql(owner, "UPDATE account SET changed_at = changed_at + interval '20 ms' WHERE id = '%s'",
            NAMES[dice(FIRST_OPEN)]);
}

static void make_history(void)
{
    memset(replays, 0, sizeof replays);
    boundaries_count = holds_count = movements_count = 0;
    batch_begin(bench);
    batch_add(bench, "fees", open_system("fees", "EUR"));
    for (uint32_t i = 0; i < FIRST_OPEN; i++)
        batch_add(bench, batch_text(bench, "open-%u", i), open_account(NAMES[i], "u", "EUR"));
    run_round();
    for (uint32_t round = 0; round < ROUNDS; round++) {
        batch_begin(bench);
        if (round == ROUNDS / 2) batch_add(bench, "late", open_account("late", "u", "EUR"));
        for (uint32_t left = 1 + dice(8); left > 0; left--) add_random();
        run_round();
        shake();
    }
    batch_begin(bench);
    batch_add(bench, "never", open_account("never", "u", "EUR"));
    batch_add(bench, "closed",
              (struct command){.type = COMMAND_CLOSE_ACCOUNT, .account = text_of("never")});
    run_round();
}

/* --- what the ledger says of it --- */

/* The last change at or before a time; number 0 is before the first. */
static const struct told *told_at(const struct replay *replay, int64_t time_us)
{
    int64_t last = 0;

    while (last < replay->count && replay->entries[last + 1].time_us <= time_us) last++;
    return &replay->entries[last];
}

static const struct told *told_after(const struct replay *replay, const struct boundary *boundary)
{
    const struct told *own = told_of(replay, &boundary->transaction);

    if (uuid_compare(&replay->opening, &boundary->transaction) == 0) return &replay->entries[0];
    return own != NULL ? own : told_at(replay, boundary->time_us);
}

static void check_past(uint32_t account, const struct told *want, bool was_open,
                       const struct reply *reply)
{
    if (!was_open) {
        assert_int_equal(reply->result, RESULT_ACCOUNT_NOT_FOUND);
        return;
    }
    assert_int_equal(reply->result, RESULT_APPLIED);
    const struct balance_view *view = &reply->balances[0];
    if (view->balance != want->balance || view->held != want->held || view->seq != want->seq)
        fail_msg("%s: %jd held %jd at %jd, not %jd held %jd at %jd", NAMES[account],
                 (intmax_t)view->balance, (intmax_t)view->held, (intmax_t)view->seq,
                 (intmax_t)want->balance, (intmax_t)want->held, (intmax_t)want->seq);
    assert_memory_equal(&reply->as_of->transaction, &want->transaction, sizeof want->transaction);
    assert_int_equal(reply->as_of->timestamp_us,
                     want->seq == 0 ? replays[account].opened_us : want->time_us);
}

/* By its id, at its time, and just before that. */
static void check_boundaries(uint32_t first, uint32_t end)
{
    uint32_t at = 0;

    batch_begin(bench);
    for (uint32_t i = first; i < end; i++)
        for (uint32_t account = 0; account < ACCOUNTS; account++) {
            batch_add(bench, NULL, past_of(NAMES[account], boundaries[i].transaction));
            batch_add(bench, NULL, past(NAMES[account], boundaries[i].time_us));
            batch_add(bench, NULL, past(NAMES[account], boundaries[i].time_us - 1));
        }
    batch_run(bench);
    for (uint32_t i = first; i < end; i++)
        for (uint32_t account = 0; account < ACCOUNTS; account++) {
            const struct replay *replay = &replays[account];
            int64_t time_us = boundaries[i].time_us;
            check_past(account, told_after(replay, &boundaries[i]), replay->opened_us <= time_us,
                       &bench->works[at++].reply);
            check_past(account, told_at(replay, time_us), replay->opened_us <= time_us,
                       &bench->works[at++].reply);
            check_past(account, told_at(replay, time_us - 1), replay->opened_us < time_us,
                       &bench->works[at++].reply);
        }
}

static void check_entry(const struct replay *replay, const struct entry_view *view)
{
    const struct told *want = &replay->entries[view->seq], *before = want - 1;
    int64_t moved = want->balance - before->balance, held = want->held - before->held;
    bool moves = moved != 0;

    assert_memory_equal(&view->transaction, &want->transaction, sizeof want->transaction);
    assert_int_equal(view->type, want->type);
    assert_int_equal(view->balance, want->balance);
    assert_int_equal(view->held, want->held);
    assert_int_equal(view->floor, want->floor);
    assert_int_equal(view->timestamp_us, want->time_us);
    assert_memory_equal(&view->trace_id, &want->trace_id, sizeof want->trace_id);
    assert_int_equal(view->moves, moves);
    assert_int_equal(view->amount, moved > 0   ? moved
                                   : moved < 0 ? -moved
                                   : held < 0  ? -held
                                               : held);
    if (moves) assert_int_equal(view->is_credit, moved > 0);
    if (moves != (view->counterparty.length > 0) ||
        (moves && !text_equal(view->counterparty, want->counterparty)))
        fail_msg("entry %jd: counterparty %.*s, not %.*s", (intmax_t)view->seq,
                 TEXT_ARGS(view->counterparty), TEXT_ARGS(want->counterparty));
    assert_int_equal(uuid_is_zero(&view->refers), !command_has_target(want->type));
}

/* The entries from one boundary up to before another, in pages of a random size. */
static void check_span(uint32_t account, int64_t from_us, int64_t until_us, bool ascending)
{
    const struct replay *replay = &replays[account];
    struct page page = {
        .limit = 1 + dice(60), .from_us = from_us, .until_us = until_us, .ascending = ascending};
    int64_t first = told_at(replay, from_us - 1)->seq, last = told_at(replay, until_us - 1)->seq;
    int64_t next = ascending ? first + 1 : last;

    do {
        const struct reply *reply = run_one(bench, NULL, list(NAMES[account], page));
        assert_int_equal(reply->result, RESULT_APPLIED);
        for (uint32_t i = 0; i < reply->history->count; i++) {
            assert_int_equal(reply->history->entries[i].seq, next);
            check_entry(replay, &reply->history->entries[i]);
            next += ascending ? 1 : -1;
        }
        page.cursor = reply->history->cursor;
        assert_true(uuid_is_zero(&page.cursor) || reply->history->count == page.limit);
    } while (!uuid_is_zero(&page.cursor));
    assert_int_equal(next, ascending ? last + 1 : first);
}

/* All of one kind, or of one trace: in short pages, and complete. */
static void check_filter(uint32_t account, struct page page)
{
    const struct replay *replay = &replays[account];
    int64_t found = 0, wanted = 0;

    for (int64_t seq = 1; seq <= replay->count; seq++)
        wanted += page.kind != 0
                      ? command_number(replay->entries[seq].type) == page.kind
                      : uuid_compare(&replay->entries[seq].trace_id, &page.trace_id) == 0;
    do {
        const struct reply *reply = run_one(bench, NULL, list(NAMES[account], page));
        for (uint32_t i = 0; i < reply->history->count; i++) {
            check_entry(replay, &reply->history->entries[i]);
            if (page.kind != 0)
                assert_int_equal(command_number(reply->history->entries[i].type), page.kind);
            found++;
        }
        page.cursor = reply->history->cursor;
    } while (!uuid_is_zero(&page.cursor));
    assert_int_equal(found, wanted);
}

static void every_boundary_is_as_the_replies_said(void **state)
{
    const char *seed = getenv("LEDGER_HISTORY_SEED");
    int64_t end_us;

    (void)state;
    unsigned random = seed == NULL ? (unsigned)clock_wall_us() : (unsigned)strtoul(seed, NULL, 10);
    print_message("LEDGER_HISTORY_SEED=%u\n", random);
    srand(random);
    make_history();
    end_us = boundaries[boundaries_count - 1].time_us + 1;
    uint32_t step = AT_ONCE / (3 * ACCOUNTS);
    for (uint32_t first = 0; first < boundaries_count; first += step)
        check_boundaries(first, first + step < boundaries_count ? first + step : boundaries_count);
    for (uint32_t i = 0; i < boundaries_count; i++) {
        uint32_t j = dice(boundaries_count), account = dice(ACCOUNTS);
        int64_t one = boundaries[i].time_us, two = boundaries[j].time_us;
        check_span(account, one < two ? one : two, one < two ? two : one, dice(2) == 0);
        if (i % 50 != 0) continue;
        check_span(account, 1, end_us + 1000000, dice(2) == 0);
        check_filter(account, (struct page){.limit = 1 + dice(9),
                                            .ascending = dice(2) == 0,
                                            .kind = (int16_t)(2 + dice(8))});
        check_filter(
            account,
            (struct page){.trace_id = replays[account].entries[replays[account].count].trace_id});
    }
    print_message("%u transactions\n", boundaries_count);
    assert_true(boundaries_count > ROUNDS);
    (void)verify_clean("ledger_reader");
}

/* --- what a page costs ------------------------------------------------------------------- */

enum { PAGE = 100, EXPLAINED_MAX = 32 };

enum { INSERTED_AT_ONCE = 50000 };

/* Deposits, and every other one a transfer to another account; every 1,000th is a reversal. */
static void insert_entries(int64_t first, int64_t last)
{
    sql(owner,
        "INSERT INTO journal (key_digest, id, fingerprint, trace_id, created_at, debit, credit, "
        "amount,"
        "                     debit_seq, debit_balance, debit_held, credit_seq, credit_balance,"
        "                     credit_held, command, caller, key, refers, settles)"
        " SELECT md5('key' || n)::uuid, md5('id' || n)::uuid, md5('print' || n)::uuid,"
        "        md5('trace' || n)::uuid, (SELECT created_at FROM account WHERE id = 'big')"
        "                                 + n * interval '1 ms',"
        "        CASE WHEN n %% 2 = 1 THEN world.number ELSE big.number END,"
        "        CASE WHEN n %% 2 = 1 THEN big.number ELSE small.number END, 1,"
        "        CASE WHEN n %% 2 = 0 THEN n END, CASE WHEN n %% 2 = 0 THEN 0 END,"
        "        CASE WHEN n %% 2 = 0 THEN 0 END, CASE WHEN n %% 2 = 1 THEN n ELSE n / 2 END,"
        "        CASE WHEN n %% 2 = 1 THEN 1 ELSE n / 2 END, 0,"
        "        CASE WHEN n %% 1000 = 0 THEN 9 WHEN n %% 2 = 1 THEN 2 ELSE 4 END, 'tests', 'n' || "
        "n,"
        "        CASE WHEN n %% 1000 = 0 THEN md5('id' || n - 1)::uuid END,"
        "        CASE WHEN n %% 1000 = 0 THEN true END"
        "   FROM generate_series(%jd::int8, %jd::int8) AS n,"
        "        (SELECT number FROM account WHERE id = 'world:EUR') AS world,"
        "        (SELECT number FROM account WHERE id = 'big') AS big,"
        "        (SELECT number FROM account WHERE id = 'small') AS small",
        (intmax_t)first, (intmax_t)last);
}

static int64_t make_long_history(void)
{
    const char *given = getenv("LEDGER_HISTORY_ENTRIES");
    int64_t count = given == NULL ? 100000 : strtoll(given, NULL, 10);

    expect(bench, "open-big", open_account("big", "u", "EUR"), RESULT_APPLIED);
    expect(bench, "open-small", open_account("small", "u", "EUR"), RESULT_APPLIED);
    for (int64_t first = 1; first <= count; first += INSERTED_AT_ONCE)
        insert_entries(first,
                       first + INSERTED_AT_ONCE - 1 < count ? first + INSERTED_AT_ONCE - 1 : count);
    sql(owner, "UPDATE account SET seq = %jd WHERE id = 'big'", (intmax_t)count);
    return count;
}

/* Buffers that the worker's own statement touches, on the worker's own connection. */
static int64_t buffers_of(const char *execute)
{
    static uint32_t serial;
    static char names[EXPLAINED_MAX][32], texts[EXPLAINED_MAX][OUTBOX_SQL_SIZE];
    static struct statement
        statements[EXPLAINED_MAX]; /* a connection knows them by where they are */
    uint32_t at = serial++;
    PGresult *rows;
    int64_t blocks = 0;

    assert_in_range(at, 0, EXPLAINED_MAX - 1);
    statements[at] = (struct statement){names[at], texts[at]};
    (void)snprintf(names[at], sizeof names[at], "it_explain_%u", at);
    (void)snprintf(texts[at], sizeof texts[at],
                   "EXPLAIN (ANALYZE, BUFFERS, TIMING OFF, FORMAT JSON) EXECUTE %s", execute);
    must(query_one(bench->db, &statements[at], NULL, 0, &rows, &err));
    static const char *const kinds[] = {"\"Shared Hit Blocks\": ", "\"Shared Read Blocks\": "};
    for (uint32_t i = 0; i < 2; i++) { /* the first is that of the whole plan */
        const char *found = strstr(PQgetvalue(rows, 0, 0), kinds[i]);
        assert_non_null(found);
        blocks += strtoll(found + strlen(kinds[i]), NULL, 10);
    }
    PQclear(rows);
    return blocks;
}

struct measured {
    int64_t buffers;
    uint64_t us;
};

static struct measured measure_page(const char *what, struct page page, const char *since,
                                    int64_t want_first)
{
    char execute[OUTBOX_SQL_SIZE];
    struct measured measured = {.us = UINT64_MAX};
    const struct reply *reply;
    int64_t seq;

    for (int times = 0; times < 5; times++) {
        uint64_t began_us = clock_monotonic_us();
        reply = run_one(bench, NULL, list("big", page));
        uint64_t took_us = clock_monotonic_us() - began_us;
        if (took_us < measured.us) measured.us = took_us;
    }
    assert_int_equal(reply->result, RESULT_APPLIED);
    assert_int_equal(reply->history->entries[0].seq, want_first);
    assert_true(page_resumes(&page, text_of("big"), &seq));
    (void)snprintf(execute, sizeof execute,
                   "store_pages('{0}', '{big}', '{%s}', '{NULL}', '{%jd}', '{%s}', '{%u}', '{%d}',"
                   " '{%s}', '{NULL}', 16384, 983040)",
                   since, (intmax_t)seq, page.ascending ? "t" : "f", page.limit,
                   page.kind == 0 ? (int)page.limit : 1000, page.kind == 0 ? "NULL" : "9");
    measured.buffers = buffers_of(execute);
    print_message("%-36s %6jd buffers %6ju us\n", what, (intmax_t)measured.buffers,
                  (uintmax_t)measured.us);
    return measured;
}

static struct page page_behind(struct page page, int64_t seq)
{
    page.cursor = page_cursor(&page, text_of("big"), seq);
    return page;
}

static void assert_within_two(struct measured a, struct measured b)
{
    assert_true(a.buffers <= 2 * b.buffers);
    assert_true(b.buffers <= 2 * a.buffers);
}

static void a_late_page_costs_what_the_first_does(void **state)
{
    const struct page down = {.limit = PAGE}, up = {.limit = PAGE, .ascending = true},
                      rare = {.limit = PAGE, .kind = 9};
    int64_t count = ask("SELECT max(seq) FROM account WHERE id = 'big'");
    char since[64];

    (void)state;
    print_message("%jd entries, pages of %d\n", (intmax_t)count, PAGE);
    struct measured first = measure_page("page 1", down, "NULL", count);
    struct measured last = measure_page("last page", page_behind(down, PAGE + 1), "NULL", PAGE);
    struct measured middle =
        measure_page("a page in the middle", page_behind(down, count / 2), "NULL", count / 2 - 1);
    assert_within_two(first, last);
    assert_within_two(first, middle);
    struct measured oldest = measure_page("page 1, oldest first", up, "NULL", 1);
    struct measured newest = measure_page("last page, oldest first", page_behind(up, count - PAGE),
                                          "NULL", count - PAGE + 1);
    assert_within_two(oldest, newest);
    assert_within_two(first, oldest);
    struct measured some = measure_page("reversals, page 1", rare, "NULL", count);
    struct measured others = measure_page("reversals, late", page_behind(rare, 2001), "NULL", 2000);
    assert_within_two(some, others);
    assert_in_range(first.buffers, 1, 6 * PAGE); /* each entry, and its counterparty */
    /* None in a thousand: the page is empty, and there is more. */
    const struct page none = {.kind = command_number(COMMAND_HOLD)};
    const struct reply *empty = run_one(bench, NULL, list("big", none));
    assert_int_equal(empty->history->count, 0);
    assert_false(uuid_is_zero(&empty->history->cursor));
    empty = run_one(bench, NULL, list("big", page_behind(none, 1001)));
    assert_int_equal(empty->history->count, 0);
    assert_true(uuid_is_zero(&empty->history->cursor));
    /* A time is found by halving: some 17 steps, each through two indexes, for 100,000 entries. */
    struct page late = {.limit = PAGE, .ascending = true};
    const struct reply *reply = run_one(bench, NULL, list("big", page_behind(up, count / 3 - 1)));
    late.from_us = reply->history->entries[0].timestamp_us;
    time_format(late.from_us, since);
    struct measured timed = measure_page("from a time", late, since, count / 3);
    assert_true(timed.buffers <= first.buffers + 200);
}

static void a_past_balance_costs_its_logarithm(void **state)
{
    int64_t count = ask("SELECT max(seq) FROM account WHERE id = 'big'");
    static const int64_t parts[] = {0, 1, 2, 3, 4};

    (void)state;
    (void)run_one(bench, NULL, past("big", clock_wall_us()));
    for (uint32_t i = 0; i < 5; i++) {
        char execute[OUTBOX_SQL_SIZE];
        int64_t seq = 1 + (count - 1) * parts[i] / 4, buffers;
        const struct reply *reply =
            run_one(bench, NULL,
                    list("big", page_behind((struct page){.limit = 1, .ascending = true},
                                            seq == 1 ? count : seq - 1)));
        int64_t time_us = seq == 1 ? clock_wall_us() : reply->history->entries[0].timestamp_us;
        char time[64];
        time_format(time_us, time);
        reply = run_one(bench, NULL, past("big", time_us));
        assert_int_equal(reply->result, RESULT_APPLIED);
        if (seq > 1) assert_int_equal(reply->balances[0].seq, seq);
        (void)snprintf(execute, sizeof execute, "store_past('{0}', '{big}', '{%s}', '{NULL}')",
                       time);
        buffers = buffers_of(execute);
        print_message("entry %8jd of %jd: %jd buffers\n", (intmax_t)seq, (intmax_t)count,
                      (intmax_t)buffers);
        assert_in_range(buffers, 1, 300);
    }
}

/* Both in one, for the history is made once. */
static void the_past_costs_the_same_however_long(void **state)
{
    (void)make_long_history();
    a_late_page_costs_what_the_first_does(state);
    a_past_balance_costs_its_logarithm(state);
    sql(owner, "ANALYZE");
    bench_close(bench);
    bench = bench_open(session_as("ledger_worker"));
    print_message("with another plan, by who knows all about the tables\n");
    a_late_page_costs_what_the_first_does(state);
    a_past_balance_costs_its_logarithm(state);
}

/* --- many at once, and large ones -------------------------------------------------------- */

enum { LARGE = 150, LARGE_TEXT = 4000 };

/* Bytes that JSON has to write as six. */
static struct bytes large_metadata(void)
{
    struct writer writer = writer_in(&bench->arena);
    struct bytes bytes;

    write_bytes(&writer,
                "\x81\xa1"
                "a\xda",
                4);
    write_u16(&writer, LARGE_TEXT);
    for (uint32_t i = 0; i < LARGE_TEXT; i++) write_u8(&writer, 1);
    assert_true(writer_keep(&writer, &bench->arena, &bytes));
    return bytes;
}

static void make_large(void)
{
    expect(bench, "open", open_account("a", "u", "EUR"), RESULT_APPLIED);
    batch_begin(bench);
    for (uint32_t i = 0; i < LARGE; i++) {
        struct command command = deposit("a", 1);
        command.metadata = large_metadata();
        batch_add(bench, batch_text(bench, "large-%u", i), command);
    }
    batch_run(bench);
}

/* In either encoding the reply is one that a client can read. */
static void check_readable(const struct reply *reply)
{
    for (int encoding = ENCODING_MSGPACK; encoding <= ENCODING_JSON; encoding++) {
        char problem[PROBLEM_SIZE];
        struct reply again;
        struct bytes body;
        assert_true(
            reply_encode(bench->codec, reply, (enum encoding)encoding, &bench->arena, &body));
        if (!reply_decode(bench->codec, body, (enum encoding)encoding, &bench->arena, &again,
                          problem))
            fail_msg("%u bytes: %s", body.size, problem);
        assert_int_equal(again.history->count, reply->history->count);
    }
}

static void a_page_fits_a_reply(void **state)
{
    struct page page = {.limit = PAGE_ENTRIES_MAX};
    uint32_t pages = 0, entries = 0;

    (void)state;
    make_large();
    do {
        const struct reply *reply = run_one(bench, NULL, list("a", page));
        assert_int_equal(reply->result, RESULT_APPLIED);
        assert_true(reply->history->count > 0);
        assert_int_equal(reply->history->entries[0].seq, LARGE - entries);
        assert_int_equal(reply->history->entries[0].metadata.size, 6 + LARGE_TEXT);
        check_readable(reply);
        entries += reply->history->count;
        page.cursor = reply->history->cursor;
        pages++;
    } while (!uuid_is_zero(&page.cursor));
    assert_int_equal(entries, LARGE);
    assert_in_range(pages, 3, 10);
}

/* They share what a batch may read: each gets on, and none is large. */
static void many_pages_share_what_a_batch_reads(void **state)
{
    struct page page = {.limit = PAGE_ENTRIES_MAX, .kind = command_number(COMMAND_DEPOSIT)};
    uint64_t size = 0;

    (void)state;
    make_large();
    batch_begin(bench);
    for (uint32_t i = 0; i < BATCH_COMMANDS_MAX; i++) batch_add(bench, NULL, list("a", page));
    batch_run(bench);
    for (uint32_t i = 0; i < BATCH_COMMANDS_MAX; i++) {
        const struct history_view *view = bench->works[i].reply.history;
        assert_in_range(view->count, 1, 16);
        assert_false(uuid_is_zero(&view->cursor));
        for (uint32_t k = 0; k < view->count; k++) size += view->entries[k].metadata.size;
    }
    assert_in_range(size, 1, 16 << 20);
    assert_in_range(bench->arena.used, 1, 32 << 20); /* as much as a worker has */
}

/* Nothing of it is locked. */
static void the_past_waits_for_nobody(void **state)
{
    struct db *other = session_as(NULL);

    (void)state;
    make_large();
    sql(other, "BEGIN; SELECT FROM account WHERE id = 'a' FOR UPDATE; LOCK journal IN SHARE ROW "
               "EXCLUSIVE MODE");
    assert_int_equal(run_one(bench, NULL, list("a", (struct page){.limit = 5}))->history->count, 5);
    assert_int_equal(run_one(bench, NULL, past("a", clock_wall_us()))->balances[0].seq, LARGE);
    sql(other, "ROLLBACK");
    db_close(other);
}

/* --- what is not there, and what is not committed ---------------------------------------- */

static void what_a_batch_does_is_past_when_it_has_committed(void **state)
{
    (void)state;
    expect(bench, "open", open_account("a", "u", "EUR"), RESULT_APPLIED);
    expect(bench, "one", deposit("a", 1), RESULT_APPLIED);
    batch_begin(bench);
    batch_add(bench, "two", deposit("a", 2));
    batch_add(bench, "new", open_account("new", "u", "EUR"));
    batch_add(bench, NULL, query(COMMAND_GET_BALANCE, "a"));
    batch_add(bench, NULL, past("a", clock_wall_us() + 60000000));
    batch_add(bench, NULL, list("a", (struct page){.limit = 9}));
    batch_add(bench, NULL, list("new", (struct page){.limit = 9}));
    batch_add(bench, NULL, past("new", clock_wall_us() + 60000000));
    batch_run(bench);
    assert_int_equal(bench->works[2].reply.balances[0].balance, 3);
    assert_int_equal(bench->works[3].reply.balances[0].balance, 1);
    assert_int_equal(bench->works[4].reply.history->count, 1);
    assert_int_equal(bench->works[5].reply.result, RESULT_APPLIED);
    assert_int_equal(bench->works[5].reply.history->count, 0);
    assert_int_equal(bench->works[6].reply.balances[0].seq, 0);
    assert_int_equal(run_one(bench, NULL, past("a", clock_wall_us()))->balances[0].balance, 3);
}

static void what_is_not_there_is_refused(void **state)
{
    struct uuid refused;

    (void)state;
    expect(bench, "open", open_account("a", "u", "EUR"), RESULT_APPLIED);
    expect(bench, "late", withdraw("a", 1), RESULT_INSUFFICIENT_FUNDS);
    refused = bench->works[0].id; /* an outcome, and no transaction */
    expect(bench, NULL, past_of("a", refused), RESULT_TRANSACTION_NOT_FOUND);
    expect(bench, NULL, past_of("a", uuid_random()), RESULT_TRANSACTION_NOT_FOUND);
    expect(bench, NULL, past_of("nobody", uuid_random()), RESULT_ACCOUNT_NOT_FOUND);
    expect(bench, NULL, past("world:EUR", clock_wall_us()), RESULT_SYSTEM_ACCOUNT);
    expect(bench, NULL, past("world:EUR", 1), RESULT_ACCOUNT_NOT_FOUND);
    expect(bench, NULL, past("a", 1), RESULT_ACCOUNT_NOT_FOUND);
    expect(bench, NULL, past("a", INT64_C(253402300799000000)), RESULT_APPLIED); /* the year 9999 */
    expect(bench, NULL, list("world:EUR", (struct page){.limit = 1}), RESULT_SYSTEM_ACCOUNT);
    expect(bench, NULL, list("nobody", (struct page){.limit = 1}), RESULT_ACCOUNT_NOT_FOUND);
}

/* --- a clock that was set back ----------------------------------------------------------- */

/* The last change is of a time that is to come: nothing is stamped before it, and nobody else is
 * drawn along but by what they share. */
static void a_clock_set_back_turns_no_history_around(void **state)
{
    static const struct statement AHEAD = {"it_ahead",
                                           "SELECT count(*) FROM journal WHERE created_at > now()"};
    int64_t ahead_us;

    (void)state;
    expect(bench, "open-a", open_account("a", "u", "EUR"), RESULT_APPLIED);
    expect(bench, "open-b", open_account("b", "u", "EUR"), RESULT_APPLIED);
    expect(bench, "one", deposit("a", 5), RESULT_APPLIED);
    sql(owner, "UPDATE account SET changed_at = now() + interval '1 hour' WHERE id = 'a'");
    ahead_us =
        ask("SELECT (extract(epoch FROM changed_at) * 1000000)::int8 FROM account WHERE id = 'a'");
    struct command in_time = deposit("a", 7);
    in_time.conditions.not_after_us = clock_wall_us() + 60000000;
    assert_int_equal(run_one(bench, "two", in_time)->timestamp_us, ahead_us);
    assert_int_equal(bench->works[0].reply.result, RESULT_APPLIED);
    assert_int_equal(run_one(bench, "two", in_time)->timestamp_us, ahead_us); /* from the journal */
    assert_true(bench->works[0].reply.replayed);
    assert_true(run_one(bench, "three", deposit("b", 1))->timestamp_us < ahead_us);
    assert_int_equal(run_one(bench, "four", transfer("a", "b", 1))->timestamp_us, ahead_us);
    assert_int_equal(run_one(bench, "five", deposit("b", 1))->timestamp_us, ahead_us);
    assert_int_equal(number(owner, &AHEAD), 3);
    assert_int_equal(run_one(bench, NULL, past("a", clock_wall_us()))->balances[0].balance, 5);
    assert_int_equal(run_one(bench, NULL, past("b", ahead_us - 1))->balances[0].balance, 1);
    assert_int_equal(run_one(bench, NULL, past("b", ahead_us))->balances[0].balance, 3);
    (void)verify_clean("ledger_reader");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(every_boundary_is_as_the_replies_said, books_empty,
                                        books_close),
        cmocka_unit_test_setup_teardown(a_page_fits_a_reply, books_empty, books_close),
        cmocka_unit_test_setup_teardown(many_pages_share_what_a_batch_reads, books_empty,
                                        books_close),
        cmocka_unit_test_setup_teardown(the_past_waits_for_nobody, books_empty, books_close),
        cmocka_unit_test_setup_teardown(what_a_batch_does_is_past_when_it_has_committed,
                                        books_empty, books_close),
        cmocka_unit_test_setup_teardown(what_is_not_there_is_refused, books_empty, books_close),
        cmocka_unit_test_setup_teardown(a_clock_set_back_turns_no_history_around, books_empty,
                                        books_close),
        cmocka_unit_test_setup_teardown(the_past_costs_the_same_however_long, books_empty,
                                        books_close),
    };
    return cmocka_run_group_tests(tests, database_make, database_drop);
}
