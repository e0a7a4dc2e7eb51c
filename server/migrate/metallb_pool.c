/* DOC: What one can't say of the other is named, never dropped in silence, and where it matters the
 * stricter reading is taken: a pool whose selectors ipwarden lacks is given to nobody who doesn't
 * name it; one that MetalLB announces nowhere isn't announced. Where MetalLB takes any of several
 * node selectors, those on one label become one selector; others would need several pools.
 *
 * Priorities: MetalLB tries pools with a serviceAllocation first, by their priority, of which 0 is
 * the last; then those without. ipwarden knows one order for all pools, lower first. */
#include "server/migrate/metallb_pool.h"

#include "server/base/json_writer.h"
#include "server/objects/pool.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SPEC_MOST (4U << 20)
#define NOTE_SIZE 400
#define ENTRIES_MOST 10000U   /* of addresses and of exclude, as the CRD has it */
#define PRIORITY_LAST 1000000 /* of pools with a serviceAllocation; those without come after it */

struct translator {
    const struct metallb_pool *pool;
    const struct metallb_surroundings *surroundings;
    struct metallb_translation *translation;
    struct texts entries;        /* spec.addresses */
    struct address_set *exclude; /* NULL: nothing */
    bool has_network;            /* an IPv4 CIDR that has a first and a last address to leave out */
    struct buffer nodes;         /* the node selector; empty: all nodes */
    char link[POOL_LINK_MOST + 1];
    enum pool_announce announce;
};

void metallb_translation_clear(struct metallb_translation *translation)
{
    free(translation->spec);
    address_set_free(translation->addresses);
    texts_clear(&translation->differences);
    free(translation->problem);
    *translation = (struct metallb_translation){0};
}

static int __attribute__((format(printf, 2, 3)))
tell(struct translator *translator, const char *format, ...)
{
    char text[NOTE_SIZE];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof(text), format, arguments);
    va_end(arguments);
    return texts_add(&translator->translation->differences, text);
}

/* The first problem counts. */
static int __attribute__((format(printf, 2, 3)))
refuse(struct translator *translator, const char *format, ...)
{
    char text[NOTE_SIZE];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof(text), format, arguments);
    va_end(arguments);
    if (translator->translation->problem == NULL)
        translator->translation->problem = strdup(text);
    return translator->translation->problem == NULL ? -ENOMEM : 0;
}

/* --- addresses --- */

static int add_entry(struct translator *translator, const char *entry)
{
    struct address first;
    struct address last;
    struct cidr cidr;
    char text[CIDR_TEXT_SIZE];
    struct error reason = {0};
    bool block = strchr(entry, '/') != NULL;
    int code = block ? cidr_parse_masked(entry, &cidr, &reason)
                     : ranges_parse(entry, &first, &last, &reason);
    if (code == 0 && block) {
        first = cidr_first(&cidr);
        last = cidr_last(&cidr);
        cidr_format(&cidr, text);
        translator->has_network |= cidr.address.family == ADDRESS_IPV4 && cidr.prefix_length < 31;
    }
    if (code == 0)
        code = address_set_add(translator->translation->addresses, &first, &last, &reason);
    if (code == -ENOMEM)
        return code;
    if (code < 0)
        return refuse(translator, "spec.addresses: %.200s", reason.text);
    return texts_add(&translator->entries, block ? text : entry);
}

static int add_entries(struct translator *translator)
{
    const struct texts *addresses = &translator->pool->addresses;
    if (addresses->count == 0)
        return refuse(translator, "spec.addresses: it has none");
    if (addresses->count > ENTRIES_MOST)
        return refuse(translator, "spec.addresses: %zu entries, ipwarden takes %u",
                      addresses->count, ENTRIES_MOST);
    int code = 0;
    for (size_t i = 0; code == 0 && i < addresses->count; i++)
        code = add_entry(translator, addresses->items[i]);
    return code;
}

/* The addresses on both sides of a border between two /24, as far as the span has them. */
static int exclude_between(struct translator *translator, const struct address *first,
                           const struct address *last, uint64_t border)
{
    const struct address zero = {.family = ADDRESS_IPV4, .low = border};
    struct address begin = zero;
    struct address end = zero;
    if (border > 0 && border > first->low)
        begin.low = border - 1;
    if (border > last->low)
        end = begin;
    return address_set_merge(translator->exclude, &begin, &end, NULL);
}

