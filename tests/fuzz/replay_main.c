/*
 * replay_main.c - runs every file of the given corpus folders through a fuzz target, under any
 * compiler, so that what a fuzzer once found stays found. An empty corpus is a failure: a replay
 * of nothing proves nothing.
 */
#include <dirent.h>
#include <limits.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

enum { INPUT_BYTES_MAX = 1 << 20 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int replay_file(const char *path)
{
    FILE *file = fopen(path, "rb");
    if (file == NULL) {
        perror(path);
        return -1;
    }
    /* A block of exactly this size, so that the sanitizer sees one byte read too far. */
    uint8_t *input = malloc(INPUT_BYTES_MAX);
    size_t size = input == NULL ? 0 : fread(input, 1, INPUT_BYTES_MAX, file);
    uint8_t *exact = size == 0 ? input : realloc(input, size);
    int failed = input == NULL || exact == NULL || ferror(file);
    (void)fclose(file);
    if (!failed) (void)LLVMFuzzerTestOneInput(exact, size);
    free(exact);
    return failed ? -1 : 0;
}

static int replay_folder(const char *folder, unsigned *files_count)
{
    char path[PATH_MAX];
    struct dirent *entry;
    DIR *dir = opendir(folder);
    if (dir == NULL) {
        perror(folder);
        return -1;
    }
    while ((entry = readdir(dir)) != NULL) {
        if (entry->d_name[0] == '.') continue;
        int length = snprintf(path, sizeof path, "%s/%s", folder, entry->d_name);
        if (length < 0 || (size_t)length >= sizeof path || replay_file(path) != 0) {
            (void)fprintf(stderr, "could not replay %s\n", path);
            (void)closedir(dir);
            return -1;
        }
        *files_count += 1;
    }
    (void)closedir(dir);
    return 0;
}

int main(int argc, char **argv)
{
    unsigned files_count = 0;
    for (int i = 1; i < argc; i++)
        if (replay_folder(argv[i], &files_count) != 0) return EXIT_FAILURE;
    (void)printf("%u inputs\n", files_count);
    return files_count == 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}
