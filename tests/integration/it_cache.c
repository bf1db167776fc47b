/*
 * it_cache.c - the cache on a Redis of its own and a broker: what is filled is served, until an
 * event says otherwise, near or in Redis, by any of several processes; an answer from before a
 * change is never kept; one asks and the others wait; and with Redis stopped, restarted with what
 * it had forgotten, or nobody to hear of changes, nothing old is served.
 */
#include "gateway/cache.h"
#include "protocol/event_list.h"
#include "tests/amqp.h"

#include <arpa/inet.h>
#include <hiredis/hiredis.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
    REDIS_TIMEOUT_MS = 1000,
    WAIT_MS = 15000,
    STEP_MS = 5,
    TTL_S = 600,
    NEAR = 64,
    NEAR_MS = 5000,
    SIZE = 64,
    FORWARD = 4096
};

static pid_t redis_server, forwarder;
static int redis_port;
static char redis_url[SIZE], prefix[SIZE], events_exchange[SIZE + 8], folder[SIZE],
    through_url[2 * SIZE];
static struct cache *cache;
static struct codec *codec;

/* --- servers ---------------------------------------------------------------------------------- */

static int listen_anywhere(int *port)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof address;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    assert_true(fd >= 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&address, size), 0);
    assert_int_equal(listen(fd, 8), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &size), 0);
    *port = ntohs(address.sin_port);
    return fd;
}

