/* Judging and changing bundles. Each change is one step from one whole bundle to the next, small
 * enough to be one conditional write; nothing here knows about the cluster. */
#include "certs/rotation.h"

#include "certs/certificate.h"
#include "certs/pem.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const char *certs_phase_name(enum certs_phase phase)
{
    static const char *const names[] = {
        [CERTS_PHASE_STABLE] = "Stable",
        [CERTS_PHASE_DISTRIBUTING] = "Distributing",
        [CERTS_PHASE_SWITCHED] = "Switched",
    };
    return names[phase];
}

/* Notes what is wrong, the first time. */
static void note_problem(struct certs_condition *condition, const char *what,
                         const struct error *error)
{
    if (condition->problem[0] == '\0')
        snprintf(condition->problem, sizeof(condition->problem), "%s: %.160s", what, error->text);
}

/* Finds the authority of a list that the key belongs to. *ret_index is count when there is none. */
static int find_signer(char *const *list, size_t count, const char *key_pem, size_t *ret_index,
                       struct error *error)
{
    for (size_t i = 0; i < count; i++) {
        int code = certs_key_check(list[i], key_pem, error);
        if (code == 0 || code == -ENOMEM) {
            *ret_index = i;
            return code;
        }
    }
    *ret_index = count;
    return 0;
}

static int examine_authorities(const struct certs_bundle *bundle, struct certs_condition *condition,
                               char ***ret_list, size_t *ret_count, struct error *error)
{
    struct error reason;
    int code = certs_list_split(bundle->ca_pem, ret_list, ret_count, &reason);
    if (code != 0) {
        note_problem(condition, "ca.crt", &reason);
        return code == -ENOMEM ? error_no_memory(error) : 0;
    }
    condition->authority_count = *ret_count;
    condition->authorities_good = *ret_count <= CERTS_AUTHORITIES;
    for (size_t i = 0; i < *ret_count; i++) {
        struct certs_description description;
        if ((code = certs_describe((*ret_list)[i], &description, error)) != 0)
            return code;
        condition->authorities_good = condition->authorities_good && description.is_authority;
        certs_description_clear(&description);
    }
    if (!condition->authorities_good) {
        error_set(&reason, -EINVAL, "not only authorities, or too many of them");
        note_problem(condition, "ca.crt", &reason);
    }
    return 0;
}

static int examine_signer(const struct certs_bundle *bundle, struct certs_condition *condition,
                          char *const *list, size_t count, struct error *error)
{
    struct error reason;
    size_t index = count;
    error_set(&reason, -EINVAL, "belongs to no certificate in ca.crt");
    int code = find_signer(list, count, bundle->ca_key_pem, &index, &reason);
    if (code == 0 && index == count) {
        note_problem(condition, "ca.key", &reason);
        return 0;
    }
    if (code != 0)
        return error_no_memory(error);
    struct certs_description description;
    if ((code = certs_describe(list[index], &description, error)) != 0)
        return code;
    condition->signer_good = true;
    condition->signer_not_before = description.not_before;
    condition->signer_not_after = description.not_after;
    memcpy(condition->signer_fingerprint, description.fingerprint,
           sizeof(condition->signer_fingerprint));
    certs_description_clear(&description);
    return 0;
}

/* Finds the authority that the leaf chains to; -EINVAL when there is none. */
static int find_issuer(const char *chain_pem, char *const *list, size_t count,
                       char ret_fingerprint[65], struct error *error)
{
    int code = error_set(error, -EINVAL, "no authority in ca.crt");
    for (size_t i = 0; i < count; i++) {
        struct certs_description description;
        code = certs_verify_timeless(chain_pem, list[i], error);
        if (code == -EINVAL)
            continue;
        if (code == 0 && (code = certs_describe(list[i], &description, error)) == 0) {
            memcpy(ret_fingerprint, description.fingerprint, sizeof(description.fingerprint));
            certs_description_clear(&description);
        }
        break;
    }
    return code;
}

