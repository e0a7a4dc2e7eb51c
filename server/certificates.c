/* The serving certificate of `ipwarden serve`, from one of two sources: the state machine of
 * certs/ over the API, or a directory that somebody else keeps. Here are the joints: what main
 * asks for, what http threads ask for, logging, and the publication of what a directory says. */
#include "server/certificates.h"

#include "certs/certificate.h"
#include "certs/files.h"
#include "certs/rotation.h"
#include "certs/store.h"
#include "server/base/log.h"
#include "server/certificates_api.h"
#include "server/derived_path.h"
#include "server/segments.h"

#include <errno.h>
#include <openssl/crypto.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

#define TICK_MOST (5 * CLOCK_SECOND)
#define SWEEP_PERIOD (60 * CLOCK_SECOND)
#define RETRY_FIRST (100 * CLOCK_MILLISECOND)
#define OPEN_SLICE (50 * CLOCK_MILLISECOND)
/* With a directory: how long API servers are given to see a new authority before it is relied
 * on, and how long after a change the other replicas may still serve what was there before (a
 * kubelet refreshes a mounted Secret within about 90 s). */
#define DIRECTORY_SETTLE (10 * CLOCK_SECOND)
#define DIRECTORY_OVERLAP (300 * CLOCK_SECOND)
/* How long API servers may still call a segment after they were told of another. */
#define SEGMENT_OVERLAP (300 * CLOCK_SECOND)

struct certificates {
    struct certificates_options options; /* with the defaults filled in */
    struct certificates_api *api;        /* NULL without a client */
    struct certs_store *store;           /* NULL with tls_dir */
    struct certs_files *files;           /* NULL without */
    struct certs_bundle served;          /* from files: what is served */
    bool has_served;
    int64_t changed_at; /* monotonic: when files were last seen to change */
    int64_t swept_at;   /* monotonic */
    bool open;          /* on_change is called from now on */
    char said[sizeof(((struct error *)0)->text)]; /* the failure that was logged last */
    _Atomic int64_t expiry;                       /* seconds since 1970 */
    struct segments segments;
    struct derived_path derived; /* with tls_dir */
};

/* --- what http threads ask --- */

const char *certificates_route(const struct certificates *certificates, const char *request_path)
{
    /* The cast takes const away: locking changes nothing that a caller could see. */
    return segments_route((struct segments *)(uintptr_t)&certificates->segments, request_path);
}

int64_t certificates_expiry(const struct certificates *certificates)
{
    return atomic_load(&certificates->expiry);
}

/* --- what the store needs --- */

static struct certificates_api *api_of(void *context)
{
    return ((struct certificates *)context)->api;
}

/* What API servers are told to call is good, whoever wrote it and whatever the Secret says: so no
 * call is refused while the two differ. */
static int inspect(void *context, struct certs_published *ret_published, struct error *error)
{
    struct certificates *certificates = context;
    int64_t now = clock_monotonic(certificates->options.clock);
    int code = certificates_api_inspect(certificates->api, ret_published, error);
    for (size_t i = 0; code == 0 && i < ret_published->count; i++)
        segments_see(&certificates->segments, ret_published->entries[i].path, now);
    return code;
}

static int load(void *context, struct certs_bundle *ret_bundle, char **ret_version,
                struct error *error)
{
    return certificates_api_load(api_of(context), ret_bundle, ret_version, error);
}

static int save(void *context, const struct certs_bundle *bundle, const char *version,
                struct error *error)
{
    return certificates_api_save(api_of(context), bundle, version, error);
}

static int publish(void *context, const char *ca_pem, const char *path, struct error *error)
{
    return certificates_api_publish(api_of(context), ca_pem, path, error);
}

static int acknowledge(void *context, const char *fingerprint, struct error *error)
{
    return certificates_api_acknowledge(api_of(context), fingerprint, error);
}

static int serving(void *context, char ***ret_fingerprints, size_t *ret_count, struct error *error)
{
    return certificates_api_serving(api_of(context), ret_fingerprints, ret_count, error);
}

/* Before certificates_open() returns there is no listener to tell: it starts with what
 * certificates_current() says. */
