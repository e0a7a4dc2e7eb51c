/* DOC: Pools first: each is translated, and compared with what is stored under its name and with the
 * addresses of all others. Then the addresses that Services show: each lies in a pool of the plan or
 * is a conflict. Then what Services ask for. A Service keeps its address by its claim alone; the
 * annotations say the same to ipwarden that MetalLB's said to MetalLB, for the day when the Service
 * is made anew, and two Services that share an address have to name it. */
#include "server/migrate/metallb_plan.h"

#include "server/base/buffer.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TEXT_SIZE 400

struct planner {
    struct metallb_facts *facts;
    struct metallb_plan *plan;
};

void metallb_plan_clear(struct metallb_plan *plan)
{
    for (size_t i = 0; i < plan->pool_count; i++)
        metallb_translation_clear(&plan->pools[i].translation);
    for (size_t i = 0; i < plan->service_count; i++) {
        free(plan->services[i].pool);
        free(plan->services[i].addresses);
        texts_clear(&plan->services[i].notes);
        free(plan->services[i].problem);
    }
    free(plan->pools);
    free(plan->uses);
    adoption_clear(&plan->adoption);
    free(plan->services);
    *plan = (struct metallb_plan){0};
}

void metallb_facts_clear(struct metallb_facts *facts)
{
    for (size_t i = 0; i < facts->pool_count; i++)
        metallb_pool_free(facts->pools[i]);
    for (size_t i = 0; i < facts->advertisement_count; i++)
        metallb_advertisement_free(facts->advertisements[i]);
    for (size_t i = 0; i < facts->service_count; i++)
        metallb_service_free(facts->services[i]);
    for (size_t i = 0; i < facts->stored_pool_count; i++)
        stored_pool_free(facts->stored_pools[i]);
    for (size_t i = 0; i < facts->claim_count; i++)
        claim_free(facts->claims[i]);
    free((void *)facts->pools);
    free((void *)facts->advertisements);
    free((void *)facts->services);
    free((void *)facts->stored_pools);
    free((void *)facts->claims);
    *facts = (struct metallb_facts){0};
}

bool metallb_plan_is_empty(const struct metallb_plan *plan)
{
    return plan->new_pools == 0 && plan->adoption.changes == 0 && plan->annotated == 0;
}

static int __attribute__((format(printf, 2, 3))) set_text(char **text, const char *format, ...)
{
    va_list arguments;
    free(*text);
    va_start(arguments, format);
    int length = vasprintf(text, format, arguments);
    va_end(arguments);
    if (length >= 0)
        return 0;
    *text = NULL;
    return -ENOMEM;
}

/* --- pools --- */

static int compare_pools(const void *left, const void *right)
{
    const struct metallb_pool *const *a = left;
    const struct metallb_pool *const *b = right;
    return strcmp((*a)->name, (*b)->name);
}

static int compare_services(const void *left, const void *right)
{
    const struct metallb_service *const *a = left;
    const struct metallb_service *const *b = right;
    return strcmp((*a)->service->meta.key, (*b)->service->meta.key);
}

/* An address that a Service shows. */
struct shown {
    struct address address;
    const struct service *service;
};

static int compare_shown(const void *left, const void *right)
{
    const struct shown *a = left;
    const struct shown *b = right;
    return address_compare(&a->address, &b->address);
}

/* All addresses that Services show, by address. NULL when out of memory. */
static struct shown *list_shown(const struct metallb_facts *facts, size_t *ret_count)
{
    size_t count = 0;
    for (size_t i = 0; i < facts->service_count; i++)
        count += facts->services[i]->service->ingress.count;
    struct shown *shown = calloc(count + 1, sizeof(*shown));
    *ret_count = 0;
    for (size_t i = 0; shown != NULL && i < facts->service_count; i++) {
        const struct service *service = facts->services[i]->service;
        for (size_t j = 0; j < service->ingress.count; j++)
            shown[(*ret_count)++] =
                (struct shown){.address = service->ingress.items[j], .service = service};
    }
    if (shown != NULL)
        qsort(shown, *ret_count, sizeof(*shown), compare_shown);
    return shown;
}

