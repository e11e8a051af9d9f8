/* Files in and out. Readers trust nothing: every count and offset is checked against the file
 * before memory is asked for. Writers write a temporary file beside the target, flush it to disk
 * and rename it, so that a file under its final name is always whole. */
#ifndef EBB_IO_H
#define EBB_IO_H

#include <ebb/store.h>
#include <stdio.h>

EBB_BEGIN

/* ---- IDX, the format of MNIST (LeCun's page; big-endian header, type 0x08 = U8), plain or gzip
 * ---- */

/* Reads the whole file into a U8 tensor of the header's shape (rank 1..8). The tensor owns its data
 * (finish it). Errors: IO (cannot be opened or read), BAD_FORMAT (magic, type code, dimensions that
 * do not fit the file's size: the message names path, offset, expected and found). `tensor` is a
 * zero struct then. */
EBB_NODISCARD EBB_API ebb_status ebb_idx_read(const char *path, const ebb_allocator *allocator,
                                              ebb_tensor *tensor, ebb_error *error);

/* ---- data sets of images with labels ---- */

typedef struct ebb_image_set {
    ebb_tensor
        images; /* U8 [n, height, width]; of more than one channel: [n, channels, height, width] */
    ebb_tensor labels; /* U8 [n], each below n_classes */
    int64_t n, channels, height, width;
    int n_classes;
} ebb_image_set;

EBB_API void ebb_image_set_finish(ebb_image_set *set);

/* MNIST from its four IDX files in `folder` ("train-images-idx3-ubyte", with or without ".gz",
 * ...). `train` and `test` may each be NULL. Errors: IO, BAD_FORMAT (also: labels and images of
 * different number, labels above 9), OUT_OF_MEMORY; both sets are zero structs then. */
EBB_NODISCARD EBB_API ebb_status ebb_mnist_read(const char *folder, const ebb_allocator *allocator,
                                                ebb_image_set *train, ebb_image_set *test,
                                                ebb_error *error);

/* CIFAR-10 in its binary form (Krizhevsky 2009): files of records, each a label and 32x32 pixels as
 * a red, a green and a blue plane, 3073 bytes. Reads the records of `paths` (plain or gzip), one
 * file after the other, into one set. Errors: IO, BAD_FORMAT (no records, a part of one, labels
 * above 9: the message names path and byte), OUT_OF_MEMORY, BAD_ARGUMENT; the set is a zero struct
 * then. */
EBB_NODISCARD EBB_API ebb_status ebb_cifar10_read_files(const char *const *paths, int n_paths,
                                                        const ebb_allocator *allocator,
                                                        ebb_image_set *set, ebb_error *error);
/* The database: data_batch_1.bin to data_batch_5.bin and test_batch.bin in `folder`. `train` and
 * `test` may each be NULL. Errors as above; both sets are zero structs then. */
EBB_NODISCARD EBB_API ebb_status ebb_cifar10_read(const char *folder,
                                                  const ebb_allocator *allocator,
                                                  ebb_image_set *train, ebb_image_set *test,
                                                  ebb_error *error);

/* Digits drawn by a seeded generator, 28x28 like MNIST's: strokes (lines and arcs) with random
 * slant, shift, scale, thickness and noise. Image i depends on (seed, i) alone; its label is
 * random. n >= 0. Errors: BAD_ARGUMENT, OUT_OF_MEMORY. */
EBB_NODISCARD EBB_API ebb_status ebb_digits_draw(int64_t n, uint64_t seed,
                                                 const ebb_allocator *allocator, ebb_image_set *set,
                                                 ebb_error *error);

/* Copies the images and labels of indices[0..n) into a batch: pixels / 255 as F32 or F64 (whatever
 * `images` is, n x channels*height*width elements in any shape), labels as I32, I64 or U8. Either
 * destination may be NULL. Errors: BAD_INDEX, BAD_SHAPE, BAD_DTYPE; nothing is written then. */
