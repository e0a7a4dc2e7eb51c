/* The validating calls on IPAMRange and IPAMRequest: everything that is wrong in one answer when
 * they are created, no edit of what has been acted upon, and no end of a request that a pool
 * consists of, nor of the finalizer that keeps it. */
#include "server/admission/kinds.h"
#include "server/admission/reread.h"
#include "server/decide/range_grant.h"
#include "server/state/state_pools.h"

#include <stdio.h>
#include <string.h>

#define SHOWN 124 /* bytes of a value that a message repeats, with NUL */

/* Allows, or refuses with all that was found. Clears errors. */
static void conclude(struct review *review, const char *kind, struct field_errors *errors,
                     const char *warning)
{
    if (field_errors_total(errors) == 0)
        review_allow(review, NULL, warning);
    else
        review_refuse_fields(review, kind, errors);
    field_errors_clear(errors);
}

/* One field that never changes. parent: the member of spec it lies in, or NULL. */
struct fixed_field {
    const char *parent;
    const char *name;
    const char *path;
    const char *older; /* its path in v1alpha1, where that is another */
};

static const struct json_node *fixed_value(const struct json_view *view,
                                           const struct json_node *object,
                                           const struct fixed_field *field)
{
    const struct json_node *spec = json_view_member(view, object, "spec");
    if (field->parent != NULL)
        spec = json_view_member(view, spec, field->parent);
    return json_view_member(view, spec, field->name);
}

static void check_fixed(const struct review *review, const struct fixed_field *fields, size_t count,
                        const char *instead, struct field_errors *errors)
{
    const struct json_view *view = &review->view;
    for (size_t i = 0; i < count; i++) {
        const struct json_node *now = fixed_value(view, review->object, &fields[i]);
        const struct json_node *before = fixed_value(view, review->old_object, &fields[i]);
        char old_text[SHOWN];
        char new_text[SHOWN];
        if (json_view_same(view, now, view, before))
            continue;
        json_view_show(view, before, old_text, sizeof(old_text));
        json_view_show(view, now, new_text, sizeof(new_text));
        field_errors_add(errors, "FieldValueInvalid", fields[i].path,
                         "immutable: it is %s and can't become %s; %s%s%s%s", old_text, new_text,
                         instead, fields[i].older != NULL ? " (in v1alpha1 this is " : "",
                         fields[i].older != NULL ? fields[i].older : "",
                         fields[i].older != NULL ? ")" : "");
    }
}

/* --- ranges --- */

#define OVERLAPS_NAMED 5 /* an API server cuts longer warnings */

static void warn_of_overlap(const struct state *state, const struct ipam_range *range,
                            struct buffer *warning)
{
    size_t position = 0;
    size_t count = 0;
    for (const struct state_object *object;
         (object = state_next(state, STATE_RANGES, &position)) != NULL;) {
        const struct state_range *home = (const struct state_range *)object;
        char text[ADDRESS_TEXT_SIZE];
        struct address address;
        if (home->range == NULL || home->range->ranges == NULL ||
            strcmp(home->key, range->meta.key) == 0 ||
            !ranges_overlap(range->ranges, home->range->ranges, &address))
            continue;
        if (++count > OVERLAPS_NAMED)
            continue;
        address_format(&address, text);
        buffer_printf(warning, "%sIPAMRange %s (%s)",
                      warning->length > 0 ? ", " : "spec.ranges overlaps ", home->key, text);
    }
    if (count > OVERLAPS_NAMED)
        buffer_printf(warning, " and %zu more", count - OVERLAPS_NAMED);
    if (count > 0)
        buffer_append_string(warning,
                             ": the same addresses may be given twice, once from each range");
}

void ipam_range_validate(struct review *review)
{
    static const struct fixed_field fixed[] = {
        {NULL, "mode", "spec.mode", NULL},
        {NULL, "ranges", "spec.ranges", NULL},
        {NULL, "defaultPrefixLength", "spec.defaultPrefixLength", "spec.chunkSize"},
    };
    struct state *state = review->admission->state;
    struct field_errors errors = {0};
    _cleanup_ipam_range_ struct ipam_range *range = NULL;
    struct buffer warning _cleanup_buffer_;
    struct error error;
    buffer_init(&warning, 4000);
    if (review->operation == REVIEW_UPDATE) {
        check_fixed(review, fixed, sizeof(fixed) / sizeof(fixed[0]),
                    "create a second IPAMRange for other addresses", &errors);
    } else if (ipam_range_decode(&review->view, review->object, review->namespace_name, &errors,
                                 &range, &error) < 0) {
        field_errors_clear(&errors);
        review_refuse_object(review, &error);
        return;
    } else if (range->ranges != NULL) {
        mutex_guard(&state->mutex);
        warn_of_overlap(state, range, &warning);
    }
    bool warns = warning.length > 0 && !buffer_failed(&warning);
    conclude(review, "IPAMRange", &errors, warns ? warning.data : NULL);
}

