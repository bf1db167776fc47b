/*
 * checker_report.c - counts breaches and prints the first of each promise with what shows them. The
 * history is searched for each again: they are few, so no index is kept for it.
 */
#include "tests/chaos/checker_internal.h"

#include <inttypes.h>
#include <stdarg.h>

enum {
    BREACHES_SHOWN = 3, /* of each promise */
    RECORDS_SHOWN = 4,  /* of one account, before the breach */
    NAME_SIZE = 24,
};

struct excerpt show_nothing(void)
{
    return (struct excerpt){.what = SHOW_NOTHING};
}

struct excerpt show_key(uint32_t key, uint32_t replies_end, uint32_t events_end)
{
    return (struct excerpt){
        .what = SHOW_KEY, .key = key, .replies_end = replies_end, .events_end = events_end};
}

struct excerpt show_order(uint32_t key, uint32_t overtaken_by)
{
    return (struct excerpt){.what = SHOW_ORDER, .key = key, .other_key = overtaken_by};
}

struct excerpt show_steps(int32_t account, const struct step *steps, uint32_t count)
{
    return (struct excerpt){
        .what = SHOW_STEPS, .account = account, .steps = steps, .steps_count = count};
}

struct excerpt show_events(int32_t account, uint32_t events_end)
{
    return (struct excerpt){.what = SHOW_EVENTS, .account = account, .events_end = events_end};
}

/* --- one record a line ------------------------------------------------------------------- */

struct name {
    char text[NAME_SIZE];
};

static struct name account_name(int32_t account)
{
    struct name name = {.text = "world"};

    if (account != NO_ACCOUNT)
        (void)snprintf(name.text, sizeof name.text, "account-%" PRId32, account);
    return name;
}

static const char *outcome_word(enum result result)
{
    return result == RESULT_APPLIED ? "applied" : result_word(result);
}

static void print_sent(FILE *out, uint32_t number, const struct sent *sent)
{
    static const char *const kinds[] = {[SENT_FIRST] = "",
                                        [SENT_REPEAT] = "again, ",
                                        [SENT_OTHER_PAYLOAD] = "another payload, ",
                                        [SENT_MALFORMED] = "malformed, "};

    (void)fprintf(out, "    message %" PRIu32 ": key-%" PRIu32 ", %s", number, sent->key,
                  kinds[sent->kind]);
    if (sent->kind != SENT_MALFORMED)
        (void)fprintf(out, "%s %" PRId64 ", %s to %s, ", command_word(sent->type), sent->amount,
                      account_name(sent->debit).text, account_name(sent->credit).text);
    (void)fprintf(out, "sent at %" PRIu64 " ms, ", sent->sent_ms);
    if (sent->confirmed)
        (void)fprintf(out, "confirmed at %" PRIu64 " ms\n", sent->confirmed_ms);
    else
        (void)fputs("not confirmed\n", out);
}

static void print_transaction(FILE *out, const struct uuid *transaction)
{
    char text[UUID_TEXT_SIZE];

    if (uuid_is_zero(transaction)) return;
    uuid_format(transaction, text);
    (void)fprintf(out, ", transaction %s", text);
}

static void print_reply(FILE *out, const struct reply_seen *reply)
{
    (void)fprintf(out, "    reply to message %" PRIu32 ": %s%s", reply->message,
                  outcome_word(reply->result), reply->replayed ? ", replayed" : "");
    print_transaction(out, &reply->transaction);
    (void)fputc('\n', out);
}

static void print_event(FILE *out, uint32_t number, const struct event_seen *event)
{
    (void)fprintf(out, "    event %" PRIu32 ": key-%" PRIu32 ", ", number, event->key);
    if (event->kind == EVENT_SEEN_REJECTED)
        (void)fprintf(out, "refused %s", outcome_word(event->result));
    else if (event->kind == EVENT_SEEN_OPENED)
        (void)fprintf(out, "%s opened", account_name(event->account).text);
    else
        (void)fprintf(out, "%s seq %" PRId64 ", by %" PRId64 " to %" PRId64,
                      account_name(event->account).text, event->seq, event->amount, event->balance);
    (void)fprintf(out, ", message_id %016" PRIx64, event->message_id);
    print_transaction(out, &event->transaction);
    (void)fputc('\n', out);
}

static void print_side(FILE *out, const char *word, int32_t account, int64_t seq, int64_t balance)
{
    if (account == NO_ACCOUNT && seq == 0) return;
    (void)fprintf(out, ", %s %s", word, account_name(account).text);
    if (seq != 0) (void)fprintf(out, " to %" PRId64 " seq %" PRId64, balance, seq);
}

