/* `ipwarden serve`: puts the parts together, runs the main loop, and takes the parts apart in the
 * right order.
 *
 * DOC: At the start, state is fed, certificates are made or read, and only then does the TLS
 * listener open; readiness waits for the full lists. At the end, readiness goes first and the lease
 * is given up; the listener goes on answering for the drain period, while endpoints update; then
 * what is under way is finished. */
#include "server/command_serve.h"

#include "k8s/client.h"
#include "k8s/config.h"
#include "k8s/events.h"
#include "k8s/lease.h"
#include "server/admission/review.h"
#include "server/base/log.h"
#include "server/certificates.h"
#include "server/conversion_call.h"
#include "server/http/listener.h"
#include "server/plain_ports.h"
#include "server/reconcile/reconciler.h"
#include "server/replicas_feed.h"
#include "server/serve_metrics.h"
#include "server/serve_options.h"
#include "server/state/feed.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <unistd.h>

#define NAME_MOST 320
#define IDLE_MOST (30 * CLOCK_SECOND) /* how long answers under way may take at the end */
#define IDLE_POLL 10                  /* milliseconds between looks at them */
#define READY_LOOK 20                 /* milliseconds between looks at whether all is listed */
#define WATCH_LOOK 1000               /* milliseconds between looks at the watches */
#define LARGE_BLOCK (256 * 1024)
#define DESCRIPTORS 16384 /* more than all listeners' connections */

struct serve {
    struct serve_options options;
    const struct clock *clock;
    struct k8s_config *config;
    struct k8s_client *client;
    struct state *state;
    struct serve_metrics metrics;
    struct plain_ports plain;
    struct http_listener *listener;
    struct certificates *certificates;
    struct feed *feed;
    struct replicas_feed *replicas;
    struct k8s_events *events;
    struct reconciler *reconciler;
    /* Guards the pointer to the lease: whoever asks the lease keeps it from being freed. */
    struct mutex lease_mutex;
    struct k8s_lease *lease;
    struct admission admission;
    struct conversion_calls conversions;
    atomic_bool stopping; /* no new admission is begun */
    int signals;          /* signalfd */
    bool told_to_stop;
    bool ready;
    bool watches_current;
    const char *namespace_name;
    char identity[128];
    char dns_names[4][NAME_MOST];
    const char *dns_list[5];
    size_t dns_count;
    char url_host[NAME_MOST];
    const char *ip_list[1];
    size_t ip_count;
};

/* --- HTTP --- */

struct webhook_route {
    const char *path;
    http_handler handle;
};

/* The TLS listener: only what is below the secret segment exists. */
static const struct webhook_route *find_webhook(const struct serve *serve,
                                                const struct http_request *request)
{
    static const struct webhook_route routes[] = {{"/mutate", review_handle_mutate},
                                                  {"/validate", review_handle_validate}};
    const char *path = certificates_route(serve->certificates, http_request_path(request));
    for (size_t i = 0; path != NULL && i < sizeof(routes) / sizeof(routes[0]); i++) {
        if (strcmp(path, routes[i].path) == 0)
            return &routes[i];
    }
    return NULL;
}

/* Below no segment: see certs/webhooks.c. */
static bool is_conversion(const struct http_request *request)
{
    return strcmp(http_request_path(request), CONVERSION_PATH) == 0;
}

static const struct http_refusal no_webhook = {404, "NotFound", "there is nothing here"};

static const struct http_refusal *judge_webhook(void *context, struct http_request *request)
{
    static const struct http_refusal no_post = {405, "MethodNotAllowed", "send a review with POST"};
    static const struct http_refusal stopping = {503, "ServiceUnavailable",
                                                 "ipwarden is stopping: another replica answers"};
    const struct serve *serve = context;
    if (!is_conversion(request) && find_webhook(serve, request) == NULL)
        return &no_webhook;
    if (strcmp(http_request_method(request), "POST") != 0)
        return &no_post;
    if (is_conversion(request))
        return NULL; /* to the last: without it no object of the other version can be read */
    return atomic_load_explicit(&serve->stopping, memory_order_relaxed) ? &stopping : NULL;
}

