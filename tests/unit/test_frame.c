/* MAC addresses as texts. */
#include "netlink/frame.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static void test_texts(void **state)
{
    (void)state;
    static const uint8_t mac[FRAME_MAC_SIZE] = {0x02, 0xAB, 0x00, 0x9F, 0x10, 0xFE};
    uint8_t read[FRAME_MAC_SIZE];
    char text[FRAME_MAC_TEXT_SIZE];
    frame_mac_format(mac, text);
    assert_string_equal(text, "02:ab:00:9f:10:fe");
    assert_int_equal(frame_mac_parse(text, read), 0);
    assert_true(frame_mac_equal(mac, read));
    assert_int_equal(frame_mac_parse("02:AB:00:9f:10:Fe", read), 0);
    assert_true(frame_mac_equal(mac, read));
    read[5]++;
    assert_false(frame_mac_equal(mac, read));
}

static void test_bad_texts(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "",
        "02:ab:00:9f:10",
        "02:ab:00:9f:10:fe:",
        "02:ab:00:9f:10:f",
        "02:ab:00:9f:10:fg",
        "02-ab-00-9f-10-fe",
        "2:ab:00:9f:10:fe0",
        "02:ab:00:9f:10:fe:00",
        " 2:ab:00:9f:10:fe",
        "02ab.009f.10fe...",
        "/2:ab:00:9f:10:fe",
        "@2:ab:00:9f:10:fe",
        "`2:ab:00:9f:10:fe",
    };
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        uint8_t mac[FRAME_MAC_SIZE] = {1, 2, 3, 4, 5, 6};
        assert_int_equal(frame_mac_parse(bad[i], mac), -EINVAL);
        assert_memory_equal(mac, "\1\2\3\4\5\6", FRAME_MAC_SIZE);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_texts),
        cmocka_unit_test(test_bad_texts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