/* Those of a span that end in .0 and .255. */
static int exclude_buggy(struct translator *translator, const struct address *first,
                         const struct address *last)
{
    for (uint64_t border = (first->low + 255) / 256 * 256; border <= last->low + 1; border += 256) {
        if (address_set_span_count(translator->exclude) >= ENTRIES_MOST)
            return refuse(translator, "avoidBuggyIPs: more than %u addresses to leave out",
                          ENTRIES_MOST);
        if (exclude_between(translator, first, last, border) < 0)
            return -ENOMEM;
    }
    return 0;
}

static int add_exclude(struct translator *translator)
{
    const struct address_set *addresses = translator->translation->addresses;
    if (!translator->pool->avoid_buggy)
        return 0;
    translator->exclude = address_set_new();
    if (translator->exclude == NULL)
        return -ENOMEM;
    for (size_t i = 0; i < address_set_span_count(addresses); i++) {
        struct address first;
        struct address last;
        address_set_span(addresses, i, &first, &last);
        if (first.family == ADDRESS_IPV4 && exclude_buggy(translator, &first, &last) < 0)
            return -ENOMEM;
    }
    return 0;
}

/* --- where they are announced --- */

/* The key and the value of a selector that is one label and nothing else. */
static bool read_single_label(const char *selector, char **ret_key, char **ret_value)
{
    struct json_view view;
    json_view_init(&view);
    bool single = json_view_parse(&view, selector, strlen(selector), JSON_VIEW_DEPTH, NULL) == 0;
    const struct json_node *labels =
        single ? json_view_member(&view, json_view_root(&view), "matchLabels") : NULL;
    const struct json_node *label = json_view_first(&view, labels);
    single = json_view_count(labels) == 1 && json_view_count(json_view_root(&view)) == 1 &&
             json_view_is_string(label);
    *ret_key = single ? strndup(view.text + label->name, label->name_end - label->name) : NULL;
    *ret_value = single ? json_view_copy(&view, label) : NULL;
    json_view_clear(&view);
    return single;
}

/* Selectors of one label each, all of the same one: In the values. False: they aren't. */
static bool write_values(const struct texts *selectors, struct buffer *ret_nodes)
{
    _cleanup_buffer_ struct buffer text;
    struct json_writer writer;
    char *key = NULL;
    bool same = true;
    buffer_init(&text, SPEC_MOST);
    json_writer_init(&writer, &text);
    json_begin_array(&writer);
    for (size_t i = 0; same && i < selectors->count; i++) {
        char *other;
        char *value;
        same = read_single_label(selectors->items[i], &other, &value) && other != NULL &&
               value != NULL && (key == NULL || strcmp(key, other) == 0);
        if (same)
            json_put_string(&writer, value);
        if (same && key == NULL) {
            key = other;
            other = NULL;
        }
        free(other);
        free(value);
    }
    json_end_array(&writer);
    if (same && json_writer_done(&writer)) {
        json_writer_init(&writer, ret_nodes);
        json_begin_object(&writer);
        json_member_array(&writer, "matchExpressions");
        json_begin_object(&writer);
        json_member_string(&writer, "key", key);
        json_member_string(&writer, "operator", "In");
        json_member_raw(&writer, "values", text.data, text.length);
        json_end_object(&writer);
        json_end_array(&writer);
        json_end_object(&writer);
    }
    free(key);
    return same;
}

static int set_nodes(struct translator *translator, const struct texts *selectors)
{
    if (selectors->count == 0)
        return 0;
    if (selectors->count == 1)
        buffer_append_string(&translator->nodes, selectors->items[0]);
    else if (!write_values(selectors, &translator->nodes))
        return tell(translator,
                    "nodeSelectors: any of %zu selectors may match a node, a pool has one: all "
                    "nodes may have the addresses; set spec.nodeSelector",
                    selectors->count);
    return buffer_failed(&translator->nodes) ? -ENOMEM : 0;
}

