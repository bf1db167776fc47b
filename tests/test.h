/*
 * test.h - cmocka with what it needs before it, in the order it needs.
 */
#ifndef TESTS_TEST_H
#define TESTS_TEST_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

/* What is to end soon may take so much longer: a shared machine stands still now and then. What
 * would never end is still found. */
enum { PAUSE_MS = 3000 };

#endif
