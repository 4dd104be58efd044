/* The 2-D map of both towers' embeddings as a figure. */
#ifndef DUET_EVAL_REPORT_PLOT_MAP_H
#define DUET_EVAL_REPORT_PLOT_MAP_H

#include "eval/findings.h"
#include "eval/report/pictures.h"

enum {
    DT_MAP_COLOURS = 10,     /* more classes than that are not told apart by colour */
    DT_MAP_THUMBNAILS = 200, /* images of a map that show their picture under the pointer, evenly chosen */
    DT_MAP_THUMBNAIL = 64,   /* pixels */
};

/* Images are dots, texts are framed squares. */
void dt_map_write(dt_writer *writer, const dt_embedding_map *map, dt_pictures *pictures);

#endif
