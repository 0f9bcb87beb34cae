"""Prompts degraded by a language model: a toy one on this machine, and an endpoint at loopback."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

import pytest
import torch
from tokenizers import Tokenizer
from tokenizers.decoders import ByteLevel as ByteLevelDecoder
from tokenizers.models import BPE
from tokenizers.pre_tokenizers import ByteLevel
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from bench.api import PromptSuite
from bench.api.errors import BenchError, PrerequisiteError, UsageError
from bench.api.prompts import Prompt
from bench.data.pairs import build_pairs
from bench.data.perturbation import PERTURBATIONS
from bench.data.perturbation.endpoint import EndpointChat
from bench.data.perturbation.language_model import TEMPLATES, LanguageModelRule
from bench.data.perturbation.local import LocalChat, draw, uniform
from bench.data.perturbation.options import ModelOptions, read_options
from bench.data.perturbation.rand_removal import rand_removal
from bench.data.perturbation.replies import parse_reply
from bench.data.spec import PairSpec, pair_set_identity, plan_pairs
from bench.generation.checkpoint import CheckpointRef
from bench.store import Store, read_jsonl
from tests.chat_server import ChatServer, serving

TA, AQ = PERTURBATIONS["llm-ta"], PERTURBATIONS["llm-aq"]
assert isinstance(TA, LanguageModelRule)
CHAT_TEMPLATE = (
    "{% for message in messages %}<|user|>{{ message['content'] }}{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)


@pytest.fixture(scope="session")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Llama of toy width with random weights and a tokenizer of bytes, as a folder."""
    folder = tmp_path_factory.mktemp("llama")
    letters = sorted(ByteLevel.alphabet())
    specials = ["<|pad|>", "<|end|>", "<|user|>", "<|assistant|>"]
    vocabulary = {token: number for number, token in enumerate([*specials, *letters])}
    tokenizer = Tokenizer(BPE(vocab=vocabulary, merges=[]))
    tokenizer.pre_tokenizer = ByteLevel(add_prefix_space=False)
    tokenizer.decoder = ByteLevelDecoder()
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="<|pad|>",
        eos_token="<|end|>",
        additional_special_tokens=specials[2:],
        chat_template=CHAT_TEMPLATE,
    )
    fast.save_pretrained(folder)
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(vocabulary),
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        num_key_value_heads=1,
        max_position_embeddings=4096,
        eos_token_id=vocabulary["<|end|>"],
        bos_token_id=None,
        pad_token_id=vocabulary["<|pad|>"],
        initializer_range=0.5,
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    return folder


def options(model: Path, **changes: Any) -> ModelOptions:
    given = {"max_new_tokens": 12, "dtype": "float32", **changes}
    return ModelOptions(model=str(model), **given)


def test_a_local_model_answers_alike_in_any_batch_and_by_its_seed_alone(llama: Path) -> None:
    questions, seeds = ["a red circle", "two blue squares and more", "x"], [11, 12, 13]
    together = LocalChat(options(llama), "cpu").answer(questions, seeds)
    alone = LocalChat(options(llama, batch=1), "cpu")
    assert alone.answer(questions[::-1], seeds[::-1]) == together[::-1]
    assert len(set(together)) == 3 and all(together)
    assert alone.answer(questions[:1], [99]) != together[:1]
    greedy = LocalChat(options(llama, temperature=0.0), "cpu")
    assert greedy.answer(questions, [1, 2, 3]) == greedy.answer(questions, [4, 5, 6])


def test_a_greedy_reply_is_that_of_the_librarys_own_generation(llama: Path) -> None:
    """The question, the special tokens and the place where the reply starts are the right ones."""
    chat = LocalChat(options(llama, temperature=0.0), "cpu")
    model, tokenizer = chat._model, chat._tokenizer
    inputs = tokenizer("<|user|>a red circle<|assistant|>", return_tensors="pt")
    assert inputs["input_ids"][0, 0] == tokenizer.convert_tokens_to_ids("<|user|>")
    output = model.generate(**inputs, do_sample=False, max_new_tokens=12)
    (reply,) = tokenizer.batch_decode(
        output[:, inputs["input_ids"].shape[1] :], skip_special_tokens=True
    )
    assert chat.answer(["a red circle"], [0]) == [reply]


