"""URIs: options, and secrets that are refused and never repeated."""

from __future__ import annotations

from pathlib import Path

import pyarrow.fs as pafs
import pytest
import yaml

from xlt.data.core.errors import InputError
from xlt.data.core.files import Files
from xlt.data.core.locations import locate, refuse_secrets
from xlt.data.core.retry import is_temporary
from xlt.sweep.cli.main import main
from xlt.sweep.experiment.experiment import load_experiment

SECRET = "wJalrXUtnFEMI"


@pytest.mark.parametrize(
    ("uri", "held"),
    [
        (f"s3://AKIA1:{SECRET}@bucket/xlt", "a user or password before its host"),
        (f"s3://AKIA1:{SECRET}/with/slash@bucket/xlt", "a user or password"),
        (f"s3://{SECRET}@bucket/xlt", "a user or password"),
        (f"s3://bucket/xlt?access_key=AKIA1&secret_key={SECRET}", "access_key, secret_key after"),
        (f"s3://bucket/xlt?X-Amz-Signature={SECRET}", "X-Amz-Signature after"),
        (f"s3://bucket/xlt?endpoint_override=me:{SECRET}@host:9000", "endpoint_override"),
        (f"gs://me:{SECRET}@bucket/xlt", "a user or password"),
        (f"abfs://account/xlt?account_key={SECRET}", "account_key after"),
        (f"hdfs://me:{SECRET}@host/xlt", "a user or password"),
    ],
)
def test_a_uri_with_a_secret_is_refused_and_not_repeated(uri: str, held: str) -> None:
    for use in (locate, Files):
        with pytest.raises(InputError, match=held) as caught:
            use(uri)
        assert SECRET not in str(caught.value)
        assert "AWS_ACCESS_KEY_ID" in str(caught.value) and "~/.aws" in str(caught.value)


@pytest.mark.parametrize(
    "uri",
    [
        "s3://bucket/a@b:c/xlt", "gs://anonymous@bucket/xlt", "hdfs://me@host:8020/xlt",
        "abfs://container@account.dfs.core.windows.net/xlt", "file:///tmp/a:b@c",
        "/tmp/me:word@host", "s3://bucket/xlt?endpoint_override=host:9000&scheme=http",
    ],
)  # fmt: skip
def test_uris_without_a_secret_are_accepted(uri: str) -> None:
    refuse_secrets(uri)


def test_an_s3_uri_gives_bucket_and_folder_and_its_options() -> None:
    fs, place = locate(
        "s3://bucket/a%20b/xlt?region=eu-west-3&endpoint_override=host:9&scheme=http"
    )
    assert isinstance(fs, pafs.S3FileSystem) and fs.region == "eu-west-3"
    assert place == "bucket/a b/xlt"
    with pytest.raises(InputError, match=r"'regoin'.*Did you mean 'region'"):
        locate("s3://bucket/xlt?regoin=eu-west-3")


def test_a_gs_place_that_does_not_answer_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("xlt.data.core.locations.GS_RETRY_SECONDS", 1)
    fs, place = locate("gs://anonymous@bucket/xlt?endpoint_override=127.0.0.1%3A9&scheme=http")
    assert place == "bucket/xlt"
    with pytest.raises(OSError, match="UNAVAILABLE") as caught:
        fs.get_file_info(place)
    assert is_temporary(caught.value)  # so that finished trials wait for it


@pytest.mark.parametrize("place", ["option", "file", "data"])
@pytest.mark.parametrize("command", ["run", "plan", "check"])
def test_no_command_prints_or_writes_a_secret(
    command: str, place: str, experiment_file: Path, tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    uri = f"s3://AKIA1:{SECRET}@bucket/xlt"
    values = yaml.safe_load(experiment_file.read_text())
    if place == "file":
        values["storage"] = {"results": uri}
    elif place == "data":
        values["data"]["path"] = f"{uri}/rows.csv"
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(values))
    results = uri if place == "option" else str(tmp_path / "r")
    assert main([command, str(tmp_path / "mine.yaml"), "--results", results]) == 2
    printed = "".join(capsys.readouterr())
    assert "before its host" in printed and SECRET not in printed and "Traceback" not in printed
    written = [p for p in (tmp_path / "r").rglob("*") if p.is_file()]
    assert not any(SECRET.encode() in p.read_bytes() for p in written)


def test_a_secret_given_with_set_is_not_repeated(experiment_file: Path) -> None:
    with pytest.raises(InputError, match="before its host") as caught:
        load_experiment(experiment_file, [f"storage.results=s3://AKIA1:{SECRET}@bucket/xlt"])
    assert SECRET not in str(caught.value)