static int serve(void *context, const struct certs_bundle *bundle, struct error *error)
{
    struct certificates *certificates = context;
    const struct certificates_options *options = &certificates->options;
    struct certs_description description;
    int code = certs_describe(bundle->chain_pem, &description, error);
    if (code != 0)
        return code;
    if (certificates->open && options->on_change != NULL)
        code = options->on_change(options->context, bundle->chain_pem, bundle->key_pem);
    if (code != 0)
        error_set(error, code, "the listener doesn't take the new certificate");
    else
        atomic_store(&certificates->expiry, description.not_after / CLOCK_SECOND);
    certs_description_clear(&description);
    return code;
}

static const struct certs_store_operations operations = {
    .inspect = inspect,
    .load = load,
    .save = save,
    .publish = publish,
    .acknowledge = acknowledge,
    .serving = serving,
    .serve = serve,
};

/* --- ticks --- */

/* What the steps of the store mean to a reader of logs; most are routine. */
static void log_step(const char *step)
{
    static const struct {
        const char *step;
        enum log_level level;
        const char *message;
    } table[] = {
        {"create", LOG_LEVEL_INFO, "certificates: made an authority and a serving certificate"},
        {"repair", LOG_LEVEL_WARNING, "certificates: the Secret was lost or damaged; repaired"},
        {"issue", LOG_LEVEL_INFO, "certificates: issued a new serving certificate"},
        {"begin", LOG_LEVEL_INFO, "certificates: a new authority, since the present one is old"},
        {"finish", LOG_LEVEL_INFO, "certificates: the old authority is no longer needed"},
        {"move", LOG_LEVEL_DEBUG, "certificates: a new secret segment of the path"},
        {"publish", LOG_LEVEL_INFO, "certificates: webhook configurations brought up to date"},
    };
    for (size_t i = 0; step != NULL && i < sizeof(table) / sizeof(table[0]); i++) {
        if (strcmp(table[i].step, step) == 0)
            log_event(table[i].level, table[i].message, NULL);
    }
}

static int tick_store(struct certificates *certificates, int64_t *ret_delay, struct error *error)
{
    int code = certs_store_tick(certificates->store, ret_delay, error);
    const struct certs_bundle *bundle = certs_store_bundle(certificates->store);
    log_step(certs_store_last_step(certificates->store));
    int64_t now = clock_monotonic(certificates->options.clock);
    if (bundle != NULL)
        segments_see(&certificates->segments, bundle->path, now);
    if (code == 0)
        segments_forget(&certificates->segments, now - SEGMENT_OVERLAP);
    if (code == 0 && *ret_delay > 0 && now - certificates->swept_at >= SWEEP_PERIOD) {
        certificates->swept_at = now;
        code = certificates_api_sweep(certificates->api, error);
    }
    return code;
}

/* Whether the path has to be derived: the directory has no file path, and it is for us to tell API
 * servers about one, since we tell them what to trust. */
static bool derives_path(const struct certificates *certificates, const struct certs_bundle *bundle)
{
    return bundle->path[0] == '\0' && bundle->ca_pem[0] != '\0' && certificates->api != NULL &&
           certificates->options.path_period > 0;
}

static void see_path(struct certificates *certificates, const struct certs_bundle *bundle)
{
    struct segments *segments = &certificates->segments;
    int64_t now = clock_monotonic(certificates->options.clock);
    bool derives = derives_path(certificates, bundle);
    segments_set_rooted(segments,
                        derives ? certificates->derived.is_rooted : bundle->path[0] == '\0');
    segments_see(segments, bundle->path, now);
    if (derives)
        derived_path_update(&certificates->derived, bundle->key_pem, segments);
    segments_forget(segments, now - SEGMENT_OVERLAP);
}

/* Makes the webhook configurations say what the directory says. For some time after a change
 * what they trusted before stays: other replicas may see the change later. */
static int publish_directory(struct certificates *certificates, const struct certs_bundle *bundle,
                             struct error *error)
{
    struct certs_published published = {0};
    char *joined = strdup(bundle->ca_pem);
    if (joined == NULL)
        return error_no_memory(error);
    int code = inspect(certificates, &published, error);
    int64_t age = clock_monotonic(certificates->options.clock) - certificates->changed_at;
    for (size_t i = 0; code == 0 && age < DIRECTORY_OVERLAP && i < published.count; i++) {
        char *more = NULL;
        code = certs_rotation_join(joined, published.entries[i].ca_pem, &more, NULL, error);
        if (code == 0) {
            free(joined);
            joined = more;
        }
    }
    char path[CERTS_PATH_LENGTH + 1];
    memcpy(path, bundle->path, sizeof(path));
    if (code == 0 && derives_path(certificates, bundle))
        derived_path_choose(&certificates->derived, &published, path);
    certs_published_clear(&published);
    /* This writes only where something differs. */
    if (code == 0)
        code = certificates_api_publish(certificates->api, joined, path, error);
    free(joined);
    return code;
}

