/* The subcommands of `duet`. Each is written in experiments/cmd_NAME.c, reads its own options
 * (dt_options_parse, as "duet NAME"; argv[0] is NAME), tells on stderr what went wrong, and returns the exit
 * status: 0 good, 1 failure, 2 wrong usage.
 *
 * To add one: write experiments/cmd_NAME.c, declare its function here, add its row to the table in
 * experiments/duet.c. */
#ifndef DUET_EXPERIMENTS_COMMANDS_H
#define DUET_EXPERIMENTS_COMMANDS_H

int dt_cmd_pack(int argc, char **argv);
int dt_cmd_tokenizer(int argc, char **argv);
int dt_cmd_pretrain(int argc, char **argv);
int dt_cmd_finetune(int argc, char **argv);
int dt_cmd_vae(int argc, char **argv);
int dt_cmd_gan(int argc, char **argv);
int dt_cmd_probe(int argc, char **argv);
int dt_cmd_zeroshot(int argc, char **argv);
int dt_cmd_classify(int argc, char **argv);
int dt_cmd_retrieve(int argc, char **argv);
int dt_cmd_embed(int argc, char **argv);
int dt_cmd_evaluate(int argc, char **argv);
int dt_cmd_distance(int argc, char **argv);
int dt_cmd_convert(int argc, char **argv);
int dt_cmd_export(int argc, char **argv);
int dt_cmd_bench(int argc, char **argv);
int dt_cmd_devices(int argc, char **argv);
int dt_cmd_report(int argc, char **argv);

#endif