EBB_NODISCARD EBB_API ebb_status ebb_image_set_batch(const ebb_image_set *set,
                                                     const int64_t *indices, int64_t n,
                                                     const ebb_tensor *images,
                                                     const ebb_tensor *labels, ebb_error *error);

/* Fills indices[0..n) with the numbers 0..n-1 in an order that depends on (seed, epoch) alone
 * (Fisher-Yates with Philox4x32-10). */
EBB_API void ebb_shuffle(int64_t *indices, int64_t n, uint64_t seed, uint64_t epoch);

/* ---- weights: safetensors (the Hugging Face format: 8-byte header length, JSON header, data) ----
 */

/* Writes every entry of the store, atomically. Errors: IO (names the path and the reason); the old
 * file stays then. */
EBB_NODISCARD EBB_API ebb_status ebb_store_save(const ebb_store *store, const char *path,
                                                ebb_error *error);
/* Reads all tensors into the store (ebb_store_set: names that the store has must have the same
 * type). Errors: IO, BAD_FORMAT (with byte offset), BAD_SHAPE, BAD_DTYPE; the store is unchanged
 * then. */
EBB_NODISCARD EBB_API ebb_status ebb_store_load(ebb_store *store, const char *path,
                                                ebb_error *error);
/* The same for a store that has its variables already, after ebb_compile: the file must have all of
 * them and no others. Errors: also NOT_FOUND; the message names the tensors that one of both lacks
 * or has with another type. */
EBB_NODISCARD EBB_API ebb_status ebb_store_restore(ebb_store *store, const char *path,
                                                   ebb_error *error);

/* ---- arrays: .npy, NumPy's format (numpy.lib.format), versions 1.0, 2.0 and 3.0 ---- */

/* Reads the whole file into a tensor of rank 0..8, which owns its data (finish it). f8, f4, i8, i4,
 * u1 and b1 of either byte order; C and Fortran order, the latter made row-major. Errors: IO
 * (cannot be opened or read), BAD_FORMAT (magic, version, header, data too short or too long),
 * BAD_DTYPE (Python objects, records, other dtypes), BAD_SHAPE (more than 8 dimensions),
 * OUT_OF_MEMORY; the message names path and byte, and `tensor` is a zero struct then. */
EBB_NODISCARD EBB_API ebb_status ebb_npy_read(const char *path, const ebb_allocator *allocator,
                                              ebb_tensor *tensor, ebb_error *error);
/* Writes version 1.0, in C order, atomically. Errors: IO (the old file stays then), BAD_ARGUMENT,
 * BAD_SHAPE, BAD_DTYPE. */
EBB_NODISCARD EBB_API ebb_status ebb_npy_write(const char *path, const ebb_tensor *tensor,
                                               ebb_error *error);

/* ---- tables: CSV (RFC 4180) ---- */

/* Zero is the default. */
typedef struct ebb_csv_options {
    char separator;       /* default ',' */
    bool has_header;      /* the first row is names */
    int64_t label_column; /* whole numbers that go to `labels`; from 1; 0: none */
    ebb_dtype dtype;      /* of the values: F64 (default) or F32 */
} ebb_csv_options;

typedef struct ebb_csv {
    ebb_tensor values;  /* [rows, columns], without the label column */
    ebb_tensor labels;  /* I64 [rows]; a zero struct without a label column */
    const char **names; /* of the columns of `values`; NULL without a header */
    int64_t n_columns;
    size_t names_bytes;
    const ebb_allocator *allocator;
} ebb_csv;

/* Reads a table of decimal numbers, plain or gzip. Fields may be quoted, with "" for a quote, also
 * across lines; lines end in LF or CRLF; a byte order mark in front is passed over. Errors: IO;
 * BAD_FORMAT (rows of different length, text or nothing where a number must be, numbers beyond
 * doubles, labels that are not whole, no rows: the message names path, line and column, columns
 * counted in fields from 1); BAD_ARGUMENT, BAD_DTYPE (options); LIMIT, OUT_OF_MEMORY. `csv` is a
 * zero struct then. */
