/* json_view: what it accepts and refuses (with the words it says), what is read of a text that has a
 * fault or is odd, and that a hostile text costs no more time than an honest one of its size. What the
 * readers give is in test_json_view_read.c. */
#include "tests/unit/json_view_fixture.h"

static void test_accepts(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        enum json_view_type type;
        size_t count; /* children */
        size_t nodes; /* values in all */
    } cases[] = {
        {"null", JSON_VIEW_NULL, 0, 1},
        {"true", JSON_VIEW_TRUE, 0, 1},
        {" \t\r\nfalse\n", JSON_VIEW_FALSE, 0, 1},
        {"0", JSON_VIEW_NUMBER, 0, 1},
        {"-0", JSON_VIEW_NUMBER, 0, 1},
        {"-0.0e-0", JSON_VIEW_NUMBER, 0, 1},
        {"12.5E+10", JSON_VIEW_NUMBER, 0, 1},
        {"1e999999999", JSON_VIEW_NUMBER, 0, 1},
        {"123456789012345678901234567890123456789012345678901234567890", JSON_VIEW_NUMBER, 0, 1},
        {"\"\"", JSON_VIEW_STRING, 0, 1},
        {"\"\\\"\\\\\\/\\b\\f\\n\\r\\t\\u0001\\uABcd\"", JSON_VIEW_STRING, 0, 1},
        {"\"\\ud800\\udc00\\uDBFF\\uDFFF\\ud7ff\\ue000\"", JSON_VIEW_STRING, 0, 1},
        {"\"\x7f\xC2\x80\xDF\xBF\xE0\xA0\x80\xED\x9F\xBF\xEE\x80\x80\xEF\xBF\xBF\"",
         JSON_VIEW_STRING, 0, 1},
        {"\"\xF0\x90\x80\x80\xF4\x8F\xBF\xBF\"", JSON_VIEW_STRING, 0, 1},
        {"[]", JSON_VIEW_ARRAY, 0, 1},
        {"[ ]", JSON_VIEW_ARRAY, 0, 1},
        {"{}", JSON_VIEW_OBJECT, 0, 1},
        {"{ }", JSON_VIEW_OBJECT, 0, 1},
        {"[1,[2,[]],{\"a\":{}}]", JSON_VIEW_ARRAY, 3, 7},
        {" { \"a\" : 1 , \"b\" : [ 1 , 2 ] } ", JSON_VIEW_OBJECT, 2, 5},
        {"{\"\":1,\"a\":2,\"A\":3}", JSON_VIEW_OBJECT, 3, 4},
        {"{\"a\":{\"a\":{\"a\":1}},\"b\":{\"a\":1}}", JSON_VIEW_OBJECT, 2, 6},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct parsed parsed;
        parse_good(&parsed, cases[i].text);
        const struct json_node *root = json_view_root(&parsed.view);
        assert_int_equal(json_view_type(root), cases[i].type);
        assert_int_equal(json_view_count(root), cases[i].count);
        assert_int_equal(parsed.view.count, cases[i].nodes);
        release(&parsed);
    }
}

#define END "found the end of the text"

