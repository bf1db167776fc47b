/*
 * password.c - see password.h. No buffer of stdio's, which would keep a copy.
 */
#include "ledgerctl/password.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

bool password_read(const char *folder, const char *name, char password[static PASSWORD_SIZE],
                   bool *there, struct err *err)
{
    char path[PATH_MAX];

    password[0] = '\0';
    *there = false;
    if (snprintf(path, sizeof path, "%s/%s", folder, name) >= (int)sizeof path)
        return err_set(err, ERR_FATAL, "could not read %s: the path is too long", folder);
    int file = open(path, O_RDONLY | O_CLOEXEC);
    if (file < 0 && errno == ENOENT && access(folder, X_OK) == 0) return true;
    if (file < 0) return err_set(err, ERR_FATAL, "could not open %s: %s", path, strerror(errno));
    ssize_t length = read(file, password, PASSWORD_SIZE - 1);
    (void)close(file);
    if (length < 0) return err_set(err, ERR_FATAL, "could not read %s: %s", path, strerror(errno));
    if (length > 0 && password[length - 1] == '\n') length--;
    password[length] = '\0';
    *there = true;
    bool ok = length >= 1 && length <= PASSWORD_LENGTH_MAX;
    for (ssize_t i = 0; i < length; i++) ok = ok && password[i] >= ' ' && password[i] <= '~';
    return ok || err_set(err, ERR_FATAL,
                         "%s: a password is 1 to %d characters of printable ASCII, on one line",
                         path, PASSWORD_LENGTH_MAX);
}
