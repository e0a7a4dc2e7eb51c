/* What the readers of json_view give: members, strings, numbers, raw text, what is the same. */
#include "tests/unit/json_view_fixture.h"

static void test_navigation(void **state)
{
    (void)state;
    struct parsed parsed;
    parse_good(&parsed, review);
    const struct json_view *view = &parsed.view;
    const struct json_node *root = json_view_root(view);
    const struct json_node *request = json_view_member(view, root, "request");
    assert_true(json_view_is_object(request));
    assert_true(json_view_equals(
        view, json_view_path(view, request, "object", "spec", "externalTrafficPolicy", NULL),
        "Local"));
    assert_ptr_equal(json_view_path(view, request, NULL), request);
    assert_null(json_view_path(view, root, "request", "nothing", "here", NULL));
    assert_null(json_view_path(view, root, "kind", "nothing", NULL));
    assert_true(json_view_bool(json_view_member(view, request, "dryRun")));
    assert_true(json_view_is_null(json_view_member(view, request, "oldObject")));

    const struct json_node *ports = json_view_path(view, request, "object", "spec", "ports", NULL);
    static const int64_t expected[] = {80, 443};
    size_t count = 0;
    for (const struct json_node *port = json_view_first(view, ports); port != NULL;
         port = json_view_after(view, ports, port)) {
        int64_t number = 0;
        assert_true(json_view_int64(view, json_view_member(view, port, "port"), &number));
        assert_int_equal(number, expected[count++]);
    }
    assert_int_equal(count, json_view_count(ports));
    release(&parsed);
}

static void test_strings(void **state)
{
    (void)state;
    struct parsed parsed;
    parse_good(&parsed, review);
    const struct json_view *view = &parsed.view;
    const struct json_node *annotations = json_view_path(view, json_view_root(view), "request",
                                                         "object", "metadata", "annotations", NULL);
    const struct json_node *note = json_view_member(view, annotations, "note");
    const struct json_node *plain = json_view_member(view, annotations, "plain");
    static const char unescaped[] = "line 1\nline 2 \xF0\x9F\x98\x80";
    size_t length = 99;
    char text[sizeof(unescaped)];

    assert_true(json_view_equals(view, note, unescaped));
    assert_false(json_view_equals(view, note, "line 1"));
    assert_false(json_view_equals(view, note, "line 1\\nline \\u0032 \\ud83d\\ude00"));
    assert_null(json_view_plain(view, note, &length));
    assert_int_equal(json_view_text(view, note, text, sizeof(text)), sizeof(unescaped) - 1);
    assert_string_equal(text, unescaped);
    assert_int_equal(json_view_text(view, note, text, sizeof(text) - 1), -1);
    assert_string_equal(text, "");
    assert_int_equal(json_view_text(view, note, text, 0), -1);
    char *copy = json_view_copy(view, note);
    assert_string_equal(copy, unescaped);
    free(copy);
    const char *raw = json_view_raw(view, note, &length);
    assert_int_equal(length, strlen("\"line 1\\nline \\u0032 \\ud83d\\ude00\""));
    assert_memory_equal(raw, "\"line 1\\nline \\u0032 \\ud83d\\ude00\"", length);

    assert_memory_equal(json_view_plain(view, plain, &length),
                        "Gr\xC3\xBC\xC3\x9F"
                        "e",
                        7);
    assert_int_equal(length, 7);
    release(&parsed);
}