static void handle_webhook(void *context, struct http_request *request)
{
    struct serve *serve = context;
    const struct webhook_route *route = find_webhook(serve, request);
    if (is_conversion(request))
        conversion_call_handle(&serve->conversions, request);
    else if (route != NULL)
        route->handle(&serve->admission, request);
    else /* the segment was given up while the body came */
        http_request_answer_status(request, no_webhook.status, no_webhook.reason, "%s",
                                   no_webhook.message);
}

/* --- callbacks --- */

static void watch_health(void *context, const char *kind, bool healthy, const char *reason)
{
    struct serve *serve = context;
    metrics_set(serve->metrics.watch_healthy, healthy, kind, NULL);
    if (healthy)
        log_info("the watch works", "resource", kind);
    else
        log_warning("the watch has a problem", "resource", kind, "reason", reason);
}

static void tell_unreadable(void *context, const char *kind, const char *key, const char *reason)
{
    (void)context;
    log_warning("an object can't be read: it counts as stored, and nothing of it is freed",
                "resource", kind, "object", key, "reason", reason);
}

static const struct feed_listener watch_listener = {.health = watch_health,
                                                    .unreadable = tell_unreadable};

static bool may_act(void *context)
{
    struct serve *serve = context;
    mutex_guard(&serve->lease_mutex);
    if (serve->lease != NULL)
        return k8s_lease_is_held(serve->lease);
    return !serve->options.leader_elect && !atomic_load(&serve->stopping);
}

static void release_lease(struct serve *serve)
{
    mutex_lock(&serve->lease_mutex);
    struct k8s_lease *lease = serve->lease;
    serve->lease = NULL;
    mutex_unlock(&serve->lease_mutex);
    k8s_lease_free(lease);
}

static void leadership_changed(void *context, bool leader, long long transitions)
{
    struct serve *serve = context;
    char text[24];
    snprintf(text, sizeof(text), "%lld", transitions);
    log_info(leader ? "this replica leads now" : "this replica leads no more", "identity",
             serve->identity, "transitions", text);
    reconciler_lead(serve->reconciler, leader);
}

static uint64_t list_requests_again(void *context)
{
    struct serve *serve = context;
    return feed_list_again(serve->feed, STATE_REQUESTS);
}

static void observe_reconcile(void *context, const char *kind, const char *result)
{
    struct serve *serve = context;
    metrics_add(serve->metrics.reconcile_total, 1, kind, result, NULL);
}

static bool events_may_write(void *context)
{
    struct serve *serve = context;
    return reconciler_is_quiet(serve->state, serve->clock);
}

static int certificate_changed(void *context, const char *chain_pem, const char *key_pem)
{
    struct serve *serve = context;
    struct http_certificate certificate = {.chain_pem = chain_pem, .key_pem = key_pem};
    struct error error;
    int result = http_listener_set_certificate(serve->listener, &certificate, &error);
    if (result < 0)
        log_error("the new certificate can't be served", "error", error.text);
    else
        log_info("serving a new certificate");
    return result;
}

/* Whether SIGTERM or SIGINT came. Doesn't wait. */
static bool stop_was_asked(void *context)
{
    struct serve *serve = context;
    struct signalfd_siginfo info;
    if (!serve->told_to_stop && read(serve->signals, &info, sizeof(info)) == (ssize_t)sizeof(info))
        serve->told_to_stop = true;
    return serve->told_to_stop;
}

/* --- starting --- */

