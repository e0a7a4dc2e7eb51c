/* Log lines in both formats. Standard error becomes a datagram socket, so that each write(2)
 * arrives as a message of its own: a line must be exactly one. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "server/base/clock.h"
#include "server/base/log.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static int ends[2];
static int real_stderr;
static char line[128 * 1024];

static void capture_begin(void)
{
    assert_int_equal(socketpair(AF_UNIX, SOCK_DGRAM, 0, ends), 0);
    real_stderr = dup(STDERR_FILENO);
    dup2(ends[1], STDERR_FILENO);
}

/* Reads the one line that was written into line; false when there was none. */
static bool capture_end(void)
{
    ssize_t length = recv(ends[0], line, sizeof(line) - 1, MSG_DONTWAIT);
    char more;
    ssize_t second = recv(ends[0], &more, 1, MSG_DONTWAIT);
    dup2(real_stderr, STDERR_FILENO);
    close(real_stderr);
    close(ends[0]);
    close(ends[1]);
    assert_true(second < 0);
    line[length > 0 ? length : 0] = '\0';
    return length > 0;
}

/* What follows the time in line, which must be a current one. */
static const char *after_time(const char *time)
{
    char text[CLOCK_RFC3339_SIZE] = "";
    int64_t wall = 0;
    memcpy(text, time, strlen("2026-11-21T12:00:00.000Z"));
    assert_int_equal(text[19], '.');
    assert_int_equal(clock_parse_rfc3339(text, &wall), 0);
    assert_true(llabs(clock_wall(clock_system()) - wall) < 60 * CLOCK_SECOND);
    return time + strlen(text);
}

static void test_text(void **state)
{
    (void)state;
    static const struct {
        const char *message;
        const char *value;
        const char *expected;
    } cases[] = {
        {"given", "10.0.0.1", " INFO  given name=10.0.0.1\n"},
        {"two words", "va lue", " INFO  two words name=\"va lue\"\n"},
        {"m", "", " INFO  m name=\"\"\n"},
        {"m", NULL, " INFO  m name=null\n"},
        {"m", "null", " INFO  m name=\"null\"\n"},
        {"m", "a=b", " INFO  m name=\"a=b\"\n"},
        {"m", "a\"b", " INFO  m name=\"a\\\"b\"\n"},
        {"m", "a\\b", " INFO  m name=\"a\\\\b\"\n"},
        {"m",
         "Gr\xC3\xB6\xC3\x9F"
         "e",
         " INFO  m name=Gr\xC3\xB6\xC3\x9F"
         "e\n"},
        {"m", "x\n2026-11-21T12:00:00.000Z ERROR forged",
         " INFO  m name=\"x\\n2026-11-21T12:00:00.000Z ERROR forged\"\n"},
        {"m", "\x1b[31m", " INFO  m name=\"\\u001b[31m\"\n"},
        {"m",
         "\xC2\x9B"
         "31m",
         " INFO  m name=\"\\u009b31m\"\n"},
        {"m", "\xE2\x80\xA8", " INFO  m name=\"\\u2028\"\n"},
        {"m", "\xFF", " INFO  m name=\"\xEF\xBF\xBD\"\n"},
        {"for\nged", "v", " INFO  \"for\\nged\" name=v\n"},
        {"says \"hello\"", "v", " INFO  says \"hello\" name=v\n"},
    };
    log_configure(LOG_FORMAT_TEXT, LOG_LEVEL_INFO);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        capture_begin();
        log_info(cases[i].message, "name", cases[i].value);
        assert_true(capture_end());
        assert_string_equal(after_time(line), cases[i].expected);
    }
}

static void test_json(void **state)
{
    (void)state;
    log_configure(LOG_FORMAT_JSON, LOG_LEVEL_DEBUG);
    capture_begin();
    log_warning("a \"message\"", "first", "1\n2", "second", NULL, "th ird", "\xFFz");
    assert_true(capture_end());
    assert_memory_equal(line, "{\"time\":\"", 9);
    assert_string_equal(after_time(line + 9),
                        "\",\"level\":\"warning\",\"message\":\"a \\\"message\\\"\","
                        "\"first\":\"1\\n2\",\"second\":null,\"th ird\":\"\xEF\xBF\xBDz\"}\n");
}

static void test_levels(void **state)
{
    (void)state;
    static const char *const columns[] = {" DEBUG m\n", " INFO  m\n", " WARN  m\n", " ERROR m\n"};
    for (int lowest = LOG_LEVEL_DEBUG; lowest <= LOG_LEVEL_ERROR; lowest++) {
        log_configure(LOG_FORMAT_TEXT, (enum log_level)lowest);
        for (int level = LOG_LEVEL_DEBUG; level <= LOG_LEVEL_ERROR; level++) {
            assert_int_equal(log_enabled((enum log_level)level), level >= lowest);
            capture_begin();
            log_event((enum log_level)level, "m", NULL);
            assert_int_equal(capture_end(), level >= lowest);
            if (level >= lowest)
                assert_string_equal(after_time(line), columns[level]);
        }
    }
}

/* Long values are cut at a character's border; the line is still one line and one write. */
static void test_long_value(void **state)
{
    (void)state;
    static char value[20001];
    for (size_t i = 0; i < sizeof(value) - 1; i += 2)
        memcpy(value + i, "\xC3\xA9", 2);
    log_configure(LOG_FORMAT_TEXT, LOG_LEVEL_INFO);
    for (size_t skip = 0; skip < 2; skip++) {
        if (skip > 0)
            value[1] = 'x';
        capture_begin();
        log_info("m", "name", value + skip);
        assert_true(capture_end());
        const char *start = strstr(line, "name=") + 5;
        size_t length = strlen(start) - 1;
        assert_true(length > 4000 && length <= 4096);
        assert_memory_equal(start, value + skip, length);
        assert_memory_equal(start + length - 2, "\xC3\xA9\n", 4);
    }
    memset(value, '\x01', sizeof(value) - 1);
    capture_begin();
    log_info("m", "a", value, "b", value, "c", value);
    assert_true(capture_end());
    assert_non_null(strstr(line, " c=\"\\u0001\\u0001"));
}

static void test_errno_survives(void **state)
{
    (void)state;
    log_configure(LOG_FORMAT_TEXT, LOG_LEVEL_INFO);
    real_stderr = dup(STDERR_FILENO);
    close(STDERR_FILENO);
    errno = ENOTTY;
    log_info("nobody reads this");
    int after = errno;
    dup2(real_stderr, STDERR_FILENO);
    close(real_stderr);
    assert_int_equal(after, ENOTTY);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_text),           cmocka_unit_test(test_json),
        cmocka_unit_test(test_levels),         cmocka_unit_test(test_long_value),
        cmocka_unit_test(test_errno_survives),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
