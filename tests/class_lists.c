/* Class names, prompts and templates: from files and from commas, matched with a data set, and refused. */
#include "eval/named_lists.h"
#include "eval/texts.h"
#include "tests/small_set.h"

/* Templates: the mean over them, and the default one. */
static void templates(void)
{
    static const char *const two[] = {"a photo of a {}.", "{} {}!"};
    dt_dataset *data = dt_dataset_open(in("full.lmdb"), &error);
    dt_classes *classes = dt_classes_of(data, &error);
    float weights[CLASSES * DIM], each[2 * DIM], mean[CLASSES * DIM];
    dt_encoder *encoder = dt_text_encoder_new(model, dt_cpu(), 2, &error);
    ok(dt_classes_embed(classes, two, 2, model, encoder, weights, (dt_progress){0}, &error), "two templates");
    for (int c = 0; c < CLASSES; c++) {
        char first[64], second[64];
        snprintf(first, sizeof first, "a photo of a %s.", class_names[c]);
        snprintf(second, sizeof second, "%s %s!", class_names[c], class_names[c]);
        const char *prompts[] = {first, second};
        dt_encode_texts(model, encoder, prompts, 2, each, &error);
        double square = 0;
        for (int d = 0; d < DIM; d++)
            square += (each[d] + each[DIM + d]) * (each[d] + each[DIM + d]);
        for (int d = 0; d < DIM; d++)
            mean[c * DIM + d] = (each[d] + each[DIM + d]) / (float)sqrt(square);
    }
    near("the mean of two templates", weights, mean, CLASSES * DIM, 1e-5);
    dt_encoder_free(encoder);
    dt_classes_free(classes);
    char *text = dt_template_fill("{}{} and {", "x");
    ok(text && !strcmp(text, "xx and {"), "a template filled");
    free(text);
    ok(dt_template_check("a {}", &error), "a template");
    failed_with(dt_template_check("a photo", &error), "template 'a photo' has no {}", "a template without a place");
    const char *bad[] = {"a photo"};
    dt_zeroshot_options options = {.data = data, .templates = bad, .template_count = 1};
    dt_zeroshot_result r;
    failed_with(dt_zeroshot_run(model, &options, &r, &error), "has no {}", "a run with that template");
    options.templates = two;
    options.classes = dt_classes_load(in("attributes.json"), &error);
    failed_with(dt_zeroshot_run(model, &options, &r, &error), "whole prompts", "a template for whole prompts");
    dt_classes_free((dt_classes *)options.classes);
    dt_dataset_close(data);
}

static void class_files(void)
{
    dt_classes *classes = dt_classes_load("cow, bee fly ,ant", &error);
    dt_dataset *data = dt_dataset_open(in("full.lmdb"), &error);
    int32_t of[CLASSES];
    ok(classes && classes->count == 3 && !strcmp(classes->names[1], "bee fly") && dt_classes_match(classes, data, of, &error) &&
           of[0] == 2 && of[1] == 1 && of[2] == 0,
       "names with commas, matched by name");
    dt_classes_free(classes);
    classes = dt_classes_load(in("names.txt"), &error);
    ok(classes && classes->count == 3 && dt_classes_match(classes, data, of, &error) && of[0] == 0 && of[2] == 2,
       "other names, matched by position");
    dt_classes_free(classes);
    classes = dt_classes_load("cow,ant,bees", &error);
    failed_with(dt_classes_match(classes, data, of, &error), "'bee fly' is missing", "names in another order, one amiss");
    dt_classes_free(classes);
    classes = dt_classes_load("cow,ant", &error);
    failed_with(dt_classes_match(classes, data, of, &error), "2 classes", "too few classes");
    dt_classes_free(classes);
    dt_dataset_close(data);
    dt_texts texts;
    failed_with(dt_texts_split(&texts, "a\n\nb", "\n", false, "list", &error), "list:2", "a blank line where none may be");
    dt_texts_free(&texts);
    ok(dt_texts_split(&texts, "a b\r\n\n c", "\n", true, "list", &error) && texts.count == 2 &&
           !strcmp(texts.items[0], "a b") && !strcmp(texts.items[1], "c"),
       "lines");
    dt_texts_free(&texts);
}

static void bad_class_files(void)
{
    static const struct {
        const char *text, *message;
    } bad[] = {
        {"{\"classes\": []}", "no class"},
        {"{\"names\": 3}", "expected a list"},
        {"{\"a\": [], \"b\": []}", "found several: a, b; write"},
        {"{\"classes\": [3]}", "classes[0]: expected an object"},
        {"{\"classes\": [{\"prompt\": 3}]}", "classes[0].prompt: expected a string"},
        {"{\"classes\": [{\"attributes\": {}}]}", "classes[0]: expected a name or a prompt"},
        {"{\"classes\": [{\"promt\": \"x\"}]}", "did you mean"},
        {"{\"classes\": [\"x\", {\"prompt\": \"y\"}]}", "classes[1]: expected no prompt"},
        {"{\"classes\": [{\"name\": \"x\", \"attributes\": {\"a\": 1}}]}", "attributes.a: expected a string or null"},
        {"{\"classes\": [\" \"]}", "classes[0]"},
        {"[\"x\"", "bad.json:1"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        put_text("bad.json", bad[i].text);
        failed_with(dt_classes_load(in("bad.json"), &error), bad[i].message, bad[i].text);
    }
    failed_with(dt_classes_load("cat,dog,cat", &error), "'cat' stands there twice", "a name twice");
    failed_with(dt_classes_load(in("none.json"), &error), "No such file", "no such file of classes");
    failed_with(dt_classes_load("cat", &error), "no file 'cat'", "one word is taken for a file");
    put_text("bad.txt", "cat\n\n\xff\n");
    failed_with(dt_classes_load(in("bad.txt"), &error), "bad.txt:3", "a name that is not UTF-8");
}

static void one_of_several_lists(void)
{
    put_text("many.json", "{\"pets\": [\"cat\", \"dog\", \"cow\"], \"cars\": [\"van\"]}");
    char named[512];
    snprintf(named, sizeof named, "%s#pets", in("many.json"));
    dt_classes *pets = dt_classes_load(named, &error);
    ok(pets && pets->count == 3 && !strcmp(pets->names[2], "cow"), "one of several lists");
    dt_classes_free(pets);
    snprintf(named, sizeof named, "%s#boats", in("many.json"));
    failed_with(dt_classes_load(named, &error), "has no list 'boats'; there are pets, cars", "a list that is not there");
    dt_texts templates;
    put_text("templates.json", "{\"pets\": [\"a photo of a {c}.\", \"{c}, {c}\"], \"cars\": []}");
    snprintf(named, sizeof named, "%s#pets", in("templates.json"));
    ok(dt_templates_load(&templates, named, &error) && templates.count == 2 && !strcmp(templates.items[1], "{}, {}"),
       "templates with {c}");
    dt_texts_free(&templates);
    snprintf(named, sizeof named, "%s#cars", in("templates.json"));
    failed_with(dt_templates_load(&templates, named, &error), "there is no template in it", "no templates");
    dt_texts_free(&templates);
}

int main(void)
{
    put_attributes();
    put_text("names.txt", "emmet\n bee-fly \r\n\nox\n");
    if (ok(make_small_set(), "a model and a store")) {
        templates();
        class_files();
        bad_class_files();
        one_of_several_lists();
    } else {
        printf("# %s\n", error.message);
    }
    dt_model_free(model);
    return done();
}
