/* CSV: what is read is whole and finite, and what is refused leaves nothing. The first byte chooses
 * the options. */
#include "fuzz.h"

#include "io/csv.h"

#include <math.h>
#include <string.h>

static void look_at_table(const ebb_csv *csv, const ebb_csv_options *options)
{
    const int64_t n = ebb_shape_elements(&csv->values.type.shape);
    for (int64_t i = 0; i < n; i++)
        fuzz_need(isfinite(ebb_tensor_get(&csv->values, i)), "numbers are finite");
    fuzz_need((csv->labels.data != NULL) == (options->label_column > 0), "labels as asked for");
    fuzz_need((csv->names != NULL) == options->has_header, "names as asked for");
    size_t n_text = 0;
    for (int64_t i = 0; csv->names && i < csv->n_columns; i++)
        n_text += strlen(csv->names[i]) + 1;
    fuzz_need(n_text <= csv->names_bytes, "the names lie in their block");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n_bytes)
{
    const uint8_t choice = n_bytes > 0 ? data[0] : 0;
    const ebb_csv_options options = { .separator = choice & 1 ? ';' : ',',
                                      .has_header = choice & 2,
                                      .label_column = choice >> 2 & 3,
                                      .dtype = choice & 16 ? EBB_F32 : EBB_NO_DTYPE };
    for (int failing = 0; failing < 2; failing++) {
        ebb_memory_meter meter;
        ebb_csv csv;
        ebb_error error = { 0 };
        fuzz_meter_init(&meter, data, n_bytes, failing);
        const ebb_status status =
            ebb_csv_parse((const char *)data + (n_bytes > 0), n_bytes > 0 ? n_bytes - 1 : 0,
                          "f.csv", &options, &meter.allocator, &csv, &error);
        if (status == EBB_OK) {
            look_at_table(&csv, &options);
        } else {
            fuzz_need(!csv.values.data && !csv.names && !meter.n_live, "nothing is left");
            fuzz_need(error.status == status && strncmp(error.message, "f.csv: ", 7) == 0,
                      "the error names the file");
        }
        ebb_csv_finish(&csv);
        fuzz_need(meter.n_live == 0, "nothing leaks");
    }
    return 0;
}
