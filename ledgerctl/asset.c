/*
 * asset.c - the verb that registers assets.
 */
#include "ledger/assets_pg.h"
#include "ledger/migrate_pg.h"
#include "ledgerctl/ledgerctl.h"

#include <stdio.h>
#include <string.h>

struct listing {
    enum output output;
    bool begun;
};

/* A code needs no escaping: A-Z 0-9 and the point. */
static void show(void *context, struct text code, uint8_t scale)
{
    struct listing *listing = context;

    if (listing->output == OUTPUT_JSON)
        printf("%s{\"asset\":\"%.*s\",\"scale\":%u}", listing->begun ? "," : "", TEXT_ARGS(code),
               scale);
    else
        printf("%-12.*s %5u\n", TEXT_ARGS(code), scale);
    listing->begun = true;
}

static bool list(const struct options *options, struct db *db, struct err *err)
{
    struct listing listing = {.output = options->output};

    if (options->output == OUTPUT_JSON)
        printf("[");
    else
        printf("%-12s %5s\n", "ASSET", "SCALE");
    bool ok = assets_list(db, show, &listing, err);
    if (options->output == OUTPUT_JSON) printf("]\n");
    return ok;
}

static bool add(const struct options *options, struct db *db, struct text code, uint8_t scale,
                struct err *err)
{
    bool added;

    if (!assets_add(db, code, scale, &added, err)) return false;
    if (options->output == OUTPUT_JSON)
        printf("{\"asset\":\"%.*s\",\"scale\":%u,\"added\":%s}\n", TEXT_ARGS(code), scale,
               added ? "true" : "false");
    else
        printf("%.*s, scale %u, %s\n", TEXT_ARGS(code), scale,
               added ? "is registered" : "was registered before");
    return true;
}

static bool parse_scale(const char *text, uint8_t *out)
{
    size_t length = strlen(text);
    int value = 0;

    if (length < 1 || length > 2) return false;
    for (; *text != '\0'; text++) {
        if (*text < '0' || *text > '9') return false;
        value = 10 * value + (*text - '0');
    }
    *out = (uint8_t)value;
    return value <= SCALE_MAX;
}

enum exit_code run_asset(const struct options *options, const char *verb, char **arguments)
{
    bool lists = strcmp(arguments[0], "list") == 0 && arguments[1] == NULL;
    bool adds = strcmp(arguments[0], "add") == 0 && arguments[1] != NULL && arguments[2] != NULL;
    struct err err = {0};
    struct db *db = NULL;
    uint8_t scale = 0;

    (void)verb;
    if (!lists && !adds)
        return complain(EXIT_USAGE, "usage: ledgerctl asset list | asset add CODE SCALE");
    if (adds && !asset_is_valid(text_of(arguments[1])))
        return complain(EXIT_USAGE, "'%s' is not an asset: 1 to %d characters of A-Z 0-9 .",
                        arguments[1], ASSET_LENGTH_MAX);
    if (adds && !parse_scale(arguments[2], &scale))
        return complain(EXIT_USAGE, "SCALE is the number of decimals, 0 to %d", SCALE_MAX);
    bool ok =
        open_db(options, ADMIN_ANSWER_MS, &db, &err) && migrate_check(db, &err) &&
        (lists ? list(options, db, &err) : add(options, db, text_of(arguments[1]), scale, &err));
    db_close(db);
    return ok ? EXIT_DONE : complain_err(&err);
}
