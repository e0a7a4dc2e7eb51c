/* Metadata: what is read, what is taken for absent and what a copy has; the keys and paths that are made of it. */
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
static void decode(const char *json, const char *namespace_name, struct object_meta *ret_meta)
{
    struct json_view view;
    struct error error = {0};
    const char *text = Q(json);
    json_view_init(&view);
    assert_int_equal(json_view_parse(&view, text, strlen(text), JSON_VIEW_DEPTH, &error), 0);
    assert_int_equal(
        object_meta_decode(&view, json_view_root(&view), namespace_name, ret_meta, &error), 0);
    json_view_clear(&view);
}

static const char full[] = "{'metadata':{'namespace':'a','name':'lan','uid':'u-1',"
                           "'resourceVersion':'7','generation':3,"
                           "'creationTimestamp':'1970-01-01T00:00:10Z',"
                           "'deletionTimestamp':'1970-01-01T00:00:11Z'}}";

static void assert_full(const struct object_meta *meta)
{
    assert_string_equal(meta->key, "a/lan");
    assert_string_equal(meta->namespace_name, "a");
    assert_string_equal(meta->name, "lan");
    assert_ptr_equal(meta->name, meta->key + 2);
    assert_string_equal(meta->uid, "u-1");
    assert_string_equal(meta->resource_version, "7");
    assert_int_equal(meta->generation, 3);
    assert_int_equal(meta->created, 10 * CLOCK_SECOND);
    assert_true(meta->deleting);
}

static void reads_every_field(void **state)
{
    (void)state;
    struct object_meta meta;
    decode(full, "elsewhere", &meta);
    assert_full(&meta);
    object_meta_clear(&meta);
    assert_null(meta.key);
}

static void a_copy_is_the_same_and_its_own(void **state)
{
    (void)state;
    struct object_meta meta;
    struct object_meta copy;
    decode(full, NULL, &meta);
    assert_int_equal(object_meta_copy(&meta, &copy), 0);
    object_meta_clear(&meta); /* AddressSanitizer sees what is still shared */
    assert_full(&copy);
    object_meta_clear(&copy);
    decode("{}", NULL, &meta);
    assert_int_equal(object_meta_copy(&meta, &copy), 0);
    object_meta_clear(&meta);
    assert_string_equal(copy.key, "");
    assert_ptr_equal(copy.name, copy.key);
    object_meta_clear(&copy);
}

static void has_defaults(void **state)
{
    (void)state;
    struct object_meta meta;
    decode("{'metadata':{'name':'lan'}}", "a", &meta);
    assert_string_equal(meta.key, "a/lan");
    assert_string_equal(meta.uid, "");
    assert_string_equal(meta.resource_version, "");
    assert_int_equal(meta.generation, 0);
    assert_int_equal(meta.created, 0);
    assert_false(meta.deleting);
    object_meta_clear(&meta);
    /* Of no namespace at all. */
    decode("{'metadata':{'name':'lan'}}", NULL, &meta);
    assert_string_equal(meta.key, "lan");
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
        decode(json, "a", &meta);
        if (strcmp(meta.key, "a/lan") != 0 || *meta.uid != '\0' || *meta.resource_version != '\0' ||
            meta.generation != 0 || meta.created != 0 || meta.deleting)
            fail_msg("%s", odd[i]);
        object_meta_clear(&meta);
    }
}

/* The API server has still to make a name up, or the object is none: every text is there and empty. */
static void can_be_without_a_name(void **state)
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
        struct error error = {0};
        decode(nameless[i], "a", &meta);
        if (strcmp(meta.key, "a/") != 0 || *meta.name != '\0' || *meta.uid != '\0' ||
            *meta.resource_version != '\0')
            fail_msg("%s: %s", nameless[i], meta.key);
        assert_int_equal(object_meta_require_name(&meta, &error), -EINVAL);
        assert_non_null(strstr(error.text, "metadata.name"));
        object_meta_clear(&meta);
    }
}

