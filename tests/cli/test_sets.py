"""What `--set` says wins over everything in a file, and is refused where nothing reads it."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path
from typing import Any

import pytest

from bench.cli import main
from bench.spec.methods import training_plan
from bench.spec.profile import load_profile
from bench.spec.request import make_request
from bench.training.beta import kappa_from_beta_half_mean, kappa_from_beta_hf


def trainings(sets: list[str], method: str = "ddspo") -> list[Any]:
    return [s.train for s in training_plan(load_profile("tiny", overrides=sets), method, 0).stages]


def test_a_training_setting_for_all_wins_over_the_profiles_own_of_a_method() -> None:
    assert [t.lr for t in trainings([])] == [3e-5]
    assert [t.lr for t in trainings(["training.common.lr=3e-4"])] == [3e-4]
    both = ["training.methods.ddspo.train.lr=7e-4", "training.common.lr=3e-4"]
    assert [t.lr for t in trainings(both)] == [7e-4]  # of two on the command line, the special one


def test_it_wins_over_what_a_stage_and_its_code_depart_in() -> None:
    before = trainings([], "realalign")
    assert [t.prompt_dropout for t in before] == [0.2, 0.0]
    after = trainings(["training.common.prompt_dropout=0.1"], "realalign")
    assert [t.prompt_dropout for t in after] == [0.1, 0.1]
    of_method = trainings(["training.methods.realalign.train.prompt_dropout=0.3"], "realalign")
    assert [t.prompt_dropout for t in of_method] == [0.3, 0.3]
    sets = ["training.methods.realalign.stages.stage2.prompt_dropout=0.4", "training.common.lr=1"]
    assert [(t.prompt_dropout, t.lr) for t in trainings(sets, "realalign")] == [(0.2, 1), (0.4, 1)]


def test_it_wins_over_published_settings() -> None:
    sets = ["training.published=sd-1.4", "training.common.lr=3e-4"]
    assert [t.lr for t in trainings(sets)] == [3e-4]


@pytest.mark.parametrize(
    ("spelling", "kappa"),
    [
        ("kappa=3", 3.0),
        ("beta_hf=6", kappa_from_beta_hf(6.0)),
        ("beta_half_mean=6", kappa_from_beta_half_mean(6.0)),
    ],
)
def test_a_methods_strength_may_be_set_in_any_spelling(spelling: str, kappa: float) -> None:
    profile = load_profile("tiny", overrides=[f"training.methods.ddspo.method.{spelling}"])
    assert training_plan(profile, "ddspo", 0).method.config()["kappa"] == kappa


def test_a_data_set_for_a_method_wins_over_its_stages() -> None:
    sets = ["training.methods.realalign.data=picks"]
    plan = training_plan(load_profile("tiny", overrides=sets), "realalign", 0)
    assert [stage.data for stage in plan.stages] == ["picks", "picks"]


def test_a_back_end_for_a_role_wins_over_the_profiles_own_of_an_evaluator() -> None:
    paper = load_profile("paper", overrides=["backends.detector=tiny-detector"])
    plain = load_profile("paper")
    for name in plain.evaluator_backends:
        own = plain.of_evaluator(name).backends
        assert paper.of_evaluator(name).backends == {**own, "detector": "tiny-detector"}
    special = ["backends.detector=clip", "evaluator_backends.geneval.detector=tiny-detector"]
    found = load_profile("paper", overrides=special)
    assert found.of_evaluator("geneval").backends["detector"] == "tiny-detector"


def test_the_protocol_that_is_set_wins_over_the_tables_own() -> None:
    assert make_request("methods").profile.protocol == "validation"
    assert make_request("methods", overrides=["protocol=test"]).profile.protocol == "test"


def test_sampling_set_for_a_protocol_wins_over_sampling_of_the_profile() -> None:
    sets = ["generation.steps=3", "protocols.test.geneval.generation.cfg_scale=2"]
    request = make_request("1a", columns=["GE"], overrides=sets)
    found = request.profile.protocol_of(request.table, request.columns[0])
    assert found is not None and (found.generation.steps, found.generation.cfg_scale) == (3, 2.0)


@pytest.mark.parametrize(
    ("words", "key", "near"),
    [
        ("plan --table 1a --rows base --set training.common.lr=1", "training.common.lr", ""),
        (
            "plan --table 1a --rows ddspo --cols GE --set training.methods.sft.train.lr=1",
            "training.methods.sft.train.lr",
            "Did you mean 'training.methods.sft",
        ),
        ("plan --table 1a --rows ddspo --cols GE --set training.common.lrr=1", "'lrr'", "'lr'"),
        ("run --table 1a --rows base --cols GE --set backends.vqa=clip", "backends.vqa", ""),
        ("run --table 1a --rows base --cols GE --set backends.detectr=clip", "detectr", "detector"),
        (
            "plan --table 1a --rows base --cols GE "
            "--set protocols.validation.geneval.images_per_prompt=9",
            "protocols.validation.geneval.images_per_prompt",
            "",
        ),
        (
            "plan --table 1a --rows ddspo --cols GE --set data.photos.loser=base",
            "data.photos.loser",
            "",
        ),
        (
            "plan --table 1a --cols GE --rows base --set evaluators.t2i-compbench.profile=clean",
            "evaluators.t2i-compbench.profile",
            "",
        ),
        ("train ddspo --dry-run --set generation.steps=3", "generation.steps", "pairs.generation"),
        ("train ddspo --dry-run --set training.methods.sft.data=picks", "training.methods.sft", ""),
        ("generate --col GE --limit 6 --set training.common.lr=1", "training.common.lr", ""),
        ("plan --table fig2 --rows ddspo-n2 --set tuned.ddspo.lr=1", "tuned.ddspo.lr", ""),
        ("plan --table fig2 --set tuned.ddspoo.lr=1", "'ddspoo'", "'ddspo'"),
        ("curate -n --set saliency.options.small=true", "small", ""),
    ],
)
def test_what_nothing_reads_is_refused_by_its_name(
    words: str, key: str, near: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = tmp_path / "store"
    assert main([*shlex.split(words), "--store", str(store)]) == 2
    said = capsys.readouterr()
    assert key in said.err and near in said.err and said.out == ""
    assert not list(store.glob("[!.]*"))


@pytest.mark.parametrize(
    "words",
    [
        # a value that is the default, or what the file says, is read all the same
        "plan --table 1a --rows ddspo --cols GE --set training.common.weight_decay=0.01",
        "plan --table 1a --rows base --cols GE --set generation.dtype=float32",
        "plan --table 1a --rows base --cols GE --set generation.steps=8",
        "plan --table 1a --rows base --cols GE --set batch_sizes.generation=7 --set device=cpu",
        "plan --table 1a --rows base --cols GE --set backends.detector=tiny-detector",
        "plan --table 1a --rows ddspo --cols GE --set pairs.min_words=6",
        "plan --table 1a --rows ddspo --cols GE --set training.common={lr: 1e-5, steps: 2, "
        "batch: 4, micro_batch: 4}",
        "plan --table fig2 --set finetune.steps=18 --set ring.std=0.1",
        "train ddspo --dry-run --data photos --set data.photos.posterior=sample",
        "curate -n --set negatives.steps=9 --set top_k=null",
    ],
)
def test_what_is_read_is_taken(
    words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = shlex.split(words.replace("common={", "'common={").replace("4}", "4}'"))
    assert main([*arguments, "--store", str(tmp_path / "store")]) == 0, capsys.readouterr().err


def test_the_rate_that_is_set_is_the_rate_that_is_trained_with(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["train", "ddspo", "--dry-run", "--json", "--store", str(tmp_path / "store")]
    assert main([*words, "--set", "training.common.lr=3e-4"]) == 0
    (training,) = json.loads(capsys.readouterr().out)["trainings"]
    assert training["train"]["lr"] == 3e-4


@pytest.mark.parametrize(
    ("setting", "near"),
    [("training.methods.ddpso.train.lr=1", "ddspo"), ("backends.detektor=owlv2", "detector")],
)
def test_a_misspelt_method_or_role_is_refused_where_weights_are_missing(
    setting: str,
    near: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for name in ("HF_HOME", "HF_HUB_CACHE"):
        monkeypatch.setenv(name, str(tmp_path / "hub"))
    where = ["--profile", "paper", "--rows", "ddspo", "--cols", "GE", "--store", str(tmp_path)]
    assert main(["plan", "--table", "1a", *where, "--set", setting]) == 2
    assert f"Did you mean '{near}'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "cure"),
    [
        ("plan --table 1a --set generation.steps=010", "write 10, or '010' in quotes"),
        ("plan --table 1a --set generation.steps=1_0", "write 10, or '1_0' in quotes"),
        ("plan --table 1a --set generation.cfg_scale=1:30", "write a decimal number, or '1:30'"),
        ("plan --table 1a --set generation.steps=0b11", "write a decimal number"),
        ("plan --table 1a --set generation.steps=true", "generation.steps is True"),
        ("plan --table 1a --set generation.cfg_scale=true", "expected a number"),
        ("plan --table 1a --set sampling_seed=false", "sampling_seed is False"),
        ("plan --table 1a --set batch_sizes.generation=true", "expected a whole number"),
        ("train ddspo -n --set training.common.lr=true", "training.lr is True"),
        ("train ddspo -n --set training.methods.ddspo.method.kappa=true", "kappa is True"),
        ("train ddspo -n --set data.photos.seed=true --data photos", "seed is True"),
        ("curate -n --set top_k=010", "write 10, or '010' in quotes"),
    ],
)
def test_a_number_that_can_be_read_in_two_ways_is_refused(
    words: str, cure: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*shlex.split(words), "--store", str(tmp_path)]) == 2
    assert cure in capsys.readouterr().err


def test_a_number_in_a_file_that_can_be_read_in_two_ways_is_refused_with_its_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text("extends: tiny\ngeneration:\n  steps: 010\n")
    words = ["plan", "--table", "1a", "--profile", str(file), "--store", str(tmp_path)]
    assert main(words) == 2
    said = capsys.readouterr().err
    assert str(file) in said and "line 3" in said and "write 10, or '010' in quotes" in said


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("training.common.steps=2.5", "training.steps is 2.5 (a float); expected a whole number"),
        ("training.common.lr=fast", "training.lr is 'fast' (a str); expected a number"),
        ("training.common.adam_betas=[0.9,x]", "adam_betas[1] is 'x' (a str); expected a number"),
        ("training.methods.ddspo.method.kappa=x", "method ddspo.kappa is 'x' (a str)"),
        ("sampling_seed=1.5", "sampling_seed is 1.5 (a float)"),
        ("generation.steps=2.5", "generation.steps is 2.5 (a float); expected a whole number"),
        ("pairs.seed=1.5", "pairs.seed is 1.5 (a float); expected a whole number"),
    ],
)
def test_half_a_step_is_no_number_of_steps(
    given: str, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["plan", "--table", "1a", "--rows", "ddspo", "--cols", "GE", "--set", given]
    assert main([*words, "--store", str(tmp_path)]) == 2
    error = capsys.readouterr().err
    assert said in error and error.count("\n") == 1


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("backends.detector=null", "profile tiny.backends.detector holds nothing; expected text"),
        ("backends=null", "profile tiny.backends holds nothing; expected keys and values"),
        ("backends=[]", "profile tiny.backends holds a list; expected keys and values"),
        ("backends.detector=[x]", "profile tiny.backends.detector holds a list; expected text"),
        ("backends.detector=5", "profile tiny.backends.detector is 5 (a int); expected text"),
        ("batch_sizes=null", "profile tiny.batch_sizes holds nothing"),
        ("generation=null", "profile tiny.generation holds nothing"),
        ("generation=5", "profile tiny.generation is 5 (a int); expected keys and values"),
        ("generation.cfg_scale=.nan", "cfg_scale is nan; expected a number"),
        ("protocol=null", "profile tiny.protocol holds nothing; expected text"),
        ("training.common=null", "training.common holds nothing"),
        ("training.common.steps=null", "training.steps holds nothing; expected a whole number"),
        ("training.methods.ddspo.train=null", "training.methods.ddspo.train holds nothing"),
        ("training.methods.ddspo.method=null", "training.methods.ddspo.method holds nothing"),
        ("training.methods.ddspo.method.kappa=null", "method ddspo.kappa holds nothing"),
    ],
)
def test_nothing_where_something_belongs_is_refused_by_name(
    given: str, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["plan", "--table", "1a", "--rows", "ddspo", "--cols", "GE", "--set", given]
    assert main([*words, "--store", str(tmp_path)]) == 2
    error = capsys.readouterr().err
    assert said in re.sub(r" \(\S+\.yaml:\d+\)", "", error) and error.count("\n") == 1


COLUMN = "key: GE, label: GenEval, evaluator: geneval, metric: overall"
TABLE = f"""source: here
title: "mine"
rows:
  - {{key: base, label: "base", checkpoint: base}}