/* The names by which API servers call us: they stand in the certificate. */
static void collect_names(struct serve *serve)
{
    static const char *const services[] = {"", "", "-conversion", "-conversion"};
    static const char *const suffixes[] = {"", ".cluster.local", "", ".cluster.local"};
    const char *url = serve->options.webhook_url;
    for (size_t i = 0; i < 4; i++) {
        snprintf(serve->dns_names[i], NAME_MOST, "%s%s.%s.svc%s", serve->options.service,
                 services[i], serve->namespace_name, suffixes[i]);
        serve->dns_list[serve->dns_count++] = serve->dns_names[i];
    }
    if (url == NULL)
        return;
    const char *host = strstr(url, "://");
    host = host != NULL ? host + 3 : url;
    bool bracket = *host == '[';
    size_t length = bracket ? strcspn(++host, "]") : strcspn(host, ":/");
    snprintf(serve->url_host, NAME_MOST, "%.*s", (int)length, host);
    unsigned char binary[16];
    if (inet_pton(AF_INET, serve->url_host, binary) == 1 ||
        inet_pton(AF_INET6, serve->url_host, binary) == 1)
        serve->ip_list[serve->ip_count++] = serve->url_host;
    else
        serve->dns_list[serve->dns_count++] = serve->url_host;
}

static void choose_identity(struct serve *serve)
{
    char host[64] = "ipwarden";
    if (serve->options.identity != NULL) {
        snprintf(serve->identity, sizeof(serve->identity), "%s", serve->options.identity);
        return;
    }
    if (gethostname(host, sizeof(host) - 1) < 0)
        snprintf(host, sizeof(host), "ipwarden");
    for (char *at = host; *at != '\0'; at++)
        if (*at >= 'A' && *at <= 'Z')
            *at = (char)(*at - 'A' + 'a');
        else if (*at == '_')
            *at = '-';
    snprintf(serve->identity, sizeof(serve->identity), "%s-%d", host, (int)getpid());
}

static int start_client(struct serve *serve, struct error *error)
{
    int result =
        k8s_config_load(serve->options.kubeconfig, serve->options.context, &serve->config, error);
    if (result < 0)
        return result;
    serve->namespace_name = serve->options.namespace_name != NULL ? serve->options.namespace_name
                                                                  : serve->config->namespace_name;
    struct k8s_client_options options = {.clock = serve->clock,
                                         .observer = serve_metrics_observe_api,
                                         .observer_context = &serve->metrics};
    return k8s_client_new(serve->config, &options, &serve->client, error);
}

static void set_first_checks(struct health *health)
{
    health_set(health, "certificates", false, "waiting for the serving certificate");
    health_set(health, "lists", false,
               "waiting for the full lists of Services, claims, pools, ranges and requests");
    health_set(health, "running", true, "");
}

static int start_plain_ports(struct serve *serve, struct error *error)
{
    struct plain_ports_options options = {.health_listen = serve->options.health_listen,
                                          .metrics_listen = serve->options.metrics_listen,
                                          .metrics = serve->metrics.metrics,
                                          .clock = serve->clock};
    return plain_ports_start(&serve->plain, &options, set_first_checks, error);
}

static int start_certificates(struct serve *serve, struct error *error)
{
    static const char *const crds[] = {
        "ipclaimpools.ipcontroller.ext",    "ipclaims.ipcontroller.ext",
        "ipnodes.ipcontroller.ext",         "ipamranges.ipam.mandelsoft.org",
        "ipamrequests.ipam.mandelsoft.org",
    };
    struct certificates_options options = {
        .client = serve->client,
        .clock = serve->clock,
        .namespace_name = serve->namespace_name,
        .secret_name = serve->options.secret,
        .identity = serve->identity,
        .dns_names = serve->dns_list,
        .dns_count = serve->dns_count,
        .ip_addresses = serve->ip_list,
        .ip_count = serve->ip_count,
        .webhook_url = serve->options.webhook_url,
        .tls_dir = serve->options.tls_dir,
        .path_period = serve->options.path_period,
        .mutating_name = serve->options.webhooks,
        .validating_name = serve->options.webhooks,
        .crd_names = crds,
        .crd_count = sizeof(crds) / sizeof(crds[0]),
        .on_change = certificate_changed,
        .context = serve,
        .stop = stop_was_asked,
    };
    return certificates_open(&options, &serve->certificates, error);
}

