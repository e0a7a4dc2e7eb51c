/* The kinds that are judged, one file each. Each function answers the review, now or later. */
#ifndef IPWARDEN_ADMISSION_KINDS_H
#define IPWARDEN_ADMISSION_KINDS_H

#include "server/admission/review.h"

void service_mutate(struct review *review);          /* service_mutate.c */
void service_validate(struct review *review);        /* service_validate.c */
void service_validate_status(struct review *review); /* status_validate.c */
void pool_validate(struct review *review);           /* pool_validate.c */
void claim_validate(struct review *review);          /* claim_validate.c */
void ipam_range_mutate(struct review *review);       /* ipam_mutate.c */
void ipam_range_validate(struct review *review);     /* ipam_validate.c */
void ipam_request_mutate(struct review *review);     /* ipam_mutate.c */
void ipam_request_validate(struct review *review);   /* ipam_validate.c; DELETE too */

#endif
