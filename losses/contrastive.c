#include "losses/contrastive.h"

dt_tensor *dt_clip_loss(dt_tensor *image, dt_tensor *text, dt_tensor *log_scale)
{
    return dt_infonce(dt_l2_normalize(image, 0), dt_l2_normalize(text, 0), dt_exp(log_scale));
}

dt_tensor *dt_siglip_loss(dt_tensor *image, dt_tensor *text, dt_tensor *log_scale, dt_tensor *bias)
{
    return dt_sigmoid_loss(dt_l2_normalize(image, 0), dt_l2_normalize(text, 0), dt_exp(log_scale), bias);
}
