/* Certificates from a directory: mounted Secrets, single files, half-written ones. */
#include "certs/files.h"

#include "certs/rotation.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

static struct clock_fake fake;
static char directory[64];
static struct certs_files *files;
static struct certs_bundle first;
static struct certs_bundle second;

static int remove_entry(const char *path, const struct stat *status, int type, struct FTW *walk)
{
    (void)status;
    (void)type;
    (void)walk;
    return remove(path);
}

static void make(struct certs_bundle *ret_bundle)
{
    static char nothing[] = "";
    static const char *const dns[] = {"a.example.org"};
    static const struct certs_names names = {.dns = dns, .dns_count = 1};
    static const struct certs_remains remains = {0};
    const struct certs_bundle empty = {nothing, nothing, nothing, nothing, ""};
    assert_int_equal(
        certs_rotation_repair(&empty, &remains, &names, &fake.clock, NULL, ret_bundle, NULL), 0);
}

static int begin(void **state)
{
    (void)state;
    clock_fake_init(&fake, CLOCK_SECOND, INT64_C(1795262400) * CLOCK_SECOND);
    snprintf(directory, sizeof(directory), "/tmp/test_files.XXXXXX");
    assert_non_null(mkdtemp(directory));
    make(&first);
    make(&second);
    return certs_files_open(directory, &fake.clock, 0, &files, NULL);
}

static int end(void **state)
{
    (void)state;
    certs_files_close(files);
    certs_bundle_clear(&first);
    certs_bundle_clear(&second);
    return nftw(directory, remove_entry, 8, FTW_DEPTH | FTW_PHYS);
}

static void put(const char *name, const char *text)
{
    char path[256];
    snprintf(path, sizeof(path), "%s/%s", directory, name);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    assert_true(fputs(text, file) >= 0);
    assert_int_equal(fclose(file), 0);
}

static void put_all(const char *folder, const struct certs_bundle *bundle)
{
    char name[64];
    snprintf(name, sizeof(name), "%stls.crt", folder);
    put(name, bundle->chain_pem);
    snprintf(name, sizeof(name), "%stls.key", folder);
    put(name, bundle->key_pem);
    snprintf(name, sizeof(name), "%sca.crt", folder);
    put(name, bundle->ca_pem);
    snprintf(name, sizeof(name), "%spath", folder);
    put(name, bundle->path);
}

static int check(bool *ret_changed)
{
    struct error error;
    *ret_changed = false;
    return certs_files_check(files, ret_changed, &error);
}

static bool is_readable(void)
{
    struct pollfd descriptor = {.fd = certs_files_fd(files), .events = POLLIN};
    return poll(&descriptor, 1, 1000) == 1;
}

static void assert_has(const struct certs_bundle *expected)
{
    const struct certs_bundle *bundle = certs_files_bundle(files);
    assert_non_null(bundle);
    assert_string_equal(bundle->chain_pem, expected->chain_pem);
    assert_string_equal(bundle->key_pem, expected->key_pem);
    assert_string_equal(bundle->ca_pem, expected->ca_pem);
    assert_string_equal(bundle->path, expected->path);
    assert_string_equal(bundle->ca_key_pem, "");
}

static void test_plain_files(void **state)
{
    bool changed;
    (void)state;
    assert_int_equal(check(&changed), -ENOENT);
    assert_null(certs_files_bundle(files));
    put_all("", &first);
    assert_true(is_readable());
    assert_int_equal(check(&changed), 0);
    assert_true(changed);
    assert_has(&first);
    assert_int_equal(check(&changed), 0);
    assert_false(changed);
    /* The same again, and other files there, change nothing. */
    put_all("", &first);
    put("README", "hello");
    assert_int_equal(check(&changed), 0);
    assert_false(changed);
    put_all("", &second);
    assert_int_equal(check(&changed), 0);
    assert_true(changed);
    assert_has(&second);
}

