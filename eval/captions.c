#include "eval/captions.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "eval/map.h"

/* Where the images and their captions lie. */
static json_t *map_captions(const dt_dataset *data, const float *images, const float *texts, size_t dim,
                            const dt_captions *captions, const char *name, dt_error *error)
{
    size_t classes = dt_dataset_class_count(data);
    const char **names = calloc(classes + 1, sizeof *names);
    if (!names) {
        dt_fail(error, "no memory for %zu classes", classes);
        return NULL;
    }
    for (size_t c = 0; c < classes; c++)
        names[c] = dt_dataset_class_name(data, c);
    const dt_towers towers = {.n = dt_dataset_count(data), .m = captions->count, .dim = dim, .images = images, .texts = texts,
                              .labels = dt_dataset_labels(data), .words = captions->texts, .owners = captions->images,
                              .classes = names, .class_count = classes};
    json_t *map = dt_map_json(&towers, name, dt_dataset_path(data), error);
    free(names);
    return map;
}

bool dt_captions_retrieve(const dt_dataset *data, const float *images, dt_model *model,
                          const dt_backend *backend, int batch, size_t each, bool intervals, dt_progress progress,
                          dt_retrieval *found, size_t *count, const char *map_name, json_t **map, dt_error *error)
{
    dt_captions captions;
    if (!dt_dataset_captions(data, each, &captions, error))
        return false;
    size_t m = *count = captions.count, dim = (size_t)model->config.embed_dim, cells;
    if (!m)
        return dt_fail(error, "%s has no captions to find", dt_dataset_path(data));
    float *texts = __builtin_mul_overflow(m, dim, &cells) ? NULL : calloc(cells, sizeof *texts);
    bool good = texts || dt_fail(error, "no memory for the embeddings of %zu captions", m);
    dt_encoder *encoder =
        good ? dt_text_encoder_new(model, backend, m < (size_t)batch ? (int)m : batch, error) : NULL;
    good = encoder && dt_embed_texts(model, encoder, captions.texts, m, texts, progress, error);
    dt_encoder_free(encoder);
    good = good && dt_retrieval_run(images, dt_dataset_count(data), texts, m, dim, captions.images, intervals,
                                    found, NULL, NULL, error);
    if (good && map)
        good = (*map = map_captions(data, images, texts, dim, &captions, map_name, error)) != NULL;
    free(texts);
    dt_captions_free(&captions);
    return good;
}

static void score_way(const char *from, const char *to, const dt_retrieval_way *way, dt_score *scores,
                      size_t *count)
{
    char key[96], name[96];
    for (int i = 0; i < DT_RECALLS; i++) {
        snprintf(key, sizeof key, "%s_to_%s_r%d", from, to, dt_recall_at[i]);
        snprintf(name, sizeof name, "%s to %s R@%d", from, to, dt_recall_at[i]);
        dt_score *score =
            dt_score_add(scores, count, key, name, way->recall[i], way->queries, way->recall_chance[i]);
        score->low = way->recall_bounds[i].low;
        score->high = way->recall_bounds[i].high;
        snprintf(score->note, sizeof score->note, "among %zu", way->gallery);
    }
    const double ranks[] = {way->median_rank, way->mean_rank};
    for (int i = 0; i < 2; i++) {
        snprintf(key, sizeof key, "%s_to_%s_%s_rank", from, to, i ? "mean" : "median");
        snprintf(name, sizeof name, "%s to %s, %s rank", from, to, i ? "mean" : "median");
        dt_score *score = dt_score_add(scores, count, key, name, ranks[i], way->queries, NAN);
        score->rank = true;
        snprintf(score->note, sizeof score->note, "among %zu", way->gallery);
    }
}

void dt_retrieval_scores(const dt_retrieval *found, dt_score *scores, size_t *count)
{
    score_way("image", "text", &found->image_to_text, scores, count);
    score_way("text", "image", &found->text_to_image, scores, count);
}