/* --- requests --- */

/* What the range could never give. One that isn't there yet is waited for. */
static void check_possible(const struct state *state, const struct ipam_request *request,
                           struct field_errors *errors)
{
    const struct state_range *home = state_range(state, request->range);
    struct error error;
    if (home == NULL || home->range == NULL || home->range->ranges == NULL ||
        range_grant_check(request, home->range, &error) == 0)
        return;
    field_errors_add(errors, "FieldValueInvalid", "spec.request",
                     "IPAMRange %s can't give this: %s", request->range, error.text);
}

static void request_create(struct review *review)
{
    struct state *state = review->admission->state;
    struct field_errors errors = {0};
    _cleanup_ipam_request_ struct ipam_request *request = NULL;
    struct error error;
    if (ipam_request_decode(&review->view, review->object, review->namespace_name, &errors,
                            &request, &error) < 0) {
        field_errors_clear(&errors);
        review_refuse_object(review, &error);
        return;
    }
    if (request->invalid == NULL) {
        mutex_guard(&state->mutex);
        check_possible(state, request, &errors);
    }
    conclude(review, "IPAMRequest", &errors, NULL);
}

/* The pool that consists of the stored request. False: there is none. */
static bool find_pool(const struct review *review, struct object_key *ret_request,
                      char ret_pool[POOL_NAME_MOST + 1])
{
    struct state *state = review->admission->state;
    const struct json_view *view = &review->view;
    char name[256];
    char uid[256];
    /* The review has no name when a collection is deleted. */
    if (json_view_text(view, json_view_path(view, review->old_object, "metadata", "name", NULL),
                       name, sizeof(name)) <= 0)
        snprintf(name, sizeof(name), "%s", review->name);
    if (json_view_text(view, json_view_path(view, review->old_object, "metadata", "uid", NULL), uid,
                       sizeof(uid)) < 0)
        uid[0] = '\0';
    *ret_request = object_key(review->namespace_name, name);
    mutex_guard(&state->mutex);
    const struct state_pool *pool = state_pool_from_request(state, ret_request->text, uid);
    if (pool != NULL)
        snprintf(ret_pool, POOL_NAME_MOST + 1, "%s", pool->object.meta->name);
    return pool != NULL;
}

/* A pool would lose its addresses. Should this call be missed, the finalizer still keeps the
 * request. */
static void request_delete(struct review *review)
{
    struct object_key key;
    char pool[POOL_NAME_MOST + 1];
    char text[600];
    if (!find_pool(review, &key, pool)) {
        review_allow(review, NULL, NULL);
        return;
    }
    snprintf(text, sizeof(text),
             "IPAMRequest %.400s is what pool %s consists of: delete the pool first", key.text,
             pool);
    review_refuse(review, 403, NULL, text);
}

/* Answers at once when no pool is known; otherwise by what that is when it is read live. */
static void with_pool_read(struct review *review, void (*answer)(struct review *review))
{
    struct reread reread = {0};
    struct object_key key;
    char pool[POOL_NAME_MOST + 1];
    if (find_pool(review, &key, pool))
        reread_add(&reread, STATE_POOLS, pool);
    reread_begin(review, &reread, answer);
}

/* Without the finalizer the request could be deleted, and one made anew under its name. */
static bool takes_finalizer(const struct review *review)
{
    return object_meta_has_finalizer(&review->view, review->old_object, IPAM_REQUEST_FINALIZER) &&
           !object_meta_has_finalizer(&review->view, review->object, IPAM_REQUEST_FINALIZER);
}

static void request_edit(struct review *review)
{
    static const struct fixed_field fixed[] = {
        {"range", "name", "spec.range.name", "spec.ipam.name"},
        {"range", "namespace", "spec.range.namespace", "spec.ipam.namespace"},
        {NULL, "request", "spec.request", "spec.size or spec.request"},
        {NULL, "description", "spec.description", NULL},
    };
    struct field_errors errors = {0};
    struct object_key key;
    char pool[POOL_NAME_MOST + 1];
    check_fixed(review, fixed, sizeof(fixed) / sizeof(fixed[0]),
                "create a second IPAMRequest, and delete this one when it isn't needed any more",
                &errors);
    if (takes_finalizer(review) && find_pool(review, &key, pool))
        field_errors_add(&errors, "FieldValueForbidden", "metadata.finalizers",
                         "%s stays while pool %s consists of the request's CIDR: delete the pool "
                         "first, and ipwarden takes the finalizer off",
                         IPAM_REQUEST_FINALIZER, pool);
    conclude(review, "IPAMRequest", &errors, NULL);
}

void ipam_request_validate(struct review *review)
{
    if (review->operation == REVIEW_DELETE)
        with_pool_read(review, request_delete);
    else if (review->operation == REVIEW_CREATE)
        request_create(review);
    else if (takes_finalizer(review))
        with_pool_read(review, request_edit);
    else
        request_edit(review);
}
