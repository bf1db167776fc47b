/*
 * history.c - verbs about an account's past: what get-balance and list-transactions are asked for,
 * and the statement, which the ledger's answers to both must add up to.
 */
#include "base/clock.h"
#include "ledgerctl/ledgerctl.h"
#include "protocol/request.h"

#include <inttypes.h>
#include <stdio.h>

enum exit_code parse_time(const char *name, const char *text, int64_t *wall_us)
{
    if (text == NULL || (time_parse(text_of(text), wall_us) && *wall_us > 0)) return EXIT_DONE;
    return complain(EXIT_USAGE, "%s is an RFC 3339 time, as 2026-11-23T07:00:00Z", name);
}

enum exit_code fill_as_of(const struct options *options, struct command *command)
{
    const char *text = options->as_of;

    if (text == NULL || uuid_parse(text_of(text), &command->as_of.transaction)) return EXIT_DONE;
    if (time_parse(text_of(text), &command->as_of.time_us)) return EXIT_DONE;
    return complain(EXIT_USAGE, "--as-of is an RFC 3339 time or a transaction's UUID");
}

static enum exit_code parse_hex(const char *name, const char *text, struct uuid *out)
{
    if (text == NULL || uuid_parse_hex(text_of(text), out)) return EXIT_DONE;
    return complain(EXIT_USAGE, "%s is 32 lower-case hexadecimal digits", name);
}

static enum exit_code parse_order(const struct options *options, struct page *page)
{
    struct text order = text_of(options->order);

    page->ascending = text_equal(order, TEXT_LITERAL("asc"));
    if (page->ascending || order.length == 0 || text_equal(order, TEXT_LITERAL("desc")))
        return EXIT_DONE;
    return complain(EXIT_USAGE, "--order is asc or desc");
}

static enum exit_code parse_kind(const struct options *options, struct page *page)
{
    enum command_type type;

    if (options->kind == NULL) return EXIT_DONE;
    if (!command_type_parse(text_of(options->kind), &type) || !command_changes(type))
        return complain(EXIT_USAGE, "--kind is a type of command, as transfer");
    page->kind = command_number(type);
    return EXIT_DONE;
}

enum exit_code fill_page(const struct options *options, struct command *command)
{
    struct page *page = &command->page;
    int64_t limit = 0;
    enum exit_code code = parse_time("--from", options->from, &page->from_us);

    if (code == EXIT_DONE) code = parse_time("--to", options->to, &page->until_us);
    if (code == EXIT_DONE) code = parse_hex("--cursor", options->cursor, &page->cursor);
    if (code == EXIT_DONE) code = parse_hex("--trace", options->trace, &page->trace_id);
    if (code == EXIT_DONE) code = parse_order(options, page);
    if (code == EXIT_DONE) code = parse_kind(options, page);
    if (code == EXIT_DONE && options->limit != NULL)
        code = parse_number("--limit", options->limit, 1, PAGE_ENTRIES_MAX, &limit);
    page->limit = (uint32_t)limit;
    return code;
}

/* --- statement --------------------------------------------------------------------------- */

struct balance {
    int64_t balance, held, seq;
};

struct statement {
    const struct options *options;
    struct ledger_client *client;
    struct arena arena; /* of one entry's JSON */
    struct text account;
    char asset[ASSET_LENGTH_MAX + 1];
    int64_t from_us, until_us;
    struct balance opening, closing, reached; /* reached: opening and the entries so far */
    uint64_t entries;
    bool adds_up;
};

/* False, with *code set, when there is no answer or it is a refusal other than `allowed`. */
static bool ask(struct statement *statement, const struct command *command, enum result allowed,
                struct reply *reply, enum exit_code *code)
{
    struct ledger_call call = {.command = *command};
    struct err err = {0};

    *code = EXIT_DONE;
    if (!ledger_client_call(statement->client, &call, statement->options->timeout_ms, reply, &err))
        *code = complain_err(&err);
    else if (reply->result != RESULT_APPLIED && reply->result != allowed)
        *code = complain(EXIT_FAILED, "%s: %.*s", result_word(reply->result),
                         TEXT_ARGS(reply->message));
    return *code == EXIT_DONE;
}

/* Before a time; 0: now. An account that was not there yet had nothing. */
static bool ask_balance(struct statement *statement, int64_t before_us, enum result allowed,
                        struct balance *out, enum exit_code *code)
{
    struct command command = {.type = COMMAND_GET_BALANCE, .account = statement->account};
    struct reply reply;

    if (before_us != 0) command.as_of.time_us = before_us - 1;
    *out = (struct balance){0};
    if (!ask(statement, &command, allowed, &reply, code)) return false;
    if (reply.balances_count == 0) return true;
    const struct balance_view *view = &reply.balances[0];
    *out = (struct balance){view->balance, view->held, view->seq};
    if (!view->has_seq)
        *code = complain(EXIT_FAILED, "system_account: an account of kind system has no statement");
    return view->has_seq && text_copy(view->asset, statement->asset, sizeof statement->asset);
}

static void print_balance(const struct statement *statement, const char *label,
                          const struct balance *balance)
{
    if (statement->options->output == OUTPUT_JSON)
        printf("\"%s\":{\"balance\":%" PRId64 ",\"held\":%" PRId64 ",\"available\":%" PRId64
               ",\"seq\":%" PRId64 "}",
               label, balance->balance, balance->held, balance->balance - balance->held,
               balance->seq);
    else
        printf("%8" PRId64 " %-27s %-16s %20s %20" PRId64 " %16" PRId64 "\n", balance->seq, label,
               "", "", balance->balance, balance->held);
}

