/* Reviews handed to server/admission with a state and an API server behind it, and what came of
 * them. */
#ifndef IPWARDEN_TESTS_ADMISSION_FIXTURE_H
#define IPWARDEN_TESTS_ADMISSION_FIXTURE_H

#include "server/admission/review.h"
#include "tests/unit/fake_cluster.h"
#include "tests/unit/fake_request.h"
#include "tests/unit/state_fixture.h"

static struct fake_cluster *cluster;
static struct state *world;
static struct metrics *all_metrics;
static struct admission admission;

static inline int admission_set_up(void **state)
{
    (void)state;
    cluster = fake_cluster_new();
    world = state_new(NULL);
    all_metrics = metrics_new();
    admission = (struct admission){
        .state = world,
        .client = cluster->client,
        .clock = clock_system(),
        .requests = metrics_declare(all_metrics, METRICS_COUNTER, "requests", "", "kind",
                                    "operation", "result", NULL),
        .duration = metrics_declare(all_metrics, METRICS_HISTOGRAM, "duration", "", "kind", NULL),
        .junk_refusals = metrics_declare(all_metrics, METRICS_COUNTER, "junk", "", NULL),
    };
    fixture_synced(world);
    return 0;
}

static inline int admission_tear_down(void **state)
{
    (void)state;
    fake_cluster_free(cluster);
    state_free(world);
    metrics_free(all_metrics);
    return 0;
}

/* The same object in state and behind the API server. */
static inline void put_pool_everywhere(const char *name, const char *json)
{
    char path[256];
    snprintf(path, sizeof(path), POOL_PATH "/%s", name);
    fake_cluster_put(cluster, path, json);
    fixture_put_pool(world, Q(json));
}

static inline void put_claim_everywhere(const char *name, const char *json)
{
    char path[256];
    snprintf(path, sizeof(path), CLAIM_PATH "/%s", name);
    fake_cluster_put(cluster, path, json);
    fixture_put_claim(world, Q(json));
}

/* What an AdmissionReview says. */
struct verdict {
    unsigned int status; /* HTTP */
    bool allowed;
    int64_t code;        /* 0 when allowed */
    int64_t retry_after; /* seconds; 0: the client isn't told to come again */
    char reason[64];
    char message[1024];
    char warning[1024];
    char patch[2048];  /* decoded; with single quotes */
    char causes[1024]; /* fields, joined by blanks */
    char text[2048];   /* of an answer that is no AdmissionReview */
};

static inline void decode_base64(const char *text, char *ret_text)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    unsigned int bits = 0;
    int count = 0;
    for (; *text != '\0' && *text != '='; text++) {
        bits = bits << 6 | (unsigned int)(strchr(digits, *text) - digits);
        count += 6;
        if (count >= 8) {
            count -= 8;
            char byte = (char)(bits >> count & 255);
            *ret_text++ = byte == '"' ? '\'' : byte;
        }
    }
    *ret_text = '\0';
}

static inline void read_text(const struct json_view *view, const struct json_node *node,
                             char *ret_text, size_t size)
{
    if (json_view_text(view, node, ret_text, size) < 0)
        *ret_text = '\0';
}

static inline void read_causes(const struct json_view *view, const struct json_node *causes,
                               struct verdict *verdict)
{
    size_t length = 0;
    for (const struct json_node *item = json_view_first(view, causes); item != NULL;
         item = json_view_after(view, causes, item)) {
        char field[256];
        read_text(view, json_view_member(view, item, "field"), field, sizeof(field));
        length += (size_t)snprintf(verdict->causes + length, sizeof(verdict->causes) - length,
                                   "%s%s", length > 0 ? " " : "", field);
    }
}

