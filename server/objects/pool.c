/* Reading and checking of pools. One function serves the validating webhook, which wants every
 * fault, and the watch, which wants the pool or the reason why it can't be used. */
#include "server/objects/pool.h"

#include "server/objects/unfit.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define INVALID "FieldValueInvalid"
#define REQUIRED "FieldValueRequired"
#define NOT_SUPPORTED "FieldValueNotSupported"

struct decoder {
    const struct json_view *view;
    struct pool *pool;
    struct field_errors *errors;
    struct error *error;
    bool out_of_memory;
};

static void fault(struct decoder *decoder, const char *reason, const char *field, const char *text)
{
    if (field_errors_fault(decoder->errors, &decoder->pool->invalid, reason, field, text) < 0)
        decoder->out_of_memory = true;
}

static char *copy_string(struct decoder *decoder, const struct json_node *node)
{
    if (!json_view_is_string(node))
        return NULL;
    char *text = json_view_copy(decoder->view, node);
    if (text == NULL)
        decoder->out_of_memory = true;
    return text;
}

/* Adds one entry to the set, or says what is wrong with it. */
static void decode_range(struct decoder *decoder, const char *entry, const char *path,
                         const struct cidr *cidr, bool overlap_is_fine, struct ranges *ranges)
{
    _cleanup_ranges_ struct ranges *alone = ranges_new();
    _cleanup_ranges_ struct ranges *within = ranges_new();
    struct error reason;
    if (alone == NULL || within == NULL ||
        (cidr->address.family != 0 && ranges_merge_cidr(within, cidr, NULL) < 0)) {
        decoder->out_of_memory = true;
        return;
    }
    int result = ranges_add(alone, entry, &reason);
    if (result == 0 && cidr->address.family != 0 && !ranges_covers_all(within, alone)) {
        char text[CIDR_TEXT_SIZE];
        cidr_format(cidr, text);
        result = error_set(&reason, -EINVAL, "%.100s is not within spec.cidr %s", entry, text);
    }
    if (result == 0)
        result = overlap_is_fine ? ranges_merge(ranges, entry, &reason)
                                 : ranges_add(ranges, entry, &reason);
    if (result == -ENOMEM)
        decoder->out_of_memory = true;
    else if (result < 0)
        fault(decoder, INVALID, path, reason.text);
}

/* Reads a list of range entries. NULL when there are none, or for want of memory. */
static struct ranges *decode_ranges(struct decoder *decoder, const struct json_node *list,
                                    const char *field, const struct cidr *cidr,
                                    bool overlap_is_fine)
{
    const struct json_view *view = decoder->view;
    if (!json_view_is_array(list) || json_view_count(list) == 0)
        return NULL;
    struct ranges *ranges = ranges_new();
    if (ranges == NULL)
        decoder->out_of_memory = true;
    size_t index = 0;
    for (const struct json_node *item = json_view_first(view, list);
         item != NULL && !decoder->out_of_memory;
         item = json_view_after(view, list, item), index++) {
        char path[64];
        char entry[2 * ADDRESS_TEXT_SIZE + 8];
        snprintf(path, sizeof(path), "%s[%zu]", field, index);
        if (json_view_text(view, item, entry, sizeof(entry)) < 0)
            fault(decoder, INVALID, path,
                  "not a range: give a CIDR, \"first-last\" or a single address");
        else
            decode_range(decoder, entry, path, cidr, overlap_is_fine, ranges);
    }
    return ranges;
}

/* The whole cidr, less IPv4's network and broadcast addresses where there are any. NULL when out
 * of memory. */
static struct ranges *whole_cidr(const struct cidr *cidr)
{
    struct ranges *ranges = ranges_new();
    struct address first = cidr_first(cidr);
    struct address last = cidr_last(cidr);
    bool trimmed = cidr->address.family == ADDRESS_IPV4 && cidr->prefix_length < 31;
    if (ranges == NULL ||
        (trimmed && (!address_add(&first, 1, &first) || !address_subtract(&last, 1, &last))) ||
        ranges_merge_span(ranges, &first, &last, NULL) < 0) {
        ranges_free(ranges);
        return NULL;
    }
    return ranges;
}

