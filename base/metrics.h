/*
 * metrics.h - counters, gauges and histograms, and their Prometheus text form (exposition format
 * 0.0.4). Values are atomic: the loop's thread writes, the HTTP thread reads. Metrics are
 * registered at start and live as long as the process; the registry has a fixed size.
 */
#ifndef BASE_METRICS_H
#define BASE_METRICS_H

#include "base/err.h"

#include <stddef.h>
#include <stdint.h>

struct metric; /* one time series */

enum metric_type { METRIC_COUNTER, METRIC_GAUGE, METRIC_HISTOGRAM };

/* Series of one name must be registered one after the other, with the same type and help. labels is
 * what stands between the braces, such as type="deposit",status="applied", or NULL. All three texts
 * must outlive the process. Asserts when the registry is full (a bug of ours). Histograms are in
 * seconds, with buckets from 0.5 ms to 10 s around this system's latencies. */
struct metric *metric_register(enum metric_type type, const char *name, const char *help,
                               const char *labels);

void metric_add(struct metric *metric, uint64_t amount);    /* counter */
void metric_set(struct metric *metric, double value);       /* gauge */
void metric_observe(struct metric *metric, double seconds); /* histogram */
uint64_t metric_count(const struct metric *metric); /* a counter's value, a histogram's count */

/* Writes all of them and process_* (from /proc/self); returns malloc'ed text of *size bytes, which
 * the caller frees, or NULL when memory is short. */
char *metrics_render(size_t *size);

#endif