columns:
  - {{{COLUMN}, per_image: correct, higher_is_better: true, decimals: 4}}
published: {{base: {{GE: {{value: 0.5, source: x}}}}}}
"""


@pytest.mark.parametrize(
    ("right", "wrong", "said"),
    [
        ("evaluator: geneval", "evaluator: null", "column 1 (LINE).evaluator holds nothing"),
        ("metric: overall", "metric: null", "metric holds nothing"),
        ("key: base", "key: null", "row 1.key holds nothing"),
        ('label: "base"', "label: null", "row 1.label holds nothing"),
        ("decimals: 4", "decimals: -1", "decimals is -1; expected 0 to 12"),
        ("value: 0.5", "value: '0,5'", "value is '0,5' (a str)"),
        ("value: 0.5", "value: .nan", "value is nan"),
        ("value: 0.5", "value: .inf", "the published value is inf"),
        ('title: "mine"', 'title: "a\\u202eb"', "the table's title 'a\\u202eb' has the character"),
        ("source: here", 'source: "a\\nb"', "the table's source 'a\\nb' has the character U+000A"),
    ],
)
def test_a_table_file_with_another_kind_of_value_is_refused(
    right: str, wrong: str, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "mine.yaml"
    words = ["plan", "--table", str(file), "--limit", "6", "--store", str(tmp_path)]
    file.write_text(TABLE)
    assert main(words) == 0
    capsys.readouterr()
    file.write_text(TABLE.replace(right, wrong))
    assert main(words) == 2
    error = capsys.readouterr().err
    assert said.replace("LINE", f"{file}:6") in error and error.count("\n") == 1
