/* Statuses: conditions and the time of their last change, counts of any size, and whether what is
 * stored says the same already. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "server/objects/status.h"
#include "tests/unit/single_quotes.h"

#include <stdlib.h>
#include <string.h>

static const struct condition ready = {"Ready", true, "Serving", ""};
static const struct condition full = {"Exhausted", false, "Free", "said \"so\"\n"};

/* What comes of two conditions, with single quotes; lives until the next call. */
static const char *conditions(const char *stored)
{
    static char text[2048];
    struct clock_fake now;
    struct buffer body;
    struct json_writer writer;
    const struct condition both[] = {ready, full};
    clock_fake_init(&now, CLOCK_SECOND, 90 * CLOCK_SECOND);
    buffer_init(&body, sizeof(text));
    json_writer_init(&writer, &body);
    json_begin_object(&writer);
    status_write_conditions(&writer, Q(stored), both, 2, 7, &now.clock);
    json_end_object(&writer);
    assert_true(json_writer_done(&writer));
    for (size_t i = 0; i <= body.length; i++)
        text[i] = body.data[i] == '"' ? '\'' : body.data[i];
    buffer_clear(&body);
    return text;
}

#define EXPECTED(ready_since, full_since)                                                          \
    "{'conditions':[{'type':'Ready','status':'True','reason':'Serving','observedGeneration':7,"    \
    "'lastTransitionTime':'" ready_since "','message':''},{'type':'Exhausted','status':'False',"   \
    "'reason':'Free','observedGeneration':7,'lastTransitionTime':'" full_since                     \
    "','message':'said \\'so\\'\\n'}]}"
#define NOW "1970-01-01T00:01:30Z"
#define THEN "1970-01-01T00:00:05Z"
#define STORED(type, status, since)                                                                \
    "{'type':'" type "','status':'" status "','reason':'x','lastTransitionTime':'" since "'}"

static void a_condition_that_stays_keeps_its_time(void **state)
{
    (void)state;
    static const struct {
        const char *stored;
        const char *expected;
    } cases[] = {
        {"", EXPECTED(NOW, NOW)},
        {"{}", EXPECTED(NOW, NOW)},
        {"{'conditions':", EXPECTED(NOW, NOW)}, /* no JSON */
        {"null", EXPECTED(NOW, NOW)},
        {"{'conditions':{}}", EXPECTED(NOW, NOW)},
        {"{'conditions':[" STORED("Ready", "True", THEN) "]}", EXPECTED(THEN, NOW)},
        {"{'conditions':[" STORED("Ready", "False", THEN) "]}", EXPECTED(NOW, NOW)},
        {"{'conditions':[" STORED("Exhausted", "False", THEN) "," STORED("Ready", "True",
                                                                         THEN) "]}",
         EXPECTED(THEN, THEN)},
        {"{'conditions':[" STORED("Other", "True", THEN) "]}", EXPECTED(NOW, NOW)},
        {"{'conditions':[{'type':'Ready','status':'True'}]}", EXPECTED(NOW, NOW)},
        {"{'conditions':[{'type':'Ready','status':'True','lastTransitionTime':''}]}",
         EXPECTED(NOW, NOW)},
        {"{'conditions':[{'type':'Ready','status':'True','lastTransitionTime':7}]}",
         EXPECTED(NOW, NOW)},
        {"{'conditions':[7,null,'Ready',[]," STORED("Ready", "True", THEN) "]}",
         EXPECTED(THEN, NOW)},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        const char *made = conditions(cases[i].stored);
        if (strcmp(made, cases[i].expected) != 0)
            fail_msg("%s: %s", cases[i].stored, made);
    }
}

/* JSON's numbers are doubles to many readers: exact up to 2^53. */
static void great_counts_are_texts(void **state)
{
    (void)state;
    static const struct {
        struct address_count count;
        const char *expected;
    } cases[] = {
        {{0, 0, 0}, "{'n':0}"},
        {{0, 0, 255}, "{'n':255}"},
        {{0, 0, (UINT64_C(1) << 53) - 1}, "{'n':9007199254740991}"},
        {{0, 0, UINT64_C(1) << 53}, "{'n':'9007199254740992'}"},
        {{0, 0, UINT64_MAX}, "{'n':'18446744073709551615'}"},
        {{0, 1, 0}, "{'n':'18446744073709551616'}"},
        {{1, 0, 0}, "{'n':'340282366920938463463374607431768211456'}"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct buffer body;
        struct json_writer writer;
        buffer_init(&body, 1000);
        json_writer_init(&writer, &body);
        json_begin_object(&writer);
        status_write_count(&writer, "n", cases[i].count);
        json_end_object(&writer);
        assert_true(json_writer_done(&writer));
        assert_string_equal(body.data, Q(cases[i].expected));
        buffer_clear(&body);
    }
}

static void says_whether_it_is_said_already(void **state)
{
    (void)state;
    static const char *const members[] = {"total", "conditions", "pending"};
    static const struct {
        const char *stored;
        const char *wanted;
        bool current;
    } cases[] = {
        {"{'total':1}", "{'total':1}", true},
        {"{'total':1}", "{'total':2}", false},
        {"{'total':1}", "{'total':'1'}", false},
        {"{'total':1,'other':7}", "{'total':1}", true}, /* what is somebody else's */
        {"{'total':1}", "{'total':1,'other':7}", true},
        {"{'total':1,'pending':[1]}", "{'total':1,'pending':null}", false},
        {"{'total':1}", "{'total':1,'pending':null}", true}, /* null takes away */
        {"{'total':1,'pending':null}", "{'total':1}", true},
        {"{'total':1,'pending':[]}", "{'total':1}", false},
        {"{'total':1,'pending':[1,2]}", "{'pending':[1, 2], 'total':1}", true},
        {"{'total':1,'pending':[1,2]}", "{'total':1,'pending':[2,1]}", false},
        {"{'conditions':[{'a':1,'b':2}]}", "{'conditions':[{'b':2,'a':1}]}", true},
        {"{'conditions':[{'a':1,'b':2}]}", "{'conditions':[{'b':2,'a':3}]}", false},
        {"{}", "{}", true},
        {"{}", "{'total':1}", false},
        {"", "{}", false}, /* there is no status at all */
        {"{", "{}", false},
        {"{}", "", false},
        {"null", "{'total':1}", false},
        {"7", "{'total':1}", false},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        if (status_is_current(Q(cases[i].stored), Q(cases[i].wanted), members, 3) !=
            cases[i].current)
            fail_msg("%s beside %s", cases[i].stored, cases[i].wanted);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_condition_that_stays_keeps_its_time),
        cmocka_unit_test(great_counts_are_texts),
        cmocka_unit_test(says_whether_it_is_said_already),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