static void test_refuses(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        const char *error;
    } cases[] = {
        {"", "at byte 0: " END ", expected a value"},
        {"  ", "at byte 2: " END ", expected a value"},
        {"\xEF\xBB\xBF{}", "at byte 0: found byte 0xef, expected a value"},
        {"nul", "at byte 0: found 'n', expected true, false or null"},
        {"True", "at byte 0: found 'T', expected a value"},
        {"trueX", "at byte 4: found 'X', expected nothing after the value"},
        {"{} {}", "at byte 3: found '{', expected nothing after the value"},
        {"1 2", "at byte 2: found '2', expected nothing after the value"},
        {"01", "at byte 1: found '1', expected nothing after the value"},
        {"[-01]", "at byte 3: found '1', expected ',' or ']'"},
        {"-", "at byte 1: " END ", expected a digit"},
        {"-a", "at byte 1: found 'a', expected a digit"},
        {"1.", "at byte 2: " END ", expected a digit"},
        {"1.e1", "at byte 2: found 'e', expected a digit"},
        {".5", "at byte 0: found '.', expected a value"},
        {"+1", "at byte 0: found '+', expected a value"},
        {"1e", "at byte 2: " END ", expected a digit"},
        {"1e+", "at byte 3: " END ", expected a digit"},
        {"0x1", "at byte 1: found 'x', expected nothing after the value"},
        {"NaN", "at byte 0: found 'N', expected a value"},
        {"[1", "at byte 2: " END ", expected ',' or ']'"},
        {"[1,", "at byte 3: " END ", expected a value"},
        {"[1,]", "at byte 3: found ']', expected a value"},
        {"[,1]", "at byte 1: found ',', expected a value"},
        {"[1 2]", "at byte 3: found '2', expected ',' or ']'"},
        {"[1}", "at byte 2: found '}', expected ',' or ']'"},
        {"]", "at byte 0: found ']', expected a value"},
        {"{", "at byte 1: " END ", expected a name in quotes"},
        {"{a:1}", "at byte 1: found 'a', expected a name in quotes"},
        {"{\"a\"", "at byte 4: " END ", expected a colon after a name"},
        {"{\"a\" 1}", "at byte 5: found '1', expected a colon after a name"},
        {"{\"a\":", "at byte 5: " END ", expected a value"},
        {"{\"a\":}", "at byte 5: found '}', expected a value"},
        {"{\"a\":1", "at byte 6: " END ", expected ',' or '}'"},
        {"{\"a\":1,}", "at byte 7: found '}', expected a name in quotes"},
        {"{\"a\":1]", "at byte 6: found ']', expected ',' or '}'"},
        {"{1:2}", "at byte 1: found '1', expected a name in quotes"},
        {"\"abc", "at byte 4: " END ", expected the closing quote of a string"},
        {"\"\\", "at byte 2: " END ", expected one of \"\\/bfnrtu after a backslash"},
        {"\"\\x\"", "at byte 2: found 'x', expected one of \"\\/bfnrtu after a backslash"},
        {"\"a\nb\"",
         "at byte 2: found byte 0x0a, expected an escape in place of a control character"},
        {"\"\x1f\"",
         "at byte 1: found byte 0x1f, expected an escape in place of a control character"},
        {"\"\\u12g4\"", "at byte 5: found 'g', expected four hexadecimal digits after \\u"},
        {"\"\\u12", "at byte 5: " END ", expected four hexadecimal digits after \\u"},
        {"[\x01]", "at byte 1: found byte 0x01, expected a value"},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct parsed parsed;
        struct error error = {0};
        assert_int_equal(parse(&parsed, cases[i].text, strlen(cases[i].text), &error), -EINVAL);
        assert_string_equal(error.text, cases[i].error);
        assert_null(json_view_root(&parsed.view));
        release(&parsed);
    }
}

static void test_refuses_nul_bytes(void **state)
{
    (void)state;
    static const char in_string[] = "\"a\0b\"";
    static const char behind[] = "{}\0";
    struct parsed parsed;
    assert_int_equal(parse(&parsed, in_string, sizeof(in_string) - 1, NULL), -EINVAL);
    release(&parsed);
    assert_int_equal(parse(&parsed, behind, sizeof(behind) - 1, NULL), -EINVAL);
    release(&parsed);
    struct json_view view;
    json_view_init(&view);
    assert_int_equal(json_view_parse(&view, NULL, 0, 1, NULL), -EINVAL);
    assert_int_equal(json_view_parse(&view, "1", (size_t)JSON_VIEW_TEXT_MAXIMUM + 1, 1, NULL),
                     -EINVAL);
    json_view_clear(&view);
    json_view_clear(NULL);
}

/* Each special byte at each distance from the end and from the wide loads' borders is found. */
static void test_string_lengths(void **state)
{
    (void)state;
    static const struct {
        const char *bytes;
        int result;
    } cases[] = {{"", 0},      {"\\n", 0},      {"\xC3\xA9", 0}, {"\n", -EINVAL},  {"\x7f", 0},
                 {" !#[]", 0}, {"\"", -EINVAL}, {"\x80", 0},     {"\x1f", -EINVAL}};
    char text[128];
    for (size_t i = 0; i < COUNT(cases); i++) {
        for (int before = 0; before < 40; before++) {
            for (int after = 0; after < 40; after++) {
                struct parsed parsed;
                int length = snprintf(text, sizeof(text), "\"%.*s%s%.*s\"", before,
                                      "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", cases[i].bytes,
                                      after, "zzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzz");
                assert_int_equal(parse(&parsed, text, (size_t)length, NULL), cases[i].result);
                release(&parsed);
            }
        }
    }
}

/* Every prefix of a text is refused, without a read beyond its end. */
static void test_prefixes(void **state)
{
    (void)state;
    for (size_t length = 0; length < strlen(review); length++) {
        struct parsed parsed;
        assert_int_equal(parse(&parsed, review, length, NULL), -EINVAL);
        release(&parsed);
    }
}