/* Reads a whole small file. NULL with the error set. */
static char *read_file(const char *path, struct error *error)
{
    struct buffer buffer;
    char block[4096];
    int file = open(path, O_RDONLY | O_CLOEXEC);
    buffer_init(&buffer, 1024U * 1024);
    if (file < 0) {
        error_set(error, -errno, "%s: %s", path, strerror(errno));
        return NULL;
    }
    for (ssize_t count; (count = read(file, block, sizeof(block))) > 0;)
        buffer_append(&buffer, block, (size_t)count);
    close(file);
    char *text = buffer_steal(&buffer, NULL);
    if (text == NULL)
        error_no_memory(error);
    return text;
}

static int start_listener(struct serve *serve, struct error *error)
{
    char *client_ca = NULL;
    if (serve->options.client_ca != NULL &&
        (client_ca = read_file(serve->options.client_ca, error)) == NULL)
        return error_prefix(error, "--client-ca");
    struct http_listener_options options = {
        .address = serve->options.listen,
        .tls = true,
        .client_ca_pem = client_ca,
        .threads = serve->options.threads,
        .reuse_port = serve->options.reuse_port,
        .passes_beginnings = true,
        .body_maximum = HTTP_BODY_MAXIMUM,
        .open_path = CONVERSION_PATH,
        .open_maximum = CONVERSION_MAXIMUM,
        .clock = serve->clock,
        .judge = judge_webhook,
        .handler = handle_webhook,
        .context = serve,
    };
    serve->admission = (struct admission){.state = serve->state,
                                          .client = serve->client,
                                          .clock = serve->clock,
                                          .requests = serve->metrics.admission_requests,
                                          .junk_refusals = serve->metrics.junk_refusals,
                                          .duration = serve->metrics.admission_duration};
    serve->conversions.clock = serve->clock;
    serve->conversions.requests = serve->metrics.conversion_requests;
    serve->conversions.objects = serve->metrics.conversion_objects;
    serve->conversions.duration = serve->metrics.conversion_duration;
    certificates_current(serve->certificates, &options.certificate.chain_pem,
                         &options.certificate.key_pem);
    int result = http_listener_start(&options, &serve->listener, error);
    free(client_ca);
    return result < 0 ? error_prefix(error, "--listen") : 0;
}

static int start_reconciler(struct serve *serve, struct error *error)
{
    serve->events =
        k8s_events_new(serve->client, "ipwarden", serve->identity, 10000, events_may_write, serve);
    if (serve->events == NULL)
        return error_no_memory(error);
    struct reconciler_options options = {
        .state = serve->state,
        .client = serve->client,
        .clock = serve->clock,
        .events = serve->events,
        .grace = serve->options.grace,
        .resync = serve->options.resync,
        .may_act = may_act,
        .list_requests_again = list_requests_again,
        .observe = observe_reconcile,
        .context = serve,
    };
    int result = reconciler_start(&options, &serve->reconciler, error);
    if (result < 0)
        return result;
    atomic_store(&serve->metrics.reconciler, serve->reconciler);
    if (!serve->options.leader_elect) {
        reconciler_lead(serve->reconciler, true);
        return 0;
    }
    struct k8s_lease_options lease_options = {
        .namespace_name = serve->namespace_name,
        .name = serve->options.lease,
        .identity = serve->identity,
        .duration = serve->options.lease_duration,
        .renew_deadline = serve->options.lease_duration * 2 / 3,
        .retry_period = serve->options.lease_duration * 2 / 15,
        .changed = leadership_changed,
        .context = serve,
    };
    struct k8s_lease *lease;
    result = k8s_lease_new(serve->client, &lease_options, &lease, error);
    if (result < 0)
        return result;
    mutex_guard(&serve->lease_mutex);
    serve->lease = lease;
    return 0;
}

static int write_ports_file(const struct serve *serve, struct error *error)
{
    struct plain_port ports[3] = {{"listen", http_listener_port(serve->listener)}};
    plain_ports_bound(&serve->plain, &ports[1]);
    return plain_ports_write_file(serve->options.ports_file, ports, 3, error);
}