static int serve_directory(struct certificates *certificates, const struct certs_bundle *bundle,
                           struct error *error)
{
    struct certs_bundle copy;
    int code = certs_bundle_copy(bundle, &copy, error);
    if (code != 0)
        return code;
    code = serve(certificates, &copy, error);
    if (code != 0) {
        certs_bundle_clear(&copy);
        return code;
    }
    certs_bundle_clear(&certificates->served);
    certificates->served = copy;
    certificates->has_served = true;
    log_info("certificates: serving what the directory has");
    return 0;
}

static int tick_directory(struct certificates *certificates, int64_t *ret_delay,
                          struct error *error)
{
    bool changed = false;
    int64_t now = clock_monotonic(certificates->options.clock);
    int code = certs_files_check(certificates->files, &changed, error);
    const struct certs_bundle *bundle = certs_files_bundle(certificates->files);
    *ret_delay = code == 0 ? TICK_MOST : CLOCK_SECOND;
    if (bundle == NULL)
        return code;
    /* Segments are known one period ahead, and are to be called soon. */
    if (derives_path(certificates, bundle) && certificates->options.path_period / 3 < *ret_delay)
        *ret_delay = certificates->options.path_period / 3;
    if (changed)
        certificates->changed_at = now;
    see_path(certificates, bundle);
    bool published = certificates->api != NULL && bundle->ca_pem[0] != '\0';
    if (published) {
        struct error reason;
        int published_code = publish_directory(certificates, bundle, &reason);
        see_path(certificates, bundle);
        if (published_code != 0 && code == 0)
            code = error_set(error, published_code, "%s", reason.text);
    }
    bool waits = published && certificates->has_served &&
                 strcmp(bundle->ca_pem, certificates->served.ca_pem) != 0 &&
                 now - certificates->changed_at < DIRECTORY_SETTLE;
    if (waits)
        *ret_delay = CLOCK_SECOND;
    else if (!certificates->has_served || !certs_bundle_equals(bundle, &certificates->served)) {
        int served = serve_directory(certificates, bundle, error);
        code = served != 0 ? served : code;
    }
    return code;
}

/* The delay, or up to a tenth more or less, so that replicas that were started together don't ask
 * together for ever. */
static int64_t jitter(int64_t delay)
{
    uint32_t random = UINT32_MAX / 2;
    if (getrandom(&random, sizeof(random), GRND_NONBLOCK) != (ssize_t)sizeof(random))
        return delay;
    return delay - delay / 10 + (int64_t)((double)delay / 5 * random / UINT32_MAX);
}

int64_t certificates_tick(struct certificates *certificates)
{
    struct error error;
    int64_t delay = TICK_MOST;
    int code = certificates->store != NULL ? tick_store(certificates, &delay, &error)
                                           : tick_directory(certificates, &delay, &error);
    if (code == -EAGAIN || code == -EEXIST) {
        /* Another replica wrote first. */
        delay = CLOCK_SECOND;
    } else if (code != 0 && strcmp(certificates->said, error.text) != 0) {
        log_warning("certificates: something failed and is tried again", "error", error.text);
        snprintf(certificates->said, sizeof(certificates->said), "%s", error.text);
    } else if (code == 0 && certificates->said[0] != '\0' && delay > 0) {
        log_info("certificates: it works again");
        certificates->said[0] = '\0';
    }
    delay = delay < TICK_MOST ? delay : TICK_MOST;
    return delay >= CLOCK_SECOND ? jitter(delay) : delay;
}

/* --- opening and closing --- */

static void fill_options(struct certificates_options *options)
{
    if (options->clock == NULL)
        options->clock = clock_system();
    if (options->secret_name == NULL)
        options->secret_name = CERTIFICATES_SECRET;
    if (options->mutating_name == NULL)
        options->mutating_name = CERTIFICATES_WEBHOOKS;
    if (options->validating_name == NULL)
        options->validating_name = CERTIFICATES_WEBHOOKS;
}

