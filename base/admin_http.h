/*
 * admin_http.h - the port every process listens on: GET /metrics, /health/live, /health/ready,
 * /health. A thread of its own; bounded in connections, request size and time.
 */
#ifndef BASE_ADMIN_HTTP_H
#define BASE_ADMIN_HTTP_H

#include "base/err.h"

#include <stdint.h>

struct admin;

/* Port 0 takes a free one. ERR_FATAL when the port cannot be had, naming the setting to change. */
MUST_CHECK bool admin_open(struct admin **out, const char *address, uint16_t port, struct err *err);
uint16_t admin_port(const struct admin *admin);
void admin_close(struct admin *admin); /* NULL is fine */

#endif