def test_tokens_are_drawn_as_their_chances_say() -> None:
    scores = torch.tensor([[2.0, 0.0, 1.0, -5.0]])
    numbers = [uniform(7, place) for place in range(4000)]
    drawn = draw(scores.expand(4000, 4), numbers, 1.0).flatten().tolist()
    chances = scores.double().softmax(1).flatten()
    counts = Counter(drawn)
    for token, chance in enumerate(chances.tolist()):
        assert abs(counts[token] - 4000 * chance) < 4 * (4000 * chance) ** 0.5 + 1
    cut = Counter(draw(scores.expand(4000, 4), numbers, 0.9).flatten().tolist())
    assert set(cut) == {0, 2}  # .659 + .242 first pass .9
    share = float(chances[0] / (chances[0] + chances[2]))
    assert abs(cut[0] - 4000 * share) < 4 * (4000 * share * (1 - share)) ** 0.5
    assert draw(scores, [0.999999], 1e-9).tolist() == [[0]]  # the likeliest always stays


@pytest.mark.parametrize(
    ("reply", "outcome", "versions"),
    [
        ('Words: x\nFinal output: {"neg_prompts": ["a cat", " a  dog ", "a cat"]}', "ok",
         ("a cat", "a dog")),
        ('{"neg_prompts": ["draft"]} no, better {"neg_prompts": ["last"]}', "ok", ("last",)),
        ('```json\n{"positive_prompts": [], "neg_prompts": ["a \\"sign\\""]}\n```', "ok",
         ('a "sign"',)),
        ('{"neg_prompts": ["A RED  circle", "", 3, null]}', "empty", ()),
        ('{"neg_prompts": []}', "empty", ()),
        ('{"neg_prompts": ["cut off', "unparsable", ()),
        ('{"negative": ["a cat"]}', "unparsable", ()),
        ("I cannot help with that. {}", "unparsable", ()),
        ("", "unparsable", ()),
        ("{" * 3000, "unparsable", ()),
    ],
)  # fmt: skip
def test_replies_are_read(reply: str, outcome: str, versions: tuple[str, ...]) -> None:
    assert parse_reply(reply, "a red circle") == (outcome, versions)


def test_templates_hold_their_own_examples() -> None:
    for file in ("llm-ta.txt", "llm-aq.txt"):
        text = (TEMPLATES / file).read_text()
        assert text.count("{prompt}") == 1
        assert parse_reply(text, "")[0] in ("ok", "empty")


def degraded(body: dict[str, Any]) -> str:
    """What the endpoint's model says."""
    prompt = body["messages"][0]["content"].rsplit("Prompt: ", 1)[1].strip()
    if prompt.startswith("vague"):
        return '{"neg_prompts": []}'
    if prompt.startswith("odd"):
        return "I would rather not."
    return json.dumps({"neg_prompts": [f"not {prompt}", f"no {prompt}"]})


@pytest.fixture
def endpoint() -> Iterator[ChatServer]:
    with serving(degraded) as server:
        yield server


def remote(endpoint: ChatServer, **changes: Any) -> ModelOptions:
    return ModelOptions(backend="endpoint", model="toy", url=endpoint.url, **changes)


TEXTS = [
    "a red circle above a blue square",
    "vague words of praise and more praise",
    "odd words that no model likes at all",
    "two green crosses left of a circle",
]


def suite(texts: list[str] = TEXTS) -> PromptSuite:
    prompts = tuple(Prompt(id=f"p{i}", text=text) for i, text in enumerate(texts))
    return PromptSuite(name="asked", version="1", prompts=prompts)


