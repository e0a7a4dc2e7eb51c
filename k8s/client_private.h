/* What the files of the client share, and what informer, lease and events use of it beyond
 * client.h: work on the api thread, timers, and transfers that can be cancelled and streamed.
 *
 * A transfer's life: QUEUED in the inbox, RUNNING inside curl_multi, perhaps WAITING for its next
 * attempt, and gone after its callback. All but the submission happens on the api thread. */
#ifndef IPWARDEN_K8S_CLIENT_PRIVATE_H
#define IPWARDEN_K8S_CLIENT_PRIVATE_H

#include "k8s/client.h"
#include "k8s/poller.h"
#include "k8s/sockets.h"
#include "k8s/timers.h"
#include "k8s/token.h"
#include "server/base/buffer.h"

#include <curl/curl.h>
#include <pthread.h>
#include <stdatomic.h>

/* Bytes of an answer. etcd stores objects of 1.5 MiB, and an API server writes a byte of text as six
 * where it escapes it. So a single object always fits, and a page of many is asked for in parts. */
#define K8S_BODY_MAXIMUM (64U * 1024 * 1024)

/* Something to do on the api thread; embedded in what it is about. */
struct k8s_job {
    struct k8s_job *next;
    /* closing: the client ends; let go of what the job holds without starting anything. */
    void (*run)(struct k8s_client *client, struct k8s_job *job, bool closing);
};

/* An easy handle with what belongs to one attempt; reused. */
struct k8s_handle {
    struct k8s_handle *next;
    CURL *easy;
    struct buffer body;
    char error[CURL_ERROR_SIZE];
};

struct k8s_client {
    const struct k8s_config *config;
    const struct clock *clock;
    char *user_agent;
    int64_t request_timeout;
    k8s_observer observer;
    void *observer_context;

    char *base_url;                /* what paths are put behind */
    struct curl_slist *connect_to; /* set when the certificate's name isn't the address */
    struct k8s_token token;

    pthread_t thread;
    CURLM *multi;
    struct k8s_poller poller;
    struct k8s_job *_Atomic inbox; /* newest first */
    _Atomic bool closing;

    /* Api thread only. */
    struct k8s_timers timers;
    struct k8s_sockets sockets;
    struct k8s_transfer *live; /* RUNNING and WAITING */
    struct k8s_after *afters;  /* waiting k8s_after calls */
    struct k8s_handle *spare;
    unsigned int spare_count;
    unsigned int spare_most;
};

/* client.c */

static inline int64_t k8s_client_now(const struct k8s_client *client)
{
    return clock_monotonic(client->clock);
}
/* Hands a job to the api thread; jobs posted one after the other run in that order, and so do calls
 * of k8s_after without a delay among them. Any thread, can't fail. */
void k8s_client_post(struct k8s_client *client, struct k8s_job *job);
/* Runs function on the api thread and waits for its end. Not from the api thread. */
void k8s_client_run(struct k8s_client *client, void (*function)(void *context), void *context);

/* handle.c */

/* An easy handle with everything set that is the same for all requests; NULL when out of memory. */
struct k8s_handle *k8s_handle_take(struct k8s_client *client);
/* Keeps the handle for reuse. The handle must be out of the multi handle. */
void k8s_handle_give(struct k8s_client *client, struct k8s_handle *handle);
void k8s_handle_free_all(struct k8s_client *client);
/* Where requests go: base_url and connect_to from the configuration. */
must_check int k8s_handle_target(struct k8s_client *client, struct error *error);

/* transfer.c */

struct k8s_transfer;

struct k8s_transfer_options {
    /* Not NULL: the request is a stream without end and deadline; called with what arrives of a 2xx
     * answer, with length 0 once when its head arrived. Returning false ends the transfer with
     * -ECANCELED. */
    bool (*data)(void *context, const char *data, size_t length);
    _Atomic int64_t *heard; /* set to k8s_client_now() whenever a byte arrives; or NULL */
};

/* As k8s_submit; *ret_transfer (may be NULL) is valid until the callback is called. options may be
 * NULL. */
must_check int k8s_transfer_submit(struct k8s_client *client, const struct k8s_request *request,
                                   const struct k8s_transfer_options *options,
                                   k8s_callback callback, void *context,
                                   struct k8s_transfer **ret_transfer, struct error *error);
/* Ends the transfer without its callback. Api thread, but not from within a data callback. NULL is
 * fine. */
void k8s_transfer_cancel(struct k8s_transfer *transfer);
/* The same for a transfer that has been silent: its connection is closed, too, when nothing came
 * over that connection for anybody. */
void k8s_transfer_abandon(struct k8s_transfer *transfer);
/* curl is done with easy. */
void k8s_transfer_done(CURL *easy, CURLcode code);
/* The client ends: the callbacks of all get -ECANCELED. */
void k8s_transfer_cancel_all(struct k8s_client *client);

#endif
