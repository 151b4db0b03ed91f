"""No secret that passes through the writer reaches the disk."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from trimtab.runs import Redactor, RunWriter, describe_run

from ._feed import message, steps

LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
WORD = st.text(LETTERS + "0123456789", min_size=12, max_size=40)
KEYS = st.one_of(
    WORD.map("hf_{}".format),
    st.text(LETTERS + "0123456789", min_size=20, max_size=40).map("sk-{}".format),
    st.text(LETTERS + "0123456789", min_size=36, max_size=36).map("ghp_{}".format),
    st.text("ABCDEFGHIJKLMNOPQRSTUVWXYZ234567", min_size=16, max_size=16).map("AKIA{}".format),
    st.text("0123456789abcdef", min_size=40, max_size=40),
    WORD.map("eyJhbGciOi.eyJzdWIi{}.abc".format),
)
NAMED = st.text(st.characters(min_codepoint=33, max_codepoint=591, exclude_categories=("Cc",)), min_size=8, max_size=30)
SECRET_NAMES = ["WANDB_API_KEY", "HF_TOKEN", "DB_PASSWORD", "AWS_SECRET_ACCESS_KEY", "GOOGLE_CREDENTIALS", "MY_AUTH"]
SECRET_OPTIONS = ["--api-key", "--hf_token", "--password", "--secret", "--credentials", "--auth", "--wandb-key"]


def written(directory: Path) -> str:
    """Everything that a run's files say, decoded."""
    texts = [path.read_text() for path in directory.rglob("*.json")]
    for part in directory.rglob("*.parquet"):
        texts += [json.dumps(row, default=str, ensure_ascii=False) for row in pq.read_table(part).to_pylist()]
    return "\n".join(texts)


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    key=KEYS,
    named=NAMED.filter(lambda text: text.strip(".") and not text.startswith("-")),
    variable=st.sampled_from(SECRET_NAMES),
    option=st.sampled_from(SECRET_OPTIONS),
    joined=st.booleans(),
)
def test_no_secret_survives_in_any_file(key: str, named: str, variable: str, option: str, joined: bool) -> None:
    of_option, of_environment = "named1-" + named, "env2-" + named
    of_url = "pass3" + "".join(c for c in named if c.isalnum())
    secrets = {key, of_option, of_environment, of_url}
    address = f"postgres://user:{of_url}@host/db"
    pair = [f"{option}={of_option}"] if joined else [option, of_option]
    command = ["train.py", key, *pair, address, f"--note={key}"]
    environment = {variable: of_environment, "PYTHONPATH": f"/x/{key}", "NCCL_X": of_option, "SLURM_JOB_NAME": address}
    redactor = Redactor(environment, command)
    with tempfile.TemporaryDirectory() as scratch:
        run = Path(scratch) / "run"
        metrics = [[key, ".*", None]]
        meta = describe_run(command, environment=environment, redactor=redactor, program=key, metrics=metrics)
        writer = RunWriter(run, meta, on_trouble=pytest.fail, redactor=redactor)
        process = writer.process({"argv": command, "cwd": f"/home/{key}", "pid": 1})
        everything = " ".join([key, of_option, of_environment, address])
        writer.describe(process, {"note": everything, key: [everything], "deep": {"config": {"token": of_option}}})
        writer.rows(process, *steps(0, 3))
        event: dict[str, Any] = {"message": everything, "traceback": f"Error: {everything!r}"}
        at: dict[str, Any] = {"optimizer": [0], "step": [1]}
        writer.rows(process, *message("events", {}, **at, kind=["exception"], data=[json.dumps(event)]))
        writer.rows(process, *message("events", {}, **at, kind=["unseen"], data=["no JSON: " + everything]))
        writer.rows(process, *message("metrics", {}, **at, name=[everything], value=[1.0]))
        writer.names(process, "tensor", 0, [everything])
        writer.rows(process, *message("tensors", {"tensor": np.zeros(1, "<i4")}, **at))
        writer.close(note=everything)
        text = written(run)
        for secret in secrets:
            assert secret not in text
            assert json.dumps(secret)[1:-1] not in text
            assert repr(secret)[1:-1] not in text


@pytest.mark.parametrize(
    ("words", "shown"),
    [
        (["--lr", "0.1", "--api-key", "abc", "--x"], ["--lr", "0.1", "--api-key", "[redacted]", "--x"]),
        (["--api-key=abc"], ["--api-key=[redacted]"]),
        (["--password", "--verbose"], ["--password", "--verbose"]),
        (["HF_TOKEN=abc", "train.py"], ["HF_TOKEN=[redacted]", "train.py"]),
        (["--max-tokens", "512", "--tokenizer=gpt2"], ["--max-tokens", "512", "--tokenizer=gpt2"]),
        (["--key-dim=64", "--sort_keys", "yes"], ["--key-dim=64", "--sort_keys", "yes"]),
        (["--author", "Ada", "--keyboard=de"], ["--author", "Ada", "--keyboard=de"]),
        (["http://u:p@h/x", "https://h/x?a=1"], ["http://[redacted]@h/x", "https://h/x?a=1"]),
        (["--url=https://h/x?token=abc&b=1"], ["--url=https://h/x?token=[redacted]&b=1"]),
        (["exp_2024-05-01_resnet50_bs256_seed3_long-name"], ["exp_2024-05-01_resnet50_bs256_seed3_long-name"]),
        (["Zm9vYmFyMTIzNDU2Nzg5MGFiY2RlZg"], ["[redacted]"]),
        (["layers.0.weight", "data/imagenet/train", ""], ["layers.0.weight", "data/imagenet/train", ""]),
        (["-c", "login(token='abcdefgh')"], ["-c", "login(token='[redacted]')"]),
        (["-c", "login(token = 'a long secret')"], ["-c", "login(token = '[redacted]')"]),
        (["-c", "x = {'password': 'abcdefgh'}"], ["-c", "x = {'password': '[redacted]'}"]),
    ],
)
def test_a_command_line_keeps_what_is_no_secret(words: list[str], shown: list[str]) -> None:
    assert Redactor().arguments(words) == shown


def test_the_working_directory_is_no_password() -> None:
    redactor = Redactor({"PWD": "/home/ada/project", "SSH_AUTH_SOCK": "/tmp", "KEY": "1"})
    assert redactor.text("/home/ada/project/train.py, /tmp/x, 1.1") == "/home/ada/project/train.py, /tmp/x, 1.1"
