/* The record in memory: two maps whose entries own their keys; and as text, a line for each. */
#include "netlink/agent_record.h"

#include "netlink/frame.h"
#include "server/base/buffer.h"
#include "server/base/map.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define FIRST_LINE "ipwarden agent 1"
#define NAME_SIZE 254 /* of a node: a DNS subdomain, with NUL */

struct entry {
    char link[LINKS_NAME_SIZE];
    struct address address;
    char key[LINKS_NAME_SIZE + ADDRESS_TEXT_SIZE]; /* "eth0 192.0.2.10" */
};

struct known_node {
    size_t count;
    uint8_t macs[AGENT_RECORD_NODE_MACS][AGENT_MAC_SIZE];
    char name[NAME_SIZE];
};

struct agent_record {
    char *file;
    char *boot;
    struct map *entries;
    struct map *nodes;
    bool changed;
};

int agent_record_new(const char *file, const char *boot, struct agent_record **ret_record,
                     struct error *error)
{
    struct agent_record *record = calloc(1, sizeof(*record));
    if (record == NULL)
        return error_no_memory(error);
    record->entries = map_new();
    record->nodes = map_new();
    record->boot = strdup(boot);
    record->file = file != NULL ? strdup(file) : NULL;
    if (record->entries == NULL || record->nodes == NULL || record->boot == NULL ||
        (file != NULL && record->file == NULL)) {
        agent_record_free(record);
        return error_no_memory(error);
    }
    *ret_record = record;
    return 0;
}

static void clear(struct map *map)
{
    size_t at = 0;
    void *value;
    while (map != NULL && (value = map_next(map, &at)) != NULL)
        free(value);
    map_free(map);
}

void agent_record_free(struct agent_record *record)
{
    if (record == NULL)
        return;
    clear(record->entries);
    clear(record->nodes);
    free(record->file);
    free(record->boot);
    free(record);
}

/* --- addresses --- */

static void make_key(const char *link, const struct address *address, char *ret_key, size_t size)
{
    char text[ADDRESS_TEXT_SIZE];
    address_format(address, text);
    (void)snprintf(ret_key, size, "%s %s", link, text);
}

bool agent_record_has(const struct agent_record *record, const char *link,
                      const struct address *address)
{
    char key[LINKS_NAME_SIZE + ADDRESS_TEXT_SIZE];
    make_key(link, address, key, sizeof(key));
    return map_get_string(record->entries, key) != NULL;
}

int agent_record_add(struct agent_record *record, const char *link, const struct address *address,
                     struct error *error)
{
    struct entry *entry = calloc(1, sizeof(*entry));
    if (entry == NULL)
        return error_no_memory(error);
    (void)snprintf(entry->link, sizeof(entry->link), "%s", link);
    entry->address = *address;
    make_key(entry->link, address, entry->key, sizeof(entry->key));
    if (map_get_string(record->entries, entry->key) != NULL) {
        free(entry);
        return 0;
    }
    if (map_put_string(record->entries, entry->key, entry, NULL) != 0) {
        free(entry);
        return error_no_memory(error);
    }
    record->changed = true;
    return 0;
}

void agent_record_remove(struct agent_record *record, const char *link,
                         const struct address *address)
{
    char key[LINKS_NAME_SIZE + ADDRESS_TEXT_SIZE];
    make_key(link, address, key, sizeof(key));
    struct entry *entry = map_remove_string(record->entries, key);
    if (entry != NULL)
        record->changed = true;
    free(entry);
}

size_t agent_record_count(const struct agent_record *record)
{
    return map_count(record->entries);
}

/* --- nodes --- */

static bool is_name(const char *name)
{
    size_t length = strlen(name);
    if (length == 0 || length >= NAME_SIZE)
        return false;
    for (const char *at = name; *at != '\0'; at++) {
        if (*at <= ' ' || *at > '~')
            return false;
    }
    return true;
}

