/* The system's clock, the clock that tests move by hand, and the text forms of time that Kubernetes
 * uses. The calendar is computed here: timegm() and strptime() depend on the environment. */
#include "server/base/clock.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <time.h>

#define SECONDS_PER_DAY 86400

static int64_t read_clock(clockid_t id)
{
    struct timespec now;
    /* Can't fail: both clocks exist on every Linux and the pointer is good. */
    clock_gettime(id, &now);
    return (int64_t)now.tv_sec * CLOCK_SECOND + now.tv_nsec;
}

static int64_t system_monotonic(const struct clock *clock)
{
    (void)clock;
    return read_clock(CLOCK_MONOTONIC);
}

static int64_t system_wall(const struct clock *clock)
{
    (void)clock;
    return read_clock(CLOCK_REALTIME);
}

const struct clock *clock_system(void)
{
    static const struct clock system_clock = {
        .monotonic = system_monotonic,
        .wall = system_wall,
    };
    return &system_clock;
}

bool clock_wakes(const struct clock *clock)
{
    return clock == clock_system();
}

/* struct clock is the first member, so its address is the fake's. */
static int64_t fake_monotonic(const struct clock *clock)
{
    return atomic_load(&((const struct clock_fake *)clock)->now_monotonic);
}

static int64_t fake_wall(const struct clock *clock)
{
    return atomic_load(&((const struct clock_fake *)clock)->now_wall);
}

void clock_fake_init(struct clock_fake *fake, int64_t monotonic, int64_t wall)
{
    fake->clock = (struct clock){.monotonic = fake_monotonic, .wall = fake_wall};
    atomic_init(&fake->now_monotonic, monotonic);
    atomic_init(&fake->now_wall, wall);
}

void clock_fake_advance(struct clock_fake *fake, int64_t nanoseconds)
{
    atomic_fetch_add(&fake->now_monotonic, nanoseconds);
    atomic_fetch_add(&fake->now_wall, nanoseconds);
}

struct civil {
    int year;
    int month; /* 1 to 12 */
    int day;   /* 1 to 31 */
};

/* Both directions count in eras of 400 Gregorian years that begin on 1 March, so that the leap day
 * is the last of its year. 719468 days lie between 0000-03-01 and 1970-01-01. */
static int64_t days_from_civil(struct civil date)
{
    int64_t year = date.month <= 2 ? date.year - 1 : date.year;
    int64_t era = (year >= 0 ? year : year - 399) / 400;
    int64_t year_of_era = year - era * 400;
    int64_t day_of_year = (153 * ((date.month + 9) % 12) + 2) / 5 + date.day - 1;
    return era * 146097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year -
           719468;
}

static struct civil civil_from_days(int64_t days)
{
    days += 719468;
    int64_t era = (days >= 0 ? days : days - 146096) / 146097;
    int64_t day_of_era = days - era * 146097;
    int64_t year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36524 - day_of_era / 146096) / 365;
    int64_t day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    int64_t shifted_month = (5 * day_of_year + 2) / 153;
    int month = (int)(shifted_month < 10 ? shifted_month + 3 : shifted_month - 9);
    return (struct civil){
        .year = (int)(year_of_era + era * 400) + (month <= 2),
        .month = month,
        .day = (int)(day_of_year - (153 * shifted_month + 2) / 5 + 1),
    };
}

/* Splits wall into whole seconds, rounded down, and the nanoseconds above them. */
static int64_t split_seconds(int64_t wall, int64_t *ret_fraction)
{
    int64_t seconds = wall / CLOCK_SECOND;
    int64_t fraction = wall % CLOCK_SECOND;
    if (fraction < 0) {
        fraction += CLOCK_SECOND;
        seconds--;
    }
    *ret_fraction = fraction;
    return seconds;
}

/* Writes the date and time without fraction and zone. Returns the length. */
static int format_seconds(int64_t seconds, char ret_text[CLOCK_RFC3339_SIZE])
{
    int64_t days = seconds / SECONDS_PER_DAY;
    int64_t rest = seconds % SECONDS_PER_DAY;
    if (rest < 0) {
        rest += SECONDS_PER_DAY;
        days--;
    }
    struct civil date = civil_from_days(days);
    int of_day = (int)rest;
    return snprintf(ret_text, CLOCK_RFC3339_SIZE, "%04d-%02d-%02dT%02d:%02d:%02d", date.year,
                    date.month, date.day, of_day / 3600, of_day / 60 % 60, of_day % 60);
}

