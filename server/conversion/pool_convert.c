/* IpClaimPool. v1 has one network and, optionally, pairs of first and last; v2 one list of all kinds
 * of entries, of both families. spec.allocated is alike.
 *
 * v1 sees the addresses of one family of a pool, that of its first entry. */
#include "server/conversion/conversion_kind.h"

#include "allocator/address.h"
#include "allocator/cidr.h"

#include <string.h>

#define ENTRY_SIZE (2 * ADDRESS_TEXT_SIZE + 8)
/* What v1 sees where a pool has no addresses, since v1 can't do without: a network of its network
 * address alone, of which it gives nothing. */
#define NO_NETWORK "0.0.0.0/32"

/* The members of v2, in the order of the table below. */
enum current { ADDRESSES, USE_ALL, CIDR, RANGES, FROM_REQUEST, REQUEST_CIDR };

/* One entry of a list of addresses. */
struct entry {
    struct address first;
    struct address last;
    struct cidr block; /* family 0: not written as a CIDR */
};

static bool read_entry(const struct json_view *view, const struct json_node *node,
                       struct entry *ret_entry)
{
    char text[ENTRY_SIZE];
    *ret_entry = (struct entry){.block = {.prefix_length = 0}};
    if (json_view_text(view, node, text, sizeof(text)) <= 0)
        return false;
    char *dash = strchr(text, '-');
    if (strchr(text, '/') != NULL && cidr_parse_masked(text, &ret_entry->block, NULL) == 0) {
        ret_entry->first = cidr_first(&ret_entry->block);
        ret_entry->last = cidr_last(&ret_entry->block);
        return true;
    }
    size_t length = dash != NULL ? (size_t)(dash - text) : strlen(text);
    return address_parse_bytes(text, length, &ret_entry->first, NULL) == 0 &&
           address_parse(dash != NULL ? dash + 1 : text, &ret_entry->last, NULL) == 0 &&
           ret_entry->first.family == ret_entry->last.family &&
           address_compare(&ret_entry->first, &ret_entry->last) <= 0;
}

/* Whether v2 leaves out the first and the last address of a block. */
static bool is_trimmed(const struct cidr *block)
{
    return block->address.family == ADDRESS_IPV4 && block->prefix_length < 31;
}

/* What v1 is shown of a list. */
struct view_of_list {
    const struct conversion_value *list;
    bool trims;   /* blocks lose their first and last address */
    size_t count; /* entries of the family */
    struct address first;
    struct address last;
    const struct json_node *block; /* the last of them that is written as a CIDR */
};

static void look_at_list(struct view_of_list *look)
{
    const struct json_view *view = look->list->view;
    const struct json_node *list = look->list->node;
    for (const struct json_node *item = json_view_is_array(list) ? json_view_first(view, list)
                                                                 : NULL;
         item != NULL; item = json_view_after(view, list, item)) {
        struct entry entry;
        if (!read_entry(view, item, &entry) ||
            (look->count > 0 && entry.first.family != look->first.family))
            continue;
        if (look->count == 0 || address_compare(&entry.first, &look->first) < 0)
            look->first = entry.first;
        if (look->count == 0 || address_compare(&entry.last, &look->last) > 0)
            look->last = entry.last;
        look->count++;
        if (entry.block.address.family != 0 && (look->trims || !is_trimmed(&entry.block)))
            look->block = item;
    }
}

static void put_address(struct json_writer *writer, const struct address *address)
{
    char text[ADDRESS_TEXT_SIZE];
    address_format(address, text);
    json_put_string(writer, text);
}

static void put_pairs(const struct view_of_list *look, struct json_writer *writer)
{
    const struct json_view *view = look->list->view;
    json_member_array(writer, "ranges");
    for (const struct json_node *item = json_view_first(view, look->list->node); item != NULL;
         item = json_view_after(view, look->list->node, item)) {
        struct entry entry;
        if (!read_entry(view, item, &entry) || entry.first.family != look->first.family)
            continue;
        if (look->trims && is_trimmed(&entry.block) &&
            (!address_add(&entry.first, 1, &entry.first) ||
             !address_subtract(&entry.last, 1, &entry.last)))
            continue;
        json_begin_array(writer);
        put_address(writer, &entry.first);
        put_address(writer, &entry.last);
        json_end_array(writer);
    }
    json_end_array(writer);
}

