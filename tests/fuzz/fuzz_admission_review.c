/* Any body as an admission review, in front of a state with a few objects and an API server that does what the first line
 * of the input says. Exactly one answer comes, it is well formed, nothing is left under way, only the validating call writes, and
 * a dry run leaves no trace.
 *
 * First line: 'm' (mutate) or 'v' (validate), then one character for each request to the API server: '.' good, 'e' exists and is
 * another's, 'o' exists and is ours, 'c' conflict, 'n' not found, 's' internal error, 't' timeout, 'g' an answer
 * that makes no sense, 'x' can't be sent; good when there are no more. The rest is the body. */
#include "server/admission/review.h"
#include "server/state/state_addresses.h"
#include "tests/unit/fake_request.h"

#include <errno.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define REQUIRE(condition)                                                                         \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            fprintf(stderr, "failed: %s\n", #condition);                                           \
            abort();                                                                               \
        }                                                                                          \
    } while (0)

static struct {
    const char *script;
    size_t left;
    unsigned int writes;
    char owned[512]; /* spec.services of the last write: whom 'o' names */
} server;

/* --- the API server: stands in for k8s/client.c --- */

char *k8s_delete_options(const char *uid, const char *resource_version)
{
    char *text;
    return asprintf(&text, "{\"preconditions\":{\"uid\":\"%s\",\"resourceVersion\":\"%s\"}}",
                    uid != NULL ? uid : "", resource_version != NULL ? resource_version : "") < 0
               ? NULL
               : text;
}

const struct clock *k8s_client_clock(const struct k8s_client *client)
{
    (void)client;
    return clock_system();
}

/* Only what comes late is asked for again, and nothing comes late here. */
int k8s_after(struct k8s_client *client, int64_t nanoseconds, void (*callback)(void *context),
              void *context)
{
    (void)client;
    (void)nanoseconds;
    (void)callback;
    (void)context;
    return -ENOMEM;
}

/* As the client refuses them. */
static bool is_path(const char *path)
{
    for (const char *at = path; *at != '\0'; at++)
        if ((unsigned char)*at < ' ' || strchr("?#%\x7f", *at) != NULL ||
            (*at == '/' && strchr("/.", at[1]) != NULL))
            return false;
    return true;
}

/* A claim for the address in the path or the body. */
static void encode_claim(const struct k8s_request *request, char kind, char *text, size_t size)
{
    char name[ADDRESS_CLAIM_NAME_SIZE] = "192-0-2-1-32";
    char address_text[ADDRESS_TEXT_SIZE];
    struct address address;
    struct json_view view;
    json_view_init(&view);
    if (request->body != NULL &&
        json_view_parse(&view, request->body, request->body_length, JSON_VIEW_DEPTH, NULL) == 0) {
        const struct json_node *root = json_view_root(&view);
        const struct json_node *services = json_view_path(&view, root, "spec", "services", NULL);
        size_t length = 0;
        const char *raw = services != NULL ? json_view_raw(&view, services, &length) : "";
        if (length < sizeof(server.owned))
            snprintf(server.owned, sizeof(server.owned), "%.*s", (int)length, raw);
        (void)json_view_text(&view, json_view_path(&view, root, "metadata", "name", NULL), name,
                             sizeof(name));
    }
    json_view_clear(&view);
    const char *last = strrchr(request->path, '/') + 1;
    if (request->verb != K8S_CREATE)
        snprintf(name, sizeof(name), "%s", last);
    if (address_from_claim_name(name, &address, NULL, NULL) < 0)
        abort();
    address_format(&address, address_text);
    snprintf(text, size,
             "{\"metadata\":{\"name\":\"%s\",\"uid\":\"u\",\"resourceVersion\":\"9\"},\"spec\":{"
             "\"cidr\":\"%s\",\"services\":%s}}",
             name, address_text,
             kind != 'e' && server.owned[0] != '\0'
                 ? server.owned
                 : "[{\"namespace\":\"elsewhere\",\"name\":\"other\",\"uid\":\"o\"}]");
}

