/* Lease documents. They are small and few, and what others put into them has to survive our
 * updates, so they are kept as jansson documents. */
#include "k8s/lease_record.h"

#include <errno.h>

int lease_record_parse(const char *text, size_t length, json_t **ret_lease, struct error *error)
{
    json_error_t problem;
    json_t *lease = json_loadb(text, length, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, &problem);
    if (lease == NULL)
        return error_set(error, -EBADMSG, "lease: not JSON: %s", problem.text);
    const json_t *metadata = json_object_get(lease, "metadata");
    if (!json_is_string(json_object_get(metadata, "resourceVersion"))) {
        json_decref(lease);
        return error_set(error, -EBADMSG, "lease: the answer has no resourceVersion");
    }
    *ret_lease = lease;
    return 0;
}

static const json_t *get(const json_t *lease, const char *field)
{
    return json_object_get(json_object_get(lease, "spec"), field);
}

const char *lease_record_holder(const json_t *lease)
{
    const char *holder = json_string_value(get(lease, "holderIdentity"));
    return holder != NULL ? holder : "";
}

long long lease_record_transitions(const json_t *lease)
{
    return json_integer_value(get(lease, "leaseTransitions"));
}

int64_t lease_record_duration(const json_t *lease, int64_t otherwise)
{
    json_int_t seconds = json_integer_value(get(lease, "leaseDurationSeconds"));
    if (seconds <= 0)
        return otherwise;
    return seconds < INT32_MAX ? seconds * CLOCK_SECOND : INT32_MAX * CLOCK_SECOND;
}

bool lease_record_same(const json_t *lease, const json_t *other)
{
    static const char *const fields[] = {
        "holderIdentity", "renewTime", "acquireTime", "leaseTransitions", "leaseDurationSeconds",
    };
    if (lease == NULL || other == NULL)
        return lease == other;
    for (size_t i = 0; i < sizeof(fields) / sizeof(fields[0]); i++) {
        const json_t *mine = get(lease, fields[i]);
        const json_t *theirs = get(other, fields[i]);
        if (mine != theirs && !json_equal(mine, theirs))
            return false;
    }
    return true;
}

/* 0, or -1 without memory. */
static int set_term(json_t *spec, const struct lease_term *term)
{
    char now[CLOCK_RFC3339_SIZE];
    clock_format_rfc3339_micro(term->now, now);
    json_int_t seconds = (term->duration + CLOCK_SECOND - 1) / CLOCK_SECOND;
    if (json_object_set_new(spec, "holderIdentity", json_string(term->holder)) != 0 ||
        json_object_set_new(spec, "leaseDurationSeconds", json_integer(seconds)) != 0 ||
        json_object_set_new(spec, "leaseTransitions", json_integer(term->transitions)) != 0 ||
        json_object_set_new(spec, "renewTime", json_string(now)) != 0)
        return -1;
    return term->acquired ? json_object_set_new(spec, "acquireTime", json_string(now)) : 0;
}

static char *dump(json_t *lease, const struct lease_term *term)
{
    char *text = NULL;
    json_t *spec = json_object_get(lease, "spec");
    if (lease != NULL && !json_is_object(spec)) {
        spec = json_object();
        if (json_object_set_new(lease, "spec", spec) != 0)
            spec = NULL;
    }
    if (spec != NULL && set_term(spec, term) == 0)
        text = json_dumps(lease, JSON_COMPACT);
    json_decref(lease);
    return text;
}

char *lease_record_create(const char *namespace_name, const char *name,
                          const struct lease_term *term)
{
    return dump(json_pack("{s:s, s:s, s:{s:s, s:s}}", "apiVersion", "coordination.k8s.io/v1",
                          "kind", "Lease", "metadata", "namespace", namespace_name, "name", name),
                term);
}

char *lease_record_update(const json_t *lease, const struct lease_term *term)
{
    return dump(json_deep_copy(lease), term);
}