/* Whether the addresses have one that Services of two namespaces show. */
static bool is_shared_by_strangers(const struct shown *shown, size_t count,
                                   const struct address_set *addresses)
{
    for (size_t i = 0; i + 1 < count; i++)
        if (address_equal(&shown[i].address, &shown[i + 1].address) &&
            strcmp(shown[i].service->meta.namespace_name,
                   shown[i + 1].service->meta.namespace_name) != 0 &&
            address_set_contains(addresses, &shown[i].address))
            return true;
    return false;
}

static int translate(const struct planner *planner, const struct shown *shown, size_t shown_count,
                     size_t index, struct error *error)
{
    const struct metallb_facts *facts = planner->facts;
    struct metallb_planned_pool *planned = &planner->plan->pools[index];
    struct metallb_surroundings surroundings = {.advertisements = facts->advertisements,
                                                .advertisement_count = facts->advertisement_count};
    for (size_t i = 0; i < facts->pool_count; i++)
        surroundings.others_allocate |= facts->pools[i]->allocates;
    planned->name = facts->pools[index]->name;
    int code =
        metallb_pool_translate(facts->pools[index], &surroundings, &planned->translation, error);
    if (code < 0 || !is_shared_by_strangers(shown, shown_count, planned->translation.addresses))
        return code;
    metallb_translation_clear(&planned->translation);
    surroundings.shared_by_strangers = true;
    return metallb_pool_translate(facts->pools[index], &surroundings, &planned->translation, error);
}

/* With an older one of the plan, or a stored one of another name. */
static int judge_overlap(const struct planner *planner, size_t index)
{
    struct metallb_planned_pool *planned = &planner->plan->pools[index];
    const struct metallb_facts *facts = planner->facts;
    struct address address;
    char text[ADDRESS_TEXT_SIZE];
    for (size_t i = 0; i < index; i++) {
        const struct metallb_planned_pool *other = &planner->plan->pools[i];
        if (!address_set_overlap(planned->translation.addresses, other->translation.addresses,
                                 &address))
            continue;
        address_format(&address, text);
        return set_text(&planned->translation.problem,
                        "%s is in IPAddressPool %.80s, too: pools must not overlap", text,
                        other->name);
    }
    for (size_t i = 0; i < facts->stored_pool_count; i++) {
        const struct stored_pool *stored = facts->stored_pools[i];
        if (strcmp(stored->meta.name, planned->name) == 0 ||
            !address_set_overlap(planned->translation.addresses, stored->addresses, &address))
            continue;
        address_format(&address, text);
        return set_text(&planned->translation.problem,
                        "%s is in IpClaimPool %.80s already: pools must not overlap", text,
                        stored->meta.name);
    }
    return 0;
}

static int judge_stored(const struct planner *planner, struct metallb_planned_pool *planned)
{
    const struct metallb_facts *facts = planner->facts;
    char member[STORED_POOL_MEMBER_SIZE];
    planned->action = METALLB_POOL_CREATE;
    for (size_t i = 0; i < facts->stored_pool_count; i++) {
        const struct stored_pool *stored = facts->stored_pools[i];
        if (strcmp(stored->meta.name, planned->name) != 0)
            continue;
        if (stored->meta.deleting)
            return set_text(&planned->translation.problem,
                            "IpClaimPool %.80s is being deleted: try again when it is gone",
                            planned->name);
        int same = stored_pool_says(stored, planned->translation.spec, member, NULL);
        planned->action = METALLB_POOL_PRESENT;
        if (same == 0)
            return set_text(&planned->translation.problem,
                            "IpClaimPool %.80s is there and says something else in spec.%s: "
                            "change one of the two, or delete it",
                            planned->name, member);
        return same < 0 ? same : 0;
    }
    return 0;
}

