/*
 * filter.c - see filter.h.
 */
#include "dlq/filter.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { AGE_DAYS_MAX = 3650 };
static const int64_t SECOND_US = 1000000;

static bool is_wanted(const char *wanted, struct text given)
{
    return wanted == NULL || text_equal(text_of(wanted), given);
}

static bool has_id(const struct filter *filter, const char *id)
{
    for (uint32_t i = 0; i < filter->ids_count; i++)
        if (strcmp(filter->ids[i], id) == 0) return true;
    return filter->ids_count == 0;
}

/* An unknown time is neither old nor new. */
static bool has_age(const struct filter *filter, const struct letter *letter, int64_t now_us)
{
    int64_t age_us = now_us - letter->last_death_us;

    if (filter->older_us == 0 && filter->newer_us == 0) return true;
    if (letter->last_death_us == 0) return false;
    if (filter->older_us > 0 && age_us < filter->older_us) return false;
    return filter->newer_us == 0 || age_us <= filter->newer_us;
}

bool filter_matches(const struct filter *filter, const struct letter *letter, int64_t now_us)
{
    return has_id(filter, letter->id) && is_wanted(filter->reason, letter->reason) &&
           is_wanted(filter->command, letter->type) &&
           (is_wanted(filter->account, letter->account) ||
            is_wanted(filter->account, letter->other_account)) &&
           is_wanted(filter->caller, letter->caller) && is_wanted(filter->key, letter->key) &&
           is_wanted(filter->trace_id, letter->trace_id) && has_age(filter, letter, now_us);
}

bool filter_age(const char *text, int64_t *out_us)
{
    static const struct {
        char unit;
        int64_t seconds;
    } units[] = {{'s', 1}, {'m', 60}, {'h', 3600}, {'d', 86400}};
    char *end;

    if (text[0] < '0' || text[0] > '9') return false;
    unsigned long number = strtoul(text, &end, 10);
    if (number == 0 || number > (unsigned long)AGE_DAYS_MAX * 86400) return false;
    for (size_t i = 0; i < sizeof units / sizeof units[0]; i++) {
        if (end[0] != units[i].unit || end[1] != '\0') continue;
        int64_t seconds = (int64_t)number * units[i].seconds;
        *out_us = seconds * SECOND_US;
        return seconds <= (int64_t)AGE_DAYS_MAX * 86400;
    }
    return false;
}

struct sentence {
    char *text;
    size_t used;
};

static void add(struct sentence *sentence, const char *name, const char *value)
{
    int written;

    if (value == NULL || sentence->used >= FILTER_TEXT_SIZE) return;
    written = snprintf(sentence->text + sentence->used, FILTER_TEXT_SIZE - sentence->used,
                       "%s%s=%s", sentence->used > 0 ? " " : "", name, value);
    sentence->used += written > 0 ? (size_t)written : 0;
}

static void add_age(struct sentence *sentence, const char *name, int64_t age_us)
{
    char value[32];

    if (age_us == 0) return;
    (void)snprintf(value, sizeof value, "%llds", (long long)(age_us / SECOND_US));
    add(sentence, name, value);
}

/* Between two characters: what is recorded must be text. */
static void cut(char text[static FILTER_TEXT_SIZE])
{
    size_t at = FILTER_TEXT_SIZE - 4;

    for (int back = 0; back < 3 && ((uint8_t)text[at] & 0xc0) == 0x80; back++) at--;
    memcpy(text + at, "...", 4);
}

void filter_text(const struct filter *filter, char out[static FILTER_TEXT_SIZE])
{
    struct sentence sentence = {out, 0};

    out[0] = '\0';
    for (uint32_t i = 0; i < filter->ids_count; i++) add(&sentence, "id", filter->ids[i]);
    add(&sentence, "reason", filter->reason);
    add(&sentence, "command", filter->command);
    add(&sentence, "account", filter->account);
    add(&sentence, "caller", filter->caller);
    add(&sentence, "key", filter->key);
    add(&sentence, "trace-id", filter->trace_id);
    add_age(&sentence, "older", filter->older_us);
    add_age(&sentence, "newer", filter->newer_us);
    if (sentence.used >= FILTER_TEXT_SIZE) cut(out);
}
