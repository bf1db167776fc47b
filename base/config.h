/*
 * config.h - settings from the environment.
 *
 * A process describes its settings in one table, which parses, prints --help and prints
 * --check-config. Each NAME may also be given as NAME_FILE, a path to a file with the value (one
 * trailing newline is cut); the file wins. An unknown variable with the prefix LEDGER_ is a
 * warning.
 */
#ifndef BASE_CONFIG_H
#define BASE_CONFIG_H

#include "base/err.h"

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

enum setting_type {
    SETTING_TEXT,   /* target: char[target_size] */
    SETTING_NUMBER, /* target: uint32_t, within least and most */
    SETTING_BOOL,   /* target: bool; true/false, yes/no, on/off, 1/0 */
    SETTING_CHOICE, /* target: uint32_t, the index in choices, "a|b|c" */
};

struct setting {
    const char *name;
    enum setting_type type;
    void *target;
    size_t target_size;   /* SETTING_TEXT only */
    const char *fallback; /* NULL: must be given */
    uint32_t least, most; /* SETTING_NUMBER only */
    const char *choices;  /* SETTING_CHOICE only */
    bool secret;          /* masked when printed (a URL: only its password) */
    const char *help;     /* one line, with the unit */
};

/* Reads every setting; a wrong value is refused by its name (ERR_FATAL). */
MUST_CHECK bool config_load(const struct setting *settings, size_t count, struct err *err);
void config_help(FILE *out, const struct setting *settings, size_t count);
/* The values in force, NAME=value lines, secrets masked. */
void config_print(FILE *out, const struct setting *settings, size_t count);
/* Calls found(name) for each LEDGER_* variable that is in no setting (nor its _FILE). */
void config_unknown(const struct setting *settings, size_t count, void (*found)(const char *name));
/* Copies a URL with the password replaced by "***", for logs. */
void config_mask_url(const char *url, char *out, size_t out_size);

#endif
