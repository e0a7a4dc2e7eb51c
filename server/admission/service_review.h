/* What the calls on Services have in common: reading the object, and saying no. */
#ifndef IPWARDEN_ADMISSION_SERVICE_REVIEW_H
#define IPWARDEN_ADMISSION_SERVICE_REVIEW_H

#include "server/admission/review.h"
#include "server/decide/grant.h"

/* A Service as it shall be stored, and as it is. */
struct service_pair {
    struct service *service;
    struct service *old; /* NULL on CREATE */
};

/* Reads both objects of the review. uid, name and namespace of an UPDATE are those of the stored
 * object, whatever the request says. False: the review has been answered. */
bool service_review_read(struct review *review, struct service_pair *ret_pair);
void service_pair_clear(struct service_pair *pair);
/* Whether the request sends a whole manifest by itself: kubectl replace, which fills in only the
 * resourceVersion. */
bool service_review_is_whole(const struct review *review);

/* Answers with the no of a grant, if it is one: could not be found out, refused, or come again.
 * True: answered. */
bool service_review_refused(struct review *review, const struct grant_result *result);
/* Allows, with the plan's warning. patch may be NULL. */
void service_review_allow(struct review *review, const struct policy_plan *plan,
                          const struct buffer *patch);

#endif
