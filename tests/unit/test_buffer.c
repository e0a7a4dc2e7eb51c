/* The buffer: content, cap, sticky failure, and the two encodings it writes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "server/base/buffer.h"

#include <stdlib.h>
#include <string.h>

static void test_append(void **state)
{
    (void)state;
    struct buffer buffer _cleanup_buffer_;
    buffer_init(&buffer, 1 << 20);
    assert_null(buffer.data);
    buffer_append(&buffer, "ab", 2);
    buffer_append(&buffer, NULL, 0);
    buffer_append_string(&buffer, "cd");
    buffer_append_char(&buffer, 'e');
    buffer_printf(&buffer, "-%d-%s", 42, "f");
    buffer_printf(&buffer, "%s", "");
    assert_string_equal(buffer.data, "abcde-42-f");
    assert_int_equal(buffer.length, 10);
    for (int i = 0; i < 10000; i++)
        buffer_printf(&buffer, "%08d", i);
    assert_false(buffer_failed(&buffer));
    assert_int_equal(buffer.length, 80010);
    assert_memory_equal(buffer.data + 80002, "00009999", 9);
}

static void test_cap_is_sticky(void **state)
{
    (void)state;
    struct buffer buffer _cleanup_buffer_;
    buffer_init(&buffer, 4);
    buffer_append_string(&buffer, "abcd");
    assert_false(buffer_failed(&buffer));
    assert_true(buffer.capacity <= 5);
    buffer_append_char(&buffer, 'e');
    assert_true(buffer_failed(&buffer));
    buffer_reset(&buffer);
    assert_false(buffer_failed(&buffer));
    assert_string_equal(buffer.data, "");
    buffer_printf(&buffer, "%d", 12345);
    assert_true(buffer_failed(&buffer));
    buffer_append_char(&buffer, 'a');
    assert_int_equal(buffer.length, 0);
    buffer_clear(&buffer);
    buffer_append_string(&buffer, "ab");
    assert_string_equal(buffer.data, "ab");
    buffer_append_base64(&buffer, "x", 1);
    assert_true(buffer_failed(&buffer));
}

static void test_out_of_memory(void **state)
{
    (void)state;
    struct buffer buffer _cleanup_buffer_;
    buffer_init(&buffer, SIZE_MAX);
    /* More than the address space: refused before a byte is read. */
    buffer_append_base64(&buffer, "x", SIZE_MAX);
    assert_true(buffer_failed(&buffer));
    assert_null(buffer_steal(&buffer, NULL));
    assert_false(buffer_failed(&buffer));
}

static void test_steal(void **state)
{
    (void)state;
    struct buffer buffer _cleanup_buffer_;
    buffer_init(&buffer, 8);
    size_t length = 99;
    char *text = buffer_steal(&buffer, &length);
    assert_string_equal(text, "");
    assert_int_equal(length, 0);
    free(text);
    buffer_append(&buffer, "a\0b", 3);
    text = buffer_steal(&buffer, &length);
    assert_int_equal(length, 3);
    assert_memory_equal(text, "a\0b", 4);
    free(text);
    assert_null(buffer.data);
    buffer_append_string(&buffer, "123456789");
    length = 99;
    assert_null(buffer_steal(&buffer, &length));
    assert_int_equal(length, 99);
    assert_false(buffer_failed(&buffer));
}

#define REPLACED "\xEF\xBF\xBD"

/* Texts and the strings that they become. */
static const struct {
    const char *text;
    size_t length;
    const char *json;
} strings[] = {
    {"", 0, "\"\""},
    {"plain", 5, "\"plain\""},
    {"\"\\/", 3, "\"\\\"\\\\/\""},
    {"\b\f\n\r\t", 5, "\"\\b\\f\\n\\r\\t\""},
    {"a\0b", 3, "\"a\\u0000b\""},
    {"\x01\x1f\x20\x7e\x7f", 5, "\"\\u0001\\u001f ~\\u007f\""},
    {"\xC2\x85|\xC2\xA0", 5, "\"\\u0085|\xC2\xA0\""},
    {"\xE2\x80\xA8\xE2\x80\xA9\xE2\x80\xAA", 9, "\"\\u2028\\u2029\xE2\x80\xAA\""},
    {"\xC3\xA9\xE2\x82\xAC\xF0\x9F\x98\x80", 9, "\"\xC3\xA9\xE2\x82\xAC\xF0\x9F\x98\x80\""},
    {"\xF4\x8F\xBF\xBF\xEE\x80\x80\xED\x9F\xBF", 10,
     "\"\xF4\x8F\xBF\xBF\xEE\x80\x80\xED\x9F\xBF\""},
    {"a\xFFz", 3, "\"a" REPLACED "z\""},
    {"\xC0\x80", 2, "\"" REPLACED REPLACED "\""},
    {"\xE0\x9F\xBF", 3, "\"" REPLACED REPLACED REPLACED "\""},
    {"\xED\xA0\x80", 3, "\"" REPLACED REPLACED REPLACED "\""},
    {"\xF0\x8F\xBF\xBF", 4, "\"" REPLACED REPLACED REPLACED REPLACED "\""},
    {"\xF4\x90\x80\x80", 4, "\"" REPLACED REPLACED REPLACED REPLACED "\""},
    {"\xE2\x82", 2, "\"" REPLACED REPLACED "\""},
    {"\xC3(", 2, "\"" REPLACED "(\""},
};
#define STRINGS (sizeof(strings) / sizeof(strings[0]))

