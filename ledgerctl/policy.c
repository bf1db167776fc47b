/*
 * policy.c - the verb that says who may do what, see docs/operations.md. A table of verbs of its
 * own.
 */
#include "ledger/migrate_pg.h"
#include "ledger/policy_pg.h"
#include "ledgerctl/ledgerctl.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ARENA_SIZE = 4 << 20, ARGUMENTS_MAX = 4 };

static json_t *json_of(struct text text)
{
    return json_stringn(text.bytes == NULL ? "" : text.bytes, text.length);
}

static void print_json(json_t *json)
{
    char *text = json_dumps(json, JSON_COMPACT);

    if (text != NULL) printf("%s\n", text);
    free(text);
    json_decref(json);
}

/* --- list -------------------------------------------------------------------------------- */

static json_t *json_rule(const struct rule_text *rule)
{
    json_t *json = json_object();

    (void)json_object_set_new(json, "rule", json_integer(rule->id));
    (void)json_object_set_new(json, "caller", json_of(rule->caller));
    (void)json_object_set_new(json, "commands", json_of(rule->commands));
    (void)json_object_set_new(json, "account", json_of(rule->account));
    if (rule->asset.length > 0) (void)json_object_set_new(json, "asset", json_of(rule->asset));
    if (rule->max_amount != NO_LIMIT)
        (void)json_object_set_new(json, "max_amount", json_integer(rule->max_amount));
    if (rule->daily_limit != NO_LIMIT)
        (void)json_object_set_new(json, "daily_limit", json_integer(rule->daily_limit));
    if (rule->note.length > 0) (void)json_object_set_new(json, "note", json_of(rule->note));
    return json;
}

static void add_json_rule(void *context, const struct rule_text *rule)
{
    (void)json_array_append_new(context, json_rule(rule));
}

static const char *format_limit(int64_t limit, uint8_t scale, char text[static AMOUNT_TEXT_SIZE])
{
    if (limit == NO_LIMIT) return "-";
    amount_format(limit, scale, text);
    return text;
}

static void print_rule(void *context, const struct rule_text *rule)
{
    char most[AMOUNT_TEXT_SIZE], daily[AMOUNT_TEXT_SIZE];
    struct text asset = rule->asset.length > 0 ? rule->asset : TEXT_LITERAL("*");

    (void)context;
    printf("%5jd  %-16.*s %-20.*s %-12.*s %14s %14s  %.*s%s%.*s\n", (intmax_t)rule->id,
           TEXT_ARGS(rule->caller), TEXT_ARGS(rule->account), TEXT_ARGS(asset),
           format_limit(rule->max_amount, rule->scale, most),
           format_limit(rule->daily_limit, rule->scale, daily), TEXT_ARGS(rule->commands),
           rule->note.length > 0 ? "  # " : "", TEXT_ARGS(rule->note));
}

static enum exit_code list(const struct options *options, struct db *db,
                           const struct policy_cache *cache, char **arguments)
{
    struct err err = {0};

    (void)arguments;
    if (options->output == OUTPUT_JSON) {
        json_t *json = json_object(), *rules = json_array();
        bool ok = policy_list(db, add_json_rule, rules, &err);
        (void)json_object_set_new(json, "enabled", json_boolean(cache->enabled));
        (void)json_object_set_new(json, "rules", rules);
        print_json(json);
        return ok ? EXIT_DONE : complain_err(&err);
    }
    printf("the policy is %s\n",
           cache->enabled ? "on: what no rule allows is forbidden" : "off: everything is allowed");
    printf("%5s  %-16s %-20s %-12s %14s %14s  %s\n", "RULE", "CALLER", "ACCOUNT", "ASSET",
           "A COMMAND", "A DAY", "COMMANDS");
    return policy_list(db, print_rule, NULL, &err) ? EXIT_DONE : complain_err(&err);
}

/* --- allow, remove, enable, disable ------------------------------------------------------ */

/* In the asset's minor units. */
static enum exit_code parse_limit(const struct options *options, const char *text, uint8_t scale,
                                  int64_t *out)
{
    struct amount amount;

    *out = NO_LIMIT;
    if (text == NULL) return EXIT_DONE;
    enum exit_code code = parse_amount(options, text, &amount);
    if (code != EXIT_DONE) return code;
    if (amount_to_minor(&amount, scale, out) && *out > 0 && *out < NO_LIMIT) return EXIT_DONE;
    return complain(EXIT_USAGE, "'%s' is not an amount above zero that fits the asset", text);
}

