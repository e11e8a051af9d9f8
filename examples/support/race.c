/* Training side by side. */
#include "support/race.h"

#include "support/draw.h"
#include "support/stop.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

enum { MAX_ENTRANTS = 8, N_ROWS = 12 };

/* losses[k * n_steps + i] becomes the loss of entrant k in step i. */
static void make_steps(const race_options *race, image_trainer *trainers, double *losses)
{
    const trainer_options *options = &trainers[0].options;
    const int64_t n = options->data->train.n, epoch = trainers[0].n_steps;
    int64_t *order = trainers[0].order;
    uint64_t state = options->seed << 32;
    ebb_progress progress;
    ebb_progress_start(&progress, stdout, "training", 0, race->n_steps);
    for (int64_t i = 0; i < race->n_steps; i++) {
        const int64_t *batch = order;
        if (race->as_in_book) {
            for (int64_t j = 0; j < options->batch; j++)
                order[j] = draw_index(&state, n);
        } else {
            if (i % epoch == 0)
                ebb_shuffle(order, n, options->seed, (uint64_t)(i / epoch));
            batch += i % epoch * options->batch;
        }
        for (int k = 0; k < race->n_entrants; k++) {
            double *loss = &losses[k * race->n_steps + i];
            *loss = trainer_step(&trainers[k], batch, NULL);
            if (race->as_in_book)
                *loss = trainer_loss(&trainers[k], NULL);
        }
        ebb_progress_step(&progress, i + 1, losses[i]);
    }
    ebb_progress_end(&progress);
}

static void print_losses(const race_options *race, const plot_series *means)
{
    const int64_t every = (race->n_steps + N_ROWS - 1) / N_ROWS;
    printf("%10s", "step");
    for (int k = 0; k < race->n_entrants; k++)
        printf(" %12s", means[k].name);
    for (int64_t i = every; i <= race->n_steps; i += every) {
        printf("\n%10" PRId64, i);
        for (int k = 0; k < race->n_entrants; k++)
            printf(" %12.4f", means[k].y[i - 1]);
    }
    printf("\n");
}

/* The mean of the last steps that there are, up to n_last. */
static void print_last(const race_options *race, const double *losses)
{
    const int64_t n = race->n_last < race->n_steps ? race->n_last : race->n_steps;
    char name[32];
    if (n < 1)
        return;
    snprintf(name, sizeof name, "last %" PRId64, n);
    printf("%10s", name);
    for (int k = 0; k < race->n_entrants; k++) {
        double sum = 0;
        for (int64_t i = race->n_steps - n; i < race->n_steps; i++)
            sum += losses[k * race->n_steps + i];
        printf(" %12.4f", sum / (double)n);
    }
    printf("\n");
}

void race_run(const race_options *race, const output_folder *output, const char *name)
{
    image_trainer trainers[MAX_ENTRANTS];
    plot_series means[MAX_ENTRANTS];
    const int n = race->n_entrants;
    if (n < 1 || n > MAX_ENTRANTS)
        stop("a race of %d: only 1 to %d can be shown", n, MAX_ENTRANTS);
    const size_t n_losses = (size_t)n * (size_t)race->n_steps;
    double *losses = malloc(2 * n_losses * sizeof *losses);
    if (!losses)
        stop("no memory for %" PRId64 " steps", race->n_steps);
    for (int k = 0; k < n; k++) {
        trainer_options options = race->entrants[k];
        options.data = race->entrants[0].data;
        options.batch = race->entrants[0].batch;
        trainer_open(&trainers[k], &options);
    }
    make_steps(race, trainers, losses);
    for (int k = 0; k < n; k++) {
        double *mean = losses + n_losses + k * race->n_steps;
        plot_smooth(losses + k * race->n_steps, race->n_steps, race->smoothed, mean);
        means[k] = (plot_series){
            .name = race->entrants[k].name, .y = mean, .n = race->n_steps, .first_x = 1
        };
    }
    print_losses(race, means);
    print_last(race, losses);
    printf("%10s", "accuracy");
    for (int k = 0; k < n; k++) {
        printf(" %12.4f", trainer_evaluate(&trainers[k], &trainers[0].options.data->test));
        trainer_close(&trainers[k]);
    }
    printf("\n");
    output_plot(output, name,
                &(plot_sheet){ .title = race->title,
                               .x.label = "step",
                               .y.label = "loss",
                               .series = means,
                               .n_series = n });
    free(losses);
}