static int examine_leaf(const struct certs_bundle *bundle, struct certs_condition *condition,
                        char *const *list, size_t count, const struct certs_names *names,
                        struct error *error)
{
    struct error reason;
    struct certs_description description = {0};
    int code = certs_describe(bundle->chain_pem, &description, &reason);
    if (code == 0)
        code = certs_key_check(bundle->chain_pem, bundle->key_pem, &reason);
    if (code == 0)
        code = find_issuer(bundle->chain_pem, list, count, condition->leaf_authority, &reason);
    if (code == 0) {
        condition->leaf_good = true;
        condition->leaf_not_before = description.not_before;
        condition->leaf_not_after = description.not_after;
        memcpy(condition->leaf_fingerprint, description.fingerprint,
               sizeof(condition->leaf_fingerprint));
    }
    certs_description_clear(&description);
    if (code == -ENOMEM)
        return error_no_memory(error);
    if (code != 0) {
        note_problem(condition, "tls.crt", &reason);
        return 0;
    }
    condition->leaf_by_signer =
        condition->signer_good &&
        strcmp(condition->leaf_authority, condition->signer_fingerprint) == 0;
    code = names != NULL ? certs_names_covered(bundle->chain_pem, names, NULL) : 0;
    condition->leaf_names = code == 0;
    return code == -ENOMEM ? error_no_memory(error) : 0;
}

/* Tries out a signer of which nothing is known yet, not even that its certificate is intact. */
static int try_signer(const struct certs_bundle *bundle, struct certs_condition *condition,
                      char *const *list, size_t count, struct error *error)
{
    struct error reason;
    size_t index = 0;
    int code = find_signer(list, count, bundle->ca_key_pem, &index, &reason);
    if (code == 0 && index < count) {
        const struct certs_pair signer = {list[index], bundle->ca_key_pem};
        code = certs_authority_check(&signer, &reason);
    }
    if (code == -ENOMEM)
        return error_no_memory(error);
    if (code != 0) {
        condition->signer_good = false;
        condition->signer_fingerprint[0] = '\0';
        note_problem(condition, "ca.key", &reason);
    }
    return 0;
}

int certs_rotation_examine(const struct certs_bundle *bundle, const struct certs_names *names,
                           struct certs_condition *ret_condition, struct error *error)
{
    struct certs_condition condition = {.path_good = certs_path_is_sane(bundle->path)};
    struct error reason;
    char **list = NULL;
    size_t count = 0;
    int code = examine_authorities(bundle, &condition, &list, &count, error);
    if (code == 0)
        code = examine_signer(bundle, &condition, list, count, error);
    if (code == 0)
        code = examine_leaf(bundle, &condition, list, count, names, error);
    if (code == 0 && condition.signer_good && !condition.leaf_by_signer)
        code = try_signer(bundle, &condition, list, count, error);
    certs_list_free(list, count);
    if (code != 0)
        return code;
    if (!condition.path_good) {
        error_set(&reason, -EINVAL, "not %d lower-case hexadecimal digits", CERTS_PATH_LENGTH);
        note_problem(&condition, "path", &reason);
    }
    if (!condition.leaf_by_signer)
        condition.phase = CERTS_PHASE_DISTRIBUTING;
    else if (condition.authority_count > 1)
        condition.phase = CERTS_PHASE_SWITCHED;
    *ret_condition = condition;
    return 0;
}

bool certs_rotation_is_whole(const struct certs_condition *condition)
{
    return condition->authorities_good && condition->signer_good && condition->leaf_good &&
           condition->path_good;
}

bool certs_rotation_is_valid(int64_t not_before, int64_t not_after, int64_t wall)
{
    return not_before <= wall && wall < not_after;
}

bool certs_rotation_is_due(int64_t not_before, int64_t not_after, int64_t wall)
{
    /* A third of each bound is taken first, because their difference may not fit. */
    return wall >= not_after - (not_after / 3 - not_before / 3);
}

/* Puts a new text into a bundle's field, wiping the old one. */
static void replace(char **field, char **text)
{
    certs_pem_free(*field);
    *field = *text;
    *text = NULL;
}

