/* Decoding of IpNodes. */
#include "server/objects/ip_node.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void links_free(struct ip_node_link *links, size_t count)
{
    for (size_t i = 0; i < count; i++)
        free(links[i].addresses);
    free(links);
}

void ip_node_free(struct ip_node *node)
{
    if (node == NULL)
        return;
    object_meta_clear(&node->meta);
    free(node->addresses);
    links_free(node->links, node->link_count);
    free(node->status);
    free(node);
}

static size_t count_listed(const struct json_node *list)
{
    size_t count = json_view_is_array(list) ? json_view_count(list) : 0;
    return count < IP_NODE_LISTED_MOST ? count : IP_NODE_LISTED_MOST;
}

static int decode_addresses(const struct json_view *view, const struct json_node *list,
                            struct ip_node *node)
{
    size_t most = count_listed(list);
    if (most == 0)
        return 0;
    node->addresses = calloc(most, sizeof(*node->addresses));
    if (node->addresses == NULL)
        return -ENOMEM;
    for (const struct json_node *item = json_view_first(view, list);
         item != NULL && node->address_count < most; item = json_view_after(view, list, item)) {
        char text[ADDRESS_TEXT_SIZE];
        if (json_view_text(view, item, text, sizeof(text)) > 0 &&
            address_parse(text, &node->addresses[node->address_count], NULL) == 0)
            node->address_count++;
    }
    return 0;
}

/* "192.0.2.10/24". */
static bool parse_link_address(const char *text, struct ip_node_address *ret_address)
{
    size_t length = strcspn(text, "/");
    char *end;
    if (text[length] != '/' || text[length + 1] < '0' || text[length + 1] > '9' ||
        address_parse_bytes(text, length, &ret_address->address, NULL) < 0)
        return false;
    unsigned long prefix = strtoul(text + length + 1, &end, 10);
    if (*end != '\0' || prefix > address_bits(ret_address->address.family))
        return false;
    ret_address->prefix_length = (uint8_t)prefix;
    return true;
}

static int decode_link_addresses(const struct json_view *view, const struct json_node *list,
                                 struct ip_node_link *link)
{
    size_t most = count_listed(list);
    if (most == 0)
        return 0;
    link->addresses = calloc(most, sizeof(*link->addresses));
    if (link->addresses == NULL)
        return -ENOMEM;
    for (const struct json_node *item = json_view_first(view, list);
         item != NULL && link->address_count < most; item = json_view_after(view, list, item)) {
        char text[ADDRESS_TEXT_SIZE + 4];
        if (json_view_text(view, item, text, sizeof(text)) > 0 &&
            parse_link_address(text, &link->addresses[link->address_count]))
            link->address_count++;
    }
    return 0;
}

/* "52:54:00:12:34:56"; anything else counts as none. */
static void parse_mac(const char *text, uint8_t ret_mac[6])
{
    uint8_t mac[6];
    memset(ret_mac, 0, 6);
    for (size_t i = 0; i < 6; i++) {
        char pair[3] = {text[0], text[0] != '\0' ? text[1] : '\0', '\0'};
        if (strspn(pair, "0123456789abcdefABCDEF") != 2 || text[2] != (i < 5 ? ':' : '\0'))
            return;
        mac[i] = (uint8_t)strtoul(pair, NULL, 16);
        text += 3;
    }
    memcpy(ret_mac, mac, 6);
}

static int decode_links(const struct json_view *view, const struct json_node *list,
                        struct ip_node *node)
{
    size_t most = count_listed(list);
    if (most == 0)
        return 0;
    node->links = calloc(most, sizeof(*node->links));
    if (node->links == NULL)
        return -ENOMEM;
    for (const struct json_node *item = json_view_first(view, list);
         item != NULL && node->link_count < most; item = json_view_after(view, list, item)) {
        struct ip_node_link *link = &node->links[node->link_count];
        char mac[18];
        if (json_view_text(view, json_view_member(view, item, "name"), link->name,
                           sizeof(link->name)) <= 0)
            continue;
        node->link_count++;
        if (json_view_text(view, json_view_member(view, item, "mac"), mac, sizeof(mac)) > 0)
            parse_mac(mac, link->mac);
        link->up = json_view_bool(json_view_member(view, item, "up"));
        if (decode_link_addresses(view, json_view_member(view, item, "addresses"), link) < 0)
            return -ENOMEM;
    }
    return 0;
}