static void test_json_string(void **state)
{
    (void)state;
    for (size_t i = 0; i < STRINGS; i++) {
        struct buffer buffer _cleanup_buffer_;
        buffer_init(&buffer, 1024);
        buffer_append_json_bytes(&buffer, strings[i].text, strings[i].length);
        assert_string_equal(buffer.data, strings[i].json);
        if (strlen(strings[i].text) == strings[i].length) {
            buffer_reset(&buffer);
            buffer_append_json_string(&buffer, strings[i].text);
            assert_string_equal(buffer.data, strings[i].json);
        }
    }
}

#define AROUND_MOST 1100

/* Each of them within plain text, at every place of the pieces that a long text is written in. */
static void test_long_json_string(void **state)
{
    (void)state;
    static const char tail[] = "0123456789abcdefghij";
    for (size_t i = 0; i < STRINGS; i++) {
        for (size_t before = 0; before < AROUND_MOST; before++) {
            struct buffer text _cleanup_buffer_;
            struct buffer expected _cleanup_buffer_;
            struct buffer buffer _cleanup_buffer_;
            buffer_init(&text, 2048);
            buffer_init(&expected, 2048);
            buffer_append_char(&expected, '"');
            for (size_t j = 0; j < before; j++) {
                buffer_append_char(&text, (char)('A' + j % 26));
                buffer_append_char(&expected, (char)('A' + j % 26));
            }
            buffer_append(&text, strings[i].text, strings[i].length);
            buffer_append(&expected, strings[i].json + 1, strlen(strings[i].json) - 2);
            buffer_append_string(&text, tail);
            buffer_append_string(&expected, tail);
            buffer_append_char(&expected, '"');
            buffer_init(&buffer, expected.length);
            buffer_append_json_bytes(&buffer, text.data, text.length);
            assert_false(buffer_failed(&buffer));
            assert_string_equal(buffer.data, expected.data);
        }
    }
}

static void test_reserve(void **state)
{
    (void)state;
    static const size_t sizes[] = {1, 300, 100000, 2000000, 2100000, 14000000};
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        struct buffer buffer _cleanup_buffer_;
        buffer_init(&buffer, 16000000);
        assert_true(buffer_reserve(&buffer, sizes[i]));
        assert_true(buffer.capacity > sizes[i]);
        assert_true(buffer.capacity <= sizes[i] + sizes[i] / 8 + 256);
        const char *data = buffer.data;
        memset(buffer.data, 'x', sizes[i]); /* memory indeed */
        for (size_t j = 0; j < sizes[i]; j += 1000)
            buffer_append(&buffer, "y", 1);
        assert_ptr_equal(buffer.data, data);
        assert_false(buffer_reserve(&buffer, 16000000));
        assert_true(buffer_failed(&buffer));
    }
}

/* The vectors of RFC 4648 section 10, and the two digits that are no letters. */
static void test_base64(void **state)
{
    (void)state;
    static const char *const cases[][2] = {
        {"f", "Zg=="},
        {"fo", "Zm8="},
        {"foo", "Zm9v"},
        {"foob", "Zm9vYg=="},
        {"fooba", "Zm9vYmE="},
        {"foobar", "Zm9vYmFy"},
        {"\xfb\xff\xbf", "+/+/"},
    };
    struct buffer buffer _cleanup_buffer_;
    buffer_init(&buffer, 1024);
    buffer_append_base64(&buffer, "", 0);
    assert_int_equal(buffer.length, 0);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        buffer_reset(&buffer);
        buffer_append_base64(&buffer, cases[i][0], strlen(cases[i][0]));
        assert_string_equal(buffer.data, cases[i][1]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_append),        cmocka_unit_test(test_cap_is_sticky),
        cmocka_unit_test(test_out_of_memory), cmocka_unit_test(test_steal),
        cmocka_unit_test(test_json_string),   cmocka_unit_test(test_long_json_string),
        cmocka_unit_test(test_reserve),       cmocka_unit_test(test_base64),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