static int plan_pools(const struct planner *planner, struct error *error)
{
    struct metallb_facts *facts = planner->facts;
    struct metallb_plan *plan = planner->plan;
    size_t shown_count;
    struct shown *shown = list_shown(facts, &shown_count);
    int code = shown == NULL ? -ENOMEM : 0;
    for (size_t i = 0; code == 0 && i < facts->pool_count; i++) {
        struct metallb_planned_pool *planned = &plan->pools[plan->pool_count++];
        code = translate(planner, shown, shown_count, i, error);
        if (code == 0 && planned->translation.problem == NULL)
            code = judge_overlap(planner, i);
        if (code == 0 && planned->translation.problem == NULL)
            code = judge_stored(planner, planned);
        if (planned->translation.problem != NULL)
            planned->action = METALLB_POOL_CONFLICT;
        plan->conflicts += planned->action == METALLB_POOL_CONFLICT;
        plan->new_pools += planned->action == METALLB_POOL_CREATE;
    }
    free(shown);
    return code;
}

/* The pool of the plan that has the address, or NULL. */
static const struct metallb_planned_pool *pool_of(const struct metallb_plan *plan,
                                                  const struct address *address)
{
    for (size_t i = 0; i < plan->pool_count; i++)
        if (address_set_contains(plan->pools[i].translation.addresses, address))
            return &plan->pools[i];
    return NULL;
}

static const struct metallb_planned_pool *pool_named(const struct metallb_plan *plan,
                                                     const char *name)
{
    for (size_t i = 0; name != NULL && i < plan->pool_count; i++)
        if (strcmp(plan->pools[i].name, name) == 0)
            return &plan->pools[i];
    return NULL;
}

/* --- addresses --- */

static bool is_usable(const struct metallb_planned_pool *pool)
{
    return pool != NULL && pool->action != METALLB_POOL_CONFLICT;
}

static int add_use(struct metallb_plan *plan, const struct service *service,
                   const struct address *address, const struct metallb_planned_pool *pool)
{
    struct adoption_use *uses = realloc(plan->uses, (plan->use_count + 1) * sizeof(*uses));
    if (uses == NULL)
        return -ENOMEM;
    plan->uses = uses;
    uses[plan->use_count++] = (struct adoption_use){.address = *address,
                                                    .service = service,
                                                    .pool = pool->name,
                                                    .sharing = pool->translation.sharing,
                                                    .given = true};
    return 0;
}

/* Notes the addresses that the Service shows; the first that can't be claimed is its problem. */
static int plan_addresses(struct metallb_plan *plan, const struct metallb_service *one,
                          struct metallb_planned_service *planned)
{
    const struct service *service = one->service;
    for (size_t i = 0; i < service->ingress.count; i++) {
        const struct address *address = &service->ingress.items[i];
        const struct metallb_planned_pool *pool = pool_of(plan, address);
        char text[ADDRESS_TEXT_SIZE];
        address_format(address, text);
        int code = 0;
        if (is_usable(pool))
            code = add_use(plan, service, address, pool);
        else if (pool != NULL)
            code = set_text(&planned->problem, "%s is in pool %.80s, which can't be made", text,
                            pool->name);
        else if (one->from != NULL || service->class_name == NULL)
            code =
                set_text(&planned->problem,
                         "%s is in no IPAddressPool: nothing would keep it for the Service", text);
        if (code < 0)
            return code;
    }
    return 0;
}

/* --- what Services ask for --- */

/* The addresses that the Service shows as an annotation names them. NULL when out of memory. */
static char *join_addresses(const struct service_addresses *list)
{
    _cleanup_buffer_ struct buffer text;
    buffer_init(&text, TEXT_SIZE * TEXT_SIZE);
    for (size_t i = 0; i < list->count; i++) {
        char one[ADDRESS_TEXT_SIZE];
        address_format(&list->items[i], one);
        buffer_printf(&text, "%s%s", i > 0 ? "," : "", one);
    }
    return buffer_steal(&text, NULL);
}

static bool has_all(const struct service_addresses *list, const struct service_addresses *wanted)
{
    for (size_t i = 0; i < wanted->count; i++)
        if (!service_addresses_have(list, &wanted->items[i]))
            return false;
    return true;
}

