/* `ipwarden certs` as a user calls it: against an API server that stores objects, and with
 * directories. */
#include "server/command_certs.h"

#include "certs/certificate.h"
#include "certs/files.h"
#include "certs/rotation.h"
#include "tests/unit/fake_objects.h"

#include <errno.h>
#include <ftw.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#define SECRETS "/api/v1/namespaces/ipwarden-system/secrets"
#define SECRET SECRETS "/ipwarden-certificates"

static struct fake_objects cluster;
static char directory[64];
static char kubeconfig[96];
static char output[65536];

static int remove_entry(const char *path, const struct stat *status, int type, struct FTW *walk)
{
    (void)status;
    (void)type;
    (void)walk;
    return remove(path);
}

static int begin(void **state)
{
    (void)state;
    fake_objects_start(&cluster);
    snprintf(directory, sizeof(directory), "/tmp/test_command_certs.XXXXXX");
    assert_non_null(mkdtemp(directory));
    snprintf(kubeconfig, sizeof(kubeconfig), "%s/kubeconfig", directory);
    FILE *file = fopen(kubeconfig, "w");
    assert_non_null(file);
    fprintf(file,
            "apiVersion: v1\nkind: Config\ncurrent-context: a\n"
            "clusters: [{name: a, cluster: {server: \"%s\"}}]\n"
            "users: [{name: a, user: {token: t}}]\n"
            "contexts: [{name: a, context: {cluster: a, user: a}}]\n",
            fake_api_url(cluster.api));
    fclose(file);
    unsetenv("IPWARDEN_DNS");
    return 0;
}

static int end(void **state)
{
    (void)state;
    fake_objects_stop(&cluster);
    return nftw(directory, remove_entry, 8, FTW_DEPTH | FTW_PHYS);
}

/* Runs the command with these words; what it prints, on both streams, is in output then. */
static int run(const char *words)
{
    char copy[1024];
    char *argv[24] = {0};
    char path[96];
    int argc = 0;
    snprintf(copy, sizeof(copy), "%s", words);
    char *rest = copy;
    for (char *word; (word = strsep(&rest, " ")) != NULL && argc < 23;) {
        if (*word != '\0')
            argv[argc++] = word;
    }
    snprintf(path, sizeof(path), "%s/output", directory);
    fflush(stdout);
    fflush(stderr);
    int saved_out = dup(1);
    int saved_err = dup(2);
    FILE *file = fopen(path, "w+");
    assert_non_null(file);
    dup2(fileno(file), 1);
    dup2(fileno(file), 2);
    int code = command_certs(argc, argv);
    fflush(stdout);
    fflush(stderr);
    dup2(saved_out, 1);
    dup2(saved_err, 2);
    close(saved_out);
    close(saved_err);
    rewind(file);
    output[fread(output, 1, sizeof(output) - 1, file)] = '\0';
    fclose(file);
    return code;
}

/* Words with the kubeconfig. */
static int run_api(const char *words)
{
    char all[512];
    snprintf(all, sizeof(all), "%s --kubeconfig %s", words, kubeconfig);
    return run(all);
}

static int run_files(const char *words)
{
    char all[512];
    snprintf(all, sizeof(all), "%s --tls-dir %s/tls", words, directory);
    return run(all);
}

static void make_bundle(struct certs_bundle *ret_bundle)
{
    static char nothing[] = "";
    static const char *const dns[] = {"ipwarden.ipwarden-system.svc"};
    static const char *const ip[] = {"10.0.0.1"};
    static const struct certs_names names = {dns, 1, ip, 1};
    static const struct certs_remains remains = {0};
    const struct certs_bundle empty = {nothing, nothing, nothing, nothing, ""};
    assert_int_equal(
        certs_rotation_repair(&empty, &remains, &names, clock_system(), NULL, ret_bundle, NULL), 0);
}

static void store(const struct certs_bundle *bundle)
{
    struct buffer text;
    buffer_init(&text, CERTS_SECRET_MAXIMUM);
    certs_bundle_append_secret(bundle, "ipwarden-system", "ipwarden-certificates", &text);
    fake_objects_put(&cluster, SECRET, json_loads(text.data, 0, NULL));
    certs_buffer_wipe(&text);
}

static void read_back(struct certs_bundle *ret_bundle, struct certs_condition *ret_condition)
{
    json_t *secret = fake_objects_get(&cluster, SECRET);
    char *text = json_dumps(secret, 0);
    char *version = NULL;
    assert_int_equal(certs_bundle_parse(text, strlen(text), ret_bundle, &version, NULL), 0);
    assert_int_equal(certs_rotation_examine(ret_bundle, NULL, ret_condition, NULL), 0);
    free(version);
    free(text);
    json_decref(secret);
}

static void assert_says(const char *text)
{
    if (strstr(output, text) == NULL)
        fail_msg("no \"%s\" in: %s", text, output);
}

