#include "eval/report/training.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "eval/report/chart.h"
#include "eval/report/html.h"
#include "eval/report/measures.h"

static const dt_known_series known_series[] = {
    {"", "loss", "Loss", DT_UNIT_NUMBER, false, false},
    {"validation", "loss", "Validation loss", DT_UNIT_NUMBER, false, false},
    {"", "accuracy", "Accuracy on the training batches", DT_UNIT_SHARE, false, false},
    {"validation", "accuracy", "Validation accuracy", DT_UNIT_SHARE, false, false},
    {"", "elbo", "ELBO", DT_UNIT_NUMBER, false, false},
    {"validation", "elbo", "Validation ELBO", DT_UNIT_NUMBER, false, false},
    {"", "reconstruction", "Reconstruction", DT_UNIT_NUMBER, false, false},
    {"validation", "reconstruction", "Validation reconstruction", DT_UNIT_NUMBER, false, false},
    {"", "kl", "KL divergence from the prior", DT_UNIT_NUMBER, true, false},
    {"validation", "kl", "Validation KL divergence from the prior", DT_UNIT_NUMBER, true, false},
    {"", "bits_per_dim", "Bits per dimension", DT_UNIT_NUMBER, false, false},
    {"validation", "bits_per_dim", "Validation bits per dimension", DT_UNIT_NUMBER, false, false},
    {"", "active_units", "Active latent units", DT_UNIT_NUMBER, true, false},
    {"", "beta", "Weight of the KL divergence (beta)", DT_UNIT_NUMBER, true, false},
    {"", "perplexity", "Perplexity of the codebook", DT_UNIT_NUMBER, true, false},
    {"", "d_loss", "Discriminator loss", DT_UNIT_NUMBER, false, false},
    {"", "g_loss", "Generator loss", DT_UNIT_NUMBER, false, false},
    {"", "penalty", "Gradient penalty", DT_UNIT_NUMBER, true, true},
    {"", "real_logit", "Discriminator on real images: mean logit", DT_UNIT_NUMBER, false, false},
    {"", "fake_logit", "Discriminator on generated images: mean logit", DT_UNIT_NUMBER, false, false},
    {"", "d_grad_norm", "Discriminator gradient norm", DT_UNIT_NUMBER, true, true},
    {"", "g_grad_norm", "Generator gradient norm", DT_UNIT_NUMBER, true, true},
    {"", "dead_units", "Dead units", DT_UNIT_SHARE, true, false},
    {"", "temperature", "Temperature", DT_UNIT_NUMBER, false, false},
    {"", "logit_scale", "Logit scale", DT_UNIT_NUMBER, false, false},
    {"", "lr", "Learning rate", DT_UNIT_NUMBER, true, false},
    {"", "learning_rate", "Learning rate", DT_UNIT_NUMBER, true, false},
    {"", "grad_norm", "Gradient norm", DT_UNIT_NUMBER, true, true},
    {"", "gradient_norm", "Gradient norm", DT_UNIT_NUMBER, true, true},
    {"", "pairs_per_second", "Pairs per second", DT_UNIT_NUMBER, true, false},
    {"", "images_per_second", "Images per second", DT_UNIT_NUMBER, true, false},
    {"", "waiting", "Time spent waiting for data", DT_UNIT_SHARE, true, false},
};

enum { KNOWN = sizeof known_series / sizeof known_series[0] };

const dt_known_series *dt_training_known(size_t i)
{
    return i < KNOWN ? &known_series[i] : NULL;
}

dt_unit dt_training_unit(const dt_known_series *known, const dt_series *series)
{
    bool shares = known->unit == DT_UNIT_SHARE;
    for (size_t i = 0; i < series->point_count; i++)
        shares = shares && !(series->points[i].most > 1);
    return shares ? DT_UNIT_SHARE : DT_UNIT_NUMBER;
}

static const dt_known_series *find_known(const dt_series *s)
{
    for (int i = 0; i < KNOWN; i++)
        if (!strcmp(known_series[i].key, s->key) && !strcmp(known_series[i].event, s->event))
            return &known_series[i];
    return NULL;
}

bool dt_training_is_known(const dt_series *s)
{
    return find_known(s);
}

/* One value is no curve. */
static bool is_single(const dt_series *s)
{
    return s->finite == 1;
}

/* A known series without a title is called by its key. */
static void write_chart(dt_writer *w, const dt_run_log *log, const dt_series *s, const dt_known_series *known)
{
    char *title = known->title ? NULL : dt_measure_title(s->event, s->key);
    if (!known->title && !title)
        return;
    dt_chart_write(w, &(dt_chart){s, known->title ? known->title : title, dt_training_unit(known, s),
                                  known->from_zero, known->wide_range, log->last_step});
    free(title);
}

