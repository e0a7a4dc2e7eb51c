/* A pairing heap: a tree in which no child is due before its parent. Setting melds one alarm with
 * the root; taking one out pairs its children up, which is what keeps the tree flat. */
#include "netlink/alarms.h"

#include <stddef.h>

/* Makes one heap of two; the one that is due later becomes the first child of the other. */
static struct alarm *meld(struct alarm *left, struct alarm *right)
{
    if (left == NULL)
        return right;
    if (right == NULL)
        return left;
    if (right->due < left->due) {
        struct alarm *swap = left;
        left = right;
        right = swap;
    }
    right->previous = left;
    right->sibling = left->child;
    if (left->child != NULL)
        left->child->previous = right;
    left->child = right;
    left->sibling = NULL;
    left->previous = NULL;
    return left;
}

/* Makes one heap of a list of siblings: in pairs from the left, then all of them from the right. */
static struct alarm *meld_siblings(struct alarm *first)
{
    struct alarm *pairs = NULL; /* linked by sibling, the last pair first */
    while (first != NULL) {
        struct alarm *second = first->sibling;
        struct alarm *rest = second != NULL ? second->sibling : NULL;
        first->sibling = NULL;
        first->previous = NULL;
        if (second != NULL) {
            second->sibling = NULL;
            second->previous = NULL;
        }
        struct alarm *pair = meld(first, second);
        pair->sibling = pairs;
        pairs = pair;
        first = rest;
    }
    struct alarm *heap = NULL;
    while (pairs != NULL) {
        struct alarm *rest = pairs->sibling;
        pairs->sibling = NULL;
        heap = meld(heap, pairs);
        pairs = rest;
    }
    return heap;
}

void alarms_cancel(struct alarms *alarms, struct alarm *alarm)
{
    if (!alarm->set)
        return;
    struct alarm *children = meld_siblings(alarm->child);
    if (alarms->first == alarm) {
        alarms->first = children;
    } else {
        if (alarm->previous->child == alarm)
            alarm->previous->child = alarm->sibling;
        else
            alarm->previous->sibling = alarm->sibling;
        if (alarm->sibling != NULL)
            alarm->sibling->previous = alarm->previous;
        alarms->first = meld(alarms->first, children);
    }
    alarm->set = false;
    alarm->child = NULL;
    alarm->sibling = NULL;
    alarm->previous = NULL;
}

void alarms_set(struct alarms *alarms, struct alarm *alarm, int64_t due)
{
    alarms_cancel(alarms, alarm);
    alarm->due = due;
    alarm->set = true;
    alarm->child = NULL;
    alarm->sibling = NULL;
    alarm->previous = NULL;
    alarms->first = meld(alarms->first, alarm);
}

int64_t alarms_next(const struct alarms *alarms)
{
    return alarms->first != NULL ? alarms->first->due : INT64_MAX;
}

void alarms_ring(struct alarms *alarms, int64_t now)
{
    while (alarms->first != NULL && alarms->first->due <= now) {
        struct alarm *alarm = alarms->first;
        alarms_cancel(alarms, alarm);
        alarm->ring(alarm->context);
    }
}
