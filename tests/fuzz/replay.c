/* Runs a fuzz target over the files of a corpus folder, so that the findings of past fuzzing stay
 * tests of every build, with any compiler. */
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int replay_file(const char *path)
{
    FILE *file = fopen(path, "rb");
    if (file == NULL) {
        perror(path);
        return -1;
    }
    size_t length = 0;
    size_t capacity = 1U << 20;
    uint8_t *data = malloc(capacity);
    if (data != NULL)
        length = fread(data, 1, capacity, file);
    fclose(file);
    if (data == NULL)
        return -1;
    /* An exact allocation, so that AddressSanitizer sees a read past the end. */
    uint8_t *exact = realloc(data, length > 0 ? length : 1);
    if (exact == NULL) {
        free(data);
        return -1;
    }
    LLVMFuzzerTestOneInput(exact, length);
    free(exact);
    return 0;
}

int main(int argc, char **argv)
{
    int count = 0;
    for (int i = 1; i < argc; i++) {
        DIR *folder = opendir(argv[i]);
        if (folder == NULL) {
            perror(argv[i]);
            return 1;
        }
        for (struct dirent *entry; (entry = readdir(folder)) != NULL;) {
            char path[4096];
            if (entry->d_name[0] == '.')
                continue;
            snprintf(path, sizeof(path), "%s/%s", argv[i], entry->d_name);
            if (replay_file(path) != 0)
                return 1;
            count++;
        }
        closedir(folder);
    }
    printf("replayed %d inputs\n", count);
    return count > 0 ? 0 : 1;
}