/* The PEM text of the signer, to free(). */
static int copy_signer(const struct certs_bundle *bundle, char **ret_signer, struct error *error)
{
    char **list = NULL;
    size_t count = 0;
    size_t index = 0;
    struct error reason;
    int code = certs_list_split(bundle->ca_pem, &list, &count, error);
    if (code != 0)
        return code;
    code = find_signer(list, count, bundle->ca_key_pem, &index, &reason);
    if (code != 0) {
        error_no_memory(error);
    } else if (index == count) {
        code = error_set(error, -EINVAL, "ca.key belongs to no certificate in ca.crt");
    } else {
        *ret_signer = list[index];
        list[index] = NULL;
    }
    certs_list_free(list, count);
    return code;
}

static int64_t leaf_lifetime(const struct certs_lifetimes *lifetimes)
{
    return lifetimes != NULL && lifetimes->leaf > 0 ? lifetimes->leaf : CERTS_LEAF_LIFETIME;
}

static int64_t authority_lifetime(const struct certs_lifetimes *lifetimes)
{
    return lifetimes != NULL && lifetimes->authority > 0 ? lifetimes->authority
                                                         : CERTS_AUTHORITY_LIFETIME;
}

int certs_rotation_issue(struct certs_bundle *bundle, const struct certs_names *names,
                         const struct clock *clock, const struct certs_lifetimes *lifetimes,
                         struct error *error)
{
    struct certs_pair authority = {.key_pem = bundle->ca_key_pem};
    struct certs_pair leaf = {0};
    int code = copy_signer(bundle, &authority.certificate_pem, error);
    if (code == 0)
        code =
            certs_authority_issue(&authority, names, clock, leaf_lifetime(lifetimes), &leaf, error);
    free(authority.certificate_pem);
    if (code != 0)
        return code;
    replace(&bundle->chain_pem, &leaf.certificate_pem);
    replace(&bundle->key_pem, &leaf.key_pem);
    return 0;
}

/* Appends a name that the list lacks and that fits. The array has room for CERTS_NAMES. */
static size_t join_name(const char **list, size_t count, const char *name)
{
    for (size_t i = 0; i < count; i++) {
        if (strcmp(list[i], name) == 0)
            return count;
    }
    if (count < CERTS_NAMES)
        list[count++] = name;
    return count;
}

/* Appends the names of a certificate, without those that we wouldn't issue one for: it may be
 * somebody else's. */
static void join_present(struct certs_names *names, const char **dns, const char **ip,
                         const struct certs_description *present)
{
    for (size_t i = 0; i < present->dns_count; i++) {
        const char *name = present->dns[i];
        if (certs_names_check(&(struct certs_names){.dns = &name, .dns_count = 1}, NULL) == 0)
            names->dns_count = join_name(dns, names->dns_count, name);
    }
    for (size_t i = 0; i < present->ip_count; i++) {
        const char *name = present->ip[i];
        if (certs_names_check(&(struct certs_names){.ip = &name, .ip_count = 1}, NULL) == 0)
            names->ip_count = join_name(ip, names->ip_count, name);
    }
}

int certs_rotation_extend(struct certs_bundle *bundle, const struct certs_names *names,
                          const struct clock *clock, const struct certs_lifetimes *lifetimes,
                          struct error *error)
{
    static const struct certs_names none = {0};
    const char *dns[CERTS_NAMES];
    const char *ip[CERTS_NAMES];
    struct certs_description present = {0};
    struct certs_names joined = {.dns = dns, .ip = ip};
    int code = certs_describe(bundle->chain_pem, &present, error);
    if (code != 0)
        return code;
    /* The wanted names come first: they are the ones that must not be cut off. */
    names = names != NULL ? names : &none;
    for (size_t i = 0; i < names->dns_count; i++)
        joined.dns_count = join_name(dns, joined.dns_count, names->dns[i]);
    for (size_t i = 0; i < names->ip_count; i++)
        joined.ip_count = join_name(ip, joined.ip_count, names->ip[i]);
    join_present(&joined, dns, ip, &present);
    code = certs_rotation_issue(bundle, &joined, clock, lifetimes, error);
    certs_description_clear(&present);
    return code;
}

