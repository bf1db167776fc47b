/*
 * test_config.c - each type of setting from the environment and from files, what is wrong named by
 * its setting, and no password in what is printed.
 */
#include "base/bytes.h"
#include "base/config.h"
#include "tests/test.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { TEXT_SIZE = 16, VALUE_MOST = 4095, PRINTED_SIZE = 8192 };

static char text[TEXT_SIZE], secret[64];
static uint32_t number, choice;
static bool flag;
static char path[] = "/tmp/test_config.XXXXXX";
static struct err err;

static const struct setting SETTINGS[] = {
    {.name = "LEDGER_TEXT",
     .type = SETTING_TEXT,
     .target = text,
     .target_size = sizeof text,
     .fallback = "fallback",
     .help = "a text"},
    {.name = "LEDGER_NUMBER",
     .type = SETTING_NUMBER,
     .target = &number,
     .fallback = "7",
     .least = 2,
     .most = 4000000000,
     .help = "a number, in ms"},
    {.name = "LEDGER_FLAG",
     .type = SETTING_BOOL,
     .target = &flag,
     .fallback = "no",
     .help = "a flag"},
    {.name = "LEDGER_CHOICE",
     .type = SETTING_CHOICE,
     .target = &choice,
     .fallback = "one",
     .choices = "one|two|three",
     .help = "a choice"},
    {.name = "LEDGER_SECRET",
     .type = SETTING_TEXT,
     .target = secret,
     .target_size = sizeof secret,
     .fallback = "",
     .secret = true,
     .help = "a URL"},
};
enum { COUNT = sizeof SETTINGS / sizeof SETTINGS[0] };

static int set_up(void **state)
{
    static char fresh[sizeof path];

    (void)state;
    if (clearenv() != 0) return 1;
    (void)snprintf(fresh, sizeof fresh, "%s", "/tmp/test_config.XXXXXX");
    int fd = mkstemp(fresh);
    memcpy(path, fresh, sizeof path);
    return fd >= 0 && close(fd) == 0 ? 0 : 1;
}

static int tear_down(void **state)
{
    (void)state;
    return unlink(path);
}

static void set(const char *name, const char *value)
{
    assert_int_equal(setenv(name, value, 1), 0);
}

static void write_file(const void *bytes, size_t size)
{
    FILE *file = fopen(path, "w");

    assert_non_null(file);
    assert_int_equal(fwrite(bytes, 1, size, file), size);
    assert_int_equal(fclose(file), 0);
}

static void load(void)
{
    if (!config_load(SETTINGS, COUNT, &err)) fail_msg("%s", err.text);
}

static void assert_refused(const char *says)
{
    err = (struct err){0};
    assert_false(config_load(SETTINGS, COUNT, &err));
    assert_int_equal(err.kind, ERR_FATAL);
    if (strcmp(err.text, says) != 0) fail_msg("\"%s\" instead of \"%s\"", err.text, says);
}

/* --- values ---------------------------------------------------------------------------------- */

static void each_type_has_its_fallback(void **state)
{
    (void)state;
    load();
    assert_string_equal(text, "fallback");
    assert_int_equal(number, 7);
    assert_false(flag);
    assert_int_equal(choice, 0);
}

static void each_type_is_read(void **state)
{
    (void)state;
    set("LEDGER_TEXT", "fifteen letters");
    set("LEDGER_NUMBER", "4000000000");
    set("LEDGER_FLAG", "On");
    set("LEDGER_CHOICE", "three");
    load();
    assert_string_equal(text, "fifteen letters");
    assert_int_equal(number, 4000000000);
    assert_true(flag);
    assert_int_equal(choice, 2);
    set("LEDGER_TEXT", "");
    set("LEDGER_NUMBER", "2");
    load();
    assert_string_equal(text, "");
    assert_int_equal(number, 2);
}

static void every_word_for_true_and_false(void **state)
{
    static const char *const words[] = {"true",  "yes", "on",  "1", "TRUE",  "Yes",
                                        "false", "no",  "off", "0", "False", "OFF"};

    (void)state;
    for (int i = 0; i < 12; i++) {
        flag = i >= 6;
        set("LEDGER_FLAG", words[i]);
        load();
        assert_int_equal(flag, i < 6);
    }
}

