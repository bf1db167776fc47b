/*
 * ids.c - see ids.h.
 */
#include "protocol/ids.h"

#include "protocol/codec.h"

#include <string.h>

static bool is_upper_or_digit(char byte)
{
    return (byte >= 'A' && byte <= 'Z') || (byte >= '0' && byte <= '9');
}

static bool is_id_byte(char byte)
{
    return is_upper_or_digit(byte) || (byte >= 'a' && byte <= 'z') || byte == '.' || byte == '_' ||
           byte == ':' || byte == '-';
}

bool id_is_valid(struct text id)
{
    if (id.length < 1 || id.length > ID_LENGTH_MAX) return false;
    for (uint32_t i = 0; i < id.length; i++)
        if (!is_id_byte(id.bytes[i])) return false;
    return true;
}

bool asset_is_valid(struct text code)
{
    if (code.length < 1 || code.length > ASSET_LENGTH_MAX) return false;
    for (uint32_t i = 0; i < code.length; i++)
        if (!is_upper_or_digit(code.bytes[i]) && code.bytes[i] != '.') return false;
    return true;
}

bool name_is_valid(struct text name)
{
    if (name.length < 1 || name.length > NAME_LENGTH_MAX) return false;
    return memchr(name.bytes, '\0', name.length) == NULL && utf8_is_valid(name);
}
