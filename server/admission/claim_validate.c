/* The validating call on an IpClaim that somebody else writes: its name must be that of its
 * address, the address must not have another claim, and spec.cidr never changes. Our own claims
 * don't come by here. */
#include "server/admission/kinds.h"
#include "server/state/state_addresses.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void check_name(const struct claim *claim, struct field_errors *errors)
{
    struct address named;
    char name[ADDRESS_CLAIM_NAME_SIZE];
    if (address_from_claim_name(claim->meta.name, &named, NULL, NULL) == 0 &&
        address_equal(&named, &claim->address))
        return;
    address_claim_name(&claim->address, name);
    field_errors_add(errors, "FieldValueInvalid", "metadata.name",
                     "a claim is named by its address, so that there is only one: call it %s",
                     name);
}

/* An address with its mask; the mask of a whole address, or of the link, as the older version
 * writes it. */
static void check_cidr(const struct review *review, const struct claim *claim,
                       struct field_errors *errors)
{
    const struct json_view *view = &review->view;
    char text[64];
    char address[ADDRESS_TEXT_SIZE];
    if (json_view_text(view, json_view_path(view, review->object, "spec", "cidr", NULL), text,
                       sizeof(text)) < 0)
        text[0] = '\0';
    const char *slash = strchr(text, '/');
    size_t digits = slash != NULL ? strspn(slash + 1, "0123456789") : 0;
    if (digits > 0 && digits < 4 && slash[1 + digits] == '\0' && (slash[1] != '0' || digits == 1) &&
        strtoul(slash + 1, NULL, 10) <= address_bits(claim->address.family))
        return;
    address_format(&claim->address, address);
    field_errors_add(
        errors, "FieldValueInvalid", "spec.cidr", "%s has no mask from 0 to %u: write %s/%u", text,
        address_bits(claim->address.family), address, address_bits(claim->address.family));
}

static void check_twice(const struct state *state, const struct claim *claim,
                        struct field_errors *errors)
{
    const struct state_address *entry = state_address(state, &claim->address);
    for (const struct state_claim *other = entry != NULL ? entry->claims : NULL; other != NULL;
         other = other->next)
        if (strcmp(other->object.meta->name, claim->meta.name) != 0) {
            field_errors_add(errors, "FieldValueDuplicate", "spec.cidr",
                             "the address is claimed by %s already: choose another address",
                             other->object.meta->name);
            return;
        }
}

static void check_immutable(const struct review *review, struct field_errors *errors)
{
    const struct json_view *view = &review->view;
    char now[64];
    char before[64];
    if (json_view_text(view, json_view_path(view, review->object, "spec", "cidr", NULL), now,
                       sizeof(now)) < 0 ||
        json_view_text(view, json_view_path(view, review->old_object, "spec", "cidr", NULL), before,
                       sizeof(before)) < 0 ||
        strcmp(now, before) == 0)
        return;
    field_errors_add(
        errors, "FieldValueForbidden", "spec.cidr",
        "immutable: it is %s and can't become %s; delete this claim and create one for "
        "the other address",
        before, now);
}

void claim_validate(struct review *review)
{
    struct state *state = review->admission->state;
    struct field_errors errors = {0};
    struct claim *claim = NULL;
    struct error error;
    int result = claim_decode(&review->view, review->object, &claim, &error);
    if (result == -ENOMEM) {
        review_refuse_object(review, &error);
        return;
    }
    if (result < 0) {
        field_errors_add(&errors, "FieldValueInvalid", "spec.cidr", "%s", error.text);
    } else if (review->operation == REVIEW_CREATE) {
        check_name(claim, &errors);
        check_cidr(review, claim, &errors);
        mutex_guard(&state->mutex);
        check_twice(state, claim, &errors);
    } else {
        check_immutable(review, &errors);
    }
    claim_free(claim);
    if (field_errors_total(&errors) == 0)
        review_allow(review, NULL, NULL);
    else
        review_refuse_fields(review, "IpClaim", &errors);
    field_errors_clear(&errors);
}
