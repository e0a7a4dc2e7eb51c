/* A tick of the state machine: looking at the world in the one order that is safe, going through
 * the table of steps, and when to look again. The steps themselves are in store_steps.c; store.h
 * has the rules that they add up to. */
#include "certs/store_private.h"

#include "certs/certificate.h"
#include "certs/pem.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define DEFAULT_SETTLE (10 * CLOCK_SECOND)
#define DEFAULT_POLL (5 * CLOCK_SECOND)
#define DEFAULT_ANNOUNCE (10 * CLOCK_SECOND)
#define DEFAULT_RESTRAINT (600 * CLOCK_SECOND)
#define RETRY_FIRST (100 * CLOCK_MILLISECOND)
#define RETRY_MOST (10 * CLOCK_SECOND)

void certs_published_clear(struct certs_published *published)
{
    for (size_t i = 0; i < published->count; i++)
        free(published->entries[i].ca_pem);
    free(published->entries);
    *published = (struct certs_published){0};
}

int certs_published_add(struct certs_published *published, const char *ca_pem, const char *path,
                        bool misdirected, struct error *error)
{
    struct certs_published_entry entry = {
        .ca_pem = strdup(ca_pem), .is_open = path == NULL, .misdirected = misdirected};
    struct certs_published_entry *entries = NULL;
    if (entry.ca_pem != NULL)
        entries = realloc(published->entries, (published->count + 1) * sizeof(*entries));
    if (entries == NULL) {
        free(entry.ca_pem);
        return error_no_memory(error);
    }
    if (path != NULL && certs_path_is_sane(path))
        memcpy(entry.path, path, sizeof(entry.path));
    entries[published->count++] = entry;
    published->entries = entries;
    return 0;
}

static int64_t or_default(int64_t chosen, int64_t otherwise)
{
    return chosen > 0 ? chosen : otherwise;
}

int certs_store_new(const struct certs_store_options *options, struct certs_store **ret_store,
                    struct error *error)
{
    int code = certs_names_check(&options->names, error);
    if (code != 0)
        return code;
    struct certs_store *store = calloc(1, sizeof(*store));
    if (store == NULL)
        return error_no_memory(error);
    store->options = *options;
    store->options.settle = or_default(options->settle, DEFAULT_SETTLE);
    store->options.poll = or_default(options->poll, DEFAULT_POLL);
    store->options.announce = or_default(options->announce, DEFAULT_ANNOUNCE);
    store->options.restraint = or_default(options->restraint, DEFAULT_RESTRAINT);
    store->announced_at = CERTS_NEVER;
    store->issued_at = CERTS_NEVER;
    *ret_store = store;
    return 0;
}

void certs_store_free(struct certs_store *store)
{
    if (store == NULL)
        return;
    certs_bundle_clear(&store->served);
    certs_bundle_clear(&store->remembered);
    free(store->published_seen);
    free(store);
}

const struct certs_bundle *certs_store_serving(const struct certs_store *store)
{
    return store->serving.leaf_good ? &store->served : NULL;
}

const struct certs_bundle *certs_store_bundle(const struct certs_store *store)
{
    return store->remembered.chain_pem != NULL ? &store->remembered : NULL;
}

const char *certs_store_last_step(const struct certs_store *store)
{
    return store->last_step;
}

static void look_clear(struct certs_look *look)
{
    certs_published_clear(&look->published);
    certs_bundle_clear(&look->bundle);
    free(look->version);
    free(look->trusted);
}

/* Keeps the first of several errors of one tick. */
static void defer(int code, const struct error *reason, int *first, struct error *error)
{
    if (*first == 0) {
        *first = code;
        error_set(error, code, "%s", reason->text);
    }
}

static int inspect(struct certs_store *store, struct certs_look *look, struct error *error)
{
    const struct certs_store_options *options = &store->options;
    int code = options->operations->inspect(options->context, &look->published, error);
    look->published_known = code == 0;
    return code == -EACCES ? 0 : code;
}

static int remember(struct certs_store *store, const struct certs_look *look, struct error *error)
{
    struct certs_bundle copy;
    int code = certs_bundle_copy(&look->bundle, &copy, error);
    if (code != 0)
        return code;
    certs_bundle_clear(&store->remembered);
    store->remembered = copy;
    store->remembering = look->condition;
    return 0;
}