static int set_link(struct translator *translator, const struct texts *interfaces)
{
    if (interfaces->count == 0)
        return 0;
    if (interfaces->count == 1 && strlen(interfaces->items[0]) <= POOL_LINK_MOST) {
        snprintf(translator->link, sizeof(translator->link), "%s", interfaces->items[0]);
        return 0;
    }
    return tell(translator,
                "interfaces: %zu are named, a pool has one link: each node takes the one whose "
                "network has the address; set spec.link",
                interfaces->count);
}

/* Adds what isn't there yet; none in one advertisement means all, whatever the others say. */
static int gather(const struct texts *from, struct texts *to, bool *all)
{
    *all |= from->count == 0;
    for (size_t i = 0; i < from->count; i++)
        if (!texts_have(to, from->items[i]) && texts_add(to, from->items[i]) < 0)
            return -ENOMEM;
    return 0;
}

struct announced {
    size_t layer2;
    size_t bgp;
    struct texts nodes;
    struct texts interfaces;
    bool all_nodes;
    bool all_interfaces;
    bool has_routes;
};

static int look_at_advertisements(const struct translator *translator, struct announced *found)
{
    const struct metallb_surroundings *surroundings = translator->surroundings;
    for (size_t i = 0; i < surroundings->advertisement_count; i++) {
        const struct metallb_advertisement *one = surroundings->advertisements[i];
        if (!metallb_advertises(one, translator->pool))
            continue;
        found->layer2 += one->announce == METALLB_LAYER2;
        found->bgp += one->announce == METALLB_BGP;
        found->has_routes |= one->has_routes;
        if (gather(&one->nodes, &found->nodes, &found->all_nodes) < 0 ||
            (one->announce == METALLB_LAYER2 &&
             gather(&one->interfaces, &found->interfaces, &found->all_interfaces) < 0))
            return -ENOMEM;
    }
    if (found->all_nodes)
        texts_clear(&found->nodes);
    if (found->all_interfaces)
        texts_clear(&found->interfaces);
    return 0;
}

static int tell_of_announcement(struct translator *translator, const struct announced *found)
{
    if (found->layer2 > 0 && found->bgp > 0)
        return tell(translator,
                    "it is announced by layer 2 and by BGP, a pool does one of them: Layer2; set "
                    "spec.announce to AllNodes for BGP");
    if (found->bgp > 0)
        return tell(translator,
                    "BGP: every node has the addresses on lo, and a routing daemon of yours "
                    "(BIRD, FRR) announces them; peers%s are for its configuration, see "
                    "deploy/NETWORK.md",
                    found->has_routes ? ", aggregation, communities and preferences" : "");
    if (found->layer2 == 0)
        return tell(translator, "no advertisement is about it: it is announced nowhere, as before");
    return 0;
}

static int set_announcement(struct translator *translator)
{
    struct announced found = {0};
    int code = look_at_advertisements(translator, &found);
    translator->announce = found.layer2 > 0 ? POOL_ANNOUNCE_LAYER2
                           : found.bgp > 0  ? POOL_ANNOUNCE_ALL_NODES
                                            : POOL_ANNOUNCE_NONE;
    if (code == 0)
        code = tell_of_announcement(translator, &found);
    if (code == 0)
        code = set_nodes(translator, &found.nodes);
    if (code == 0)
        code = set_link(translator, &found.interfaces);
    texts_clear(&found.nodes);
    texts_clear(&found.interfaces);
    return code;
}

/* --- who may have them --- */

static int64_t priority_of(const struct translator *translator)
{
    const struct metallb_pool *pool = translator->pool;
    if (!pool->allocates)
        return translator->surroundings->others_allocate ? PRIORITY_LAST + 1 : 0;
    return pool->priority > 0 && pool->priority < PRIORITY_LAST ? pool->priority : PRIORITY_LAST;
}

static int tell_of_policy(struct translator *translator)
{
    const struct metallb_pool *pool = translator->pool;
    const char *what = pool->has_namespace_selectors && pool->has_service_selectors
                           ? "namespaceSelectors and serviceSelectors"
                       : pool->has_namespace_selectors ? "namespaceSelectors"
                                                       : "serviceSelectors";
    if (translator->surroundings->shared_by_strangers &&
        tell(translator, "Services of several namespaces share an address: sharing is Any") < 0)
        return -ENOMEM;
    if (!pool->has_namespace_selectors && !pool->has_service_selectors)
        return 0;
    translator->translation->by_name_only = pool->auto_assign;
    return tell(translator,
                "serviceAllocation.%s: ipwarden has none: autoAssign is false, so that only "
                "Services get its addresses which name it by the annotation ipcontroller.ext/pool",
                what);
}

