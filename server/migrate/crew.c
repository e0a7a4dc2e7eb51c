/* Threads that share one counter. */
#include "server/migrate/crew.h"

#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define THREADS 8 /* writes under way */
#define TOLD_MOST 10
#define TELL_PERIOD CLOCK_SECOND

struct run {
    struct crew *crew;
    size_t count;
    void (*work)(void *context, size_t index);
    void *context;
};

void crew_init(struct crew *crew, const struct clock *clock, const char *what, size_t total)
{
    *crew = (struct crew){.clock = clock, .what = what, .total = total};
    mutex_init(&crew->mutex);
}

void crew_destroy(struct crew *crew)
{
    mutex_destroy(&crew->mutex);
}

void crew_format_number(size_t number, char ret_text[CREW_NUMBER_SIZE])
{
    char digits[CREW_NUMBER_SIZE];
    size_t length = (size_t)snprintf(digits, sizeof(digits), "%zu", number);
    size_t at = 0;
    for (size_t i = 0; i < length; i++) {
        if (i > 0 && (length - i) % 3 == 0)
            ret_text[at++] = ',';
        ret_text[at++] = digits[i];
    }
    ret_text[at] = '\0';
}

/* With the lock held. */
static void tell(struct crew *crew)
{
    char done[CREW_NUMBER_SIZE];
    char total[CREW_NUMBER_SIZE];
    int64_t now = clock_monotonic(crew->clock);
    bool last = crew->done >= crew->total;
    if (!last && crew->told != 0 && now - crew->told < TELL_PERIOD)
        return;
    crew->told = now;
    crew_format_number(crew->done, done);
    crew_format_number(crew->total > crew->done ? crew->total : crew->done, total);
    fprintf(stderr, "%s %s of %s\n", crew->what, done, total);
}

static void *take_work(void *context)
{
    const struct run *run = context;
    struct crew *crew = run->crew;
    for (;;) {
        mutex_lock(&crew->mutex);
        size_t index = crew->next < run->count && !crew->given_up ? crew->next++ : run->count;
        mutex_unlock(&crew->mutex);
        if (index == run->count)
            return NULL;
        run->work(run->context, index);
        mutex_guard(&crew->mutex);
        crew->done++;
        tell(crew);
    }
}

void crew_run(struct crew *crew, size_t count, void (*work)(void *context, size_t index),
              void *context)
{
    struct run run = {.crew = crew, .count = count, .work = work, .context = context};
    pthread_t threads[THREADS];
    size_t started = 0;
    crew->next = 0;
    while (started < THREADS && started + 1 < count &&
           pthread_create(&threads[started], NULL, take_work, &run) == 0)
        started++;
    take_work(&run);
    for (size_t i = 0; i < started; i++)
        pthread_join(threads[i], NULL);
}

void crew_fail(struct crew *crew, const char *format, ...)
{
    char text[512];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof(text), format, arguments);
    va_end(arguments);
    mutex_guard(&crew->mutex);
    crew->failures++;
    if (crew->failures <= TOLD_MOST)
        fprintf(stderr, "ipwarden migrate: %s\n", text);
    if (crew->failures == TOLD_MOST + 1)
        fputs("ipwarden migrate: and more like these\n", stderr);
}

void crew_give_up(struct crew *crew)
{
    mutex_guard(&crew->mutex);
    crew->given_up = true;
}
