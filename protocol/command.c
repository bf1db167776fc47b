/*
 * command.c - the words and numbers of the commands.
 */
#include "protocol/command.h"

#include <assert.h>

/* clang-format off */
static const struct {
    const char *word;
    bool changes;
    int16_t number;
} commands[] = {
#define X(name, word, changes, number) [COMMAND_##name] = {word, changes, number},
    COMMANDS(X)
#undef X
};
/* clang-format on */
_Static_assert(sizeof commands / sizeof *commands == COMMANDS_COUNT, "each type has its row");

const char *command_word(enum command_type type)
{
    assert(type < COMMANDS_COUNT);
    return commands[type].word;
}

int16_t command_number(enum command_type type)
{
    assert(type < COMMANDS_COUNT);
    return commands[type].number;
}

bool command_changes(enum command_type type)
{
    assert(type < COMMANDS_COUNT);
    return commands[type].changes;
}

bool command_has_target(enum command_type type)
{
    return type == COMMAND_CAPTURE || type == COMMAND_RELEASE || type == COMMAND_EXPIRE_HOLD ||
           type == COMMAND_REVERSE || type == COMMAND_CANCEL;
}

bool command_asks_past(const struct command *command)
{
    return command->as_of.time_us != 0 || !uuid_is_zero(&command->as_of.transaction);
}

bool command_type_parse(struct text word, enum command_type *out)
{
    for (uint32_t i = 0; i < COMMANDS_COUNT; i++) {
        if (!text_equal(text_of(commands[i].word), word)) continue;
        *out = (enum command_type)i;
        return true;
    }
    return false;
}

bool command_type_of_number(int16_t number, enum command_type *out)
{
    for (uint32_t i = 0; i < COMMANDS_COUNT; i++) {
        if (commands[i].number != number) continue;
        *out = (enum command_type)i;
        return true;
    }
    return false;
}

struct text command_ordering_key(const struct command *command)
{
    switch (command->type) {
    case COMMAND_OPEN_ACCOUNT:
    case COMMAND_DEPOSIT:
    case COMMAND_WITHDRAW:
    case COMMAND_HOLD:
    case COMMAND_FREEZE_ACCOUNT:
    case COMMAND_UNFREEZE_ACCOUNT:
    case COMMAND_CLOSE_ACCOUNT:
    case COMMAND_SET_FLOOR:
    case COMMAND_GET_ACCOUNT:
    case COMMAND_GET_BALANCE:
    case COMMAND_LIST_TRANSACTIONS:
        return command->account;
    case COMMAND_TRANSFER:
        return command->from;
    case COMMAND_UPDATE_USER:
    case COMMAND_GET_USER:
        return command->user_id;
    case COMMAND_CAPTURE:
    case COMMAND_RELEASE:
    case COMMAND_EXPIRE_HOLD:
    case COMMAND_REVERSE:
    case COMMAND_BATCH:
    case COMMAND_CANCEL:
    case COMMAND_GET_TRANSACTION:
    case COMMANDS_COUNT:
        break;
    }
    return (struct text){0};
}

static const char *const directions[] = {
    [DIRECTION_IN] = "in", [DIRECTION_OUT] = "out", [DIRECTION_BOTH] = "both"};

const char *direction_word(enum direction direction)
{
    assert(direction >= DIRECTION_IN);
    assert(direction <= DIRECTION_BOTH);
    return directions[direction];
}

bool direction_parse(struct text word, enum direction *out)
{
    for (uint32_t i = DIRECTION_IN; i <= DIRECTION_BOTH; i++) {
        *out = (enum direction)i;
        if (text_equal(word, text_of(directions[i]))) return true;
    }
    return false;
}
