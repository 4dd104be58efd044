"""Tokenizers as the files of Hugging Face's, in a temporary folder."""
import os

from open_clip.tokenizer import SimpleTokenizer
from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, processors, trainers
from transformers import CLIPTokenizer, PreTrainedTokenizerFast

from inputs import TEXTS

SIGLIP_CONTEXT = 64


def write_tokenizers(folder):
    clip(os.path.join(folder, "clip"))
    siglip(os.path.join(folder, "siglip"))


def clip(folder):
    """CLIP's published vocabulary, which comes with open_clip."""
    simple = SimpleTokenizer()
    ours = {"<start_of_text>": "<|startoftext|>", "<end_of_text>": "<|endoftext|>"}
    vocab = {ours.get(token, token): number for token, number in simple.encoder.items()}
    CLIPTokenizer(vocab=vocab, merges=list(simple.bpe_ranks), model_max_length=simple.context_length).save_pretrained(folder)


def siglip(folder):
    """SigLIP's own vocabulary comes with its weights only. This is a small one of its kind, trained here."""
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Lowercase(),
                                                 normalizers.Replace(Regex("[!-/:-@\\[-`{-~]"), ""),
                                                 normalizers.Replace(Regex("\\s+"), " "), normalizers.Strip()])
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    trainer = trainers.UnigramTrainer(vocab_size=200, special_tokens=["<pad>", "</s>", "<unk>"], unk_token="<unk>", show_progress=False)
    tokenizer.train_from_iterator([text for text in TEXTS if len(text) < 100] * 3, trainer)
    tokenizer.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    tokenizer.enable_padding(length=SIGLIP_CONTEXT, pad_id=1, pad_token="</s>")
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="</s>", pad_token="</s>", unk_token="<unk>",
                            model_max_length=SIGLIP_CONTEXT, model_input_names=["input_ids"]).save_pretrained(folder)
