/*
 * csv.h - a line of CSV. The header names the columns, in any order; one that is unknown, doubled
 * or out of place is refused by its name. Two kinds of file:
 *
 *   type,key,account,from,to,user_id,name,asset,kind,amount,amount_minor,direction,metadata,at
 *           what happened: each line is a command of that type, an empty cell is a key left out
 *   account,user_id,name,asset,kind,balance,balance_minor,metadata,key,at
 *           what there was: each line opens an account and puts its balance there, both or nothing
 *
 * `amount` and `balance` count major units and may have decimals (12.50); `amount_minor` and
 * `balance_minor` count minor units (1250). Pure.
 */
#ifndef IMPORT_CSV_H
#define IMPORT_CSV_H

#include "import/line.h"

enum { CSV_COLUMNS_MAX = 24 };

struct csv {
    bool opens; /* accounts with their balances */
    uint32_t count;
    uint8_t columns[CSV_COLUMNS_MAX]; /* what each is, see csv.c */
};

MUST_CHECK bool csv_header(struct bytes text, struct arena *arena, struct csv *out,
                           char problem[static PROBLEM_SIZE]);
/* As line_of_json. */
MUST_CHECK bool csv_line(const struct csv *csv, struct codec *codec, struct bytes text,
                         struct text key, struct arena *arena, struct line *out,
                         char problem[static PROBLEM_SIZE]);

#endif
