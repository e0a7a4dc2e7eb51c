/* A claim is created under its name or patched under its version, so whatever else happens at the
 * same time, nothing of anybody's is overwritten. After an answer that leaves open what became of a
 * write the claim is read: it says whether it is there. */
#include "server/migrate/adoption_apply.h"

#include "server/migrate/crew.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define BODY_MOST (4U << 20)

struct job {
    struct adoption *adoption;
    const struct adoption_applying *applying;
    struct crew crew;
};

static int64_t deadline_of(const struct adoption_applying *applying)
{
    return clock_monotonic(k8s_client_clock(applying->client)) + applying->timeout;
}

static int write_claim(const struct adoption_applying *applying, const struct adoption_claim *claim,
                       const char *name, struct error *error)
{
    _cleanup_buffer_ struct buffer body;
    bool create = claim->action == ADOPTION_CREATE;
    const struct object_path path = object_path(CLAIM_PATH, name, "");
    buffer_init(&body, BODY_MOST);
    adoption_encode(claim, &body);
    if (buffer_failed(&body))
        return error_no_memory(error);
    const struct k8s_request request = {.verb = create ? K8S_CREATE : K8S_MERGE_PATCH,
                                        .path = create ? CLAIM_PATH : path.text,
                                        .body = body.data,
                                        .body_length = body.length,
                                        .deadline = deadline_of(applying),
                                        .retry = true};
    return k8s_call(applying->client, &request, NULL, error);
}

/* Whether each Service of one list is in the other, as the same object. */
static bool names_all(const struct claim *stored, const struct adoption_claim *wanted)
{
    for (size_t i = 0; i < wanted->service_count; i++) {
        bool found = false;
        for (size_t j = 0; !found && j < stored->service_count; j++)
            found = strcmp(stored->services[j].key, wanted->services[i].key) == 0 &&
                    strcmp(stored->services[j].uid, wanted->services[i].uid) == 0;
        if (!found)
            return false;
    }
    return !stored->meta.deleting && (wanted->service_count > 0 || claim_is_hold(stored));
}

static bool is_written(const struct adoption_applying *applying, const struct adoption_claim *claim,
                       const char *name)
{
    const struct object_path path = object_path(CLAIM_PATH, name, "");
    const struct k8s_request request = {
        .verb = K8S_GET, .path = path.text, .deadline = deadline_of(applying), .retry = true};
    _cleanup_claim_ struct claim *stored = NULL;
    char *body = NULL;
    bool written = k8s_call(applying->client, &request, &body, NULL) == 0 &&
                   claim_decode_text(body, strlen(body), &stored, NULL) == 0 &&
                   names_all(stored, claim);
    free(body);
    return written;
}

static void work(void *context, size_t index)
{
    struct job *job = context;
    struct adoption_claim *claim = &job->adoption->claims[index];
    char name[ADDRESS_CLAIM_NAME_SIZE];
    struct error error = {0};
    if (claim->action != ADOPTION_CREATE && claim->action != ADOPTION_JOIN)
        return;
    if (job->applying->wanted != NULL && !job->applying->wanted(job->applying->context, claim)) {
        mutex_guard(&job->crew.mutex);
        job->crew.failures++;
        return;
    }
    address_claim_name(&claim->address, name);
    const char *stored = claim->action == ADOPTION_JOIN ? claim->name : name;
    int code = write_claim(job->applying, claim, stored, &error);
    if (code == 0 || (code != -EACCES && is_written(job->applying, claim, stored)))
        claim->action = ADOPTION_PRESENT;
    else if (code == -EEXIST || code == -EAGAIN)
        crew_fail(&job->crew, "claim %s has changed meanwhile: run the command again", stored);
    else
        crew_fail(&job->crew, "claim %s: %.200s", stored, error.text);
    if (code == -ECONNREFUSED)
        crew_give_up(&job->crew);
}

size_t adoption_apply(struct adoption *adoption, const struct adoption_applying *applying)
{
    struct job job = {.adoption = adoption, .applying = applying};
    if (adoption->changes == 0)
        return 0;
    crew_init(&job.crew, k8s_client_clock(applying->client), "addresses", adoption->claim_count);
    crew_run(&job.crew, adoption->claim_count, work, &job);
    size_t failures = job.crew.failures;
    crew_destroy(&job.crew);
    return failures;
}