static void write_known_charts(dt_writer *w, const dt_run_log *log)
{
    for (int i = 0; i < KNOWN; i++) {
        const dt_series *s = dt_run_log_find(log, known_series[i].event, known_series[i].key);
        if (s && !is_single(s))
            write_chart(w, log, s, &known_series[i]);
    }
}

/* The series that are not known by name, of steps or of events, in the order of the log. */
static void write_other_charts(dt_writer *w, const dt_run_log *log, bool events)
{
    for (size_t i = 0; i < log->series_count; i++) {
        const dt_series *s = log->series[i];
        bool is_event = *s->event;
        if (is_event == events && !find_known(s) && !is_single(s))
            write_chart(w, log, s, &(dt_known_series){.unit = dt_measure_unit(s->key)});
    }
}

static void write_single(dt_writer *w, const dt_series *s)
{
    char room[DT_NUMBER_ROOM], step[DT_NUMBER_ROOM];
    const dt_known_series *known = find_known(s), other = {.unit = dt_measure_unit(s->key)};
    char *title = known ? strdup(known->title) : dt_measure_title(s->event, s->key);
    dt_writer_printf(w, "<tr><th scope=\"row\">");
    dt_html_text_cut(w, title ? title : "", 80);
    dt_writer_printf(w, "</th><td>%s</td><td>%s</td></tr>\n",
                     dt_unit_text(s->last, dt_training_unit(known ? known : &other, s), room),
                     dt_html_count((int64_t)s->greatest_step, step));
    free(title);
}

static void write_singles(dt_writer *w, const dt_run_log *log)
{
    size_t count = 0;
    for (size_t i = 0; i < log->series_count; i++)
        if (is_single(log->series[i]) && !count++)
            dt_writer_printf(w,
                             "<table class=\"figures once\"><thead><tr><th scope=\"col\">Measured once</th>"
                             "<th scope=\"col\">Value</th><th scope=\"col\">Step</th></tr></thead><tbody>\n");
    for (size_t i = 0; i < log->series_count; i++)
        if (is_single(log->series[i]))
            write_single(w, log->series[i]);
    if (count)
        dt_writer_printf(w, "</tbody></table>\n");
}

static void write_log_remarks(dt_writer *w, const dt_run_log *log)
{
    char room[DT_NUMBER_ROOM];
    uint64_t span = 1;
    for (size_t i = 0; i < log->series_count; i++)
        span = log->series[i]->span > span ? log->series[i]->span : span;
    if (span > 1)
        dt_writer_printf(w,
                         "<p class=\"note\">A point stands for up to %s steps: the curve is their mean, the "
                         "band goes from the "
                         "least to the greatest.</p>\n",
                         dt_html_count((int64_t)span, room));
    if (log->refused)
        dt_writer_printf(w,
                         "<p class=\"absent\">%s lines of log.jsonl were passed over: no JSON objects, or "
                         "going back in the "
                         "count of steps.</p>\n",
                         dt_html_count((int64_t)log->refused, room));
    if (log->left_out)
        dt_writer_printf(w,
                         "<p class=\"absent\">log.jsonl has more than %d series; the rest is left out.</p>\n",
                         DT_SERIES_MOST);
}

/* Fine-tuning keeps the weights of the first validation with the greatest accuracy. */
static void write_kept(dt_writer *w, const dt_run_log *log)
{
    const dt_series *s = dt_run_log_find(log, "validation", "accuracy");
    char step[DT_NUMBER_ROOM], accuracy[DT_NUMBER_ROOM], count[DT_NUMBER_ROOM];
    if (!s || !s->finite)
        return;
    dt_writer_printf(w, "<p class=\"kept\">Kept: step %s, validation accuracy %s",
                     dt_html_count((int64_t)s->greatest_step, step),
                     dt_unit_text(s->greatest, s->greatest <= 1 ? DT_UNIT_SHARE : DT_UNIT_NUMBER, accuracy));
    if (s->finite > 1)
        dt_writer_printf(w, ", the best of %s", dt_html_count((int64_t)s->finite, count));
    dt_writer_printf(w, "</p>\n");
}

static void write_charts(dt_writer *w, const dt_run_log *log)
{
    bool any = false;
    for (size_t i = 0; i < log->series_count; i++)
        any |= log->series[i]->finite > 1;
    if (!any)
        return;
    dt_writer_printf(w, "<p class=\"lead\">Over steps. Each panel shows its last value; point into a curve "
                        "for the others.</p>\n<div class=\"charts\">\n");
    write_known_charts(w, log);
    write_other_charts(w, log, false);
    write_other_charts(w, log, true);
    dt_writer_printf(w, "</div>\n");
}

void dt_training_write(dt_writer *writer, const dt_run_log *log)
{
    write_kept(writer, log);
    write_charts(writer, log);
    write_singles(writer, log);
    write_log_remarks(writer, log);
}