/* Whether the text of the annotation names just these addresses. */
static bool names_all(const char *text, const struct service_addresses *wanted)
{
    size_t count = 0;
    for (const char *at = text; *at != '\0';) {
        struct address address;
        at += strspn(at, ", ");
        size_t length = strcspn(at, ", ");
        if (length == 0)
            break;
        if (address_parse_sloppy(at, length, &address) < 0 ||
            !service_addresses_have(wanted, &address))
            return false;
        count++;
        at += length;
    }
    return count == wanted->count;
}

static bool is_shared(const struct metallb_plan *plan, const struct service *service)
{
    for (size_t i = 0; i < plan->adoption.claim_count; i++) {
        const struct adoption_claim *claim = &plan->adoption.claims[i];
        if (claim->service_count > 1 && service_addresses_have(&service->ingress, &claim->address))
            return true;
    }
    return false;
}

/* Where somebody named addresses, ipwarden is told the same. */
static int plan_named(const struct metallb_plan *plan, const struct metallb_service *one,
                      struct metallb_planned_service *planned)
{
    const struct service *service = one->service;
    bool shown = service->ingress.count > 0;
    if (shown && service->requested.count > 0 && !has_all(&service->ingress, &service->requested))
        return set_text(&planned->problem,
                        "it asks for another address than it has, by %s: ipwarden would give it "
                        "that one; take it out, or name the address that it has",
                        service->requested_field);
    if (shown && one->addresses != NULL && !names_all(one->addresses, &service->ingress))
        return set_text(&planned->problem,
                        "the annotation loadBalancerIPs names %.100s, which isn't what it has: "
                        "correct it first",
                        one->addresses);
    if (!shown) {
        if (one->addresses == NULL || service->requested.count > 0)
            return 0;
        planned->addresses = strdup(one->addresses);
    } else {
        bool shares = one->sharing != NULL && is_shared(plan, service);
        if ((one->addresses == NULL && !shares) || has_all(&service->requested, &service->ingress))
            return 0;
        planned->addresses = join_addresses(&service->ingress);
    }
    return planned->addresses == NULL ? -ENOMEM : 0;
}

/* The pool that the Service shall name. */
static const char *wanted_pool(const struct metallb_plan *plan, const struct metallb_service *one)
{
    const struct metallb_planned_pool *named = pool_named(plan, one->pool);
    const struct service *service = one->service;
    const struct metallb_planned_pool *pool = NULL;
    for (size_t i = 0; i < service->ingress.count; i++) {
        const struct metallb_planned_pool *its = pool_of(plan, &service->ingress.items[i]);
        if (i > 0 && its != pool)
            return NULL; /* of two pools: no annotation can say that */
        pool = its;
    }
    if (pool == NULL)
        return is_usable(named) && service->ingress.count == 0 ? named->name : NULL;
    return is_usable(pool) && (pool == named || pool->translation.by_name_only) ? pool->name : NULL;
}

static int plan_pool_name(const struct metallb_plan *plan, const struct metallb_service *one,
                          struct metallb_planned_service *planned)
{
    const char *wanted = wanted_pool(plan, one);
    const char *now = one->service->pool;
    if (one->pool != NULL && wanted == NULL && planned->problem == NULL &&
        texts_add(&planned->notes,
                  "the annotation address-pool names another pool than that of its "
                  "address: it isn't carried over") < 0)
        return -ENOMEM;
    if (wanted == NULL || (now != NULL && strcmp(now, wanted) == 0))
        return 0;
    if (now != NULL)
        return set_text(&planned->problem,
                        "the annotation ipcontroller.ext/pool names %.63s, its address is in "
                        "%.63s: ipwarden would move it",
                        now, wanted);
    planned->pool = strdup(wanted);
    return planned->pool == NULL ? -ENOMEM : 0;
}