/* What is odd is read as Go reads it, and a name that stands twice is told to whoever asks. */
static void test_odd_texts(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        const char *read;  /* the string, or the member "a" of the object */
        const char *twice; /* NULL: every name stands once */
    } cases[] = {
        {"\"\\u0000\"", "\xEF\xBF\xBD", NULL},
        {"\"a\\u0000b\"",
         "a\xEF\xBF\xBD"
         "b",
         NULL},
        {"\"\\\\u0000\"", "\\u0000", NULL},
        {"\"\\udc00\"", "\xEF\xBF\xBD", NULL},
        {"\"\\ud800\"", "\xEF\xBF\xBD", NULL},
        {"\"\\ud800\\n\"", "\xEF\xBF\xBD\n", NULL},
        {"\"\\ud800\\ud800\\udc00\"", "\xEF\xBF\xBD\xF0\x90\x80\x80", NULL},
        {"\"\\ud800\\u0041\"",
         "\xEF\xBF\xBD"
         "A",
         NULL},
        {"\"\\ud800\\\\dc00\"", "\xEF\xBF\xBD\\dc00", NULL},
        {"\"\x80\"", "\xEF\xBF\xBD", NULL},
        {"\"\xC0\x80\"", "\xEF\xBF\xBD\xEF\xBF\xBD", NULL},
        {"\"a\xE0\x9F\xBF"
         "b\"",
         "a\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD"
         "b",
         NULL},
        {"\"\xED\xA0\x80\"", "\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD", NULL},
        {"\"\xF4\x90\x80\x80\"", "\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD", NULL},
        {"\"\xC3\xA4\xC3\"", "\xC3\xA4\xEF\xBF\xBD", NULL},
        {"{\"a\":\"1\",\"a\":\"2\"}", "2",
         "at byte 10: found the name \"a\" again, expected it once in an object"},
        {"{\"a\":\"1\",\"b\":0,\"\\u0061\":\"2\",\"c\":0}", "2",
         "at byte 16: found the name \"\\u0061\" again, expected it once in an object"},
        {"{\"a\":\"1\",\"\xFF\":0}", "1", NULL},
        {"{\"a\":\"1\",\"b\\u0000\":0}", "1", NULL},
        {"{\"a\":\"1\",\"but\":{\"x\":1,\"x\":2}}", "1", NULL},
        {"{\"a\":\"1\",\"but\":{\"\xFE\":1,\"\xFF\":2},\"c\":[{\"x\":1,\"x\":2}]}", "1",
         "at byte 34: found a name again, expected it once in an object"},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct parsed parsed;
        struct error error = {0};
        char text[64];
        size_t length;
        parse_good(&parsed, cases[i].text);
        const struct json_view *view = &parsed.view;
        const struct json_node *node = json_view_root(view);
        if (json_view_is_object(node))
            node = json_view_member(view, node, "a");
        assert_int_equal(json_view_text(view, node, text, sizeof(text)), strlen(cases[i].read));
        assert_string_equal(text, cases[i].read);
        assert_true(json_view_equals(view, node, cases[i].read));
        char *copy = json_view_copy(view, node);
        assert_string_equal(copy, cases[i].read);
        free(copy);
        const char *plain = json_view_plain(view, node, &length);
        assert_true(plain == NULL || strncmp(plain, cases[i].read, length) == 0);
        assert_int_equal(json_view_require_unique(view, "but", &error),
                         cases[i].twice != NULL ? -EINVAL : 0);
        assert_string_equal(error.text, cases[i].twice != NULL ? cases[i].twice : "");
        release(&parsed);
    }
}

/* levels containers around a number, one in the other. */
static char *nested(const char *open, const char *close, unsigned int levels)
{
    struct buffer text;
    buffer_init(&text, 64U << 20);
    for (unsigned int i = 0; i < levels; i++)
        buffer_append_string(&text, open);
    buffer_append_char(&text, '1');
    for (unsigned int i = 0; i < levels; i++)
        buffer_append_string(&text, close);
    char *copy = buffer_steal(&text, NULL);
    assert_non_null(copy);
    return copy;
}

/* However deep a value is nested, it is read; below the depth that was asked for nothing is looked
 * at. */
