/* Random objects there and back: what comes back is the object, byte for byte in canonical JSON; and
 * when it is edited in between, the edit wins and everything else stays.
 *
 * The seed is printed. IPWARDEN_SEED repeats a run, IPWARDEN_OBJECTS says how many objects of each kind
 * go in each direction. */
#include "tests/unit/conversion_fixture.h"

#include <time.h>

#define OBJECTS 1000

static uint64_t random_state;

static uint64_t random_next(void)
{
    /* splitmix64 */
    uint64_t value = random_state += UINT64_C(0x9e3779b97f4a7c15);
    value = (value ^ value >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    value = (value ^ value >> 27) * UINT64_C(0x94d049bb133111eb);
    return value ^ value >> 31;
}

static unsigned int below(unsigned int limit)
{
    return (unsigned int)(random_next() % limit);
}

#define PICK(...)                                                                                  \
    __extension__({                                                                                \
        static const char *const picked[] = {__VA_ARGS__};                                         \
        picked[below(COUNT(picked))];                                                              \
    })

/* --- values --- */

/* Anything at all, with numbers that no double holds. */
static void put_any(struct json_writer *writer, unsigned int depth)
{
    const char *number =
        PICK("0", "1.10", "1e400", "-0.0", "12345678901234567890", "7", "true", "false");
    unsigned int many = below(3);
    switch (below(depth > 0 ? 4 : 2)) {
    case 0:
        json_put_raw(writer, number, strlen(number));
        break;
    case 1:
        json_put_string(writer, PICK("", "a", "<&>", "\"\\\n\t",
                                     "Gr\xC3\xBC\xC3\x9F"
                                     "e",
                                     "null"));
        break;
    case 2:
        json_begin_array(writer);
        for (unsigned int i = 0; i < many; i++)
            put_any(writer, depth - 1);
        json_end_array(writer);
        break;
    default:
        json_begin_object(writer);
        for (unsigned int i = 0; i < many; i++) {
            json_name(writer, i == 0 ? PICK("a", "f:x", "\"q\"") : "b");
            put_any(writer, depth - 1);
        }
        json_end_object(writer);
    }
}

static void put_address(struct json_writer *writer)
{
    if (below(4) == 0)
        json_put_format(writer, "2001:db8::%x", 1 + below(0xfff0));
    else
        json_put_format(writer, "10.%u.%u.%u", below(3), below(3), below(256));
}

static void put_network(struct json_writer *writer)
{
    unsigned int length = 8 + below(25);
    uint32_t host = UINT32_C(0x0a000000) + below(4) * UINT32_C(0x01010000) + below(4) * 0x0101;
    host &= UINT32_MAX << (32 - length);
    if (below(4) == 0)
        json_put_format(writer, "2001:db8:%x::/%u", below(16), 48 + below(80));
    else
        json_put_format(writer, "%u.%u.%u.%u/%u", host >> 24, host >> 16 & 255, host >> 8 & 255,
                        host & 255, length);
}

static void put_span(struct json_writer *writer)
{
    unsigned int first = below(200);
    if (below(4) == 0)
        json_put_format(writer, "2001:db8::%x-2001:db8::%x", first + 1, first + 1 + below(999));
    else
        json_put_format(writer, "10.0.%u.%u-10.0.%u.%u", below(2), first, 1 + below(3),
                        first + below(50));
}

static void put_entry(struct json_writer *writer)
{
    unsigned int what = below(10);
    if (what == 0)
        json_put_string(writer, PICK("", "x", "10.0.0.9-10.0.0.1", "10.0.0.0/99"));
    else if (what < 4)
        put_network(writer);
    else if (what < 8)
        put_span(writer);
    else
        put_address(writer);
}

static void put_entries(struct json_writer *writer)
{
    unsigned int count = below(4);
    json_begin_array(writer);
    for (unsigned int i = 0; i < count; i++)
        put_entry(writer);
    json_end_array(writer);
}

static void put_pairs(struct json_writer *writer)
{
    unsigned int count = below(4);
    json_begin_array(writer);
    for (unsigned int i = 0; i < count; i++) {
        unsigned int first = below(200);
        json_begin_array(writer);
        json_put_format(writer, "10.0.0.%u", first);
        json_put_format(writer, "10.0.0.%u", first + below(40));
        if (below(30) == 0)
            put_any(writer, 1);
        json_end_array(writer);
    }
    json_end_array(writer);
}

static void put_services(struct json_writer *writer)
{
    unsigned int count = below(4);
    json_begin_array(writer);
    for (unsigned int i = 0; i < count; i++) {
        json_begin_object(writer);
        json_member_string(writer, "namespace", PICK("shop", "web"));
        json_member_format(writer, "name", "s-%u", i);
        if (below(2) == 0)
            json_member_format(writer, "uid", "u-%u", below(9));
        if (below(3) == 0)
            json_member_bool(writer, "given", true);
        json_end_object(writer);
    }
    json_end_array(writer);
}

static void put_name(struct json_writer *writer)
{
    json_put_string(writer,
                    PICK("lan", "wan", "node-1", "node-2", "-", "a.b",
                         "0123456789012345678901234567890123456789012345678901234567890123"));
}

static void put_map(struct json_writer *writer)
{
    unsigned int count = below(4);
    json_begin_object(writer);
    for (unsigned int i = 0; i < count; i++)
        json_member_format(writer,
                           i == 0   ? "10.0.0.1"
                           : i == 1 ? "10.0.0.2"
                                    : "10.0.0.3",
                           "10-0-0-%u-24", i);
    json_end_object(writer);
}

static void put_reference(struct json_writer *writer)
{
    json_begin_object(writer);
    json_member_string(writer, "name", PICK("lan", "wan"));
    if (below(2) == 0)
        json_member_string(writer, "namespace", "net");
    json_end_object(writer);
}

static void put_wish(struct json_writer *writer)
{
    json_put_string(writer, PICK("24", "/24", "%8", "#300", "5/24", "10.1.2.0/24", "10.1.2.7", "",
                                 "024", "0", "999999999999"));
}

static void put_size(struct json_writer *writer)
{
    const char *number = PICK("24", "0", "-1", "32", "129", "99999999999999999999", "1.5");
    json_put_raw(writer, number, strlen(number));
}

static void put_bool(struct json_writer *writer)
{
    json_put_bool(writer, below(2) == 0);
}

static void put_small(struct json_writer *writer)
{
    put_any(writer, 2);
}

static void put_revision(struct json_writer *writer)
{
    json_put_format(writer, "%u", below(1000));
}

static void put_state(struct json_writer *writer)
{
    json_put_string(writer, PICK("Ready", "Busy", "Invalid", "Deleting", "Error", "Up", ""));
}

static void put_conditions(struct json_writer *writer)
{
    unsigned int count = below(3);
    json_begin_array(writer);
    for (unsigned int i = 0; i < count; i++) {
        json_begin_object(writer);
        json_member_string(writer, "type", i == 0 ? "Ready" : "Other");
        json_member_string(writer, "status", PICK("True", "False", "Unknown"));
        if (below(5) > 0)
            json_member_string(writer, "reason",
                               PICK("Ready", "Serving", "Busy", "Invalid", "Deleting", "Conflict",
                                    "RangeNotFound", "Else"));
        if (below(2) == 0)
            json_member_string(writer, "message", PICK("", "why"));
        if (below(2) == 0)
            json_member_string(writer, "lastTransitionTime", "2026-01-01T00:00:00Z");
        json_end_object(writer);
    }
    json_end_array(writer);
}

/* The status of an IpNode, in v1 and v2. */
static void put_said(struct json_writer *writer)
{
    json_begin_object(writer);
    json_name(writer, "links");
    put_small(writer);
    json_end_object(writer);
}

static void put_beating(struct json_writer *writer)
{
    json_begin_object(writer);
    if (below(2) == 0) {
        json_name(writer, "revision");
        put_revision(writer);
    }
    if (below(2) == 0) {
        json_name(writer, "conditions");
        put_conditions(writer);
    }
    json_end_object(writer);
}

/* --- objects --- */

struct field {
    const char *name;
    void (*put)(struct json_writer *writer);
};
#define FIELDS 12

struct shape {
    const struct conversion_kind *kind;
    bool namespaced;
    struct field spec[CONVERSION_VERSIONS][FIELDS];
    struct field status[CONVERSION_VERSIONS][FIELDS];
    struct field beside[CONVERSION_VERSIONS][FIELDS];
};

#define IPCONTROLLER_STATUS                                                                        \
    {                                                                                              \
        {"conditions", put_conditions}, {"ipv4", put_small},                                       \
        {                                                                                          \
            "request", put_small                                                                   \
        }                                                                                          \
    }

static const struct shape shapes[] = {
    {.kind = &conversion_pool,
     .spec =
         {{{"cidr", put_network}, {"ranges", put_pairs}, {"allocated", put_map}, {"x", put_small}},
          {{"addresses", put_entries},
           {"addresses", put_entries},
           {"useNetworkAndBroadcast", put_bool},
           {"cidr", put_network},
           {"ranges", put_entries},
           {"fromRequest", put_reference},
           {"allocated", put_map},
           {"mode", put_name},
           {"priority", put_small},
           {"exclude", put_entries}}},
     .status = {IPCONTROLLER_STATUS, IPCONTROLLER_STATUS},
     .beside = {{{"x", put_small}}, {{"y", put_small}}}},
    {.kind = &conversion_claim,
     .spec = {{{"cidr", put_network}, {"nodeName", put_name}, {"link", put_name}, {"x", put_small}},
              {{"cidr", put_network},
               {"nodeName", put_name},
               {"link", put_name},
               {"pool", put_name},
               {"services", put_services},
               {"standbyNode", put_name},
               {"hold", put_bool},
               {"announce", put_small}}},
     .status = {IPCONTROLLER_STATUS, IPCONTROLLER_STATUS},
     .beside = {{{"x", put_small}}, {{"y", put_small}}}},
    {.kind = &conversion_ip_node,
     .spec = {{{NULL, NULL}}, {{"nodeName", put_name}, {"zone", put_small}}},
     .beside = {{{"revision", put_revision}, {"status", put_said}, {"x", put_small}},
                {{"status", put_beating}, {"y", put_small}}}},
    {.kind = &conversion_ipam_range,
     .namespaced = true,
     .spec =
         {{{"mode", put_name}, {"ranges", put_entries}, {"chunkSize", put_size}, {"x", put_small}},
          {{"mode", put_name},
           {"ranges", put_entries},
           {"defaultPrefixLength", put_size},
           {"y", put_small}}},
     .status = {{{"state", put_state}, {"message", put_name}, {"roundRobin", put_entries}},
                {{"conditions", put_conditions},
                 {"roundRobin", put_entries},
                 {"epoch", put_size}}}},
    {.kind = &conversion_ipam_request,
     .namespaced = true,
     .spec = {{{"ipam", put_reference},
               {"size", put_size},
               {"request", put_wish},
               {"description", put_name},
               {"x", put_small}},
              {{"range", put_reference},
               {"request", put_wish},
               {"description", put_name},
               {"y", put_small}}},
     .status = {{{"state", put_state}, {"message", put_name}, {"cidr", put_network}},
                {{"conditions", put_conditions}, {"cidr", put_network}, {"z", put_small}}}},
};

/* Half of the fields, each at most once. */
static void put_fields(struct json_writer *writer, const struct field *fields)
{
    const char *last = "";
    for (size_t i = 0; i < FIELDS && fields[i].name != NULL; i++) {
        if (below(2) == 0 || strcmp(last, fields[i].name) == 0)
            continue;
        json_name(writer, fields[i].name);
        fields[i].put(writer);
        last = fields[i].name;
    }
}

static void put_metadata(struct json_writer *writer, const struct shape *shape)
{
    json_member_object(writer, "metadata");
    json_member_string(writer, "name", PICK("x", "10-0-0-1-24", "node-1"));
    if (shape->namespaced)
        json_member_string(writer, "namespace", "net");
    json_member_string(writer, "uid", "6c1f");
    if (below(2) == 0) {
        json_member_object(writer, "labels");
        json_member_string(writer, "a", "b");
        if (below(2) == 0)
            json_member_string(writer, "ip-pool-name", PICK("lan", "wan"));
        if (below(2) == 0)
            json_member_string(writer, "ipnode", PICK("node-1", "node-2"));
        json_end_object(writer);
    }
    if (below(3) == 0) {
        json_member_object(writer, "annotations");
        json_member_string(writer, "note", "{\"spec\":1.0}");
        json_end_object(writer);
    }
    if (below(2) == 0) {
        unsigned int count = 1 + below(3);
        json_member_array(writer, "ownerReferences");
        for (unsigned int i = 0; i < count; i++) {
            json_begin_object(writer);
            json_member_string(writer, "kind",
                               PICK("ServiceReference", "ServiceReference", "Service"));
            json_member_format(writer, "uid", "%s/s-%u", PICK("shop", "web"), i);
            json_end_object(writer);
        }
        json_end_array(writer);
    }
    if (below(3) == 0) {
        json_member_array(writer, "managedFields");
        put_small(writer);
        json_end_array(writer);
    }
    json_end_object(writer);
}

/* A random object; to free(). */
static char *make(const struct shape *shape, enum conversion_version version)
{
    const struct conversion_kind *kind = shape->kind;
    struct json_writer writer;
    struct buffer text;
    buffer_init(&text, ANSWER_MOST);
    json_writer_init(&writer, &text);
    json_begin_object(&writer);
    json_member_string(&writer, "kind", kind->kind);
    json_member_format(&writer, "apiVersion", "%s/%s", kind->group, kind->versions[version]);
    put_metadata(&writer, shape);
    if (kind->has_spec[version]) {
        json_member_object(&writer, "spec");
        put_fields(&writer, shape->spec[version]);
        json_end_object(&writer);
    }
    /* An IpNode of v1 has no status, unless something is in it. */
    if (below(2) == 0 && shape->kind != &conversion_ip_node) {
        json_member_object(&writer, "status");
        put_fields(&writer, shape->status[version]);
        json_end_object(&writer);
    }
    put_fields(&writer, shape->beside[version]);
    json_end_object(&writer);
    assert_true(json_writer_done(&writer));
    return buffer_steal(&text, NULL);
}

/* --- there and back --- */

static void check_same(const char *got, const char *expected, const char *between)
{
    if (!same_json(got, expected))
        fail_msg("\n     got %s\nexpected %s\n between %s", got, expected, between);
}

static void comes_back_as_it_was(const struct shape *shape, enum conversion_version version,
                                 const char *object)
{
    char *there = convert(shape->kind, other(version), object);
    char *back = convert(shape->kind, version, there);
    check_same(back, object, there);
    free(there);
    free(back);
}

/* --- edited in between --- */

struct document {
    struct json_view view;
    const struct json_node *root;
    const struct json_node *spec;
};

static void document_open(struct document *document, const char *text)
{
    json_view_init(&document->view);
    assert_int_equal(json_view_parse(&document->view, text, strlen(text), JSON_VIEW_DEPTH, NULL),
                     0);
    document->root = json_view_root(&document->view);
    document->spec = json_view_member(&document->view, document->root, "spec");
}

static void put_raw_member(struct json_writer *writer, const struct json_view *view,
                           const struct json_node *member)
{
    size_t length;
    const char *name = json_view_raw_name(view, member, &length);
    json_name_raw(writer, name, length);
    const char *raw = json_view_raw(view, member, &length);
    json_put_raw(writer, raw, length);
}

/* The object with one field of its specification as field->put makes it, or without it. */
static char *edit(const char *object, const struct field *field)
{
    struct document document;
    struct json_writer writer;
    struct buffer text;
    document_open(&document, object);
    const struct json_view *view = &document.view;
    buffer_init(&text, ANSWER_MOST);
    json_writer_init(&writer, &text);
    json_begin_object(&writer);
    for (const struct json_node *member = json_view_first(view, document.root); member != NULL;
         member = json_view_after(view, document.root, member))
        if (member != document.spec)
            put_raw_member(&writer, view, member);
    json_member_object(&writer, "spec");
    for (const struct json_node *member = json_view_first(view, document.spec); member != NULL;
         member = json_view_after(view, document.spec, member))
        if (!json_view_is_named(view, member, field->name))
            put_raw_member(&writer, view, member);
    if (below(4) > 0) {
        json_name(&writer, field->name);
        field->put(&writer);
    }
    json_end_object(&writer);
    json_end_object(&writer);
    json_view_clear(&document.view);
    return buffer_steal(&text, NULL);
}

static bool has_member(const struct conversion_member *members, const char *name)
{
    for (size_t i = 0; i < CONVERSION_MEMBERS && members[i].name != NULL; i++)
        if (members[i].place == CONVERSION_SPEC && strcmp(members[i].name, name) == 0)
            return true;
    return false;
}

/* Whether a field of the specification has to do with one of the other version. */
static bool is_related(const struct conversion_kind *kind, enum conversion_version version,
                       const char *name, const char *edited)
{
    for (size_t i = 0; i < kind->group_count; i++)
        if (has_member(kind->groups[i].members[version], name) &&
            has_member(kind->groups[i].members[other(version)], edited))
            return true;
    for (size_t i = 0; kind->shared[i] != NULL; i++)
        if (strcmp(kind->shared[i], name) == 0 && strcmp(name, edited) == 0)
            return true;
    return false;
}

static void check_the_rest(const struct shape *shape, enum conversion_version version,
                           const char *before, const char *after, const char *edited)
{
    struct document one;
    struct document two;
    document_open(&one, before);
    document_open(&two, after);
    for (size_t i = 0; i < FIELDS && shape->spec[version][i].name != NULL; i++) {
        const char *name = shape->spec[version][i].name;
        if (is_related(shape->kind, version, name, edited))
            continue;
        if (!json_view_same(&one.view, json_view_member(&one.view, one.spec, name), &two.view,
                            json_view_member(&two.view, two.spec, name)))
            fail_msg("%s has changed with %s:\nbefore %s\n after %s", name, edited, before, after);
    }
    json_view_clear(&one.view);
    json_view_clear(&two.view);
}

/* The same object but for its conversion data. */
static void check_same_but_data(const char *got, const char *expected, const char *between)
{
    static const char *const names[] = {"spec", "status", "x", "y", "revision"};
    struct document one;
    struct document two;
    document_open(&one, got);
    document_open(&two, expected);
    bool same = true;
    for (size_t i = 0; i < COUNT(names); i++)
        same = same && json_view_same(&one.view, json_view_member(&one.view, one.root, names[i]),
                                      &two.view, json_view_member(&two.view, two.root, names[i]));
    same = same && json_view_same(
                       &one.view, json_view_path(&one.view, one.root, "metadata", "labels", NULL),
                       &two.view, json_view_path(&two.view, two.root, "metadata", "labels", NULL));
    if (!same)
        fail_msg("\n     got %s\nexpected %s\n between %s", got, expected, between);
    json_view_clear(&one.view);
    json_view_clear(&two.view);
}

static void lets_an_edit_win(const struct shape *shape, enum conversion_version version,
                             const char *object)
{
    const struct conversion_kind *kind = shape->kind;
    const struct field *fields = shape->spec[other(version)];
    unsigned int count = 0;
    while (count < FIELDS && fields[count].name != NULL)
        count++;
    if (count == 0)
        return;
    const struct field *field = &fields[below(count)];
    char *there = convert(kind, other(version), object);
    char *edited = edit(there, field);
    char *back = convert(kind, version, edited);
    char *again = convert(kind, other(version), back);
    check_same_but_data(again, edited, back);
    check_the_rest(shape, version, object, back, field->name);
    comes_back_as_it_was(shape, version, back);
    comes_back_as_it_was(shape, other(version), again);
    free(there);
    free(edited);
    free(back);
    free(again);
}

static unsigned long objects_of_each(void)
{
    const char *text = getenv("IPWARDEN_OBJECTS");
    return text != NULL ? strtoul(text, NULL, 10) : OBJECTS;
}

static void run(const struct shape *shape)
{
    unsigned long most = objects_of_each();
    for (unsigned long i = 0; i < most; i++)
        for (int version = CONVERSION_OLDER; version <= CONVERSION_CURRENT; version++) {
            char *object = make(shape, (enum conversion_version)version);
            comes_back_as_it_was(shape, (enum conversion_version)version, object);
            lets_an_edit_win(shape, (enum conversion_version)version, object);
            free(object);
        }
}

static void pools(void **state)
{
    (void)state;
    run(&shapes[0]);
}

static void claims(void **state)
{
    (void)state;
    run(&shapes[1]);
}

static void ip_nodes(void **state)
{
    (void)state;
    run(&shapes[2]);
}

static void ipam_ranges(void **state)
{
    (void)state;
    run(&shapes[3]);
}

static void ipam_requests(void **state)
{
    (void)state;
    run(&shapes[4]);
}

int main(void)
{
    const char *seed = getenv("IPWARDEN_SEED");
    random_state = seed != NULL ? strtoull(seed, NULL, 10) : (uint64_t)time(NULL);
    printf("IPWARDEN_SEED=%llu\n", (unsigned long long)random_state);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pools),       cmocka_unit_test(claims),        cmocka_unit_test(ip_nodes),
        cmocka_unit_test(ipam_ranges), cmocka_unit_test(ipam_requests),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
