/* The kinds that are judged, one file each. Each function answers the review, now or later. */
#ifndef IPWARDEN_ADMISSION_KINDS_H
#define IPWARDEN_ADMISSION_KINDS_H

#include "server/admission/review.h"

void service_mutate(struct review *review);          /* service_mutate.c */
void service_validate(struct review *review);        /* service_validate.c */
void service_validate_status(struct review *review); /* service_validate.c */
void pool_validate(struct review *review);           /* pool_validate.c */
void claim_validate(struct review *review);          /* claim_validate.c */
void ipam_range_mutate(struct review *review);       /* ipam_mutate.c */
void ipam_range_validate(struct review *review);     /* ipam_validate.c */
void ipam_request_mutate(struct review *review);     /* ipam_mutate.c */
void ipam_request_validate(struct review *review);   /* ipam_validate.c; DELETE too */

/* Whether what can't be read in a Service is its author's mistake, to be said: not in one that is on its way out, which must get
 * through whatever it says, nor in an edit that leaves alone what was stored before the API server became strict
 * ("010.0.0.1"). service_validate.c */
bool service_reads_strictly(const struct review *review);

#endif