int certs_rotation_join(const char *first, const char *second, char **ret_joined, size_t *ret_added,
                        struct error *error)
{
    char **list = NULL;
    size_t count = 0;
    size_t added = 0;
    assert(first != NULL && second != NULL);
    /* Usually both are the same text, and nothing need be parsed. */
    bool contained = strstr(first, second) != NULL;
    int code = contained ? 0 : certs_list_salvage(second, &list, &count, error);
    if (code != 0)
        return code;
    struct buffer buffer;
    buffer_init(&buffer, CERTS_PEM_MAXIMUM);
    buffer_append_string(&buffer, first);
    if (buffer.length > 0 && first[buffer.length - 1] != '\n')
        buffer_append_char(&buffer, '\n');
    for (size_t i = 0; i < count; i++) {
        if (certs_list_contains(buffer.data != NULL ? buffer.data : "", list[i]))
            continue;
        buffer_append_string(&buffer, list[i]);
        added++;
    }
    certs_list_free(list, count);
    char *joined = buffer_steal(&buffer, NULL);
    if (joined == NULL)
        return error_no_memory(error);
    *ret_joined = joined;
    if (ret_added != NULL)
        *ret_added = added;
    return 0;
}

int certs_rotation_begin(struct certs_bundle *bundle, const struct clock *clock,
                         const struct certs_lifetimes *lifetimes, struct error *error)
{
    struct certs_pair authority = {0};
    char *joined = NULL;
    int code = certs_authority_create(clock, authority_lifetime(lifetimes), &authority, error);
    if (code == 0)
        code = certs_rotation_join(bundle->ca_pem, authority.certificate_pem, &joined, NULL, error);
    if (code == 0) {
        replace(&bundle->ca_pem, &joined);
        replace(&bundle->ca_key_pem, &authority.key_pem);
    }
    certs_pair_clear(&authority);
    return code;
}

int certs_rotation_finish(struct certs_bundle *bundle, struct error *error)
{
    char *signer = NULL;
    int code = copy_signer(bundle, &signer, error);
    if (code == 0)
        replace(&bundle->ca_pem, &signer);
    return code;
}

/* Drops the authorities of a list that have expired, and those past the limit. */
static int drop_expired(char **ca_pem, int64_t wall, struct error *error)
{
    char **list = NULL;
    size_t count = 0;
    size_t kept = 0;
    struct buffer buffer;
    int code = certs_list_salvage(*ca_pem, &list, &count, error);
    if (code != 0)
        return code;
    buffer_init(&buffer, CERTS_PEM_MAXIMUM);
    for (size_t i = 0; code == 0 && i < count; i++) {
        struct certs_description description;
        code = certs_describe(list[i], &description, error);
        if (code != 0)
            break;
        if (description.not_after > wall && kept < CERTS_AUTHORITIES - 1) {
            buffer_append_string(&buffer, list[i]);
            kept++;
        }
        certs_description_clear(&description);
    }
    certs_list_free(list, count);
    char *left = buffer_steal(&buffer, NULL);
    if (code == 0 && left == NULL)
        code = error_no_memory(error);
    if (code == 0)
        replace(ca_pem, &left);
    free(left);
    return code;
}

/* Adds the published authorities that the bundle lacks: the one whose key it has, and the one that
 * issued its leaf. Other authorities are none of its business, even if somebody trusts them. */
static int adopt_published(struct certs_bundle *bundle, const char *published, struct error *error)
{
    char **list = NULL;
    size_t count = 0;
    int code = certs_list_salvage(published, &list, &count, error);
    for (size_t i = 0; code == 0 && i < count; i++) {
        char *joined = NULL;
        if (certs_key_check(list[i], bundle->ca_key_pem, NULL) != 0 &&
            certs_verify_timeless(bundle->chain_pem, list[i], NULL) != 0)
            continue;
        code = certs_rotation_join(bundle->ca_pem, list[i], &joined, NULL, error);
        if (code == 0)
            replace(&bundle->ca_pem, &joined);
    }
    certs_list_free(list, count);
    return code;
}