static void test_usage(void **state)
{
    static const struct {
        const char *words;
        int code;
        const char *says;
    } cases[] = {
        {"certs --help", 0, "--tls-dir"},
        {"certs -h", 0, "rotate"},
        {"certs show --help", 0, "--namespace"},
        {"certs", 2, "usage:"},
        {"certs throw", 2, "show, issue or rotate"},
        {"certs show --nonsense", 2, "--nonsense"},
        {"certs show more", 2, "unexpected argument \"more\""},
        {"certs show -o yaml", 2, "yaml"},
        {"certs issue --dns", 2, "--dns needs a value"},
        {"certs issue --dns -bad-", 2, "no DNS name"},
        {"certs issue --ip=1.2.3", 2, "no IP address"},
        {"certs rotate --tls-dir /tmp", 2, "--tls-dir goes with"},
        {"certs rotate --ca=false", 2, "only the authority"},
        {"certs show --kubeconfig /nowhere/at/all", 1, "/nowhere/at/all"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        int code = run(cases[i].words);
        if (code != cases[i].code || strstr(output, cases[i].says) == NULL)
            fail_msg("%s gave %d: %s", cases[i].words, code, output);
    }
}

static void test_no_secret(void **state)
{
    static const char *const verbs[] = {"certs show", "certs issue", "certs rotate"};
    (void)state;
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(run_api(verbs[i]), 1);
        assert_says("there is no Secret ipwarden-certificates in namespace ipwarden-system");
    }
}

static void test_show(void **state)
{
    struct certs_bundle bundle;
    (void)state;
    make_bundle(&bundle);
    store(&bundle);
    assert_int_equal(run_api("certs show"), 0);
    assert_says("rotation: Stable");
    assert_says("ipwarden.ipwarden-system.svc,10.0.0.1");
    assert_says("Authority  CN = ipwarden CA");
    assert_null(strstr(output, bundle.path));
    assert_null(strstr(output, "PRIVATE"));
    assert_null(strstr(output, "problem"));
    assert_int_equal(run_api("certs show -o json"), 0);
    json_t *shown = json_loads(output, 0, NULL);
    assert_non_null(shown);
    json_t *list = json_object_get(shown, "certificates");
    assert_int_equal(json_array_size(list), 2);
    json_t *leaf = json_array_get(list, 0);
    assert_string_equal(json_string_value(json_object_get(leaf, "kind")), "Leaf");
    assert_int_equal(json_integer_value(json_object_get(leaf, "daysLeft")), 89);
    assert_true(json_is_false(json_object_get(leaf, "signs")));
    assert_int_equal(json_array_size(json_object_get(leaf, "names")), 2);
    assert_true(json_is_true(json_object_get(json_array_get(list, 1), "signs")));
    json_decref(shown);
    certs_bundle_clear(&bundle);
}

static void test_show_damaged(void **state)
{
    struct certs_bundle bundle;
    (void)state;
    make_bundle(&bundle);
    bundle.chain_pem[40] = '!';
    bundle.path[0] = '\0';
    store(&bundle);
    assert_int_equal(run_api("certs show"), 0);
    assert_says("problem: tls.crt: ");
    assert_int_equal(run_api("certs show --output=json"), 0);
    json_t *shown = json_loads(output, 0, NULL);
    assert_int_equal(json_array_size(json_object_get(shown, "certificates")), 1);
    json_decref(shown);
    assert_int_equal(run_api("certs issue"), 1);
    assert_says("damaged");
    assert_int_equal(run_api("certs rotate"), 1);
    assert_says("damaged");
    certs_bundle_clear(&bundle);
}

static void test_issue(void **state)
{
    static const char *const wanted[] = {"ipwarden.ipwarden-system.svc", "b.example.org",
                                         "c.example.org"};
    static const char *const addresses[] = {"10.0.0.1", "fd00::1"};
    static const struct certs_names names = {wanted, 3, addresses, 2};
    struct certs_bundle bundle;
    struct certs_bundle issued;
    struct certs_condition condition;
    (void)state;
    make_bundle(&bundle);
    store(&bundle);
    assert_int_equal(run_api("certs issue --dns b.example.org --ip fd00::1 --dns=c.example.org"),
                     0);
    read_back(&issued, &condition);
    assert_true(certs_rotation_is_whole(&condition));
    assert_int_equal(condition.phase, CERTS_PHASE_STABLE);
    assert_string_equal(issued.ca_pem, bundle.ca_pem);
    assert_string_not_equal(issued.chain_pem, bundle.chain_pem);
    assert_int_equal(certs_names_covered(issued.chain_pem, &names, NULL), 0);
    certs_bundle_clear(&issued);
    setenv("IPWARDEN_DNS", "d.example.org,e.example.org", 1);
    assert_int_equal(run_api("certs issue"), 0);
    read_back(&issued, &condition);
    static const char *const more[] = {"b.example.org", "d.example.org", "e.example.org"};
    static const struct certs_names more_names = {more, 3, NULL, 0};
    assert_int_equal(certs_names_covered(issued.chain_pem, &more_names, NULL), 0);
    certs_bundle_clear(&issued);
    certs_bundle_clear(&bundle);
}

