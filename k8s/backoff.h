/* How long to wait before the next try, and the randomness that keeps many clients from trying in
 * step. */
#ifndef IPWARDEN_K8S_BACKOFF_H
#define IPWARDEN_K8S_BACKOFF_H

#include <stdint.h>

/* first * 2^failures, at most most, then between 80 and 120 % of that. Nanoseconds. Any thread. */
int64_t k8s_backoff(unsigned int failures, int64_t first, int64_t most);
/* Between value and value * (1 + part). Any thread. */
int64_t k8s_jitter(int64_t value, double part);

#endif