static int tell_of_class(const struct service *service, struct metallb_planned_service *planned)
{
    char text[TEXT_SIZE];
    if (service->class_name == NULL || strcmp(service->class_name, SERVICE_CLASS) == 0)
        return 0;
    snprintf(text, sizeof(text),
             "its loadBalancerClass %.100s can't be changed: it keeps the address, which is "
             "claimed for it, but ipwarden doesn't write its status; make it anew without a class "
             "or with %s, and name the address by ipcontroller.ext/addresses",
             service->class_name, SERVICE_CLASS);
    return texts_add(&planned->notes, text);
}

/* Whether its addresses, or what it asks for, have to do with the pools. */
static bool is_concerned(const struct metallb_plan *plan, const struct metallb_service *one)
{
    const struct service *service = one->service;
    for (size_t i = 0; i < service->ingress.count; i++)
        if (pool_of(plan, &service->ingress.items[i]) != NULL)
            return true;
    return one->from != NULL || one->pool != NULL || one->addresses != NULL ||
           (service->ingress.count > 0 && service->class_name == NULL);
}

static int plan_wishes(const struct metallb_plan *plan, const struct metallb_service *one,
                       struct metallb_planned_service *planned)
{
    int code = tell_of_class(one->service, planned);
    if (code == 0 && planned->problem == NULL)
        code = plan_named(plan, one, planned);
    if (code == 0 && planned->problem == NULL)
        code = plan_pool_name(plan, one, planned);
    if (planned->problem == NULL)
        return code;
    free(planned->pool);
    free(planned->addresses);
    planned->pool = planned->addresses = NULL;
    return code;
}

static int plan_services(const struct planner *planner, int64_t now, struct error *error)
{
    struct metallb_facts *facts = planner->facts;
    struct metallb_plan *plan = planner->plan;
    int code = 0;
    for (size_t i = 0; code == 0 && i < facts->service_count; i++) {
        const struct metallb_service *one = facts->services[i];
        struct metallb_planned_service *planned = &plan->services[plan->service_count];
        if (one->service->meta.deleting || !is_concerned(plan, one))
            continue;
        *planned = (struct metallb_planned_service){.metallb = one, .service = one->service};
        plan->service_count++;
        code = plan_addresses(plan, one, planned);
    }
    if (code == 0)
        code = adoption_plan(plan->uses, plan->use_count, facts->claims, facts->claim_count, now,
                             &plan->adoption, error);
    for (size_t i = 0; code == 0 && i < plan->service_count; i++)
        code = plan_wishes(plan, plan->services[i].metallb, &plan->services[i]);
    return code;
}

/* Those of which there is nothing to tell go. */
static void keep_telling_services(struct metallb_plan *plan)
{
    size_t kept = 0;
    for (size_t i = 0; i < plan->service_count; i++) {
        struct metallb_planned_service *one = &plan->services[i];
        bool annotated = one->pool != NULL || one->addresses != NULL;
        if (!annotated && one->notes.count == 0 && one->problem == NULL)
            continue;
        plan->annotated += annotated;
        plan->conflicts += one->problem != NULL;
        plan->services[kept++] = *one;
    }
    plan->service_count = kept;
}

int metallb_plan_make(struct metallb_facts *facts, int64_t now, struct metallb_plan *ret_plan,
                      struct error *error)
{
    struct planner planner = {.facts = facts, .plan = ret_plan};
    *ret_plan = (struct metallb_plan){
        .pools = calloc(facts->pool_count + 1, sizeof(*ret_plan->pools)),
        .services = calloc(facts->service_count + 1, sizeof(*ret_plan->services)),
    };
    if (ret_plan->pools == NULL || ret_plan->services == NULL)
        return error_no_memory(error);
    if (facts->pool_count > 0)
        qsort((void *)facts->pools, facts->pool_count, sizeof(*facts->pools), compare_pools);
    if (facts->service_count > 0)
        qsort((void *)facts->services, facts->service_count, sizeof(*facts->services),
              compare_services);
    int code = plan_pools(&planner, error);
    if (code == 0)
        code = plan_services(&planner, now, error);
    if (code < 0)
        return error_no_memory(error);
    keep_telling_services(ret_plan);
    ret_plan->conflicts += ret_plan->adoption.conflict_count;
    return 0;
}