static void test_rotate(void **state)
{
    struct certs_bundle bundle;
    struct certs_bundle rotating;
    struct certs_condition condition;
    (void)state;
    make_bundle(&bundle);
    store(&bundle);
    assert_int_equal(run_api("certs rotate --ca"), 0);
    read_back(&rotating, &condition);
    assert_true(certs_rotation_is_whole(&condition));
    assert_int_equal(condition.phase, CERTS_PHASE_DISTRIBUTING);
    assert_string_equal(rotating.chain_pem, bundle.chain_pem);
    assert_int_equal(run_api("certs show"), 0);
    assert_says("rotation: Distributing");
    /* Nothing may be issued before the new authority is known. */
    assert_int_equal(run_api("certs issue"), 1);
    assert_says("rotation of the authority is under way");
    assert_int_equal(run_api("certs rotate"), 0);
    assert_says("under way already");
    assert_int_equal(run_api("certs rotate --wait --timeout=1s"), 1);
    assert_says("isn't done yet");
    certs_bundle_clear(&rotating);
    certs_bundle_clear(&bundle);
}

/* Carries the rotation through, as replicas do, while the command waits: at each look it goes
 * one phase further. */
static void *play_replicas(void *context)
{
    (void)context;
    for (int phase = 0; phase < 2;) {
        struct certs_bundle bundle;
        struct certs_condition condition;
        json_t *there = fake_objects_get(&cluster, SECRET);
        json_decref(there);
        read_back(&bundle, &condition);
        if (phase == 0 && condition.phase == CERTS_PHASE_DISTRIBUTING)
            phase = certs_rotation_extend(&bundle, NULL, clock_system(), NULL, NULL) == 0 ? 1 : 3;
        else if (phase == 1)
            phase = certs_rotation_finish(&bundle, NULL) == 0 ? 2 : 3;
        if (phase > 0) {
            /* Not before the command has seen the phase before this one. */
            unsigned int before = fake_api_count(cluster.api);
            fake_api_wait(cluster.api, before + 2);
            pthread_mutex_lock(&cluster.lock);
            store(&bundle);
            pthread_mutex_unlock(&cluster.lock);
        }
        certs_bundle_clear(&bundle);
        usleep(10000);
    }
    return NULL;
}

static void test_rotate_and_wait(void **state)
{
    struct certs_bundle bundle;
    pthread_t thread;
    (void)state;
    make_bundle(&bundle);
    store(&bundle);
    assert_int_equal(pthread_create(&thread, NULL, play_replicas, NULL), 0);
    int code = run_api("certs rotate --wait --timeout 20s");
    pthread_join(thread, NULL);
    if (code != 0)
        fail_msg("%s", output);
    assert_says("Distributing\nSwitched\nStable\n");
    certs_bundle_clear(&bundle);
}

/* Somebody writes between reading and writing: it is tried again. */
static void test_conflict(void **state)
{
    static const char conflict[] =
        "{\"kind\":\"Status\",\"status\":\"Failure\",\"reason\":\"Conflict\",\"code\":409}";
    static const struct fake_answer answer = {
        .request = "PATCH " SECRET, .status = 409, .body = conflict, .times = 2};
    struct certs_bundle bundle;
    (void)state;
    make_bundle(&bundle);
    store(&bundle);
    fake_api_answer(cluster.api, &answer);
    assert_int_equal(run_api("certs rotate"), 0);
    certs_bundle_clear(&bundle);
}

static void test_directory(void **state)
{
    struct certs_bundle first;
    struct certs_bundle second;
    char path[128];
    (void)state;
    snprintf(path, sizeof(path), "%s/tls", directory);
    assert_int_equal(run_files("certs show"), 1);
    assert_int_equal(run_files("certs issue"), 1);
    assert_says("needs a DNS name or an IP address");
    assert_int_equal(run_files("certs issue --dns localhost --ip 127.0.0.1"), 0);
    assert_int_equal(certs_files_read(path, &first, NULL), 0);
    assert_true(certs_path_is_sane(first.path));
    assert_int_equal(run_files("certs show"), 0);
    assert_says("localhost,127.0.0.1");
    /* Again: the same authority, path and names. */
    assert_int_equal(run_files("certs issue"), 0);
    assert_int_equal(certs_files_read(path, &second, NULL), 0);
    assert_string_equal(first.ca_pem, second.ca_pem);
    assert_string_equal(first.path, second.path);
    assert_string_not_equal(first.chain_pem, second.chain_pem);
    assert_int_equal(certs_verify_timeless(second.chain_pem, first.ca_pem, NULL), 0);
    /* Somebody else's certificate is left alone. */
    snprintf(path, sizeof(path), "%s/tls/ca.key", directory);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(run_files("certs issue"), 1);
    assert_says("isn't ours to renew");
    certs_bundle_clear(&first);
    certs_bundle_clear(&second);
}

#define CASE(test) cmocka_unit_test_setup_teardown(test, begin, end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(test_usage),           CASE(test_no_secret), CASE(test_show),
        CASE(test_show_damaged),    CASE(test_issue),     CASE(test_rotate),
        CASE(test_rotate_and_wait), CASE(test_conflict),  CASE(test_directory),
    };
    return cmocka_run_group_tests_name("command_certs", tests, NULL, NULL);
}
