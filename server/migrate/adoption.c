/* DOC: Uses and claims are both sorted by address and walked together, group by group. Within a
 * group the Services join one claim in the order of their age; one that can't is a conflict and
 * stands in nobody's way. A claim that is there is joined, never replaced, and nothing of it is
 * taken away. */
#include "server/migrate/adoption.h"

#include "server/objects/unfit.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TEXT_SIZE 400

struct group {
    struct adoption *adoption;
    struct adoption_claim *claim;
    const struct adoption_use *uses;
    size_t use_count;
    struct claim *const *claims; /* of the address */
    size_t claim_count;
    struct claim_terms terms;
    size_t added;
};

void adoption_clear(struct adoption *adoption)
{
    for (size_t i = 0; i < adoption->claim_count; i++) {
        free(adoption->claims[i].name);
        free(adoption->claims[i].resource_version);
        claim_services_free(adoption->claims[i].services, adoption->claims[i].service_count);
    }
    for (size_t i = 0; i < adoption->conflict_count; i++)
        free(adoption->conflicts[i].text);
    free(adoption->claims);
    free(adoption->conflicts);
    *adoption = (struct adoption){0};
}

/* --- conflicts --- */

static int __attribute__((format(printf, 3, 4)))
conflict(const struct group *group, const struct adoption_use *use, const char *format, ...)
{
    struct adoption *adoption = group->adoption;
    struct adoption_conflict *conflicts =
        realloc(adoption->conflicts, (adoption->conflict_count + 1) * sizeof(*conflicts));
    if (conflicts == NULL)
        return -ENOMEM;
    adoption->conflicts = conflicts;
    char text[TEXT_SIZE];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof(text), format, arguments);
    va_end(arguments);
    conflicts[adoption->conflict_count] =
        (struct adoption_conflict){.address = use->address,
                                   .service = use->service != NULL ? use->service->meta.key : "",
                                   .text = strdup(text)};
    return conflicts[adoption->conflict_count++].text == NULL ? -ENOMEM : 0;
}

/* All uses of an address, for one reason. */
static int __attribute__((format(printf, 2, 3)))
conflict_all(const struct group *group, const char *format, ...)
{
    char text[TEXT_SIZE];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof(text), format, arguments);
    va_end(arguments);
    int code = 0;
    for (size_t i = 0; code == 0 && i < group->use_count; i++)
        code = conflict(group, &group->uses[i], "%s", text);
    return code;
}

/* --- one use --- */

static struct claim_service *find_entry(const struct adoption_claim *claim, const char *key)
{
    for (size_t i = 0; i < claim->service_count; i++)
        if (strcmp(claim->services[i].key, key) == 0)
            return &claim->services[i];
    return NULL;
}

/* Writes why the Service can't have the address beside the entry. False: it can. */
static bool is_against(const struct adoption_use *use, const struct claim_service *entry,
                       char ret_text[TEXT_SIZE])
{
    const struct service *service = use->service;
    const struct service_port *port =
        service_ports_collide(service->ports, service->port_count, entry->ports, entry->port_count);
    bool same = strcmp(entry->namespace_name, service->meta.namespace_name) == 0;
    if (port != NULL) {
        char text[SERVICE_PORT_TEXT_SIZE];
        service_port_format(port, text);
        snprintf(ret_text, TEXT_SIZE,
                 "port %s of the address belongs to Service %.140s: give one of them another port "
                 "or address",
                 text, entry->key);
    } else if (use->sharing == POOL_SHARING_NEVER ||
               (use->sharing == POOL_SHARING_SAME_NAMESPACE && !same)) {
        snprintf(ret_text, TEXT_SIZE,
                 "the address belongs to Service %.140s, and sharing of pool %.63s is %s",
                 entry->key, use->pool != NULL ? use->pool : "-",
                 use->sharing == POOL_SHARING_NEVER ? "Never" : "SameNamespace");
    } else {
        return false;
    }
    return true;
}

/* Of two Services that the claim names both, as an older one may without their ports. */
static int judge_ports(const struct group *group, const struct adoption_use *use)
{
    for (const struct adoption_use *other = group->uses; other < use; other++) {
        const struct service_port *port =
            service_ports_collide(use->service->ports, use->service->port_count,
                                  other->service->ports, other->service->port_count);
        char text[SERVICE_PORT_TEXT_SIZE];
        if (port == NULL || find_entry(group->claim, other->service->meta.key) == NULL)
            continue;
        service_port_format(port, text);
        return conflict(group, use,
                        "port %s of the address is used by Service %.140s, too: give one of them "
                        "another port or address",
                        text, other->service->meta.key);
    }
    return 0;
}

/* Adds the Service of one use to the claim, where it can be. */
static int join(struct group *group, const struct adoption_use *use)
{
    struct adoption_claim *claim = group->claim;
    const struct service *service = use->service;
    const struct claim_service *mine = find_entry(claim, service->meta.key);
    char text[TEXT_SIZE];
    if (mine != NULL && claim_service_matches(mine, service))
        return judge_ports(group, use);
    if (mine != NULL)
        return conflict(group, use,
                        "claim %.60s is for an earlier Service of this name (uid %.60s): ipwarden "
                        "releases it when it runs, or delete the claim",
                        claim->name, mine->uid);
    for (size_t i = 0; i < claim->service_count; i++)
        if (is_against(use, &claim->services[i], text))
            return conflict(group, use, "%s", text);
    group->terms.given = use->given;
    group->added++;
    return claim_services_add(&claim->services, &claim->service_count, service, &group->terms);
}

/* --- one address --- */

