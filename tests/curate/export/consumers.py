"""Run by the tests, in a process of its own: the real consumers read exports.

    python consumers.py JOB.json

The job names folders by what they hold. Prints one JSON object: for each check what it raised, or
null. No check asks anything of a network.
"""

import json
import os
import subprocess
import sys
import traceback
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import mlcroissant
import pyarrow.parquet as pq
import swebench
import trl
import yaml
from openai.types.chat import (
    ChatCompletionAssistantMessageParam,
    ChatCompletionMessageParam,
)
from pydantic import TypeAdapter
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast
from trl.data_utils import (
    _tokenize,
    apply_chat_template,
    common_prefix_length,
    is_conversational,
    is_conversational_from_value,
    maybe_convert_to_chatml,
    maybe_unpair_preference_dataset,
)
from typing_extensions import TypedDict

import datasets
from datasets import load_dataset

# Its package imports every way of running containers; the loader and the grader need none.
_harness = types.ModuleType("swebench.harness")
_harness.__path__ = [str(Path(swebench.__file__).parent / "harness")]
sys.modules["swebench.harness"] = _harness
from swebench.harness.grading import get_eval_report  # noqa: E402  after its package
from swebench.harness.utils import load_swebench_dataset, make_test_spec  # noqa: E402  the same

JOB: dict[str, Any] = json.loads(Path(sys.argv[1]).read_text())
NAMES = {"system": "system", "user": "human", "assistant": "gpt"}
CACHE = str(Path(sys.argv[1]).parent / "cache")


class _Input(TypedDict):
    messages: list[ChatCompletionMessageParam]


class _Preference(TypedDict):
    __pydantic_config__ = {"extra": "forbid"}  # noqa: RUF012  pydantic reads it so
    input: _Input
    preferred_output: list[ChatCompletionAssistantMessageParam]
    non_preferred_output: list[ChatCompletionAssistantMessageParam]


class _Chat(TypedDict):
    __pydantic_config__ = {"extra": "forbid"}  # noqa: RUF012  pydantic reads it so
    messages: list[ChatCompletionMessageParam]


def rows(name: str, split: str = "train") -> list[dict[str, Any]]:
    """The rows of an export, as `datasets` reads its folder."""
    found = load_dataset(JOB[name], split=split, cache_dir=CACHE)
    return list(found)


def lines(name: str, split: str = "train") -> Iterator[dict[str, Any]]:
    with (Path(JOB[name]) / f"{split}.jsonl").open(encoding="utf-8", newline="\n") as file:
        yield from map(json.loads, file)


def source(name: str, split: str = "train") -> list[dict[str, Any]]:
    """The rows of the version itself."""
    found: list[dict[str, Any]] = pq.read_table(Path(JOB[name]) / f"{split}.parquet").to_pylist()
    return found


def tokenizer() -> Any:
    """One token a byte, and the template of a real model."""
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    plain = Tokenizer(models.BPE(vocab={one: i for i, one in enumerate(letters)}, merges=[]))
    plain.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    plain.decoder = decoders.ByteLevel()
    made = PreTrainedTokenizerFast(
        tokenizer_object=plain, eos_token="<|im_end|>", pad_token="<pad>"
    )
    made.chat_template = (Path(trl.__path__[0]) / "chat_templates" / "qwen3.jinja").read_text()
    return made


def same(found: Any, wanted: Any) -> None:
    assert found == wanted, f"{found!r:.800} is not {wanted!r:.800}"


def datasets_reads_parquet() -> None:
    for split, name in (("train", "train"), ("validation", "validation")):
        same(rows("parquet", name), source("repair", split))
    same(sorted(load_dataset(JOB["parquet"], cache_dir=CACHE)), ["train", "validation"])


def datasets_reads_a_hub_folder_of_several_shards() -> None:
    same(datasets.get_dataset_config_names(JOB["huggingface"]), ["default"])
    same(rows("huggingface"), source("repair"))
    same(rows("huggingface", "test"), source("repair", "holdout"))
    assert len(list(Path(JOB["huggingface"], "data").glob("train-*"))) > 1