/* What stands at the path. */
static void encode_answer(const struct k8s_request *request, char kind, char *text, size_t size)
{
    bool claims = strncmp(request->path, CLAIM_PATH, strlen(CLAIM_PATH)) == 0;
    if (kind == 'g')
        snprintf(text, size, "{\"metadata\":{\"name\":7}}");
    else if (request->verb == K8S_LIST)
        snprintf(text, size, "{\"metadata\":{\"resourceVersion\":\"9\"},\"items\":[%s]}",
                 claims ? ""
                        : "{\"metadata\":{\"name\":\"green\"},\"spec\":{\"cidr\":"
                          "\"203.0.113.0/29\"}}");
    else if (!claims)
        snprintf(text, size,
                 "{\"metadata\":{\"namespace\":\"a\",\"name\":\"old\",\"uid\":\"s\"},"
                 "\"spec\":{\"externalIPs\":[\"192.0.2.3\"]}}");
    else if (request->verb != K8S_DELETE)
        encode_claim(request, kind, text, size);
}

int k8s_submit(struct k8s_client *client, const struct k8s_request *request, k8s_callback callback,
               void *context, struct error *error)
{
    static const struct {
        char kind;
        int status;
        int code;
    } kinds[] = {{'e', 409, -EEXIST}, {'o', 409, -EEXIST}, {'c', 409, -EAGAIN},
                 {'n', 404, -ENOENT}, {'s', 500, -EPROTO}, {'t', 0, -ETIMEDOUT},
                 {'.', 200, 0},       {'g', 200, 0}};
    static char pending = '.'; /* what a read after a conflict shall find */
    char body[4096] = "";
    struct k8s_response response = {.status = 200, .body = body};
    char kind = '.';
    (void)client;
    (void)error;
    if (request->verb == K8S_GET && (pending == 'e' || pending == 'o'))
        kind = pending;
    else if (server.left > 0 && server.left--)
        kind = *server.script++;
    pending = '.';
    if (kind == 'x')
        return -ENOMEM;
    if (!is_path(request->path))
        return -EINVAL;
    server.writes += request->verb != K8S_GET && request->verb != K8S_LIST;
    bool found_by_reading = request->verb == K8S_GET && (kind == 'e' || kind == 'o');
    for (size_t i = 0; !found_by_reading && i < sizeof(kinds) / sizeof(kinds[0]); i++)
        if (kinds[i].kind == kind) {
            response.status = kinds[i].status;
            response.error.code = kinds[i].code;
        }
    if (response.error.code == -EEXIST)
        pending = kind;
    encode_answer(request, kind, body, sizeof(body));
    response.body_length = strlen(body);
    callback(context, &response);
    return 0;
}

/* --- the state --- */

static void put(struct state *state, enum state_kind kind, const char *json)
{
    struct json_view view;
    void *object;
    json_view_init(&view);
    REQUIRE(json_view_parse(&view, json, strlen(json), JSON_VIEW_DEPTH, NULL) == 0);
    REQUIRE(state_kind(kind)->decode(&view, json_view_root(&view), &object, NULL) == 0 &&
            state_put(state, kind, object) == 0);
    json_view_clear(&view);
}

static struct state *make_state(void)
{
    static const struct {
        enum state_kind kind;
        const char *json;
    } objects[] = {
        {STATE_POOLS, "{\"metadata\":{\"name\":\"blue\"},\"spec\":{\"cidr\":\"192.0.2.0/29\"}}"},
        {STATE_POOLS, "{\"metadata\":{\"name\":\"six\"},\"spec\":{\"cidr\":\"2001:db8::/126\"}}"},
        {STATE_POOLS, "{\"metadata\":{\"name\":\"tiny\"},\"spec\":{\"cidr\":\"203.0.113.9/32\"}}"},
        {STATE_CLAIMS,
         "{\"metadata\":{\"name\":\"203-0-113-9-32\",\"uid\":\"t\",\"resourceVersion\":\"4\"},"
         "\"spec\":{\"cidr\":\"203.0.113.9/32\",\"pool\":\"tiny\",\"services\":[{\"namespace\":"
         "\"b\",\"name\":\"owner\",\"uid\":\"o\",\"given\":true}]}}"},
        {STATE_CLAIMS,
         "{\"metadata\":{\"name\":\"192-0-2-2-32\",\"uid\":\"c\",\"resourceVersion\":\"5\"},"
         "\"spec\":{\"cidr\":\"192.0.2.2/32\",\"pool\":\"blue\",\"services\":[{\"namespace\":"
         "\"a\",\"name\":\"web\",\"uid\":\"u\",\"given\":true,\"ports\":[\"TCP/80\"]}]}}"},
        {STATE_RANGES,
         "{\"metadata\":{\"namespace\":\"a\",\"name\":\"lan\",\"uid\":\"r\"},\"spec\":{\"mode\":"
         "\"FirstMatch\",\"ranges\":[\"10.0.0.0/24\"]}}"},
        {STATE_REQUESTS,
         "{\"metadata\":{\"namespace\":\"a\",\"name\":\"net\",\"uid\":\"q\"},\"spec\":{\"range\":{"
         "\"name\":\"lan\",\"namespace\":\"a\"}},\"status\":{\"cidr\":\"10.0.0.16/28\"}}"},
        {STATE_POOLS,
         "{\"metadata\":{\"name\":\"from\"},\"spec\":{\"fromRequest\":{\"namespace\":\"a\","
         "\"name\":\"net\"}}}"},
        {STATE_SERVICES, "{\"metadata\":{\"namespace\":\"a\",\"name\":\"old\",\"uid\":\"s\"},"
                         "\"spec\":{\"externalIPs\":[\"192.0.2.3\"]}}"},
    };
    struct state *state = state_new(NULL);
    REQUIRE(state != NULL);
    for (size_t i = 0; i < sizeof(objects) / sizeof(objects[0]); i++)
        put(state, objects[i].kind, objects[i].json);
    for (int i = 0; i < STATE_KINDS; i++)
        state->synced[i] = true;
    return state;
}