void clock_format_rfc3339(int64_t wall, char ret_text[CLOCK_RFC3339_SIZE])
{
    int64_t fraction;
    int length = format_seconds(split_seconds(wall, &fraction), ret_text);
    snprintf(ret_text + length, (size_t)(CLOCK_RFC3339_SIZE - length), "Z");
}

void clock_format_rfc3339_micro(int64_t wall, char ret_text[CLOCK_RFC3339_SIZE])
{
    int64_t fraction;
    int length = format_seconds(split_seconds(wall, &fraction), ret_text);
    snprintf(ret_text + length, (size_t)(CLOCK_RFC3339_SIZE - length), ".%06dZ",
             (int)(fraction / 1000));
}

/* Reads exactly count digits within [low, high] and moves *at behind them. */
static bool parse_digits(const char **at, int count, int low, int high, int *ret_value)
{
    int value = 0;
    for (int i = 0; i < count; i++) {
        char digit = (*at)[i];
        if (digit < '0' || digit > '9')
            return false;
        value = value * 10 + (digit - '0');
    }
    if (value < low || value > high)
        return false;
    *at += count;
    *ret_value = value;
    return true;
}

static bool parse_character(const char **at, char wanted)
{
    if (**at != wanted)
        return false;
    (*at)++;
    return true;
}

static bool parse_date(const char **at, int64_t *ret_days)
{
    static const int month_days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    struct civil date;
    if (!parse_digits(at, 4, 0, 9999, &date.year) || !parse_character(at, '-') ||
        !parse_digits(at, 2, 1, 12, &date.month) || !parse_character(at, '-') ||
        !parse_digits(at, 2, 1, 31, &date.day))
        return false;
    bool leap = date.year % 4 == 0 && (date.year % 100 != 0 || date.year % 400 == 0);
    if (date.day > month_days[date.month - 1] + (leap && date.month == 2))
        return false;
    *ret_days = days_from_civil(date);
    return true;
}

/* Digits beyond the ninth are below a nanosecond and dropped. */
static bool parse_fraction(const char **at, int64_t *ret_nanoseconds)
{
    *ret_nanoseconds = 0;
    if (!parse_character(at, '.'))
        return true;
    if (**at < '0' || **at > '9')
        return false;
    for (int64_t unit = CLOCK_SECOND / 10; **at >= '0' && **at <= '9'; (*at)++, unit /= 10)
        *ret_nanoseconds += unit * (**at - '0');
    return true;
}

static bool parse_offset(const char **at, int64_t *ret_seconds)
{
    *ret_seconds = 0;
    if (parse_character(at, 'Z') || parse_character(at, 'z'))
        return true;
    int sign = **at == '-' ? -1 : 1;
    int hours, minutes;
    if (!parse_character(at, '+') && !parse_character(at, '-'))
        return false;
    if (!parse_digits(at, 2, 0, 23, &hours) || !parse_character(at, ':') ||
        !parse_digits(at, 2, 0, 59, &minutes))
        return false;
    *ret_seconds = sign * (hours * 3600 + minutes * 60);
    return true;
}

int clock_parse_rfc3339(const char *text, int64_t *ret_wall)
{
    int64_t days, nanoseconds, offset, wall;
    int hours, minutes, seconds;
    if (!parse_date(&text, &days))
        return -EINVAL;
    if (!parse_character(&text, 'T') && !parse_character(&text, 't'))
        return -EINVAL;
    if (!parse_digits(&text, 2, 0, 23, &hours) || !parse_character(&text, ':') ||
        !parse_digits(&text, 2, 0, 59, &minutes) || !parse_character(&text, ':') ||
        !parse_digits(&text, 2, 0, 59, &seconds))
        return -EINVAL;
    if (!parse_fraction(&text, &nanoseconds) || !parse_offset(&text, &offset) || *text != '\0')
        return -EINVAL;
    int64_t total = days * SECONDS_PER_DAY + hours * 3600 + minutes * 60 + seconds - offset;
    /* Before the epoch the sum may fit where the product alone doesn't: borrow a second. */
    if (total < 0 && nanoseconds > 0) {
        total++;
        nanoseconds -= CLOCK_SECOND;
    }
    if (__builtin_mul_overflow(total, CLOCK_SECOND, &wall) ||
        __builtin_add_overflow(wall, nanoseconds, &wall))
        return -EINVAL;
    *ret_wall = wall;
    return 0;
}
