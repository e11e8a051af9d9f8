/* The default allocator where the system maps no more blocks: large ones come from the heap. This
 * program's mmap fails when it is told to; the C library's heap has its own. */
#include "graph/graph_build.h"
#include "support/runner.h"

#include <errno.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

static bool maps_nothing;
static int n_refused;

void *mmap(void *address, size_t n_bytes, int protection, int flags, int file, off_t offset)
{
    if (maps_nothing) {
        n_refused++;
        errno = ENOMEM;
        return MAP_FAILED;
    }
    return (void *)syscall(SYS_mmap, address, n_bytes, protection, flags, file, offset);
}

START_TEST(large_blocks_come_from_the_heap)
{
    static const size_t sizes[] = { 256 << 10, (256 << 10) + 1, (8 << 20) - 4096, 9 << 20 };
    enum { N = sizeof sizes / sizeof *sizes };
    char *blocks[2 * N];
    n_refused = 0;
    for (int i = 0; i < 2 * N; i++) {
        maps_nothing = i % 2;
        blocks[i] = ebb_allocate(NULL, sizes[i / 2]);
        maps_nothing = false;
        ck_assert_ptr_nonnull(blocks[i]);
        ck_assert_uint_eq((uintptr_t)blocks[i] % EBB_ALIGNMENT, 0);
        memset(blocks[i], i + 1, sizes[i / 2]);
    }
    for (int i = 0; i < 2 * N; i++) {
        ck_assert_int_eq(blocks[i][0], i + 1);
        ck_assert_int_eq(blocks[i][sizes[i / 2] - 1], i + 1);
        ebb_release(NULL, blocks[i], sizes[i / 2]);
    }
    /* With sanitizers all blocks come from the heap. */
    ck_assert(n_refused == N || n_refused == 0);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("unmapped");
    TCase *tcase = tcase_create("blocks");
    tcase_add_test(tcase, large_blocks_come_from_the_heap);
    suite_add_tcase(suite, tcase);
    return run_suite(suite);
}