static enum exit_code parse_rule(char **arguments, struct rule_text *rule)
{
    struct rule parsed;
    uint64_t commands;

    rule->caller = text_of(arguments[0]);
    rule->commands = text_of(arguments[1]);
    rule->account = text_of(arguments[2]);
    if (rule->caller.length < 1 || rule->caller.length > 255 || !utf8_is_valid(rule->caller))
        return complain(EXIT_USAGE, "CALLER is a user_id of 1 to 255 bytes, or * for any");
    if (!policy_parse_commands(rule->commands, &commands))
        return complain(EXIT_USAGE, "'%s' are not commands: deposit,transfer,... or *",
                        arguments[1]);
    if (!policy_parse_account(rule->account, &parsed))
        return complain(EXIT_USAGE, "'%s' is neither an account nor the beginning of some: shop:*",
                        arguments[2]);
    return EXIT_DONE;
}

static enum exit_code allow(const struct options *options, struct db *db,
                            const struct policy_cache *cache, char **arguments)
{
    struct rule_text rule = {.asset = text_of(options->asset), .note = text_of(options->note)};
    bool is_limited = options->max_amount != NULL || options->daily_limit != NULL, found = true;
    char code[ASSET_LENGTH_MAX + 1];
    struct err err = {0};

    (void)cache;
    if (parse_rule(arguments, &rule) != EXIT_DONE) return EXIT_USAGE;
    if (is_limited && rule.asset.length == 0)
        return complain(EXIT_USAGE, "a limit needs --asset: amounts of several do not add up");
    if (rule.asset.length > 0 &&
        !policy_find_asset(db, (struct text){0}, rule.asset, &found, code, &rule.scale, &err))
        return complain_err(&err);
    if (!found) return complain(EXIT_USAGE, "no asset %s is registered", options->asset);
    if (parse_limit(options, options->max_amount, rule.scale, &rule.max_amount) != EXIT_DONE ||
        parse_limit(options, options->daily_limit, rule.scale, &rule.daily_limit) != EXIT_DONE)
        return EXIT_USAGE;
    if (!policy_allow(db, &rule, &rule.id, &err)) return complain_err(&err);
    if (options->output == OUTPUT_JSON)
        print_json(json_rule(&rule));
    else
        printf("rule %" PRId64 " is there\n", rule.id);
    return EXIT_DONE;
}

static enum exit_code remove_rule(const struct options *options, struct db *db,
                                  const struct policy_cache *cache, char **arguments)
{
    struct err err = {0};
    bool found = false;
    int64_t id;

    (void)options;
    (void)cache;
    if (parse_number("RULE", arguments[0], 1, INT64_MAX - 1, &id) != EXIT_DONE) return EXIT_USAGE;
    if (!policy_remove(db, id, &found, &err)) return complain_err(&err);
    if (!found) return complain(EXIT_FAILED, "there is no rule %s", arguments[0]);
    if (options->output == OUTPUT_TABLE) printf("rule %s is gone\n", arguments[0]);
    return EXIT_DONE;
}

static enum exit_code turn(const struct options *options, struct db *db, bool on)
{
    struct err err = {0};

    if (!policy_enable(db, on, &err)) return complain_err(&err);
    if (options->output == OUTPUT_TABLE)
        printf("the policy is %s\n",
               on ? "on: what no rule allows is forbidden" : "off: everything is allowed");
    return EXIT_DONE;
}

static enum exit_code enable(const struct options *options, struct db *db,
                             const struct policy_cache *cache, char **arguments)
{
    (void)cache;
    (void)arguments;
    return turn(options, db, true);
}

static enum exit_code disable(const struct options *options, struct db *db,
                              const struct policy_cache *cache, char **arguments)
{
    (void)cache;
    (void)arguments;
    return turn(options, db, false);
}

/* --- test -------------------------------------------------------------------------------- */

/* "-" is none. */
static struct text none_or(const char *argument)
{
    return strcmp(argument, "-") == 0 ? (struct text){0} : text_of(argument);
}