static void test_escapes(void **state)
{
    (void)state;
    struct parsed parsed;
    parse_good(&parsed, "{\"\\\"\\\\\\/\\b\\f\\n\\r\\t\":\"\\u0001\\u007f\\u0080\\u07ff\\u0800"
                        "\\uFFFF\\uD800\\uDC00\\udbff\\udfff!\"}");
    const struct json_view *view = &parsed.view;
    const struct json_node *root = json_view_root(view);
    static const char name[] = "\"\\/\b\f\n\r\t";
    static const char value[] = "\x01\x7f\xC2\x80\xDF\xBF\xE0\xA0\x80\xEF\xBF\xBF\xF0\x90\x80\x80"
                                "\xF4\x8F\xBF\xBF!";
    const struct json_node *member = json_view_member(view, root, name);
    assert_non_null(member);
    assert_true(json_view_equals(view, member, value));
    assert_null(json_view_member(view, root, "\"\\/\b\f\n\r"));
    assert_null(json_view_member(view, root, "\"\\/\b\f\n\r\tx"));
    release(&parsed);
    /* A name the program asks for is never unescaped itself. */
    parse_good(&parsed, "{\"\\u0061\\\\n\":1}");
    assert_non_null(json_view_member(&parsed.view, json_view_root(&parsed.view), "a\\n"));
    assert_null(json_view_member(&parsed.view, json_view_root(&parsed.view), "\\u0061\\\\n"));
    release(&parsed);
}

static void test_raw(void **state)
{
    (void)state;
    static const char *const cases[] = {
        "null", "true", "-1.50", "\"s\"", "[ 1 ,2 ]", "{ \"a\" : [ ] }", "{}", "\"\"",
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        char text[64];
        struct parsed parsed;
        size_t length = 0;
        snprintf(text, sizeof(text), " [0, %s ,0] ", cases[i]);
        parse_good(&parsed, text);
        const struct json_view *view = &parsed.view;
        const struct json_node *root = json_view_root(view);
        const struct json_node *node = json_view_after(view, root, json_view_first(view, root));
        const char *raw = json_view_raw(view, node, &length);
        assert_int_equal(length, strlen(cases[i]));
        assert_memory_equal(raw, cases[i], length);
        release(&parsed);
    }
}

static void test_show(void **state)
{
    (void)state;
    static const char *const cases[][2] = {
        {"7", "7"},
        {"\"1234567\"", "\"1234567\""}, /* just fits */
        {"\"12345678\"", "\"12345..."},
        {"\"1234\xE2\x82\xAC 5\"", "\"1234..."}, /* not within a character */
    };
    char shown[10];
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct parsed parsed;
        parse_good(&parsed, cases[i][0]);
        json_view_show(&parsed.view, json_view_root(&parsed.view), shown, sizeof(shown));
        assert_string_equal(shown, cases[i][1]);
        release(&parsed);
    }
    json_view_show(NULL, NULL, shown, sizeof(shown));
    assert_string_equal(shown, "not set");
}

static void test_int64(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        bool good;
        int64_t value;
    } cases[] = {
        {"0", true, 0},
        {"-0", true, 0},
        {"-1", true, -1},
        {"9223372036854775807", true, INT64_MAX},
        {"-9223372036854775808", true, INT64_MIN},
        {"9223372036854775808", false, 0},
        {"-9223372036854775809", false, 0},
        {"92233720368547758070", false, 0},
        {"123456789012345678901234567890", false, 0},
        {"1.0", false, 0},
        {"1e2", false, 0},
        {"1E2", false, 0},
        {"\"1\"", false, 0},
        {"true", false, 0},
        {"null", false, 0},
        {"[1]", false, 0},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct parsed parsed;
        int64_t value = 77;
        parse_good(&parsed, cases[i].text);
        assert_int_equal(json_view_int64(&parsed.view, json_view_root(&parsed.view), &value),
                         cases[i].good);
        assert_true(value == (cases[i].good ? cases[i].value : 77));
        release(&parsed);
    }
}