static void wrong_values_are_refused_by_name(void **state)
{
    static const struct {
        const char *name, *value, *says;
    } rows[] = {
        {"LEDGER_TEXT", "sixteen letters!", "LEDGER_TEXT: over 15 bytes"},
        {"LEDGER_SECRET", "0123456789012345678901234567890123456789012345678901234567890123",
         "LEDGER_SECRET: over 63 bytes"},
#define NOT_A_NUMBER(value)                                                                        \
    {"LEDGER_NUMBER", value, "LEDGER_NUMBER: '" value "' is not a number from 2 to 4000000000"}
        NOT_A_NUMBER(""),
        NOT_A_NUMBER("1"),
        NOT_A_NUMBER("4000000001"),
        NOT_A_NUMBER("-5"),
        NOT_A_NUMBER("+5"),
        NOT_A_NUMBER(" 5"),
        NOT_A_NUMBER("5 "),
        NOT_A_NUMBER("5s"),
        NOT_A_NUMBER("0x10"),
        NOT_A_NUMBER("1e3"),
        NOT_A_NUMBER("18446744073709551621"), /* 5, past 2^64 */
        {"LEDGER_FLAG", "maybe", "LEDGER_FLAG: 'maybe' is neither true nor false"},
        {"LEDGER_FLAG", "", "LEDGER_FLAG: '' is neither true nor false"},
        {"LEDGER_CHOICE", "four", "LEDGER_CHOICE: 'four' is none of one|two|three"},
        {"LEDGER_CHOICE", "on", "LEDGER_CHOICE: 'on' is none of one|two|three"},
        {"LEDGER_CHOICE", "one|two", "LEDGER_CHOICE: 'one|two' is none of one|two|three"},
        {"LEDGER_CHOICE", "", "LEDGER_CHOICE: '' is none of one|two|three"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        set(rows[i].name, rows[i].value);
        assert_refused(rows[i].says);
        assert_int_equal(unsetenv(rows[i].name), 0);
    }
    load();
}

static void what_must_be_given_must(void **state)
{
    struct setting required = SETTINGS[0];

    (void)state;
    required.fallback = NULL;
    assert_false(config_load(&required, 1, &err));
    assert_string_equal(err.text, "LEDGER_TEXT: must be given (or LEDGER_TEXT_FILE)");
    set("LEDGER_TEXT", "given");
    assert_true(config_load(&required, 1, &err));
    assert_string_equal(text, "given");
}

/* --- files ----------------------------------------------------------------------------------- */

static void the_file_wins(void **state)
{
    static const struct {
        const char *content, *wanted;
    } rows[] = {{"in file", "in file"},
                {"in file\n", "in file"},
                {"in file\n\n", "in file\n"},
                {"\n", ""},
                {"", ""},
                {"a b\t", "a b\t"}};

    (void)state;
    set("LEDGER_TEXT", "in environment");
    set("LEDGER_TEXT_FILE", path);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        write_file(rows[i].content, strlen(rows[i].content));
        load();
        assert_string_equal(text, rows[i].wanted);
    }
    set("LEDGER_TEXT_FILE", ""); /* as an unset one */
    load();
    assert_string_equal(text, "in environment");
}

static void files_of_other_types(void **state)
{
    (void)state;
    write_file("12\n", 3);
    set("LEDGER_NUMBER_FILE", path);
    load();
    assert_int_equal(number, 12);
    write_file("1\n", 2);
    assert_refused("LEDGER_NUMBER: '1' is not a number from 2 to 4000000000");
}

static void wrong_files_are_refused_by_name(void **state)
{
    static char large[VALUE_MOST + 1];
    char says[200];

    (void)state;
    memset(large, 'x', sizeof large);
    set("LEDGER_SECRET_FILE", path);
    write_file("a\0b", 3);
    (void)snprintf(says, sizeof says, "LEDGER_SECRET_FILE: %s holds a zero byte", path);
    assert_refused(says);
    write_file(large, sizeof large);
    (void)snprintf(says, sizeof says, "LEDGER_SECRET_FILE: %s is over 4095 bytes", path);
    assert_refused(says);
    write_file(large, sizeof large - 1);
    assert_refused("LEDGER_SECRET: over 63 bytes");
    set("LEDGER_SECRET_FILE", "/nowhere/at/all");
    assert_refused("LEDGER_SECRET_FILE: could not open /nowhere/at/all: No such file or directory");
    set("LEDGER_SECRET_FILE", "/tmp");
    assert_refused("LEDGER_SECRET_FILE: could not read /tmp");
}

/* --- for people ------------------------------------------------------------------------------ */

