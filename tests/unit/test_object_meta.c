/* The metadata of namespaced objects: what is read, what is taken for absent, and what can't be without. */
#include "server/objects/object_meta.h"
#include "tests/unit/single_quotes.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "server/base/clock.h"

#include <errno.h>
#include <stdio.h>

/* json in single quotes; to be cleared */
static int decode(const char *json, const char *namespace_name, struct object_meta *ret_meta)
{
    struct json_view view;
    struct error error = {0};
    const char *text = Q(json);
    json_view_init(&view);
    assert_int_equal(json_view_parse(&view, text, strlen(text), JSON_VIEW_DEPTH, &error), 0);
    int result = object_meta_decode(&view, json_view_root(&view), namespace_name, ret_meta, &error);
    if (result < 0) {
        assert_int_equal(error.code, result);
        assert_non_null(strstr(error.text, "metadata.name"));
    }
    json_view_clear(&view);
    return result;
}

static void reads_every_field(void **state)
{
    (void)state;
    struct object_meta meta;
    assert_int_equal(decode("{'metadata':{'namespace':'a','name':'lan','uid':'u-1',"
                            "'resourceVersion':'7','generation':3,"
                            "'creationTimestamp':'1970-01-01T00:00:10Z',"
                            "'deletionTimestamp':'1970-01-01T00:00:11Z'}}",
                            "elsewhere", &meta),
                     0);
    assert_string_equal(meta.key, "a/lan");
    assert_string_equal(meta.namespace_name, "a");
    assert_string_equal(meta.name, "lan");
    assert_string_equal(meta.uid, "u-1");
    assert_string_equal(meta.resource_version, "7");
    assert_int_equal(meta.generation, 3);
    assert_int_equal(meta.created, 10 * CLOCK_SECOND);
    assert_true(meta.deleting);
    object_meta_clear(&meta);
    assert_null(meta.key);
}

static void has_defaults(void **state)
{
    (void)state;
    struct object_meta meta;
    assert_int_equal(decode("{'metadata':{'name':'lan'}}", "a", &meta), 0);
    assert_string_equal(meta.key, "a/lan");
    assert_string_equal(meta.uid, "");
    assert_string_equal(meta.resource_version, "");
    assert_int_equal(meta.generation, 0);
    assert_int_equal(meta.created, 0);
    assert_false(meta.deleting);
    object_meta_clear(&meta);
    /* Of no namespace at all. */
    assert_int_equal(decode("{'metadata':{'name':'lan'}}", NULL, &meta), 0);
    assert_string_equal(meta.key, "/lan");
    assert_string_equal(meta.namespace_name, "");
    assert_string_equal(meta.name, "lan");
    object_meta_clear(&meta);
}

/* What has the wrong type is as if it weren't there. */
static void odd_values_are_absent(void **state)
{
    (void)state;
    static const char *const odd[] = {
        "'uid':7",
        "'uid':null",
        "'uid':['u']",
        "'resourceVersion':7",
        "'generation':'3'",
        "'generation':1.5",
        "'generation':99999999999999999999",
        "'generation':null",
        "'creationTimestamp':null",
        "'creationTimestamp':12",
        "'creationTimestamp':''",
        "'creationTimestamp':'yesterday'",
        "'creationTimestamp':'1970-13-01T00:00:00Z'",
        "'creationTimestamp':'1970-01-01T00:00:10Z and a text that is too long for a time'",
        "'deletionTimestamp':null",
        "'namespace':''",
        "'namespace':null",
        "'namespace':7",
    };
    for (size_t i = 0; i < sizeof(odd) / sizeof(odd[0]); i++) {
        struct object_meta meta;
        char json[512];
        snprintf(json, sizeof(json), "{'metadata':{'name':'lan',%s}}", odd[i]);
        assert_int_equal(decode(json, "a", &meta), 0);
        if (strcmp(meta.key, "a/lan") != 0 || *meta.uid != '\0' || *meta.resource_version != '\0' ||
            meta.generation != 0 || meta.created != 0 || meta.deleting)
            fail_msg("%s", odd[i]);
        object_meta_clear(&meta);
    }
}

static void can_not_be_without_a_name(void **state)
{
    (void)state;
    static const char *const nameless[] = {
        "null",
        "7",
        "[]",
        "{}",
        "{'metadata':null}",
        "{'metadata':[]}",
        "{'metadata':'lan'}",
        "{'metadata':{}}",
        "{'metadata':{'name':null}}",
        "{'metadata':{'name':''}}",
        "{'metadata':{'name':7}}",
        "{'metadata':{'name':['lan']}}",
        "{'metadata':{'generateName':'lan-'}}",
        "{'name':'lan'}",
    };
    for (size_t i = 0; i < sizeof(nameless) / sizeof(nameless[0]); i++) {
        struct object_meta meta;
        if (decode(nameless[i], "a", &meta) != -EINVAL)
            fail_msg("%s", nameless[i]);
        object_meta_clear(&meta);
    }
}

/* No object of the API server has a name of more than 253 bytes. */
static void names_have_an_end(void **state)
{
    (void)state;
    char name[258];
    char json[600];
    for (int length = 253; length <= 257; length++) {
        struct object_meta meta;
        memset(name, 'n', sizeof(name));
        name[length] = '\0';
        snprintf(json, sizeof(json), "{'metadata':{'name':'%s'}}", name);
        int result = decode(json, "a", &meta);
        assert_int_equal(result, length < 256 ? 0 : -EINVAL);
        if (result == 0)
            assert_string_equal(meta.name, name);
        object_meta_clear(&meta);
    }
}

static void escapes_are_undone(void **state)
{
    (void)state;
    struct object_meta meta;
    assert_int_equal(decode("{'metadata':{'n\\u0061me':'l\\u0061n','uid':'\\u00fc'}}", "a", &meta),
                     0);
    assert_string_equal(meta.key, "a/lan");
    assert_string_equal(meta.uid, "\xC3\xBC");
    object_meta_clear(&meta);
}

static void finds_a_finalizer(void **state)
{
    (void)state;
    static const struct {
        const char *metadata;
        bool has;
    } cases[] = {
        {"{'finalizers':['f']}", true},
        {"{'finalizers':['e','f']}", true},
        {"{'finalizers':['f','e']}", true},
        {"{'finalizers':[7,null,'f']}", true},
        {"{'finalizers':[]}", false},
        {"{'finalizers':null}", false},
        {"{'finalizers':'f'}", false},
        {"{'finalizers':['ff','','F']}", false},
        {"{'finalizers':[['f']]}", false},
        {"{}", false},
        {"null", false},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct json_view view;
        char json[256];
        snprintf(json, sizeof(json), "{'metadata':%s}", cases[i].metadata);
        const char *text = Q(json);
        json_view_init(&view);
        assert_int_equal(json_view_parse(&view, text, strlen(text), JSON_VIEW_DEPTH, NULL), 0);
        if (object_meta_has_finalizer(&view, json_view_root(&view), "f") != cases[i].has)
            fail_msg("%s", cases[i].metadata);
        json_view_clear(&view);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_every_field),     cmocka_unit_test(has_defaults),
        cmocka_unit_test(odd_values_are_absent), cmocka_unit_test(can_not_be_without_a_name),
        cmocka_unit_test(names_have_an_end),     cmocka_unit_test(escapes_are_undone),
        cmocka_unit_test(finds_a_finalizer),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
