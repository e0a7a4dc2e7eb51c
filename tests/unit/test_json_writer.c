/* The JSON writer: what each call writes, failure at every byte, dying of misuse, and documents of
 * any shape that json_view reads back. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "server/base/json_view.h"
#include "server/base/json_writer.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#define CAP (1024U * 1024)

static void write_empty_object(struct json_writer *writer)
{
    json_begin_object(writer);
    json_end_object(writer);
}

static void write_empty_array(struct json_writer *writer)
{
    json_begin_array(writer);
    json_end_array(writer);
}

static void write_null_string(struct json_writer *writer)
{
    json_put_string(writer, NULL);
}

static void write_strings(struct json_writer *writer)
{
    json_begin_array(writer);
    json_put_string(writer, "");
    json_put_string(writer, "a\"b\n");
    json_put_string(writer, "\xFFz");
    json_put_bytes(writer, "a\0b", 3);
    json_put_bytes(writer, NULL, 0);
    json_put_format(writer, "%s-%d", "\"", 7);
    json_put_format(writer, "%s", "");
    json_put_base64(writer, "foob", 4);
    json_put_base64(writer, NULL, 0);
    json_end_array(writer);
}

static void write_numbers(struct json_writer *writer)
{
    json_begin_array(writer);
    json_put_integer(writer, 0);
    json_put_integer(writer, INT64_MIN);
    json_put_integer(writer, INT64_MAX);
    json_put_bool(writer, true);
    json_put_bool(writer, false);
    json_put_null(writer);
    json_put_raw(writer, "1.10 ", 4);
    json_end_array(writer);
}

static void write_names(struct json_writer *writer)
{
    json_begin_object(writer);
    json_name(writer, "");
    json_put_null(writer);
    json_name(writer, "a\"\n");
    json_put_null(writer);
    json_end_object(writer);
}

static void write_members(struct json_writer *writer)
{
    json_begin_object(writer);
    json_member_object(writer, "object");
    json_member_string(writer, "string", "s");
    json_end_object(writer);
    json_member_array(writer, "array");
    json_begin_object(writer);
    json_end_object(writer);
    json_begin_array(writer);
    json_end_array(writer);
    json_put_integer(writer, 1);
    json_end_array(writer);
    json_member_string(writer, "absent", NULL);
    json_member_format(writer, "format", "%s/%d", "10.0.0.0", 24);
    json_member_base64(writer, "base64", "fo", 2);
    json_member_integer(writer, "integer", -5);
    json_member_bool(writer, "bool", true);
    json_member_null(writer, "null");
    json_member_raw(writer, "raw", "[1,2]", 5);
    json_members_raw(writer, "", 0);
    json_members_raw(writer, "\"x\":1,\"y\":{}", 12);
    json_end_object(writer);
}

static const struct {
    void (*write)(struct json_writer *writer);
    const char *json;
} cases[] = {
    {write_empty_object, "{}"},
    {write_empty_array, "[]"},
    {write_null_string, "null"},
    {write_strings,
     "[\"\",\"a\\\"b\\n\",\"\xEF\xBF\xBDz\",\"a\\u0000b\",\"\",\"\\\"-7\",\"\",\"Zm9vYg==\",\"\"]"},
    {write_numbers, "[0,-9223372036854775808,9223372036854775807,true,false,null,1.10]"},
    {write_names, "{\"\":null,\"a\\\"\\n\":null}"},
    {write_members, "{\"object\":{\"string\":\"s\"},\"array\":[{},[],1],\"absent\":null,"
                    "\"format\":\"10.0.0.0/"
                    "24\",\"base64\":\"Zm8=\",\"integer\":-5,\"bool\":true,\"null\":null,\"raw\":["
                    "1,2],\"x\":1,\"y\":{}}"},
};
#define CASES (sizeof(cases) / sizeof(cases[0]))

static void test_text(void **state)
{
    (void)state;
    for (size_t i = 0; i < CASES; i++) {
        struct buffer buffer _cleanup_buffer_;
        buffer_init(&buffer, CAP);
        buffer_append_string(&buffer, "before:");
        struct json_writer writer;
        json_writer_init(&writer, &buffer);
        assert_false(json_writer_done(&writer));
        cases[i].write(&writer);
        assert_true(json_writer_done(&writer));
        assert_memory_equal(buffer.data, "before:", 7);
        assert_string_equal(buffer.data + 7, cases[i].json);
    }
}

/* With every cap below what the text needs, the writer fails, stays failed even when the buffer is
 * reset behind its back, and gives nothing. */
