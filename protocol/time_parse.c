/*
 * time_parse.c - RFC 3339 to microseconds since 1970, by arithmetic alone: no locale, no time zone
 * of the machine, no library that knows either. Times before 1970 and after 9999 (UTC) are refused.
 */
#include "protocol/request.h"

#include <assert.h>

enum { DAY_S = 86400, LAST_MINUTE_S = DAY_S - 60, MICROSECONDS = 1000000 };

/* Days since 1970-01-01 of the first day of a year, in the Gregorian calendar. */
static int64_t days_before_year(int64_t year)
{
    int64_t past = year - 1;
    return 365 * (year - 1970) + (past / 4 - past / 100 + past / 400) -
           (1969 / 4 - 1969 / 100 + 1969 / 400);
}

static bool is_leap_year(int64_t year)
{
    return (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
}

static int64_t days_in_month(int64_t year, int64_t month)
{
    static const uint8_t days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};

    assert(month >= 1 && month <= 12);
    return days[month - 1] + (month == 2 && is_leap_year(year) ? 1 : 0);
}

/* A number of exactly this many digits, between least and most. */
static bool take_number(struct text *rest, uint32_t digits, int64_t least, int64_t most,
                        int64_t *out)
{
    if (rest->length < digits) return false;
    *out = 0;
    for (uint32_t i = 0; i < digits; i++) {
        char byte = rest->bytes[i];
        if (byte < '0' || byte > '9') return false;
        *out = 10 * *out + (byte - '0');
    }
    *rest = (struct text){rest->bytes + digits, rest->length - digits};
    return *out >= least && *out <= most;
}

static bool take_byte(struct text *rest, char upper, char lower)
{
    if (rest->length == 0 || (*rest->bytes != upper && *rest->bytes != lower)) return false;
    *rest = (struct text){rest->bytes + 1, rest->length - 1};
    return true;
}

static bool take_day(struct text *rest, int64_t *days)
{
    int64_t year, month, day;

    if (!take_number(rest, 4, 1, 9999, &year) || !take_byte(rest, '-', '-')) return false;
    if (!take_number(rest, 2, 1, 12, &month) || !take_byte(rest, '-', '-')) return false;
    if (!take_number(rest, 2, 1, days_in_month(year, month), &day)) return false;

    *days = days_before_year(year) + day - 1;
    for (int64_t past = 1; past < month; past++) *days += days_in_month(year, past);
    return true;
}

/* Digits beyond the microsecond are cut off. */
static bool take_fraction(struct text *rest, int64_t *microseconds)
{
    int64_t digit, unit = MICROSECONDS;

    *microseconds = 0;
    if (!take_byte(rest, '.', '.')) return true;
    if (!take_number(rest, 1, 0, 9, &digit)) return false;
    do {
        unit /= 10;
        *microseconds += digit * unit;
    } while (rest->length > 0 && take_number(rest, 1, 0, 9, &digit));
    return true;
}

static bool take_zone(struct text *rest, int64_t *offset_s)
{
    int64_t hours, minutes;
    bool is_west = rest->length > 0 && *rest->bytes == '-';

    *offset_s = 0;
    if (take_byte(rest, 'Z', 'z')) return true;
    if (!take_byte(rest, '+', '-') || !take_number(rest, 2, 0, 23, &hours) ||
        !take_byte(rest, ':', ':') || !take_number(rest, 2, 0, 59, &minutes))
        return false;
    *offset_s = (is_west ? -60 : 60) * (60 * hours + minutes);
    return true;
}

bool time_parse(struct text text, int64_t *wall_us)
{
    int64_t days, hour, minute, second, microseconds, offset_s;

    if (!take_day(&text, &days) || !take_byte(&text, 'T', 't')) return false;
    if (!take_number(&text, 2, 0, 23, &hour) || !take_byte(&text, ':', ':')) return false;
    if (!take_number(&text, 2, 0, 59, &minute) || !take_byte(&text, ':', ':')) return false;
    if (!take_number(&text, 2, 0, 60, &second)) return false;
    if (!take_fraction(&text, &microseconds) || !take_zone(&text, &offset_s)) return false;

    int64_t minute_s = days * DAY_S + hour * 3600 + minute * 60 - offset_s;
    if (text.length > 0 || minute_s < 0 || minute_s >= days_before_year(10000) * DAY_S)
        return false;
    if (second == 60) { /* a leap second ends a day in UTC; here that day has no room for it */
        if (minute_s % DAY_S != LAST_MINUTE_S) return false;
        second = 59;
        microseconds = MICROSECONDS - 1;
    }
    *wall_us = (minute_s + second) * MICROSECONDS + microseconds;
    return true;
}