/* The smallest network that has both addresses. */
static void put_network(const struct address *first, const struct address *last,
                        struct json_writer *writer)
{
    char text[CIDR_TEXT_SIZE];
    unsigned int length = address_bits(first->family);
    struct cidr cidr = cidr_of(first, length);
    while (!cidr_contains(&cidr, last))
        cidr = cidr_of(first, --length);
    cidr_format(&cidr, text);
    json_member_string(writer, "cidr", text);
}

static void older_of_list(const struct conversion_value *from, struct conversion_output *output)
{
    struct view_of_list look = {.list = &from[ADDRESSES],
                                .trims = !json_view_bool(from[USE_ALL].node)};
    look_at_list(&look);
    if (look.count == 0) {
        json_member_string(conversion_writer(output), "cidr", NO_NETWORK);
    } else if (look.count == 1 && look.block != NULL) {
        const struct conversion_value block = {look.list->view, look.block};
        conversion_take(output, "cidr", &block);
    } else {
        put_network(&look.first, &look.last, conversion_writer(output));
        put_pairs(&look, conversion_writer(output));
    }
}

/* cidr and ranges as v2 had them before it had a list. */
static void older_of_ranges(const struct conversion_value *from, struct conversion_output *output)
{
    struct view_of_list look = {.list = &from[RANGES]};
    look_at_list(&look);
    conversion_take(output, "cidr", &from[CIDR]);
    if (look.count > 0)
        put_pairs(&look, conversion_writer(output));
}

static void addresses_older(const struct conversion_value *from,
                            const struct conversion_object *object,
                            struct conversion_output *output)
{
    (void)object;
    if (json_view_count(from[ADDRESSES].node) > 0)
        older_of_list(from, output);
    else if (from[CIDR].node != NULL)
        older_of_ranges(from, output);
    else if (from[FROM_REQUEST].node != NULL && from[REQUEST_CIDR].node != NULL)
        conversion_take(output, "cidr", &from[REQUEST_CIDR]);
    else
        json_member_string(conversion_writer(output), "cidr", NO_NETWORK);
}

/* One pair of v1: "first-last", or one address. What is no pair is shown as it is, for v2 to judge. */
static void put_range(const struct json_view *view, const struct json_node *pair,
                      struct json_writer *writer)
{
    char text[ENTRY_SIZE] = "";
    size_t length = 0;
    const struct json_node *before = NULL;
    for (const struct json_node *end = json_view_is_array(pair) ? json_view_first(view, pair)
                                                                : NULL;
         end != NULL; end = json_view_after(view, pair, end)) {
        if (before != NULL && json_view_count(pair) == 2 && json_view_same(view, before, view, end))
            break;
        if (before != NULL && length + 1 < sizeof(text))
            text[length++] = '-';
        ptrdiff_t added = json_view_text(view, end, text + length, sizeof(text) - length);
        length += added > 0 ? (size_t)added : 0;
        before = end;
    }
    json_put_bytes(writer, text, length);
}

/* The network of v1, which may be written by any of its addresses. */
static void put_cidr(const struct conversion_value *value, struct json_writer *writer)
{
    char text[CIDR_TEXT_SIZE];
    char network[CIDR_TEXT_SIZE];
    struct cidr cidr;
    size_t length;
    const char *raw = json_view_raw(value->view, value->node, &length);
    if (json_view_text(value->view, value->node, text, sizeof(text)) > 0 &&
        cidr_parse(text, &cidr, NULL) < 0 && cidr_parse_masked(text, &cidr, NULL) == 0) {
        cidr_format(&cidr, network);
        json_put_string(writer, network);
    } else {
        json_put_raw(writer, raw, length);
    }
}

