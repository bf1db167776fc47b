/*
 * policy_pg.c - see policy_pg.h. Every change of a rule changes the version: a trigger does, so
 * that no change by hand is missed. It is read before the rules, so that rules which change in
 * between are read once more.
 */
#include "ledger/policy_pg.h"

#include "base/query_pg.h"

#include <assert.h>
#include <stdlib.h>

enum { ARENA_SIZE = 4 << 20 };

static const struct statement state = {"policy_state", "SELECT version, enabled FROM policy"};
static const struct statement rules = {
    "policy_rules", "SELECT id, CASE WHEN caller = '*' THEN '' ELSE caller END,"
                    "       array_to_string(commands, ','), account, asset, max_amount, daily_limit"
                    "  FROM policy_rule"
                    " ORDER BY CASE WHEN caller = '*' THEN '' ELSE caller END COLLATE \"C\", id"};

enum rule_column {
    RULE_ID,
    RULE_CALLER,
    RULE_COMMANDS,
    RULE_ACCOUNT,
    RULE_ASSET,
    RULE_MAX_AMOUNT,
    RULE_DAILY_LIMIT,
    RULE_NOTE,
    RULE_SCALE,
};

bool policy_cache_open(struct policy_cache *cache, struct err *err)
{
    *cache = (struct policy_cache){0};
    return arena_open(&cache->arena, ARENA_SIZE, err);
}

void policy_cache_close(struct policy_cache *cache)
{
    arena_close(&cache->arena);
}

const struct policy *policy_cache_rules(const struct policy_cache *cache)
{
    return cache->known && cache->enabled ? &cache->policy : NULL;
}

static int64_t limit_of(const PGresult *rows, int row, int column)
{
    return cell_is_null(rows, row, column) ? NO_LIMIT : cell_int64(rows, row, column);
}

/* Commands that this program does not know are none that it could be asked for. */
static uint64_t commands_of(struct text words)
{
    uint64_t known = 0, one;

    if (policy_parse_commands(words, &known)) return known;
    known = 0;
    while (words.length > 0) {
        struct text word = {words.bytes, 0};
        while (word.length < words.length && words.bytes[word.length] != ',') word.length++;
        if (policy_parse_commands(word, &one)) known |= one;
        uint32_t taken = word.length + (word.length < words.length);
        words = (struct text){words.bytes + taken, words.length - taken};
    }
    return known;
}

static bool fill_rule(struct policy_cache *cache, const PGresult *rows, int row, struct rule *rule)
{
    struct text account = arena_text(&cache->arena, cell_text(rows, row, RULE_ACCOUNT));

    *rule = (struct rule){.id = cell_int64(rows, row, RULE_ID),
                          .caller = arena_text(&cache->arena, cell_text(rows, row, RULE_CALLER)),
                          .commands = commands_of(cell_text(rows, row, RULE_COMMANDS)),
                          .asset = arena_text(&cache->arena, cell_text(rows, row, RULE_ASSET)),
                          .max_amount = limit_of(rows, row, RULE_MAX_AMOUNT),
                          .daily_limit = limit_of(rows, row, RULE_DAILY_LIMIT)};
    return rule->caller.bytes != NULL && rule->asset.bytes != NULL && account.bytes != NULL &&
           policy_parse_account(account, rule);
}

static bool fill_rules(struct policy_cache *cache, const PGresult *rows, struct err *err)
{
    uint32_t count = (uint32_t)PQntuples(rows);
    struct policy policy = {.rules_count = count};

    arena_reset(&cache->arena);
    struct rule *list = arena_take(&cache->arena, (count + 1U) * sizeof *list);
    if (count > RULES_MAX || list == NULL)
        return err_set(err, ERR_FATAL, "could not read the policy: %u rules; at most %d fit", count,
                       RULES_MAX);
    for (uint32_t i = 0; i < count; i++) {
        if (!fill_rule(cache, rows, (int)i, &list[i]))
            return err_set(err, ERR_FATAL, "could not read the policy: rule %jd is not understood",
                           (intmax_t)cell_int64(rows, (int)i, RULE_ID));
        policy.has_daily_limits |= list[i].daily_limit != NO_LIMIT;
        if (i > 0) assert(text_compare(list[i - 1].caller, list[i].caller) <= 0);
    }
    policy.rules = list;
    cache->policy = policy;
    return true;
}