int agent_record_node(struct agent_record *record, const char *name,
                      const uint8_t (*macs)[AGENT_MAC_SIZE], size_t count, struct error *error)
{
    if (!is_name(name))
        return error_set(error, -EINVAL, "no name of a node");
    if (count > AGENT_RECORD_NODE_MACS)
        count = AGENT_RECORD_NODE_MACS;
    struct known_node *old = map_get_string(record->nodes, name);
    if (count == 0) {
        if (old != NULL) {
            map_remove_string(record->nodes, name);
            free(old);
            record->changed = true;
        }
        return 0;
    }
    if (old != NULL && old->count == count && memcmp(old->macs, macs, count * AGENT_MAC_SIZE) == 0)
        return 0;
    if (old == NULL) {
        if (map_count(record->nodes) >= AGENT_RECORD_NODES)
            return error_set(error, -ENOSPC, "too many nodes");
        old = calloc(1, sizeof(*old));
        if (old == NULL)
            return error_no_memory(error);
        (void)snprintf(old->name, sizeof(old->name), "%s", name);
        if (map_put_string(record->nodes, old->name, old, NULL) != 0) {
            free(old);
            return error_no_memory(error);
        }
    }
    memcpy(old->macs, macs, count * AGENT_MAC_SIZE);
    old->count = count;
    record->changed = true;
    return 0;
}

void agent_record_nodes(const struct agent_record *record,
                        void (*told)(void *context, const struct agent_neighbour *node),
                        void *context)
{
    size_t at = 0;
    const struct known_node *node;
    while ((node = map_next(record->nodes, &at)) != NULL) {
        const struct agent_neighbour neighbour = {
            .name = node->name, .macs = node->macs, .mac_count = node->count};
        told(context, &neighbour);
    }
}

/* --- text --- */

char *agent_record_format(const struct agent_record *record, size_t *ret_length)
{
    struct buffer text;
    buffer_init(&text, AGENT_RECORD_MAXIMUM);
    buffer_printf(&text, "%s\nboot %s\n", FIRST_LINE, record->boot);
    size_t at = 0;
    const struct entry *entry;
    while ((entry = map_next(record->entries, &at)) != NULL) {
        char address[ADDRESS_TEXT_SIZE];
        address_format(&entry->address, address);
        buffer_printf(&text, "address %s %s\n", address, entry->link);
    }
    at = 0;
    const struct known_node *node;
    while ((node = map_next(record->nodes, &at)) != NULL) {
        buffer_printf(&text, "node %s", node->name);
        for (size_t i = 0; i < node->count; i++) {
            char mac[FRAME_MAC_TEXT_SIZE];
            frame_mac_format(node->macs[i], mac);
            buffer_printf(&text, " %s", mac);
        }
        buffer_append_char(&text, '\n');
    }
    char *result = buffer_steal(&text, ret_length);
    buffer_clear(&text);
    return result;
}

static bool is_link_name(const char *name)
{
    size_t length = strlen(name);
    return length > 0 && length < LINKS_NAME_SIZE && strchr(name, '/') == NULL;
}

/* "192.0.2.10 eth0" */
static int parse_address(struct agent_record *record, char *line, struct error *error)
{
    struct address address;
    char *link = strchr(line, ' ');
    if (link == NULL || address_parse_written(line, (size_t)(link - line), &address) != 0 ||
        !is_link_name(link + 1) || strchr(link + 1, ' ') != NULL)
        return error_set(error, -EBADMSG, "not an address and a link");
    return agent_record_add(record, link + 1, &address, error);
}

/* "worker-2 02:00:00:00:00:02" */
static int parse_node(struct agent_record *record, char *line, struct error *error)
{
    uint8_t macs[AGENT_RECORD_NODE_MACS][AGENT_MAC_SIZE];
    size_t count = 0;
    char *rest = NULL;
    const char *name = strtok_r(line, " ", &rest);
    if (name == NULL || !is_name(name))
        return error_set(error, -EBADMSG, "not a node");
    const char *mac;
    while ((mac = strtok_r(NULL, " ", &rest)) != NULL) {
        if (count == AGENT_RECORD_NODE_MACS || frame_mac_parse(mac, macs[count]) != 0)
            return error_set(error, -EBADMSG, "not the MACs of a node");
        count++;
    }
    return agent_record_node(record, name, macs, count, error);
}

