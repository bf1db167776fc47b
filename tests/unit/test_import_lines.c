/*
 * test_import_lines.c - a file that is imported, line by line: where lines end, what a header may
 * be, which command a line is, and the exact sentence about each that is none.
 */
#include "import/csv.h"
#include "protocol/request.h"
#include "tests/wire.h"

static struct arena arena;
static struct codec *codec;
static char problem[PROBLEM_SIZE];

static struct bytes bytes_of(const char *text)
{
    return wire_bytes(text_of(text));
}

/* --- where lines end --------------------------------------------------------------------- */

static void lines_end_where_no_quote_is_open(void **state)
{
    static const struct {
        const char *why;
        enum format format;
        const char *text;
        bool at_end;
        size_t size;
    } rows[] = {
        {"nothing", FORMAT_CSV, "", true, 0},
        {"a line", FORMAT_CSV, "a,b\nc", false, 4},
        {"not all of one", FORMAT_CSV, "a,b", false, 0},
        {"the last has no end", FORMAT_CSV, "a,b", true, 3},
        {"an end in quotes", FORMAT_CSV, "\"a\nb\",c\nd", false, 8},
        {"a doubled quote before it", FORMAT_CSV, "\"a\"\"\nb\"\nd", false, 8},
        {"a doubled quote behind a comma", FORMAT_CSV, "\"a,\"\"b\nc\"\nd", false, 10},
        {"quotes in the second field", FORMAT_CSV, "x,\"a\nb\"\nd", false, 8},
        {"an empty field in quotes", FORMAT_CSV, "x,\"\"\nd", false, 5},
        {"a quote within a field opens nothing", FORMAT_CSV, "x,a\"b\nd", false, 6},
        {"nor one behind closed quotes", FORMAT_CSV, "\"a\"b\"\nd", false, 6},
        {"never closed", FORMAT_CSV, "\"a\nb", false, 0},
        {"never closed, at the end", FORMAT_CSV, "\"a\nb", true, 4},
        {"JSON knows no quotes", FORMAT_JSON, "\"a\nb\"", false, 3},
        {"JSON without an end", FORMAT_JSON, "{}", true, 2},
        {"JSON not all here", FORMAT_JSON, "{}", false, 0},
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        if (line_size(rows[i].format, bytes_of(rows[i].text), rows[i].at_end) != rows[i].size)
            fail_msg("%s", rows[i].why);
}

static void ends_are_cut_off(void **state)
{
    static const struct {
        const char *line, *text;
    } rows[] = {{"a\n", "a"}, {"a\r\n", "a"}, {"a", "a"},       {"a\r", "a"},
                {"\n", ""},   {"\r\n", ""},   {"a\n\n", "a\n"}, {"", ""}};

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        assert_true(wire_bytes_equal(line_trim(bytes_of(rows[i].line)), bytes_of(rows[i].text)));
}

/* --- headers ----------------------------------------------------------------------------- */

static void a_header_names_columns_that_are_known(void **state)
{
    static const struct {
        const char *header, *problem; /* NULL: it is one */
        bool opens;
    } rows[] = {
        {"account,user_id,name,asset,balance", NULL, true},
        {"metadata,at,key,kind,balance_minor,asset,user_id,\"account\"", NULL, true},
        {"account,user_id,asset,balance,balance_minor", NULL, true},
        {"type,key,account,from,to,amount,amount_minor,asset,at,metadata,direction,user_id,name,"
         "kind",
         NULL, false},
        {"type", NULL, false},
        {"type,colour", "no column is called 'colour'", false},
        {"Type", "no column is called 'Type'", false},
        {"type, account", "no column is called ' account'", false},
        {"type,", "no column is called ''", false},
        {"type,account,type", "column type is there twice", false},
        {"account,amount", "needs a column type (what happened) or balance (what there was)",
         false},
        {"type,account,balance", "column type has no place beside balance", true},
        {"account,user_id,asset,balance,amount", "column amount has no place beside balance", true},
        {"account,asset,balance", "needs a column user_id", true},
        {"user_id,asset,balance", "needs a column account", true},
        {"account,user_id,balance_minor", "needs a column asset", true},
        {"type,\"account", "a quote is not closed", false},
        {"type,\"account\"x", "a closing quote is followed by more", false},
        {"ty\"pe", "a quote within a field that has none", false},
        {"type\rkey", "a carriage return within a line", false},
        {"type,\xff", "is not UTF-8", false},
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct csv csv;
        arena_reset(&arena);
        problem[0] = '\0';
        bool ok = csv_header(bytes_of(rows[i].header), &arena, &csv, problem);
        if (ok != (rows[i].problem == NULL)) fail_msg("%s: %s", rows[i].header, problem);
        if (ok) assert_int_equal(csv.opens, rows[i].opens);
        if (!ok) assert_string_equal(problem, rows[i].problem);
    }
}

/* --- lines ------------------------------------------------------------------------------- */

static const char *const TRANSACTIONS =
    "type,key,account,from,to,amount,amount_minor,asset,at,metadata,direction";
static const char *const OPENINGS =
    "account,user_id,name,asset,kind,balance,balance_minor,metadata,key,at";

static bool read_line(const char *header, struct bytes text, struct line *out)
{
    struct csv csv;

    arena_reset(&arena);
    problem[0] = '\0';
    if (header == NULL)
        return line_of_json(codec, text, TEXT_LITERAL("import:x:7"), &arena, out, problem);
    assert_true(csv_header(bytes_of(header), &arena, &csv, problem));
    return csv_line(&csv, codec, text, TEXT_LITERAL("import:x:7"), &arena, out, problem);
}

static struct command command_of(const struct line *line)
{
    struct command command;

    if (!command_decode(codec, line->type, ENCODING_MSGPACK, line->body, &arena, &command, problem))
        fail_msg("%s", problem);
    return command;
}

static void assert_text(struct text text, const char *want)
{
    if (!text_equal(text, text_of(want))) fail_msg("'%.*s' instead of '%s'", TEXT_ARGS(text), want);
}

static void a_line_of_csv_is_a_command(void **state)
{
    struct command command;
    struct line line;

    (void)state;
    assert_true(read_line(TRANSACTIONS,
                          bytes_of("transfer,k-1,,ada,bob,12.50,,EUR,2026-11-23T13:00:00+01:00,"
                                   "\"{\"\"order\"\": 17}\","),
                          &line));
    assert_int_equal(line.type, COMMAND_TRANSFER);
    assert_text(line.key, "k-1");
    assert_int_equal(line.at_us, WIRE_NOON_US);
    command = command_of(&line);
    assert_text(command.from, "ada");
    assert_text(command.to, "bob");
    assert_text(command.asset, "EUR");
    assert_true(command.amount.is_decimal);
    assert_int_equal(command.amount.value, 125);
    assert_int_equal(command.amount.digits, 1);
    assert_int_equal(command.metadata.size, 8); /* {"order": 17} */

    assert_true(read_line(TRANSACTIONS, bytes_of("deposit,,ada,,,,1250,,,,"), &line));
    assert_text(line.key, "import:x:7");
    assert_int_equal(line.at_us, 0);
    command = command_of(&line);
    assert_int_equal(command.type, COMMAND_DEPOSIT);
    assert_false(command.amount.is_decimal);
    assert_int_equal(command.amount.value, 1250);

    /* Without a dot it counts major units all the same: it is the column that says so. */
    assert_true(read_line(TRANSACTIONS, bytes_of("withdraw,,ada,,,1250,,,,,"), &line));
    command = command_of(&line);
    assert_true(command.amount.is_decimal);
    assert_int_equal(command.amount.value, 1250);

    assert_true(read_line(TRANSACTIONS, bytes_of("freeze_account,,ada,,,,,,,,out"), &line));
    assert_int_equal(command_of(&line).direction, DIRECTION_OUT);
    assert_true(
        read_line("type,account,key", bytes_of("close_account,\"a\",\"x\"\"y,\nz\""), &line));
    assert_text(line.key, "x\"y,\nz");
}

/* The legs of an opening, decoded as the ledger would. */
static struct request *legs_of(const struct line *line, struct request *request)
{
    *request = (struct request){.fault = RESULT_APPLIED, .key = line->key};
    request->key_digest.bytes[0] = 1;
    request->command = command_of(line);
    struct request *legs = arena_take(&arena, 2 * sizeof *legs);
    assert_non_null(legs);
    assert_int_equal(request->command.legs_count, 2);
    if (!request_decode_legs(codec, &arena, request, legs)) fail_msg("%s", request->problem);
    return legs;
}

static void a_balance_is_an_account_opened_and_filled(void **state)
{
    struct request request, *legs;
    struct line line;

    (void)state;
    assert_true(
        read_line(OPENINGS, bytes_of("ada,u1,Ada L.,EUR,,12.50,,{},,2026-11-23T12:00:00Z"), &line));
    assert_int_equal(line.type, COMMAND_BATCH);
    assert_text(line.key, "import:x:7");
    assert_int_equal(line.at_us, WIRE_NOON_US);
    legs = legs_of(&line, &request);
    assert_false(request.command.independent);
    assert_int_equal(legs[0].command.type, COMMAND_OPEN_ACCOUNT);
    assert_text(legs[0].key, "import:x:7/open");
    assert_text(legs[0].command.account, "ada");
    assert_text(legs[0].command.user_id, "u1");
    assert_text(legs[0].command.name, "Ada L.");
    assert_text(legs[0].command.asset, "EUR");
    assert_int_equal(legs[0].command.kind, ACCOUNT_USER);
    assert_int_equal(legs[1].command.type, COMMAND_DEPOSIT);
    assert_text(legs[1].key, "import:x:7/balance");
    assert_text(legs[1].command.account, "ada");
    assert_int_equal(legs[1].command.amount.value, 125);
    assert_true(legs[1].command.amount.is_decimal);

    assert_true(read_line(OPENINGS, bytes_of("fees,house,,EUR,system,,-1250,,f,"), &line));
    legs = legs_of(&line, &request);
    assert_text(legs[0].key, "f/open");
    assert_int_equal(legs[0].command.kind, ACCOUNT_SYSTEM);
    assert_int_equal(legs[1].command.type, COMMAND_WITHDRAW);
    assert_int_equal(legs[1].command.amount.value, 1250);
    assert_false(legs[1].command.amount.is_decimal);

    assert_true(read_line(OPENINGS, bytes_of("x,house,,EUR,system,-0.50,,,,"), &line));
    legs = legs_of(&line, &request);
    assert_int_equal(legs[1].command.type, COMMAND_WITHDRAW);
    assert_int_equal(legs[1].command.amount.value, 5);

    for (int i = 0; i < 3; i++) {
        static const char *const zeros[] = {"bob,u,,EUR,,0,,,,", "bob,u,,EUR,,0.00,,,,",
                                            "bob,u,,EUR,,,0,,,"};
        assert_true(read_line(OPENINGS, bytes_of(zeros[i]), &line));
        assert_int_equal(line.type, COMMAND_OPEN_ACCOUNT);
        assert_text(line.key, "import:x:7");
        assert_text(command_of(&line).account, "bob");
    }
}

static void a_line_of_json_is_a_command(void **state)
{
    struct command command;
    struct line line;

    (void)state;
    assert_true(read_line(NULL,
                          bytes_of("{\"amount\": \"1.50\", \"key\": \"k\", \"type\": \"transfer\","
                                   " \"to\": \"b\", \"from\": \"a\","
                                   " \"at\": \"2026-11-23T12:00:00Z\"}"),
                          &line));
    assert_int_equal(line.type, COMMAND_TRANSFER);
    assert_text(line.key, "k");
    assert_int_equal(line.at_us, WIRE_NOON_US);
    command = command_of(&line);
    assert_text(command.from, "a");
    assert_text(command.to, "b");
    assert_int_equal(command.amount.value, 15);

    assert_true(
        read_line(NULL, bytes_of("{\"type\":\"withdraw\",\"account\":\"a\",\"amount\":5}"), &line));
    assert_text(line.key, "import:x:7");
    assert_int_equal(command_of(&line).amount.value, 5);

    assert_true(read_line(NULL,
                          bytes_of("{\"type\":\"batch\",\"commands\":[{\"type\":\"deposit\","
                                   "\"idempotency_key\":\"x\",\"account\":\"a\",\"amount\":1}]}"),
                          &line));
    assert_int_equal(line.type, COMMAND_BATCH);
    assert_int_equal(command_of(&line).legs_count, 1);
}

#define KEY_129                                                                                    \
    "12345678901234567890123456789012345678901234567890123456789012345678901234567890"             \
    "1234567890123456789012345678901234567890123456789"
_Static_assert(sizeof KEY_129 - 1 == KEY_LENGTH_MAX + 1, "one too many");

static void what_is_no_command_is_told(void **state)
{
    static const struct {
        const char *const *header;
        const char *line, *problem;
    } rows[] = {
        {&TRANSACTIONS, "deposit,,ada", "3 fields, but the header has 11"},
        {&TRANSACTIONS, "deposit,,,,,,,,,,,", "more fields than the header, which has 11"},
        {&TRANSACTIONS, ",,ada,,,1,,,,,", "type: missing; it names the command"},
        {&TRANSACTIONS, "refund,,ada,,,1,,,,,", "type: 'refund' is not a command"},
        {&TRANSACTIONS, "get_balance,,ada,,,,,,,,", "type: get_balance changes nothing"},
        {&TRANSACTIONS, "deposit,,ada,,,1,1,,,,", "amount and amount_minor are both given"},
        {&TRANSACTIONS, "deposit,,ada,,,,1.0,,,,",
         "amount_minor: '1.0' is not an integer of minor units"},
        {&TRANSACTIONS, "deposit,,ada,,,,9223372036854775808,,,,",
         "amount_minor: '9223372036854775808' is not an integer of minor units"},
        {&TRANSACTIONS, "deposit,,ada,,,1,,,23.11.2026,,",
         "at: must be an RFC 3339 time with a zone, as 2026-11-23T07:00:00Z"},
        {&TRANSACTIONS, "deposit,,ada,,,1,,,2026-11-23T07:00:00,,",
         "at: must be an RFC 3339 time with a zone, as 2026-11-23T07:00:00Z"},
        {&TRANSACTIONS, "deposit,,ada,,,1,,,,{,",
         "metadata: body: not JSON: string or '}' expected near end of file (line 1, column 1)"},
        {&TRANSACTIONS, "deposit," KEY_129 ",ada,,,1,,,,,",
         "key: must be 1 to 128 bytes of UTF-8 text without NUL"},
        {&TRANSACTIONS, "deposit,\"a\"b,ada,,,1,,,,,", "a closing quote is followed by more"},
        {&TRANSACTIONS, "deposit,a\"b,ada,,,1,,,,,", "a quote within a field that has none"},
        {&TRANSACTIONS, "deposit,\"ab,ada,,,1,,,,,", "a quote is not closed"},
        {&TRANSACTIONS, "deposit,a\rb,ada,,,1,,,,,", "a carriage return within a line"},
        {&TRANSACTIONS, "deposit,\xc3\x28,ada,,,1,,,,,", "is not UTF-8"},
        {&OPENINGS, "ada,u,,EUR,,,,,,", "balance: missing"},
        {&OPENINGS, "ada,u,,EUR,,1,1,,,", "balance and balance_minor are both given"},
        {&OPENINGS, "ada,u,,EUR,,1e3,,,,",
         "balance: '1e3' is not a decimal number of at most 19 digits"},
        {&OPENINGS, "ada,u,,EUR,,\"1,50\",,,,",
         "balance: '1,50' is not a decimal number of at most 19 digits"},
        {&OPENINGS, "ada,u,,EUR,,,-9223372036854775808,,,", "balance: is too far below zero"},
        {&OPENINGS,
         "ada,u,,EUR,,1,,,"
         "123456789012345678901234567890123456789012345678901234567890"
         "123456789012345678901234567890123456789012345678901234567890x,",
         "key: must leave room for '/balance' within 128 bytes"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct line line;
        if (read_line(*rows[i].header, bytes_of(rows[i].line), &line))
            fail_msg("%s: is a command", rows[i].line);
        assert_string_equal(problem, rows[i].problem);
    }
}

static void what_is_no_command_of_json_is_told(void **state)
{
    static const struct {
        const char *line, *problem;
    } rows[] = {
        {"[]", "must be an object"},
        {"{}", "type: missing; it names the command"},
        {"{\"type\":1}", "type: must be a text"},
        {"{\"type\":\"refund\"}", "type: 'refund' is not a command"},
        {"{\"type\":\"get_user\"}", "type: get_user changes nothing"},
        {"{\"type\":\"deposit\",\"key\":\"\"}",
         "key: must be 1 to 128 bytes of UTF-8 text without NUL"},
        {"{\"type\":\"deposit\",\"key\":null}", "key: must be a text"},
        {"{\"type\":\"deposit\",\"key\":\"" KEY_129 "\"}",
         "key: must be 1 to 128 bytes of UTF-8 text without NUL"},
        {"{\"type\":\"deposit\",\"at\":0}", "at: must be a text"},
        {"{\"type\":\"deposit\",\"at\":\"now\"}",
         "at: must be an RFC 3339 time with a zone, as 2026-11-23T07:00:00Z"},
        {"{\"type\":\"deposit\"} x",
         "body: not JSON: end of file expected near 'x' (line 1, column 20)"},
        {"{\"type\":\"\xff\"}", "is not UTF-8"},
    };
    struct line line;

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        if (read_line(NULL, bytes_of(rows[i].line), &line))
            fail_msg("%s: is a command", rows[i].line);
        assert_string_equal(problem, rows[i].problem);
    }
    assert_false(read_line(NULL, (struct bytes){(const uint8_t *)"{\0}", 3}, &line));
    assert_string_equal(problem, "holds a NUL byte");
}

static int open_all(void **state)
{
    struct err err = {0};

    (void)state;
    return codec_open(&codec, &err) && arena_open(&arena, WIRE_ARENA_SIZE, &err) ? 0 : -1;
}

static int close_all(void **state)
{
    (void)state;
    codec_close(codec);
    arena_close(&arena);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lines_end_where_no_quote_is_open),
        cmocka_unit_test(ends_are_cut_off),
        cmocka_unit_test(a_header_names_columns_that_are_known),
        cmocka_unit_test(a_line_of_csv_is_a_command),
        cmocka_unit_test(a_balance_is_an_account_opened_and_filled),
        cmocka_unit_test(a_line_of_json_is_a_command),
        cmocka_unit_test(what_is_no_command_is_told),
        cmocka_unit_test(what_is_no_command_of_json_is_told),
    };
    return cmocka_run_group_tests(tests, open_all, close_all);
}