static void check_state(struct state *state, bool dry_run)
{
    size_t position = 0;
    mutex_lock(&state->mutex);
    for (const struct state_address *entry;
         (entry = map_next(state->addresses, &position)) != NULL;)
        REQUIRE(entry->claiming == 0 && entry->busy);
    REQUIRE(!dry_run || state->chosen_first == NULL);
    mutex_unlock(&state->mutex);
}

static void check_answer(const struct http_request *request, bool may_write)
{
    struct json_view view;
    REQUIRE(request->answers == 1 && request->answer != NULL);
    REQUIRE(may_write || server.writes == 0);
    REQUIRE(request->status == 200);
    json_view_init(&view);
    REQUIRE(json_view_parse(&view, request->answer, strlen(request->answer), JSON_VIEW_DEPTH,
                            NULL) == 0);
    const struct json_node *response = json_view_member(&view, json_view_root(&view), "response");
    REQUIRE(json_view_is_string(json_view_member(&view, response, "uid")));
    bool allowed = json_view_bool(json_view_member(&view, response, "allowed"));
    const struct json_node *status = json_view_member(&view, response, "status");
    int64_t code = 0;
    REQUIRE(allowed == (status == NULL));
    REQUIRE(allowed || json_view_int64(&view, json_view_member(&view, status, "code"), &code));
    REQUIRE((code == 429) ==
            (json_view_path(&view, status, "details", "retryAfterSeconds", NULL) != NULL));
    REQUIRE(allowed || json_view_member(&view, response, "patch") == NULL);
    json_view_clear(&view);
}

static bool is_dry_run(const char *body, size_t length)
{
    struct json_view view;
    json_view_init(&view);
    bool dry_run =
        json_view_parse(&view, body, length, JSON_VIEW_DEPTH, NULL) == 0 &&
        json_view_bool(json_view_path(&view, json_view_root(&view), "request", "dryRun", NULL));
    json_view_clear(&view);
    return dry_run;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const uint8_t *end = size > 1 ? memchr(data, '\n', size) : NULL;
    if (end == NULL || end == data)
        return 0;
    memset(&server, 0, sizeof(server));
    server.script = (const char *)data + 1;
    server.left = (size_t)(end - data) - 1;
    size_t length = size - (size_t)(end + 1 - data);
    char *body = malloc(length + 1);
    if (body == NULL)
        return 0;
    memcpy(body, end + 1, length);
    body[length] = '\0';
    struct state *state = make_state();
    struct admission admission = {.state = state};
    struct http_request request = {
        .content_type = "application/json", .timeout = "10s", .body = body, .length = length};
    bool mutates = data[0] == 'm';
    bool dry_run = is_dry_run(body, length);
    (mutates ? review_handle_mutate : review_handle_validate)(&admission, &request);
    check_answer(&request, !mutates && !dry_run);
    check_state(state, dry_run);
    free(request.answer);
    state_free(state);
    free(body);
    return 0;
}
