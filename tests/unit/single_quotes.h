/* JSON in C without a backslash before every quote: Q("{'a':'b'}") is {"a":"b"}. */
#ifndef IPWARDEN_TESTS_SINGLE_QUOTES_H
#define IPWARDEN_TESTS_SINGLE_QUOTES_H

#include <stdlib.h>
#include <string.h>

#define QUOTES_KEPT 64 /* texts that live at the same time */
#define QUOTES_SIZE 8192

/* The text lives until QUOTES_KEPT more have been made on this thread. */
static inline const char *Q(const char *text)
{
    static _Thread_local char kept[QUOTES_KEPT][QUOTES_SIZE];
    static _Thread_local unsigned int next;
    char *copy = kept[next++ % QUOTES_KEPT];
    if (strlen(text) >= QUOTES_SIZE)
        abort();
    for (size_t i = 0; i == 0 || text[i - 1] != '\0'; i++)
        copy[i] = text[i] == '\'' ? '"' : text[i];
    return copy;
}

#endif
