/* curl's sockets in an epoll set, as curl_multi_socket_action(3) wants it. */
#include "k8s/poller.h"

#include "server/base/clock.h"

#include <errno.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define MOST_AT_ONCE 64

static int64_t now(void)
{
    return clock_monotonic(clock_system());
}

/* Never fails, because that would be the end of all transfers: what can't be watched, for want of
 * memory, hears nothing more and ends by its deadline or its silence. */
static int on_socket(CURL *easy, curl_socket_t socket, int what, void *context, void *unused)
{
    (void)easy;
    (void)unused;
    const struct k8s_poller *poller = context;
    struct epoll_event event = {.data.fd = socket};
    if (what == CURL_POLL_REMOVE) {
        (void)epoll_ctl(poller->epoll, EPOLL_CTL_DEL, socket, NULL);
        return 0;
    }
    if ((what & CURL_POLL_IN) != 0)
        event.events |= EPOLLIN;
    if ((what & CURL_POLL_OUT) != 0)
        event.events |= EPOLLOUT;
    if (epoll_ctl(poller->epoll, EPOLL_CTL_MOD, socket, &event) != 0 && errno == ENOENT)
        (void)epoll_ctl(poller->epoll, EPOLL_CTL_ADD, socket, &event);
    return 0;
}

static int on_timer(CURLM *multi, long milliseconds, void *context)
{
    (void)multi;
    struct k8s_poller *poller = context;
    poller->timer_due = milliseconds < 0 ? INT64_MAX : now() + milliseconds * CLOCK_MILLISECOND;
    return 0;
}

int k8s_poller_open(struct k8s_poller *poller, CURLM *multi, struct error *error)
{
    *poller = (struct k8s_poller){.multi = multi, .bell = -1, .timer_due = INT64_MAX};
    struct epoll_event event = {.events = EPOLLIN};
    poller->epoll = epoll_create1(EPOLL_CLOEXEC);
    if (poller->epoll >= 0)
        poller->bell = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    event.data.fd = poller->bell;
    if (poller->bell < 0 || epoll_ctl(poller->epoll, EPOLL_CTL_ADD, poller->bell, &event) != 0) {
        int code = -errno;
        k8s_poller_close(poller);
        return error_set(error, code, "epoll: %s", strerror(-code));
    }
    curl_multi_setopt(multi, CURLMOPT_SOCKETFUNCTION, on_socket);
    curl_multi_setopt(multi, CURLMOPT_SOCKETDATA, poller);
    curl_multi_setopt(multi, CURLMOPT_TIMERFUNCTION, on_timer);
    curl_multi_setopt(multi, CURLMOPT_TIMERDATA, poller);
    return 0;
}

void k8s_poller_close(struct k8s_poller *poller)
{
    if (poller->bell >= 0)
        close(poller->bell);
    if (poller->epoll >= 0)
        close(poller->epoll);
    poller->bell = poller->epoll = -1;
}

void k8s_poller_ring(struct k8s_poller *poller)
{
    /* It fails when the counter is full, and then the bell is ringing. */
    (void)eventfd_write(poller->bell, 1);
}

void k8s_poller_run_timers(struct k8s_poller *poller)
{
    int running;
    if (poller->timer_due > now())
        return;
    /* Before the call, in which curl sets its next timer if there is one. */
    poller->timer_due = INT64_MAX;
    curl_multi_socket_action(poller->multi, CURL_SOCKET_TIMEOUT, 0, &running);
}

/* Rounded up, so that the timer is due when the thread wakes. */
static int sooner(const struct k8s_poller *poller, int milliseconds)
{
    if (poller->timer_due == INT64_MAX)
        return milliseconds;
    int64_t left = poller->timer_due - now();
    if (left <= 0)
        return 0;
    left = (left + CLOCK_MILLISECOND - 1) / CLOCK_MILLISECOND;
    return left < milliseconds ? (int)left : milliseconds;
}

static int curl_events(uint32_t events)
{
    return ((events & EPOLLIN) != 0 ? CURL_CSELECT_IN : 0) |
           ((events & EPOLLOUT) != 0 ? CURL_CSELECT_OUT : 0) |
           ((events & (EPOLLERR | EPOLLHUP)) != 0 ? CURL_CSELECT_ERR : 0);
}

void k8s_poller_wait(struct k8s_poller *poller, int milliseconds)
{
    struct epoll_event events[MOST_AT_ONCE];
    int running;
    int count = epoll_wait(poller->epoll, events, MOST_AT_ONCE, sooner(poller, milliseconds));
    for (int i = 0; i < count; i++) {
        int socket = events[i].data.fd;
        eventfd_t rings;
        if (socket == poller->bell)
            (void)eventfd_read(socket, &rings);
        else
            curl_multi_socket_action(poller->multi, socket, curl_events(events[i].events),
                                     &running);
    }
}