static bool read_rules(struct policy_cache *cache, struct db *db, struct err *err)
{
    PGresult *rows;

    if (!query_one(db, &rules, NULL, 0, &rows, err)) return false;
    bool ok = fill_rules(cache, rows, err);
    PQclear(rows);
    return ok;
}

bool policy_cache_read(struct policy_cache *cache, struct db *db, struct err *err)
{
    PGresult *row;

    if (!query_one(db, &state, NULL, 0, &row, err)) return false;
    bool is_there = PQntuples(row) == 1;
    int64_t version = is_there ? cell_int64(row, 0, 0) : 0;
    bool enabled = is_there && cell_bool(row, 0, 1);
    PQclear(row);
    if (!is_there) return err_set(err, ERR_FATAL, "could not read the policy: its row is gone");
    if (!cache->known || version != cache->version) {
        cache->known = false;
        if (!read_rules(cache, db, err)) return false;
    }
    cache->version = version;
    cache->enabled = enabled;
    cache->known = true;
    return true;
}

/* --- for the owner ----------------------------------------------------------------------- */

static const struct statement list_rules = {
    "policy_list",
    "SELECT id, caller, array_to_string(commands, ','), account, policy_rule.asset,"
    "       max_amount, daily_limit, note, coalesce(scale, 0::int2)"
    "  FROM policy_rule LEFT JOIN asset ON asset.code = policy_rule.asset ORDER BY id"};
static const struct statement take_turns = {"policy_lock",
                                            "LOCK TABLE policy_rule IN SHARE ROW EXCLUSIVE MODE"};
static const struct statement begin = {"policy_begin", "BEGIN"};
static const struct statement commit = {"policy_commit", "COMMIT"};
static const struct statement insert_rule = {
    "policy_allow",
    "INSERT INTO policy_rule (caller, commands, account, asset, max_amount, daily_limit, note)"
    " SELECT $1::text, string_to_array($2::text, ','), $3::text, nullif($4::text, ''), $5::int8,"
    "        $6::int8, nullif($7::text, '')"
    "  WHERE (SELECT count(*) FROM policy_rule) < 4096"
    "    AND ($4::text = '' OR EXISTS (SELECT FROM asset WHERE code = $4::text))"
    " RETURNING id"};
_Static_assert(RULES_MAX == 4096, "as it says");
static const struct statement delete_rule = {"policy_remove",
                                             "DELETE FROM policy_rule WHERE id = $1::int8"};
static const struct statement set_enabled = {
    "policy_enable", "UPDATE policy SET enabled = $1::bool, version = version + 1"
                     " WHERE NOT $1::bool OR EXISTS (SELECT FROM policy_rule)"};
static const struct statement find_asset = {
    "policy_asset",
    "SELECT code, scale FROM asset"
    " WHERE code = coalesce(nullif($2::text, ''),"
    "                       (SELECT asset FROM account WHERE id = $1::text LIMIT 1))"};
static const struct statement usages_today = {
    "policy_usages", "SELECT rule, used FROM policy_usage"
                     " WHERE day = (now() AT TIME ZONE 'UTC')::date AND caller = $1::text"
                     " ORDER BY rule"};

static struct param text_param(struct text text)
{
    return (struct param){text.length == 0 ? "" : text.bytes, text.length};
}

/* NULL: there is no limit. */
static struct param limit_param(int64_t limit, uint8_t binary[static 8])
{
    struct writer writer = writer_over(binary, 8);

    if (limit == NO_LIMIT) return (struct param){NULL, 0};
    write_u64(&writer, (uint64_t)limit);
    return (struct param){binary, 8};
}

bool policy_list(struct db *db, void (*each)(void *context, const struct rule_text *rule),
                 void *context, struct err *err)
{
    PGresult *rows;

    if (!query_one(db, &list_rules, NULL, 0, &rows, err)) return false;
    for (int row = 0; row < PQntuples(rows); row++) {
        const struct rule_text rule = {.id = cell_int64(rows, row, RULE_ID),
                                       .caller = cell_text(rows, row, RULE_CALLER),
                                       .commands = cell_text(rows, row, RULE_COMMANDS),
                                       .account = cell_text(rows, row, RULE_ACCOUNT),
                                       .asset = cell_text(rows, row, RULE_ASSET),
                                       .note = cell_text(rows, row, RULE_NOTE),
                                       .max_amount = limit_of(rows, row, RULE_MAX_AMOUNT),
                                       .daily_limit = limit_of(rows, row, RULE_DAILY_LIMIT),
                                       .scale = (uint8_t)cell_int16(rows, row, RULE_SCALE)};
        each(context, &rule);
    }
    PQclear(rows);
    return true;
}

