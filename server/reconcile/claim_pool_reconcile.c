/* A claim that names no pool which is there, for it was made before the pool, gets the name of the
 * pool that offers its address, in spec and as a label. Nothing else about it changes. A pool can
 * then be neither emptied nor deleted while its addresses are in use. */
#include "server/reconcile/pass.h"
#include "server/state/state_pools.h"

#include "server/base/log.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define BODY_MOST (16U * 1024)

/* What a look at a claim found; all copies. */
struct finding {
    char *pool; /* NULL: it lacks nothing */
    char *uid;
    char *resource_version;
};

static void clear(void *context)
{
    struct finding *finding = context;
    free(finding->pool);
    free(finding->uid);
    free(finding->resource_version);
}

static int look(struct pass *pass, void *context)
{
    struct finding *finding = context;
    const struct state *state = pass->reconciler->options.state;
    const struct state_claim *claim = state_claim(state, pass->item.key);
    const struct state_pool *pool = claim != NULL ? state_pool_to_note(state, claim) : NULL;
    if (pool == NULL)
        return 0;
    finding->pool = strdup(pool->object.meta->name);
    finding->uid = strdup(claim->object.meta->uid);
    finding->resource_version = strdup(claim->object.meta->resource_version);
    return finding->pool != NULL && finding->uid != NULL && finding->resource_version != NULL
               ? 0
               : -ENOMEM;
}

/* The answer goes into state at once, as that to every write of a claim does. */
static enum pass_end written(struct pass *pass, void *context, const struct k8s_response *response)
{
    const uint64_t *since = context;
    struct claim *claim;
    if (claim_decode_text(response->body, response->body_length, &claim, NULL) == 0 &&
        state_put_answer(pass->reconciler->options.state, STATE_CLAIMS, claim, *since) < 0)
        log_error("out of memory: a claim is known again after the next list", "claim",
                  pass->item.key);
    return PASS_OK;
}

static void encode(struct buffer *body, const struct finding *finding)
{
    struct json_writer writer;
    json_writer_init(&writer, body);
    json_begin_object(&writer);
    json_member_object(&writer, "metadata");
    json_member_string(&writer, "uid", finding->uid);
    json_member_string(&writer, "resourceVersion", finding->resource_version);
    json_member_object(&writer, "labels");
    json_member_string(&writer, CLAIM_LABEL_POOL, finding->pool);
    json_end_object(&writer);
    json_end_object(&writer);
    json_member_object(&writer, "spec");
    json_member_string(&writer, "pool", finding->pool);
    json_end_object(&writer);
    json_end_object(&writer);
}

static void act(struct pass *pass, void *context)
{
    const struct finding *finding = context;
    _cleanup_buffer_ struct buffer body;
    buffer_init(&body, BODY_MOST);
    if (finding->pool == NULL) {
        pass_end(pass, PASS_OK);
        return;
    }
    uint64_t *since = malloc(sizeof(*since));
    if (since == NULL) {
        pass_end(pass, PASS_RETRY);
        return;
    }
    *since = state_sequence(pass->reconciler->options.state);
    encode(&body, finding);
    struct pass_write write = {.verb = K8S_MERGE_PATCH,
                               .path = object_path(CLAIM_PATH, pass->item.key, ""),
                               .body = &body,
                               .written = written,
                               .context = since,
                               .release = free};
    pass_send(pass, &write);
}

const struct reconcile_row reconcile_claim_pools = {.name = "claim-pool",
                                                    .finding_size = sizeof(struct finding),
                                                    .look = look,
                                                    .act = act,
                                                    .clear = clear};
