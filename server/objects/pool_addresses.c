/* Which addresses a pool has: spec.addresses; or spec.cidr and spec.ranges, which are older and mean
 * the same for one network; or what a request has. */
#include "server/objects/pool_private.h"
#include "server/objects/unfit.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FIELD "spec.addresses"
#define QUOTED_MOST 100 /* characters of an entry that a message repeats */

/* --- lists of entries --- */

/* Takes one entry of a list. 0, -ENOMEM, or what is wrong with it. */
typedef int (*entry_taker)(const struct pool_decoder *decoder, size_t index, const char *entry,
                           struct error *error);

/* Without the first and the last address of an IPv4 network, where it has others. */
static void leave_out_edges(struct address *first, struct address *last)
{
    if (first->family == ADDRESS_IPV4 && last->low - first->low > 1) {
        first->low++;
        last->low--;
    }
}

static int take_address(const struct pool_decoder *decoder, size_t index, const char *entry,
                        struct error *error)
{
    struct pool *pool = decoder->pool;
    struct address first;
    struct address last;
    int result = ranges_parse(entry, &first, &last, error);
    if (result == 0)
        result = address_set_merge(pool->written, &first, &last, error);
    if (result == 0 && !pool->use_edges && strchr(entry, '/') != NULL)
        leave_out_edges(&first, &last);
    if (result == 0)
        result = address_set_add(pool->offered, &first, &last, error);
    if (result == 0)
        pool->entries[index] = (struct pool_entry){first, last};
    return result;
}

static int check_within(const struct pool *pool, const struct address *first,
                        const struct address *last, struct error *error)
{
    char text[CIDR_TEXT_SIZE];
    if (pool->cidr.address.family == 0 ||
        (cidr_contains(&pool->cidr, first) && cidr_contains(&pool->cidr, last)))
        return 0;
    cidr_format(&pool->cidr, text);
    return error_set(error, -EINVAL, "not within spec.cidr %s", text);
}

static int take_range(const struct pool_decoder *decoder, size_t index, const char *entry,
                      struct error *error)
{
    struct pool *pool = decoder->pool;
    struct address first;
    struct address last;
    (void)index;
    int result = ranges_parse(entry, &first, &last, error);
    if (result == 0)
        result = check_within(pool, &first, &last, error);
    return result == 0 ? address_set_add(pool->offered, &first, &last, error) : result;
}

/* One that excludes nothing is a slip, and what it means to exclude would be given. */
static int take_excluded(const struct pool_decoder *decoder, size_t index, const char *entry,
                         struct error *error)
{
    struct pool *pool = decoder->pool;
    _cleanup_address_set_ struct address_set *alone = address_set_new();
    struct address first;
    struct address last;
    (void)index;
    int result = alone == NULL ? -ENOMEM : ranges_parse(entry, &first, &last, error);
    if (result == 0)
        result = check_within(pool, &first, &last, error);
    if (result == 0)
        result = address_set_merge(alone, &first, &last, error);
    if (result == 0 && decoder->knows_addresses && !address_set_overlap(alone, pool->written, NULL))
        result = error_set(error, -EINVAL, "excludes nothing: " FIELD " has none of it");
    return result == 0 ? address_set_merge(pool->excluded, &first, &last, error) : result;
}

static void each_entry(struct pool_decoder *decoder, const struct json_node *list,
                       const char *field, entry_taker take)
{
    const struct json_view *view = decoder->view;
    size_t index = 0;
    for (const struct json_node *item = json_view_first(view, list);
         item != NULL && !decoder->out_of_memory;
         item = json_view_after(view, list, item), index++) {
        char path[64];
        char entry[2 * ADDRESS_TEXT_SIZE + 8];
        struct error reason;
        snprintf(path, sizeof(path), "%s[%zu]", field, index);
        if (json_view_text(view, item, entry, sizeof(entry)) < 0) {
            pool_fault(decoder, POOL_INVALID, path,
                       "not a range: give a CIDR, \"first-last\" or a single address");
            continue;
        }
        int result = take(decoder, index, entry, &reason);
        if (result == -ENOMEM) {
            decoder->out_of_memory = true;
        } else if (result < 0) {
            error_prefix(&reason, "range \"%.*s\"", QUOTED_MOST, entry);
            pool_fault(decoder, POOL_INVALID, path, reason.text);
        }
    }
}

