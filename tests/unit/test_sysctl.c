/* Strict ARP below a folder that stands for /proc/sys. */
#include "netlink/sysctl.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

static char root[64];

static void path_of(const char *name, char *ret_path, size_t size)
{
    snprintf(ret_path, size, "%s/net/ipv4/conf/all%s%s", root, name[0] != '\0' ? "/" : "", name);
}

static void put(const char *name, const char *value)
{
    char path[128];
    path_of(name, path, sizeof(path));
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fputs(value, file);
    fclose(file);
}

static void expect(const char *name, const char *value)
{
    char path[128];
    char text[32] = "";
    path_of(name, path, sizeof(path));
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    assert_non_null(fgets(text, sizeof(text), file));
    fclose(file);
    assert_string_equal(text, value);
}

static int set_up(void **state)
{
    (void)state;
    char command[160];
    snprintf(root, sizeof(root), "/tmp/test_sysctl.XXXXXX");
    assert_non_null(mkdtemp(root));
    snprintf(command, sizeof(command), "mkdir -p %s/net/ipv4/conf/all", root);
    assert_int_equal(system(command), 0);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    char command[160];
    snprintf(command, sizeof(command), "rm -rf %s", root);
    return system(command);
}

static void test_sets(void **state)
{
    (void)state;
    static const struct {
        const char *ignore;
        const char *announce;
        const char *ignore_then;
        const char *announce_then;
    } cases[] = {
        {"0\n", "0\n", "1\n", "2\n"}, {"1\n", "1\n", "1\n", "2\n"}, {"2\n", "2\n", "2\n", "2\n"},
        {"3\n", "0\n", "1\n", "2\n"}, {"8\n", "2\n", "1\n", "2\n"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        put("arp_ignore", cases[i].ignore);
        put("arp_announce", cases[i].announce);
        assert_int_equal(sysctl_loopback_addresses(root, NULL), 0);
        expect("arp_ignore", cases[i].ignore_then);
        expect("arp_announce", cases[i].announce_then);
    }
}

/* Says all that is missing, and does what it can. */
static void test_cannot(void **state)
{
    (void)state;
    struct error error = {.text = ""};
    assert_int_equal(sysctl_loopback_addresses(root, &error), -ENOENT);
    assert_non_null(strstr(error.text, "net/ipv4/conf/all/arp_ignore=1 (No such file"));
    assert_non_null(strstr(error.text, "net/ipv4/conf/all/arp_announce=2 (No such file"));
    put("arp_ignore", "junk\n");
    put("arp_announce", "0\n");
    assert_int_equal(sysctl_loopback_addresses(root, &error), -EINVAL);
    assert_non_null(strstr(error.text, "arp_ignore=1"));
    assert_null(strstr(error.text, "arp_announce"));
    expect("arp_announce", "2\n");
    expect("arp_ignore", "junk\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_sets, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_cannot, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
