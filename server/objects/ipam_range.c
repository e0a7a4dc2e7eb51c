/* Reading and checking of IPAMRanges. One function serves the validating webhook, which wants
 * every fault, and the watch, which wants the range or the reason why it can't be used. */
#include "server/objects/ipam_range.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define INVALID "FieldValueInvalid"
#define REQUIRED "FieldValueRequired"
#define NOT_SUPPORTED "FieldValueNotSupported"
#define SHOWN 64 /* bytes of a value that a message repeats, with NUL */

struct decoder {
    const struct json_view *view;
    struct ipam_range *range;
    struct field_errors *errors;
    bool out_of_memory;
};

static void fault(struct decoder *decoder, const char *reason, const char *field,
                  const char *format, ...) __attribute__((format(printf, 4, 5)));

static void fault(struct decoder *decoder, const char *reason, const char *field,
                  const char *format, ...)
{
    char text[500];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof(text), format, arguments);
    va_end(arguments);
    if (field_errors_fault(decoder->errors, &decoder->range->invalid, reason, field, text) < 0)
        decoder->out_of_memory = true;
}

static void decode_mode(struct decoder *decoder, const struct json_node *node)
{
    char word[32];
    char shown[SHOWN];
    if (json_view_is_null(node) || json_view_equals(decoder->view, node, ""))
        return;
    if (json_view_text(decoder->view, node, word, sizeof(word)) < 0 ||
        !blocks_mode_parse(word, &decoder->range->mode)) {
        json_view_show(decoder->view, node, shown, sizeof(shown));
        fault(decoder, NOT_SUPPORTED, "spec.mode", "%s is no mode: use FirstMatch or RoundRobin",
              shown);
    }
}

static void decode_entry(struct decoder *decoder, const struct json_node *item, size_t index)
{
    char path[48];
    char entry[2 * ADDRESS_TEXT_SIZE + 8];
    struct error reason;
    snprintf(path, sizeof(path), "spec.ranges[%zu]", index);
    if (json_view_text(decoder->view, item, entry, sizeof(entry)) < 0) {
        char shown[SHOWN];
        json_view_show(decoder->view, item, shown, sizeof(shown));
        fault(decoder, INVALID, path,
              "%s is not a range: give a CIDR, \"first-last\" or a single address", shown);
        return;
    }
    int result = ranges_merge(decoder->range->ranges, entry, &reason);
    if (result == -ENOMEM)
        decoder->out_of_memory = true;
    else if (result < 0)
        fault(decoder, INVALID, path, "%s", reason.text);
}

static void decode_ranges(struct decoder *decoder, const struct json_node *list)
{
    const struct json_view *view = decoder->view;
    decoder->range->ranges = ranges_new();
    if (decoder->range->ranges == NULL) {
        decoder->out_of_memory = true;
        return;
    }
    if (!json_view_is_array(list) || json_view_count(list) == 0) {
        fault(decoder, REQUIRED, "spec.ranges",
              "missing: give the addresses to divide, for example [\"10.0.0.0/16\"]");
        return;
    }
    size_t index = 0;
    for (const struct json_node *item = json_view_first(view, list);
         item != NULL && !decoder->out_of_memory; item = json_view_after(view, list, item))
        decode_entry(decoder, item, index++);
}

/* 0 and less mean one address, as the older version has it. */
static void decode_default_size(struct decoder *decoder, const struct json_node *node)
{
    uint8_t family = ranges_family(decoder->range->ranges);
    unsigned int bits = address_bits(family);
    int64_t value = 0;
    char shown[SHOWN];
    decoder->range->prefix_length = bits;
    if (json_view_is_null(node))
        return;
    if (!json_view_int64(decoder->view, node, &value) || value > bits) {
        json_view_show(decoder->view, node, shown, sizeof(shown));
        fault(decoder, INVALID, "spec.defaultPrefixLength",
              "%s is no prefix length: give one from 1 to %u, or 0 for single addresses", shown,
              bits);
    } else if (value > 0) {
        decoder->range->prefix_length = (unsigned int)value;
    }
}

/* --- status: what doesn't make sense there is left out, since anyone may have written it --- */

static bool decode_cidr(const struct json_view *view, const struct json_node *node,
                        struct cidr *ret_cidr)
{
    char text[CIDR_TEXT_SIZE];
    return json_view_text(view, node, text, sizeof(text)) > 0 &&
           cidr_parse_written(text, ret_cidr) == 0;
}

static void decode_pending(struct decoder *decoder, const struct json_node *list)
{
    const struct json_view *view = decoder->view;
    struct ipam_range *range = decoder->range;
    size_t count = json_view_is_array(list) ? json_view_count(list) : 0;
    if (count == 0)
        return;
    range->pending = calloc(count, sizeof(*range->pending));
    if (range->pending == NULL) {
        decoder->out_of_memory = true;
        return;
    }
    for (const struct json_node *item = json_view_first(view, list); item != NULL;
         item = json_view_after(view, list, item)) {
        struct ipam_pending entry = {0};
        char name[256];
        char space[256];
        if (!decode_cidr(view, json_view_member(view, item, "cidr"), &entry.cidr) ||
            json_view_text(view, json_view_member(view, item, "name"), name, sizeof(name)) <= 0 ||
            json_view_text(view, json_view_member(view, item, "namespace"), space, sizeof(space)) <=
                0 ||
            !json_view_is_string(json_view_member(view, item, "uid")))
            continue;
        entry.uid = json_view_copy(view, json_view_member(view, item, "uid"));
        if (asprintf(&entry.key, "%s/%s", space, name) < 0)
            entry.key = NULL;
        if (entry.uid == NULL || entry.key == NULL)
            decoder->out_of_memory = true;
        range->pending[range->pending_count++] = entry;
    }
}

