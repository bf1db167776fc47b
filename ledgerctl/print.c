/*
 * print.c - a reply for a person, or as the JSON that came over the wire.
 */
#include "base/clock.h"
#include "ledgerctl/ledgerctl.h"

#include <inttypes.h>
#include <stdio.h>

static void line(const char *label, struct text value)
{
    if (value.length > 0) printf("%-12s %.*s\n", label, TEXT_ARGS(value));
}

static void line_time(const char *label, int64_t wall_us)
{
    char text[TIME_TEXT_SIZE];

    time_format(wall_us, text);
    line(label, text_of(text));
}

static void line_metadata(struct bytes metadata)
{
    struct arena arena;
    struct err err = {0};
    struct bytes json;

    if (metadata.size == 0 || !arena_open(&arena, 1 << 20, &err)) return;
    if (msgpack_to_json(metadata, &arena, &json))
        line("metadata", (struct text){(const char *)json.data, json.size});
    arena_close(&arena);
}

static void print_balances(const struct reply *reply)
{
    if (reply->balances_count == 0) return;
    printf("\n%-24s %-6s %20s %20s %20s %10s\n", "ACCOUNT", "ASSET", "BALANCE", "HELD", "AVAILABLE",
           "SEQ");
    for (uint32_t i = 0; i < reply->balances_count; i++) {
        const struct balance_view *view = &reply->balances[i];
        printf("%-24.*s %-6.*s %20" PRId64 " %20" PRId64 " %20" PRId64 " ",
               TEXT_ARGS(view->account), TEXT_ARGS(view->asset), view->balance, view->held,
               view->balance - view->held);
        if (view->has_seq) printf("%10" PRId64 "\n", view->seq);
        if (!view->has_seq) printf("%10s\n", "-");
    }
    printf("(in minor units, such as cents)\n");
}

static void line_uuid(const char *label, const struct uuid *id)
{
    char text[UUID_TEXT_SIZE];

    if (uuid_is_zero(id)) return;
    uuid_format(id, text);
    line(label, text_of(text));
}

/* Of a hold, a floor, and what refers to another transaction. */
static void print_target(const struct transaction_view *view)
{
    line_uuid(view->type == COMMAND_REVERSE ? "reverses" : "hold", &view->refers);
    line_uuid(view->type == COMMAND_HOLD ? "ended by" : "reversed by", &view->settled);
    if (view->type == COMMAND_SET_FLOOR)
        printf("%-12s %" PRId64 " (minor units)\n", "floor", view->floor);
    if (view->type != COMMAND_HOLD) return;
    printf("%-12s %" PRId64 " (minor units)\n", "remaining", view->remaining);
    if (view->expires_us != 0) line_time("expires", view->expires_us);
}

/* Of a command that was scheduled, and of what ended one. */
static void print_schedule(const struct transaction_view *view)
{
    line_uuid(view->type == COMMAND_CANCEL ? "cancels" : "scheduled as", &view->scheduled);
    if (view->scheduled_us == 0) return;
    line_time("due", view->scheduled_us);
    if (uuid_is_zero(&view->ended)) line("state", TEXT_LITERAL("pending"));
    line_uuid(view->cancelled ? "cancelled by" : "executed by", &view->ended);
    line("error", text_of(result_word(view->ended_result)));
}

static void print_found(const struct reply *reply)
{
    char id[UUID_TEXT_SIZE], trace[UUID_HEX_SIZE];

    if (reply->user != NULL) {
        line("user", reply->user->user_id);
        line("name", reply->user->name);
        line_time("created", reply->user->created_us);
        for (uint32_t i = 0; i < reply->user->accounts_count; i++)
            line("account", reply->user->accounts[i]);
        if (reply->user->more_accounts) line("account", TEXT_LITERAL("... and more"));
    }
    if (reply->account != NULL) {
        line("account", reply->account->account);
        line("user", reply->account->user_id);
        line("asset", reply->account->asset);
        line("kind", text_of(reply->account->kind == ACCOUNT_SYSTEM ? "system" : "user"));
        line_time("created", reply->account->created_us);
        if (reply->account->frozen != 0)
            line("frozen", text_of(direction_word(reply->account->frozen)));
        if (reply->account->closed) line("closed", TEXT_LITERAL("for ever"));
        if (reply->account->floor != 0)
            printf("%-12s %" PRId64 " (minor units)\n", "floor", reply->account->floor);
        line_metadata(reply->account->metadata);
    }
    if (reply->details != NULL) {
        uuid_format(&reply->details->transaction, id);
        uuid_format_hex(&reply->details->trace_id, trace);
        line("transaction", text_of(id));
        line("type", text_of(command_word(reply->details->type)));
        line("debit", reply->details->debit);
        line("credit", reply->details->credit);
        if (reply->details->amount > 0)
            printf("%-12s %" PRId64 " %.*s (minor units)\n", "amount", reply->details->amount,
                   TEXT_ARGS(reply->details->asset));
        if (reply->details->scheduled_us == 0) print_target(reply->details);
        print_schedule(reply->details);
        line_time("created", reply->details->created_us);
        line("trace", text_of(trace));
        line("key", reply->details->key);
        line_metadata(reply->details->metadata);
    }
}