/* spec.fromRequest: a name and a namespace, instead of cidr and ranges. */
static void decode_from_request(struct decoder *decoder, const struct json_node *spec)
{
    static const char *const instead[] = {"cidr", "ranges"};
    static const char *const paths[] = {"spec.cidr", "spec.ranges"};
    const struct json_view *view = decoder->view;
    const struct json_node *from = json_view_member(view, spec, "fromRequest");
    char name[256] = "";
    char space[256] = "";
    for (size_t i = 0; i < 2; i++)
        if (json_view_count(json_view_member(view, spec, instead[i])) > 0 ||
            json_view_is_string(json_view_member(view, spec, instead[i])))
            fault(decoder, INVALID, paths[i],
                  "not together with spec.fromRequest: the request's CIDR is the pool");
    if (json_view_text(view, json_view_member(view, from, "name"), name, sizeof(name)) <= 0)
        fault(decoder, REQUIRED, "spec.fromRequest.name",
              "missing: give the name of an IPAMRequest");
    if (json_view_text(view, json_view_member(view, from, "namespace"), space, sizeof(space)) <= 0)
        fault(decoder, REQUIRED, "spec.fromRequest.namespace",
              "missing: give the namespace of the IPAMRequest");
    decoder->pool->from_request = strdup(object_key(space, name).text);
    if (decoder->pool->from_request == NULL)
        decoder->out_of_memory = true;
}

/* A pool that lies in such networks as a whole is wrong; one that reaches into them has the rest. */
static void leave_out_unfit(struct decoder *decoder)
{
    struct pool *pool = decoder->pool;
    struct buffer text _cleanup_buffer_;
    buffer_init(&text, 1024);
    pool->unfit = unfit_networks(pool->offered);
    if (unfit_subtract(pool->offered) < 0)
        decoder->out_of_memory = true;
    if (!ranges_is_empty(pool->offered))
        return;
    buffer_append_string(&text, "lies in ");
    unfit_describe(pool->unfit, &text);
    buffer_append_string(&text, ": no Service can have such an address");
    if (buffer_failed(&text))
        decoder->out_of_memory = true;
    else
        fault(decoder, INVALID, pool->has_ranges ? "spec.ranges" : "spec.cidr", text.data);
}

static void decode_addresses(struct decoder *decoder, const struct json_node *spec)
{
    const struct json_view *view = decoder->view;
    struct pool *pool = decoder->pool;
    struct cidr cidr = {0};
    char text[CIDR_TEXT_SIZE];
    struct error reason;
    const struct json_node *node = json_view_member(view, spec, "cidr");
    bool from_request = !json_view_is_null(json_view_member(view, spec, "fromRequest"));
    if (from_request)
        decode_from_request(decoder, spec);
    else if (json_view_is_null(node))
        fault(decoder, REQUIRED, "spec.cidr",
              "missing: give the network of the pool, for example \"203.0.113.0/24\", or "
              "spec.fromRequest");
    else if (json_view_text(view, node, text, sizeof(text)) < 0)
        fault(decoder, INVALID, "spec.cidr", "not a CIDR such as \"203.0.113.0/24\"");
    else if (cidr_parse(text, &cidr, &reason) < 0)
        fault(decoder, INVALID, "spec.cidr", reason.text);

    if (!from_request)
        pool->offered = decode_ranges(decoder, json_view_member(view, spec, "ranges"),
                                      "spec.ranges", &cidr, false);
    pool->excluded = decode_ranges(decoder, json_view_member(view, spec, "exclude"), "spec.exclude",
                                   &cidr, true);
    if (pool->invalid != NULL || decoder->out_of_memory || from_request)
        return;
    pool->cidr = cidr;
    pool->family = cidr.address.family;
    pool->has_ranges = pool->offered != NULL;
    if (pool->offered == NULL && (pool->offered = whole_cidr(&cidr)) == NULL)
        decoder->out_of_memory = true;
    if (pool->offered != NULL && pool->excluded != NULL &&
        ranges_subtract(pool->offered, pool->excluded, decoder->error) < 0)
        decoder->out_of_memory = true;
    if (pool->offered != NULL && ranges_is_empty(pool->offered))
        fault(decoder, INVALID, "spec.exclude", "leaves no address: every address is excluded");
    else if (pool->offered != NULL)
        leave_out_unfit(decoder);
}

