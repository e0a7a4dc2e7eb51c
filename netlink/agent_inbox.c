/* A list under a mutex; the loop takes it whole. Each call is one block of memory, with the texts
 * behind it. */
#include "netlink/agent_inbox.h"

#include "server/base/mutex.h"

#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

enum call_kind { CALL_SET, CALL_DROP, CALL_NEIGHBOUR };

struct call {
    struct call *next;
    enum call_kind kind;
    struct agent_wish wish; /* of CALL_DROP only the claim */
    struct agent_neighbour neighbour;
    char texts[];
};

struct agent_inbox {
    int fd;
    struct mutex mutex;
    struct call *first;
    struct call **last;
    bool replaced; /* after all that is in the list now */
    bool viewed;
    bool fresh;
};

int agent_inbox_new(struct agent_inbox **ret_inbox, struct error *error)
{
    struct agent_inbox *inbox = calloc(1, sizeof(*inbox));
    if (inbox == NULL)
        return error_no_memory(error);
    mutex_init(&inbox->mutex);
    inbox->last = &inbox->first;
    inbox->fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (inbox->fd < 0) {
        int code = -errno;
        agent_inbox_free(inbox);
        return error_set(error, code, "eventfd: %s", strerror(-code));
    }
    *ret_inbox = inbox;
    return 0;
}

static void free_calls(struct call *call)
{
    while (call != NULL) {
        struct call *next = call->next;
        free(call);
        call = next;
    }
}

void agent_inbox_free(struct agent_inbox *inbox)
{
    if (inbox == NULL)
        return;
    free_calls(inbox->first);
    if (inbox->fd >= 0)
        close(inbox->fd);
    mutex_destroy(&inbox->mutex);
    free(inbox);
}

int agent_inbox_fd(const struct agent_inbox *inbox)
{
    return inbox->fd;
}

void agent_inbox_wake(struct agent_inbox *inbox)
{
    (void)eventfd_write(inbox->fd, 1);
}

static void push(struct agent_inbox *inbox, struct call *call)
{
    mutex_lock(&inbox->mutex);
    *inbox->last = call;
    inbox->last = &call->next;
    mutex_unlock(&inbox->mutex);
    agent_inbox_wake(inbox);
}

static size_t size_of(const char *text)
{
    return text != NULL ? strlen(text) + 1 : 1;
}

/* Copies the text to *place, which moves on. */
static const char *put(char **place, const char *text)
{
    size_t size = size_of(text);
    char *copy = *place;
    memcpy(copy, text != NULL ? text : "", size);
    *place += size;
    return copy;
}

int agent_inbox_set(struct agent_inbox *inbox, const struct agent_wish *wish, struct error *error)
{
    size_t size = size_of(wish->claim) + size_of(wish->link) + size_of(wish->holder) +
                  size_of(wish->standby) + size_of(wish->bound_node);
    struct call *call = calloc(1, sizeof(*call) + size);
    if (call == NULL)
        return error_no_memory(error);
    char *place = call->texts;
    call->kind = CALL_SET;
    call->wish = *wish;
    call->wish.claim = put(&place, wish->claim);
    call->wish.link = put(&place, wish->link);
    call->wish.holder = put(&place, wish->holder);
    call->wish.standby = put(&place, wish->standby);
    call->wish.bound_node = put(&place, wish->bound_node);
    push(inbox, call);
    return 0;
}

int agent_inbox_drop(struct agent_inbox *inbox, const char *claim, struct error *error)
{
    struct call *call = calloc(1, sizeof(*call) + size_of(claim));
    if (call == NULL)
        return error_no_memory(error);
    char *place = call->texts;
    call->kind = CALL_DROP;
    call->wish.claim = put(&place, claim);
    push(inbox, call);
    return 0;
}

int agent_inbox_neighbour(struct agent_inbox *inbox, const struct agent_neighbour *neighbour,
                          struct error *error)
{
    size_t addresses = neighbour->address_count * sizeof(*neighbour->addresses);
    size_t macs = neighbour->mac_count * sizeof(*neighbour->macs);
    struct call *call = calloc(1, sizeof(*call) + addresses + macs + size_of(neighbour->name) + 1);
    if (call == NULL)
        return error_no_memory(error);
    call->kind = CALL_NEIGHBOUR;
    call->neighbour = *neighbour;
    /* The addresses first: texts begins where a pointer would be aligned. */
    char *place = call->texts;
    _Static_assert(offsetof(struct call, texts) % _Alignof(struct address) == 0, "alignment");
    if (addresses > 0)
        memcpy(place, neighbour->addresses, addresses);
    call->neighbour.addresses = (const void *)place;
    place += addresses;
    if (macs > 0)
        memcpy(place, neighbour->macs, macs);
    call->neighbour.macs = (const void *)place;
    place += macs;
    call->neighbour.name = put(&place, neighbour->name);
    push(inbox, call);
    return 0;
}

void agent_inbox_replaced(struct agent_inbox *inbox)
{
    mutex_lock(&inbox->mutex);
    inbox->replaced = true;
    mutex_unlock(&inbox->mutex);
    agent_inbox_wake(inbox);
}

void agent_inbox_view(struct agent_inbox *inbox, bool fresh)
{
    mutex_lock(&inbox->mutex);
    inbox->viewed = true;
    inbox->fresh = fresh;
    mutex_unlock(&inbox->mutex);
    agent_inbox_wake(inbox);
}

size_t agent_inbox_deliver(struct agent_inbox *inbox, struct agent_core *core,
                           void (*told)(void *context, const struct agent_neighbour *neighbour),
                           void *context)
{
    eventfd_t wakes;
    (void)eventfd_read(inbox->fd, &wakes);
    mutex_lock(&inbox->mutex);
    struct call *first = inbox->first;
    bool replaced = inbox->replaced;
    bool viewed = inbox->viewed;
    bool fresh = inbox->fresh;
    inbox->first = NULL;
    inbox->last = &inbox->first;
    inbox->replaced = false;
    inbox->viewed = false;
    mutex_unlock(&inbox->mutex);

    size_t failed = 0;
    if (viewed)
        agent_core_view(core, fresh);
    for (struct call *call = first; call != NULL; call = call->next) {
        switch (call->kind) {
        case CALL_SET:
            failed += agent_core_set(core, &call->wish, NULL) != 0;
            break;
        case CALL_DROP:
            agent_core_drop(core, call->wish.claim);
            break;
        case CALL_NEIGHBOUR:
            failed += agent_core_neighbour(core, &call->neighbour, NULL) != 0;
            if (told != NULL)
                told(context, &call->neighbour);
            break;
        }
    }
    free_calls(first);
    if (replaced)
        agent_core_replaced(core);
    return failed;
}
