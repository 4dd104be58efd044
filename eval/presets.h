/* The model descriptions of experiments/presets, put into the program by the build, so that it needs no file beside it. */
#ifndef DUET_EVAL_PRESETS_H
#define DUET_EVAL_PRESETS_H

typedef struct dt_preset {
    const char *name; /* of the file, without .json; NULL ends the table */
    const char *text; /* JSON */
} dt_preset;

extern const dt_preset dt_presets[];

#endif
