#!/bin/bash
# Makes a ledger large, quickly: rows by SQL (grow.sql), indexes taken off before and built after. To be sourced.
# shellcheck disable=SC2154

grow_rows() { # DATABASE WHAT FIRST LAST ACCOUNTS: in pieces, two at a time
    local url piece=500000 from to jobs=() job
    url=$(database_url "$1")
    for ((from = $3; from <= $4; from += piece)); do
        to=$((from + piece - 1 < $4 ? from + piece - 1 : $4))
        sql "$url" -v what="$2" -v first="$from" -v last="$to" -v accounts="$5" -f tests/bench/grow.sql >/dev/null &
        jobs+=($!)
        if ((${#jobs[@]} == 2)); then
            for job in "${jobs[@]}"; do wait "$job"; done
            jobs=()
        fi
    done
    for job in "${jobs[@]}"; do wait "$job"; done
}

# DATABASE TABLE: what makes its indexes again is printed, and they are gone.
drop_indexes() {
    local url
    url=$(database_url "$1")
    sql "$url" <<SQL
SELECT format('ALTER TABLE %s ADD CONSTRAINT %I %s', conrelid::regclass, conname, pg_get_constraintdef(oid))
  FROM pg_constraint WHERE conrelid = 'ledger.$2'::regclass AND contype IN ('p', 'u')
UNION ALL
SELECT pg_get_indexdef(indexrelid) FROM pg_index
 WHERE indrelid = 'ledger.$2'::regclass AND NOT EXISTS (SELECT FROM pg_constraint WHERE conindid = indexrelid);
SQL
    sql "$url" <<SQL >/dev/null
SELECT format('ALTER TABLE %s DROP CONSTRAINT %I', conrelid::regclass, conname)
  FROM pg_constraint WHERE conrelid = 'ledger.$2'::regclass AND contype IN ('p', 'u')
\gexec
SELECT format('DROP INDEX %s', indexrelid::regclass) FROM pg_index WHERE indrelid = 'ledger.$2'::regclass
\gexec
SQL
}
# DATABASE, definitions on stdin: two at a time.
make_indexes() {
    local url
    url=$(database_url "$1")
    xargs -d '\n' -P 2 -I '{}' psql -qXAt -v ON_ERROR_STOP=1 "$url" -c 'SET maintenance_work_mem = "512MB"' \
        -c 'SET search_path = ledger, public' -c '{}' >/dev/null
}

# DATABASE ROWS ACCOUNTS: so many more rows of the journal, spread over the first ACCOUNTS accounts.
grow_journal() {
    drop_indexes "$1" journal >"$logs/indexes"
    grow_rows "$1" journal 0 $(($2 - 1)) "$3"
    make_indexes "$1" <"$logs/indexes"
    sql "$(database_url "$1")" -c "UPDATE ledger.account SET seq = seq + 1 + $2 / $3 WHERE kind = 0" \
        -c 'VACUUM ANALYZE ledger.account' -c 'VACUUM ANALYZE ledger.journal' -c CHECKPOINT
}
# DATABASE FIRST LAST: accounts bench-FIRST to bench-LAST.
grow_accounts() {
    { drop_indexes "$1" account; drop_indexes "$1" account_identity; } >"$logs/indexes"
    grow_rows "$1" account "$2" "$3" 1
    sql "$(database_url "$1")" -c "INSERT INTO ledger.account_identity (id, number)
        SELECT id, number FROM ledger.account WHERE number > (SELECT max(number) FROM ledger.account_identity)"
    make_indexes "$1" <"$logs/indexes"
    sql "$(database_url "$1")" -c 'VACUUM ANALYZE ledger.account' -c 'VACUUM ANALYZE ledger.account_identity' -c CHECKPOINT
}
