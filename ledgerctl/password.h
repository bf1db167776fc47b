/*
 * password.h - passwords, one a file, as a vault or systemd's credentials put them down.
 */
#ifndef LEDGERCTL_PASSWORD_H
#define LEDGERCTL_PASSWORD_H

#include "base/err.h"

#include <stddef.h>

enum { PASSWORD_LENGTH_MAX = 128, PASSWORD_SIZE = PASSWORD_LENGTH_MAX + 2 };

/* FOLDER/NAME without its newline: 1 to 128 characters of printable ASCII. *there: whether there is
 * such a file; without one it is true and nothing is read. Wipe it with explicit_bzero. */
MUST_CHECK bool password_read(const char *folder, const char *name,
                              char password[static PASSWORD_SIZE], bool *there, struct err *err);

#endif
