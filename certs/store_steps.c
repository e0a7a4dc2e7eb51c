/* The steps of the state machine: when each is due and what it does. The order matters only for
 * speed; every step checks by itself all that makes it safe. See store.h for the rules that the
 * checks add up to. */
#include "certs/store_private.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* ---- what the checks are made of ---- */

static bool is_serving(const struct certs_store *store)
{
    return store->serving.leaf_good;
}

static bool leaf_is_valid(const struct certs_condition *condition, int64_t wall)
{
    return certs_rotation_is_valid(condition->leaf_not_before, condition->leaf_not_after, wall);
}

static bool signer_is_valid(const struct certs_look *look)
{
    const struct certs_condition *condition = &look->condition;
    return condition->signer_good &&
           certs_rotation_is_valid(condition->signer_not_before, condition->signer_not_after,
                                   look->wall);
}

/* All authorities of the bundle have been trusted everywhere for the settling time. */
static bool is_settled(const struct certs_store *store, const struct certs_look *look)
{
    return look->covering && look->monotonic - store->published_since >= store->options.settle;
}

/* Whether a replica that serves nothing may begin with the bundle's leaf. */
static bool may_start(const struct certs_store *store, const struct certs_look *look)
{
    if (is_serving(store) || !look->condition.leaf_good)
        return false;
    /* A better leaf is about to be issued. */
    if (!leaf_is_valid(&look->condition, look->wall) && signer_is_valid(look))
        return false;
    /* Where publishing isn't allowed, somebody else does it, in their own time. */
    if (store->publish_refused)
        return true;
    /* Published authorities that the bundle lacks mean that others may serve something else. Then
     * what we serve must have been trusted for long enough, or the traffic is better left to
     * them. */
    return !look->contradicted && (look->beyond == 0 || is_settled(store, look));
}

/* Whether a replica may go over from what it serves to the bundle's leaf. */
static bool may_switch(const struct certs_store *store, const struct certs_look *look)
{
    const struct certs_condition *ours = &store->serving;
    const struct certs_condition *theirs = &look->condition;
    if (!is_serving(store) || !theirs->leaf_good)
        return false;
    if (leaf_is_valid(ours, look->wall) != leaf_is_valid(theirs, look->wall))
        return leaf_is_valid(theirs, look->wall);
    return strcmp(ours->leaf_authority, theirs->leaf_authority) == 0 || is_settled(store, look);
}

static bool is_restrained(const struct certs_store *store, const struct certs_look *look)
{
    /* Replicas whose clocks disagree by weeks would otherwise replace each other's certificates
     * for ever. */
    return is_serving(store) && store->issued_at != CERTS_NEVER &&
           look->monotonic - store->issued_at < store->options.restraint;
}

static int save(struct certs_store *store, const struct certs_look *look,
                const struct certs_bundle *bundle, struct error *error)
{
    return store->options.operations->save(store->options.context, bundle, look->version, error);
}

/* ---- create and repair: no Secret, or one that doesn't hold together ---- */

/* The very first bundle, in no Secret or in an empty one: the same work as a repair, but nothing to
 * worry about. */
static bool create_due(const struct certs_store *store, const struct certs_look *look)
{
    bool blank = look->version == NULL || certs_bundle_is_empty(&look->bundle);
    return blank && certs_store_bundle(store) == NULL;
}

static bool repair_due(const struct certs_store *store, const struct certs_look *look)
{
    (void)store;
    return !certs_rotation_is_whole(&look->condition) ||
           look->condition.signer_not_after <= look->wall;
}

static int repair(struct certs_store *store, const struct certs_look *look, struct error *error)
{
    const struct certs_store_options *options = &store->options;
    struct certs_remains remains = {
        .remembered = certs_store_bundle(store),
        .published_ca = look->trusted,
    };
    for (size_t i = 0; i < look->published.count && remains.published_path == NULL; i++) {
        if (look->published.entries[i].path[0] != '\0')
            remains.published_path = look->published.entries[i].path;
    }
    struct certs_bundle bundle = {0};
    int code = certs_rotation_repair(&look->bundle, &remains, &options->names, options->clock,
                                     &options->lifetimes, &bundle, error);
    if (code == 0)
        code = save(store, look, &bundle, error);
    certs_bundle_clear(&bundle);
    return code;
}

