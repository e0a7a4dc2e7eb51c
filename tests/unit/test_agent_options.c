/* The options of an agent: defaults, twins, aliases, and what is refused. */
#include "server/agent_options.h"

#include "server/base/clock.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static struct agent_command_options options;

static int parse(const char *argument, const char *second, const char *third)
{
    char *argv[] = {"agent", (char *)argument, (char *)second, (char *)third, NULL};
    int argc = 1;
    while (argv[argc] != NULL)
        argc++;
    return agent_options_parse(argc, argv, &options);
}

static void test_defaults(void **state)
{
    (void)state;
    assert_int_equal(parse(NULL, NULL, NULL), -1);
    assert_null(options.node);
    assert_null(options.link);
    assert_int_equal(options.heartbeat, 2 * CLOCK_SECOND);
    assert_int_equal(options.settings.mask4, 32);
    assert_int_equal(options.settings.mask6, 128);
    assert_int_equal(options.settings.probe_interval, 100 * CLOCK_MILLISECOND);
    assert_int_equal(options.settings.probe_misses, 3);
    assert_int_equal(options.settings.arp_probe_count, 3); /* no option, and not zero */
    assert_int_equal(options.settings.takeover_timeout, 15 * CLOCK_SECOND);
    assert_true(options.keep_on_exit);
    assert_false(options.simple);
    assert_string_equal(options.state_dir, "/var/lib/ipwarden");
    assert_string_equal(options.health_listen, "127.0.0.1:8082");
}

static void test_given(void **state)
{
    (void)state;
    assert_int_equal(parse("--iface=eth7", "--hb=500ms", "--probe=0"), -1);
    assert_string_equal(options.link, "eth7");
    assert_int_equal(options.heartbeat, 500 * CLOCK_MILLISECOND);
    assert_int_equal(options.settings.probe_interval, 0);
    assert_int_equal(parse("--mask=24", "--mask6=64", "--keep-on-exit=false"), -1);
    assert_int_equal(options.settings.mask4, 24);
    assert_int_equal(options.settings.mask6, 64);
    assert_false(options.keep_on_exit);
    assert_int_equal(parse("--probe-with=icmp", "--simple", "--state-dir="), -1);
    assert_int_equal(options.settings.probe_with, AGENT_PROBE_ICMP);
    assert_true(options.simple);
    assert_string_equal(options.state_dir, "");
}

static void test_environment(void **state)
{
    (void)state;
    setenv("NODE_NAME", "of-the-pod", 1);
    assert_int_equal(parse(NULL, NULL, NULL), -1);
    assert_string_equal(options.node, "of-the-pod");
    setenv("IPWARDEN_NODE", "of-the-twin", 1);
    setenv("IPWARDEN_PROBE_MISSES", "5", 1);
    assert_int_equal(parse(NULL, NULL, NULL), -1);
    assert_string_equal(options.node, "of-the-twin");
    assert_int_equal(options.settings.probe_misses, 5);
    assert_int_equal(parse("--node=given", NULL, NULL), -1);
    assert_string_equal(options.node, "given");
    unsetenv("NODE_NAME");
    unsetenv("IPWARDEN_NODE");
    unsetenv("IPWARDEN_PROBE_MISSES");
}

static void test_refused(void **state)
{
    static const char *const wrong[] = {
        "--mask=33",        "--mask6=129",     "--mask=x",         "--hb=0s",
        "--probe=fast",     "--probe=-1s",     "--probe-misses=0", "--probe-with=dns",
        "--keep-on-exit=x", "--no-such-thing", "argument",         "--node",
    };
    (void)state;
    int errors = dup(STDERR_FILENO);
    int nowhere = open("/dev/null", O_WRONLY);
    dup2(nowhere, STDERR_FILENO);
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        int code = parse(wrong[i], NULL, NULL);
        if (code != 2) {
            dup2(errors, STDERR_FILENO);
            fail_msg("%s: exit code %d", wrong[i], code);
        }
    }
    dup2(errors, STDERR_FILENO);
    close(errors);
    close(nowhere);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_defaults),
        cmocka_unit_test(test_given),
        cmocka_unit_test(test_environment),
        cmocka_unit_test(test_refused),
    };
    return cmocka_run_group_tests_name("agent_options", tests, NULL, NULL);
}
