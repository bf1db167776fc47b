/*
 * csv.c - see csv.h. Cells become the values of a command's body, by a table; the body is then
 * decoded as any caller's, so what a cell may hold is said there, once.
 */
#include "import/csv.h"

#include "protocol/pack.h"
#include "protocol/request.h"

#include <string.h>

enum column {
    COLUMN_TYPE,
    COLUMN_KEY,
    COLUMN_AT,
    COLUMN_ACCOUNT,
    COLUMN_FROM,
    COLUMN_TO,
    COLUMN_USER_ID,
    COLUMN_NAME,
    COLUMN_ASSET,
    COLUMN_KIND,
    COLUMN_AMOUNT,
    COLUMN_AMOUNT_MINOR,
    COLUMN_BALANCE,
    COLUMN_BALANCE_MINOR,
    COLUMN_DIRECTION,
    COLUMN_METADATA,
    COLUMNS_COUNT
};
_Static_assert((int)COLUMNS_COUNT <= (int)CSV_COLUMNS_MAX, "each may be given once");

/* In which kind of file it may be, and in what it ends: NULL is nothing of a command's body. */
enum { HAPPENED = 1, OPENS = 2, BOTH = HAPPENED | OPENS };
static const struct {
    const char *name;
    int kind;
    const char *key;
} columns[COLUMNS_COUNT] = {
    [COLUMN_TYPE] = {"type", HAPPENED, NULL},
    [COLUMN_KEY] = {"key", BOTH, NULL},
    [COLUMN_AT] = {"at", BOTH, NULL},
    [COLUMN_ACCOUNT] = {"account", BOTH, "account"},
    [COLUMN_FROM] = {"from", HAPPENED, "from"},
    [COLUMN_TO] = {"to", HAPPENED, "to"},
    [COLUMN_USER_ID] = {"user_id", BOTH, "user_id"},
    [COLUMN_NAME] = {"name", BOTH, "name"},
    [COLUMN_ASSET] = {"asset", BOTH, "asset"},
    [COLUMN_KIND] = {"kind", BOTH, "kind"},
    [COLUMN_AMOUNT] = {"amount", HAPPENED, "amount"},
    [COLUMN_AMOUNT_MINOR] = {"amount_minor", HAPPENED, "amount"},
    [COLUMN_BALANCE] = {"balance", OPENS, NULL},
    [COLUMN_BALANCE_MINOR] = {"balance_minor", OPENS, NULL},
    [COLUMN_DIRECTION] = {"direction", HAPPENED, "direction"},
    [COLUMN_METADATA] = {"metadata", BOTH, "metadata"},
};

struct cells {
    struct text text[COLUMNS_COUNT]; /* empty: no such column, or nothing in it */
    struct bytes metadata;           /* as msgpack */
    int64_t minor;                   /* of amount_minor or balance_minor */
};

/* --- fields ------------------------------------------------------------------------------ */

/* Behind its opening quote: up to the closing one, doubled ones made single. */
static bool take_quoted(struct text *rest, struct arena *arena, struct text *out,
                        char problem[static PROBLEM_SIZE])
{
    char *to = arena_take(arena, rest->length + 1U);

    if (to == NULL) return problem_set(problem, PROBLEM_SIZE, "no memory is left for it");
    *out = (struct text){to, 0};
    for (uint32_t i = 0; i < rest->length; i++) {
        if (rest->bytes[i] == '"' && (i + 1 == rest->length || rest->bytes[i + 1] != '"')) {
            *rest = (struct text){rest->bytes + i + 1, rest->length - i - 1};
            return true;
        }
        if (rest->bytes[i] == '"') i++;
        to[out->length++] = rest->bytes[i];
    }
    return problem_set(problem, PROBLEM_SIZE, "a quote is not closed");
}

static bool take_plain(struct text *rest, struct text *out, char problem[static PROBLEM_SIZE])
{
    uint32_t length = 0;

    for (; length < rest->length && rest->bytes[length] != ','; length++) {
        if (rest->bytes[length] == '"')
            return problem_set(problem, PROBLEM_SIZE, "a quote within a field that has none");
        if (rest->bytes[length] == '\r')
            return problem_set(problem, PROBLEM_SIZE, "a carriage return within a line");
    }
    *out = (struct text){rest->bytes, length};
    *rest = (struct text){rest->bytes + length, rest->length - length};
    return true;
}

