/* What the files of the judgement share: see explain.h. */
#ifndef IPWARDEN_SERVER_EXPLAIN_PRIVATE_H
#define IPWARDEN_SERVER_EXPLAIN_PRIVATE_H

#include "server/base/clock.h"
#include "server/explain.h"

struct explain_judgement {
    const struct explain_facts *facts;
    struct explain_report *report;
};

/* Adds a finding, to be completed; beyond the maximum the last one is overwritten. */
struct explain_finding *explain_add(struct explain_judgement *judge, enum explain_weight weight,
                                    const char *reason, const char *format, ...)
    __attribute__((format(printf, 4, 5)));
void explain_remedy(struct explain_finding *finding, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* " since 2026-11-21T12:00:00Z", or nothing when it isn't known. */
#define EXPLAIN_SINCE_SIZE (CLOCK_RFC3339_SIZE + 8)
const char *explain_since(int64_t since, char ret_text[EXPLAIN_SINCE_SIZE]);

bool explain_names_have(const struct explain_names *names, const char *name);
/* How many nodes may have the address. */
size_t explain_count_qualifying(const struct explain_facts *facts);
/* Adds what keeps the address from a node. */
void explain_judge_placement(struct explain_judgement *judge);

#endif