static int serve_start(struct serve *serve, struct error *error)
{
    struct state_options options = {
        .clock = serve->clock,
        .load_balancer = (enum state_load_balancer)serve->options.load_balancer,
        .external_ips_for_load_balancer = serve->options.external_ips_for_load_balancer,
        .foreign_addresses_allowed = serve->options.foreign_addresses == 1,
        .unstored_most = serve->options.unstored_most,
        .node_choice = (enum state_node_choice)serve->options.node_choice,
        .monitor = serve->options.monitor,
        .node_not_ready = serve->options.node_not_ready,
    };
    serve->state = state_new(&options);
    if (serve->state == NULL || serve_metrics_init(&serve->metrics, serve->state) < 0)
        return error_no_memory(error);
    serve->metrics.leads = may_act;
    serve->metrics.leads_context = serve;
    choose_identity(serve);
    int result = start_plain_ports(serve, error);
    if (result == 0)
        result = start_client(serve, error);
    if (result < 0)
        return result;
    collect_names(serve);
    result = feed_start(serve->state, serve->client, &watch_listener, serve, &serve->feed, error);
    if (result == 0)
        result = replicas_feed_start(serve->state, serve->client, serve->namespace_name,
                                     serve->identity, watch_health, serve, &serve->replicas, error);
    if (result == 0)
        result = start_certificates(serve, error);
    if (result == 0)
        result = start_listener(serve, error);
    if (result == 0)
        result = start_reconciler(serve, error);
    if (result < 0)
        return result;
    atomic_store(&serve->metrics.certificates, serve->certificates);
    health_set(serve->plain.health, "certificates", true, "");
    log_info("listening", "identity", serve->identity, "namespace", serve->namespace_name,
             "address", serve->options.listen);
    return write_ports_file(serve, error);
}

/* --- running --- */

/* What hasn't been seen for long is no ground to judge by: others may see it. */
static void look_at_watches(struct serve *serve)
{
    char reason[300] = "";
    bool current =
        feed_is_current(serve->feed, serve->options.watch_outage, reason, sizeof(reason));
    health_set(serve->plain.health, "watches", current, reason);
    if (current == serve->watches_current)
        return;
    serve->watches_current = current;
    if (current)
        log_info("the watches work again");
    else
        log_error("not ready: a watch has been broken for too long", "reason", reason);
}

static void serve_loop(struct serve *serve)
{
    int64_t next_tick = 0;
    serve->watches_current = true;
    while (!stop_was_asked(serve)) {
        int64_t now = clock_monotonic(serve->clock);
        if (now >= next_tick)
            next_tick = now + certificates_tick(serve->certificates);
        if (!serve->ready && state_is_synced(serve->state)) {
            serve->ready = true;
            health_set(serve->plain.health, "lists", true, "");
            log_info("ready");
        }
        look_at_watches(serve);
        int64_t wait = (next_tick - clock_monotonic(serve->clock)) / CLOCK_MILLISECOND + 1;
        int64_t most = serve->ready ? WATCH_LOOK : READY_LOOK;
        wait = wait < most ? wait : most;
        struct pollfd descriptors[2] = {
            {.fd = serve->signals, .events = POLLIN},
            {.fd = certificates_fd(serve->certificates), .events = POLLIN},
        };
        poll(descriptors, 2, wait > 0 ? (int)wait : 0);
        if ((descriptors[1].revents & POLLIN) != 0)
            next_tick = 0;
    }
}

/* Waits on the main thread for a further signal. Returns whether one came. */
static bool signal_within(struct serve *serve, int64_t milliseconds)
{
    struct pollfd descriptor = {.fd = serve->signals, .events = POLLIN};
    struct signalfd_siginfo info;
    if (poll(&descriptor, 1, (int)milliseconds) <= 0)
        return false;
    return read(serve->signals, &info, sizeof(info)) == (ssize_t)sizeof(info);
}

static int64_t milliseconds_until(const struct serve *serve, int64_t deadline)
{
    return (deadline - clock_monotonic(serve->clock)) / CLOCK_MILLISECOND;
}

