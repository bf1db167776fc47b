/*
 * report.h - what is told of settled commands: one log line each, and the metrics.
 */
#ifndef WORKER_REPORT_H
#define WORKER_REPORT_H

#include "ledger/ledger.h"

enum report_level { REPORT_ALL, REPORT_REFUSED, REPORT_NONE };
#define REPORT_LEVEL_CHOICES "all|refused|none"

void report_open(enum report_level level);
void report_batch(const struct batch *batch, uint64_t started_us, uint64_t now_us);
/* Gauges and counters of the process. */
void report_shards(uint32_t owned);
void report_oldest(uint64_t waited_us); /* of what is taken and not settled; 0: nothing */
/* For how long the first of the scheduled commands that wait to be executed has been due; 0: none.
 */
void report_overdue(uint64_t waited_us);
void report_suspect(uint32_t times); /* one is begun, for the n-th time */
void report_transient(const char *dependency);
void report_redis(uint64_t hits, uint64_t misses, uint64_t errors);

#endif