void print_entries_head(void)
{
    printf("\n%8s %-27s %-16s %20s %20s %16s %-24s %s\n", "SEQ", "TIME", "TYPE", "AMOUNT",
           "BALANCE", "HELD", "COUNTERPARTY", "TRANSACTION");
}

/* The amount with its sign where money moved; else, in brackets, what was held or freed. */
void print_entry(const struct entry_view *view)
{
    char time[TIME_TEXT_SIZE], id[UUID_TEXT_SIZE], amount[32] = "-";

    time_format(view->timestamp_us, time);
    uuid_format(&view->transaction, id);
    if (view->amount != 0)
        (void)snprintf(amount, sizeof amount, view->moves ? "%s%" PRId64 : "(%s%" PRId64 ")",
                       view->moves ? view->is_credit ? "+" : "-" : "", view->amount);
    printf("%8" PRId64 " %-27s %-16s %20s %20" PRId64 " %16" PRId64 " %-24.*s %s\n", view->seq,
           time, command_word(view->type), amount, view->balance, view->held,
           TEXT_ARGS(view->moves ? view->counterparty : TEXT_LITERAL("-")), id);
}

static void print_history(const struct history_view *view)
{
    char cursor[UUID_HEX_SIZE];

    print_entries_head();
    for (uint32_t i = 0; i < view->count; i++) print_entry(&view->entries[i]);
    printf("(in minor units, such as cents)\n");
    if (uuid_is_zero(&view->cursor)) return;
    uuid_format_hex(&view->cursor, cursor);
    printf("there is more: --cursor %s\n", cursor);
}

static void print_results(const struct reply *reply)
{
    if (reply->legs_count == 0) return;
    printf("\n%-6s %-36s %-36s %s\n", "PLACE", "KEY", "TRANSACTION", "RESULT");
    for (uint32_t i = 0; i < reply->legs_count; i++) {
        const struct leg_view *leg = &reply->legs[i];
        char id[UUID_TEXT_SIZE] = "-";
        if (leg->reply->has_transaction) uuid_format(&leg->reply->transaction, id);
        printf("%-6u %-36.*s %-36s %s\n", i, TEXT_ARGS(leg->key), id,
               leg->reply->result == RESULT_APPLIED ? "applied" : result_word(leg->reply->result));
    }
}

static void print_table(const struct reply *reply)
{
    char trace[UUID_HEX_SIZE];

    printf("%-12s %s%s\n", "status", status_word(result_status(reply->result)),
           reply->replayed ? " (replayed: this key was decided before)" : "");
    line("error", text_of(result_error(reply->result)));
    if (result_error(reply->result)[0] != '\0')
        line("message",
             reply->message.length > 0 ? reply->message : text_of(result_sentence(reply->result)));
    if (reply->has_failed_leg)
        printf("%-12s command %u, counted from 0; nothing of the batch was done\n", "failed",
               reply->failed_leg);
    if (reply->dry_run) line("dry run", TEXT_LITERAL("nothing was done"));
    if (reply->has_transaction) line_uuid("transaction", &reply->transaction);
    if (reply->scheduled_us != 0) line_time("due", reply->scheduled_us);
    line_time("timestamp", reply->timestamp_us);
    uuid_format_hex(&reply->trace_id, trace);
    line("trace", text_of(trace));
    print_found(reply);
    if (reply->as_of != NULL) {
        line_time("as of", reply->as_of->timestamp_us);
        line_uuid("after", &reply->as_of->transaction);
    }
    print_balances(reply);
    if (reply->history != NULL) print_history(reply->history);
    print_results(reply);
}

void print_reply(const struct options *options, struct codec *codec, const struct reply *reply)
{
    struct arena arena;
    struct bytes json;
    struct err err = {0};

    if (options->output == OUTPUT_TABLE) {
        print_table(reply);
        return;
    }
    if (!arena_open(&arena, 8 << 20, &err)) return;
    if (reply_encode(codec, reply, ENCODING_JSON, &arena, &json))
        printf("%.*s\n", (int)json.size, (const char *)json.data);
    arena_close(&arena);
}