static void print_row(FILE *out, const struct journal_row *row)
{
    (void)fprintf(out, "    journal: key-%" PRIu32 ", %s %" PRId64 ", %s", row->key,
                  command_word(row->type), row->amount, outcome_word(row->result));
    print_side(out, "debits", row->debit, row->debit_seq, row->debit_balance);
    print_side(out, "credits", row->credit, row->credit_seq, row->credit_balance);
    print_transaction(out, &row->id);
    (void)fprintf(out, ", decided at %" PRId64 " us\n", row->created_us);
}

static void print_dead_letter(FILE *out, const struct dead_letter_seen *letter)
{
    (void)fprintf(out, "    dead letter: message %" PRIu32 ", %.*s\n", letter->message,
                  (int)sizeof letter->reason, letter->reason);
}

/* --- excerpts ---------------------------------------------------------------------------- */

static bool is_of_key(const struct history *history, uint32_t message, uint32_t key)
{
    return message < history->sent_count && history->sent[message].key == key;
}

static void print_key(const struct checker *checker, const struct excerpt *excerpt)
{
    const struct history *history = checker->history;
    uint32_t key = excerpt->key;

    for (uint32_t i = 0; i < history->sent_count; i++)
        if (history->sent[i].key == key) print_sent(checker->out, i, &history->sent[i]);
    for (uint32_t i = 0; i < history->journal_count; i++)
        if (history->journal[i].key == key) print_row(checker->out, &history->journal[i]);
    for (uint32_t i = 0; i < history->replies_count && i < excerpt->replies_end; i++)
        if (is_of_key(history, history->replies[i].message, key))
            print_reply(checker->out, &history->replies[i]);
    for (uint32_t i = 0; i < history->events_count && i < excerpt->events_end; i++)
        if (history->events[i].key == key) print_event(checker->out, i, &history->events[i]);
    for (uint32_t i = 0; i < history->dead_letters_count; i++)
        if (is_of_key(history, history->dead_letters[i].message, key))
            print_dead_letter(checker->out, &history->dead_letters[i]);
}

static void print_left_out(FILE *out, uint32_t count)
{
    if (count > RECORDS_SHOWN)
        (void)fprintf(out, "    (%" PRIu32 " before)\n", count - RECORDS_SHOWN);
}

static void print_steps(const struct checker *checker, const struct excerpt *excerpt)
{
    const struct history *history = checker->history;
    uint32_t count = excerpt->steps_count;

    print_left_out(checker->out, count);
    for (uint32_t i = count > RECORDS_SHOWN ? count - RECORDS_SHOWN : 0; i < count; i++)
        print_row(checker->out, &history->journal[excerpt->steps[i].row]);
    for (uint32_t i = 0; i < history->rows_count; i++)
        if (history->rows[i].account == excerpt->account)
            (void)fprintf(checker->out, "    row of %s: balance %" PRId64 ", seq %" PRId64 "\n",
                          account_name(excerpt->account).text, history->rows[i].balance,
                          history->rows[i].seq);
}

static bool is_of_account(const struct event_seen *event, int32_t account)
{
    return event->kind != EVENT_SEEN_REJECTED && event->account == account;
}

static void print_events(const struct checker *checker, const struct excerpt *excerpt)
{
    const struct history *history = checker->history;
    uint32_t count = 0, seen = 0;

    for (uint32_t i = 0; i < excerpt->events_end; i++)
        count += is_of_account(&history->events[i], excerpt->account);
    print_left_out(checker->out, count);
    for (uint32_t i = 0; i < excerpt->events_end; i++) {
        if (!is_of_account(&history->events[i], excerpt->account)) continue;
        if (count - seen++ <= RECORDS_SHOWN) print_event(checker->out, i, &history->events[i]);
    }
}

void breach(struct checker *checker, enum promise promise, struct excerpt excerpt,
            const char *format, ...)
{
    va_list arguments;

    checker->findings->total++;
    if (checker->findings->count[promise]++ >= BREACHES_SHOWN) return;
    (void)fprintf(checker->out, "%s: ", promise_word(promise));
    va_start(arguments, format);
    (void)vfprintf(checker->out, format, arguments);
    va_end(arguments);
    (void)fputc('\n', checker->out);
    if (excerpt.what == SHOW_KEY || excerpt.what == SHOW_ORDER) print_key(checker, &excerpt);
    if (excerpt.what == SHOW_ORDER) {
        excerpt.key = excerpt.other_key;
        print_key(checker, &excerpt);
    }
    if (excerpt.what == SHOW_STEPS) print_steps(checker, &excerpt);
    if (excerpt.what == SHOW_EVENTS) print_events(checker, &excerpt);
}