/* Entries are "address/prefix length"; the address is where to go on, not the start of a block. */
static void decode_round_robin(struct decoder *decoder, const struct json_node *list)
{
    const struct json_view *view = decoder->view;
    struct ipam_range *range = decoder->range;
    size_t count = json_view_is_array(list) ? json_view_count(list) : 0;
    if (count == 0)
        return;
    range->round_robin = calloc(count, sizeof(*range->round_robin));
    if (range->round_robin == NULL) {
        decoder->out_of_memory = true;
        return;
    }
    for (const struct json_node *item = json_view_first(view, list); item != NULL;
         item = json_view_after(view, list, item)) {
        struct cidr *next = &range->round_robin[range->round_robin_count];
        char text[CIDR_TEXT_SIZE];
        if (json_view_text(view, item, text, sizeof(text)) <= 0)
            continue;
        const char *slash = strchr(text, '/');
        char *end;
        unsigned long length = slash != NULL ? strtoul(slash + 1, &end, 10) : 0;
        if (slash != NULL && slash[1] >= '0' && slash[1] <= '9' && *end == '\0' && length <= 128 &&
            address_parse_written(text, (size_t)(slash - text), &next->address) == 0) {
            next->prefix_length = (uint8_t)length;
            range->round_robin_count++;
        }
    }
}

static void decode_status(struct decoder *decoder, const struct json_node *status)
{
    const struct json_view *view = decoder->view;
    struct ipam_range *range = decoder->range;
    size_t length = 0;
    const char *raw = status == NULL ? "" : json_view_raw(view, status, &length);
    range->status = strndup(raw, length);
    if (range->status == NULL)
        decoder->out_of_memory = true;
    if (!json_view_int64(view, json_view_member(view, status, "epoch"), &range->epoch) ||
        range->epoch < 0)
        range->epoch = 0;
    decode_pending(decoder, json_view_member(view, status, "pending"));
    decode_round_robin(decoder, json_view_member(view, status, "roundRobin"));
}

int ipam_range_decode(const struct json_view *view, const struct json_node *object,
                      const char *namespace_name, struct field_errors *errors,
                      struct ipam_range **ret_range, struct error *error)
{
    _cleanup_ipam_range_ struct ipam_range *range = calloc(1, sizeof(*range));
    if (range == NULL)
        return error_no_memory(error);
    struct decoder decoder = {.view = view, .range = range, .errors = errors};
    const struct json_node *spec = json_view_member(view, object, "spec");
    int result = object_meta_decode(view, object, namespace_name, &range->meta, error);
    if (result == 0)
        result = object_meta_require_name(&range->meta, error);
    if (result < 0)
        return result;
    range->has_finalizer = object_meta_has_finalizer(view, object, IPAM_RANGE_FINALIZER);
    decode_mode(&decoder, json_view_member(view, spec, "mode"));
    decode_ranges(&decoder, json_view_member(view, spec, "ranges"));
    if (!decoder.out_of_memory)
        decode_default_size(&decoder, json_view_member(view, spec, "defaultPrefixLength"));
    decode_status(&decoder, json_view_member(view, object, "status"));
    if (decoder.out_of_memory)
        return error_no_memory(error);
    if (range->invalid != NULL) {
        ranges_free(range->ranges);
        range->ranges = NULL;
    }
    *ret_range = range;
    range = NULL;
    return 0;
}

int ipam_range_decode_text(const char *text, size_t length, struct ipam_range **ret_range,
                           struct error *error)
{
    struct json_view view;
    json_view_init(&view);
    int result = json_view_parse(&view, text, length, JSON_VIEW_DEPTH, error);
    if (result == 0)
        result = ipam_range_decode(&view, json_view_root(&view), NULL, NULL, ret_range, error);
    json_view_clear(&view);
    return result;
}

void ipam_range_free(struct ipam_range *range)
{
    if (range == NULL)
        return;
    object_meta_clear(&range->meta);
    ranges_free(range->ranges);
    free(range->invalid);
    for (size_t i = 0; i < range->pending_count; i++) {
        free(range->pending[i].key);
        free(range->pending[i].uid);
    }
    free(range->pending);
    free(range->round_robin);
    free(range->status);
    free(range);
}

bool ipam_range_is_usable(const struct ipam_range *range)
{
    return range->invalid == NULL && !range->meta.deleting;
}

const char *ipam_range_reason(const struct ipam_range *range, char *ret_message, size_t size)
{
    ret_message[0] = '\0';
    if (range->meta.deleting) {
        snprintf(ret_message, size, "gives nothing more and goes with the last request for it");
        return "Deleting";
    }
    if (range->invalid != NULL) {
        snprintf(ret_message, size, "%s", range->invalid);
        return "Invalid";
    }
    return "Serving";
}

const struct ipam_pending *ipam_range_find_pending(const struct ipam_range *range, const char *key,
                                                   const char *uid)
{
    for (size_t i = 0; i < range->pending_count; i++)
        if (strcmp(range->pending[i].key, key) == 0 && strcmp(range->pending[i].uid, uid) == 0)
            return &range->pending[i];
    return NULL;
}
