/*
 * relay_report.h - the relay's metrics.
 */
#ifndef OUTBOX_RELAY_REPORT_H
#define OUTBOX_RELAY_REPORT_H

#include "outbox/sink.h"

enum relay_dependency { RELAY_POSTGRES, RELAY_BROKER, RELAY_DEPENDENCIES };

void relay_report_open(const struct sink_io *sink);
void relay_report_confirms(const struct confirm *confirms, uint32_t count);
void relay_report_unpublishable(void);
void relay_report_rotation(void);
/* size: of the outbox on disk; held_ms: for so long its next partition could not be begun. */
void relay_report_outbox(uint64_t size, uint64_t held_ms);
void relay_report_transient(enum relay_dependency dependency);
/* behind_ms: the age of the oldest row that is not confirmed; 0: none. See behind.h. */
void relay_report_state(bool leads, bool blocked, uint32_t in_flight, uint64_t behind_ms);

#endif
