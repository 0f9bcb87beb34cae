"""A CLIP tokenizer whose byte-pair merges were learnt from the world's own words."""

from __future__ import annotations

import json

from tokenizers import Regex, Tokenizer, models, pre_tokenizers, trainers
from transformers import CLIPTokenizer

from bench.tiny.grammar import vocabulary
from bench.tiny.world import LETTERS

MAX_TOKENS = 24
START, END = "<|startoftext|>", "<|endoftext|>"


def build_tokenizer() -> CLIPTokenizer:
    """Return the tokenizer: every word of the grammar is one token, sign letters one each."""
    words = vocabulary()
    trainer_model = Tokenizer(models.BPE(end_of_word_suffix="</w>"))
    trainer_model.pre_tokenizer = pre_tokenizers.Split(Regex(r"\s+|-"), behavior="removed")
    trainer = trainers.BpeTrainer(
        vocab_size=2000, min_frequency=1, end_of_word_suffix="</w>", show_progress=False
    )
    trainer_model.train_from_iterator([" ".join(words)] * 4, trainer)
    learnt = json.loads(trainer_model.to_str())["model"]
    merges = [(left, right) for left, right in learnt["merges"]]
    letters = sorted(set("".join(words)) | set(LETTERS.lower()) | set('"-'))
    symbols = [*letters, *(x + "</w>" for x in letters), *("".join(m) for m in merges)]
    vocab = {symbol: i for i, symbol in enumerate(dict.fromkeys(symbols))}
    vocab[START] = len(vocab)
    vocab[END] = len(vocab)
    return CLIPTokenizer(
        vocab=vocab, merges=merges, unk_token=END, bos_token=START, eos_token=END, pad_token=END,
        model_max_length=MAX_TOKENS,
    )  # fmt: skip