def test_an_endpoint_is_asked_once_and_failures_are_counted(
    endpoint: ChatServer, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TOY_KEY", "secret")
    given = {"backend": "endpoint", "model": "toy", "url": endpoint.url, "key_env": "TOY_KEY"}
    artifact = TA.replies(store, [*TEXTS, TEXTS[0]], given, seed=0)
    assert artifact.read_json("report.json") == {
        "prompts": 4, "ok": 2, "unparsable": 1, "empty": 1, "unusable_share": 0.5,
        "versions_mean": 1.0,
    }  # fmt: skip
    rows = read_jsonl(artifact.file("replies.jsonl"))
    assert [row["text"] for row in rows] == TEXTS
    assert rows[2]["reply"] == "I would rather not." and rows[2]["outcome"] == "unparsable"
    assert rows[0]["versions"] == [f"not {TEXTS[0]}", f"no {TEXTS[0]}"]
    assert len(endpoint.bodies) == 4
    request = endpoint.bodies[0]
    assert endpoint.paths[0] == "/v1/chat/completions" and request["model"] == "toy"
    assert (request["temperature"], request["top_p"], request["max_tokens"]) == (0.7, 0.9, 256)
    assert len({body["seed"] for body in endpoint.bodies}) == 4
    assert set(endpoint.keys) == {"Bearer secret"}
    assert "secret" not in json.dumps(artifact.manifest)
    # asked before: nothing is sent again, and what is dropped is dropped for good
    pick = TA.prepare(store, TEXTS, given, seed=0)
    assert len(endpoint.bodies) == 4
    assert pick(TEXTS[0], Random(0)) in rows[0]["versions"]
    assert pick(TEXTS[1], Random(0)) is None and pick(TEXTS[2], Random(0)) is None
    fallback = TA.prepare(store, TEXTS, {**given, "fallback": "rand-removal"}, seed=0)
    assert len(endpoint.bodies) == 4  # the fallback changes nothing of the replies
    shorter = fallback(TEXTS[2], Random(0))
    assert shorter is not None and rand_removal(TEXTS[2], Random(1)) is not None
    assert set(shorter.split()) < set(TEXTS[2].split())
    with pytest.raises(UsageError, match="was not asked"):
        pick("something else", Random(0))


@pytest.mark.parametrize("damaged", [False, True])
def test_an_interrupted_survey_goes_on_where_it_was(
    endpoint: ChatServer, store: Store, monkeypatch: pytest.MonkeyPatch, damaged: bool
) -> None:
    monkeypatch.setattr("bench.data.perturbation.language_model.PROMPTS_PER_PART", 2)
    given = {"backend": "endpoint", "model": "toy", "url": endpoint.url, "workers": 1}

    def stop(done: int, total: int) -> None:
        assert total == 4
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        TA.replies(store, TEXTS, given, seed=0, progress=stop)
    assert len(endpoint.bodies) == 2
    if damaged:
        (part,) = store.root.rglob("replies-000000.jsonl")
        part.write_text(part.read_text().replace("a", "e"))
    artifact = TA.replies(store, TEXTS, given, seed=0)
    assert len(endpoint.bodies) == (6 if damaged else 4)
    whole = TA.replies(Store(store.root / "other"), TEXTS, given, seed=0)
    for name in artifact.files:
        assert (artifact.path / name).read_bytes() == (whole.path / name).read_bytes()


def test_an_endpoint_that_stumbles_is_asked_again(endpoint: ChatServer) -> None:
    waits: list[float] = []
    endpoint.faults = [(503, {}), (429, {"Retry-After": "7"}), (500, {})]
    chat = EndpointChat(remote(endpoint, workers=1), wait=waits.append)
    (reply,) = chat.answer(["Prompt: a cat"], [0])
    assert parse_reply(reply, "a cat")[0] == "ok"
    assert waits == [0.5, 7.0, 2.0]


@pytest.mark.parametrize(
    ("status", "times", "error", "says"),
    [
        (401, 1, PrerequisiteError, "export OPENAI_API_KEY"),
        (404, 1, UsageError, "status 404"),
        (500, 3, BenchError, "3 times"),
    ],
)
def test_an_endpoint_that_refuses_is_named(
    endpoint: ChatServer, status: int, times: int, error: type[Exception], says: str
) -> None:
    endpoint.fail(*[status] * 9)
    chat = EndpointChat(remote(endpoint, workers=1, retries=2), wait=lambda _: None)
    with pytest.raises(error, match=says):
        chat.answer(["Prompt: a cat"], [0])
    assert len(endpoint.bodies) == times


def test_an_endpoint_that_is_not_there_or_is_another_thing(endpoint: ChatServer) -> None:
    gone = ModelOptions(backend="endpoint", model="m", url="http://127.0.0.1:9/v1", retries=1)
    with pytest.raises(PrerequisiteError, match="cannot be reached after 2"):
        EndpointChat(gone, wait=lambda _: None).answer(["x"], [0])
    endpoint.say = lambda _: {"hello": 1}
    with pytest.raises(BenchError, match="chat completion"):
        EndpointChat(remote(endpoint)).answer(["Prompt: x"], [0])
    with pytest.raises(UsageError, match="http://"):
        EndpointChat(ModelOptions(backend="endpoint", model="m", url="localhost"))


def test_the_model_enters_the_identity_of_the_pairs(
    ref: CheckpointRef, llama: Path, store: Store, spec: PairSpec
) -> None:
    given = {"model": str(llama)}
    asked = replace(spec, perturbation="llm-ta", perturbation_options=given)
    first = pair_set_identity(store, ref, suite(), asked)
    rule = first["spec"]["perturbation"]
    assert rule["name"] == "llm-ta" and len(rule["template_sha256"]) == 64
    assert len(rule["model_sha256"]) == 64 and rule["model"]["temperature"] == 0.7
    assert str(llama) not in json.dumps(first)  # contents, not places
    for change in (
        {"perturbation": "llm-aq"},
        {"perturbation_options": {**given, "temperature": 0.5}},
        {"perturbation_options": {**given, "fallback": "rand-removal"}},
    ):
        assert pair_set_identity(store, ref, suite(), replace(asked, **change)) != first
    same = replace(asked, perturbation_options={**given, "batch": 2, "workers": 9})
    assert pair_set_identity(store, ref, suite(), same) == first
    # sets without such options are what they were
    assert spec.identity()["perturbation"] == {"name": "rand-removal", "version": 1}
    assert "losers" not in spec.identity()
    with pytest.raises(UsageError, match="is prepared first"):
        plan_pairs(suite(), asked)


def test_pairs_are_made_with_a_models_words(
    endpoint: ChatServer, ref: CheckpointRef, store: Store, spec: PairSpec
) -> None:
    asked = replace(
        spec,
        perturbation="llm-ta",
        perturbation_options={"backend": "endpoint", "model": "toy", "url": endpoint.url},
    )
    artifact = build_pairs(store, ref, suite(), asked, device="cpu")
    rows = read_jsonl(artifact.file("pairs.jsonl"))
    assert [row["prompt"] for row in rows] == [TEXTS[0], TEXTS[3]]
    assert all(row["degraded"].removeprefix("not ").removeprefix("no ") == row["prompt"]
               for row in rows)  # fmt: skip
    assert artifact.read_json("report.json")["prompts_left_out"] == 2
    assert build_pairs(store, ref, suite(), asked, device="cpu").id == artifact.id
    assert len(endpoint.bodies) == 4


def test_a_survey_of_a_local_model_reports_that_it_understood_nothing(
    llama: Path, store: Store
) -> None:
    """Random weights answer with noise: every reply is kept, and counted as unparsable."""
    given = {"model": str(llama), "dtype": "float32", "max_new_tokens": 6, "batch": 3}
    artifact = AQ.replies(store, TEXTS, given, seed=0, device="cpu")  # type: ignore[attr-defined]
    report = artifact.read_json("report.json")
    assert (report["prompts"], report["unparsable"], report["unusable_share"]) == (4, 4, 1.0)
    again = AQ.replies(Store(store.root / "b"), TEXTS, {**given, "batch": 1}, seed=0, device="cpu")  # type: ignore[attr-defined]
    assert again.id == artifact.id
    assert again.file("replies.jsonl").read_bytes() == artifact.file("replies.jsonl").read_bytes()


def test_bad_options_are_named(llama: Path, tmp_path: Path) -> None:
    for data, says in (
        ({}, "name it"),
        ({"model": "m", "temprature": 1}, "temperature"),
        ({"model": "m", "backend": "endpoints"}, "endpoint"),
        ({"model": "m", "backend": "endpoint"}, "needs a url"),
        ({"model": "m", "url": "http://x"}, "do not fit"),
        ({"model": "m", "top_p": 0.0}, "top_p"),
        ({"model": "m", "max_new_tokens": 0}, "max_new_tokens"),
        ({"model": "m", "fallback": "keep"}, "fallback"),
    ):
        with pytest.raises(UsageError, match=says):
            read_options("llm-ta", data)
    with pytest.raises(UsageError, match="unknown key 'model'"):
        PERTURBATIONS["rand-removal"].identity({"model": "m"})
    with pytest.raises(PrerequisiteError, match=r"not in the Hugging Face cache"):
        LocalChat(ModelOptions(model="nobody/nothing"), "cpu")
    with pytest.raises(PrerequisiteError, match=r"config\.json"):
        LocalChat(options(tmp_path), "cpu")
    with pytest.raises(UsageError, match="reads 4096 tokens"):
        LocalChat(options(llama), "cpu").answer(["x" * 5000], [0])