static void test_fails_at_every_byte(void **state)
{
    (void)state;
    for (size_t i = 0; i < CASES; i++) {
        for (size_t cap = 0; cap < strlen(cases[i].json); cap++) {
            struct buffer buffer _cleanup_buffer_;
            buffer_init(&buffer, cap);
            struct json_writer writer;
            json_writer_init(&writer, &buffer);
            cases[i].write(&writer);
            assert_false(json_writer_done(&writer));
            buffer_reset(&buffer);
            assert_false(json_writer_done(&writer));
            assert_null(buffer.length > 0 ? buffer.data : NULL);
        }
    }
}

/* A document that goes on after the failure, with room again, isn't taken for a shorter one. */
static void test_failure_is_sticky(void **state)
{
    (void)state;
    struct buffer buffer _cleanup_buffer_;
    buffer_init(&buffer, 8);
    struct json_writer writer;
    json_writer_init(&writer, &buffer);
    json_begin_array(&writer);
    json_put_string(&writer, "longer than the cap");
    buffer_reset(&buffer);
    json_put_integer(&writer, 1);
    json_end_array(&writer);
    assert_false(json_writer_done(&writer));
    assert_true(buffer_failed(&buffer));
    assert_int_equal(buffer.length, 0);
    assert_null(buffer_steal(&buffer, NULL));
    assert_false(json_writer_done(&writer));
}

static void test_failed_before(void **state)
{
    (void)state;
    struct buffer buffer _cleanup_buffer_;
    buffer_init(&buffer, 4);
    buffer_append_string(&buffer, "12345");
    struct json_writer writer;
    json_writer_init(&writer, &buffer);
    buffer_reset(&buffer);
    write_empty_object(&writer);
    assert_false(json_writer_done(&writer));
    assert_true(buffer_failed(&buffer));
}

/* A buffer that finds no memory fails the writer. */
static void test_out_of_memory(void **state)
{
    (void)state;
    struct buffer buffer _cleanup_buffer_;
    buffer_init(&buffer, SIZE_MAX);
    struct json_writer writer;
    json_writer_init(&writer, &buffer);
    json_begin_array(&writer);
    buffer_append_base64(&buffer, "x", SIZE_MAX); /* more than the address space */
    json_put_string(&writer, "text");
    json_end_array(&writer);
    assert_false(json_writer_done(&writer));
    assert_null(buffer_steal(&buffer, NULL));
}

static void test_nothing_raw(void **state)
{
    (void)state;
    static const char *const texts[] = {NULL, ""};
    for (size_t i = 0; i < 2; i++) {
        struct buffer buffer _cleanup_buffer_;
        buffer_init(&buffer, CAP);
        struct json_writer writer;
        json_writer_init(&writer, &buffer);
        json_begin_object(&writer);
        json_member_raw(&writer, "patch", texts[i], 0);
        json_end_object(&writer);
        assert_false(json_writer_done(&writer));
        assert_null(buffer_steal(&buffer, NULL));
    }
}

static void test_begun_is_not_done(void **state)
{
    (void)state;
    struct buffer buffer _cleanup_buffer_;
    buffer_init(&buffer, CAP);
    struct json_writer writer;
    json_writer_init(&writer, &buffer);
    for (int i = 0; i < JSON_WRITER_DEPTH; i++) {
        assert_false(json_writer_done(&writer));
        if (i % 2 == 0)
            json_begin_array(&writer);
        else
            json_begin_object(&writer);
        if (i % 2 != 0)
            json_name(&writer, "n");
    }
    json_put_null(&writer);
    for (int i = JSON_WRITER_DEPTH; i-- > 0;) {
        assert_false(json_writer_done(&writer));
        if (i % 2 == 0)
            json_end_array(&writer);
        else
            json_end_object(&writer);
    }
    assert_true(json_writer_done(&writer));
}

