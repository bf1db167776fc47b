/*
 * version.h - what --version and the metrics say.
 */
#ifndef BASE_VERSION_H
#define BASE_VERSION_H

#define LEDGER_VERSION "0.1.0"

#endif
