"""Pre-train a miniature by its architecture's own objective, and save it as a checkpoint."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from numpy.typing import NDArray
from safetensors import SafetensorError
from torch.nn.functional import cross_entropy

from xlt.data.core.errors import InputError
from xlt.data.core.files import new_folder
from xlt.data.core.seeds import derive_seed
from xlt.data.core.user_cache import writing_to_cache
from xlt.data.corpora.corpus import MIXED, Corpus
from xlt.trainables.loading.allocator import keep_freed_memory
from xlt.trainables.loading.batching import collate, draw_batches
from xlt.trainables.models.miniatures import MAX_POSITIONS, Miniature, find_miniature
from xlt.trainables.models.verified_files import write_sums
from xlt.trainables.pretraining.vocabulary import train_tokenizer
from xlt.trainables.spec.training import Optimizer
from xlt.trainables.training.loop import Report, fit, training_steps
from xlt.trainables.training.micro_batches import MicroBatches

CPU = torch.device("cpu")
Loss = Callable[[list[int]], torch.Tensor]
"""Function of row numbers that returns the mean loss of the documents, with a graph."""


def pretrain(name: str, corpus: Corpus, folder: Path, report: Report) -> None:
    """Pre-train a miniature into a folder; on one machine equal arguments give equal bytes.

    Args:
        name: Name in MINIATURES.
        corpus: Documents to train on.
        folder: Folder of model and tokenizer. It is written completely or not at all, and an
            existing folder is kept.
        report: Function that receives (step, num_steps, loss).

    Raises:
        InputError: The corpus has no documents in the miniature's languages, or the folder cannot
            be written.
    """
    recipe = find_miniature(name)
    keep_freed_memory()
    torch.set_num_threads(1)  # more threads change sums and, at this size, save no time
    docs, has_japanese = _select_documents(recipe, corpus)
    vocab_size = round(recipe.vocab_factor * corpus.options.vocab_size)
    tokenizer = train_tokenizer(recipe.architecture, docs, vocab_size)
    token_ids = list(_encode_documents(tokenizer, docs, recipe.max_tokens))

    torch.manual_seed(derive_seed(recipe.seed, "weights"))
    model = _build_model(recipe, tokenizer)
    num_steps = round(recipe.num_steps * corpus.options.step_factor)
    if num_steps:
        rng = np.random.default_rng(derive_seed(recipe.seed, "order"))
        rows = _draw_rows(recipe, has_japanese, num_steps * recipe.batch_size, rng)
        lengths = [len(token_ids[row]) for row in rows]
        batches = draw_batches(lengths, recipe.batch_size, rng)
        torch.manual_seed(derive_seed(recipe.seed, "dropout"))
        steps = training_steps(
            model,
            ([int(rows[i]) for i in batch] for batch in batches),
            num_steps=num_steps,
            num_epoch_steps=num_steps,
            learning_rate=recipe.learning_rate,
            settings=Optimizer(warmup_ratio=recipe.warmup_ratio, weight_decay=recipe.weight_decay),
            report=report,
        )
        fit(steps, MicroBatches(model, _make_loss(recipe, model, tokenizer, token_ids)))
    _save(model, tokenizer, folder)


def _select_documents(recipe: Miniature, corpus: Corpus) -> tuple[list[str], NDArray[np.bool_]]:
    """Select the documents in the recipe's languages, with whether each contains Japanese."""
    languages = set(recipe.languages) | ({MIXED} if len(recipe.languages) > 1 else set())
    texts, langs = (corpus.table[column].to_pylist() for column in ("text", "lang"))
    kept = [(text, lang) for text, lang in zip(texts, langs, strict=True) if lang in languages]
    if not kept:
        raise InputError(
            f"corpus {corpus.options.corpus!r} has no documents in {', '.join(recipe.languages)} "
            f"for {recipe.name}; its languages: {', '.join(sorted(set(langs)))}"
        )
    return [text for text, _ in kept], np.array([lang != "en" for _, lang in kept])


def _encode_documents(tokenizer: Any, docs: list[str], max_tokens: int) -> Iterator[list[int]]:
    """Encode each document: a start token, then its lines, each with an end token."""
    start, end = tokenizer("")["input_ids"]
    lines = [doc.split("\n") for doc in docs]
    flat = iter(
        tokenizer([line for doc in lines for line in doc], add_special_tokens=False)["input_ids"]
    )
    for doc in lines:
        ids = [start]
        for _ in doc:
            ids += [*next(flat), end]
        yield ids[:max_tokens]


def _draw_rows(
    recipe: Miniature, has_japanese: NDArray[np.bool_], num_rows: int, rng: np.random.Generator
) -> NDArray[np.int64]:
    """Draw document numbers in random order, ``japanese_share`` of them with Japanese.

    Both pools are read in a random order, and again from the start when they are exhausted.
    """
    num_japanese = round(recipe.japanese_share * num_rows)
    japanese = rng.permutation(np.flatnonzero(has_japanese))
    drawn = []
    for pool, num in (
        (japanese[: recipe.num_japanese], num_japanese),
        (np.flatnonzero(~has_japanese), num_rows - num_japanese),
    ):
        if num:
            drawn.append(np.resize(rng.permutation(pool), num))
    return rng.permutation(np.concatenate(drawn))