static void test_depth(void **state)
{
    (void)state;
    static const struct {
        unsigned int levels;
        unsigned int depth;
        size_t nodes;
    } cases[] = {{0, 0, 1},      {1, 0, 1},        {1, 1, 2},     {64, 64, 65},  {65, 64, 65},
                 {1024, 64, 65}, {1024, 1024, 65}, {10000, 3, 4}, {10001, 3, 4}, {300000, 64, 65}};
    for (size_t i = 0; i < COUNT(cases); i++) {
        char *texts[] = {nested("[", "]", cases[i].levels),
                         nested("{\"a]\\\"\":", "}", cases[i].levels)};
        for (size_t j = 0; j < 2; j++) {
            struct json_view view;
            json_view_init(&view);
            assert_int_equal(
                json_view_parse(&view, texts[j], strlen(texts[j]), cases[i].depth, NULL), 0);
            assert_int_equal(view.count, cases[i].nodes);
            const struct json_node *last = &view.nodes[view.count - 1];
            size_t length;
            const char *raw = json_view_raw(&view, last, &length);
            const char *middle = strchr(texts[j], '1');
            assert_true(raw <= middle && middle < raw + length);
            assert_int_equal(json_view_count(last), 0);
            assert_null(json_view_first(&view, last));
            json_view_clear(&view);
        }
        free(texts[0]);
        free(texts[1]);
    }
}

/* What has no nodes is found, is left out, and differs from what is empty. */
static void test_passed_over(void **state)
{
    (void)state;
    static const char text[] = "{\"a\":{\"x\":[1]},\"b\":{},\"c\":{\"x\":[1]},\"d\":[2],\"e\":3}";
    struct json_view view;
    json_view_init(&view);
    assert_int_equal(json_view_parse(&view, text, strlen(text), 1, NULL), 0);
    const struct json_node *root = json_view_root(&view);
    const struct json_node *a = json_view_member(&view, root, "a");
    size_t length;
    assert_int_equal(json_view_count(root), 5);
    assert_true(json_view_is_object(a));
    assert_null(json_view_member(&view, a, "x"));
    assert_memory_equal(json_view_raw(&view, a, &length), "{\"x\":[1]}", 9);
    assert_false(json_view_same(&view, a, &view, json_view_member(&view, root, "b")));
    assert_true(json_view_same(&view, a, &view, json_view_member(&view, root, "c")));
    assert_true(json_view_is_array(json_view_member(&view, root, "d")));
    int64_t number;
    assert_true(json_view_int64(&view, json_view_member(&view, root, "e"), &number));
    static const char *const endless[] = {"[[[", "[[\"]]", "[[\"\\\"]]", "[{\"a\\", "[[]"};
    for (size_t i = 0; i < COUNT(endless); i++) {
        struct error error;
        char expected[80];
        snprintf(expected, sizeof(expected), "at byte %zu: " END ", expected ", strlen(endless[i]));
        assert_int_equal(json_view_parse(&view, endless[i], strlen(endless[i]), 1, &error),
                         -EINVAL);
        assert_int_equal(strncmp(error.text, expected, strlen(expected)), 0);
    }
    json_view_clear(&view);
}

/* What came before a fault can still be looked at: whoever asked must be answered. */
static void test_remains(void **state)
{
    (void)state;
    static const char text[] =
        "{\"request\":{\"uid\":\"8f6d\",\"kind\":{\"version\":\"v1\",\"bad\":[1,tru";
    for (size_t length = 0; length < sizeof(text); length++) {
        struct parsed parsed;
        assert_int_equal(parse(&parsed, text, length, NULL), -EINVAL);
        const struct json_view *view = &parsed.view;
        const struct json_node *root = json_view_remains(view);
        assert_null(json_view_root(view));
        assert_int_equal(json_view_is_object(root), length > 0);
        assert_int_equal(
            json_view_equals(view, json_view_path(view, root, "request", "uid", NULL), "8f6d"),
            length >= strlen("{\"request\":{\"uid\":\"8f6d\""));
        assert_int_equal(
            json_view_equals(view, json_view_path(view, root, "request", "kind", "version", NULL),
                             "v1"),
            length >= strlen("{\"request\":{\"uid\":\"8f6d\",\"kind\":{\"version\":\"v1\""));
        release(&parsed);
    }
}

/* Objects of each size up to 40, honest and with the last name repeating each earlier one, written
 * plainly and escaped: of equal names the last one counts. */