static bool is_list(const struct json_node *list)
{
    return json_view_is_array(list) && json_view_count(list) > 0;
}

static struct address_set *new_set(struct pool_decoder *decoder)
{
    struct address_set *set = address_set_new();
    if (set == NULL)
        decoder->out_of_memory = true;
    return set;
}

/* --- where the addresses are written --- */

/* What says which addresses there are, and stands beside what says it already. */
static void refuse_beside(struct pool_decoder *decoder, const struct json_node *spec,
                          const char *const *names, const char *text)
{
    for (; *names != NULL; names++) {
        const struct json_node *node = json_view_member(decoder->view, spec, *names);
        char field[POOL_FIELD_SIZE];
        snprintf(field, sizeof(field), "spec.%s", *names);
        if (json_view_count(node) > 0 || json_view_is_string(node))
            pool_fault(decoder, POOL_INVALID, field, text);
    }
}

/* spec.fromRequest: a name and a namespace, instead of addresses. */
static void decode_from_request(struct pool_decoder *decoder, const struct json_node *spec)
{
    static const char *const others[] = {"addresses", "cidr", "ranges", NULL};
    const struct json_view *view = decoder->view;
    const struct json_node *from = json_view_member(view, spec, "fromRequest");
    char name[256] = "";
    char space[256] = "";
    refuse_beside(decoder, spec, others,
                  "not together with spec.fromRequest: the request's CIDR is the pool");
    if (json_view_text(view, json_view_member(view, from, "name"), name, sizeof(name)) <= 0)
        pool_fault(decoder, POOL_REQUIRED, "spec.fromRequest.name",
                   "missing: give the name of an IPAMRequest");
    if (json_view_text(view, json_view_member(view, from, "namespace"), space, sizeof(space)) <= 0)
        pool_fault(decoder, POOL_REQUIRED, "spec.fromRequest.namespace",
                   "missing: give the namespace of the IPAMRequest");
    decoder->pool->from_request = strdup(object_key(space, name).text);
    if (decoder->pool->from_request == NULL)
        decoder->out_of_memory = true;
}

/* spec.addresses. */
static void decode_list(struct pool_decoder *decoder, const struct json_node *spec,
                        const struct json_node *list)
{
    static const char *const others[] = {"cidr", "ranges", NULL};
    struct pool *pool = decoder->pool;
    refuse_beside(decoder, spec, others,
                  "not together with " FIELD ", which takes its place: write it there, and take it "
                  "out here");
    pool->written = new_set(decoder);
    pool->offered = new_set(decoder);
    pool->entries = calloc(json_view_count(list), sizeof(*pool->entries));
    if (pool->entries == NULL || decoder->out_of_memory) {
        decoder->out_of_memory = true;
        return;
    }
    pool->entry_count = json_view_count(list);
    each_entry(decoder, list, FIELD, take_address);
}

/* The whole network, as far as it serves. NULL when out of memory. */
static struct address_set *serving_part(const struct cidr *cidr, bool use_edges)
{
    struct address_set *set = address_set_new();
    struct address first = cidr_first(cidr);
    struct address last = cidr_last(cidr);
    if (!use_edges)
        leave_out_edges(&first, &last);
    if (set == NULL || address_set_merge(set, &first, &last, NULL) < 0) {
        address_set_free(set);
        return NULL;
    }
    return set;
}