def datasets_finds_the_features_that_the_card_tells() -> None:
    card = Path(JOB["huggingface"], "README.md").read_text(encoding="utf-8")
    told = yaml.safe_load(card.split("---\n")[1])["dataset_info"]
    plain = load_dataset(
        "parquet",
        data_files=str(Path(JOB["huggingface"], "data", "train-*.parquet")),
        split="train",
        cache_dir=CACHE,
    )
    same(told["features"], plain.features._to_yaml_list())
    same(told["splits"][0]["num_examples"], len(plain))


def trl_takes_prompts_and_completions() -> None:
    words = tokenizer()
    for row in rows("trl-sft"):
        del row["row_id"]
        assert is_conversational(row)
        same(set(apply_chat_template(row, words)), {"prompt", "completion"})
        question = _tokenize(words, row["prompt"], add_generation_prompt=True)["input_ids"]
        whole = _tokenize(words, row["prompt"] + row["completion"])["input_ids"]
        same(common_prefix_length(question, whole), len(question))


def trl_takes_conversations() -> None:
    words = tokenizer()
    for row in rows("trl-chat"):
        assert is_conversational(row)
        text = apply_chat_template({"messages": row["messages"]}, words)["text"]
        assert row["messages"][0]["content"].strip() in text


def trl_takes_pairs() -> None:
    words = tokenizer()
    for row, known in zip(rows("trl-dpo"), source("preference"), strict=True):
        assert is_conversational(row)
        del row["row_id"]
        same(set(apply_chat_template(row, words)), {"prompt", "chosen", "rejected"})
        same((row["chosen"], row["rejected"]), (known["completion"], known["rejected"]))


def trl_takes_answers_said_right_or_wrong() -> None:
    pairs = load_dataset(JOB["trl-dpo"], split="train", cache_dir=CACHE)
    unpaired = maybe_unpair_preference_dataset(pairs.remove_columns("row_id"))
    found = rows("trl-kto")

    def key(row: dict[str, Any]) -> str:
        return json.dumps([row["prompt"], row["completion"], row["label"]])

    same(sorted({*map(key, unpaired)}), sorted(map(key, found)))  # a right one is there once
    words = tokenizer()
    for row in found:
        del row["row_id"]
        same(set(apply_chat_template(row, words)), {"prompt", "completion", "label"})


def openai_takes_chats() -> None:
    adapter = TypeAdapter(_Chat)
    for row, known in zip(lines("openai-chat"), source("repair"), strict=True):
        adapter.validate_python(row)
        same(row["messages"], known["prompt"] + known["completion"])


def openai_takes_pairs() -> None:
    adapter = TypeAdapter(_Preference)
    for row, known in zip(lines("openai-dpo"), source("preference"), strict=True):
        adapter.validate_python(row)
        same(len(row["preferred_output"]), 1)
        same(row["non_preferred_output"], known["rejected"])


def trl_reads_sharegpt() -> None:
    for row, known in zip(lines("sharegpt"), source("repair"), strict=True):
        assert is_conversational_from_value(row)
        turns = known["prompt"] + known["completion"]
        same([turn["from"] for turn in row["conversations"]], [NAMES[one["role"]] for one in turns])
        found = maybe_convert_to_chatml(row)["messages"]
        same([one["content"] for one in found], [one["content"] for one in turns])


def datasets_reads_what_the_axolotl_file_names() -> None:
    for name, wanted in (("axolotl", {"messages"}), ("axolotl-dpo", set())):
        folder = Path(JOB[name])
        told = yaml.safe_load((folder / "axolotl.yaml").read_text())
        (one,) = told["datasets"]
        fields = {value for key, value in one.items() if key.startswith("field_")}
        found = load_dataset(
            one["ds_type"], data_files=str(folder / one["path"]), split="train", cache_dir=CACHE
        )
        same(set(found.column_names), fields | wanted)
        for row in found:
            same(row["messages"][-1]["role"], "assistant" if wanted else "user")
        same(told.get("rl"), None if wanted else "dpo")


