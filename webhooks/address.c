/*
 * address.c - see address.h. The ranges are those of IANA's special-purpose address registries
 * (RFC 6890); of IPv6 only 2000::/3 is global unicast, so everything else is refused unseen.
 */
#include "webhooks/address.h"

#include <netinet/in.h>
#include <stdint.h>
#include <string.h>

/* clang-format off */
static const struct range4 {
    uint32_t network;
    uint32_t bits;
} CLOSED4[] = {
    {0x00000000, 8},  /* 0.0.0.0       this network */
    {0x0a000000, 8},  /* 10.0.0.0      private */
    {0x64400000, 10}, /* 100.64.0.0    shared, CGNAT */
    {0x7f000000, 8},  /* 127.0.0.0     loopback */
    {0xa9fe0000, 16}, /* 169.254.0.0   link-local */
    {0xac100000, 12}, /* 172.16.0.0    private */
    {0xc0000000, 24}, /* 192.0.0.0     protocol assignments */
    {0xc0000200, 24}, /* 192.0.2.0     documentation */
    {0xc0586300, 24}, /* 192.88.99.0   6to4 relays */
    {0xc0a80000, 16}, /* 192.168.0.0   private */
    {0xc6120000, 15}, /* 198.18.0.0    benchmarks */
    {0xc6336400, 24}, /* 198.51.100.0  documentation */
    {0xcb007100, 24}, /* 203.0.113.0   documentation */
    {0xe0000000, 3},  /* 224.0.0.0     multicast, reserved, broadcast */
};
/* clang-format on */

static bool is_public4(uint32_t address)
{
    for (size_t i = 0; i < sizeof CLOSED4 / sizeof CLOSED4[0]; i++)
        if ((address ^ CLOSED4[i].network) >> (32 - CLOSED4[i].bits) == 0) return false;
    return true;
}

static uint32_t word(const uint8_t *bytes)
{
    return (uint32_t)bytes[0] << 24 | (uint32_t)bytes[1] << 16 | (uint32_t)bytes[2] << 8 | bytes[3];
}

static bool is_public6(const uint8_t bytes[static 16])
{
    static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};    /* ::ffff:0:0/96 */
    static const uint8_t nat64[12] = {[1] = 0x64, [2] = 0xff, 0x9b}; /* 64:ff9b::/96 */

    if (memcmp(bytes, mapped, sizeof mapped) == 0 || memcmp(bytes, nat64, sizeof nat64) == 0)
        return is_public4(word(bytes + 12));
    if (bytes[0] >> 5 != 1) return false;                                /* not in 2000::/3 */
    if (word(bytes) >> 16 == 0x2002) return is_public4(word(bytes + 2)); /* 6to4 */
    if (word(bytes) >> 9 == 0x20010000 >> 9) return false;               /* 2001::/23, Teredo too */
    if (word(bytes) == 0x20010db8) return false;                         /* documentation */
    return word(bytes) >> 12 != 0x3fff0; /* documentation, 3fff::/20 */
}

bool address_is_public(const struct sockaddr *address)
{
    if (address->sa_family == AF_INET) {
        struct sockaddr_in in;
        memcpy(&in, address, sizeof in);
        return is_public4(ntohl(in.sin_addr.s_addr));
    }
    if (address->sa_family == AF_INET6) {
        struct sockaddr_in6 in6;
        memcpy(&in6, address, sizeof in6);
        return is_public6(in6.sin6_addr.s6_addr);
    }
    return false;
}
