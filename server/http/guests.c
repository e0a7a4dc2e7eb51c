/* The lists of guests, and the thread that looks at their deadlines. Both lists are in the order in
 * which guests have to go: strangers as they came, known ones as they were last seen. Everything is
 * under one mutex, and a guest leaves before its socket is closed: so a socket that is shut down
 * here is the guest's and nobody else's. */
#include "server/http/guests.h"

#include "server/base/mutex.h"

#include <assert.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/random.h>
#include <unistd.h>

#define ADDRESSES 4096 /* counters; addresses that share one are few */

struct list {
    struct guest *first;
    struct guest *last;
};

struct guests {
    struct guests_limits limits;
    const struct clock *clock;
    uint64_t seed; /* so that nobody can choose an address that shares the API server's counter */
    int wake;      /* written to have the thread look again */
    pthread_t thread;
    struct mutex mutex;
    /* under mutex: */
    bool closed;
    int64_t armed; /* when the thread looks again; 0: not before it is woken */
    struct list strangers;
    struct list known;
    unsigned int count;
    unsigned int stranger_count;
    unsigned int per_address[ADDRESSES]; /* strangers */
    size_t held;                         /* by all */
};

/* ---- lists, with the mutex held ---- */

static struct list *list_of(struct guests *guests, const struct guest *guest)
{
    return guest->known ? &guests->known : &guests->strangers;
}

static void append(struct guests *guests, struct guest *guest)
{
    struct list *list = list_of(guests, guest);
    guest->next = NULL;
    guest->previous = list->last;
    if (list->last != NULL)
        list->last->next = guest;
    else
        list->first = guest;
    list->last = guest;
}

static void take_out(struct guests *guests, struct guest *guest)
{
    struct list *list = list_of(guests, guest);
    if (guest->previous != NULL)
        guest->previous->next = guest->next;
    else
        list->first = guest->next;
    if (guest->next != NULL)
        guest->next->previous = guest->previous;
    else
        list->last = guest->previous;
}

/* Takes a stranger out of the counts of strangers. */
static void uncount_stranger(struct guests *guests, const struct guest *guest)
{
    guests->stranger_count--;
    guests->per_address[guest->address]--;
}

/* Takes the guest out of everything. */
static void forget(struct guests *guests, struct guest *guest)
{
    if (!guest->busy)
        take_out(guests, guest);
    if (!guest->known)
        uncount_stranger(guests, guest);
    guests->count--;
    guests->held -= guest->held;
    guest->held = 0;
}

static void send_away(struct guests *guests, struct guest *guest)
{
    assert(!guest->busy && !guest->sent_away);
    forget(guests, guest);
    guest->sent_away = true;
    shutdown(guest->socket, SHUT_RDWR);
}

/* ---- deadlines ---- */

static void set_deadline(struct guests *guests, struct guest *guest, int64_t deadline)
{
    guest->deadline = deadline;
    if (deadline != 0 && (guests->armed == 0 || deadline < guests->armed)) {
        guests->armed = deadline;
        eventfd_write(guests->wake, 1);
    }
}

/* Sends away those of a list whose time is over. Returns the earliest deadline of the others, or
 * the one given if that is earlier. */
static int64_t expire_list(struct guests *guests, const struct list *list, int64_t now,
                           int64_t earliest)
{
    struct guest *next;
    for (struct guest *guest = list->first; guest != NULL; guest = next) {
        next = guest->next;
        if (guest->deadline == 0)
            continue;
        if (guest->deadline <= now)
            send_away(guests, guest);
        else if (earliest == 0 || guest->deadline < earliest)
            earliest = guest->deadline;
    }
    return earliest;
}

/* Returns for how many milliseconds the thread may sleep, -1 for ever, or -2 when it should end. */
static int expire(struct guests *guests)
{
    mutex_guard(&guests->mutex);
    if (guests->closed)
        return -2;
    int64_t now = clock_monotonic(guests->clock);
    guests->armed = expire_list(guests, &guests->strangers, now, 0);
    guests->armed = expire_list(guests, &guests->known, now, guests->armed);
    return guests->armed != 0 ? (int)((guests->armed - now) / CLOCK_MILLISECOND) + 1 : -1;
}

static void *watch(void *context)
{
    struct guests *guests = context;
    struct pollfd woken = {.fd = guests->wake, .events = POLLIN};
    for (int sleep; (sleep = expire(guests)) != -2;) {
        eventfd_t ignored;
        if (poll(&woken, 1, sleep) > 0)
            eventfd_read(guests->wake, &ignored);
    }
    return NULL;
}

int guests_new(const struct guests_limits *limits, const struct clock *clock,
               struct guests **ret_guests, struct error *error)
{
    struct guests *guests = calloc(1, sizeof(*guests));
    if (guests == NULL)
        return error_no_memory(error);
    guests->limits = *limits;
    guests->clock = clock;
    mutex_init(&guests->mutex);
    int code = 0;
    guests->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (guests->wake < 0 ||
        getrandom(&guests->seed, sizeof(guests->seed), 0) != (ssize_t)sizeof(guests->seed))
        code = -errno;
    else
        code = -pthread_create(&guests->thread, NULL, watch, guests);
    if (code < 0) {
        if (guests->wake >= 0)
            close(guests->wake);
        mutex_destroy(&guests->mutex);
        free(guests);
        return error_set(error, code, "http listener: %s", strerror(-code));
    }
    pthread_setname_np(guests->thread, "http-guests");
    *ret_guests = guests;
    return 0;
}