/* The text of a reply, or "" for none. */
static void redis(char *out, size_t out_size, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
static void redis(char *out, size_t out_size, const char *format, ...)
{
    redisContext *context = redisConnect("127.0.0.1", redis_port);
    va_list arguments;

    va_start(arguments, format);
    redisReply *reply = redisvCommand(context, format, arguments);
    va_end(arguments);
    if (reply == NULL || reply->type == REDIS_REPLY_ERROR)
        fail_msg("%s: %s", format, reply == NULL ? context->errstr : reply->str);
    else if (out != NULL)
        (void)snprintf(out, out_size, "%s", reply->str == NULL ? "" : reply->str);
    freeReplyObject(reply);
    redisFree(context);
}

static bool redis_is_up(void)
{
    redisContext *context = redisConnect("127.0.0.1", redis_port);
    redisReply *reply = context->err == 0 ? redisCommand(context, "PING") : NULL;
    bool up = reply != NULL && reply->type == REDIS_REPLY_STATUS; /* not: still loading */

    if (reply != NULL) freeReplyObject(reply);
    redisFree(context);
    return up;
}

static void redis_start(void)
{
    char port[16];

    (void)snprintf(port, sizeof port, "%d", redis_port);
    redis_server = fork();
    assert_true(redis_server >= 0);
    if (redis_server == 0) {
        (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
        (void)execlp("redis-server", "redis-server", "--bind", "127.0.0.1", "--port", port,
                     "--save", "", "--appendonly", "no", "--logfile", "/dev/null", "--dir", folder,
                     (char *)NULL);
        _exit(127);
    }
    for (uint64_t end = clock_monotonic_ms() + WAIT_MS; !redis_is_up(); clock_sleep_ms(STEP_MS))
        if (clock_monotonic_ms() > end) fail_msg("redis-server did not start");
}

static void stop(pid_t *child)
{
    if (*child <= 0) return;
    (void)kill(*child, SIGKILL);
    (void)waitpid(*child, NULL, 0);
    *child = 0;
}

/* --- what stands between the cache and the broker, to be cut ---------------------------------- */

static bool copy(int from, int to)
{
    ssize_t got = read(from, large, FORWARD);

    for (ssize_t done = 0; done < got;) {
        ssize_t sent = write(to, large + done, (size_t)(got - done));
        if (sent <= 0) return false;
        done += sent;
    }
    return got > 0;
}

/* One connection at a time is enough. */
static void forward(int listener, int port)
{
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
                                  .sin_port = htons((uint16_t)port)};

    while (true) {
        int in = accept(listener, NULL, NULL), out = socket(AF_INET, SOCK_STREAM, 0);
        bool open = connect(out, (struct sockaddr *)&address, sizeof address) == 0;
        while (open) {
            struct pollfd ends[] = {{in, POLLIN, 0}, {out, POLLIN, 0}};
            if (poll(ends, 2, -1) < 0) break;
            if (ends[0].revents != 0) open = copy(in, out);
            if (open && ends[1].revents != 0) open = copy(out, in);
        }
        (void)close(in);
        (void)close(out);
    }
}

static int through_listener, through_port, broker_port;

static void forward_start(void)
{
    forwarder = fork();
    assert_true(forwarder >= 0);
    if (forwarder == 0) {
        (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
        forward(through_listener, broker_port);
    }
}

/* --- the cache -------------------------------------------------------------------------------- */

static struct cache *open_cache(const char *amqp, uint32_t ttl_s, uint32_t near)
{
    const struct cache_options options = {.redis_url = redis_url,
                                          .amqp_url = amqp,
                                          .prefix = prefix,
                                          .name = "it_cache",
                                          .timeout_ms = REDIS_TIMEOUT_MS,
                                          .ttl_s = ttl_s,
                                          .near_entries = near,
                                          .amqp_timeout_ms = TIMEOUT_MS,
                                          .transactions = true};
    struct cache *opened;

    must(cache_open(&opened, &options, &err));
    return opened;
}

static void wait_for(const struct cache *one, bool up)
{
    for (uint64_t end = clock_monotonic_ms() + WAIT_MS; cache_is_up(one) != up;
         clock_sleep_ms(STEP_MS))
        if (clock_monotonic_ms() > end) fail_msg("the cache is not %s", up ? "up" : "down");
}

/* A broker's address with another port. */
static void find_broker(void)
{
    char login[SIZE];
    const char *host = strstr(url, "@127.0.0.1:");

    if (host == NULL || sscanf(host, "@127.0.0.1:%d/", &broker_port) != 1 ||
        !text_copy((struct text){url, (uint32_t)(host - url)}, login, sizeof login))
        fail_msg("LEDGER_AMQP_URL is not on 127.0.0.1: %s", url);
    through_listener = listen_anywhere(&through_port);
    (void)snprintf(through_url, sizeof through_url, "%s@127.0.0.1:%d/", login, through_port);
}

static void declare_exchange(void)
{
    struct topology_exchange exchange = {.type = "topic"};
    const struct topology topology = {.exchanges = &exchange, .exchanges_count = 1};

    (void)snprintf(exchange.name, sizeof exchange.name, "%s", events_exchange);
    must(topology_apply(url, &topology, TOPOLOGY_DECLARE, &err));
}

static int begin(void **state)
{
    (void)state;
    url = getenv("LEDGER_AMQP_URL");
    if (url == NULL) fail_msg("LEDGER_AMQP_URL is not set");
    find_broker();
    (void)close(listen_anywhere(&redis_port));
    (void)snprintf(redis_url, sizeof redis_url, "redis://127.0.0.1:%d/0", redis_port);
    (void)snprintf(prefix, sizeof prefix, "itcache%d", (int)getpid());
    (void)snprintf(events_exchange, sizeof events_exchange, "%s.events", prefix);
    (void)snprintf(folder, sizeof folder, "/tmp/it_cache.%d", (int)getpid());
    assert_int_equal(mkdir(folder, 0700), 0);
    declare_exchange();
    redis_start();
    must(codec_open(&codec, &err));
    must(arena_open(&arena, ARENA_SIZE, &err));
    must(publisher_start(url, 30, TIMEOUT_MS));
    cache = open_cache(url, TTL_S, NEAR);
    wait_for(cache, true);
    return 0;
}

static int finish(void **state)
{
    char dump[SIZE + 16];

    (void)state;
    cache_close(cache);
    publisher_close(publisher);
    arena_close(&arena);
    codec_close(codec);
    stop(&forwarder);
    stop(&redis_server);
    (void)close(through_listener);
    (void)snprintf(dump, sizeof dump, "%s/dump.rdb", folder);
    (void)unlink(dump);
    return rmdir(folder);
}

/* --- reads ------------------------------------------------------------------------------------ */

struct asker {
    struct cache_read read; /* first */
    _Atomic bool ended;
    char value[SIZE];
};

static void note(char out[static SIZE], const void *data, size_t size)
{
    assert_true(size < SIZE);
    if (size > 0) memcpy(out, data, size);
    out[size] = '\0';
}

static void ended(struct cache_read *read, struct bytes value)
{
    struct asker *asker = (struct asker *)read;

    note(asker->value, value.data, value.size);
    atomic_store(&asker->ended, true);
}

static enum cache_look look_as(struct cache *one, struct asker *asker, enum cache_kind kind,
                               const char *id, const char *caller)
{
    uint8_t *value = NULL;
    uint32_t size = 0;

    memset(asker, 0, sizeof *asker);
    asker->read.kind = kind;
    asker->read.id = text_of(id);
    asker->read.caller = text_of(caller);
    asker->read.ended = ended;
    enum cache_look result = cache_look(one, &asker->read, &value, &size);
    if (result == CACHE_HIT) note(asker->value, value, size);
    free(value);
    return result;
}

static enum cache_look look(struct cache *one, struct asker *asker, const char *id)
{
    return look_as(one, asker, CACHE_USER, id, "");
}

static void end(struct cache *one, struct asker *asker, const char *value)
{
    struct bytes bytes = {(const uint8_t *)value, (uint32_t)strlen(value)};

    cache_end(one, &asker->read, bytes, true);
}

/* Asks until it is a hit, filling what is missed. */
static void fill_as(enum cache_kind kind, const char *id, const char *caller, const char *value)
{
    uint64_t until = clock_monotonic_ms() + WAIT_MS;
    struct asker asker;

    while (look_as(cache, &asker, kind, id, caller) != CACHE_HIT) {
        end(cache, &asker, value);
        if (clock_monotonic_ms() > until) fail_msg("%s is never a hit", id);
        clock_sleep_ms(STEP_MS);
    }
    assert_string_equal(asker.value, value);
}

static void fill(const char *id, const char *value)
{
    fill_as(CACHE_USER, id, "", value);
}

/* How long it takes until it is no hit any more. */
static uint64_t await_miss(struct cache *one, enum cache_kind kind, const char *id)
{
    uint64_t from = clock_monotonic_us();
    struct asker asker;

    while (look_as(one, &asker, kind, id, "") == CACHE_HIT) {
        if (clock_monotonic_us() - from > (uint64_t)WAIT_MS * 1000)
            fail_msg("%s is still a hit", id);
        clock_sleep_us(100);
    }
    cache_end(one, &asker.read, (struct bytes){0}, false);
    return clock_monotonic_us() - from;
}

static void expect_hit(struct cache *one, const char *id, const char *value)
{
    struct asker asker;

    assert_int_equal(look(one, &asker, id), CACHE_HIT);
    assert_string_equal(asker.value, value);
}

/* --- events ----------------------------------------------------------------------------------- */

static void publish(const char *key, struct bytes body)
{
    uint32_t confirms = 0;

    assert_true(send_bytes(events_exchange, key, body.data, body.size));
    while (confirms == 0)
        must(publisher_poll(publisher, TIMEOUT_MS, confirmed, WINDOW, &confirms, &err));
}

static struct event user_event(enum event_type type, const char *user)
{
    return (struct event){.type = type,
                          .command = COMMAND_UPDATE_USER,
                          .transaction = {{1}},
                          .result = RESULT_APPLIED,
                          .user_id = text_of(user),
                          .timestamp_us = 1};
}

static void tell(struct event event, enum encoding encoding)
{
    struct bytes body;

    arena_reset(&arena);
    assert_true(event_encode(codec, &event, encoding, &arena, &body));
    publish(event_word(event.type), body);
}

/* --- tests ------------------------------------------------------------------------------------ */

static void what_is_filled_is_served_to_whom_it_was_told(void **state)
{
    struct asker asker;

    (void)state;
    assert_int_equal(look_as(cache, &asker, CACHE_USER, "ann", "shop"), CACHE_MISS);
    end(cache, &asker, "Ann");
    fill_as(CACHE_USER, "ann", "shop", "Ann");
    assert_int_equal(look_as(cache, &asker, CACHE_USER, "ann", "other"), CACHE_MISS);
    cache_end(cache, &asker.read, (struct bytes){(const uint8_t *)"no", 2}, false); /* not kept */
    clock_sleep_ms(50);
    assert_int_equal(look_as(cache, &asker, CACHE_USER, "ann", "other"), CACHE_MISS);
    cache_end(cache, &asker.read, (struct bytes){0}, false);
    assert_int_equal(look_as(cache, &asker, CACHE_TRANSACTION, "ann", "shop"), CACHE_MISS);
    cache_end(cache, &asker.read, (struct bytes){0}, false);
}

static void an_event_drops_what_it_names_and_no_more(void **state)
{
    char id[UUID_TEXT_SIZE];
    struct event events[2] = {user_event(EVENT_USER_UPDATED, "bea"),
                              user_event(EVENT_ACCOUNT_OPENED, "bob")};
    struct event reversal = {.type = EVENT_TRANSACTION_CREATED,
                             .command = COMMAND_REVERSE,
                             .transaction = {{2}},
                             .refers = {{7, 7}},
                             .result = RESULT_APPLIED,
                             .timestamp_us = 1};
    struct event_list list = {.batch = {{3}}, .events = events, .count = 2, .timestamp_us = 1};
    struct bytes body;
    uint32_t taken;

    (void)state;
    fill_as(CACHE_USER, "bea", "", "Bea");
    fill_as(CACHE_USER, "bea", "shop", "Bea");
    fill("bob", "Bob");
    fill("cyd", "Cyd");
    uuid_format(&reversal.refers, id);
    fill_as(CACHE_TRANSACTION, id, "", "not reversed");
    tell(user_event(EVENT_USER_UPDATED, "bea"), ENCODING_MSGPACK);
    print_message("an event drops its entry within %ju us of its confirm\n",
                  (uintmax_t)await_miss(cache, CACHE_USER, "bea"));
    struct asker asker; /* by tag: whoever asked */
    assert_int_equal(look_as(cache, &asker, CACHE_USER, "bea", "shop"), CACHE_MISS);
    cache_end(cache, &asker.read, (struct bytes){0}, false);
    tell(user_event(EVENT_ACCOUNT_OPENED, "bob"), ENCODING_JSON);
    (void)await_miss(cache, CACHE_USER, "bob");
    tell(reversal, ENCODING_MSGPACK);
    (void)await_miss(cache, CACHE_TRANSACTION, id);
    fill("bea", "Bea 2");
    fill("bob", "Bob 2");
    arena_reset(&arena);
    assert_true(event_list_encode(&list, ENCODING_MSGPACK, &arena, &body, &taken));
    assert_int_equal(taken, 2);
    publish(EVENT_LIST_WORD, body);
    (void)await_miss(cache, CACHE_USER, "bea");
    (void)await_miss(cache, CACHE_USER, "bob");
    expect_hit(cache, "cyd", "Cyd");
    publish("something.new", (struct bytes){(const uint8_t *)"?", 1}); /* may be anything */
    (void)await_miss(cache, CACHE_USER, "cyd");
}

/* The answer was on its way when the change came. */
static void an_answer_from_before_a_change_is_not_kept(void **state)
{
    struct asker early, waiting, late, again;
    char entry[SIZE];

    (void)state;
    assert_int_equal(look(cache, &early, "dan"), CACHE_MISS);
    assert_int_equal(look(cache, &waiting, "dan"), CACHE_WAIT);
    tell(user_event(EVENT_USER_UPDATED, "dan"), ENCODING_MSGPACK);
    fill("eve", "Eve");
    tell(user_event(EVENT_USER_UPDATED, "eve"), ENCODING_MSGPACK);
    (void)await_miss(cache, CACHE_USER, "eve"); /* in order: so the event of dan was heard too */
    assert_int_equal(look(cache, &late, "dan"), CACHE_MISS); /* who asks now goes himself */
    end(cache, &early, "old");
    assert_true(atomic_load(&waiting.ended)); /* he asked before the change */
    assert_string_equal(waiting.value, "old");
    for (uint64_t until = clock_monotonic_ms() + WAIT_MS; true; clock_sleep_ms(STEP_MS)) {
        redis(entry, sizeof entry, "GET %s:cache:user/dan/", prefix);
        if (entry[0] != '\0') break;
        if (clock_monotonic_ms() > until) fail_msg("it was not even written");
    }
    assert_int_equal(look(cache, &again, "dan"),
                     CACHE_WAIT); /* no hit: the late one is on his way */
    end(cache, &late, "new");
    assert_string_equal(again.value, "new");
    fill("dan", "new");
}

static void one_asks_and_the_others_wait(void **state)
{
    struct asker first, others[3];

    (void)state;
    assert_int_equal(look(cache, &first, "fay"), CACHE_MISS);
    for (int i = 0; i < 3; i++) assert_int_equal(look(cache, &others[i], "fay"), CACHE_WAIT);
    cache_end(cache, &first.read, (struct bytes){(const uint8_t *)"none", 4}, false);
    for (int i = 0; i < 3; i++) assert_string_equal(others[i].value, "none");
    assert_int_equal(look(cache, &first, "fay"), CACHE_MISS);
    assert_int_equal(look(cache, &others[0], "fay"), CACHE_WAIT);
    cache_end(cache, &first.read, (struct bytes){0}, false); /* the ledger did not answer */
    assert_true(atomic_load(&others[0].ended));
    assert_string_equal(others[0].value, "");
}

/* Two processes: what one fills the other serves; shortly before its end one of them asks. */
static void one_of_all_processes_fetches_it_anew(void **state)
{
    enum { SHORT_TTL_S = 4, ATTEMPTS = 5 };
    struct cache *one = open_cache(url, SHORT_TTL_S, NEAR),
                 *other = open_cache(url, SHORT_TTL_S, NEAR);
    struct asker a, b;
    bool seen = false;
    char id[SIZE];

    (void)state;
    wait_for(one, true);
    wait_for(other, true);
    for (int attempt = 0; attempt < ATTEMPTS && !seen; attempt++) {
        (void)snprintf(id, sizeof id, "gus%d", attempt);
        uint64_t from = clock_monotonic_ms();
        assert_int_equal(look(one, &a, id), CACHE_MISS);
        end(one, &a, "Gus");
        while (look(other, &b, id) != CACHE_HIT) {
            cache_end(other, &b.read, (struct bytes){0}, false);
            clock_sleep_ms(STEP_MS);
        }
        clock_sleep_ms(SHORT_TTL_S * 1000 - 250);
        enum cache_look first = look(one, &a, id), second = look(other, &b, id);
        seen = first == CACHE_MISS && second == CACHE_HIT;
        if (first == CACHE_MISS) end(one, &a, "Gus 2");
        if (second == CACHE_MISS) cache_end(other, &b.read, (struct bytes){0}, false);
        bool in_time = clock_monotonic_ms() - from < SHORT_TTL_S * 1000;
        if (in_time && !seen) fail_msg("both, or none: %d and %d", first, second);
    }
    assert_true(seen);
    uint64_t until = clock_monotonic_ms() + WAIT_MS;
    while (look(other, &b, id) != CACHE_HIT || strcmp(b.value, "Gus 2") != 0) {
        if (b.read.flight != NULL) cache_end(other, &b.read, (struct bytes){0}, false);
        if (clock_monotonic_ms() > until) fail_msg("what was fetched anew is not served");
        clock_sleep_ms(STEP_MS);
    }
    cache_close(one);
    cache_close(other);
    wait_for(cache, true);
}

/* What a gateway has near it serves without Redis, until its own event comes, or for some seconds.
 */
static void what_is_near_is_dropped_in_every_process(void **state)
{
    char id[UUID_TEXT_SIZE];
    struct event reversal = {.type = EVENT_TRANSACTION_CREATED,
                             .command = COMMAND_REVERSE,
                             .transaction = {{2}},
                             .refers = {{8, 8}},
                             .result = RESULT_APPLIED,
                             .timestamp_us = 1};
    struct asker asker;

    (void)state;
    struct cache *beside = open_cache(url, TTL_S, NEAR);
    wait_for(beside, true);
    wait_for(cache, true);
    uint64_t from_ms = clock_monotonic_ms();
    fill("mia", "Mia");
    fill("ned", "Ned");
    uuid_format(&reversal.refers, id);
    fill_as(CACHE_TRANSACTION, id, "", "not reversed");
    expect_hit(beside, "mia", "Mia");
    expect_hit(beside, "ned", "Ned");
    assert_int_equal(look_as(beside, &asker, CACHE_TRANSACTION, id, ""), CACHE_HIT);
    redis(NULL, 0, "FLUSHALL");
    expect_hit(cache, "mia", "Mia"); /* so both have it near */
    expect_hit(beside, "mia", "Mia");
    tell(user_event(EVENT_USER_UPDATED, "mia"), ENCODING_MSGPACK);
    uint64_t took_us = await_miss(cache, CACHE_USER, "mia");
    took_us += await_miss(beside, CACHE_USER, "mia");
    print_message("an event drops what is near in two processes within %ju us of its confirm\n",
                  (uintmax_t)took_us);
    tell(reversal, ENCODING_MSGPACK);
    took_us += await_miss(cache, CACHE_TRANSACTION, id);
    took_us += await_miss(beside, CACHE_TRANSACTION, id);
    assert_true(took_us < (uint64_t)PAUSE_MS * 1000); /* and not because its time was over */
    while (look(cache, &asker, "ned") == CACHE_HIT) clock_sleep_ms(STEP_MS);
    cache_end(cache, &asker.read, (struct bytes){0}, false);
    assert_true(clock_monotonic_ms() - from_ms >= NEAR_MS); /* nothing was said of him */
    cache_close(beside);
}

static void a_strangers_value_is_a_miss(void **state)
{
    struct asker asker;

    (void)state;
    struct cache *near = cache;
    cache = open_cache(url, TTL_S, 0); /* of what is near Redis is not asked */
    wait_for(cache, true);
    fill("hal", "Hal");
    redis(NULL, 0, "RENAME %s:cache:user/hal/ %s:cache:user/ian/", prefix, prefix);
    redis(NULL, 0, "COPY %s:cache:tag:user/hal %s:cache:tag:user/ian", prefix, prefix);
    assert_int_equal(look(cache, &asker, "ian"), CACHE_MISS); /* an entry that names another key */
    cache_end(cache, &asker.read, (struct bytes){0}, false);
    redis(NULL, 0, "SET %s:cache:user/ian/ garbage", prefix);
    assert_int_equal(look(cache, &asker, "ian"), CACHE_MISS);
    cache_end(cache, &asker.read, (struct bytes){0}, false);
    redis(NULL, 0, "FLUSHALL");
    assert_int_equal(look(cache, &asker, "hal"), CACHE_MISS);
    end(cache, &asker, "Hal");
    fill("hal", "Hal");
    cache_close(cache);
    cache = near;
}

/* It comes back with what it had before the change: a snapshot, or a replica that took over. */
static void a_redis_that_forgot_a_change_is_not_believed(void **state)
{
    struct asker asker;

    (void)state;
    fill("jan", "old");
    redis(NULL, 0, "SAVE");
    tell(user_event(EVENT_USER_UPDATED, "jan"), ENCODING_MSGPACK);
    (void)await_miss(cache, CACHE_USER, "jan");
    stop(&redis_server);
    for (int i = 0; i < 10; i++) { /* without Redis: right, and soon */
        uint64_t from = clock_monotonic_ms();
        assert_int_equal(look(cache, &asker, "jan"), CACHE_MISS);
        end(cache, &asker, "new");
        assert_true(clock_monotonic_ms() - from < REDIS_TIMEOUT_MS + PAUSE_MS);
    }
    assert_false(cache_is_up(cache));
    redis_start();
    for (uint64_t until = clock_monotonic_ms() + WAIT_MS; !cache_is_up(cache);) {
        if (clock_monotonic_ms() > until) fail_msg("it does not come back");
        assert_int_not_equal(look(cache, &asker, "jan"), CACHE_HIT);
        cache_end(cache, &asker.read, (struct bytes){0}, false);
    }
    assert_int_equal(look(cache, &asker, "jan"), CACHE_MISS);
    end(cache, &asker, "new");
    fill("jan", "new");
}

/* A change that nobody could tell it of. */
static void who_hears_nothing_serves_nothing(void **state)
{
    struct asker asker;

    (void)state;
    forward_start();
    struct cache *deaf = open_cache(through_url, TTL_S, NEAR);
    wait_for(deaf, true);
    wait_for(cache, true);
    fill("kim", "old");
    expect_hit(deaf, "kim", "old");
    expect_hit(deaf, "kim", "old"); /* near by now */
    stop(&forwarder);
    wait_for(deaf, false);
    assert_int_equal(look(deaf, &asker, "kim"), CACHE_MISS);
    end(deaf, &asker, "new"); /* and keeps nothing */
    expect_hit(cache, "kim", "old");
    cache_close(cache); /* nobody hears of the next one */
    tell(user_event(EVENT_USER_UPDATED, "kim"), ENCODING_MSGPACK);
    forward_start();
    wait_for(deaf, true);
    assert_int_equal(look(deaf, &asker, "kim"), CACHE_MISS);
    end(deaf, &asker, "new");
    cache_close(deaf);
    cache = open_cache(url, TTL_S, NEAR);
    wait_for(cache, true);
}

/* --- everything at once ----------------------------------------------------------------------- */

enum { READERS = 4, CHANGES = 300, PAUSE_US = 5000 };
static _Atomic uint32_t truth;                /* what the ledger knows */
static _Atomic uint64_t told_us[CHANGES + 1]; /* when the change to this version was confirmed */
static _Atomic uint64_t worst_us;
static _Atomic uint32_t hits, asked;
static struct cache *both[2]; /* two processes' */
static _Atomic bool is_over;

static void judge(const char *value, uint64_t now_us)
{
    uint32_t version = (uint32_t)strtoul(value, NULL, 10);

    atomic_fetch_add(&hits, 1);
    if (version >= CHANGES) return;
    uint64_t since_us = atomic_load(&told_us[version + 1]); /* from then on it was old */
    if (since_us == 0 || since_us >= now_us) return;
    uint64_t age_us = now_us - since_us, worst = atomic_load(&worst_us);
    while (age_us > worst && !atomic_compare_exchange_weak(&worst_us, &worst, age_us)) continue;
}

static void *read_on_and_on(void *seed)
{
    unsigned random = (unsigned)(uintptr_t)seed;
    struct cache *one = both[random % 2];
    struct asker asker;
    char value[SIZE];

    while (!atomic_load(&is_over)) {
        uint64_t now_us = clock_monotonic_us();
        enum cache_look result = look(one, &asker, "liv");
        if (result == CACHE_HIT) judge(asker.value, now_us);
        while (result == CACHE_WAIT && !atomic_load(&asker.ended)) clock_sleep_us(50);
        if (result != CACHE_MISS) continue;
        atomic_fetch_add(&asked, 1);
        (void)snprintf(value, sizeof value, "%u",
                       atomic_load(&truth));              /* the ledger is asked ... */
        clock_sleep_us((uint32_t)rand_r(&random) % 3000); /* ... and takes a while */
        end(one, &asker, value);
    }
    return NULL;
}

static void nothing_old_stays(void **state)
{
    pthread_t threads[READERS];
    char value[SIZE];

    (void)state;
    both[0] = cache;
    both[1] = open_cache(url, TTL_S, NEAR);
    wait_for(both[1], true);
    wait_for(cache, true);
    for (uintptr_t i = 0; i < READERS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, read_on_and_on, (void *)(i + 1)), 0);
    for (uint32_t version = 1; version <= CHANGES; version++) {
        atomic_store(&truth, version);
        tell(user_event(EVENT_USER_UPDATED, "liv"), ENCODING_MSGPACK);
        atomic_store(&told_us[version], clock_monotonic_us());
        if (version % 7 != 0) clock_sleep_us(PAUSE_US);
    }
    clock_sleep_ms(300);
    atomic_store(&is_over, true);
    for (int i = 0; i < READERS; i++) assert_int_equal(pthread_join(threads[i], NULL), 0);
    (void)snprintf(value, sizeof value, "%u", CHANGES);
    fill("liv", value);
    expect_hit(both[1], "liv", value);
    expect_hit(both[1], "liv", value);
    cache_close(both[1]);
    print_message(
        "%u changes, %u hits, %u asked the ledger; the oldest was served %ju us after its "
        "event's confirm\n",
        CHANGES, hits, asked, (uintmax_t)worst_us);
    assert_true(hits > CHANGES);
    assert_true(worst_us < (uint64_t)PAUSE_MS * 1000);
}

/* What the test before has told is heard, and dealt with. */
static int settle(void **state)
{
    (void)state;
    wait_for(cache, true);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(what_is_filled_is_served_to_whom_it_was_told, settle),
        cmocka_unit_test_setup(an_event_drops_what_it_names_and_no_more, settle),
        cmocka_unit_test_setup(an_answer_from_before_a_change_is_not_kept, settle),
        cmocka_unit_test_setup(one_asks_and_the_others_wait, settle),
        cmocka_unit_test_setup(one_of_all_processes_fetches_it_anew, settle),
        cmocka_unit_test_setup(what_is_near_is_dropped_in_every_process, settle),
        cmocka_unit_test_setup(a_strangers_value_is_a_miss, settle),
        cmocka_unit_test_setup(a_redis_that_forgot_a_change_is_not_believed, settle),
        cmocka_unit_test_setup(who_hears_nothing_serves_nothing, settle),
        cmocka_unit_test_setup(nothing_old_stays, settle),
    };
    return cmocka_run_group_tests(tests, begin, finish);
}