static int parse_lines(struct agent_record *record, char *text, struct error *error)
{
    bool same_boot = false;
    char *rest = NULL;
    const char *first = strtok_r(text, "\n", &rest);
    if (first == NULL || strcmp(first, FIRST_LINE) != 0)
        return error_set(error, -EBADMSG, "doesn't begin with \"" FIRST_LINE "\"");
    char *line;
    while ((line = strtok_r(NULL, "\n", &rest)) != NULL) {
        int result = 0;
        if (strncmp(line, "boot ", 5) == 0)
            same_boot = strcmp(line + 5, record->boot) == 0;
        else if (strncmp(line, "address ", 8) == 0)
            result = same_boot ? parse_address(record, line + 8, error) : 0;
        else if (strncmp(line, "node ", 5) == 0)
            result = parse_node(record, line + 5, error);
        else
            result = error_set(error, -EBADMSG, "an unknown line");
        if (result != 0)
            return result;
    }
    return 0;
}

static void forget(struct agent_record *record)
{
    size_t at = 0;
    struct entry *entry;
    while ((entry = map_next(record->entries, &at)) != NULL) {
        map_remove_string(record->entries, entry->key);
        free(entry);
    }
    at = 0;
    struct known_node *node;
    while ((node = map_next(record->nodes, &at)) != NULL) {
        map_remove_string(record->nodes, node->name);
        free(node);
    }
}

int agent_record_parse(struct agent_record *record, const char *text, size_t length,
                       struct error *error)
{
    if (length > AGENT_RECORD_MAXIMUM || memchr(text, '\0', length) != NULL)
        return error_set(error, -EBADMSG, "not a text of a reasonable length");
    char *copy = strndup(text, length);
    if (copy == NULL)
        return error_no_memory(error);
    int result = parse_lines(record, copy, error);
    free(copy);
    if (result != 0)
        forget(record);
    return result;
}

int agent_record_load(struct agent_record *record, struct error *error)
{
    if (record->file == NULL)
        return 0;
    FILE *file = fopen(record->file, "re");
    if (file == NULL)
        return errno == ENOENT ? 0
                               : error_set(error, -errno, "%s: %s", record->file, strerror(errno));
    struct buffer text;
    buffer_init(&text, AGENT_RECORD_MAXIMUM);
    char part[4096];
    size_t length;
    while ((length = fread(part, 1, sizeof(part), file)) > 0)
        buffer_append(&text, part, length);
    int result = 0;
    if (ferror(file) || buffer_failed(&text))
        result = error_set(error, -EIO, "can't be read");
    (void)fclose(file);
    if (result == 0)
        result = agent_record_parse(record, text.data != NULL ? text.data : "", text.length, error);
    if (result != 0)
        error_prefix(error, "%s", record->file);
    buffer_clear(&text);
    record->changed = false;
    return result;
}

static int write_file(const char *path, const char *text, size_t length)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        return -errno;
    int result = 0;
    while (length > 0) {
        ssize_t written = write(fd, text, length);
        if (written < 0 && errno == EINTR)
            continue;
        if (written < 0) {
            result = -errno;
            break;
        }
        text += written;
        length -= (size_t)written;
    }
    if (close(fd) != 0 && result == 0)
        result = -errno;
    return result;
}

int agent_record_save(struct agent_record *record, struct error *error)
{
    if (record->file == NULL || !record->changed)
        return 0;
    size_t length = 0;
    char *text = agent_record_format(record, &length);
    char *fresh = NULL;
    if (text == NULL || asprintf(&fresh, "%s.new", record->file) < 0) {
        free(text);
        return error_no_memory(error);
    }
    /* Without fsync: what is lost when the machine goes down, its addresses are lost as well. */
    int result = write_file(fresh, text, length);
    if (result == 0 && rename(fresh, record->file) != 0)
        result = -errno;
    if (result == 0)
        record->changed = false;
    else
        (void)error_set(error, result, "%s: %s", fresh, strerror(-result));
    free(fresh);
    free(text);
    return result;
}
