/* Writes what the fuzzers begin with: every op of the registry as a text graph, and small files of
 * each format. seeds FOLDER fills FOLDER/text, FOLDER/npy ... and writes FOLDER/text.dict. */
#include "tools/ops.h"

#include <errno.h>
#include <stdlib.h>
#include <stdnoreturn.h>
#include <string.h>
#include <sys/stat.h>
#include <zlib.h>

#define PATH_BYTES 4096

noreturn static void stop(const char *path, const char *why)
{
    fprintf(stderr, "seeds: %s: %s\n", path, why);
    exit(EXIT_FAILURE);
}

static const char *join(const char *folder, const char *name, char path[PATH_BYTES])
{
    if (snprintf(path, PATH_BYTES, "%s/%s", folder, name) >= PATH_BYTES)
        stop(name, "the path is too long");
    return path;
}

static FILE *open_file(const char *folder, const char *name)
{
    char path[PATH_BYTES];
    FILE *out = fopen(join(folder, name, path), "wb");
    if (!out)
        stop(path, strerror(errno));
    return out;
}

static void close_file(FILE *out, const char *name)
{
    if (ferror(out) || fclose(out) != 0)
        stop(name, "writing failed");
}

/* ---- text ---- */

static const char net[] =
    "graph \"net\" # scopes, names, phases, updates\n"
    "%1 = input {name=\"block1/x\"} : f32[2,3]\n"
    "%2 = variable {name=\"block1/fc/w\", init=normal, b=0.5, seed=7} : f32[3,4]\n"
    "%5 = matmul %1 %2 : f32[2,4] @block1/fc/h\n"
    "%6 = constant {data=[1,-2.5,inf,nan,1e-30,-0,3,4]} : f32[2,4] @block1/\n"
    "%7 = add %5 %6 : f32[2,4] @y !backward\n"
    "%8 = mul %2 %2 : f32[3,4] !update\n"
    "update %2 %8\n";

static void write_texts(const char *folder)
{
    int n;
    const ebb_op *const *ops = ebb_op_list(&n);
    FILE *out = open_file(folder, "net.txt");
    fputs(net, out);
    close_file(out, "net.txt");
    for (int i = 0; i < n; i++)
        for (int s = 0; s < ops[i]->n_samples; s++) {
            ebb_node node;
            char name[128];
            ebb_graph *graph = ops_sample_graph(ops[i], s, s % 2 ? EBB_F32 : EBB_F64, &node);
            if (!graph)
                continue;
            snprintf(name, sizeof name, "%s-%d.txt", ops[i]->name, s);
            out = open_file(folder, name);
            if (ebb_graph_print(graph, out) != EBB_OK)
                stop(name, "printing failed");
            close_file(out, name);
            ebb_graph_destroy(graph);
        }
}

static void write_dictionary(const char *folder)
{
    static const char *const words[] = { "graph",
                                         "update",
                                         "!backward",
                                         "!update",
                                         "true",
                                         "false",
                                         "inf",
                                         "nan",
                                         "f64[]",
                                         "f32[2]",
                                         "i64[2,3]",
                                         "i32[0]",
                                         "u8[1]",
                                         "bool[2]",
                                         "[-1]",
                                         "2147483648",
                                         "-9223372036854775808" };
    int n;
    const ebb_op *const *ops = ebb_op_list(&n);
    FILE *out = open_file(folder, "text.dict");
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        fprintf(out, "\"%s\"\n", words[i]);
    for (int i = 0; i < n; i++) {
        fprintf(out, "\" = %s \"\n", ops[i]->name);
        for (const ebb_attr_field *f = ops[i]->attrs; f && f->name; f++) {
            fprintf(out, "\"%s=\"\n", f->name);
            for (int k = 0; f->enum_names && f->enum_names[k]; k++)
                fprintf(out, "\"%s=%s\"\n", f->name, f->enum_names[k]);
        }
    }
    close_file(out, "text.dict");
}

/* ---- files ---- */

static void write_arrays(const char *folder)
{
    static const double zeros[6];
    for (int dtype = EBB_NO_DTYPE + 1; dtype < EBB_N_DTYPES; dtype++) {
        char name[64], path[PATH_BYTES];
        ebb_error error;
        ebb_tensor tensor = ebb_tensor_borrow((ebb_dtype)dtype, EBB_SHAPE(2, 3), zeros);
        snprintf(name, sizeof name, "%s.npy", ebb_dtype_name((ebb_dtype)dtype));
        if (ebb_npy_write(join(folder, name, path), &tensor, &error) != EBB_OK)
            stop(path, error.message);
    }
    static const char columns[] = "\x93NUMPY\3\0\x40\0\0\0"
                                  "{\"shape\":(2,1L,),\"descr\":\">i4\",\"fortran_order\":True}"
                                  "            \n\0\0\0\1\0\0\0\2";
    FILE *out = open_file(folder, "columns.npy");
    fwrite(columns, 1, sizeof columns - 1, out);
    close_file(out, "columns.npy");
}