static void print_json_time(const char *label, int64_t wall_us)
{
    char time[TIME_TEXT_SIZE];

    if (wall_us == 0) return;
    time_format(wall_us, time);
    printf("\"%s\":\"%s\",", label, time);
}

static void print_begin(const struct statement *statement)
{
    if (statement->options->output == OUTPUT_TABLE) {
        print_entries_head();
        print_balance(statement, "opening", &statement->opening);
        return;
    }
    printf("{\"account\":\"%.*s\",\"asset\":\"%s\",", TEXT_ARGS(statement->account),
           statement->asset);
    print_json_time("from", statement->from_us);
    print_json_time("to", statement->until_us);
    print_balance(statement, "opening", &statement->opening);
    printf(",\"transactions\":[");
}

static bool print_entry_json(struct statement *statement, const struct entry_view *view)
{
    struct writer writer;
    struct bytes packed, json;

    arena_reset(&statement->arena);
    writer = writer_in(&statement->arena);
    entry_pack(&writer, view);
    if (!writer_keep(&writer, &statement->arena, &packed) ||
        !msgpack_to_json(packed, &statement->arena, &json))
        return false;
    printf("%s%.*s", statement->entries == 0 ? "" : ",", (int)json.size, (const char *)json.data);
    return true;
}

/* Each entry must follow from the one before it. */
static bool add_entry(struct statement *statement, const struct entry_view *view)
{
    struct balance *reached = &statement->reached;
    int64_t moved = !view->moves ? 0 : view->is_credit ? view->amount : -view->amount;

    bool overflows = __builtin_add_overflow(reached->balance, moved, &reached->balance);
    statement->adds_up &=
        !overflows && view->seq == reached->seq + 1 && view->balance == reached->balance;
    reached->seq = view->seq;
    reached->held = view->held;
    if (statement->options->output == OUTPUT_TABLE)
        print_entry(view);
    else if (!print_entry_json(statement, view))
        return false;
    statement->entries++;
    return true;
}

/* Oldest first, up to the closing one: what came since is not part of it. */
static bool add_entries(struct statement *statement, enum exit_code *code)
{
    struct command command = {
        .type = COMMAND_LIST_TRANSACTIONS,
        .account = statement->account,
        .page = {.limit = PAGE_ENTRIES_MAX, .from_us = statement->from_us, .ascending = true}};
    struct reply reply;

    while (statement->reached.seq < statement->closing.seq) {
        if (!ask(statement, &command, RESULT_APPLIED, &reply, code)) return false;
        for (uint32_t i = 0; reply.history != NULL && i < reply.history->count; i++) {
            const struct entry_view *view = &reply.history->entries[i];
            if (view->seq > statement->closing.seq) return true;
            if (!add_entry(statement, view)) return false;
        }
        if (reply.history == NULL || uuid_is_zero(&reply.history->cursor)) return true;
        command.page.cursor = reply.history->cursor;
    }
    return true;
}

static enum exit_code print_end(struct statement *statement)
{
    const struct balance *closing = &statement->closing, *reached = &statement->reached;

    statement->adds_up &= closing->balance == reached->balance && closing->held == reached->held &&
                          closing->seq == reached->seq;
    if (statement->options->output == OUTPUT_JSON) printf("],");
    print_balance(statement, "closing", closing);
    if (statement->options->output == OUTPUT_JSON)
        printf(",\"adds_up\":%s}\n", statement->adds_up ? "true" : "false");
    else
        printf("(in minor units of %s)\n", statement->asset);
    if (statement->adds_up) return EXIT_DONE;
    return complain(EXIT_FAILED,
                    "opening balance and entries come to %" PRId64 " at %" PRId64
                    ", the closing balance is %" PRId64 " at %" PRId64,
                    reached->balance, reached->seq, closing->balance, closing->seq);
}

static enum exit_code make(struct statement *statement)
{
    enum exit_code code;

    if (!ask_balance(statement, statement->until_us, RESULT_APPLIED, &statement->closing, &code))
        return code;
    if (statement->from_us != 0 &&
        !ask_balance(statement, statement->from_us, RESULT_ACCOUNT_NOT_FOUND, &statement->opening,
                     &code))
        return code;
    statement->reached = statement->opening;
    statement->adds_up = true;
    print_begin(statement);
    if (!add_entries(statement, &code)) return code != EXIT_DONE ? code : EXIT_FAILED;
    return print_end(statement);
}

enum exit_code run_statement(const struct options *options, const char *verb, char **arguments)
{
    struct statement statement = {.options = options, .account = text_of(arguments[0])};
    struct ledger_client_options client_options = {
        .url = options->amqp_url,
        .prefix = options->prefix,
        .app_id = options->app_id,
        .user_id = options->user_id[0] != '\0' ? options->user_id : NULL};
    struct err err = {0};
    enum exit_code code = parse_time("--from", options->from, &statement.from_us);

    (void)verb;
    if (code == EXIT_DONE) code = parse_time("--to", options->to, &statement.until_us);
    if (code != EXIT_DONE) return code;
    if (statement.until_us != 0 && statement.until_us < statement.from_us)
        return complain(EXIT_USAGE, "--to is before --from");
    if (!ledger_client_open(&statement.client, &client_options, &err) ||
        !arena_open(&statement.arena, 1 << 20, &err))
        code = complain_err(&err);
    else
        code = make(&statement);
    arena_close(&statement.arena);
    ledger_client_close(statement.client);
    return code;
}
