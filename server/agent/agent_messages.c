/* A list of messages under a mutex. A message and all its texts are one allocation. */
#include "server/agent/agent_messages.h"

#include "server/base/mutex.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

enum kind { REPORT, TAKEN_OVER, WANTED, HEARD, LINKS };

struct message {
    struct message *next;
    enum kind kind;
    struct agent_report report;
    struct address address;
    uint8_t mac[AGENT_MAC_SIZE];
    const char *name;  /* of a claim or a node */
    const char *other; /* of another node */
    bool answers;
    bool ever;
    struct agent_link *links; /* with what they point to, a block of its own */
    size_t link_count;
    char texts[];
};

struct agent_messages {
    struct k8s_client *client;
    const struct agent_messages_reader *reader;
    void *context;
    struct mutex mutex;
    struct message *first;
    struct message **end;
    bool asked; /* the api thread has been asked to look */
    _Atomic size_t pending;
    _Atomic size_t lost;
};

struct agent_messages *agent_messages_new(struct k8s_client *client,
                                          const struct agent_messages_reader *reader, void *context)
{
    struct agent_messages *messages = calloc(1, sizeof(*messages));
    if (messages == NULL)
        return NULL;
    messages->client = client;
    messages->reader = reader;
    messages->context = context;
    messages->end = &messages->first;
    mutex_init(&messages->mutex);
    return messages;
}

static void message_free(struct message *message)
{
    free(message->links);
    free(message);
}

void agent_messages_free(struct agent_messages *messages)
{
    if (messages == NULL)
        return;
    while (messages->first != NULL) {
        struct message *message = messages->first;
        messages->first = message->next;
        message_free(message);
    }
    mutex_destroy(&messages->mutex);
    free(messages);
}

size_t agent_messages_pending(const struct agent_messages *messages)
{
    return atomic_load(&messages->pending);
}

size_t agent_messages_lost(const struct agent_messages *messages)
{
    return atomic_load(&messages->lost);
}

/* --- reading --- */

static void hand_on(const struct agent_messages *messages, const struct message *message)
{
    const struct agent_messages_reader *reader = messages->reader;
    switch (message->kind) {
    case REPORT:
        reader->report(messages->context, &message->report);
        break;
    case TAKEN_OVER:
        reader->taken_over(messages->context, message->name, message->other);
        break;
    case WANTED:
        reader->neighbour_wanted(messages->context, message->name);
        break;
    case HEARD:
        reader->neighbour_heard(messages->context, message->name, message->answers, message->ever);
        break;
    case LINKS:
        reader->links_changed(messages->context, message->links, message->link_count);
        break;
    }
}

static void drain(void *context)
{
    struct agent_messages *messages = context;
    mutex_lock(&messages->mutex);
    struct message *message = messages->first;
    messages->first = NULL;
    messages->end = &messages->first;
    messages->asked = false;
    mutex_unlock(&messages->mutex);
    while (message != NULL) {
        struct message *next = message->next;
        hand_on(messages, message);
        message_free(message);
        atomic_fetch_sub(&messages->pending, 1);
        message = next;
    }
}

/* --- writing --- */

/* Has the api thread look at what is there. When that fails the client is closing, or the next
 * message brings this one along. */
static void ask(struct agent_messages *messages)
{
    if (k8s_after(messages->client, 0, drain, messages) == 0)
        return;
    mutex_guard(&messages->mutex);
    messages->asked = false;
}

/* message may be NULL: there was no memory for it. */
static void put(struct agent_messages *messages, struct message *message)
{
    if (message == NULL) {
        atomic_fetch_add(&messages->lost, 1);
        return;
    }
    mutex_lock(&messages->mutex);
    atomic_fetch_add(&messages->pending, 1);
    *messages->end = message;
    messages->end = &message->next;
    bool asked = messages->asked;
    messages->asked = true;
    mutex_unlock(&messages->mutex);
    if (!asked)
        ask(messages);
}

static struct message *message_new(enum kind kind, const char *name, const char *other)
{
    size_t size = strlen(name) + 1;
    size_t other_size = strlen(other) + 1;
    struct message *message = calloc(1, sizeof(*message) + size + other_size);
    if (message == NULL)
        return NULL;
    message->kind = kind;
    message->name = memcpy(message->texts, name, size);
    message->other = memcpy(message->texts + size, other, other_size);
    return message;
}

static void put_report(void *context, const struct agent_report *report)
{
    struct agent_messages *messages = context;
    struct message *message =
        message_new(REPORT, report->claim, report->link != NULL ? report->link : "");
    if (message != NULL) {
        message->report = *report;
        message->report.claim = message->name;
        message->report.link = message->other;
        message->report.address = &message->address;
        if (report->address != NULL)
            message->address = *report->address;
        if (report->mac != NULL)
            message->report.mac = memcpy(message->mac, report->mac, sizeof(message->mac));
    }
    put(messages, message);
}

static void put_taken_over(void *context, const char *claim, const char *from_node)
{
    put(context, message_new(TAKEN_OVER, claim, from_node));
}

static void put_wanted(void *context, const char *name)
{
    put(context, message_new(WANTED, name, ""));
}

static void put_heard(void *context, const char *name, bool answers, bool ever)
{
    struct message *message = message_new(HEARD, name, "");
    if (message != NULL) {
        message->answers = answers;
        message->ever = ever;
    }
    put(context, message);
}

/* Copies what a link points to behind *at. */
static void copy_link(struct agent_link *ret_link, const struct agent_link *link, char **at)
{
    size_t addresses = link->address_count * sizeof(*link->addresses);
    size_t ours = link->address_count * sizeof(*link->ours);
    size_t name = strlen(link->name) + 1;
    *ret_link = *link;
    if (link->address_count > 0) {
        ret_link->addresses = memcpy(*at, link->addresses, addresses);
        *at += addresses;
    }
    if (link->ours != NULL && ours > 0)
        ret_link->ours = memcpy(*at, link->ours, ours);
    *at += ours;
    ret_link->name = memcpy(*at, link->name, name);
    *at += name;
    /* The next link's addresses are aligned as these were. */
    *at += -(uintptr_t)*at % _Alignof(max_align_t);
}

static struct agent_link *copy_links(const struct agent_link *links, size_t count)
{
    size_t size = count * sizeof(*links);
    size += -size % _Alignof(max_align_t);
    size_t head = size;
    for (size_t i = 0; i < count; i++)
        size += links[i].address_count * (sizeof(*links->addresses) + sizeof(*links->ours)) +
                strlen(links[i].name) + 1 + _Alignof(max_align_t);
    char *block = malloc(size > 0 ? size : 1);
    if (block == NULL)
        return NULL;
    struct agent_link *copies = (struct agent_link *)block;
    char *at = block + head;
    for (size_t i = 0; i < count; i++)
        copy_link(&copies[i], &links[i], &at);
    return copies;
}

static void put_links(void *context, const struct agent_link *links, size_t count)
{
    struct message *message = message_new(LINKS, "", "");
    if (message != NULL && (message->links = copy_links(links, count)) == NULL) {
        message_free(message);
        message = NULL;
    }
    if (message != NULL)
        message->link_count = count;
    put(context, message);
}

const struct agent_upcalls agent_messages_upcalls = {
    .report = put_report,
    .taken_over = put_taken_over,
    .neighbour_wanted = put_wanted,
    .neighbour_heard = put_heard,
    .links_changed = put_links,
};