/* --- all of it --- */

static void write_list(struct json_writer *writer, const char *name, const struct texts *texts)
{
    if (texts->count == 0)
        return;
    json_member_array(writer, name);
    for (size_t i = 0; i < texts->count; i++)
        json_put_string(writer, texts->items[i]);
    json_end_array(writer);
}

static void write_exclude(struct json_writer *writer, const struct address_set *exclude)
{
    if (address_set_is_empty(exclude))
        return;
    json_member_array(writer, "exclude");
    for (size_t i = 0; i < address_set_span_count(exclude); i++) {
        struct address first;
        struct address last;
        char begin[ADDRESS_TEXT_SIZE];
        char end[ADDRESS_TEXT_SIZE];
        address_set_span(exclude, i, &first, &last);
        address_format(&first, begin);
        address_format(&last, end);
        if (address_equal(&first, &last))
            json_put_string(writer, begin);
        else
            json_put_format(writer, "%s-%s", begin, end);
    }
    json_end_array(writer);
}

/* Members that have a default are written, too: what is compared with a stored pool later has all
 * of them. */
static int write_spec(struct translator *translator)
{
    static const char *const announce[] = {"Layer2", "AllNodes", "None"};
    const struct metallb_pool *pool = translator->pool;
    struct json_writer writer;
    _cleanup_buffer_ struct buffer text;
    buffer_init(&text, SPEC_MOST);
    json_writer_init(&writer, &text);
    json_begin_object(&writer);
    write_list(&writer, "addresses", &translator->entries);
    json_member_bool(&writer, "useNetworkAndBroadcast", translator->has_network);
    write_exclude(&writer, translator->exclude);
    json_member_string(&writer, "mode", "FirstMatch");
    json_member_bool(&writer, "autoAssign",
                     pool->auto_assign && !translator->translation->by_name_only);
    json_member_integer(&writer, "priority", priority_of(translator));
    write_list(&writer, "namespaces", &pool->namespaces);
    json_member_string(&writer, "sharing",
                       translator->translation->sharing == POOL_SHARING_ANY ? "Any"
                                                                            : "SameNamespace");
    if (translator->nodes.length > 0)
        json_member_raw(&writer, "nodeSelector", translator->nodes.data, translator->nodes.length);
    if (*translator->link != '\0')
        json_member_string(&writer, "link", translator->link);
    json_member_string(&writer, "announce", announce[translator->announce]);
    json_end_object(&writer);
    if (!json_writer_done(&writer))
        return -ENOMEM;
    translator->translation->spec = buffer_steal(&text, NULL);
    return translator->translation->spec == NULL ? -ENOMEM : 0;
}

int metallb_pool_translate(const struct metallb_pool *pool,
                           const struct metallb_surroundings *surroundings,
                           struct metallb_translation *ret_translation, struct error *error)
{
    struct translator translator = {
        .pool = pool, .surroundings = surroundings, .translation = ret_translation};
    *ret_translation = (struct metallb_translation){
        .addresses = address_set_new(),
        .sharing =
            surroundings->shared_by_strangers ? POOL_SHARING_ANY : POOL_SHARING_SAME_NAMESPACE,
    };
    buffer_init(&translator.nodes, SPEC_MOST);
    int code = ret_translation->addresses == NULL ? -ENOMEM : 0;
    if (code == 0 && strlen(pool->name) > POOL_NAME_MOST)
        code = refuse(&translator,
                      "its name has more than %d characters: it becomes a label value on every "
                      "claim; make an IpClaimPool of another name by hand",
                      POOL_NAME_MOST);
    if (code == 0)
        code = add_entries(&translator);
    if (code == 0)
        code = add_exclude(&translator);
    if (code == 0)
        code = set_announcement(&translator);
    if (code == 0)
        code = tell_of_policy(&translator);
    if (code == 0 && ret_translation->problem == NULL)
        code = write_spec(&translator);
    texts_clear(&translator.entries);
    address_set_free(translator.exclude);
    buffer_clear(&translator.nodes);
    return code < 0 ? error_no_memory(error) : 0;
}