static void passwords_are_masked(void **state)
{
    static const struct {
        const char *url, *masked;
    } rows[] = {
        {"amqp://user:secret@host:5672/v", "amqp://user:***@host:5672/v"},
        {"redis://:secret@host/0", "redis://:***@host/0"},
        {"amqp://user:sec@ret@host/", "amqp://user:***@host/"},
        {"amqp://user:sec:ret@host/", "amqp://user:***@host/"},
        {"amqp://user:sec/ret@host/", "amqp://user:***@host/"},
        {"amqp://user:sec?r#t@host/", "amqp://user:***@host/"},
        {"postgresql://u:secret@h1:1,h2:2/db", "postgresql://u:***@h1:1,h2:2/db"},
        {"postgresql://u@host/db?password=secret", "postgresql://u@host/db?***"},
        {"postgresql://u:secret@host/db?sslpassword=secret", "postgresql://u:***@host/db?***"},
        {"amqp://user@host/", "amqp://user@host/"},
        {"redis://host:6379/0", "redis://host:6379/0"},
        {"amqp://", "amqp://"},
        {"host=h password=secret", "***"},
        {"secret", "***"},
        {"", ""},
    };
    char masked[64];

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        config_mask_url(rows[i].url, masked, sizeof masked);
        assert_string_equal(masked, rows[i].masked);
    }
    config_mask_url(rows[0].url, masked, 8);
    assert_string_equal(masked, "amqp://");
}

/* What printing writes, as a text good until the next call. */
static const char *printed(void (*print)(FILE *out, const struct setting *settings, size_t count))
{
    static char out[PRINTED_SIZE];
    FILE *file = fmemopen(out, sizeof out, "w");

    assert_non_null(file);
    print(file, SETTINGS, COUNT);
    assert_int_equal(fclose(file), 0);
    return out;
}

static void values_are_printed_without_secrets(void **state)
{
    (void)state;
    set("LEDGER_FLAG", "1");
    set("LEDGER_CHOICE", "three");
    set("LEDGER_SECRET", "amqp://user:hush@host/");
    load();
    assert_string_equal(printed(config_print), "LEDGER_TEXT=fallback\n"
                                               "LEDGER_NUMBER=7\n"
                                               "LEDGER_FLAG=true\n"
                                               "LEDGER_CHOICE=three\n"
                                               "LEDGER_SECRET=amqp://user:***@host/\n");
    set("LEDGER_SECRET", "hush");
    load();
    assert_null(strstr(printed(config_print), "hush"));
}

static void help_lists_all(void **state)
{
    (void)state;
    const char *help = printed(config_help);
    for (int i = 0; i < COUNT; i++) {
        assert_non_null(strstr(help, SETTINGS[i].name));
        assert_non_null(strstr(help, SETTINGS[i].help));
    }
    assert_non_null(strstr(help, "2 to 4000000000; default 7\n"));
    assert_non_null(strstr(help, "one|two|three; default one\n"));
    assert_non_null(strstr(help, "default (empty)\n"));
    assert_non_null(strstr(help, "_FILE"));
}

static char found[4][32];
static uint32_t found_count;

static void take_found(const char *name)
{
    assert_in_range(found_count, 0, 3);
    assert_true(text_copy(text_of(name), found[found_count++], sizeof found[0]));
}

static void unknown_names_are_found(void **state)
{
    (void)state;
    set("LEDGER_TEXT", "known");
    set("LEDGER_NUMBER_FILE", "known");
    set("LEDGER_TEXTS", "a typing error");
    set("LEDGER_TEX", "");
    set("LEDGERS_TEXT", "somebody else's");
    set("HOME", "/");
    config_unknown(SETTINGS, COUNT, take_found);
    assert_int_equal(found_count, 2);
    for (int i = 0; i < 2; i++)
        assert_true(strcmp(found[i], "LEDGER_TEXTS") == 0 || strcmp(found[i], "LEDGER_TEX") == 0);
    assert_string_not_equal(found[0], found[1]);
}

#define ALONE(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        ALONE(each_type_has_its_fallback),
        ALONE(each_type_is_read),
        ALONE(every_word_for_true_and_false),
        ALONE(wrong_values_are_refused_by_name),
        ALONE(what_must_be_given_must),
        ALONE(the_file_wins),
        ALONE(files_of_other_types),
        ALONE(wrong_files_are_refused_by_name),
        ALONE(passwords_are_masked),
        ALONE(values_are_printed_without_secrets),
        ALONE(help_lists_all),
        ALONE(unknown_names_are_found),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
