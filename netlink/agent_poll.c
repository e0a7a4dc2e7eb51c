/* epoll and one timer. */
#include "netlink/agent_poll.h"

#include "server/base/clock.h"

#include <string.h>
#include <sys/epoll.h>
#include <sys/timerfd.h>
#include <unistd.h>

#define EVENTS 64

int agent_poll_open(struct agent_poll *poll, struct error *error)
{
    poll->epoll = epoll_create1(EPOLL_CLOEXEC);
    poll->timer = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
    poll->until = INT64_MAX;
    struct epoll_event event = {.events = EPOLLIN};
    if (poll->epoll < 0 || poll->timer < 0 ||
        epoll_ctl(poll->epoll, EPOLL_CTL_ADD, poll->timer, &event) != 0)
        return error_set(error, -errno, "epoll: %s", strerror(errno));
    return 0;
}

void agent_poll_close(struct agent_poll *poll)
{
    if (poll->epoll >= 0)
        close(poll->epoll);
    if (poll->timer >= 0)
        close(poll->timer);
    poll->epoll = -1;
    poll->timer = -1;
}

int agent_poll_add(struct agent_poll *poll, int fd, struct agent_source *source,
                   struct error *error)
{
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = source};
    if (epoll_ctl(poll->epoll, EPOLL_CTL_ADD, fd, &event) != 0)
        return error_set(error, -errno, "epoll: %s", strerror(errno));
    return 0;
}

void agent_poll_remove(struct agent_poll *poll, int fd)
{
    (void)epoll_ctl(poll->epoll, EPOLL_CTL_DEL, fd, NULL);
}

static int set_timer(struct agent_poll *poll, int64_t until, struct error *error)
{
    if (until == poll->until)
        return 0;
    struct itimerspec spec = {0};
    if (until != INT64_MAX) {
        int64_t at = until > 0 ? until : 1; /* zero would disarm it */
        spec.it_value.tv_sec = at / CLOCK_SECOND;
        spec.it_value.tv_nsec = at % CLOCK_SECOND;
    }
    if (timerfd_settime(poll->timer, TFD_TIMER_ABSTIME, &spec, NULL) != 0)
        return error_set(error, -errno, "timerfd: %s", strerror(errno));
    poll->until = until;
    return 0;
}

int agent_poll_wait(struct agent_poll *poll, int64_t until, struct error *error)
{
    int result = set_timer(poll, until, error);
    if (result != 0)
        return result;
    struct epoll_event events[EVENTS];
    int count = epoll_wait(poll->epoll, events, EVENTS, -1);
    if (count < 0)
        return errno == EINTR ? 0 : error_set(error, -errno, "epoll: %s", strerror(errno));
    for (int i = 0; i < count; i++) {
        struct agent_source *source = events[i].data.ptr;
        if (source != NULL) {
            source->ready(source->context);
            continue;
        }
        uint64_t expirations;
        if (read(poll->timer, &expirations, sizeof(expirations)) > 0)
            poll->until = INT64_MAX; /* it has rung: nothing is set */
    }
    return 0;
}
