/*
 * notify.c - see notify.h.
 */
#include "base/notify.h"

#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

/* False with errno. */
static bool send_to(const char *path, const char *text)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    size_t size = strlen(path), length = strlen(text);

    errno = ENAMETOOLONG;
    if (size >= sizeof address.sun_path) return false;
    memcpy(address.sun_path, path, size);
    if (path[0] == '@') address.sun_path[0] = '\0'; /* a name that is in no file system */
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0) return false;
    ssize_t sent = sendto(fd, text, length, MSG_NOSIGNAL, (const struct sockaddr *)&address,
                          (socklen_t)(offsetof(struct sockaddr_un, sun_path) + size));
    int problem = errno;
    (void)close(fd);
    errno = problem;
    return sent == (ssize_t)length;
}

bool notify_ready(struct err *err)
{
    const char *path = getenv("NOTIFY_SOCKET");

    if (path == NULL || path[0] == '\0' || send_to(path, "READY=1")) return true;
    return err_set(err, ERR_RETRY, "could not tell systemd that we are up: %s", strerror(errno));
}
