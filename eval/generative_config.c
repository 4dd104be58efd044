/* Reading vision_cfg of the networks that also generate: VAEs and GANs. */
#include "eval/config_fields.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { WIDTH_MOST = 65536, SIZE_MOST = 1024 };

bool dt_config_ints(const json_t *array, const char *file, const char *path, const char *key, int most, int *values, int room,
                    int *count, dt_error *error)
{
    *count = (int)json_array_size(array);
    if (*count < 1 || *count > room)
        return dt_fail(error, "%s: %s.%s: expected a list of 1 to %d numbers", file, path, key, room);
    for (int i = 0; i < *count; i++) {
        const json_t *item = json_array_get(array, (size_t)i);
        json_int_t value = json_integer_value(item);
        if (!json_is_integer(item) || value < 1 || value > most)
            return dt_fail(error, "%s: %s.%s[%d]: expected a whole number from 1 to %d", file, path, key, i, most);
        values[i] = (int)value;
    }
    return true;
}

/* "learned", or the standard deviation of a Gaussian, or the scale of a logistic. A learned one starts small: at 1 the likelihood of
 * pixels in [0, 1] is so flat that the code is given up before the scale has come down. */
static bool read_scale(const json_t *scale, const char *file, const char *path, dt_vae_config *v, dt_error *error)
{
    const char *text = json_string_value(scale);
    char *end = NULL;
    v->learned_scale = text && !strcmp(text, "learned");
    double value = json_number_value(scale);
    if (v->learned_scale)
        value = v->likelihood == DT_LIKELIHOOD_GAUSSIAN ? 0.1 : 0.05;
    else if (text) /* an override from the command line takes the place of a text */
        value = strtod(text, &end);
    if ((!end || !*end) && value >= 1e-6 && value <= 1e6) {
        v->fixed_log_scale = (float)log(value);
        return true;
    }
    return dt_fail(error, "%s: %s.scale: expected \"learned\" or a number from 1e-6 to 1e6", file, path);
}

bool dt_vae_fields(const json_t *json, const char *file, const char *path, dt_vae_config *v, dt_error *error)
{
    static const char networks[] = "mlp|conv", likelihoods[] = "bernoulli|gaussian|logistic";
    const char *network = NULL, *activation = NULL, *likelihood = NULL;
    const json_t *widths = NULL, *scale = NULL;
    char message[512];
    *v = (dt_vae_config){.channels = 3, .code_decay = 0.99f, .commitment = 0.25f};
    const dt_json_field fields[] = {
        {"tower", DT_JSON_STRING, NULL, .required = true},
        {"image_size", DT_JSON_INT, &v->image_size, .required = true, .least = 1, .most = SIZE_MOST},
        {"channels", DT_JSON_INT, &v->channels, .least = 1, .most = 3},
        {"network", DT_JSON_STRING, &network, .required = true, .choices = networks},
        {"widths", DT_JSON_ARRAY, &widths, .required = true},
        {"activation", DT_JSON_STRING, &activation, .choices = "tanh|relu"},
        {"latent", DT_JSON_INT, &v->latent, .required = true, .least = 1, .most = WIDTH_MOST},
        {"likelihood", DT_JSON_STRING, &likelihood, .required = true, .choices = likelihoods},
        {"scale", DT_JSON_ANY, &scale, .required = false},
        {"codes", DT_JSON_INT, &v->codes, .least = 0, .most = 1 << 20},
        {"code_decay", DT_JSON_FLOAT, &v->code_decay, .least = 0, .most = 0.999999},
        {"commitment", DT_JSON_FLOAT, &v->commitment, .least = 0, .most = 1000},
    };
    if (!dt_json_read(json, file, path, fields, sizeof fields / sizeof *fields, error) ||
        !dt_config_ints(widths, file, path, "widths", WIDTH_MOST, v->widths, DT_VAE_LAYERS, &v->layers, error))
        return false;
    v->network = (dt_vae_network)dt_choice_index(networks, network);
    v->tanh = activation ? !strcmp(activation, "tanh") : v->network == DT_VAE_MLP;
    v->likelihood = (dt_likelihood)dt_choice_index(likelihoods, likelihood);
    bool scaled = v->likelihood != DT_LIKELIHOOD_BERNOULLI;
    if (scaled && !scale)
        return dt_fail(error, "%s: %s.scale is missing: \"learned\", or a number", file, path);
    if (!scaled && scale)
        return dt_fail(error, "%s: %s.scale: a Bernoulli likelihood has no scale", file, path);
    if (scaled && !read_scale(scale, file, path, v, error))
        return false;
    return dt_vae_check(v, message, sizeof message) || dt_fail(error, "%s: %s: %s", file, path, message);
}