static void decode_namespaces(struct decoder *decoder, const struct json_node *list)
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

static uint8_t decode_choice(struct decoder *decoder, const struct json_node *node,
                             const char *field, const char *const *words, const char *accepted)
{
    if (json_view_is_null(node))
        return 0;
    for (uint8_t i = 0; words[i] != NULL; i++)
        if (*words[i] != '\0' && json_view_equals(decoder->view, node, words[i]))
            return i;
    fault(decoder, NOT_SUPPORTED, field, accepted);
    return 0;
}

/* As the kernel takes it: a link whose name could not be one is nowhere. */
static void decode_link(struct decoder *decoder, const struct json_node *node)
{
    char *link = decoder->pool->link;
    if (json_view_is_null(node))
        return;
    if (json_view_text(decoder->view, node, link, POOL_LINK_MOST + 1) < 0 ||
        strpbrk(link, "/: \t\n") != NULL || strcmp(link, ".") == 0 || strcmp(link, "..") == 0) {
        *link = '\0';
        fault(decoder, INVALID, "spec.link",
              "not the name of a network link, such as eth0: at most 15 bytes, without '/', ':' "
              "and blanks");
    }
}

/* Where the addresses live. */
static void decode_nodes(struct decoder *decoder, const struct json_node *spec)
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

static void decode_policy(struct decoder *decoder, const struct json_node *spec)
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

/* status.roundRobin: where a RoundRobin pool goes on after a restart. */
static void decode_next(struct decoder *decoder, const struct json_node *status)
{
    const struct json_view *view = decoder->view;
    const struct json_node *list = json_view_member(view, status, "roundRobin");
    char text[CIDR_TEXT_SIZE];
    if (decoder->pool->mode == BLOCKS_ROUND_ROBIN &&
        json_view_text(view, json_view_first(view, list), text, sizeof(text)) > 0 &&
        address_parse_written(text, strcspn(text, "/"), &decoder->pool->next) < 0)
        decoder->pool->next = (struct address){0};
}

/* status.request; one that isn't whole counts as none. */
static void decode_pin(struct decoder *decoder, const struct json_node *status)
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
    struct decoder decoder = {.view = view, .pool = pool, .errors = errors, .error = error};
    const struct json_node *spec = json_view_member(view, object, "spec");
    int result = object_meta_decode(view, object, NULL, &pool->meta, error);
    if (result == 0)
        result = object_meta_require_name(&pool->meta, error);
    if (result < 0)
        return result;
    if (strlen(pool->meta.name) > POOL_NAME_MOST)
        fault(&decoder, INVALID, "metadata.name",
              "longer than 63 characters: it becomes a label value on every claim of the pool");
    pool->has_finalizer = object_meta_has_finalizer(view, object, POOL_FINALIZER);
    decode_addresses(&decoder, spec);
    decode_policy(&decoder, spec);
    decode_nodes(&decoder, spec);
    if (pool->invalid != NULL) {
        ranges_free(pool->offered);
        pool->offered = NULL;
        pool->family = 0;
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

int pool_request_ranges(const struct pool *pool, const struct cidr *cidr,
                        struct ranges **ret_ranges, unsigned int *ret_unfit)
{
    _cleanup_ranges_ struct ranges *ranges = whole_cidr(cidr);
    if (ranges == NULL ||
        (pool->excluded != NULL && ranges_subtract(ranges, pool->excluded, NULL) < 0))
        return -ENOMEM;
    *ret_unfit = unfit_networks(ranges);
    if (unfit_subtract(ranges) < 0)
        return -ENOMEM;
    if (ranges_is_empty(ranges))
        return -EINVAL;
    *ret_ranges = ranges;
    ranges = NULL;
    return 0;
}

void pool_free(struct pool *pool)
{
    if (pool == NULL)
        return;
    object_meta_clear(&pool->meta);
    ranges_free(pool->offered);
    ranges_free(pool->excluded);
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
