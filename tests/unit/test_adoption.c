/* Claims for addresses that Services have: tables of who uses what and what is claimed. */
#include "server/migrate/adoption.h"
#include "tests/unit/metallb_fixture.h"

#include <stdlib.h>

#define MOST 5

/* A Service: its address, port and age. */
struct use {
    const char *address;
    const char *service; /* NULL: held for nobody */
    const char *port;
    unsigned int created;
    uint8_t sharing;
};

struct adopted {
    struct use uses[MOST];
    const char *claims[MOST]; /* JSON */
    const char *wanted;       /* "action address:service,service", a line for each address */
    const char *conflicts;    /* "service", a line for each */
};

static struct service *make_service(const struct use *use)
{
    char text[512];
    struct service *service = NULL;
    char space[64];
    snprintf(space, sizeof(space), "%.*s", (int)strcspn(use->service, "/"), use->service);
    snprintf(text, sizeof(text),
             "{'metadata':{'namespace':'%s','name':'%s','uid':'%s','creationTimestamp':"
             "'2026-01-01T00:00:0%uZ'},'spec':{'type':'LoadBalancer','ports':[{'port':%s}]},"
             "'status':{'loadBalancer':{'ingress':[{'ip':'%s'}]}}}",
             space, strchr(use->service, '/') + 1, use->service, use->created,
             use->port != NULL ? use->port : "80", use->address);
    assert_int_equal(service_decode_text(Q(text), strlen(text), &service, NULL), 0);
    return service;
}

static void describe(const struct adoption *adoption, char *text, size_t size)
{
    static const char *const actions[] = {"present", "create", "join", "none"};
    *text = '\0';
    for (size_t i = 0; i < adoption->claim_count; i++) {
        const struct adoption_claim *claim = &adoption->claims[i];
        char address[ADDRESS_TEXT_SIZE];
        address_format(&claim->address, address);
        snprintf(text + strlen(text), size - strlen(text), "%s %s:", actions[claim->action],
                 address);
        for (size_t j = 0; j < claim->service_count; j++)
            snprintf(text + strlen(text), size - strlen(text), "%s%s", j > 0 ? "," : "",
                     claim->services[j].key);
        snprintf(text + strlen(text), size - strlen(text), "\n");
    }
}

static void expect_adopted(const struct adopted *one)
{
    struct adoption_use uses[MOST];
    struct service *services[MOST] = {0};
    struct claim *claims[MOST];
    struct adoption adoption;
    size_t use_count = 0;
    size_t claim_count = 0;
    char text[1024];
    for (; use_count < MOST && one->uses[use_count].address != NULL; use_count++) {
        const struct use *use = &one->uses[use_count];
        services[use_count] = use->service != NULL ? make_service(use) : NULL;
        uses[use_count] = (struct adoption_use){
            .service = services[use_count], .pool = "edge", .sharing = use->sharing, .given = true};
        assert_int_equal(address_parse(use->address, &uses[use_count].address, NULL), 0);
    }
    for (; claim_count < MOST && one->claims[claim_count] != NULL; claim_count++) {
        const char *json = Q(one->claims[claim_count]);
        assert_int_equal(claim_decode_text(json, strlen(json), &claims[claim_count], NULL), 0);
    }
    assert_int_equal(
        adoption_plan(uses, use_count, claims, claim_count, CLOCK_SECOND, &adoption, NULL), 0);
    describe(&adoption, text, sizeof(text));
    assert_string_equal(text, one->wanted);
    *text = '\0';
    for (size_t i = 0; i < adoption.conflict_count; i++) {
        assert_string_not_equal(adoption.conflicts[i].text, "");
        snprintf(text + strlen(text), sizeof(text) - strlen(text), "%s\n",
                 adoption.conflicts[i].service);
    }
    assert_string_equal(text, one->conflicts != NULL ? one->conflicts : "");
    adoption_clear(&adoption);
    for (size_t i = 0; i < MOST; i++)
        service_free(services[i]);
    for (size_t i = 0; i < claim_count; i++)
        claim_free(claims[i]);
}