static int load(struct certs_store *store, struct certs_look *look, struct error *error)
{
    static char nothing[] = "";
    static const struct certs_bundle empty = {
        .chain_pem = nothing, .key_pem = nothing, .ca_pem = nothing, .ca_key_pem = nothing};
    const struct certs_store_options *options = &store->options;
    int code = options->operations->load(options->context, &look->bundle, &look->version, error);
    if (code == -ENOENT)
        code = certs_bundle_copy(&empty, &look->bundle, error);
    if (code != 0)
        return code;
    /* Usually nothing has changed, and examining takes some milliseconds of arithmetic. */
    if (store->remembered.chain_pem != NULL &&
        certs_bundle_equals(&look->bundle, &store->remembered)) {
        look->condition = store->remembering;
        return 0;
    }
    code = certs_rotation_examine(&look->bundle, &options->names, &look->condition, error);
    return code == 0 && certs_rotation_is_whole(&look->condition) ? remember(store, look, error)
                                                                  : code;
}

/* Joins what all entries trust, and restarts the settling time when any of it has changed. */
static int note_published(struct certs_store *store, struct certs_look *look, struct error *error)
{
    struct buffer seen;
    buffer_init(&seen, SIZE_MAX);
    char *trusted = strdup("");
    int code = trusted != NULL ? 0 : error_no_memory(error);
    for (size_t i = 0; code == 0 && i < look->published.count; i++) {
        char *joined = NULL;
        buffer_append_string(&seen, look->published.entries[i].ca_pem);
        buffer_append_char(&seen, '\n');
        code =
            certs_rotation_join(trusted, look->published.entries[i].ca_pem, &joined, NULL, error);
        if (code == 0) {
            free(trusted);
            trusted = joined;
        }
    }
    look->trusted = trusted;
    char *text = buffer_steal(&seen, NULL);
    if (text == NULL)
        return error_no_memory(error);
    if (code != 0) {
        free(text);
        return code;
    }
    if (store->published_seen == NULL || strcmp(store->published_seen, text) != 0)
        store->published_since = look->monotonic;
    free(store->published_seen);
    store->published_seen = text;
    return 0;
}

/* Compares what is published with the bundle. */
static int compare(struct certs_look *look, struct error *error)
{
    char *joined = NULL;
    int code =
        certs_rotation_join(look->bundle.ca_pem, look->trusted, &joined, &look->beyond, error);
    free(joined);
    look->covering = look->published_known;
    for (size_t i = 0; code == 0 && i < look->published.count; i++) {
        size_t lacking = 0;
        joined = NULL;
        code = certs_rotation_join(look->published.entries[i].ca_pem, look->bundle.ca_pem, &joined,
                                   &lacking, error);
        free(joined);
        look->covering = look->covering && lacking == 0;
    }
    return code;
}

/* Whether all living replicas have served the bundle's leaf for the settling time. Asks only
 * when it matters. */
static int ask_everyone(struct certs_store *store, struct certs_look *look, struct error *error)
{
    const struct certs_store_options *options = &store->options;
    const char *leaf = look->condition.leaf_fingerprint;
    bool matters = look->condition.leaf_good &&
                   (look->condition.phase == CERTS_PHASE_SWITCHED || look->beyond > 0);
    bool all = matters && strcmp(leaf, store->serving.leaf_fingerprint) == 0 &&
               strcmp(leaf, store->announced) == 0;
    char **list = NULL;
    size_t count = 0;
    int code = all ? options->operations->serving(options->context, &list, &count, error) : 0;
    all = all && code == 0 && count > 0;
    for (size_t i = 0; all && i < count; i++)
        all = strcmp(list[i], leaf) == 0;
    certs_list_free(list, count);
    if (!all) {
        store->settled_leaf[0] = '\0';
        return code;
    }
    if (strcmp(store->settled_leaf, leaf) != 0) {
        memcpy(store->settled_leaf, leaf, sizeof(store->settled_leaf));
        store->settled_since = look->monotonic;
    }
    look->everyone = look->monotonic - store->settled_since >= options->settle;
    return 0;
}

int64_t certs_store_path_settle(const struct certs_store *store)
{
    const struct certs_store_options *options = &store->options;
    int64_t longest = options->settle + options->settle / 2;
    if (options->path_period == 0)
        return options->settle;
    return options->path_period / 2 < longest ? options->path_period / 2 : longest;
}

static void note_path(struct certs_store *store, const struct certs_look *look)
{
    if (strcmp(store->path_seen, look->bundle.path) == 0)
        return;
    memcpy(store->path_seen, look->bundle.path, sizeof(store->path_seen));
    store->path_since = look->monotonic;
}