def _build_model(recipe: Miniature, tokenizer: Any) -> Any:
    """Build the model with random weights."""
    size: dict[str, Any] = {
        "vocab_size": len(tokenizer),
        "hidden_size": recipe.hidden_size,
        "intermediate_size": recipe.intermediate_size,
        "num_hidden_layers": recipe.num_layers,
        "num_attention_heads": recipe.num_heads,
        "initializer_range": recipe.initializer_range,
        "max_position_embeddings": MAX_POSITIONS,
    }
    if recipe.architecture == "bert":
        config = transformers.BertConfig(
            **size,
            pad_token_id=tokenizer.pad_token_id,
            hidden_dropout_prob=recipe.dropout,
            attention_probs_dropout_prob=recipe.dropout,
        )
        model = transformers.BertForPreTraining(config)
        _set_sinusoids(model.bert.embeddings.position_embeddings.weight, recipe.initializer_range)
        return model
    ends = {"bos_token_id": tokenizer.bos_token_id, "eos_token_id": tokenizer.eos_token_id}
    if recipe.architecture == "llama":
        return transformers.LlamaForCausalLM(transformers.LlamaConfig(**size, **ends))
    return transformers.GPTNeoXForCausalLM(transformers.GPTNeoXConfig(**size, **ends))


def _set_sinusoids(positions: torch.Tensor, scale: float) -> None:
    """Initialise BERT's learnt positions by sines and cosines (Vaswani et al. 2017, section 3.5).

    The embedding of a neighbour is then a rotation, which attention learns in a few hundred steps.
    With independent random vectors it would have to learn each pair of positions separately.

    Args:
        positions: num_positions x hidden_size embeddings, which are overwritten.
        scale: Root mean square of the values.
    """
    num, width = positions.shape
    rates = 10000.0 ** (-torch.arange(0, width, 2) / width)
    angles = torch.arange(num)[:, None] * rates
    with torch.no_grad():
        positions[:, 0::2] = angles.sin() * scale * 2**0.5
        positions[:, 1::2] = angles.cos() * scale * 2**0.5


def _make_loss(recipe: Miniature, model: Any, tokenizer: Any, token_ids: list[list[int]]) -> Loss:
    """Make the loss of the architecture's pre-training objective."""
    if recipe.architecture != "bert":
        return _make_next_token_loss(model, token_ids)
    rng = np.random.default_rng(derive_seed(recipe.seed, "masks"))
    return _make_masked_token_loss(recipe, model, tokenizer, token_ids, rng)


def _make_next_token_loss(model: Any, token_ids: list[list[int]]) -> Loss:
    """Make the cross-entropy of each token given the tokens before it."""

    def loss_of(rows: list[int]) -> torch.Tensor:
        batch = collate([token_ids[row] for row in rows], 0, CPU)
        # No mask is needed: padding is on the right, and attention looks to the left.
        hidden = model.base_model(batch["input_ids"]).last_hidden_state[:, :-1]
        real = batch["attention_mask"][:, 1:].bool()
        logits = model.get_output_embeddings()(hidden[real])
        return cross_entropy(logits, batch["input_ids"][:, 1:][real])

    return loss_of


def _make_masked_token_loss(
    recipe: Miniature, model: Any, tokenizer: Any, token_ids: list[list[int]],
    rng: np.random.Generator,
) -> Loss:  # fmt: skip
    """Make the cross-entropy of masked tokens given all others (Devlin et al. 2019, section 3.1).

    80 % of the chosen tokens become ``[MASK]``, 10 % become a random token, and 10 % stay.
    """
    num_special = len(tokenizer.all_special_ids)

    def loss_of(rows: list[int]) -> torch.Tensor:
        batch = collate([token_ids[row] for row in rows], tokenizer.pad_token_id, CPU)
        ids = batch["input_ids"].numpy()
        chosen = (rng.random(ids.shape) < recipe.mask_share) & (ids >= num_special)
        chosen[0, 1] = True  # at least one token is chosen
        action = rng.random(ids.shape)
        random_ids = rng.integers(num_special, len(tokenizer), ids.shape)
        shown = np.where(chosen & (action < 0.8), tokenizer.mask_token_id, ids)
        shown = np.where(chosen & (action >= 0.9), random_ids, shown)
        hidden = model.bert(
            torch.from_numpy(shown), attention_mask=batch["attention_mask"]
        ).last_hidden_state
        where = torch.from_numpy(chosen)
        return cross_entropy(model.cls.predictions(hidden[where]), batch["input_ids"][where])

    return loss_of


def _save(model: Any, tokenizer: Any, folder: Path) -> None:
    """Write the checkpoint folder; it is complete as soon as it exists."""
    with writing_to_cache(), new_folder(folder) as partial:
        try:
            model.save_pretrained(partial)
        except SafetensorError as error:  # a full disk
            raise OSError(str(error)) from error
        tokenizer.save_pretrained(partial)
        write_sums(partial)