/* Nothing there, or something of another type. */
static void test_absent(void **state)
{
    (void)state;
    struct parsed parsed;
    parse_good(&parsed, "[7,{},[],\"s\"]");
    const struct json_view *view = &parsed.view;
    const struct json_node *root = json_view_root(view);
    const struct json_node *number = json_view_first(view, root);
    const struct json_node *const nodes[] = {NULL, number};
    for (size_t i = 0; i < COUNT(nodes); i++) {
        const struct json_node *node = nodes[i];
        char text[4] = "x";
        int64_t value = 0;
        size_t length = 0;
        assert_int_equal(json_view_type(node), i == 0 ? JSON_VIEW_NULL : JSON_VIEW_NUMBER);
        assert_int_equal(json_view_is_null(node), i == 0);
        assert_false(json_view_is_object(node) || json_view_is_array(node));
        assert_false(json_view_is_string(node) || json_view_bool(node));
        assert_int_equal(json_view_count(node), 0);
        assert_null(json_view_member(view, node, "a"));
        assert_null(json_view_path(view, node, "a", NULL));
        assert_null(json_view_first(view, node));
        assert_false(json_view_equals(view, node, "7"));
        assert_null(json_view_plain(view, node, &length));
        assert_null(json_view_copy(view, node));
        assert_int_equal(json_view_text(view, node, text, sizeof(text)), -1);
        assert_string_equal(text, "");
        assert_int_equal(json_view_int64(view, node, &value), i == 1);
    }
    size_t length = 0;
    assert_null(json_view_raw(view, NULL, &length));
    assert_null(json_view_after(view, root, NULL));
    assert_null(json_view_after(view, NULL, number));
    assert_null(json_view_member(view, root, "a"));
    release(&parsed);
}

static void test_same(void **state)
{
    (void)state;
    static const struct {
        const char *left;
        const char *right;
        bool same;
    } cases[] = {
        {"null", "null", true},
        {"null", "false", false},
        {"true", "true", true},
        {"1", "1", true},
        {"1", "1.0", false},
        {"\"a\"", "\"\\u0061\"", true},
        {"\"a\"", "\"b\"", false},
        {"\"1\"", "1", false},
        {"[]", "{}", false},
        {"[]", " [ ] ", true},
        {"[1,2]", "[2,1]", false},
        {"[1,2]", "[1,2,3]", false},
        {"[[1],[2]]", "[[1],[2]]", true},
        {"[[1],[2]]", "[[1],[3]]", false},
        {"{\"a\":1,\"b\":2}", "{\"b\":2,\"a\":1}", true},
        {"{\"a\":1,\"b\":2}", "{\"b\":1,\"a\":2}", false},
        {"{\"a\":1,\"b\":2}", "{\"a\":1,\"c\":2}", false},
        {"{\"a\":1}", "{\"a\":1,\"b\":2}", false},
        {"{\"\\u0061\":{\"x\":[1]}}", "{\"a\":{\"x\":[1]}}", true},
        {"{\"a\":{\"x\":1,\"y\":{}},\"b\":[{}]}", "{\"b\":[{}],\"a\":{\"y\":{},\"x\":1}}", true},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct parsed left, right;
        parse_good(&left, cases[i].left);
        parse_good(&right, cases[i].right);
        const struct json_node *root = json_view_root(&left.view);
        const struct json_node *other = json_view_root(&right.view);
        assert_int_equal(json_view_same(&left.view, root, &right.view, other), cases[i].same);
        assert_int_equal(json_view_same(&right.view, other, &left.view, root), cases[i].same);
        assert_true(json_view_same(&left.view, root, &left.view, root));
        assert_int_equal(json_view_same(&left.view, root, &left.view, NULL),
                         json_view_is_null(root));
        release(&left);
        release(&right);
    }
    assert_true(json_view_same(NULL, NULL, NULL, NULL));
}

/* Members as they stand; those with space around the colon don't. */
static void test_raw_member(void **state)
{
    (void)state;
    static const char *const members[] = {
        "\"a\":1", "\"\":\"x\"", "\"\\u0061\":[ 1 ]", "\"c\":{}", NULL, NULL,
    };
    struct parsed parsed;
    parse_good(&parsed, "{ \"a\":1 ,\"\":\"x\",\"\\u0061\":[ 1 ],\"c\":{}, \"d\" :1,\"e\": 2}");
    const struct json_node *root = json_view_root(&parsed.view);
    const struct json_node *member = json_view_first(&parsed.view, root);
    for (size_t i = 0; i < COUNT(members); i++) {
        size_t length = 0;
        const char *text = json_view_raw_member(&parsed.view, member, &length);
        if (members[i] == NULL) {
            assert_null(text);
        } else {
            assert_int_equal(length, strlen(members[i]));
            assert_memory_equal(text, members[i], length);
        }
        member = json_view_after(&parsed.view, root, member);
    }
    assert_null(member);
    release(&parsed);
}