/* One file of a pair, in either order, and pieces of files. */
static void test_half_written(void **state)
{
    bool changed;
    char *half = strndup(second.chain_pem, strlen(second.chain_pem) / 2);
    const struct {
        const char *name;
        const char *text;
        int code;
    } steps[] = {
        {"tls.key", second.key_pem, -EINVAL},
        {"tls.crt", half, -EINVAL},
        {"tls.crt", "", -ENOENT},
        {"tls.crt", second.chain_pem, -EINVAL}, /* ca.crt is still the old one */
        {"ca.crt", second.ca_pem, 0},
        {"path", "nonsense", -EINVAL},
        {"path", second.path, 0},
    };
    (void)state;
    put_all("", &first);
    assert_int_equal(check(&changed), 0);
    for (size_t i = 0; i < sizeof(steps) / sizeof(steps[0]); i++) {
        put(steps[i].name, steps[i].text);
        int code = check(&changed);
        if (code != steps[i].code)
            fail_msg("step %zu gave %d", i, code);
        assert_int_equal(changed, code == 0);
        if (i < 4)
            assert_has(&first);
        /* A failure is tried again even if nothing is heard of the files. */
        assert_int_equal(check(&changed), steps[i].code);
    }
    assert_has(&second);
    free(half);
}

static void test_optional_files(void **state)
{
    bool changed;
    char path[CERTS_PATH_LENGTH + 2];
    (void)state;
    put("tls.crt", first.chain_pem);
    put("tls.key", first.key_pem);
    assert_int_equal(check(&changed), 0);
    assert_string_equal(certs_files_bundle(files)->ca_pem, "");
    assert_string_equal(certs_files_bundle(files)->path, "");
    snprintf(path, sizeof(path), "%s\n", first.path); /* as an editor leaves it */
    put("path", path);
    assert_int_equal(check(&changed), 0);
    assert_string_equal(certs_files_bundle(files)->path, first.path);
}

static void in_directory(const char *name, char ret_path[256])
{
    snprintf(ret_path, 256, "%s/%s", directory, name);
}

/* As a kubelet does it: files are links through ..data, which is replaced by a rename. */
static void swap_data(const char *generation)
{
    char link_path[256];
    char data[256];
    in_directory("..data_tmp", link_path);
    in_directory("..data", data);
    assert_int_equal(symlink(generation, link_path), 0);
    assert_int_equal(rename(link_path, data), 0);
}

static void test_mounted_secret(void **state)
{
    static const char *const names[] = {"tls.crt", "tls.key", "ca.crt", "path"};
    char path[256];
    char target[64];
    bool changed;
    (void)state;
    for (int i = 1; i <= 2; i++) {
        snprintf(target, sizeof(target), "..2026_%d", i);
        in_directory(target, path);
        assert_int_equal(mkdir(path, 0700), 0);
        snprintf(target, sizeof(target), "..2026_%d/", i);
        put_all(target, i == 1 ? &first : &second);
    }
    swap_data("..2026_1");
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        snprintf(target, sizeof(target), "..data/%s", names[i]);
        in_directory(names[i], path);
        assert_int_equal(symlink(target, path), 0);
    }
    assert_int_equal(check(&changed), 0);
    assert_has(&first);
    swap_data("..2026_2");
    assert_true(is_readable());
    assert_int_equal(check(&changed), 0);
    assert_true(changed);
    assert_has(&second);
}

/* Changes that aren't told of: files are links to files elsewhere, which are rewritten. */
static void test_polling(void **state)
{
    char elsewhere[64] = "/tmp/test_files.XXXXXX";
    char link_path[256];
    char target[256];
    bool changed;
    (void)state;
    assert_non_null(mkdtemp(elsewhere));
    put_all("", &first);
    snprintf(target, sizeof(target), "%s/tls.crt", elsewhere);
    in_directory("tls.crt", link_path);
    assert_int_equal(rename(link_path, target), 0);
    assert_int_equal(symlink(target, link_path), 0);
    assert_int_equal(check(&changed), 0);
    assert_has(&first);
    struct certs_bundle renewed;
    static const struct certs_lifetimes lifetimes = {0};
    assert_int_equal(certs_bundle_copy(&first, &renewed, NULL), 0);
    assert_int_equal(certs_rotation_extend(&renewed, NULL, &fake.clock, &lifetimes, NULL), 0);
    FILE *file = fopen(target, "w");
    assert_non_null(file);
    assert_true(fputs(renewed.chain_pem, file) >= 0);
    fclose(file);
    assert_int_equal(check(&changed), 0);
    assert_false(changed);
    clock_fake_advance(&fake, CERTS_FILES_POLL);
    assert_int_equal(check(&changed), -EINVAL); /* seen: it has another key now */
    put("tls.key", renewed.key_pem);
    assert_int_equal(check(&changed), 0);
    assert_true(changed);
    certs_bundle_clear(&renewed);
    nftw(elsewhere, remove_entry, 8, FTW_DEPTH | FTW_PHYS);
}