static void misuse_no_name(struct json_writer *writer)
{
    json_begin_object(writer);
    json_put_null(writer);
}

static void misuse_name_in_array(struct json_writer *writer)
{
    json_begin_array(writer);
    json_name(writer, "name");
}

static void misuse_name_outside(struct json_writer *writer)
{
    json_name(writer, "name");
}

static void misuse_two_names(struct json_writer *writer)
{
    json_begin_object(writer);
    json_name(writer, "name");
    json_name(writer, "name");
}

static void misuse_name_without_value(struct json_writer *writer)
{
    json_begin_object(writer);
    json_name(writer, "name");
    json_end_object(writer);
}

static void misuse_end_of_other_kind(struct json_writer *writer)
{
    json_begin_array(writer);
    json_end_object(writer);
}

static void misuse_end_of_other_kind_inside(struct json_writer *writer)
{
    json_begin_array(writer);
    json_begin_object(writer);
    json_end_array(writer);
}

static void misuse_end_of_nothing(struct json_writer *writer)
{
    json_end_array(writer);
}

static void misuse_two_values(struct json_writer *writer)
{
    json_put_null(writer);
    json_put_null(writer);
}

static void misuse_too_deep(struct json_writer *writer)
{
    for (int i = 0; i <= JSON_WRITER_DEPTH; i++)
        json_begin_array(writer);
}

/* Runs misuse in a child; it must die of SIGABRT. */
static void assert_aborts(void (*misuse)(struct json_writer *), size_t cap)
{
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        static const struct rlimit none = {0};
        signal(SIGABRT, SIG_DFL);
        (void)setrlimit(RLIMIT_CORE, &none);
        (void)close(STDERR_FILENO);
        struct buffer buffer;
        buffer_init(&buffer, cap);
        struct json_writer writer;
        json_writer_init(&writer, &buffer);
        misuse(&writer);
        _exit(0);
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status));
    assert_int_equal(WTERMSIG(status), SIGABRT);
}

static void test_misuse(void **state)
{
    (void)state;
    static void (*const misuses[])(struct json_writer *) = {
        misuse_no_name,
        misuse_name_in_array,
        misuse_name_outside,
        misuse_two_names,
        misuse_name_without_value,
        misuse_end_of_other_kind,
        misuse_end_of_other_kind_inside,
        misuse_end_of_nothing,
        misuse_two_values,
        misuse_too_deep,
    };
    for (size_t i = 0; i < sizeof(misuses) / sizeof(misuses[0]); i++) {
        assert_aborts(misuses[i], CAP);
        assert_aborts(misuses[i], 0);
    }
}

/* Random documents. The same choices are made again when the text is read back. */
struct choices {
    uint64_t state;
};

static unsigned int choose(struct choices *choices, unsigned int among)
{
    choices->state = choices->state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (unsigned int)(choices->state >> 33) % among;
}

static const char *const texts[] = {
    "",
    "plain",
    "\"\\/",
    "a\nb\tc\x01\x7f",
    "\xC3\xA9\xE2\x82\xAC\xF0\x9F\x98\x80",
    "\xE2\x80\xA8",
    "\xC2\x85",
    "{\"a\":[1]}",
};
#define TEXTS (sizeof(texts) / sizeof(texts[0]))

enum shape {
    SHAPE_STRING,
    SHAPE_FORMAT,
    SHAPE_INTEGER,
    SHAPE_BOOL,
    SHAPE_NULL,
    SHAPE_RAW,
    SHAPE_ARRAY,
    SHAPE_OBJECT,
    SHAPES
};

static enum shape choose_shape(struct choices *choices, unsigned int depth)
{
    return choose(choices, depth < JSON_WRITER_DEPTH ? SHAPES : SHAPE_ARRAY);
}

static int64_t choose_integer(struct choices *choices)
{
    return ((int64_t)choose(choices, 1U << 31) - (1 << 30)) * (int64_t)choose(choices, 1U << 31);
}

