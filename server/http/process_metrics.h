/* The process_* families that Prometheus clients agree on. Only for server/http. */
#ifndef IPWARDEN_HTTP_PROCESS_METRICS_H
#define IPWARDEN_HTTP_PROCESS_METRICS_H

#include "server/base/buffer.h"

/* Appends CPU time, memory, descriptors, threads and start time of this process. What /proc doesn't
 * tell is left out. Any thread. */
void process_metrics_append(struct buffer *buffer);

#endif