/* ---- announce and serve ---- */

static bool announce_is_fresh(const struct certs_store *store, const struct certs_look *look)
{
    return strcmp(store->announced, look->condition.leaf_fingerprint) == 0 &&
           store->announced_at != CERTS_NEVER &&
           look->monotonic - store->announced_at < store->options.announce;
}

static bool announce_due(const struct certs_store *store, const struct certs_look *look)
{
    return may_start(store, look) && !announce_is_fresh(store, look);
}

static int announce(struct certs_store *store, const struct certs_look *look, struct error *error)
{
    const char *leaf = look->condition.leaf_fingerprint;
    int code = certs_store_announce(store, leaf, error);
    if (code == -EACCES) {
        /* Nobody may announce here, so nobody retires anything either. */
        memcpy(store->announced, leaf, sizeof(store->announced));
        store->announced_at = look->monotonic;
    }
    return code;
}

static bool serve_due(const struct certs_store *store, const struct certs_look *look)
{
    if (!is_serving(store))
        return may_start(store, look) && announce_is_fresh(store, look);
    return strcmp(store->serving.leaf_fingerprint, look->condition.leaf_fingerprint) != 0 &&
           may_switch(store, look);
}

static int serve(struct certs_store *store, const struct certs_look *look, struct error *error)
{
    struct certs_bundle copy;
    int code = certs_bundle_copy(&look->bundle, &copy, error);
    if (code != 0)
        return code;
    code = store->options.operations->serve(store->options.context, &copy, error);
    if (code != 0) {
        certs_bundle_clear(&copy);
        return code;
    }
    certs_bundle_clear(&store->served);
    store->served = copy;
    store->serving = look->condition;
    return 0;
}

/* ---- publish: what the webhook configurations trust and call ---- */

/* The bundle's authorities alone, when nobody can be serving anything else. */
static bool publishes_exactly(const struct certs_look *look)
{
    return look->beyond == 0 || look->everyone;
}

static bool publish_due(const struct certs_store *store, const struct certs_look *look)
{
    bool needed = !look->covering || (look->beyond > 0 && look->everyone);
    bool moves = false;
    if (!look->published_known || !look->condition.authorities_good || !look->condition.path_good)
        return false;
    for (size_t i = 0; i < look->published.count; i++) {
        const struct certs_published_entry *entry = &look->published.entries[i];
        bool elsewhere = !entry->is_open && strcmp(entry->path, look->bundle.path) != 0;
        needed = needed || entry->misdirected || elsewhere;
        moves = moves || (elsewhere && entry->path[0] != '\0');
    }
    /* A path that changes must have been seen by all replicas before it is called. */
    return needed &&
           (!moves || look->monotonic - store->path_since >= certs_store_path_settle(store));
}

static int publish(struct certs_store *store, const struct certs_look *look, struct error *error)
{
    const struct certs_store_options *options = &store->options;
    char *joined = NULL;
    int code = certs_rotation_join(
        look->bundle.ca_pem, publishes_exactly(look) ? "" : look->trusted, &joined, NULL, error);
    if (code == 0)
        code = options->operations->publish(options->context, joined, look->bundle.path, error);
    store->publish_refused = code != 0 && code != -EAGAIN;
    free(joined);
    return code;
}

/* ---- issue: a new leaf ---- */

static bool leaf_is_due(const struct certs_look *look)
{
    const struct certs_condition *condition = &look->condition;
    return !leaf_is_valid(condition, look->wall) ||
           certs_rotation_is_due(condition->leaf_not_before, condition->leaf_not_after, look->wall);
}

static bool issue_due(const struct certs_store *store, const struct certs_look *look)
{
    const struct certs_condition *condition = &look->condition;
    if (!certs_rotation_is_whole(condition) || !signer_is_valid(look))
        return false;
    if (condition->leaf_by_signer)
        return (leaf_is_due(look) || !condition->leaf_names) && !is_restrained(store, look);
    /* With an expired leaf there is nothing to lose by being early. */
    return is_settled(store, look) || condition->leaf_not_after <= look->wall;
}

