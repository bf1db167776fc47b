/*
 * test_merkle.c - the roots that Certificate Transparency's tests have for their eight leaves, and
 * every path of every small tree, which proves its own leaf and no other.
 */
#include "base/hex.h"
#include "ledger/merkle.h"
#include "tests/test.h"

#include <string.h>

enum { KNOWN = 8, TREES = 70 };

static const struct {
    const char *leaf, *root; /* of the tree up to this leaf */
} known[KNOWN] = {
    {"", "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d"},
    {"00", "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125"},
    {"10", "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77"},
    {"2021", "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7"},
    {"3031", "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4"},
    {"40414243", "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef"},
    {"5051525354555657", "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c"},
    {"606162636465666768696a6b6c6d6e6f",
     "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328"},
};

static void roots_are_those_of_rfc_6962(void **state)
{
    struct merkle merkle = {0};

    (void)state;
    for (uint32_t i = 0; i < KNOWN; i++) {
        uint8_t leaf[17] = {0};
        char text[SHA256_HEX_SIZE];
        struct sha256 hash;
        size_t size = strlen(known[i].leaf) / 2;

        assert_true(hex_parse(text_of(known[i].leaf), leaf + 1, size));
        sha256_begin();
        sha256_add(leaf, 1 + size);
        sha256_end(&hash);
        merkle_add(&merkle, &hash);
        merkle_root(&merkle, &hash);
        hex_format(hash.bytes, SHA256_SIZE, text);
        assert_string_equal(text, known[i].root);
    }
}

static void each_path_proves_its_leaf_alone(void **state)
{
    struct sha256 leaves[TREES], root, path[MERKLE_DEPTH_MAX];

    (void)state;
    for (uint32_t i = 0; i < TREES; i++)
        merkle_account(text_of("a"), i, &(struct sha256){0}, &leaves[i]);
    for (uint32_t count = 1; count <= TREES; count++) {
        struct merkle merkle = {0};
        for (uint32_t i = 0; i < count; i++) merkle_add(&merkle, &leaves[i]);
        merkle_root(&merkle, &root);
        for (uint32_t at = 0; at < count; at++) {
            uint32_t length = merkle_path(leaves, count, at, path);
            for (uint32_t i = 0; i < count; i++)
                assert_int_equal(merkle_proves(&leaves[i], at, count, path, length, &root),
                                 i == at);
            for (uint32_t i = 0; i < count; i++)
                if (i != at)
                    assert_false(merkle_proves(&leaves[at], i, count, path, length, &root));
            assert_false(merkle_proves(&leaves[at], at, count, path, length,
                                       &leaves[(at + 1) % count == at ? 1 : (at + 1) % count]));
            if (length > 0) {
                assert_false(merkle_proves(&leaves[at], at, count, path, length - 1, &root));
                path[length / 2].bytes[5] ^= 1;
                assert_false(merkle_proves(&leaves[at], at, count, path, length, &root));
            }
        }
        assert_false(merkle_proves(&leaves[0], count, count, path, 0, &root));
    }
    assert_false(merkle_proves(&leaves[0], 0, 0, path, 0, &root));
}

/* Both kinds, and each part of them. */
static void leaves_differ(void **state)
{
    struct sha256 hash[2] = {{{0}}, {{1}}}, leaves[8];
    struct uuid id[2] = {{{0}}, {{1}}};
    uint32_t count = 0;

    (void)state;
    merkle_account(text_of("ab"), 1, &hash[0], &leaves[count++]);
    merkle_account(text_of("ac"), 1, &hash[0], &leaves[count++]);
    merkle_account(text_of("a"), 1, &hash[0], &leaves[count++]);
    merkle_account(text_of("ab"), 2, &hash[0], &leaves[count++]);
    merkle_account(text_of("ab"), 1, &hash[1], &leaves[count++]);
    merkle_transaction(&id[0], &hash[0], &leaves[count++]);
    merkle_transaction(&id[1], &hash[0], &leaves[count++]);
    merkle_transaction(&id[0], &hash[1], &leaves[count++]);
    for (uint32_t i = 0; i < count; i++)
        for (uint32_t k = 0; k < i; k++)
            assert_memory_not_equal(&leaves[i], &leaves[k], sizeof leaves[i]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(roots_are_those_of_rfc_6962),
        cmocka_unit_test(each_path_proves_its_leaf_alone),
        cmocka_unit_test(leaves_differ),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
