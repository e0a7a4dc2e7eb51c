/* Reading and checking of pools; pool_addresses.c reads their addresses. One function serves the
 * validating webhook, which wants every fault, and the watch, which wants the pool or the reason why
 * it can't be used. */
#include "server/objects/pool_private.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void pool_fault(struct pool_decoder *decoder, const char *reason, const char *field,
                const char *text)
{
    if (field_errors_fault(decoder->errors, &decoder->pool->invalid, reason, field, text) < 0)
        decoder->out_of_memory = true;
}

static char *copy_string(struct pool_decoder *decoder, const struct json_node *node)
{
    if (!json_view_is_string(node))
        return NULL;
    char *text = json_view_copy(decoder->view, node);
    if (text == NULL)
        decoder->out_of_memory = true;
    return text;
}

static void decode_namespaces(struct pool_decoder *decoder, const struct json_node *list)
{
    const struct json_view *view = decoder->view;
    struct pool *pool = decoder->pool;
    size_t count = json_view_is_array(list) ? json_view_count(list) : 0;
    if (count == 0)
        return;
    pool->namespaces = calloc(count, sizeof(*pool->namespaces));
    if (pool->namespaces == NULL) {
        decoder->out_of_memory = true;
        return;
    }
    for (const struct json_node *item = json_view_first(view, list); item != NULL;
         item = json_view_after(view, list, item)) {
        char *name = copy_string(decoder, item);
        if (name != NULL)
            pool->namespaces[pool->namespace_count++] = name;
    }
}

static uint8_t decode_choice(struct pool_decoder *decoder, const struct json_node *node,
                             const char *field, const char *const *words, const char *accepted)
{
    if (json_view_is_null(node))
        return 0;
    for (uint8_t i = 0; words[i] != NULL; i++)
        if (*words[i] != '\0' && json_view_equals(decoder->view, node, words[i]))
            return i;
    pool_fault(decoder, POOL_NOT_SUPPORTED, field, accepted);
    return 0;
}

/* As the kernel takes it: a link whose name could not be one is nowhere. */
static void decode_link(struct pool_decoder *decoder, const struct json_node *node)
{
    char *link = decoder->pool->link;
    if (json_view_is_null(node))
        return;
    if (json_view_text(decoder->view, node, link, POOL_LINK_MOST + 1) < 0 ||
        strpbrk(link, "/: \t\n") != NULL || strcmp(link, ".") == 0 || strcmp(link, "..") == 0) {
        *link = '\0';
        pool_fault(
            decoder, POOL_INVALID, "spec.link",
            "not the name of a network link, such as eth0: at most 15 bytes, without '/', ':' "
            "and blanks");
    }
}

/* Where the addresses live. */
static void decode_nodes(struct pool_decoder *decoder, const struct json_node *spec)
{
    static const char *const announce[] = {"Layer2", "AllNodes", "None", NULL};
    const struct json_view *view = decoder->view;
    struct pool *pool = decoder->pool;
    pool->announce = decode_choice(decoder, json_view_member(view, spec, "announce"),
                                   "spec.announce", announce, "use Layer2, AllNodes or None");
    decode_link(decoder, json_view_member(view, spec, "link"));
    if (label_selector_decode(view, json_view_member(view, spec, "nodeSelector"),
                              "spec.nodeSelector", decoder->errors, &pool->invalid,
                              &pool->nodes) < 0)
        decoder->out_of_memory = true;
}

static void decode_policy(struct pool_decoder *decoder, const struct json_node *spec)
{
    static const char *const sharing[] = {"SameNamespace", "Never", "Any", NULL};
    static const char *const exhausted[] = {"", "Reject", "Pending", NULL};
    static const char *const modes[] = {"FirstMatch", "RoundRobin", NULL};
    const struct json_view *view = decoder->view;
    struct pool *pool = decoder->pool;
    const struct json_node *automatic = json_view_member(view, spec, "autoAssign");
    pool->auto_assign = json_view_is_null(automatic) || json_view_bool(automatic);
    if (!json_view_int64(view, json_view_member(view, spec, "priority"), &pool->priority))
        pool->priority = 0;
    decode_namespaces(decoder, json_view_member(view, spec, "namespaces"));
    pool->mode =
        (enum blocks_mode)decode_choice(decoder, json_view_member(view, spec, "mode"), "spec.mode",
                                        modes, "use FirstMatch or RoundRobin");
    pool->sharing = decode_choice(decoder, json_view_member(view, spec, "sharing"), "spec.sharing",
                                  sharing, "use Never, SameNamespace or Any");
    pool->on_exhausted = decode_choice(decoder, json_view_member(view, spec, "onExhausted"),
                                       "spec.onExhausted", exhausted, "use Reject or Pending");
}