static int issue(struct certs_store *store, const struct certs_look *look, struct error *error)
{
    const struct certs_store_options *options = &store->options;
    bool by_signer = look->condition.leaf_by_signer;
    struct certs_bundle bundle = {0};
    int code = certs_bundle_copy(&look->bundle, &bundle, error);
    /* Replicas that want different names (during a change of options) would take turns
     * otherwise. */
    if (code == 0 && by_signer && !leaf_is_due(look))
        code = certs_rotation_extend(&bundle, &options->names, options->clock, &options->lifetimes,
                                     error);
    else if (code == 0)
        code = certs_rotation_issue(&bundle, &options->names, options->clock, &options->lifetimes,
                                    error);
    if (code == 0 && store->options.path_period > 0)
        code = certs_path_create(bundle.path, error);
    if (code == 0)
        code = save(store, look, &bundle, error);
    if (code == 0 && by_signer)
        store->issued_at = look->monotonic;
    certs_bundle_clear(&bundle);
    return code;
}

/* ---- move: another secret segment ---- */

/* The present one has to be called everywhere first. That, and that it is called for the whole
 * period, each replica sees by itself: whoever has seen it for longest is first. */
static bool move_due(const struct certs_store *store, const struct certs_look *look)
{
    int64_t period = store->options.path_period;
    bool called = false;
    if (period == 0 || !look->published_known || !certs_rotation_is_whole(&look->condition) ||
        !is_serving(store))
        return false;
    for (size_t i = 0; i < look->published.count; i++) {
        const struct certs_published_entry *entry = &look->published.entries[i];
        if (!entry->is_open && strcmp(entry->path, look->bundle.path) != 0)
            return false;
        called = called || !entry->is_open;
    }
    return called && look->monotonic - store->path_since >= period;
}

static int move(struct certs_store *store, const struct certs_look *look, struct error *error)
{
    struct certs_bundle bundle = {0};
    int code = certs_bundle_copy(&look->bundle, &bundle, error);
    if (code == 0)
        code = certs_path_create(bundle.path, error);
    if (code == 0)
        code = save(store, look, &bundle, error);
    certs_bundle_clear(&bundle);
    return code;
}

/* ---- begin and finish: the rotation of the authority ---- */

static bool begin_due(const struct certs_store *store, const struct certs_look *look)
{
    const struct certs_condition *condition = &look->condition;
    /* A replica that can't see the publication can't carry a rotation through: the rotation waits
     * for `ipwarden certs rotate`. */
    return look->published_known && certs_rotation_is_whole(condition) &&
           condition->phase == CERTS_PHASE_STABLE && signer_is_valid(look) &&
           !is_restrained(store, look) &&
           certs_rotation_is_due(condition->signer_not_before, condition->signer_not_after,
                                 look->wall);
}

static int begin(struct certs_store *store, const struct certs_look *look, struct error *error)
{
    struct certs_bundle bundle = {0};
    int code = certs_bundle_copy(&look->bundle, &bundle, error);
    if (code == 0)
        code =
            certs_rotation_begin(&bundle, store->options.clock, &store->options.lifetimes, error);
    if (code == 0)
        code = save(store, look, &bundle, error);
    if (code == 0)
        store->issued_at = look->monotonic;
    certs_bundle_clear(&bundle);
    return code;
}

static bool finish_due(const struct certs_store *store, const struct certs_look *look)
{
    (void)store;
    return certs_rotation_is_whole(&look->condition) &&
           look->condition.phase == CERTS_PHASE_SWITCHED && look->everyone;
}

static int finish(struct certs_store *store, const struct certs_look *look, struct error *error)
{
    struct certs_bundle bundle = {0};
    int code = certs_bundle_copy(&look->bundle, &bundle, error);
    if (code == 0)
        code = certs_rotation_finish(&bundle, error);
    if (code == 0)
        code = save(store, look, &bundle, error);
    certs_bundle_clear(&bundle);
    return code;
}

const struct certs_step certs_steps[] = {
    {.name = "create", .due = create_due, .take = repair},
    {.name = "repair", .due = repair_due, .take = repair},
    {.name = "announce", .due = announce_due, .take = announce},
    {.name = "serve", .due = serve_due, .take = serve},
    {.name = "publish", .due = publish_due, .take = publish},
    {.name = "issue", .due = issue_due, .take = issue},
    {.name = "begin", .due = begin_due, .take = begin},
    {.name = "finish", .due = finish_due, .take = finish},
    {.name = "move", .due = move_due, .take = move},
    {.name = NULL},
};