static inline void read_verdict(const char *answer, struct verdict *verdict)
{
    struct json_view view;
    char patch[2048];
    json_view_init(&view);
    if (json_view_parse(&view, answer, strlen(answer), JSON_VIEW_DEPTH, NULL) < 0) {
        snprintf(verdict->text, sizeof(verdict->text), "%s", answer);
        json_view_clear(&view);
        return;
    }
    const struct json_node *root = json_view_root(&view);
    const struct json_node *response = json_view_member(&view, root, "response");
    const struct json_node *status = json_view_member(&view, response, "status");
    assert_true(json_view_equals(&view, json_view_member(&view, root, "kind"), "AdmissionReview"));
    assert_true(json_view_equals(&view, json_view_member(&view, root, "apiVersion"),
                                 "admission.k8s.io/v1"));
    assert_true(json_view_equals(&view, json_view_member(&view, response, "uid"), "the-uid"));
    verdict->allowed = json_view_bool(json_view_member(&view, response, "allowed"));
    if (!json_view_int64(&view, json_view_member(&view, status, "code"), &verdict->code))
        verdict->code = 0;
    assert_int_equal(verdict->allowed, verdict->code == 0);
    if (!json_view_int64(&view, json_view_path(&view, status, "details", "retryAfterSeconds", NULL),
                         &verdict->retry_after))
        verdict->retry_after = 0;
    read_text(&view, json_view_member(&view, status, "reason"), verdict->reason,
              sizeof(verdict->reason));
    read_text(&view, json_view_member(&view, status, "message"), verdict->message,
              sizeof(verdict->message));
    read_text(&view, json_view_first(&view, json_view_member(&view, response, "warnings")),
              verdict->warning, sizeof(verdict->warning));
    read_text(&view, json_view_member(&view, response, "patch"), patch, sizeof(patch));
    decode_base64(patch, verdict->patch);
    read_causes(&view, json_view_path(&view, status, "details", "causes", NULL), verdict);
    json_view_clear(&view);
}

/* Hands in any text. */
static inline void review_text(bool mutating, const char *content_type, const char *timeout,
                               const char *body, struct verdict *ret_verdict)
{
    struct http_request request = {
        .content_type = content_type, .timeout = timeout, .body = body, .length = strlen(body)};
    memset(ret_verdict, 0, sizeof(*ret_verdict));
    (mutating ? review_handle_mutate : review_handle_validate)(&admission, &request);
    fake_until(request.answers > 0);
    assert_int_equal(request.answers, 1);
    ret_verdict->status = request.status;
    read_verdict(request.answer, ret_verdict);
    free(request.answer);
}

/* Whether the metrics have this line. */
static inline bool has_metric(const char *line)
{
    struct buffer text;
    buffer_init(&text, 1U << 20);
    metrics_render(all_metrics, &text);
    bool found = strstr(text.data, line) != NULL;
    buffer_clear(&text);
    return found;
}

/* A review in single quotes. more is further members of request, each with a comma in front. */
static inline void review(bool mutating, const char *resource, const char *operation,
                          const char *object, const char *old, const char *more,
                          struct verdict *ret_verdict)
{
    char body[QUOTES_SIZE];
    const char *group = strncmp(resource, "services", 8) == 0 ? ""
                        : strncmp(resource, "ipam", 4) == 0   ? "ipam.mandelsoft.org"
                                                              : "ipcontroller.ext";
    const char *slash = strchr(resource, '/');
    snprintf(body, sizeof(body),
             "{'apiVersion':'admission.k8s.io/v1','kind':'AdmissionReview','request':{'kind':{},"
             "'uid':'the-uid','operation':'%s','resource':{'group':'%s','version':'v1','resource':"
             "'%.*s'}%s%s%s,'namespace':'a','name':'the-name','object':%s,'oldObject':%s%s}}",
             operation, group, slash != NULL ? (int)(slash - resource) : (int)strlen(resource),
             resource, slash != NULL ? ",'subResource':'" : "", slash != NULL ? slash + 1 : "",
             slash != NULL ? "'" : "", object, old != NULL ? old : "null", more);
    review_text(mutating, "application/json", "10s", Q(body), ret_verdict);
}

#endif
