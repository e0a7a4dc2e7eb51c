/* Many writes, several at a time: threads that each take the next piece of work and wait for its
 * answer. Tells on standard error how far it has come, once a second, and the first things that
 * failed. What is done can be read in straight lines, which for a command is worth a few threads. */
#ifndef IPWARDEN_MIGRATE_CREW_H
#define IPWARDEN_MIGRATE_CREW_H

#include "server/base/clock.h"
#include "server/base/mutex.h"

#include <stdbool.h>
#include <stddef.h>

struct crew {
    const struct clock *clock;
    const char *what;   /* "ipclaims"; borrowed */
    size_t total;       /* of all runs */
    struct mutex mutex; /* guards what follows */
    size_t done;
    size_t failures;
    size_t next; /* of the run */
    bool given_up;
    int64_t told; /* when it was told how far it is; monotonic nanoseconds, 0: never */
};

void crew_init(struct crew *crew, const struct clock *clock, const char *what, size_t total);
void crew_destroy(struct crew *crew);
/* Calls work(context, index) for each index below count, by several threads, and returns when all
 * are done; where no thread can be had it does all by itself. May be called again for the next part
 * of the total. */
void crew_run(struct crew *crew, size_t count, void (*work)(void *context, size_t index),
              void *context);
/* Notes something that failed and tells it, unless many were told before. Any thread of the crew. */
void crew_fail(struct crew *crew, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Notes a failure that all further work would share, such as a server that nobody reaches: what
 * hasn't begun isn't done any more, in this run and in later ones. */
void crew_give_up(struct crew *crew);
/* Writes "3,200". */
#define CREW_NUMBER_SIZE 32
void crew_format_number(size_t number, char ret_text[CREW_NUMBER_SIZE]);

#endif
