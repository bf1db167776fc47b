/*
 * config.c - see config.h.
 */
#include "base/config.h"

#include "base/bytes.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum { VALUE_SIZE = 4096, NAME_SIZE = 128 };

extern char **environ;

/* The file named by NAME_FILE, or NAME, or the fallback. */
static bool read_file(const char *name, const char *path, char value[static VALUE_SIZE],
                      struct err *err)
{
    FILE *file = fopen(path, "r");
    size_t size;
    bool failed;

    if (file == NULL)
        return err_set(err, ERR_FATAL, "%s_FILE: could not open %s: %s", name, path,
                       strerror(errno));
    size = fread(value, 1, VALUE_SIZE, file);
    failed = ferror(file) != 0;
    (void)fclose(file);
    if (failed) return err_set(err, ERR_FATAL, "%s_FILE: could not read %s", name, path);
    if (size == VALUE_SIZE)
        return err_set(err, ERR_FATAL, "%s_FILE: %s is over %d bytes", name, path, VALUE_SIZE - 1);
    if (memchr(value, '\0', size) != NULL)
        return err_set(err, ERR_FATAL, "%s_FILE: %s holds a zero byte", name, path);
    if (size > 0 && value[size - 1] == '\n') size--;
    value[size] = '\0';
    return true;
}

static bool read_value(const struct setting *setting, char value[static VALUE_SIZE],
                       struct err *err)
{
    char file_name[NAME_SIZE];
    const char *given, *path;

    (void)snprintf(file_name, sizeof file_name, "%s_FILE", setting->name);
    path = getenv(file_name);
    if (path != NULL && path[0] != '\0') return read_file(setting->name, path, value, err);
    given = getenv(setting->name);
    if (given == NULL) given = setting->fallback;
    if (given == NULL)
        return err_set(err, ERR_FATAL, "%s: must be given (or %s)", setting->name, file_name);
    if (!text_copy(text_of(given), value, VALUE_SIZE))
        return err_set(err, ERR_FATAL, "%s: over %d bytes", setting->name, VALUE_SIZE - 1);
    return true;
}

static bool parse_number(const struct setting *setting, const char *value, struct err *err)
{
    uint32_t *target = setting->target;
    char *end;

    errno = 0;
    unsigned long long number = strtoull(value, &end, 10);
    if (value[0] < '0' || value[0] > '9' || *end != '\0' || errno != 0 || number < setting->least ||
        number > setting->most)
        return err_set(err, ERR_FATAL, "%s: '%s' is not a number from %u to %u", setting->name,
                       value, setting->least, setting->most);
    *target = (uint32_t)number;
    return true;
}

static bool parse_bool(const struct setting *setting, const char *value, struct err *err)
{
    static const char *const words[] = {"true", "yes", "on", "1", "false", "no", "off", "0"};
    bool *target = setting->target;

    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
        if (strcasecmp(value, words[i]) != 0) continue;
        *target = i < 4;
        return true;
    }
    return err_set(err, ERR_FATAL, "%s: '%s' is neither true nor false", setting->name, value);
}

static bool parse_choice(const struct setting *setting, const char *value, struct err *err)
{
    uint32_t *target = setting->target;
    const char *at = setting->choices;
    size_t length = strlen(value);

    for (uint32_t i = 0;; i++) {
        size_t size = strcspn(at, "|");
        if (size == length && strncmp(at, value, size) == 0) {
            *target = i;
            return true;
        }
        if (at[size] == '\0') break;
        at += size + 1;
    }
    return err_set(err, ERR_FATAL, "%s: '%s' is none of %s", setting->name, value,
                   setting->choices);
}

static bool parse_text(const struct setting *setting, const char *value, struct err *err)
{
    if (text_copy(text_of(value), setting->target, setting->target_size)) return true;
    return err_set(err, ERR_FATAL, "%s: over %zu bytes", setting->name, setting->target_size - 1);
}

static bool parse(const struct setting *setting, const char *value, struct err *err)
{
    switch (setting->type) {
    case SETTING_TEXT:
        return parse_text(setting, value, err);
    case SETTING_NUMBER:
        return parse_number(setting, value, err);
    case SETTING_BOOL:
        return parse_bool(setting, value, err);
    case SETTING_CHOICE:
        return parse_choice(setting, value, err);
    }
    assert(false && "a setting type that is none");
    return false;
}