/* spec.cidr and spec.ranges. */
static void decode_network(struct pool_decoder *decoder, const struct json_node *spec)
{
    const struct json_view *view = decoder->view;
    const struct json_node *node = json_view_member(view, spec, "cidr");
    const struct json_node *ranges = json_view_member(view, spec, "ranges");
    struct pool *pool = decoder->pool;
    char text[CIDR_TEXT_SIZE];
    struct error reason;
    if (json_view_is_null(node))
        pool_fault(decoder, POOL_REQUIRED, FIELD,
                   "missing: give the addresses of the pool, for example [\"203.0.113.0/24\"], or "
                   "spec.fromRequest");
    else if (json_view_text(view, node, text, sizeof(text)) < 0)
        pool_fault(decoder, POOL_INVALID, "spec.cidr", "not a CIDR such as \"203.0.113.0/24\"");
    else if (cidr_parse(text, &pool->cidr, &reason) < 0)
        pool_fault(decoder, POOL_INVALID, "spec.cidr", reason.text);
    pool->written = new_set(decoder);
    pool->has_ranges = is_list(ranges);
    if (pool->has_ranges)
        pool->offered = new_set(decoder);
    if (decoder->out_of_memory)
        return;
    if (pool->has_ranges)
        each_entry(decoder, ranges, "spec.ranges", take_range);
    if (pool->cidr.address.family == 0)
        return;
    if (!pool->has_ranges)
        pool->offered = serving_part(&pool->cidr, pool->use_edges);
    if (pool->offered == NULL || address_set_merge_cidr(pool->written, &pool->cidr, NULL) < 0)
        decoder->out_of_memory = true;
}

/* --- what is left of them --- */

/* A pool that lies in such networks as a whole is wrong; one that reaches into them has the rest. */
static void leave_out_unfit(struct pool_decoder *decoder)
{
    struct pool *pool = decoder->pool;
    struct buffer text _cleanup_buffer_;
    buffer_init(&text, 1024);
    pool->unfit = unfit_networks(pool->offered);
    if (unfit_subtract(pool->offered) < 0)
        decoder->out_of_memory = true;
    if (!address_set_is_empty(pool->offered))
        return;
    buffer_append_string(&text, "lies in ");
    unfit_describe(pool->unfit, &text);
    buffer_append_string(&text, ": no Service can have such an address");
    if (buffer_failed(&text))
        decoder->out_of_memory = true;
    else
        pool_fault(decoder, POOL_INVALID,
                   pool->entry_count > 0 ? FIELD
                   : pool->has_ranges    ? "spec.ranges"
                                         : "spec.cidr",
                   text.data);
}

static void leave_out(struct pool_decoder *decoder)
{
    struct pool *pool = decoder->pool;
    if (address_set_subtract(pool->offered, pool->excluded, NULL) < 0)
        decoder->out_of_memory = true;
    else if (address_set_is_empty(pool->offered))
        pool_fault(decoder, POOL_INVALID, "spec.exclude",
                   "leaves no address: every address is excluded");
    else
        leave_out_unfit(decoder);
}

/* --- spec.allocated --- */

static int compare_addresses(const void *left, const void *right)
{
    return address_compare(left, right);
}

/* The keys that are addresses. The first other one is remembered. */
static size_t read_keys(struct pool_decoder *decoder, const struct json_node *map,
                        struct address *ret_addresses)
{
    const struct json_view *view = decoder->view;
    char **ret_other = &decoder->pool->not_allocated;
    size_t count = 0;
    for (const struct json_node *item = json_view_first(view, map); item != NULL;
         item = json_view_after(view, map, item)) {
        const char *name = view->text + item->name;
        size_t length = item->name_end - item->name;
        if (address_parse_sloppy(name, length, &ret_addresses[count]) == 0)
            count++;
        else if (*ret_other == NULL && (*ret_other = strndup(name, length)) == NULL)
            decoder->out_of_memory = true;
    }
    return count;
}

