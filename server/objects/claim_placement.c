/* Decoding and encoding of where an address lives. */
#include "server/objects/claim_placement.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static const char *const names[] = {
    [CLAIM_ANNOUNCE_NONE] = "",
    [CLAIM_ANNOUNCE_LAYER2] = "Layer2",
    [CLAIM_ANNOUNCE_ALL_NODES] = "AllNodes",
};

const char *claim_announce_name(enum claim_announce announce)
{
    return names[announce];
}

void claim_placement_init(struct claim_placement *placement)
{
    *placement = (struct claim_placement){.node = "", .standby = "", .link = ""};
}

void claim_placement_clear(struct claim_placement *placement)
{
    free(placement->nodes);
    free(placement->memory);
    claim_placement_init(placement);
}

static size_t text_size(const char *text)
{
    return text != NULL && *text != '\0' ? strlen(text) + 1 : 0;
}

/* Puts the text at the end of what has been put before. */
static const char *place(char **at, const char *text)
{
    size_t size = text_size(text);
    if (size == 0)
        return "";
    char *copy = memcpy(*at, text, size);
    *at += size;
    return copy;
}

static int compare(const void *left, const void *right)
{
    return strcmp(*(const char *const *)left, *(const char *const *)right);
}

/* Sorts the names and takes out what is there twice or is none. */
static void sort_nodes(struct claim_placement *placement)
{
    size_t count = 0;
    if (placement->nodes == NULL)
        return;
    qsort(placement->nodes, placement->node_count, sizeof(*placement->nodes), compare);
    for (size_t i = 0; i < placement->node_count; i++)
        if (*placement->nodes[i] != '\0' &&
            (count == 0 || strcmp(placement->nodes[i], placement->nodes[count - 1]) != 0))
            placement->nodes[count++] = placement->nodes[i];
    placement->node_count = count;
}

int claim_placement_make(const struct claim_placement_parts *parts,
                         struct claim_placement *ret_placement)
{
    size_t size = text_size(parts->node) + text_size(parts->standby) + text_size(parts->link);
    claim_placement_init(ret_placement);
    for (size_t i = 0; i < parts->node_count; i++)
        size += text_size(parts->nodes[i]);
    ret_placement->announce = (uint8_t)parts->announce;
    if (size == 0)
        return 0;
    char *at = malloc(size);
    const char **nodes = parts->node_count > 0 ? calloc(parts->node_count, sizeof(*nodes)) : NULL;
    if (at == NULL || (parts->node_count > 0 && nodes == NULL)) {
        free(at);
        free(nodes);
        claim_placement_init(ret_placement);
        return -ENOMEM;
    }
    ret_placement->memory = at;
    ret_placement->nodes = nodes;
    ret_placement->node = place(&at, parts->node);
    ret_placement->standby = place(&at, parts->standby);
    ret_placement->link = place(&at, parts->link);
    for (size_t i = 0; i < parts->node_count; i++)
        ret_placement->nodes[ret_placement->node_count++] = place(&at, parts->nodes[i]);
    sort_nodes(ret_placement);
    return 0;
}

/* The text of a member, to free(). NULL when it is absent, no string, or when out of memory, which
 * sets *failed. */
static char *copy_member(const struct json_view *view, const struct json_node *spec,
                         const char *name, bool *failed)
{
    const struct json_node *node = json_view_member(view, spec, name);
    if (!json_view_is_string(node))
        return NULL;
    char *text = json_view_copy(view, node);
    *failed = *failed || text == NULL;
    return text;
}

static enum claim_announce decode_announce(const struct json_view *view,
                                           const struct json_node *spec, const char *node)
{
    const struct json_node *announce = json_view_member(view, spec, "announce");
    if (json_view_equals(view, announce, names[CLAIM_ANNOUNCE_ALL_NODES]))
        return CLAIM_ANNOUNCE_ALL_NODES;
    return text_size(node) > 0 ? CLAIM_ANNOUNCE_LAYER2 : CLAIM_ANNOUNCE_NONE;
}