/* Gives the cluster time to send reviews to other replicas. A further signal cuts that short. */
static void wait_for_endpoints(struct serve *serve)
{
    int64_t deadline = clock_monotonic(serve->clock) + serve->options.drain;
    for (int64_t left; (left = milliseconds_until(serve, deadline)) > 0;) {
        if (signal_within(serve, left))
            return;
    }
}

/* Waits for the answers that are under way. This ends, since every review has a deadline of its own;
 * whoever asks again meanwhile doesn't want to wait for it. The parts can't be taken apart under
 * requests that still run, so the process ends as it is: a client gets no answer then, as if it were
 * killed. */
static void wait_until_idle(struct serve *serve)
{
    int64_t deadline = clock_monotonic(serve->clock) + IDLE_MOST;
    while (http_listener_active(serve->listener) > 0 && milliseconds_until(serve, deadline) > 0) {
        if (signal_within(serve, IDLE_POLL)) {
            log_warning("told again to stop: not waiting for the answers under way");
            _exit(1);
        }
    }
}

static void serve_drain(struct serve *serve)
{
    log_info("stopping");
    health_set(serve->plain.health, "running", false, "stopping");
    reconciler_lead(serve->reconciler, false);
    release_lease(serve);
    http_listener_drain(serve->listener);
    wait_for_endpoints(serve);
    atomic_store(&serve->stopping, true);
    wait_until_idle(serve);
    /* Some clients don't hear of that, and one may have asked since. */
    http_listener_close(serve->listener);
    wait_until_idle(serve);
}

/* Frees the parts in the order in which none calls into another that is gone. */
static void serve_free(struct serve *serve)
{
    release_lease(serve);
    plain_ports_stop(&serve->plain);
    reconciler_stop(serve->reconciler);
    k8s_events_free(serve->events);
    replicas_feed_stop(serve->replicas);
    feed_stop(serve->feed);
    http_listener_stop(serve->listener);
    certificates_close(serve->certificates);
    k8s_client_free(serve->client);
    plain_ports_free(&serve->plain);
    metrics_free(serve->metrics.metrics);
    state_free(serve->state);
    k8s_config_free(serve->config);
}

/* Many a machine allows 1024 at first, and much more to those who ask. */
static void raise_descriptor_limit(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) < 0 || limit.rlim_cur >= DESCRIPTORS)
        return;
    limit.rlim_cur = limit.rlim_max < DESCRIPTORS ? limit.rlim_max : DESCRIPTORS;
    if (setrlimit(RLIMIT_NOFILE, &limit) < 0)
        log_warning("the limit of open files stays as it is", "error", strerror(errno));
}

/* Bodies and lists are large and short-lived. Left to itself, the C library soon keeps blocks of
 * their size for later. */
static void return_large_blocks(void)
{
    mallopt(M_MMAP_THRESHOLD, LARGE_BLOCK);
}

static int open_signals(void)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    if (sigprocmask(SIG_BLOCK, &set, NULL) < 0)
        return -1;
    signal(SIGPIPE, SIG_IGN);
    return signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
}

int command_serve(int argc, char **argv)
{
    static struct serve serve;
    struct error error = {0};
    serve.clock = clock_system();
    mutex_init(&serve.lease_mutex);
    int exit_code = serve_options_parse(argc, argv, &serve.options);
    if (exit_code >= 0)
        return exit_code;
    log_configure((enum log_format)serve.options.log_format,
                  (enum log_level)serve.options.log_level);
    raise_descriptor_limit();
    return_large_blocks();
    serve.signals = open_signals();
    if (serve.signals < 0) {
        log_error("could not set up signals", "error", strerror(errno));
        return 1;
    }
    int result = serve_start(&serve, &error);
    if (result == 0) {
        serve_loop(&serve);
        serve_drain(&serve);
    } else if (result != -ECANCELED) {
        log_error("could not start", "error", error.text);
    }
    serve_free(&serve);
    close(serve.signals);
    if (result == 0)
        log_info("stopped");
    return result == 0 || result == -ECANCELED ? 0 : 1;
}