/* What is closed by its name has text and no members, wherever it stands. */
static void test_close(void **state)
{
    (void)state;
    static const char text[] = "{\"a\":{\"shut\":[{\"x\":1}],\"shu\":[1],\"shutt\":[1]},"
                               "\"shut\":{\"shut\":1},\"b\":[[1]],\"c\":{\"shut\":7}}";
    struct json_view view;
    size_t length = 0;
    json_view_init(&view);
    json_view_close(&view, "shut");
    for (int i = 0; i < 2; i++) {
        assert_int_equal(json_view_parse(&view, text, strlen(text), JSON_VIEW_DEPTH, NULL), 0);
        const struct json_node *root = json_view_root(&view);
        const struct json_node *a = json_view_member(&view, root, "a");
        assert_int_equal(json_view_count(json_view_member(&view, a, "shut")), 0);
        const char *raw = json_view_raw(&view, json_view_member(&view, a, "shut"), &length);
        assert_int_equal(length, strlen("[{\"x\":1}]"));
        assert_memory_equal(raw, "[{\"x\":1}]", length);
        assert_int_equal(json_view_count(json_view_member(&view, a, "shu")), 1);
        assert_int_equal(json_view_count(json_view_member(&view, a, "shutt")), 1);
        assert_int_equal(json_view_count(json_view_member(&view, root, "shut")), 0);
        assert_int_equal(json_view_count(json_view_member(&view, root, "b")), 1);
        assert_int_equal(json_view_count(json_view_member(&view, root, "c")), 1);
        json_view_clear(&view); /* it goes on being closed */
    }
    json_view_close(&view, NULL);
    assert_int_equal(json_view_parse(&view, text, strlen(text), JSON_VIEW_DEPTH, NULL), 0);
    assert_int_equal(json_view_count(json_view_member(&view, json_view_root(&view), "shut")), 1);
    json_view_clear(&view);
}

/* A view that is used again forgets the text before and reuses its nodes, but not those of a huge
 * one. */
static void test_reuse(void **state)
{
    (void)state;
    struct json_view view;
    json_view_init(&view);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(json_view_parse(&view, review, strlen(review), JSON_VIEW_DEPTH, NULL), 0);
        assert_true(json_view_is_object(json_view_root(&view)));
        const struct json_node *nodes = view.nodes;
        assert_int_equal(json_view_parse(&view, "{", 1, JSON_VIEW_DEPTH, NULL), -EINVAL);
        assert_null(json_view_root(&view));
        assert_ptr_equal(view.nodes, nodes);
    }
    size_t length = 400001;
    char *zeros = malloc(length);
    assert_non_null(zeros);
    for (size_t i = 0; i < length; i++)
        zeros[i] = i % 2 == 0 ? ',' : '0';
    zeros[0] = '[';
    zeros[length - 1] = ']';
    assert_int_equal(json_view_parse(&view, zeros, length, JSON_VIEW_DEPTH, NULL), 0);
    assert_int_equal(view.count, length / 2 + 1);
    assert_true(view.capacity <= length / 2 + JSON_VIEW_DEPTH_MAXIMUM);
    assert_int_equal(json_view_parse(&view, "[]", 2, JSON_VIEW_DEPTH, NULL), 0);
    assert_true(view.capacity < 1000);
    free(zeros);
    json_view_clear(&view);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_navigation), cmocka_unit_test(test_strings),
        cmocka_unit_test(test_escapes),    cmocka_unit_test(test_raw),
        cmocka_unit_test(test_show),       cmocka_unit_test(test_int64),
        cmocka_unit_test(test_absent),     cmocka_unit_test(test_same),
        cmocka_unit_test(test_raw_member), cmocka_unit_test(test_close),
        cmocka_unit_test(test_reuse),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
