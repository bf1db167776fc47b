/*
 * commands.h - the commands that the bench publishes: which accounts, of what kind, how many of
 * them repeats. A command is a function of its number and the run's, so a repeat is made again, not
 * kept.
 */
#ifndef TESTS_BENCH_COMMANDS_H
#define TESTS_BENCH_COMMANDS_H

#include "base/publisher_amqp.h"
#include "protocol/command.h"
#include "protocol/names.h"

enum spread {
    SPREAD_UNIFORM,
    SPREAD_HOT,  /* nine in ten on one account */
    SPREAD_ZIPF, /* the k-th account as often as 1/k */
};

struct shape {
    uint64_t run;      /* makes the keys of this run its own */
    uint32_t accounts; /* bench-000000 and on, see `load open` */
    enum spread spread;
    uint32_t repeats_percent; /* of the messages: a key that was used before, with its command */
    bool transfers;           /* instead of deposits and withdrawals */
    bool reply;               /* to BENCH_REPLIES */
    bool correlated;          /* correlation_id is the number, which the events then carry too */
};

enum { ACCOUNT_SIZE = 32, KEY_SIZE = 40, CORRELATION_DIGITS = 8 };

/* The options --reply, --spread WORD, --repeats PERCENT, --transfers; BENCH_ACCOUNTS. False for
 * anything else. */
bool shape_read(struct shape *shape, int count, char **arguments);
/* The number itself, or that of the command which it repeats. */
uint32_t shape_original(const struct shape *shape, uint32_t number);
/* The texts of the command point into the two buffers. */
void shape_command(const struct shape *shape, uint32_t number, char first[static ACCOUNT_SIZE],
                   char second[static ACCOUNT_SIZE], struct command *out);
void shape_account(uint32_t number, char text[static ACCOUNT_SIZE]);
void shape_key(const struct shape *shape, uint32_t number, char text[static KEY_SIZE]);

/* How messages leave: one connection, confirms. */
struct outlet;
void outlet_open(struct outlet **out, const struct names *names, uint32_t window);
void outlet_close(struct outlet *outlet);
uint32_t outlet_room(const struct outlet *outlet);
void outlet_send(struct outlet *outlet, const struct shape *shape, uint32_t number);
/* `size` commands in one message, each with the key that it would have alone. */
void outlet_send_batch(struct outlet *outlet, const struct shape *shape, uint32_t first,
                       uint32_t size);
/* In the order of n: opens account n / 2, or puts money into it. */
void outlet_send_opening(struct outlet *outlet, const struct shape *shape, uint32_t n);
/* Anything else. */
void outlet_send_message(struct outlet *outlet, const struct message *message);
/* Reads confirms, waits at most wait_ms for the first; how many came. A refusal ends the program.
 */
uint32_t outlet_confirmed(struct outlet *outlet, uint32_t wait_ms);

#endif