/* The entries that v1's fields stand for. */
static void put_entries(const struct conversion_value *from, struct json_writer *writer)
{
    const struct json_view *view = from[1].view;
    const struct json_node *ranges = from[1].node;
    bool pairs = json_view_is_array(ranges) && json_view_count(ranges) > 0;
    for (const struct json_node *pair = pairs ? json_view_first(view, ranges) : NULL; pair != NULL;
         pair = json_view_after(view, ranges, pair))
        put_range(view, pair, writer);
    if (!pairs && conversion_is_text(&from[0]))
        put_cidr(&from[0], writer);
}

static void addresses_current(const struct conversion_value *from,
                              const struct conversion_object *object,
                              struct conversion_output *output)
{
    (void)object;
    if (json_view_count(from[1].node) == 0 && !conversion_is_text(&from[0]))
        return;
    struct json_writer *writer = conversion_writer(output);
    json_member_array(writer, "addresses");
    put_entries(from, writer);
    json_end_array(writer);
}

/* What v1 doesn't see of the list stays. */
static void addresses_merge(const struct conversion_value *from,
                            const struct conversion_value *carried,
                            struct conversion_output *output)
{
    const struct conversion_value *list = &carried[ADDRESSES];
    struct view_of_list look = {.list = list};
    struct json_writer *writer = conversion_writer(output);
    look_at_list(&look);
    json_member_array(writer, "addresses");
    put_entries(from, writer);
    for (const struct json_node *item =
             json_view_is_array(list->node) ? json_view_first(list->view, list->node) : NULL;
         item != NULL; item = json_view_after(list->view, list->node, item)) {
        struct entry entry;
        size_t length;
        const char *raw = json_view_raw(list->view, item, &length);
        if (!read_entry(list->view, item, &entry) || entry.first.family != look.first.family)
            json_put_raw(writer, raw, length);
    }
    json_end_array(writer);
    /* What is false, as it is by default, or of no concern to the family that v1 sees. */
    if (look.first.family == ADDRESS_IPV6 || !json_view_bool(carried[USE_ALL].node))
        conversion_take(output, "useNetworkAndBroadcast", &carried[USE_ALL]);
}

/* The sub-network of the request that the pool is made from. */
static bool read_request(const struct conversion_object *object, struct json_writer *writer)
{
    const struct json_node *cidr =
        json_view_path(object->view, object->root, "status", "request", "cidr", NULL);
    size_t length;
    if (!json_view_is_string(cidr))
        return false;
    const char *raw = json_view_raw(object->view, cidr, &length);
    json_put_raw(writer, raw, length);
    return true;
}

static const struct conversion_group groups[] = {
    {.members =
         {[CONVERSION_OLDER] = {{CONVERSION_SPEC, "cidr", NULL}, {CONVERSION_SPEC, "ranges", NULL}},
          [CONVERSION_CURRENT] = {[ADDRESSES] = {CONVERSION_SPEC, "addresses", NULL},
                                  [USE_ALL] = {CONVERSION_SPEC, "useNetworkAndBroadcast", NULL},
                                  [CIDR] = {CONVERSION_SPEC, "cidr", NULL},
                                  [RANGES] = {CONVERSION_SPEC, "ranges", NULL},
                                  [FROM_REQUEST] = {CONVERSION_SPEC, "fromRequest", NULL},
                                  [REQUEST_CIDR] = {CONVERSION_WITNESS, "status.request.cidr",
                                                    read_request}}},
     .map = {addresses_older, addresses_current},
     .merge = {NULL, addresses_merge}},
};

static const char *const shared[] = {"allocated", NULL};

const struct conversion_kind conversion_pool = {
    .kind = "IpClaimPool",
    CONVERSION_NAMES("ipcontroller.ext", "v1", "v2"),
    .groups = groups,
    .group_count = sizeof(groups) / sizeof(groups[0]),
    .shared = shared,
    .has_spec = {true, true},
};