static void write_weights(const char *folder)
{
    static const double zeros[6];
    char path[PATH_BYTES];
    ebb_error error;
    ebb_store *store = ebb_store_create(NULL);
    ebb_tensor a = ebb_tensor_borrow(EBB_F32, EBB_SHAPE(2), zeros);
    ebb_tensor b = ebb_tensor_borrow(EBB_BOOL, EBB_SHAPE(1, 3), zeros);
    ebb_tensor c = ebb_tensor_borrow(EBB_I64, EBB_SCALAR, zeros);
    if (ebb_store_set(store, "a", &a) != EBB_OK || ebb_store_set(store, "x/b", &b) != EBB_OK ||
        ebb_store_set(store, "c", &c) != EBB_OK)
        stop("store", ebb_store_message(store));
    if (ebb_store_save(store, join(folder, "all.safetensors", path), &error) != EBB_OK)
        stop(path, error.message);
    ebb_store_destroy(store);
    static const char metadata[] = "\x15\0\0\0\0\0\0\0{\"__metadata__\":{ }}  ";
    FILE *out = open_file(folder, "metadata.safetensors");
    fwrite(metadata, 1, sizeof metadata - 1, out);
    close_file(out, "metadata.safetensors");
}

static void write_models(const char *folder)
{
    char path[PATH_BYTES];
    ebb_error error;
    ebb_model *model;
    const float w[6] = { 1, 2, 3, 4, 5, 6 };
    ebb_store *store = ebb_store_create(NULL);
    ebb_graph *graph = ebb_graph_create("model");
    ebb_tensor value = ebb_tensor_borrow(EBB_F32, EBB_SHAPE(2, 3), w);
    if (ebb_store_set(store, "fc/w", &value) != EBB_OK)
        stop("store", ebb_store_message(store));
    const ebb_node x = ebb_input(graph, "x", EBB_F32, EBB_SHAPE(1, 2));
    ebb_scope_push(graph, "fc");
    const ebb_node y =
        ebb_matmul(x, ebb_square(ebb_variable(graph, "w", EBB_F32, EBB_SHAPE(2, 3), NULL)));
    if (ebb_model_freeze(&y, 1, store, NULL, &model, &error) != EBB_OK ||
        ebb_model_save(model, join(folder, "small.safetensors", path), &error) != EBB_OK)
        stop("model", error.message);
    ebb_model_destroy(model);
    ebb_graph_destroy(graph);
    ebb_store_destroy(store);
}

static void write_pictures(const char *folder)
{
    static const uint8_t zeros[12];
    const ebb_shape shapes[] = { EBB_SHAPE(3, 4), EBB_SHAPE(2, 2, 3) };
    for (int i = 0; i < 2; i++) {
        char path[PATH_BYTES];
        ebb_error error;
        ebb_tensor tensor = ebb_tensor_borrow(EBB_U8, shapes[i], zeros);
        if (ebb_png_write(join(folder, i ? "rgb.png" : "grey.png", path), &tensor, &error) !=
            EBB_OK)
            stop(path, error.message);
    }
}

static void write_images(const char *folder)
{
    static const char idx[] = "\0\0\x08\2\0\0\0\2\0\0\0\3abcdef";
    char path[PATH_BYTES];
    FILE *out = open_file(folder, "plain.idx");
    fwrite(idx, 1, sizeof idx - 1, out);
    close_file(out, "plain.idx");
    gzFile packed = gzopen(join(folder, "packed.idx.gz", path), "wb");
    if (!packed || gzwrite(packed, idx, sizeof idx - 1) != (int)sizeof idx - 1 ||
        gzclose(packed) != Z_OK)
        stop(path, "writing failed");
}

/* A file of literal bytes, a zero may be among them. */
#define WRITE_BYTES(folder, name, text)                                                            \
    do {                                                                                           \
        FILE *out = open_file(folder, name);                                                       \
        fwrite(text, 1, sizeof text - 1, out);                                                     \
        close_file(out, name);                                                                     \
    } while (0)

static void write_netpbm(const char *folder)
{
    WRITE_BYTES(folder, "text.pgm", "P2\n# grey\n3 1\n4\n0 1 4\n");
    WRITE_BYTES(folder, "text.ppm", "P3 1 1 255 0 128 255");
    WRITE_BYTES(folder, "bytes.pgm", "P5 2 2 255\nabcd");
    WRITE_BYTES(folder, "bytes.ppm", "P6 1 2 15\n\0\1\2\3\4\17");
}

/* The first byte chooses options (csv.c). */
static void write_tables(const char *folder)
{
    WRITE_BYTES(folder, "plain.csv", "\0001,-2.5\r\n3e2,\"0.1\"\r\n");
    WRITE_BYTES(folder, "header.csv", "\012a,\"b \"\"c\"\"\",d\n1,2,3\n4,5,6\n");
    WRITE_BYTES(folder, "semicolon.csv", "\025\"1\";2\n3;4");
}

int main(int argc, char **argv)
{
    static const struct {
        const char *name;
        void (*write)(const char *folder);
    } formats[] = { { "text", write_texts },   { "npy", write_arrays },
                    { "png", write_pictures }, { "safetensors", write_weights },
                    { "model", write_models }, { "idx", write_images },
                    { "pnm", write_netpbm },   { "csv", write_tables } };
    if (argc != 2)
        stop("usage", "seeds FOLDER");
    for (size_t i = 0; i < sizeof formats / sizeof *formats; i++) {
        char folder[PATH_BYTES];
        if (mkdir(join(argv[1], formats[i].name, folder), 0777) != 0 && errno != EEXIST)
            stop(folder, strerror(errno));
        formats[i].write(folder);
    }
    write_dictionary(argv[1]);
    return EXIT_SUCCESS;
}
