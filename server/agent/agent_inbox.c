/* A list of messages under a mutex. A message and all its texts are one allocation. */
#include "server/agent/agent_inbox.h"

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

struct agent_inbox {
    struct k8s_client *client;
    const struct agent_inbox_reader *reader;
    void *context;
    struct mutex mutex;
    struct message *first;
    struct message **end;
    bool asked; /* the api thread has been asked to look */
    _Atomic size_t pending;
    _Atomic size_t lost;
};

struct agent_inbox *agent_inbox_new(struct k8s_client *client,
                                    const struct agent_inbox_reader *reader, void *context)
{
    struct agent_inbox *inbox = calloc(1, sizeof(*inbox));
    if (inbox == NULL)
        return NULL;
    inbox->client = client;
    inbox->reader = reader;
    inbox->context = context;
    inbox->end = &inbox->first;
    mutex_init(&inbox->mutex);
    return inbox;
}

static void message_free(struct message *message)
{
    free(message->links);
    free(message);
}

void agent_inbox_free(struct agent_inbox *inbox)
{
    if (inbox == NULL)
        return;
    while (inbox->first != NULL) {
        struct message *message = inbox->first;
        inbox->first = message->next;
        message_free(message);
    }
    mutex_destroy(&inbox->mutex);
    free(inbox);
}

size_t agent_inbox_pending(const struct agent_inbox *inbox)
{
    return atomic_load(&inbox->pending);
}

size_t agent_inbox_lost(const struct agent_inbox *inbox)
{
    return atomic_load(&inbox->lost);
}

/* --- reading --- */

static void hand_on(const struct agent_inbox *inbox, const struct message *message)
{
    const struct agent_inbox_reader *reader = inbox->reader;
    switch (message->kind) {
    case REPORT:
        reader->report(inbox->context, &message->report);
        break;
    case TAKEN_OVER:
        reader->taken_over(inbox->context, message->name, message->other);
        break;
    case WANTED:
        reader->neighbour_wanted(inbox->context, message->name);
        break;
    case HEARD:
        reader->neighbour_heard(inbox->context, message->name, message->answers, message->ever);
        break;
    case LINKS:
        reader->links_changed(inbox->context, message->links, message->link_count);
        break;
    }
}

static void drain(void *context)
{
    struct agent_inbox *inbox = context;
    mutex_lock(&inbox->mutex);
    struct message *message = inbox->first;
    inbox->first = NULL;
    inbox->end = &inbox->first;
    inbox->asked = false;
    mutex_unlock(&inbox->mutex);
    while (message != NULL) {
        struct message *next = message->next;
        hand_on(inbox, message);
        message_free(message);
        atomic_fetch_sub(&inbox->pending, 1);
        message = next;
    }
}

/* --- writing --- */

/* Has the api thread look at what is there. When that fails the client is closing, or the next
 * message brings this one along. */
static void ask(struct agent_inbox *inbox)
{
    if (k8s_after(inbox->client, 0, drain, inbox) == 0)
        return;
    mutex_guard(&inbox->mutex);
    inbox->asked = false;
}

/* message may be NULL: there was no memory for it. */
static void put(struct agent_inbox *inbox, struct message *message)
{
    if (message == NULL) {
        atomic_fetch_add(&inbox->lost, 1);
        return;
    }
    mutex_lock(&inbox->mutex);
    atomic_fetch_add(&inbox->pending, 1);
    *inbox->end = message;
    inbox->end = &message->next;
    bool asked = inbox->asked;
    inbox->asked = true;
    mutex_unlock(&inbox->mutex);
    if (!asked)
        ask(inbox);
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
    struct agent_inbox *inbox = context;
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
    put(inbox, message);
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

const struct agent_upcalls agent_inbox_upcalls = {
    .report = put_report,
    .taken_over = put_taken_over,
    .neighbour_wanted = put_wanted,
    .neighbour_heard = put_heard,
    .links_changed = put_links,
};