void guests_free(struct guests *guests)
{
    if (guests == NULL)
        return;
    mutex_lock(&guests->mutex);
    assert(guests->count == 0);
    guests->closed = true;
    mutex_unlock(&guests->mutex);
    eventfd_write(guests->wake, 1);
    pthread_join(guests->thread, NULL);
    close(guests->wake);
    mutex_destroy(&guests->mutex);
    free(guests);
}

/* ---- coming and going ---- */

/* FNV-1a over the host part of an address. */
static unsigned int counter_of(const struct guests *guests, const struct sockaddr *address)
{
    uint64_t hash = guests->seed ^ UINT64_C(14695981039346656037);
    struct sockaddr_in6 ipv6 = {.sin6_family = AF_UNSPEC};
    struct sockaddr_in ipv4;
    if (address->sa_family == AF_INET6) {
        memcpy(&ipv6, address, sizeof(ipv6));
    } else if (address->sa_family == AF_INET) {
        memcpy(&ipv4, address, sizeof(ipv4));
        memcpy(&ipv6.sin6_addr, &ipv4.sin_addr, sizeof(ipv4.sin_addr));
    }
    for (size_t i = 0; i < sizeof(ipv6.sin6_addr.s6_addr); i++)
        hash = (hash ^ ipv6.sin6_addr.s6_addr[i]) * UINT64_C(1099511628211);
    return (unsigned int)((hash ^ hash >> 32) % ADDRESSES);
}

/* Who has to go now that the newcomer is there: NULL when there is room. */
static struct guest *choose(const struct guests *guests, struct guest *newcomer)
{
    const struct guests_limits *limits = &guests->limits;
    if (guests->per_address[newcomer->address] > limits->per_address) {
        struct guest *guest = guests->strangers.first;
        while (guest->address != newcomer->address)
            guest = guest->next;
        return guest;
    }
    if (guests->stranger_count > limits->strangers)
        return guests->strangers.first;
    if (guests->count <= limits->most)
        return NULL;
    if (guests->strangers.first != newcomer)
        return guests->strangers.first;
    return guests->known.first != NULL ? guests->known.first : newcomer;
}

void guests_enter(struct guests *guests, struct guest *guest, int socket,
                  const struct sockaddr *address)
{
    int64_t now = clock_monotonic(guests->clock);
    *guest = (struct guest){.socket = socket, .address = counter_of(guests, address), .start = now};
    mutex_guard(&guests->mutex);
    append(guests, guest);
    guests->count++;
    guests->stranger_count++;
    guests->per_address[guest->address]++;
    set_deadline(guests, guest, now + guests->limits.headers);
    struct guest *victim = choose(guests, guest);
    if (victim != NULL)
        send_away(guests, victim);
}

void guests_leave(struct guests *guests, struct guest *guest)
{
    mutex_guard(&guests->mutex);
    if (!guest->sent_away)
        forget(guests, guest);
}

/* ---- requests ---- */

/* Puts a known guest at the end of the list: it was seen just now. */
static void see(struct guests *guests, struct guest *guest)
{
    if (!guest->known || guest->busy)
        return;
    take_out(guests, guest);
    append(guests, guest);
}

void guests_begin(struct guests *guests, struct guest *guest)
{
    int64_t now = clock_monotonic(guests->clock);
    mutex_guard(&guests->mutex);
    if (guest->sent_away || !guest->known)
        return;
    guest->start = now;
    see(guests, guest);
    set_deadline(guests, guest, now + guests->limits.headers);
}

void guests_want(struct guests *guests, struct guest *guest)
{
    mutex_guard(&guests->mutex);
    if (!guest->sent_away)
        set_deadline(guests, guest, guest->start + guests->limits.body);
}

void guests_work(struct guests *guests, struct guest *guest)
{
    mutex_guard(&guests->mutex);
    if (guest->sent_away)
        return;
    take_out(guests, guest);
    if (!guest->known)
        uncount_stranger(guests, guest);
    guest->known = true;
    guest->busy = true;
    set_deadline(guests, guest, 0);
}

void guests_answer(struct guests *guests, struct guest *guest)
{
    int64_t now = clock_monotonic(guests->clock);
    mutex_guard(&guests->mutex);
    if (guest->sent_away || !guest->busy)
        return;
    guest->busy = false;
    append(guests, guest);
    set_deadline(guests, guest, now + guests->limits.body);
}

void guests_end(struct guests *guests, struct guest *guest)
{
    mutex_guard(&guests->mutex);
    if (guest->sent_away)
        return;
    guests->held -= guest->held;
    guest->held = 0;
    if (guest->busy) { /* the client went before the answer could be sent */
        guest->busy = false;
        append(guests, guest);
    }
    see(guests, guest);
    if (guest->known)
        set_deadline(guests, guest, 0);
}

/* ---- bodies ---- */

static void find_largest(const struct list *list, struct guest **largest)
{
    for (struct guest *guest = list->first; guest != NULL; guest = guest->next) {
        if (guest->held > (*largest)->held)
            *largest = guest;
    }
}

bool guests_hold(struct guests *guests, struct guest *guest, size_t bytes)
{
    mutex_guard(&guests->mutex);
    if (guest->sent_away)
        return false;
    guests->held += bytes - guest->held;
    guest->held = bytes;
    while (guests->held > guests->limits.bodies) {
        struct guest *largest = guest;
        find_largest(&guests->strangers, &largest);
        find_largest(&guests->known, &largest);
        if (largest == guest) {
            guests->held -= guest->held;
            guest->held = 0;
            return false;
        }
        send_away(guests, largest);
    }
    return true;
}
