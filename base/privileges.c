/*
 * privileges.c - see privileges.h.
 */
#include "base/privileges.h"

#include <errno.h>
#include <linux/capability.h>
#include <stdint.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

static const uint32_t LOW_PORTS = 1U << CAP_NET_BIND_SERVICE;
_Static_assert(CAP_NET_BIND_SERVICE < 32, "it is in the first word");

/* A sandbox may forbid the call where there is nothing to give up. */
static bool has_some(const struct __user_cap_data_struct data[static _LINUX_CAPABILITY_U32S_3])
{
    return ((data[0].effective | data[0].permitted) & ~LOW_PORTS) != 0 ||
           (data[0].inheritable | data[1].effective | data[1].permitted | data[1].inheritable) != 0;
}

bool privileges_drop(struct err *err)
{
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3] = {0};

    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 && syscall(SYS_capget, &header, data) == 0) {
        if (!has_some(data)) return true;
        data[0].effective &= LOW_PORTS;
        data[0].permitted &= LOW_PORTS;
        data[0].inheritable = 0;
        data[1] = (struct __user_cap_data_struct){0};
        if (syscall(SYS_capset, &header, data) == 0) return true;
    }
    return err_set(err, ERR_FATAL, "could not give up privileges: %s", strerror(errno));
}
