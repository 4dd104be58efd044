/* What `duet vae` and `duet gan` have in common: data, the loop, the log, checkpoints and exact resume, pictures along the way.
 * What one experiment does in a step is its recipe. */
#ifndef DUET_EXPERIMENTS_GENERATIVE_H
#define DUET_EXPERIMENTS_GENERATIVE_H

#include "data/loader.h"
#include "data/sheet.h"
#include "eval/model.h"
#include "experiments/checkpoint.h"
#include "experiments/config.h"
#include "experiments/log.h"
#include "experiments/run_folder.h"
#include "kernels/plan.h"

/* The part of a configuration that both have. */
typedef struct dt_generative_config {
    const json_t *model; /* a description with vision_cfg alone */
    const char *weights; /* a run or file with the same model, to start from; NULL: fresh parameters */
    const json_t *train; /* path, pattern, or list of them; NULL: the recipe makes its own data */
    const char *test;    /* NULL: none */
    int threads;
    size_t cache_bytes;
    const json_t *augment;
    int batch_size;
    int64_t steps, epochs; /* one of them is 0 */
    int64_t seed;
    dt_rate_config rate;
    int64_t checkpoint_every;
    int keep_checkpoints;
    int64_t log_every;
    int64_t pictures_every; /* steps; 0: at the end only */
    int picture_count;
    const char *measure;    /* weights of the model in whose feature space distances are taken; NULL: none are */
    dt_layer measure_layer;
    int measure_count;      /* pictures */
} dt_generative_config;

/* Keys that may change when a run goes on, as they do not change the training. */
extern const char *const dt_generative_free_keys[];

/* Objects of the configuration as dt_json_read gave them. */
typedef struct dt_generative_parts {
    const json_t *data, *schedule, *checkpoint, *pictures, *measure;
} dt_generative_parts;
bool dt_generative_read(dt_generative_config *config, const dt_generative_parts *parts, const char *file, dt_error *error);

enum { DT_RECIPE_VALUES = 16 };

/* What a step found, for the log. */
typedef struct dt_step_found {
    double loss;
    dt_log_value values[DT_RECIPE_VALUES];
    size_t count;
} dt_step_found;

static inline void dt_found(dt_step_found *found, const char *name, double value)
{
    if (found->count < DT_RECIPE_VALUES)
        found->values[found->count++] = (dt_log_value){name, value};
}

typedef struct dt_generative dt_generative;

typedef struct dt_recipe {
    const char *command; /* "vae" */
    void *self;
    /* One update; `batch` is NULL where the recipe makes its own data. `step` counts from 0. What is not finite is an error that says
     * where it began. */
    bool (*step)(void *self, const dt_batch *batch, uint64_t step, double rate, dt_step_found *found, dt_error *error);
    /* Pictures of where it stands, into the run's folder. */
    bool (*paint)(void *self, dt_generative *run, bool last, dt_error *error);
    /* Figures along the way, each `evaluate_every` steps (0: never). */
    bool (*evaluate)(void *self, dt_generative *run, dt_error *error);
    int64_t evaluate_every;
    /* model.safetensors, figures, and all else that ends a run but the report. */
    bool (*finish)(void *self, dt_generative *run, dt_error *error);
    /* What checkpoints hold. */
    dt_model *model;
    dt_optimizer *optimizer;
    dt_extra *extras;
    size_t extra_count;
    void (*gather)(void *self);                  /* before one is written: makes the extras those of now; NULL: they are */
    void (*restored)(void *self, uint64_t step); /* after a checkpoint was read; NULL: nothing to do */
} dt_recipe;

struct dt_generative {
    dt_run_folder folder; /* with the backend of all that is computed */
    dt_generative_config config;
    json_t *json; /* all in force; owned */
    dt_pairs *pairs;
    const dt_tokenizer *tokenizer; /* where the recipe takes captions: with their length, and what stands in for one (dt_loader_options). Borrowed */
    int context;
    const char *class_caption;
    dt_loader *loader;
    dt_logger *log; /* from dt_generative_run on */
    dt_run_state state;
    bool quiet; /* no progress on the terminal */
    double started, last, waited;
    int64_t last_step;
};

/* A model of the description, with fresh parameters or those of config.weights. NULL on failure. */
dt_model *dt_generative_model(const dt_generative *run, const json_t *description, dt_error *error);

/* The pairs that config.train names; before the recipe is made, which may want to know the classes. */
bool dt_generative_open_data(dt_generative *run, dt_error *error);

/* Runs to the end, or to a signal after which a checkpoint lies there; gives the exit status. */
int dt_generative_run(dt_generative *run, const dt_recipe *recipe, bool restart);

void dt_generative_close(dt_generative *run);

/* Puts found, {"figures": [...], ...} (eval/findings.h), into the run's evaluation.json; takes it over. */
bool dt_generative_found(const dt_generative *run, json_t *found, dt_error *error);

/* One figure: a plain number where a smaller one is better. Refused by name where it is not finite. */
bool dt_generative_figure(const dt_generative *run, const char *name, const char *key, double value, size_t n, const char *note,
                          dt_error *error);

/* One picture that lies in the run's folder. */
bool dt_generative_picture(const dt_generative *run, const char *name, const char *file, const char *group, const char *caption,
                           dt_error *error);

/* A sheet of pictures: FOLDER/NAME.png is the newest; one to `keep` is at FOLDER/pictures/NAME-STEP.png too. evaluation.json names it
 * in its group ("samples", "reconstructions", ...). */
typedef struct dt_titled_sheet {
    const char *name, *group, *caption;
    dt_sheet sheet;
    bool keep;
} dt_titled_sheet;
bool dt_generative_sheet(const dt_generative *run, const dt_titled_sheet *sheet, dt_error *error);

/* count standard normal numbers, a function of the seed: the z that pictures along the way are made from. */
void dt_draw_normals(uint64_t seed, float *numbers, size_t count);

/* On straight lines: ends [ways, 2, latent] -> z [ways, DT_BETWEEN, latent], from each first end to its second in equal steps. */
enum { DT_BETWEEN = 10, DT_WAYS = 8 /* of a sheet */ };
void dt_draw_between(const float *ends, size_t ways, size_t latent, float *z);

/* Images as they come from the model's preprocessing: *count of the data at `path`, evenly spread over it (stores are often sorted by
 * class); fewer where there are fewer. float32 [*count, size, size, 3]; the caller frees. NULL on failure. */
float *dt_some_images(const dt_model *model, const char *path, int *count, dt_error *error);

/* The mean of so many of them, [size, size, 3], read a few at a time. */
float *dt_mean_image(const dt_model *model, const char *path, int count, dt_error *error);

#endif