/* Somebody trusts something, but not the bundle's leaf. */
static bool is_contradicted(const struct certs_look *look)
{
    for (size_t i = 0; i < look->published.count; i++) {
        const char *ca_pem = look->published.entries[i].ca_pem;
        bool repeated = i > 0 && strcmp(ca_pem, look->published.entries[i - 1].ca_pem) == 0;
        if (!repeated && ca_pem[0] != '\0' &&
            certs_verify_timeless(look->bundle.chain_pem, ca_pem, NULL) != 0)
            return true;
    }
    return false;
}

/* The order of inspect and load is the first rule of store.h. */
static int look_around(struct certs_store *store, struct certs_look *look, struct error *error)
{
    int code = inspect(store, look, error);
    if (code == 0)
        code = load(store, look, error);
    look->wall = clock_wall(store->options.clock);
    look->monotonic = clock_monotonic(store->options.clock);
    if (code == 0)
        code = note_published(store, look, error);
    if (code == 0)
        code = compare(look, error);
    if (code == 0) {
        note_path(store, look);
        look->contradicted =
            !store->serving.leaf_good && look->condition.leaf_good && is_contradicted(look);
    }
    return code;
}

/* Renews what others know of us, before anything that could fail: a replica that is busy is
 * alive. */
static int heartbeat(struct certs_store *store, struct error *error)
{
    if (!store->serving.leaf_good)
        return 0;
    const char *leaf = store->serving.leaf_fingerprint;
    int64_t now = clock_monotonic(store->options.clock);
    if (strcmp(store->announced, leaf) == 0 && store->announced_at != CERTS_NEVER &&
        now - store->announced_at < store->options.announce)
        return 0;
    return certs_store_announce(store, leaf, error);
}

int certs_store_announce(struct certs_store *store, const char *fingerprint, struct error *error)
{
    const struct certs_store_options *options = &store->options;
    /* Read before the request: others count our silence from no earlier than that. */
    int64_t now = clock_monotonic(options->clock);
    int code = options->operations->acknowledge(options->context, fingerprint, error);
    if (code != 0)
        return code;
    memcpy(store->announced, fingerprint, sizeof(store->announced));
    store->announced_at = now;
    return 0;
}

/* Takes the first step that is due. A step that can't be done makes way for those after it, unless
 * they depend on it. Returns the first error. */
static int take_step(struct certs_store *store, struct certs_look *look, struct error *error)
{
    int first = 0;
    for (const struct certs_step *step = certs_steps; step->name != NULL; step++) {
        struct error reason;
        if (!step->due(store, look))
            continue;
        int code = step->take(store, look, &reason);
        if (code == 0) {
            store->last_step = step->name;
            return first;
        }
        /* Another replica was faster: look again, soon. */
        if (code == -EAGAIN || code == -EEXIST) {
            store->conflict = true;
            return first;
        }
        defer(code, &reason, &first, error);
        if (code == -ENOMEM)
            return first;
    }
    return first;
}

static int64_t next_delay(struct certs_store *store, const struct certs_look *look, int code)
{
    if (code != 0 || store->conflict) {
        int64_t delay = RETRY_FIRST;
        for (unsigned int i = 0; i < store->failures && delay < RETRY_MOST; i++)
            delay *= 2;
        store->failures++;
        return delay < RETRY_MOST ? delay : RETRY_MOST;
    }
    store->failures = 0;
    if (store->last_step != NULL)
        return 0;
    bool waiting = look->condition.phase != CERTS_PHASE_STABLE || look->beyond > 0 ||
                   !store->serving.leaf_good;
    int64_t delay = waiting ? store->options.poll / 5 : store->options.poll;
    int64_t third = certs_store_path_settle(store) / 3;
    return store->options.path_period == 0 || delay < third ? delay : third;
}

int certs_store_tick(struct certs_store *store, int64_t *ret_delay, struct error *error)
{
    struct certs_look look = {0};
    struct error reason;
    int first = 0;
    store->last_step = NULL;
    store->conflict = false;
    int code = heartbeat(store, &reason);
    if (code != 0)
        defer(code, &reason, &first, error);
    code = look_around(store, &look, &reason);
    if (code == 0) {
        int asked = ask_everyone(store, &look, &reason);
        if (asked != 0)
            defer(asked, &reason, &first, error);
        code = take_step(store, &look, &reason);
    }
    if (code != 0)
        defer(code, &reason, &first, error);
    *ret_delay = next_delay(store, &look, first);
    look_clear(&look);
    return first;
}