/* Adds what the replica remembers: the authorities, and the key of the signer when the bundle has
 * none that fits. */
static int adopt_remembered(struct certs_bundle *bundle, const struct certs_bundle *remembered,
                            struct error *error)
{
    char *joined = NULL;
    char *key = NULL;
    struct certs_condition condition;
    int code = certs_rotation_join(bundle->ca_pem, remembered->ca_pem, &joined, NULL, error);
    if (code != 0)
        return code;
    replace(&bundle->ca_pem, &joined);
    code = certs_rotation_examine(bundle, NULL, &condition, error);
    if (code != 0 || condition.signer_good)
        return code;
    key = strdup(remembered->ca_key_pem);
    if (key == NULL)
        return error_no_memory(error);
    replace(&bundle->ca_key_pem, &key);
    return 0;
}

static int repair_path(struct certs_bundle *bundle, const struct certs_remains *remains,
                       struct error *error)
{
    if (certs_path_is_sane(bundle->path))
        return 0;
    const char *const others[] = {
        remains->remembered != NULL ? remains->remembered->path : "",
        remains->published_path != NULL ? remains->published_path : "",
    };
    for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
        if (certs_path_is_sane(others[i])) {
            memcpy(bundle->path, others[i], sizeof(bundle->path));
            return 0;
        }
    }
    return certs_path_create(bundle->path, error);
}

/* Rewrites a list with only what is readable: a block without an end would swallow what is
 * appended to it. */
static int tidy(char **ca_pem, struct error *error)
{
    char *readable = NULL;
    int code = certs_rotation_join("", *ca_pem, &readable, NULL, error);
    if (code == 0)
        replace(ca_pem, &readable);
    return code;
}

/* Collects authorities and a signer from wherever they are left; makes a new one when there is
 * no other way. */
static int repair_authorities(struct certs_bundle *bundle, const struct certs_remains *remains,
                              const struct clock *clock, const struct certs_lifetimes *lifetimes,
                              struct error *error)
{
    struct certs_condition condition;
    int code = certs_rotation_examine(bundle, NULL, &condition, error);
    bool lost = code == 0 && (!condition.authorities_good || !condition.signer_good);
    if (lost)
        code = tidy(&bundle->ca_pem, error);
    if (lost && code == 0 && remains->remembered != NULL)
        code = adopt_remembered(bundle, remains->remembered, error);
    if (lost && code == 0 && remains->published_ca != NULL)
        code = adopt_published(bundle, remains->published_ca, error);
    if (code == 0)
        code = drop_expired(&bundle->ca_pem, clock_wall(clock), error);
    if (code == 0)
        code = certs_rotation_examine(bundle, NULL, &condition, error);
    if (code == 0 && !condition.signer_good)
        code = certs_rotation_begin(bundle, clock, lifetimes, error);
    return code;
}

int certs_rotation_repair(const struct certs_bundle *broken, const struct certs_remains *remains,
                          const struct certs_names *names, const struct clock *clock,
                          const struct certs_lifetimes *lifetimes, struct certs_bundle *ret_bundle,
                          struct error *error)
{
    struct certs_bundle bundle = {0};
    struct certs_condition condition;
    int code = certs_bundle_copy(broken, &bundle, error);
    if (code == 0)
        code = repair_path(&bundle, remains, error);
    if (code == 0)
        code = repair_authorities(&bundle, remains, clock, lifetimes, error);
    if (code == 0)
        code = certs_rotation_examine(&bundle, names, &condition, error);
    if (code == 0 && !condition.leaf_good)
        code = certs_rotation_issue(&bundle, names, clock, lifetimes, error);
    if (code != 0) {
        certs_bundle_clear(&bundle);
        error_prefix(error, "can't repair the certificates");
        return code;
    }
    *ret_bundle = bundle;
    return 0;
}