/* Copies of the names, each to free(); NULL when there are none, or for want of memory. */
static char **copy_nodes(const struct json_view *view, const struct json_node *list,
                         size_t *ret_count, bool *failed)
{
    size_t most = json_view_is_array(list) ? json_view_count(list) : 0;
    most = most < CLAIM_NODES_MOST ? most : CLAIM_NODES_MOST;
    char **nodes = most > 0 ? calloc(most, sizeof(*nodes)) : NULL;
    *ret_count = 0;
    *failed = *failed || (most > 0 && nodes == NULL);
    if (nodes == NULL)
        return NULL;
    for (const struct json_node *item = json_view_first(view, list);
         item != NULL && *ret_count < most; item = json_view_after(view, list, item)) {
        if (!json_view_is_string(item))
            continue;
        nodes[*ret_count] = json_view_copy(view, item);
        if (nodes[*ret_count] == NULL)
            *failed = true;
        else
            ++*ret_count;
    }
    return nodes;
}

int claim_placement_decode(const struct json_view *view, const struct json_node *spec,
                           struct claim_placement *ret_placement)
{
    bool failed = false;
    size_t count;
    char *node = copy_member(view, spec, "nodeName", &failed);
    char *standby = copy_member(view, spec, "standbyNode", &failed);
    char *link = copy_member(view, spec, "link", &failed);
    char **nodes = copy_nodes(view, json_view_member(view, spec, "nodeNames"), &count, &failed);
    struct claim_placement_parts parts = {
        .announce = decode_announce(view, spec, node),
        .node = node,
        .standby = standby,
        .link = link,
        .nodes = (const char *const *)nodes,
        .node_count = count,
    };
    claim_placement_init(ret_placement);
    int result = failed ? -ENOMEM : claim_placement_make(&parts, ret_placement);
    for (size_t i = 0; i < count; i++)
        free(nodes[i]);
    free(nodes);
    free(node);
    free(standby);
    free(link);
    return result;
}

int claim_placement_copy(const struct claim_placement *placement, struct claim_placement *ret_copy)
{
    struct claim_placement_parts parts = {
        .announce = (enum claim_announce)placement->announce,
        .node = placement->node,
        .standby = placement->standby,
        .link = placement->link,
        .nodes = placement->nodes,
        .node_count = placement->node_count,
    };
    return claim_placement_make(&parts, ret_copy);
}

static bool texts_equal(const char *left, const char *right)
{
    return strcmp(left != NULL ? left : "", right != NULL ? right : "") == 0;
}

bool claim_placement_equal(const struct claim_placement *left, const struct claim_placement *right)
{
    bool equal = left->announce == right->announce && texts_equal(left->node, right->node) &&
                 texts_equal(left->standby, right->standby) &&
                 texts_equal(left->link, right->link) && left->node_count == right->node_count;
    for (size_t i = 0; i < left->node_count && equal; i++)
        equal = strcmp(left->nodes[i], right->nodes[i]) == 0;
    return equal;
}

bool claim_placement_is_none(const struct claim_placement *placement)
{
    return placement->announce == CLAIM_ANNOUNCE_NONE && text_size(placement->node) == 0;
}

bool claim_placement_names(const struct claim_placement *placement, const char *node)
{
    if (text_size(placement->node) > 0 && strcmp(placement->node, node) == 0)
        return true;
    for (size_t i = 0; i < placement->node_count; i++)
        if (strcmp(placement->nodes[i], node) == 0)
            return true;
    return false;
}

static void write_text(struct json_writer *writer, const char *name, const char *text,
                       enum claim_placement_absent absent)
{
    if (text_size(text) > 0)
        json_member_string(writer, name, text);
    else if (absent == CLAIM_PLACEMENT_TAKE_OUT)
        json_member_null(writer, name);
}

void claim_placement_write(struct json_writer *writer, const struct claim_placement *placement,
                           enum claim_placement_absent absent)
{
    write_text(writer, "announce", names[placement->announce], absent);
    write_text(writer, "nodeName", placement->node, absent);
    write_text(writer, "standbyNode", placement->standby, absent);
    write_text(writer, "link", placement->link, absent);
    if (placement->node_count == 0) {
        write_text(writer, "nodeNames", NULL, absent);
        return;
    }
    json_member_array(writer, "nodeNames");
    for (size_t i = 0; i < placement->node_count; i++)
        json_put_string(writer, placement->nodes[i]);
    json_end_array(writer);
}
