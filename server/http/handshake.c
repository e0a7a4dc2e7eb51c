/* The thread that watches incomplete handshakes. A list holds what waits; its lock is taken around
 * suspending and resuming, so that a connection is in the list exactly while it is suspended here,
 * and can't be freed while the thread looks at it. */
#include "server/http/handshake.h"

#include "server/base/mutex.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define EVENTS_MOST 64

struct handshakes {
    int epoll;
    int wake; /* written to end the thread */
    pthread_t thread;
    struct mutex mutex;
    /* under mutex: */
    bool closed;
    struct handshake_wait *first;
};

/* Takes the connection out of the list and resumes it. With the mutex held. */
static void resume(struct handshakes *handshakes, struct handshake_wait *wait)
{
    if (wait->previous != NULL)
        wait->previous->next = wait->next;
    else
        handshakes->first = wait->next;
    if (wait->next != NULL)
        wait->next->previous = wait->previous;
    epoll_ctl(handshakes->epoll, EPOLL_CTL_DEL, wait->socket, NULL);
    MHD_resume_connection(wait->connection);
}

/* Returns false when the thread should end, of which the wake descriptor tells; its events carry no
 * pointer. */
static bool handle_events(struct handshakes *handshakes, const struct epoll_event *events,
                          int count)
{
    mutex_guard(&handshakes->mutex);
    /* Once this is closed, everything was resumed and the events' pointers may be stale. */
    if (handshakes->closed)
        return false;
    for (int i = 0; i < count; i++) {
        if (events[i].data.ptr != NULL)
            resume(handshakes, events[i].data.ptr);
    }
    return true;
}

static void *watch(void *context)
{
    struct handshakes *handshakes = context;
    struct epoll_event events[EVENTS_MOST];
    int count;
    do {
        count = epoll_wait(handshakes->epoll, events, EVENTS_MOST, -1);
    } while ((count < 0 && errno == EINTR) || handle_events(handshakes, events, count));
    return NULL;
}

static int watch_wake(const struct handshakes *handshakes)
{
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = NULL};
    return epoll_ctl(handshakes->epoll, EPOLL_CTL_ADD, handshakes->wake, &event);
}

static void close_descriptors(const struct handshakes *handshakes)
{
    const int descriptors[] = {handshakes->epoll, handshakes->wake};
    for (size_t i = 0; i < sizeof(descriptors) / sizeof(descriptors[0]); i++) {
        if (descriptors[i] >= 0)
            close(descriptors[i]);
    }
}

int handshakes_new(struct handshakes **ret_handshakes, struct error *error)
{
    struct handshakes *handshakes = calloc(1, sizeof(*handshakes));
    if (handshakes == NULL)
        return error_no_memory(error);
    mutex_init(&handshakes->mutex);
    handshakes->epoll = epoll_create1(EPOLL_CLOEXEC);
    handshakes->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    int code = 0;
    if (handshakes->epoll < 0 || handshakes->wake < 0 || watch_wake(handshakes) < 0)
        code = -errno;
    else
        code = -pthread_create(&handshakes->thread, NULL, watch, handshakes);
    if (code < 0) {
        close_descriptors(handshakes);
        mutex_destroy(&handshakes->mutex);
        free(handshakes);
        return error_set(error, code, "http listener: %s", strerror(-code));
    }
    pthread_setname_np(handshakes->thread, "http-handshake");
    *ret_handshakes = handshakes;
    return 0;
}

void handshakes_close(struct handshakes *handshakes)
{
    mutex_guard(&handshakes->mutex);
    handshakes->closed = true;
    while (handshakes->first != NULL)
        resume(handshakes, handshakes->first);
    eventfd_write(handshakes->wake, 1);
}

void handshakes_free(struct handshakes *handshakes)
{
    if (handshakes == NULL)
        return;
    handshakes_close(handshakes);
    pthread_join(handshakes->thread, NULL);
    close_descriptors(handshakes);
    mutex_destroy(&handshakes->mutex);
    free(handshakes);
}

bool handshakes_wait(struct handshakes *handshakes, struct handshake_wait *wait, bool writing)
{
    struct epoll_event event = {.events = writing ? EPOLLOUT : EPOLLIN, .data.ptr = wait};
    mutex_guard(&handshakes->mutex);
    if (handshakes->closed)
        return false;
    if (epoll_ctl(handshakes->epoll, EPOLL_CTL_ADD, wait->socket, &event) < 0)
        return false;
    wait->previous = NULL;
    wait->next = handshakes->first;
    if (wait->next != NULL)
        wait->next->previous = wait;
    handshakes->first = wait;
    MHD_suspend_connection(wait->connection);
    return true;
}