/* *more: a comma follows, and so another field. */
static bool take_field(struct text *rest, struct arena *arena, struct text *out, bool *more,
                       char problem[static PROBLEM_SIZE])
{
    bool quoted = rest->length > 0 && *rest->bytes == '"';

    *more = false;
    if (quoted) *rest = (struct text){rest->bytes + 1, rest->length - 1};
    if (!(quoted ? take_quoted(rest, arena, out, problem) : take_plain(rest, out, problem)))
        return false;
    if (rest->length == 0) return true;
    if (*rest->bytes != ',')
        return problem_set(problem, PROBLEM_SIZE, "a closing quote is followed by more");
    *rest = (struct text){rest->bytes + 1, rest->length - 1};
    *more = true;
    return true;
}

/* --- the header -------------------------------------------------------------------------- */

static bool add_column(struct csv *csv, struct text name, uint32_t *seen,
                       char problem[static PROBLEM_SIZE])
{
    uint8_t column = 0;

    while (column < COLUMNS_COUNT && !text_equal(text_of(columns[column].name), name)) column++;
    if (column == COLUMNS_COUNT)
        return problem_set(problem, PROBLEM_SIZE, "no column is called '%.*s'",
                           TEXT_ARGS(problem_quote(name)));
    if ((*seen & 1U << column) != 0)
        return problem_set(problem, PROBLEM_SIZE, "column %s is there twice", columns[column].name);
    *seen |= 1U << column;
    csv->columns[csv->count++] = column;
    return true;
}

#define HAS(column) ((seen & 1U << (column)) != 0)

static bool check_columns(struct csv *csv, uint32_t seen, char problem[static PROBLEM_SIZE])
{
    static const enum column needed[] = {COLUMN_ACCOUNT, COLUMN_USER_ID, COLUMN_ASSET};

    csv->opens = HAS(COLUMN_BALANCE) || HAS(COLUMN_BALANCE_MINOR);
    if (!csv->opens && !HAS(COLUMN_TYPE))
        return problem_set(problem, PROBLEM_SIZE,
                           "needs a column type (what happened) or balance (what there was)");
    for (uint32_t column = 0; column < COLUMNS_COUNT; column++)
        if (HAS(column) && (columns[column].kind & (csv->opens ? OPENS : HAPPENED)) == 0)
            return problem_set(problem, PROBLEM_SIZE, "column %s has no place beside %s",
                               columns[column].name, csv->opens ? "balance" : "type");
    for (size_t i = 0; csv->opens && i < sizeof needed / sizeof needed[0]; i++)
        if (!HAS(needed[i]))
            return problem_set(problem, PROBLEM_SIZE, "needs a column %s", columns[needed[i]].name);
    return true;
}

bool csv_header(struct bytes text, struct arena *arena, struct csv *out,
                char problem[static PROBLEM_SIZE])
{
    struct text rest = {(const char *)text.data, text.size}, name;
    uint32_t seen = 0;
    bool more = true;

    *out = (struct csv){0};
    if (!line_is_text(text, problem)) return false;
    while (more)
        if (!take_field(&rest, arena, &name, &more, problem) ||
            !add_column(out, name, &seen, problem))
            return false;
    return check_columns(out, seen, problem);
}

/* --- lines ------------------------------------------------------------------------------- */

static bool take_cells(const struct csv *csv, struct text rest, struct arena *arena,
                       struct cells *cells, char problem[static PROBLEM_SIZE])
{
    bool more = true;
    uint32_t i = 0;

    for (; more && i < csv->count; i++)
        if (!take_field(&rest, arena, &cells->text[csv->columns[i]], &more, problem)) return false;
    if (more)
        return problem_set(problem, PROBLEM_SIZE, "more fields than the header, which has %u",
                           csv->count);
    if (i < csv->count)
        return problem_set(problem, PROBLEM_SIZE, "%u fields, but the header has %u", i,
                           csv->count);
    return true;
}