bool policy_allow(struct db *db, const struct rule_text *rule, int64_t *id, struct err *err)
{
    uint8_t most[8], daily[8];
    const struct param params[] = {text_param(rule->caller),
                                   text_param(rule->commands),
                                   text_param(rule->account),
                                   text_param(rule->asset),
                                   limit_param(rule->max_amount, most),
                                   limit_param(rule->daily_limit, daily),
                                   text_param(rule->note)};
    PGresult *rows = NULL;

    bool ok = query_send(db, &begin, NULL, 0, err) && query_send(db, &take_turns, NULL, 0, err) &&
              query_send(db, &insert_rule, params, 7, err) &&
              query_send(db, &commit, NULL, 0, err) && query_sync(db, err) &&
              query_done_rows(db, NULL, err) && query_done_rows(db, NULL, err) &&
              query_next(db, &rows, err) && query_done_rows(db, NULL, err) && query_done(db, err);
    if (!ok) query_abandon(db);
    if (ok && PQntuples(rows) == 0)
        ok = err_set(err, ERR_REJECT,
                     "could not add the rule: no such asset, or there are %d rules", RULES_MAX);
    if (ok) *id = cell_int64(rows, 0, 0);
    PQclear(rows); /* NULL is fine */
    return ok;
}

/* One statement; *changed is the number of rows it touched. */
static bool change(struct db *db, const struct statement *statement, struct param param,
                   uint64_t *changed, struct err *err)
{
    bool ok = query_send(db, statement, &param, 1, err) && query_sync(db, err) &&
              query_done_rows(db, changed, err) && query_done(db, err);
    if (!ok) query_abandon(db);
    return ok;
}

bool policy_remove(struct db *db, int64_t id, bool *found, struct err *err)
{
    uint8_t binary[8];
    uint64_t changed = 0;

    if (!change(db, &delete_rule, limit_param(id, binary), &changed, err)) return false;
    *found = changed > 0;
    return true;
}

bool policy_enable(struct db *db, bool enabled, struct err *err)
{
    const uint8_t binary = enabled;
    uint64_t changed = 0;

    if (!change(db, &set_enabled, (struct param){&binary, 1}, &changed, err)) return false;
    return changed > 0 || err_set(err, ERR_REJECT,
                                  "could not enable the policy: without a rule it would forbid "
                                  "everything");
}

bool policy_find_asset(struct db *db, struct text account, struct text asset, bool *found,
                       char code[static ASSET_LENGTH_MAX + 1], uint8_t *scale, struct err *err)
{
    const struct param params[] = {text_param(account), text_param(asset)};
    PGresult *rows;

    code[0] = '\0';
    if (!query_one(db, &find_asset, params, 2, &rows, err)) return false;
    *found = PQntuples(rows) == 1 && text_copy(cell_text(rows, 0, 0), code, ASSET_LENGTH_MAX + 1);
    if (*found) *scale = (uint8_t)cell_int16(rows, 0, 1);
    PQclear(rows);
    return true;
}

bool policy_usages(struct db *db, const struct policy *policy, const struct wish *wish,
                   struct arena *arena, struct usage **out, uint32_t *count, struct err *err)
{
    const struct param param = text_param(wish->caller);
    const struct rule *rule;
    PGresult *rows;

    *count = 0;
    *out = arena_take(arena, RULES_MAX * sizeof **out);
    if (*out == NULL)
        return err_set(err, ERR_FATAL, "could not read daily limits: no memory is left");
    for (; (rule = policy_limited(policy, wish, *count)) != NULL; ++*count)
        (*out)[*count] = (struct usage){.rule = rule->id, .caller = wish->caller};
    qsort(*out, *count, sizeof **out, usage_compare);
    if (!query_one(db, &usages_today, &param, 1, &rows, err)) return false;
    for (int row = 0; *count > 0 && row < PQntuples(rows); row++) {
        struct usage key = {.rule = cell_int64(rows, row, 0), .caller = wish->caller};
        struct usage *usage = bsearch(&key, *out, *count, sizeof **out, usage_compare);
        if (usage != NULL) usage->used = cell_int64(rows, row, 1);
    }
    PQclear(rows);
    return true;
}