static enum exit_code fill_wish(const struct options *options, struct db *db, char **arguments,
                                char code[static ASSET_LENGTH_MAX + 1], struct wish *wish)
{
    struct text account = none_or(arguments[2]);
    struct amount amount;
    struct err err = {0};
    uint8_t scale = 0;
    bool found;

    *wish = (struct wish){.caller = none_or(arguments[0]), .accounts = {account}};
    if (!command_type_parse(text_of(arguments[1]), &wish->type))
        return complain(EXIT_USAGE, "'%s' is not a command", arguments[1]);
    if (!policy_find_asset(db, account, text_of(options->asset), &found, code, &scale, &err))
        return complain_err(&err);
    wish->asset = text_of(code);
    if (arguments[3] == NULL) return EXIT_DONE;
    if (!found)
        return complain(EXIT_USAGE, "no account %s: --asset says what it would hold", arguments[2]);
    if (parse_amount(options, arguments[3], &amount) != EXIT_DONE) return EXIT_USAGE;
    if (!amount_to_minor(&amount, scale, &wish->amount) || wish->amount < 0)
        return complain(EXIT_USAGE, "'%s' is not an amount that fits the asset", arguments[3]);
    return EXIT_DONE;
}

static void print_verdict(const struct options *options, const struct policy_cache *cache,
                          const struct wish *wish, const struct rule *rule)
{
    const char *why = rule != NULL                       ? "a rule allows it"
                      : policy_may(&cache->policy, wish) ? "the amount is over every rule's limit"
                                                         : "no rule matches";

    if (options->output == OUTPUT_JSON) {
        json_t *json = json_object();
        (void)json_object_set_new(json, "allowed", json_boolean(rule != NULL));
        (void)json_object_set_new(json, "reason", json_string(why));
        if (rule != NULL) (void)json_object_set_new(json, "rule", json_integer(rule->id));
        (void)json_object_set_new(json, "enabled", json_boolean(cache->enabled));
        print_json(json);
        return;
    }
    if (rule != NULL)
        printf("allowed, by rule %" PRId64 "\n", rule->id);
    else
        printf("forbidden: %s\n", why);
    if (!cache->enabled) printf("(but the policy is off, so everything is allowed)\n");
}

static enum exit_code test(const struct options *options, struct db *db,
                           const struct policy_cache *cache, char **arguments)
{
    char code[ASSET_LENGTH_MAX + 1];
    struct usage *usages = NULL, *charged;
    struct arena arena = {0};
    struct err err = {0};
    struct wish wish;
    uint32_t count = 0;

    if (fill_wish(options, db, arguments, code, &wish) != EXIT_DONE) return EXIT_USAGE;
    if (!arena_open(&arena, ARENA_SIZE, &err) ||
        !policy_usages(db, &cache->policy, &wish, &arena, &usages, &count, &err)) {
        arena_close(&arena);
        return complain_err(&err);
    }
    const struct rule *rule = policy_find(&cache->policy, &wish, usages, count, &charged);
    print_verdict(options, cache, &wish, rule);
    arena_close(&arena);
    return rule != NULL ? EXIT_DONE : EXIT_FAILED;
}

/* --- which ------------------------------------------------------------------------------- */

static const struct verb {
    const char *name, *arguments;
    int least, most;
    enum exit_code (*run)(const struct options *, struct db *, const struct policy_cache *,
                          char **);
} VERBS[] = {
    {"list", "", 0, 0, list},
    {"allow", "CALLER COMMANDS ACCOUNT", 3, 3, allow},
    {"remove", "RULE", 1, 1, remove_rule},
    {"enable", "", 0, 0, enable},
    {"disable", "", 0, 0, disable},
    {"test", "CALLER COMMAND ACCOUNT [AMOUNT]", 3, 4, test},
};

static const struct verb *find_verb(char **arguments)
{
    int count = 0;

    while (arguments[1 + count] != NULL) count++;
    for (size_t i = 0; i < sizeof VERBS / sizeof VERBS[0]; i++) {
        if (strcmp(VERBS[i].name, arguments[0]) != 0) continue;
        if (count >= VERBS[i].least && count <= VERBS[i].most) return &VERBS[i];
    }
    (void)fputs("usage:\n", stderr);
    for (size_t i = 0; i < sizeof VERBS / sizeof VERBS[0]; i++)
        (void)fprintf(stderr, "  ledgerctl policy %s %s\n", VERBS[i].name, VERBS[i].arguments);
    return NULL;
}

enum exit_code run_policy(const struct options *options, const char *verb, char **arguments)
{
    const struct verb *one = find_verb(arguments);
    struct policy_cache cache = {0};
    struct err err = {0};
    struct db *db = NULL;
    enum exit_code code;

    (void)verb;
    if (one == NULL) return EXIT_USAGE;
    if (open_db(options, ADMIN_ANSWER_MS, &db, &err) && migrate_check(db, &err) &&
        policy_cache_open(&cache, &err) && policy_cache_read(&cache, db, &err))
        code = one->run(options, db, &cache, arguments + 1);
    else
        code = complain_err(&err);
    policy_cache_close(&cache);
    db_close(db);
    return code;
}