EBB_NODISCARD EBB_API ebb_status ebb_csv_read(const char *path, const ebb_csv_options *options,
                                              const ebb_allocator *allocator, ebb_csv *csv,
                                              ebb_error *error);
EBB_API void ebb_csv_finish(ebb_csv *csv);

/* ---- pictures: PNG (libpng) ---- */

/* Reads a picture into a U8 tensor [height, width, channels], channels 1 (grey) or 3 (RGB); the
 * tensor owns its data (finish it). Palettes become RGB, samples of fewer bits 8; color spaces are
 * not looked at. Errors: IO (cannot be opened or read), BAD_FORMAT (no PNG, damaged, cut short,
 * 16-bit or transparent, sides beyond 1000000), OUT_OF_MEMORY; the message names path and byte, and
 * `tensor` is a zero struct then. */
EBB_NODISCARD EBB_API ebb_status ebb_png_read(const char *path, const ebb_allocator *allocator,
                                              ebb_tensor *tensor, ebb_error *error);
/* Writes a U8 tensor [height, width], [height, width, 1] (both grey) or [height, width, 3] (RGB)
 * with 8 bits a sample, atomically. Errors: IO (the old file stays then), BAD_ARGUMENT, BAD_SHAPE
 * (another one, or empty), BAD_DTYPE, OUT_OF_MEMORY. */
EBB_NODISCARD EBB_API ebb_status ebb_png_write(const char *path, const ebb_tensor *tensor,
                                               ebb_error *error);

/* ---- pictures: PGM and PPM (Netpbm), plain or gzip ---- */

/* Reads P2, P5 (grey), P3 and P6 (RGB) into a U8 tensor [height, width, channels], as ebb_png_read
 * does; samples are brought to 0..255 if their largest is another. Errors: IO, BAD_FORMAT (no such
 * picture, cut short or too long, 16-bit, sides beyond 1000000), LIMIT, OUT_OF_MEMORY; the message
 * names path and byte, and `tensor` is a zero struct then. */
EBB_NODISCARD EBB_API ebb_status ebb_pnm_read(const char *path, const ebb_allocator *allocator,
                                              ebb_tensor *tensor, ebb_error *error);

/* ---- folders of images: one folder a class, in it one .png, .pgm or .ppm file an image ---- */

typedef struct ebb_image_folder {
    ebb_image_set set;    /* labels count the classes, images come class by class */
    const char **classes; /* [set.n_classes]: the folders' names */
    size_t classes_bytes;
    const ebb_allocator *allocator;
} ebb_image_folder;

/* Folders and files are sorted by their names' bytes; hidden ones, and files with other endings, do
 * not count. Errors: IO; BAD_FORMAT (no class or more than 256, a class without images, a file that
 * is no picture); BAD_SHAPE (an image of another size or number of channels than the first: the
 * message names both files); OUT_OF_MEMORY. `folder` is a zero struct then. */
EBB_NODISCARD EBB_API ebb_status ebb_image_folder_read(const char *path,
                                                       const ebb_allocator *allocator,
                                                       ebb_image_folder *folder, ebb_error *error);
EBB_API void ebb_image_folder_finish(ebb_image_folder *folder);

/* ---- any other file, atomically ---- */

/* Calls `write` on a stream to a temporary file beside `path`, then flushes and renames. If `write`
 * returns a failure or the disk is full, `path` is as it was. */
typedef ebb_status (*ebb_file_writer)(void *context, FILE *out, ebb_error *error);
EBB_NODISCARD EBB_API ebb_status ebb_file_write(const char *path, ebb_file_writer write,
                                                void *context, ebb_error *error);

EBB_END

#endif
