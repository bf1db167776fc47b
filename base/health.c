/*
 * health.c - see health.h. Written by the loop's thread, read by the HTTP thread: under one lock.
 */
#include "base/health.h"

#include "base/clock.h"

#include <assert.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum { STUCK_AFTER_MS = 30000, DETAILS_MAX = 8 };

struct component {
    enum health_status status;
    bool required;
    uint64_t since_ms;
};

static struct {
    pthread_mutex_t lock;
    struct component components[HEALTH_COMPONENTS];
    uint64_t beat_ms; /* 0: not yet */
    struct {
        const char *name;
        int64_t value;
    } details[DETAILS_MAX];
} state = {.lock = PTHREAD_MUTEX_INITIALIZER};

static const char *const NAMES[HEALTH_COMPONENTS] = {"postgres", "rabbitmq", "redis", "kafka"};

static void use(enum health_component component, bool required)
{
    (void)pthread_mutex_lock(&state.lock);
    state.components[component] = (struct component){HEALTH_DOWN, required, clock_monotonic_ms()};
    (void)pthread_mutex_unlock(&state.lock);
}

void health_require(enum health_component component)
{
    use(component, true);
}

void health_optional(enum health_component component)
{
    use(component, false);
}

void health_set(enum health_component component, enum health_status status)
{
    struct component *changed = &state.components[component];

    (void)pthread_mutex_lock(&state.lock);
    assert(changed->status != HEALTH_UNUSED);
    if (changed->status != status) changed->since_ms = clock_monotonic_ms();
    changed->status = status;
    (void)pthread_mutex_unlock(&state.lock);
}

void health_beat(void)
{
    (void)pthread_mutex_lock(&state.lock);
    state.beat_ms = clock_monotonic_ms();
    (void)pthread_mutex_unlock(&state.lock);
}

void health_detail(const char *name, int64_t value)
{
    (void)pthread_mutex_lock(&state.lock);
    for (size_t i = 0; i < DETAILS_MAX; i++) {
        if (state.details[i].name != NULL && strcmp(state.details[i].name, name) != 0) continue;
        state.details[i].name = name;
        state.details[i].value = value;
        break;
    }
    (void)pthread_mutex_unlock(&state.lock);
}

/* 200 as long as the loop turns; before it begins to, a process that starts is alive too. */
static int live_locked(void)
{
    bool stuck = state.beat_ms != 0 && clock_monotonic_ms() - state.beat_ms > STUCK_AFTER_MS;
    return stuck ? 503 : 200;
}

static const char *ready_locked(int *code)
{
    const char *status = "ready";

    *code = 200;
    for (size_t i = 0; i < HEALTH_COMPONENTS; i++) {
        const struct component *component = &state.components[i];
        if (component->status != HEALTH_DOWN) continue;
        if (!component->required && *code == 200) status = "degraded";
        if (!component->required) continue;
        status = "unavailable";
        *code = 503;
    }
    return status;
}

int health_live(char *out, size_t out_size)
{
    (void)pthread_mutex_lock(&state.lock);
    int code = live_locked();
    (void)pthread_mutex_unlock(&state.lock);
    (void)snprintf(out, out_size, "{\"status\":\"%s\"}\n", code == 200 ? "live" : "stuck");
    return code;
}

__attribute__((format(printf, 4, 5))) static void append(char *out, size_t out_size, size_t *used,
                                                         const char *format, ...)
{
    va_list args;

    if (*used >= out_size) return;
    va_start(args, format);
    int size = vsnprintf(out + *used, out_size - *used, format, args);
    va_end(args);
    if (size > 0) *used += (size_t)size;
}

static int report(char *out, size_t out_size, bool whole)
{
    size_t used = 0;
    int code;

    (void)pthread_mutex_lock(&state.lock);
    const char *status = ready_locked(&code);
    append(out, out_size, &used, "{\"status\":\"%s\",\"components\":{", status);
    const char *comma = "";
    for (size_t i = 0; i < HEALTH_COMPONENTS; i++) {
        const struct component *component = &state.components[i];
        const char *word = component->status == HEALTH_UP ? "up" : "down";
        if (component->status == HEALTH_UNUSED) continue;
        if (whole)
            append(out, out_size, &used,
                   "%s\"%s\":{\"status\":\"%s\",\"required\":%s,\"since_ms\":%llu}", comma,
                   NAMES[i], word, component->required ? "true" : "false",
                   (unsigned long long)(clock_monotonic_ms() - component->since_ms));
        else
            append(out, out_size, &used, "%s\"%s\":\"%s\"", comma, NAMES[i], word);
        comma = ",";
    }
    append(out, out_size, &used, "}");
    for (size_t i = 0; whole && i < DETAILS_MAX && state.details[i].name != NULL; i++)
        append(out, out_size, &used, ",\"%s\":%lld", state.details[i].name,
               (long long)state.details[i].value);
    if (whole)
        append(out, out_size, &used, ",\"live\":%s", live_locked() == 200 ? "true" : "false");
    append(out, out_size, &used, "}\n");
    (void)pthread_mutex_unlock(&state.lock);
    return code;
}

int health_ready(char *out, size_t out_size)
{
    return report(out, out_size, false);
}

int health_report(char *out, size_t out_size)
{
    return report(out, out_size, true);
}