static void test_directory_replaced(void **state)
{
    char aside[96];
    bool changed;
    (void)state;
    put_all("", &first);
    assert_int_equal(check(&changed), 0);
    snprintf(aside, sizeof(aside), "%s.aside", directory);
    assert_int_equal(rename(directory, aside), 0);
    assert_int_equal(check(&changed), -ENOENT);
    assert_has(&first);
    assert_int_equal(mkdir(directory, 0700), 0);
    put_all("", &second);
    assert_int_equal(check(&changed), 0);
    assert_has(&second);
    /* It is watched again. */
    put_all("", &first);
    assert_true(is_readable());
    assert_int_equal(check(&changed), 0);
    assert_has(&first);
    nftw(aside, remove_entry, 8, FTW_DEPTH | FTW_PHYS);
}

static void test_odd_files(void **state)
{
    char path[256];
    bool changed;
    (void)state;
    put_all("", &first);
    in_directory("tls.crt", path);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(mkfifo(path, 0600), 0); /* reading it would block for ever */
    assert_int_equal(check(&changed), -EINVAL);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(mkdir(path, 0700), 0);
    assert_int_equal(check(&changed), -EINVAL);
    assert_int_equal(rmdir(path), 0);
    char *large = malloc(2 << 20);
    assert_non_null(large);
    memset(large, 'a', (2 << 20) - 1);
    large[(2 << 20) - 1] = '\0';
    put("tls.crt", large);
    free(large);
    assert_int_equal(check(&changed), -EINVAL);
}

static void test_no_directory(void **state)
{
    struct certs_files *none = NULL;
    (void)state;
    put("file", "");
    char path[256];
    in_directory("file", path);
    assert_int_equal(certs_files_open(path, &fake.clock, 0, &none, NULL), -ENOTDIR);
    in_directory("nothing", path);
    assert_int_equal(certs_files_open(path, &fake.clock, 0, &none, NULL), -ENOENT);
    assert_null(none);
}

static void test_write(void **state)
{
    static const struct {
        const char *name;
        mode_t mode;
    } modes[] = {
        {"tls.crt", 0644}, {"tls.key", 0600}, {"ca.crt", 0644}, {"ca.key", 0600}, {"path", 0600}};
    struct certs_bundle back;
    bool changed;
    (void)state;
    mode_t mask = umask(077);
    assert_int_equal(certs_files_write(directory, &first, NULL), 0);
    umask(mask);
    for (size_t i = 0; i < sizeof(modes) / sizeof(modes[0]); i++) {
        char path[256];
        struct stat status;
        in_directory(modes[i].name, path);
        assert_int_equal(stat(path, &status), 0);
        assert_int_equal(status.st_mode & 07777, modes[i].mode);
    }
    assert_int_equal(certs_files_read(directory, &back, NULL), 0);
    assert_true(certs_bundle_equals(&back, &first));
    certs_bundle_clear(&back);
    assert_int_equal(check(&changed), 0);
    assert_has(&first);
    char path[256];
    in_directory("nothing", path);
    assert_int_equal(certs_files_write(path, &first, NULL), -ENOENT);
}

#define CASE(test) cmocka_unit_test_setup_teardown(test, begin, end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(test_plain_files),    CASE(test_half_written), CASE(test_optional_files),
        CASE(test_mounted_secret), CASE(test_polling),      CASE(test_directory_replaced),
        CASE(test_odd_files),      CASE(test_no_directory), CASE(test_write),
    };
    return cmocka_run_group_tests_name("files", tests, NULL, NULL);
}