#define CLAIM(name, meta, services)                                                                \
    "{'metadata':{'name':'" name "','resourceVersion':'7'" meta                                    \
    "},'spec':{'cidr':'10.0.0.1/32','services':[" services "]}}"
#define ENTRY(space, name, uid, port)                                                              \
    "{'namespace':'" space "','name':'" name "','uid':'" uid "','ports':['TCP/" port "']}"

static const struct adopted cases[] = {
    {.uses = {{.address = "10.0.0.2", .service = "d/b"}, {.address = "10.0.0.1", .service = "d/a"}},
     .wanted = "create 10.0.0.1:d/a\ncreate 10.0.0.2:d/b\n"},
    /* Shared on different ports; of one port the older Service has it. */
    {.uses = {{.address = "10.0.0.1", .service = "d/b", .port = "443", .created = 1},
              {.address = "10.0.0.1", .service = "d/a", .port = "80", .created = 2}},
     .wanted = "create 10.0.0.1:d/b,d/a\n"},
    {.uses = {{.address = "10.0.0.1", .service = "d/a", .port = "80", .created = 2},
              {.address = "10.0.0.1", .service = "d/b", .port = "80", .created = 1}},
     .wanted = "create 10.0.0.1:d/b\n",
     .conflicts = "d/a\n"},
    {.uses = {{.address = "10.0.0.1", .service = "d/a", .port = "80", .created = 1},
              {.address = "10.0.0.1", .service = "e/b", .port = "81", .created = 2}},
     .wanted = "create 10.0.0.1:d/a\n",
     .conflicts = "e/b\n"},
    {.uses = {{.address = "10.0.0.1", .service = "d/a", .port = "80", .created = 1},
              {"10.0.0.1", "e/b", "81", 2, POOL_SHARING_ANY}},
     .wanted = "create 10.0.0.1:d/a,e/b\n"},
    {.uses = {{.address = "10.0.0.1", .service = "d/a", .port = "80", .created = 1},
              {"10.0.0.1", "d/b", "81", 2, POOL_SHARING_NEVER}},
     .wanted = "create 10.0.0.1:d/a\n",
     .conflicts = "d/b\n"},
    /* What is claimed already, also under an older name, or without a uid. */
    {.uses = {{.address = "10.0.0.1", .service = "d/a"}},
     .claims = {CLAIM("10-0-0-1-32", "", ENTRY("d", "a", "d/a", "80"))},
     .wanted = "present 10.0.0.1:d/a\n"},
    {.uses = {{.address = "10.0.0.1", .service = "d/a"}},
     .claims = {CLAIM("10-0-0-1-24", "", "{'namespace':'d','name':'a'}")},
     .wanted = "present 10.0.0.1:d/a\n"},
    {.uses = {{.address = "10.0.0.1", .service = "d/b", .port = "81"},
              {.address = "10.0.0.1", .service = "d/a"}},
     .claims = {CLAIM("10-0-0-1-32", "", ENTRY("d", "a", "d/a", "80"))},
     .wanted = "join 10.0.0.1:d/a,d/b\n"},
    {.uses = {{.address = "10.0.0.1", .service = "d/b", .port = "80"}},
     .claims = {CLAIM("10-0-0-1-32", "", ENTRY("d", "a", "d/a", "80"))},
     .wanted = "present 10.0.0.1:d/a\n",
     .conflicts = "d/b\n"},
    /* Both are named, as an older claim does, and use one port. */
    {.uses = {{.address = "10.0.0.1", .service = "d/a", .port = "80", .created = 1},
              {.address = "10.0.0.1", .service = "d/b", .port = "80", .created = 2}},
     .claims = {CLAIM("10-0-0-1-24", "",
                      "{'namespace':'d','name':'a'},{'namespace':'d','name':'b'}")},
     .wanted = "present 10.0.0.1:d/a,d/b\n",
     .conflicts = "d/b\n"},
    {.uses = {{.address = "10.0.0.1", .service = "d/a", .port = "80", .created = 1},
              {.address = "10.0.0.1", .service = "d/b", .port = "81", .created = 2}},
     .claims = {CLAIM("10-0-0-1-24", "",
                      "{'namespace':'d','name':'a'},{'namespace':'d','name':'b'}")},
     .wanted = "present 10.0.0.1:d/a,d/b\n"},
    /* A Service that was made anew under its name isn't the one that is claimed for. */
    {.uses = {{.address = "10.0.0.1", .service = "d/a"}},
     .claims = {CLAIM("10-0-0-1-32", "", ENTRY("d", "a", "before", "80"))},
     .wanted = "present 10.0.0.1:d/a\n",
     .conflicts = "d/a\n"},
    {.uses = {{.address = "10.0.0.1", .service = "d/a"}},
     .claims = {CLAIM("10-0-0-1-32", ",'deletionTimestamp':'2026-01-01T00:00:00Z'",
                      ENTRY("d", "a", "d/a", "80"))},
     .wanted = "none 10.0.0.1:\n",
     .conflicts = "d/a\n"},
    {.uses = {{.address = "10.0.0.1", .service = "d/a"},
              {.address = "10.0.0.1", .service = "d/b", .port = "81"}},
     .claims = {CLAIM("10-0-0-1-32", "", "")},
     .wanted = "none 10.0.0.1:\n",
     .conflicts = "d/a\nd/b\n"},
    {.uses = {{.address = "10.0.0.1", .service = "d/a"}},
     .claims = {CLAIM("10-0-0-1-32", "", ENTRY("d", "a", "d/a", "80")),
                CLAIM("10-0-0-1-24", "", ENTRY("d", "a", "d/a", "80"))},
     .wanted = "none 10.0.0.1:\n",
     .conflicts = "d/a\n"},
    {.uses = {{.address = "127.0.0.1", .service = "d/a"}},
     .wanted = "none 127.0.0.1:\n",
     .conflicts = "d/a\n"},
    /* Held for nobody: only where no Service has it, and a claim says the same. */
    {.uses = {{.address = "10.0.0.1", .service = NULL}}, .wanted = "create 10.0.0.1:\n"},
    {.uses = {{.address = "10.0.0.1", .service = NULL}, {.address = "10.0.0.1", .service = "d/a"}},
     .wanted = "create 10.0.0.1:d/a\n"},
    {.uses = {{.address = "10.0.0.1", .service = NULL}},
     .claims = {CLAIM("10-0-0-1-32", "", "")},
     .wanted = "present 10.0.0.1:\n"},
    {.uses = {{.address = "10.0.0.1", .service = NULL}},
     .claims = {CLAIM("10-0-0-1-32", "", ENTRY("d", "a", "d/a", "80"))},
     .wanted = "present 10.0.0.1:d/a\n"},
};

