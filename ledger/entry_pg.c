/*
 * entry_pg.c - see entry_pg.h. PostgreSQL's binary form is the one that is hashed, but for the
 * command, of which the word is, and the time, which it counts from 2000.
 */
#include "ledger/entry_pg.h"

#include "protocol/command.h"

#include <string.h>

static const uint64_t EPOCH_2000_US = UINT64_C(946684800) * 1000000;

static struct bytes command_bytes(int16_t number)
{
    enum command_type type;

    if (!command_type_of_number(number, &type)) return chain_text((struct text){0});
    return chain_text(text_of(command_word(type)));
}

void entry_read(const PGresult *rows, int row, int first_column, struct entry_row *out)
{
    *out = (struct entry_row){0};
    for (int i = 0; i < CHAIN_FIELDS_COUNT; i++) {
        int column = first_column + i;
        if (cell_is_null(rows, row, column)) continue;
        if (i == CHAIN_COMMAND)
            out->entry.fields[i] = command_bytes(cell_int16(rows, row, column));
        else if (i == CHAIN_CREATED) /* unsigned: infinity must not be an overflow */
            out->entry.fields[i] = chain_number(
                out->created, (int64_t)((uint64_t)cell_int64(rows, row, column) + EPOCH_2000_US));
        else
            out->entry.fields[i] = cell_bytes(rows, row, column);
    }
}

bool entry_read_hash(const PGresult *rows, int row, int column, struct sha256 *out)
{
    struct bytes cell = cell_bytes(rows, row, column);

    if (cell.size != SHA256_SIZE) return false;
    memcpy(out->bytes, cell.data, SHA256_SIZE);
    return true;
}