static void test_duplicates(void **state)
{
    (void)state;
    static const char *const spellings[] = {"n", "\\u006e"};
    char text[2048];
    for (int members = 1; members < 40; members++) {
        struct buffer buffer _cleanup_buffer_;
        struct error error = {0};
        struct parsed parsed;
        buffer_init(&buffer, sizeof(text));
        for (int i = 0; i < members; i++)
            buffer_printf(&buffer, "%s\"%s%d\":{\"n1\":[]}", i > 0 ? "," : "{",
                          i % 5 == 4 ? "\\u006e" : "n", i);
        snprintf(text, sizeof(text), "%s}", buffer.data);
        parse_good(&parsed, text);
        assert_int_equal(json_view_require_unique(&parsed.view, "but", &error), 0);
        release(&parsed);
        for (int again = 0; again < 2 * members; again++) {
            char expected[128];
            char name[16];
            int64_t value = 0;
            snprintf(name, sizeof(name), "n%d", again / 2);
            snprintf(text, sizeof(text), "%s,\"%s%d\":7,\"m\":0}", buffer.data,
                     spellings[again % 2], again / 2);
            parse_good(&parsed, text);
            const struct json_view *view = &parsed.view;
            assert_int_equal(json_view_require_unique(view, "but", &error), -EINVAL);
            snprintf(expected, sizeof(expected),
                     "at byte %zu: found the name \"%s%d\" again, expected it once in an object",
                     buffer.length + 2, spellings[again % 2], again / 2);
            assert_string_equal(error.text, expected);
            assert_true(
                json_view_int64(view, json_view_member(view, json_view_root(view), name), &value));
            assert_int_equal(value, 7);
            assert_true(json_view_same(view, json_view_root(view), view, json_view_root(view)));
            release(&parsed);
        }
    }
}

/* Names that look alike to the filter but differ. */
static void test_similar_names(void **state)
{
    (void)state;
    struct parsed parsed;
    parse_good(&parsed, "{\"abcde\":1,\"axcye\":2,\"\":3,\"a\":4,\"aa\":5,\"aaa\":6,\"\\u0062\":7,"
                        "\"\\u0062b\":8,\"c\":9}");
    assert_int_equal(json_view_count(json_view_root(&parsed.view)), 9);
    release(&parsed);
    parse_good(&parsed, "{\"\":1,\"a\":2,\"\":3}");
    assert_int_equal(json_view_require_unique(&parsed.view, "but", NULL), -EINVAL);
    release(&parsed);
}

#define MANY 500000

/* An object of MANY names that are prefix and a number, counting from first by step. */
static void write_many(struct buffer *buffer, int first, int step, const char *prefix)
{
    buffer_init(buffer, 1 << 26);
    for (int i = 0; i < MANY; i++) {
        unsigned int number = (unsigned int)(first + i * step);
        buffer_printf(buffer, "%c\"%s%x\":0", i > 0 ? ',' : '{', prefix, number);
    }
    buffer_append_char(buffer, '}');
    assert_false(buffer_failed(buffer));
}

/* Were any of these quadratic, it would take minutes: the limit is generous for slow machines
 * under a sanitizer, yet far below that. */
static void test_hostile_sizes(void **state)
{
    (void)state;
    struct buffer upward _cleanup_buffer_;
    struct buffer downward _cleanup_buffer_;
    struct buffer escaped _cleanup_buffer_;
    struct json_view up, down;
    int64_t start = clock_monotonic(clock_system());
    write_many(&upward, 0, 1, "");
    write_many(&downward, MANY - 1, -1, "");
    write_many(&escaped, 0, 1, "\\u0061");
    json_view_init(&up);
    json_view_init(&down);
    assert_int_equal(json_view_parse(&up, upward.data, upward.length, 64, NULL), 0);
    assert_int_equal(json_view_parse(&down, downward.data, downward.length, 64, NULL), 0);
    assert_true(json_view_same(&up, json_view_root(&up), &down, json_view_root(&down)));
    assert_int_equal(json_view_parse(&down, escaped.data, escaped.length, 64, NULL), 0);
    assert_false(json_view_same(&up, json_view_root(&up), &down, json_view_root(&down)));
    /* The last name becomes the first one again. */
    struct error error = {0};
    upward.length--;
    buffer_append_string(&upward, ",\"0\":1}");
    assert_int_equal(json_view_parse(&up, upward.data, upward.length, 64, &error), 0);
    assert_int_equal(json_view_require_unique(&up, "but", &error), -EINVAL);
    assert_non_null(strstr(error.text, "found the name \"0\" again"));
    json_view_clear(&up);
    json_view_clear(&down);
    assert_true(clock_monotonic(clock_system()) - start < 60 * CLOCK_SECOND);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_accepts),
        cmocka_unit_test(test_refuses),
        cmocka_unit_test(test_refuses_nul_bytes),
        cmocka_unit_test(test_string_lengths),
        cmocka_unit_test(test_prefixes),
        cmocka_unit_test(test_odd_texts),
        cmocka_unit_test(test_depth),
        cmocka_unit_test(test_passed_over),
        cmocka_unit_test(test_remains),
        cmocka_unit_test(test_duplicates),
        cmocka_unit_test(test_similar_names),
        cmocka_unit_test(test_hostile_sizes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