bool config_load(const struct setting *settings, size_t count, struct err *err)
{
    for (size_t i = 0; i < count; i++) {
        char value[VALUE_SIZE] = "";
        if (!read_value(&settings[i], value, err) || !parse(&settings[i], value, err)) return false;
    }
    return true;
}

/* --- for people -------------------------------------------------------------------------- */

/* Rather too much is masked than too little: the login ends at the last '@', wherever that stands,
 * and what is no URL may be a password or hold one. */
void config_mask_url(const char *url, char *out, size_t out_size)
{
    const char *login = strstr(url, "://");

    if (login == NULL) {
        (void)snprintf(out, out_size, "%s", url[0] == '\0' ? "" : "***");
        return;
    }
    login += strlen("://");
    const char *query = strstr(login, "password=") == NULL ? NULL : strchr(login, '?');
    const char *end = query == NULL ? login + strlen(login) : query;
    const char *hidden = query == NULL ? "" : "?***";
    const char *at = memrchr(login, '@', (size_t)(end - login)), *colon = strchr(login, ':');
    if (at == NULL || colon == NULL || colon > at)
        (void)snprintf(out, out_size, "%.*s%s", (int)(end - url), url, hidden);
    else
        (void)snprintf(out, out_size, "%.*s:***%.*s%s", (int)(colon - url), url, (int)(end - at),
                       at, hidden);
}

void config_help(FILE *out, const struct setting *settings, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        const struct setting *setting = &settings[i];
        const char *fallback = setting->fallback == NULL ? "required" : setting->fallback;
        (void)fprintf(out, "  %-26s %s\n", setting->name, setting->help);
        (void)fprintf(out, "  %-26s ", "");
        if (setting->type == SETTING_NUMBER)
            (void)fprintf(out, "%u to %u; ", setting->least, setting->most);
        if (setting->type == SETTING_CHOICE) (void)fprintf(out, "%s; ", setting->choices);
        (void)fprintf(out, "default %s\n", fallback[0] == '\0' ? "(empty)" : fallback);
    }
    (void)fprintf(
        out, "\n  Each NAME may be given as NAME_FILE, the path of a file that holds the value;"
             " the file wins.\n");
}

static void print_choice(FILE *out, const struct setting *setting)
{
    const char *at = setting->choices;

    for (uint32_t left = *(const uint32_t *)setting->target; left > 0; left--)
        at += strcspn(at, "|") + 1;
    (void)fprintf(out, "%.*s\n", (int)strcspn(at, "|"), at);
}

void config_print(FILE *out, const struct setting *settings, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        const struct setting *setting = &settings[i];
        char masked[VALUE_SIZE];
        (void)fprintf(out, "%s=", setting->name);
        switch (setting->type) {
        case SETTING_TEXT:
            config_mask_url(setting->target, masked, sizeof masked);
            (void)fprintf(out, "%s\n", setting->secret ? masked : (const char *)setting->target);
            break;
        case SETTING_NUMBER:
            (void)fprintf(out, "%u\n", *(const uint32_t *)setting->target);
            break;
        case SETTING_BOOL:
            (void)fprintf(out, "%s\n", *(const bool *)setting->target ? "true" : "false");
            break;
        case SETTING_CHOICE:
            print_choice(out, setting);
            break;
        }
    }
}

static bool is_known(const struct setting *settings, size_t count, const char *name, size_t length)
{
    if (length > 5 && strncmp(name + length - 5, "_FILE", 5) == 0) length -= 5;
    for (size_t i = 0; i < count; i++)
        if (strlen(settings[i].name) == length && strncmp(settings[i].name, name, length) == 0)
            return true;
    return false;
}

void config_unknown(const struct setting *settings, size_t count, void (*found)(const char *name))
{
    for (char **entry = environ; *entry != NULL; entry++) {
        char name[NAME_SIZE];
        size_t length = strcspn(*entry, "=");
        if (strncmp(*entry, "LEDGER_", 7) != 0 || length >= sizeof name) continue;
        if (is_known(settings, count, *entry, length)) continue;
        memcpy(name, *entry, length);
        name[length] = '\0';
        found(name);
    }
}