/* "2s" or "2500ms"; 0 for anything else, and for what is absurd. */
static int64_t parse_interval(const char *text)
{
    char *end;
    if (*text < '0' || *text > '9')
        return 0;
    errno = 0;
    long long value = strtoll(text, &end, 10);
    int64_t unit = strcmp(end, "ms") == 0  ? CLOCK_MILLISECOND
                   : strcmp(end, "s") == 0 ? CLOCK_SECOND
                                           : 0;
    int64_t most = 3600 * CLOCK_SECOND;
    return errno == 0 && unit > 0 && value <= most / unit ? value * unit : 0;
}

static uint8_t decode_condition(const struct json_view *view, const struct json_node *status,
                                const char *type)
{
    const struct json_node *list = json_view_member(view, status, "conditions");
    for (const struct json_node *item = json_view_first(view, list); item != NULL;
         item = json_view_after(view, list, item)) {
        const struct json_node *word = json_view_member(view, item, "status");
        if (json_view_equals(view, json_view_member(view, item, "type"), type))
            return json_view_equals(view, word, "True")    ? IP_NODE_YES
                   : json_view_equals(view, word, "False") ? IP_NODE_NO
                                                           : IP_NODE_UNKNOWN;
    }
    return IP_NODE_UNKNOWN;
}

static int decode_status(const struct json_view *view, const struct json_node *status,
                         struct ip_node *node)
{
    char interval[24];
    size_t length = 0;
    const char *raw = status == NULL ? "" : json_view_raw(view, status, &length);
    if (json_view_text(view, json_view_member(view, status, "revision"), node->revision,
                       sizeof(node->revision)) < 0)
        node->revision[0] = '\0';
    if (json_view_text(view, json_view_member(view, status, "heartbeatInterval"), interval,
                       sizeof(interval)) > 0)
        node->interval = parse_interval(interval);
    node->ready = decode_condition(view, status, IP_NODE_READY);
    node->alive = decode_condition(view, status, IP_NODE_ALIVE);
    node->status = strndup(raw, length);
    if (node->status == NULL ||
        decode_addresses(view, json_view_member(view, status, "addresses"), node) < 0)
        return -ENOMEM;
    return decode_links(view, json_view_member(view, status, "links"), node);
}

int ip_node_decode(const struct json_view *view, const struct json_node *object,
                   struct ip_node **ret_node, struct error *error)
{
    _cleanup_ip_node_ struct ip_node *node = calloc(1, sizeof(*node));
    if (node == NULL)
        return error_no_memory(error);
    int result = object_meta_decode(view, object, NULL, &node->meta, error);
    if (result == 0)
        result = object_meta_require_name(&node->meta, error);
    if (result < 0)
        return result;
    if (decode_status(view, json_view_member(view, object, "status"), node) < 0)
        return error_no_memory(error);
    *ret_node = node;
    node = NULL;
    return 0;
}

int ip_node_decode_text(const char *text, size_t length, struct ip_node **ret_node,
                        struct error *error)
{
    struct json_view view;
    json_view_init(&view);
    int result = json_view_parse(&view, text, length, JSON_VIEW_DEPTH, error);
    if (result == 0)
        result = ip_node_decode(&view, json_view_root(&view), ret_node, error);
    json_view_clear(&view);
    return result;
}

static bool links_equal(const struct ip_node_link *left, const struct ip_node_link *right)
{
    if (strcmp(left->name, right->name) != 0 || memcmp(left->mac, right->mac, 6) != 0 ||
        left->up != right->up || left->address_count != right->address_count)
        return false;
    for (size_t i = 0; i < left->address_count; i++)
        if (!address_equal(&left->addresses[i].address, &right->addresses[i].address) ||
            left->addresses[i].prefix_length != right->addresses[i].prefix_length)
            return false;
    return true;
}

bool ip_node_says_the_same(const struct ip_node *left, const struct ip_node *right)
{
    bool same = left->ready == right->ready && left->address_count == right->address_count &&
                left->link_count == right->link_count;
    for (size_t i = 0; same && i < left->address_count; i++)
        same = address_equal(&left->addresses[i], &right->addresses[i]);
    for (size_t i = 0; same && i < left->link_count; i++)
        same = links_equal(&left->links[i], &right->links[i]);
    return same;
}