static void write_any(struct json_writer *writer, struct choices *choices, unsigned int depth)
{
    enum shape shape = choose_shape(choices, depth);
    switch (shape) {
    case SHAPE_STRING:
        json_put_string(writer, texts[choose(choices, TEXTS)]);
        return;
    case SHAPE_FORMAT:
        json_put_format(writer, "%s", texts[choose(choices, TEXTS)]);
        return;
    case SHAPE_INTEGER:
        json_put_integer(writer, choose_integer(choices));
        return;
    case SHAPE_BOOL:
        json_put_bool(writer, choose(choices, 2) == 1);
        return;
    case SHAPE_NULL:
        json_put_null(writer);
        return;
    case SHAPE_RAW:
        json_put_raw(writer, " {\"x\" : 1.10}", 13);
        return;
    default:
        break;
    }
    unsigned int count = choose(choices, 4);
    if (shape == SHAPE_ARRAY)
        json_begin_array(writer);
    else
        json_begin_object(writer);
    for (unsigned int i = 0; i < count; i++) {
        if (shape == SHAPE_OBJECT)
            json_name(writer, texts[(i + count) % TEXTS]);
        write_any(writer, choices, depth + 1);
    }
    if (shape == SHAPE_ARRAY)
        json_end_array(writer);
    else
        json_end_object(writer);
}

static void check_any(const struct json_view *view, const struct json_node *node,
                      struct choices *choices, unsigned int depth)
{
    enum shape shape = choose_shape(choices, depth);
    int64_t integer = 0;
    size_t length;
    switch (shape) {
    case SHAPE_STRING:
    case SHAPE_FORMAT:
        assert_true(json_view_equals(view, node, texts[choose(choices, TEXTS)]));
        return;
    case SHAPE_INTEGER:
        assert_true(json_view_int64(view, node, &integer));
        assert_true(integer == choose_integer(choices));
        return;
    case SHAPE_BOOL:
        assert_int_equal(json_view_type(node),
                         choose(choices, 2) == 1 ? JSON_VIEW_TRUE : JSON_VIEW_FALSE);
        return;
    case SHAPE_NULL:
        assert_non_null(node);
        assert_true(json_view_is_null(node));
        return;
    case SHAPE_RAW:
        assert_memory_equal(json_view_raw(view, node, &length), "{\"x\" : 1.10}", 12);
        assert_int_equal(length, 12);
        return;
    default:
        break;
    }
    unsigned int count = choose(choices, 4);
    assert_int_equal(json_view_type(node),
                     shape == SHAPE_ARRAY ? JSON_VIEW_ARRAY : JSON_VIEW_OBJECT);
    assert_int_equal(json_view_count(node), count);
    const struct json_node *child = json_view_first(view, node);
    for (unsigned int i = 0; i < count; i++, child = json_view_after(view, node, child)) {
        if (shape == SHAPE_OBJECT)
            assert_ptr_equal(json_view_member(view, node, texts[(i + count) % TEXTS]), child);
        check_any(view, child, choices, depth + 1);
    }
}

#define ROUNDS 20000

static void test_round_trip(void **state)
{
    (void)state;
    struct buffer buffer _cleanup_buffer_;
    buffer_init(&buffer, CAP);
    struct json_view view;
    json_view_init(&view);
    size_t longest = 0;
    for (uint64_t round = 0; round < ROUNDS; round++) {
        buffer_reset(&buffer);
        struct json_writer writer;
        json_writer_init(&writer, &buffer);
        write_any(&writer, &(struct choices){round}, 0);
        assert_true(json_writer_done(&writer));
        assert_int_equal(json_view_parse(&view, buffer.data, buffer.length, JSON_VIEW_DEPTH, NULL),
                         0);
        check_any(&view, json_view_root(&view), &(struct choices){round}, 0);
        longest = buffer.length > longest ? buffer.length : longest;
    }
    assert_true(longest > 200); /* the documents weren't all trivial */
    json_view_clear(&view);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_text),
        cmocka_unit_test(test_fails_at_every_byte),
        cmocka_unit_test(test_failure_is_sticky),
        cmocka_unit_test(test_failed_before),
        cmocka_unit_test(test_out_of_memory),
        cmocka_unit_test(test_nothing_raw),
        cmocka_unit_test(test_begun_is_not_done),
        cmocka_unit_test(test_misuse),
        cmocka_unit_test(test_round_trip),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
