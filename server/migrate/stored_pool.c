/* Reading of stored pools. The older version's cidr and pairs are read, too, so that a cluster whose
 * API server converts nothing is read alike. */
#include "server/migrate/stored_pool.h"

#include "server/objects/pool.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ENTRY_SIZE (2 * ADDRESS_TEXT_SIZE + 8)

void stored_pool_free(struct stored_pool *pool)
{
    if (pool == NULL)
        return;
    object_meta_clear(&pool->meta);
    free(pool->spec);
    address_set_free(pool->addresses);
    address_set_free(pool->offered);
    for (size_t i = 0; i < pool->allocated_count; i++) {
        free(pool->allocated[i].text);
        free(pool->allocated[i].claim);
    }
    free(pool->allocated);
    free(pool);
}

/* --- addresses --- */

static int merge_text(struct address_set *set, const char *text)
{
    struct address first;
    struct address last;
    if (ranges_parse(text, &first, &last, NULL) < 0)
        return 0;
    return address_set_merge(set, &first, &last, NULL);
}

/* An entry, or a pair of the older version. */
static int merge_entry(const struct json_view *view, const struct json_node *item,
                       struct address_set *set)
{
    char text[ENTRY_SIZE];
    if (json_view_is_string(item))
        return json_view_text(view, item, text, sizeof(text)) > 0 ? merge_text(set, text) : 0;
    const struct json_node *first = json_view_first(view, item);
    const struct json_node *last = first != NULL ? json_view_after(view, item, first) : NULL;
    char begin[ADDRESS_TEXT_SIZE];
    char end[ADDRESS_TEXT_SIZE];
    if (json_view_text(view, first, begin, sizeof(begin)) <= 0 ||
        json_view_text(view, last, end, sizeof(end)) <= 0)
        return 0;
    snprintf(text, sizeof(text), "%s-%s", begin, end);
    return merge_text(set, text);
}

static int merge_list(const struct json_view *view, const struct json_node *list,
                      struct address_set *set)
{
    int code = 0;
    if (!json_view_is_array(list))
        return 0;
    for (const struct json_node *item = json_view_first(view, list); code == 0 && item != NULL;
         item = json_view_after(view, list, item))
        code = merge_entry(view, item, set);
    return code;
}

static int decode_addresses(const struct json_view *view, const struct json_node *object,
                            struct address_set *set)
{
    const struct json_node *spec = json_view_member(view, object, "spec");
    const struct json_node *ranges = json_view_member(view, spec, "ranges");
    const struct json_node *request =
        json_view_path(view, object, "status", "request", "cidr", NULL);
    _cleanup_address_set_ struct address_set *exclude = address_set_new();
    if (exclude == NULL || merge_list(view, json_view_member(view, spec, "addresses"), set) < 0 ||
        merge_list(view, ranges, set) < 0 || merge_entry(view, request, set) < 0 ||
        merge_list(view, json_view_member(view, spec, "exclude"), exclude) < 0)
        return -ENOMEM;
    if (json_view_count(ranges) == 0 &&
        merge_entry(view, json_view_member(view, spec, "cidr"), set) < 0)
        return -ENOMEM;
    return address_set_subtract(set, exclude, NULL);
}

static int decode_offered(const struct json_view *view, const struct json_node *object,
                          struct stored_pool *stored)
{
    _cleanup_pool_ struct pool *pool = NULL;
    if (pool_decode(view, object, NULL, &pool, NULL) < 0)
        return -ENOMEM; /* that it has a name has been seen */
    stored->offered = address_set_copy(pool->offered != NULL ? pool->offered : stored->addresses);
    return stored->offered == NULL ? -ENOMEM : 0;
}

/* --- spec.allocated --- */

