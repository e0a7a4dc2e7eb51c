/* The ConversionReview envelope (apiextensions.k8s.io/v1): a list of objects comes in, and goes out in
 * the desired version, as many and in the same order, or not at all. A pure function of the text: it
 * needs no lists, no leader and no other object, so any replica answers at any time. */
#ifndef IPWARDEN_CONVERSION_CONVERSION_REVIEW_H
#define IPWARDEN_CONVERSION_CONVERSION_REVIEW_H

#include "server/base/buffer.h"
#include "server/base/error.h"

#include <stddef.h>

/* What a review came to, for the log and for metrics. */
struct conversion_report {
    size_t objects;   /* that were converted */
    size_t damaged;   /* of these: conversion data that couldn't be read, and was ignored */
    size_t dropped;   /* of these: what v1 had beside was dropped for lack of room */
    char first[600];  /* the first of the damaged or dropped: "IpClaim 10-10-0-2-24" */
    char failed[256]; /* why the answer is a failure; "" when it isn't */
};

/* Appends the answer to a review, which is a ConversionReview in any case: what can't be converted is
 * said in its result, with the first object that is in the way. -EINVAL when the text is no
 * ConversionReview with a uid, so that there is nobody to answer; -ENOMEM. */
must_check int conversion_review_answer(const char *text, size_t length, struct buffer *answer,
                                        struct conversion_report *ret_report, struct error *error);

#endif