static void test_cases(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        expect_adopted(&cases[i]);
}

/* What is written is what the leader writes. */
static void test_encode(void **state)
{
    (void)state;
    const struct use use = {"10.0.0.1", "d/a", "80", 1, 0};
    struct service *service = make_service(&use);
    struct adoption_use one = {.service = service, .pool = "edge", .given = true};
    struct adoption adoption;
    _cleanup_buffer_ struct buffer text;
    buffer_init(&text, 4096);
    assert_int_equal(address_parse(use.address, &one.address, NULL), 0);
    assert_int_equal(adoption_plan(&one, 1, NULL, 0, CLOCK_SECOND, &adoption, NULL), 0);
    assert_int_equal(adoption.changes, 1);
    adoption_encode(&adoption.claims[0], &text);
    assert_string_equal(
        text.data,
        Q("{'apiVersion':'ipcontroller.ext/v2','kind':'IpClaim','metadata':{'name':'10-0-0-1-32',"
          "'labels':{'ip-pool-name':'edge'}},'spec':{'cidr':'10.0.0.1/32','pool':'edge',"
          "'services':[{'namespace':'d','name':'a','uid':'d/a','given':true,"
          "'since':'1970-01-01T00:00:01.000000Z','ports':['TCP/80']}]}}"));
    adoption_clear(&adoption);
    service_free(service);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cases),
        cmocka_unit_test(test_encode),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