/* status.roundRobin: where a RoundRobin pool goes on after a restart, once a family. */
static void decode_next(struct pool_decoder *decoder, const struct json_node *status)
{
    const struct json_view *view = decoder->view;
    const struct json_node *list = json_view_member(view, status, "roundRobin");
    if (decoder->pool->mode != BLOCKS_ROUND_ROBIN || !json_view_is_array(list))
        return;
    for (const struct json_node *item = json_view_first(view, list); item != NULL;
         item = json_view_after(view, list, item)) {
        char text[CIDR_TEXT_SIZE];
        struct address next;
        if (json_view_text(view, item, text, sizeof(text)) > 0 &&
            address_parse_written(text, strcspn(text, "/"), &next) == 0)
            decoder->pool->next[address_family_index(next.family)] = next;
    }
}

/* status.request; one that isn't whole counts as none. */
static void decode_pin(struct pool_decoder *decoder, const struct json_node *status)
{
    const struct json_view *view = decoder->view;
    const struct json_node *node = json_view_member(view, status, "request");
    struct pool_pin *pin = &decoder->pool->pin;
    char name[256];
    char space[256];
    char cidr[CIDR_TEXT_SIZE];
    if (json_view_text(view, json_view_member(view, node, "name"), name, sizeof(name)) <= 0 ||
        json_view_text(view, json_view_member(view, node, "namespace"), space, sizeof(space)) <=
            0 ||
        json_view_text(view, json_view_member(view, node, "cidr"), cidr, sizeof(cidr)) <= 0 ||
        cidr_parse_written(cidr, &pin->cidr) < 0)
        return;
    pin->uid = copy_string(decoder, json_view_member(view, node, "uid"));
    pin->request = pin->uid != NULL ? strdup(object_key(space, name).text) : NULL;
    if (pin->uid != NULL && pin->request == NULL)
        decoder->out_of_memory = true;
}

int pool_decode(const struct json_view *view, const struct json_node *object,
                struct field_errors *errors, struct pool **ret_pool, struct error *error)
{
    _cleanup_pool_ struct pool *pool = calloc(1, sizeof(*pool));
    if (pool == NULL)
        return error_no_memory(error);
    struct pool_decoder decoder = {.view = view, .pool = pool, .errors = errors};
    const struct json_node *spec = json_view_member(view, object, "spec");
    int result = object_meta_decode(view, object, NULL, &pool->meta, error);
    if (result == 0)
        result = object_meta_require_name(&pool->meta, error);
    if (result < 0)
        return result;
    if (strlen(pool->meta.name) > POOL_NAME_MOST)
        pool_fault(
            &decoder, POOL_INVALID, "metadata.name",
            "longer than 63 characters: it becomes a label value on every claim of the pool");
    pool->has_finalizer = object_meta_has_finalizer(view, object, POOL_FINALIZER);
    pool_decode_addresses(&decoder, spec);
    decode_policy(&decoder, spec);
    decode_nodes(&decoder, spec);
    if (pool->invalid != NULL) {
        address_set_free(pool->offered);
        pool->offered = NULL;
    }
    size_t length = 0;
    const struct json_node *status = json_view_member(view, object, "status");
    const char *raw = status == NULL ? "" : json_view_raw(view, status, &length);
    pool->status = strndup(raw, length);
    decode_next(&decoder, status);
    decode_pin(&decoder, status);
    if (decoder.out_of_memory || pool->status == NULL)
        return error_no_memory(error);
    *ret_pool = pool;
    pool = NULL;
    return 0;
}

bool pool_is_pinned(const struct pool *pool)
{
    return pool->from_request != NULL && pool->pin.request != NULL &&
           strcmp(pool->pin.request, pool->from_request) == 0;
}

void pool_free(struct pool *pool)
{
    if (pool == NULL)
        return;
    object_meta_clear(&pool->meta);
    free(pool->entries);
    address_set_free(pool->written);
    address_set_free(pool->offered);
    address_set_free(pool->excluded);
    address_set_free(pool->allocated);
    free(pool->not_allocated);
    for (size_t i = 0; i < pool->namespace_count; i++)
        free(pool->namespaces[i]);
    free(pool->namespaces);
    label_selector_clear(&pool->nodes);
    free(pool->from_request);
    free(pool->pin.request);
    free(pool->pin.uid);
    free(pool->invalid);
    free(pool->status);
    free(pool);
}

bool pool_places_alike(const struct pool *pool, const struct pool *other)
{
    return pool->announce == other->announce && strcmp(pool->link, other->link) == 0 &&
           label_selectors_equal(&pool->nodes, &other->nodes);
}

bool pool_serves_namespace(const struct pool *pool, const char *namespace_name)
{
    if (pool->namespace_count == 0)
        return true;
    for (size_t i = 0; i < pool->namespace_count; i++)
        if (strcmp(pool->namespaces[i], namespace_name) == 0)
            return true;
    return false;
}

int pool_compare(const struct pool *left, const struct pool *right)
{
    if (left->priority != right->priority)
        return left->priority < right->priority ? -1 : 1;
    return strcmp(left->meta.name, right->meta.name);
}

bool pool_is_older(const struct pool *pool, const struct pool *other)
{
    if (pool->meta.created != other->meta.created)
        return pool->meta.created < other->meta.created;
    return strcmp(pool->meta.name, other->meta.name) < 0;
}