static int decode_allocated(const struct json_view *view, const struct json_node *object,
                            struct stored_pool *pool)
{
    const struct json_node *map = json_view_path(view, object, "spec", "allocated", NULL);
    size_t most = json_view_is_object(map) ? json_view_count(map) : 0;
    if (most == 0)
        return 0;
    pool->allocated = calloc(most, sizeof(*pool->allocated));
    if (pool->allocated == NULL)
        return -ENOMEM;
    for (const struct json_node *item = json_view_first(view, map); item != NULL;
         item = json_view_after(view, map, item)) {
        struct stored_allocated *one = &pool->allocated[pool->allocated_count++];
        one->text = strndup(view->text + item->name, item->name_end - item->name);
        one->claim = json_view_is_string(item) ? json_view_copy(view, item) : strdup("");
        if (one->text == NULL || one->claim == NULL)
            return -ENOMEM;
        if (address_parse_bytes(one->text, strcspn(one->text, "/"), &one->address, NULL) < 0)
            one->address = (struct address){0};
    }
    return 0;
}

/* --- all of it --- */

static uint8_t decode_sharing(const struct json_view *view, const struct json_node *node)
{
    return json_view_equals(view, node, "Never") ? POOL_SHARING_NEVER
           : json_view_equals(view, node, "Any") ? POOL_SHARING_ANY
                                                 : POOL_SHARING_SAME_NAMESPACE;
}

int stored_pool_decode(const struct json_view *view, const struct json_node *object,
                       struct stored_pool **ret_pool, struct error *error)
{
    struct stored_pool *pool = calloc(1, sizeof(*pool));
    if (pool == NULL)
        return error_no_memory(error);
    const struct json_node *spec = json_view_member(view, object, "spec");
    size_t length = 2;
    const char *raw = json_view_is_object(spec) ? json_view_raw(view, spec, &length) : "{}";
    pool->spec = strndup(raw, length);
    pool->sharing = decode_sharing(view, json_view_member(view, spec, "sharing"));
    pool->addresses = address_set_new();
    int code = object_meta_decode(view, object, NULL, &pool->meta, error);
    if (code == 0)
        code = object_meta_require_name(&pool->meta, error);
    if (code == 0 &&
        (pool->spec == NULL || pool->addresses == NULL ||
         decode_addresses(view, object, pool->addresses) < 0 ||
         decode_offered(view, object, pool) < 0 || decode_allocated(view, object, pool) < 0))
        code = error_no_memory(error);
    if (code < 0) {
        stored_pool_free(pool);
        return code;
    }
    *ret_pool = pool;
    return 0;
}

/* --- comparing --- */

static bool says_nothing(const struct json_view *view, const struct json_node *node)
{
    int64_t number;
    switch (json_view_type(node)) {
    case JSON_VIEW_NULL:
    case JSON_VIEW_FALSE:
        return true;
    case JSON_VIEW_NUMBER:
        return json_view_int64(view, node, &number) && number == 0;
    case JSON_VIEW_STRING:
        return json_view_equals(view, node, "");
    case JSON_VIEW_ARRAY:
    case JSON_VIEW_OBJECT:
        return json_view_count(node) == 0;
    case JSON_VIEW_TRUE:
        break;
    }
    return false;
}

/* Whether each member of one is in the other and means the same. */
static bool is_within(const struct json_view *view, const struct json_view *other,
                      char ret_member[STORED_POOL_MEMBER_SIZE])
{
    const struct json_node *root = json_view_root(view);
    for (const struct json_node *item = json_view_first(view, root); item != NULL;
         item = json_view_after(view, root, item)) {
        snprintf(ret_member, STORED_POOL_MEMBER_SIZE, "%.*s", (int)(item->name_end - item->name),
                 view->text + item->name);
        const struct json_node *twin = json_view_member(other, json_view_root(other), ret_member);
        if (!json_view_same(view, item, other, twin) &&
            !(says_nothing(view, item) && says_nothing(other, twin)))
            return false;
    }
    return true;
}

int stored_pool_says(const struct stored_pool *pool, const char *spec,
                     char ret_member[STORED_POOL_MEMBER_SIZE], struct error *error)
{
    struct json_view stored;
    struct json_view wanted;
    json_view_init(&stored);
    json_view_init(&wanted);
    int code = json_view_parse(&stored, pool->spec, strlen(pool->spec), JSON_VIEW_DEPTH, error);
    if (code == 0)
        code = json_view_parse(&wanted, spec, strlen(spec), JSON_VIEW_DEPTH, error);
    if (code == 0)
        code = is_within(&wanted, &stored, ret_member) && is_within(&stored, &wanted, ret_member);
    json_view_clear(&stored);
    json_view_clear(&wanted);
    return code;
}
