/*
 * admin_page.c - see admin_page.h.
 */
#include "base/admin_page.h"

#include "base/health.h"
#include "base/metrics.h"

#include <stdlib.h>
#include <string.h>

enum { REPORT_SIZE = 2048, CODE_OK = 200 };

static const struct report {
    const char *path;
    int (*write)(char *out, size_t out_size);
} REPORTS[] = {
    {"/health/live", health_live},
    {"/health/ready", health_ready},
    {"/health", health_report},
};

bool admin_page(const char *path, struct admin_page *out)
{
    *out = (struct admin_page){.code = CODE_OK, .type = "application/json"};
    if (strcmp(path, "/metrics") == 0) {
        out->type = "text/plain; version=0.0.4; charset=utf-8";
        out->text = metrics_render(&out->size);
        return true;
    }
    for (size_t i = 0; i < sizeof REPORTS / sizeof REPORTS[0]; i++) {
        if (strcmp(path, REPORTS[i].path) != 0) continue;
        out->text = malloc(REPORT_SIZE);
        if (out->text == NULL) return true;
        out->code = (unsigned)REPORTS[i].write(out->text, REPORT_SIZE);
        out->size = strlen(out->text);
        return true;
    }
    return false;
}