/* An integer: decimals, even those that are 0, say that somebody meant major units. */
static bool read_minor(struct cells *cells, enum column column, char problem[static PROBLEM_SIZE])
{
    struct text text = cells->text[column];
    struct amount amount;

    if (text.length == 0) return true;
    if (memchr(text.bytes, '.', text.length) == NULL && amount_parse(text, &amount)) {
        cells->minor = amount.value;
        return true;
    }
    return problem_set(problem, PROBLEM_SIZE, "%s: '%.*s' is not an integer of minor units",
                       columns[column].name, TEXT_ARGS(problem_quote(text)));
}

static bool read_metadata(struct cells *cells, struct codec *codec, struct arena *arena,
                          char problem[static PROBLEM_SIZE])
{
    struct text text = cells->text[COLUMN_METADATA];
    struct bytes json = {(const uint8_t *)text.bytes, text.length};
    char inner[PROBLEM_SIZE];

    if (text.length == 0) return true;
    if (json_to_msgpack(codec, json, arena, &cells->metadata, inner, sizeof inner)) return true;
    return problem_set(problem, PROBLEM_SIZE, "metadata: %s", inner);
}

/* The cells of these columns that hold something. */
static void pack_cells(struct pack_map *map, const struct cells *cells, uint32_t wanted)
{
    for (uint32_t column = 0; column < COLUMNS_COUNT; column++) {
        struct text text = cells->text[column];
        if ((wanted & 1U << column) == 0 || columns[column].key == NULL || text.length == 0)
            continue;
        if (column == COLUMN_METADATA)
            pack_raw(map, columns[column].key, cells->metadata);
        else if (column == COLUMN_AMOUNT_MINOR)
            pack_int(map, columns[column].key, cells->minor);
        else
            pack_text(map, columns[column].key, text);
    }
}

static bool keep(struct writer *writer, struct arena *arena, struct line *line,
                 char problem[static PROBLEM_SIZE])
{
    return writer_keep(writer, arena, &line->body) ||
           problem_set(problem, PROBLEM_SIZE, "no memory is left for it");
}

/* --- what there was ---------------------------------------------------------------------- */

#define BIT(column) (1U << (column))
static const uint32_t account_columns = BIT(COLUMN_ACCOUNT) | BIT(COLUMN_USER_ID) |
                                        BIT(COLUMN_NAME) | BIT(COLUMN_ASSET) | BIT(COLUMN_KIND) |
                                        BIT(COLUMN_METADATA);

/* A balance below zero, of a system account, is one that was paid out. */
struct balance {
    bool is_minor, is_negative, is_zero;
    struct text text; /* without its sign */
    int64_t minor;
};

static bool read_balance(const struct cells *cells, struct balance *out,
                         char problem[static PROBLEM_SIZE])
{
    struct text text = cells->text[COLUMN_BALANCE];
    struct amount amount = {.value = cells->minor};

    *out = (struct balance){.is_minor = cells->text[COLUMN_BALANCE_MINOR].length > 0};
    if (out->is_minor == (text.length > 0))
        return problem_set(problem, PROBLEM_SIZE,
                           out->is_minor ? "balance and balance_minor are both given"
                                         : "balance: missing");
    if (!out->is_minor && !amount_parse(text, &amount))
        return problem_set(problem, PROBLEM_SIZE,
                           "balance: '%.*s' is not a decimal number of at most 19 digits",
                           TEXT_ARGS(problem_quote(text)));
    if (amount.value == INT64_MIN)
        return problem_set(problem, PROBLEM_SIZE, "balance: is too far below zero");
    out->is_zero = amount.value == 0;
    out->is_negative = amount.value < 0;
    out->minor = out->is_negative ? -amount.value : amount.value;
    out->text = text;
    if (text.length > 0 && *text.bytes == '-')
        out->text = (struct text){text.bytes + 1, text.length - 1};
    return true;
}

/* Each command of the line has a key of its own, made of the line's. */
static bool leg_key(const struct line *line, const char *suffix, struct arena *arena,
                    struct text *out, char problem[static PROBLEM_SIZE])
{
    struct writer writer = writer_in(arena);
    struct bytes bytes;