static int begin_present(struct group *group, const struct claim *present)
{
    struct adoption_claim *claim = group->claim;
    claim->name = strdup(present->meta.name);
    claim->resource_version = strdup(present->meta.resource_version);
    if (claim->name == NULL || claim->resource_version == NULL ||
        claim_services_copy(present->services, present->service_count, &claim->services) < 0)
        return -ENOMEM;
    claim->service_count = present->service_count;
    return 0;
}

/* Writes why nobody can be claimed for. False: nothing stands against it. */
static bool is_hopeless(const struct group *group, char ret_text[TEXT_SIZE])
{
    const struct claim *first = group->claim_count > 0 ? group->claims[0] : NULL;
    const char *unfit = unfit_network_of(&group->claim->address);
    bool held = group->uses[0].service == NULL; /* and only that is asked for */
    if (unfit != NULL)
        snprintf(ret_text, TEXT_SIZE, "lies in %s: no Service can have such an address", unfit);
    else if (group->claim_count > 1)
        snprintf(ret_text, TEXT_SIZE,
                 "has two claims, %.60s and %.60s: delete the one that nobody needs",
                 first->meta.name, group->claims[1]->meta.name);
    else if (first != NULL && first->meta.deleting)
        snprintf(ret_text, TEXT_SIZE, "claim %.60s is being deleted: try again when it is gone",
                 first->meta.name);
    else if (first != NULL && claim_is_hold(first) && !held)
        snprintf(ret_text, TEXT_SIZE,
                 "claim %.60s holds the address back and names no Service: delete it first",
                 first->meta.name);
    else
        return false;
    return true;
}

static int plan_group(struct group *group)
{
    struct adoption_claim *claim = group->claim;
    char text[TEXT_SIZE];
    bool present = group->claim_count > 0;
    if (is_hopeless(group, text)) {
        claim->action = ADOPTION_NONE;
        return conflict_all(group, "%s", text);
    }
    int code = present ? begin_present(group, group->claims[0]) : 0;
    size_t holds = 0;
    for (size_t i = 0; code == 0 && i < group->use_count; i++) {
        holds += group->uses[i].service == NULL;
        code = group->uses[i].service != NULL ? join(group, &group->uses[i]) : 0;
    }
    claim->action = group->added > 0 ? (present ? ADOPTION_JOIN : ADOPTION_CREATE)
                    : present        ? ADOPTION_PRESENT
                    : holds > 0      ? ADOPTION_CREATE
                                     : ADOPTION_NONE;
    group->adoption->changes += claim->action == ADOPTION_CREATE || claim->action == ADOPTION_JOIN;
    return code;
}

/* --- all of them --- */

/* Services before what is held for nobody, the oldest first. */
static int compare_uses(const void *left, const void *right)
{
    const struct adoption_use *a = left;
    const struct adoption_use *b = right;
    int order = address_compare(&a->address, &b->address);
    if (order != 0 || a->service == NULL || b->service == NULL)
        return order != 0 ? order : (a->service == NULL) - (b->service == NULL);
    if (a->service->meta.created != b->service->meta.created)
        return a->service->meta.created < b->service->meta.created ? -1 : 1;
    return strcmp(a->service->meta.key, b->service->meta.key);
}

static int compare_claims(const void *left, const void *right)
{
    const struct claim *const *a = left;
    const struct claim *const *b = right;
    int order = address_compare(&(*a)->address, &(*b)->address);
    return order != 0 ? order : strcmp((*a)->meta.name, (*b)->meta.name);
}

static int plan_sorted(struct adoption_use *uses, size_t use_count, struct claim *const *claims,
                       size_t claim_count, int64_t since, struct adoption *adoption)
{
    int code = 0;
    size_t at = 0;
    for (size_t i = 0; code == 0 && i < use_count;) {
        struct group group = {.adoption = adoption,
                              .claim = &adoption->claims[adoption->claim_count++],
                              .uses = &uses[i],
                              .terms = {.since = since}};
        group.claim->address = uses[i].address;
        group.claim->pool = uses[i].pool;
        for (; i < use_count && address_equal(&uses[i].address, &group.claim->address); i++)
            group.use_count++;
        while (at < claim_count && address_compare(&claims[at]->address, &group.claim->address) < 0)
            at++;
        group.claims = &claims[at];
        while (at + group.claim_count < claim_count &&
               address_equal(&claims[at + group.claim_count]->address, &group.claim->address))
            group.claim_count++;
        code = plan_group(&group);
    }
    return code;
}

int adoption_plan(struct adoption_use *uses, size_t use_count, struct claim *const *claims,
                  size_t claim_count, int64_t since, struct adoption *ret_adoption,
                  struct error *error)
{
    *ret_adoption =
        (struct adoption){.claims = calloc(use_count + 1, sizeof(struct adoption_claim))};
    struct claim **sorted = calloc(claim_count + 1, sizeof(*sorted));
    int code = -ENOMEM;
    if (sorted != NULL && ret_adoption->claims != NULL) {
        if (claim_count > 0)
            memcpy((void *)sorted, (const void *)claims, claim_count * sizeof(*sorted));
        qsort((void *)sorted, claim_count, sizeof(*sorted), compare_claims);
        if (use_count > 0)
            qsort(uses, use_count, sizeof(*uses), compare_uses);
        code = plan_sorted(uses, use_count, sorted, claim_count, since, ret_adoption);
    }
    free((void *)sorted);
    return code < 0 ? error_no_memory(error) : 0;
}

void adoption_encode(const struct adoption_claim *claim, struct buffer *buffer)
{
    if (claim->action == ADOPTION_JOIN)
        claim_encode_patch(buffer, claim->resource_version, claim->services, claim->service_count);
    else
        claim_encode(buffer, &claim->address, claim->pool, NULL, claim->services,
                     claim->service_count);
}
