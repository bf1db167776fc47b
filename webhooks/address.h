/*
 * address.h - whether an address is on the public internet: nothing else may be posted to, for
 * whoever names an endpoint could else reach what only this machine can (SSRF).
 */
#ifndef WEBHOOKS_ADDRESS_H
#define WEBHOOKS_ADDRESS_H

#include <stdbool.h>
#include <sys/socket.h>

/* Refused: loopback, private, link-local, shared (CGNAT), documentation, benchmark, multicast,
 * reserved and unspecified addresses, and those of IPv6 that carry one of these (mapped, NAT64,
 * 6to4); any family but IPv4 and IPv6. */
bool address_is_public(const struct sockaddr *address);

#endif