    write_bytes(&writer, line->key.bytes, line->key.length);
    write_bytes(&writer, suffix, strlen(suffix));
    if (!writer_keep(&writer, arena, &bytes))
        return problem_set(problem, PROBLEM_SIZE, "no memory is left for it");
    *out = (struct text){(const char *)bytes.data, bytes.size};
    if (out->length <= KEY_LENGTH_MAX) return true;
    return problem_set(problem, PROBLEM_SIZE, "key: must leave room for '%s' within %d bytes",
                       suffix, KEY_LENGTH_MAX);
}

static void pack_opening(struct writer *writer, const struct cells *cells, struct text key)
{
    struct pack_map map = pack_map_open(writer, COLUMNS_COUNT);

    pack_text(&map, "type", TEXT_LITERAL("open_account"));
    pack_text(&map, "idempotency_key", key);
    pack_cells(&map, cells, account_columns);
    pack_map_close(&map);
}

static void pack_balance(struct writer *writer, const struct cells *cells,
                         const struct balance *balance, struct text key)
{
    struct pack_map map = pack_map_open(writer, 4);

    pack_text(&map, "type", text_of(balance->is_negative ? "withdraw" : "deposit"));
    pack_text(&map, "idempotency_key", key);
    pack_text(&map, "account", cells->text[COLUMN_ACCOUNT]);
    if (balance->is_minor)
        pack_int(&map, "amount", balance->minor);
    else
        pack_text(&map, "amount", balance->text);
    pack_map_close(&map);
}

/* An atomic batch of two, so that no account is there without its balance; one alone when that is
 * zero. */
static bool opening_line(const struct cells *cells, struct arena *arena, struct line *line,
                         char problem[static PROBLEM_SIZE])
{
    struct text open_key = {0}, balance_key = {0};
    struct balance balance;

    if (!read_balance(cells, &balance, problem) ||
        !leg_key(line, "/open", arena, &open_key, problem) ||
        !leg_key(line, "/balance", arena, &balance_key, problem))
        return false;
    line->type = balance.is_zero ? COMMAND_OPEN_ACCOUNT : COMMAND_BATCH;
    struct writer writer = writer_in(arena);
    struct pack_map map = pack_map_open(&writer, COLUMNS_COUNT);
    if (balance.is_zero) {
        pack_cells(&map, cells, account_columns);
    } else {
        pack_key(&map, "commands");
        pack_array_value(&writer, 2);
        pack_opening(&writer, cells, open_key);
        pack_balance(&writer, cells, &balance, balance_key);
    }
    pack_map_close(&map);
    return keep(&writer, arena, line, problem);
}

/* --- what happened ----------------------------------------------------------------------- */

static bool command_line(const struct cells *cells, struct arena *arena, struct line *line,
                         char problem[static PROBLEM_SIZE])
{
    if (!line_set_type(line, cells->text[COLUMN_TYPE], problem)) return false;
    if (cells->text[COLUMN_AMOUNT].length > 0 && cells->text[COLUMN_AMOUNT_MINOR].length > 0)
        return problem_set(problem, PROBLEM_SIZE, "amount and amount_minor are both given");
    struct writer writer = writer_in(arena);
    struct pack_map map = pack_map_open(&writer, COLUMNS_COUNT);
    pack_cells(&map, cells, UINT32_MAX);
    pack_map_close(&map);
    return keep(&writer, arena, line, problem);
}

bool csv_line(const struct csv *csv, struct codec *codec, struct bytes text, struct text key,
              struct arena *arena, struct line *out, char problem[static PROBLEM_SIZE])
{
    struct text rest = {(const char *)text.data, text.size};
    struct cells cells = {0};

    *out = (struct line){.key = key};
    if (!line_is_text(text, problem) || !take_cells(csv, rest, arena, &cells, problem) ||
        !read_minor(&cells, COLUMN_AMOUNT_MINOR, problem) ||
        !read_minor(&cells, COLUMN_BALANCE_MINOR, problem) ||
        !read_metadata(&cells, codec, arena, problem))
        return false;
    if (cells.text[COLUMN_KEY].length > 0 && !line_set_key(out, cells.text[COLUMN_KEY], problem))
        return false;
    if (cells.text[COLUMN_AT].length > 0 && !line_set_time(out, cells.text[COLUMN_AT], problem))
        return false;
    return csv->opens ? opening_line(&cells, arena, out, problem)
                      : command_line(&cells, arena, out, problem);
}