/* Sorted first, so that each is added behind the ones before it. */
static void decode_allocated(struct pool_decoder *decoder, const struct json_node *map)
{
    struct pool *pool = decoder->pool;
    if (!json_view_is_object(map) || json_view_count(map) == 0)
        return;
    struct address *addresses = calloc(json_view_count(map), sizeof(*addresses));
    pool->allocated = new_set(decoder);
    if (addresses == NULL)
        decoder->out_of_memory = true;
    if (!decoder->out_of_memory) {
        size_t count = read_keys(decoder, map, addresses);
        qsort(addresses, count, sizeof(*addresses), compare_addresses);
        for (size_t i = 0; i < count && !decoder->out_of_memory; i++)
            if (address_set_merge(pool->allocated, &addresses[i], &addresses[i], NULL) < 0)
                decoder->out_of_memory = true;
    }
    free(addresses);
}

void pool_decode_addresses(struct pool_decoder *decoder, const struct json_node *spec)
{
    const struct json_view *view = decoder->view;
    struct pool *pool = decoder->pool;
    const struct json_node *list = json_view_member(view, spec, "addresses");
    const struct json_node *excluded = json_view_member(view, spec, "exclude");
    bool from_request = !json_view_is_null(json_view_member(view, spec, "fromRequest"));
    pool->use_edges = json_view_bool(json_view_member(view, spec, "useNetworkAndBroadcast"));
    if (from_request)
        decode_from_request(decoder, spec);
    else if (is_list(list))
        decode_list(decoder, spec, list);
    else if (!json_view_is_null(list) && !json_view_is_array(list))
        pool_fault(decoder, POOL_INVALID, FIELD,
                   "not a list of addresses, such as [\"203.0.113.0/24\"]");
    else
        decode_network(decoder, spec);
    decoder->knows_addresses = pool->entry_count > 0 && pool->invalid == NULL;
    if (is_list(excluded) && (pool->excluded = new_set(decoder)) != NULL)
        each_entry(decoder, excluded, "spec.exclude", take_excluded);
    decode_allocated(decoder, json_view_member(view, spec, "allocated"));
    if (pool->invalid == NULL && !decoder->out_of_memory && !from_request)
        leave_out(decoder);
}

/* --- questions --- */

int pool_request_addresses(const struct pool *pool, const struct cidr *cidr,
                           struct address_set **ret_addresses, unsigned int *ret_unfit)
{
    _cleanup_address_set_ struct address_set *set = serving_part(cidr, pool->use_edges);
    if (set == NULL || address_set_subtract(set, pool->excluded, NULL) < 0)
        return -ENOMEM;
    *ret_unfit = unfit_networks(set);
    if (unfit_subtract(set) < 0)
        return -ENOMEM;
    if (address_set_is_empty(set))
        return -EINVAL;
    *ret_addresses = set;
    set = NULL;
    return 0;
}

bool pool_leaves_out(const struct pool *pool, const struct address *address)
{
    return pool->invalid == NULL && !pool->has_ranges &&
           address_set_contains(pool->written, address) &&
           !address_set_contains(pool->offered, address) &&
           !address_set_contains(pool->excluded, address) && unfit_network_of(address) == NULL;
}

void pool_field_of(const struct pool *pool, const struct address *address,
                   char ret_field[POOL_FIELD_SIZE])
{
    snprintf(ret_field, POOL_FIELD_SIZE, "%s",
             pool->entry_count > 0        ? FIELD
             : pool->from_request != NULL ? "spec.fromRequest"
                                          : "spec.ranges");
    for (size_t i = 0; i < pool->entry_count; i++) {
        const struct pool_entry *entry = &pool->entries[i];
        if (entry->first.family == address->family &&
            address_compare(&entry->first, address) <= 0 &&
            address_compare(address, &entry->last) <= 0) {
            snprintf(ret_field, POOL_FIELD_SIZE, FIELD "[%zu]", i);
            return;
        }
    }
}