/* "condition": {"kind": "class", "classes": N} or {"kind": "vector", "width": N}; absent: none. */
static bool read_condition(const json_t *json, const char *file, const char *path, dt_gan_config *g, dt_error *error)
{
    char place[512];
    const char *kind = NULL;
    const dt_json_field fields[] = {
        {"kind", DT_JSON_STRING, &kind, .required = true, .choices = "class|vector"},
        {"classes", DT_JSON_INT, &g->classes, .least = 1, .most = 1 << 24},
        {"width", DT_JSON_INT, &g->condition_width, .least = 1, .most = WIDTH_MOST},
    };
    if (!json)
        return true;
    dt_config_place(place, sizeof place, path, "condition");
    if (!dt_json_read(json, file, place, fields, sizeof fields / sizeof *fields, error))
        return false;
    g->condition = strcmp(kind, "class") ? DT_CONDITION_VECTOR : DT_CONDITION_CLASS;
    bool class = g->condition == DT_CONDITION_CLASS;
    if (class ? g->classes && !g->condition_width : g->condition_width && !g->classes)
        return true;
    return dt_fail(error, "%s: %s: a condition of kind %s has %s, and nothing else", file, place, kind,
                   class ? "\"classes\"" : "\"width\"");
}

bool dt_gan_fields(const json_t *json, const char *file, const char *path, dt_gan_config *g, dt_error *error)
{
    static const char networks[] = "mlp|dcgan|residual", norms[] = "none|batch|spectral";
    const char *network = NULL, *norm = "none";
    const json_t *condition = NULL;
    char message[512];
    *g = (dt_gan_config){.channels = 3};
    const dt_json_field fields[] = {
        {"tower", DT_JSON_STRING, NULL, .required = true},
        {"network", DT_JSON_STRING, &network, .required = true, .choices = networks},
        {"image_size", DT_JSON_INT, &g->image_size, .least = 0, .most = SIZE_MOST},
        {"channels", DT_JSON_INT, &g->channels, .least = 1, .most = WIDTH_MOST},
        {"latent", DT_JSON_INT, &g->latent, .required = true, .least = 1, .most = WIDTH_MOST},
        {"width", DT_JSON_INT, &g->width, .required = true, .least = 1, .most = WIDTH_MOST},
        {"layers", DT_JSON_INT, &g->layers, .least = 1, .most = 64},
        {"discriminator_norm", DT_JSON_STRING, &norm, .choices = norms},
        {"condition", DT_JSON_OBJECT, &condition, .required = false},
    };
    if (!dt_json_read(json, file, path, fields, sizeof fields / sizeof *fields, error) ||
        !read_condition(condition, file, path, g, error))
        return false;
    g->network = (dt_gan_network)dt_choice_index(networks, network);
    g->discriminator_norm = (dt_gan_norm)dt_choice_index(norms, norm);
    bool mlp = g->network == DT_GAN_MLP;
    if (mlp ? g->image_size : g->layers)
        return dt_fail(error, "%s: %s.%s: the network \"%s\" has no such thing", file, path, mlp ? "image_size" : "layers", network);
    g->layers = mlp && !g->layers ? 3 : g->layers;
    return dt_gan_check(g, message, sizeof message) || dt_fail(error, "%s: %s: %s", file, path, message);
}