static int open_api(struct certificates *certificates, struct error *error)
{
    const struct certificates_options *options = &certificates->options;
    const struct certificates_api_options api = {
        .client = options->client,
        .clock = options->clock,
        .namespace_name = options->namespace_name,
        .secret_name = options->secret_name,
        .identity = options->identity,
        .webhook_url = options->webhook_url,
        .mutating_name = options->mutating_name,
        .validating_name = options->validating_name,
        .crd_names = options->crd_names,
        .crd_count = options->crd_count,
    };
    return certificates_api_new(&api, &certificates->api, error);
}

static int open_store(struct certificates *certificates, struct error *error)
{
    const struct certificates_options *options = &certificates->options;
    const struct certs_store_options store = {
        .operations = &operations,
        .context = certificates,
        .clock = options->clock,
        .names = {options->dns_names, options->dns_count, options->ip_addresses, options->ip_count},
        .path_period = options->path_period,
    };
    if (certificates->api == NULL || options->namespace_name == NULL || options->identity == NULL)
        return error_set(error, -EINVAL,
                         "certificates are kept in a Secret or read from a directory: without the "
                         "API there must be one");
    return certs_store_new(&store, &certificates->store, error);
}

static int open_parts(struct certificates *certificates, struct error *error)
{
    const struct certificates_options *options = &certificates->options;
    int code = options->client != NULL ? open_api(certificates, error) : 0;
    if (code == 0 && options->tls_dir != NULL)
        code = certs_files_open(options->tls_dir, options->clock, 0, &certificates->files, error);
    else if (code == 0)
        code = open_store(certificates, error);
    return code;
}

static const struct certs_bundle *served(const struct certificates *certificates)
{
    if (certificates->store != NULL)
        return certs_store_serving(certificates->store);
    return certificates->has_served ? &certificates->served : NULL;
}

/* Sleeps, listening for stop. Returns whether to give up. */
static bool wait_or_stop(const struct certificates *certificates, int64_t duration)
{
    const struct certificates_options *options = &certificates->options;
    for (int64_t left = duration;; left -= OPEN_SLICE) {
        if (options->stop != NULL && options->stop(options->context))
            return true;
        if (left <= 0)
            return false;
        const struct timespec slice = {.tv_nsec = left < OPEN_SLICE ? left : OPEN_SLICE};
        nanosleep(&slice, NULL);
    }
}

static int wait_for_first(struct certificates *certificates, struct error *error)
{
    int64_t pause = RETRY_FIRST;
    for (;;) {
        int64_t delay = certificates_tick(certificates);
        if (served(certificates) != NULL)
            return 0;
        /* Replicas that start together wait for each other's writes, and no longer than that. */
        if (wait_or_stop(certificates, delay < pause ? delay : pause))
            return error_set(error, -ECANCELED, "told to stop before there was a certificate");
        pause = pause * 2 < TICK_MOST ? pause * 2 : TICK_MOST;
    }
}

int certificates_open(const struct certificates_options *options,
                      struct certificates **ret_certificates, struct error *error)
{
    struct certificates *certificates = calloc(1, sizeof(*certificates));
    if (certificates == NULL)
        return error_no_memory(error);
    segments_init(&certificates->segments);
    certificates->options = *options;
    fill_options(&certificates->options);
    certificates->derived = (struct derived_path){.clock = certificates->options.clock,
                                                  .period = options->path_period,
                                                  .overlap = DIRECTORY_OVERLAP};
    certificates->swept_at = clock_monotonic(certificates->options.clock);
    int code = open_parts(certificates, error);
    if (code == 0)
        code = wait_for_first(certificates, error);
    if (code != 0) {
        certificates_close(certificates);
        return code;
    }
    certificates->open = true;
    *ret_certificates = certificates;
    return 0;
}

void certificates_close(struct certificates *certificates)
{
    if (certificates == NULL)
        return;
    certs_store_free(certificates->store);
    certs_files_close(certificates->files);
    certificates_api_free(certificates->api);
    certs_bundle_clear(&certificates->served);
    OPENSSL_cleanse(&certificates->derived, sizeof(certificates->derived));
    segments_destroy(&certificates->segments);
    free(certificates);
}

/* --- what main asks --- */

void certificates_current(const struct certificates *certificates, const char **ret_chain_pem,
                          const char **ret_key_pem)
{
    const struct certs_bundle *bundle = served(certificates);
    *ret_chain_pem = bundle->chain_pem;
    *ret_key_pem = bundle->key_pem;
}

int certificates_fd(const struct certificates *certificates)
{
    return certificates->files != NULL ? certs_files_fd(certificates->files) : -1;
}