def dspy_gets_examples_with_their_inputs() -> None:
    import dspy

    sys.path.insert(0, JOB["dspy"])
    import load

    found = load.load("train")
    for one, known in zip(found, source("repair"), strict=True):
        assert isinstance(one, dspy.Example)
        same(set(one.inputs().keys()), {"language", "path", "symbol", "bad", "error"})
        same({**one.inputs().toDict()}["error"], known["error"])
        same(one.labels()["good"], known["good"])
        same(one.path, known["path"])


def swebench_grades_with_the_fix_and_without() -> None:
    for split in ("train", "validation"):
        assert load_swebench_dataset(JOB["swebench"], split)
    (one,) = load_swebench_dataset(JOB["swebench-real"], "train")
    spec = make_test_spec(one)
    same(spec.FAIL_TO_PASS, ["tests/test_calc.py::test_total"])
    same(spec.PASS_TO_PASS, ["test_more.py::a"])
    for patch, resolved in (("", False), (one["patch"], True)):
        tree = Path(CACHE) / f"testbed-{resolved}"
        for path, text in JOB["tree"].items():
            (tree / path).parent.mkdir(parents=True, exist_ok=True)
            (tree / path).write_text(text)
        for diff in filter(None, (one["bug_patch"], patch)):
            subprocess.run(["git", "apply", "-"], cwd=tree, input=diff, text=True, check=True)
        script = spec.eval_script.replace("/testbed", str(tree))
        done = subprocess.run(
            ["bash", "-c", script],
            capture_output=True,
            text=True,
            check=False,
            env=os.environ | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"},
        )
        log = tree / "log.txt"
        # Docker gives both as one stream; bash tells on the second where the tests begin and end.
        first, _, _ = done.stderr.partition(": '>>>>> End")
        log.write_text(first + done.stdout + done.stderr.removeprefix(first))
        answer = {"instance_id": one["instance_id"], "model_patch": "x", "model_name_or_path": "m"}
        report = get_eval_report(spec, answer, str(log), True)[one["instance_id"]]
        same(report["resolved"], resolved)


def datasets_reads_harbor_tasks() -> None:
    found = rows("harbor", "test")
    same(len(found), len(source("repair")))
    for one in found:
        assert "tests of the repository fail" in one["instruction"]
        assert one["name"].startswith("repair-sft/acme__calc-")


def mlcroissant_validates_and_reads() -> None:
    found = mlcroissant.Dataset(jsonld=str(Path(JOB["huggingface"], "croissant.json")))
    same(found.metadata.issues.errors, set())
    told = {one.partition("property ")[2] for one in found.metadata.issues.warnings}
    assert all("datePublished" in one for one in found.metadata.issues.warnings), told
    known = {one["row_id"]: one for one in source("repair")}
    records = list(found.records("train"))
    same(len(records), len(known))
    for one in records:
        row = known[one["train/row_id"].decode()]
        same(one["train/error"].decode(), row["error"])
        same(
            [turn["train/prompt/content"] for turn in one["train/prompt"]],
            [turn["content"].encode() for turn in row["prompt"]],
        )
        same([test.decode() for test in one["train/failing_tests"]], row["failing_tests"])


CHECKS: tuple[Callable[[], None], ...] = (
    datasets_reads_parquet,
    datasets_reads_a_hub_folder_of_several_shards,
    datasets_finds_the_features_that_the_card_tells,
    trl_takes_prompts_and_completions,
    trl_takes_conversations,
    trl_takes_pairs,
    trl_takes_answers_said_right_or_wrong,
    openai_takes_chats,
    openai_takes_pairs,
    trl_reads_sharegpt,
    datasets_reads_what_the_axolotl_file_names,
    dspy_gets_examples_with_their_inputs,
    swebench_grades_with_the_fix_and_without,
    datasets_reads_harbor_tasks,
    mlcroissant_validates_and_reads,
)


def main() -> None:
    told: dict[str, str | None] = {}
    for check in CHECKS:
        try:
            check()
            told[check.__name__] = None
        except BaseException:  # noqa: BLE001  it is told, whatever it is
            told[check.__name__] = traceback.format_exc()
    Path(JOB["told"]).write_text(json.dumps(told))


if __name__ == "__main__":
    main()