/* An object that can't be is decoded whole: it has no key of another. */
static void long_names_are_whole(void **state)
{
    (void)state;
    char name[1001];
    char json[1100];
    struct object_meta meta;
    memset(name, 'n', sizeof(name));
    name[sizeof(name) - 1] = '\0';
    snprintf(json, sizeof(json), "{'metadata':{'name':'%s'}}", name);
    decode(json, "a", &meta);
    assert_string_equal(meta.name, name);
    assert_int_equal(object_meta_require_name(&meta, NULL), 0);
    object_meta_clear(&meta);
}

static void escapes_are_undone(void **state)
{
    (void)state;
    struct object_meta meta;
    decode("{'metadata':{'n\\u0061me':'l\\u0061n','uid':'\\u00fc'}}", "a", &meta);
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

/* --- keys and paths --- */

static void keys_are_made_and_split(void **state)
{
    (void)state;
    static const struct {
        const char *namespace_name;
        const char *name;
        const char *key;
    } cases[] = {
        {"shop", "web", "shop/web"},
        {"", "node-1", "node-1"},
        {NULL, "node-1", "node-1"},
        {"shop", "", "shop/"},
        {"", "", ""},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char namespace_name[OBJECT_KEY_SIZE];
        struct object_key key = object_key(cases[i].namespace_name, cases[i].name);
        assert_string_equal(key.text, cases[i].key);
        const char *name = object_key_split(key.text, namespace_name);
        assert_string_equal(name, cases[i].name);
        assert_string_equal(namespace_name,
                            cases[i].namespace_name != NULL ? cases[i].namespace_name : "");
    }
}

/* The longest namespace and name fit; what is longer is cut, and still a text. */
static void keys_have_an_end(void **state)
{
    (void)state;
    char namespace_name[64];
    char name[600];
    char found[OBJECT_KEY_SIZE];
    memset(namespace_name, 's', sizeof(namespace_name));
    memset(name, 'n', sizeof(name));
    namespace_name[63] = '\0';
    name[253] = '\0';
    struct object_key key = object_key(namespace_name, name);
    assert_string_equal(object_key_split(key.text, found), name);
    assert_string_equal(found, namespace_name);
    struct object_path path =
        object_path("/apis/ipcontroller.ext/v2/ipranges", key.text, "/status");
    assert_non_null(strstr(path.text, "n/status"));
    name[253] = 'n';
    name[599] = '\0';
    key = object_key(namespace_name, name);
    assert_int_equal(strlen(key.text), OBJECT_KEY_SIZE - 1);
    path = object_path("/apis/ipcontroller.ext/v2/ipranges", key.text, "/status");
    assert_true(strlen(path.text) < OBJECT_PATH_SIZE);
}

static void paths_lead_to_objects(void **state)
{
    (void)state;
    static const struct {
        const char *collection;
        const char *key;
        const char *after;
        const char *path;
    } cases[] = {
        {"/api/v1/services", "shop/web", "", "/api/v1/namespaces/shop/services/web"},
        {"/api/v1/services", "shop/web", "/status", "/api/v1/namespaces/shop/services/web/status"},
        {"/apis/ipcontroller.ext/v2/ipclaims", "10-0-0-1-32", "",
         "/apis/ipcontroller.ext/v2/ipclaims/10-0-0-1-32"},
        {"/apis/ipcontroller.ext/v2/ipclaimpools", "lan", "/status",
         "/apis/ipcontroller.ext/v2/ipclaimpools/lan/status"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct object_path path = object_path(cases[i].collection, cases[i].key, cases[i].after);
        assert_string_equal(path.text, cases[i].path);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_every_field),
        cmocka_unit_test(a_copy_is_the_same_and_its_own),
        cmocka_unit_test(has_defaults),
        cmocka_unit_test(odd_values_are_absent),
        cmocka_unit_test(can_be_without_a_name),
        cmocka_unit_test(long_names_are_whole),
        cmocka_unit_test(escapes_are_undone),
        cmocka_unit_test(finds_a_finalizer),
        cmocka_unit_test(keys_are_made_and_split),
        cmocka_unit_test(keys_have_an_end),
        cmocka_unit_test(paths_lead_to_objects),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
