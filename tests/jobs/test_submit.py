"""What a submitted job takes along, what is refused before anything is sent, and the pins."""

import pytest

from cifar_model.errors import InputError
from jobs import submit
from jobs.package import LARGEST, package
from serve_app import access, slow_bodies


def refusal(capsys, *arguments):
    with pytest.raises(SystemExit) as stop:
        submit.main([str(argument) for argument in arguments])
    error = capsys.readouterr().err
    assert stop.value.code == 2 and error.count("\n") == 1
    return error


def test_only_the_packages_that_the_command_needs_travel(tmp_path):
    with package("train", [], built_in_models=False) as packed:
        tops = {name.partition("/")[0] for name, _ in packed.files}
        assert tops == {"cifar_model", "jobs", "constraints.txt"}
        assert packed.size == sum(
            path.stat().st_size for path in packed.folder.rglob("*") if path.is_file()
        )
        assert len(packed.summary().splitlines()) == 1 + LARGEST
    assert not packed.folder.exists()
    with package("serve", [], built_in_models=True) as packed:
        names = {name for name, _ in packed.files}
    assert "serve_app/app.py" in names and not any(name.startswith("jobs/") for name in names)
    assert packed.files[0][0].endswith("model.safetensors")


def test_a_model_that_git_ignores_travels_all_the_same(tmp_path):
    model = tmp_path / "runs" / "first" / "model"
    model.mkdir(parents=True)
    (tmp_path / ".gitignore").write_text("runs/\n")
    (model / "config.json").write_text("{}")
    words, inputs = submit._take_along(["--model", str(model), "--port", "8000"])
    assert words == ["--model", "inputs/model", "--port", "8000"]
    with package("serve", inputs, built_in_models=False) as packed:
        assert (packed.folder / "inputs" / "model" / "config.json").read_text() == "{}"


def test_of_a_folder_of_runs_the_models_travel_and_nothing_that_begins_with_a_dot(tmp_path):
    runs = tmp_path / "runs"
    for name in (
        "first/checkpoint_000001/checkpoint.ckpt",
        "first/run.json",
        "first/model/config.json",
        "first/model/report/report.json",
        "first/model/.gitignore",
        "second/config.json",
        "second/.aside/config.json",
        "unfinished/checkpoint_000001/checkpoint.ckpt",
        ".held/config.json",
    ):
        (runs / name).parent.mkdir(parents=True, exist_ok=True)
        (runs / name).write_text("*")
    with package("serve", [runs], built_in_models=False) as packed:
        travelled = {name for name, _ in packed.files if name.startswith("inputs/")}
    assert travelled == {
        "inputs/runs/first/model/config.json",
        "inputs/runs/first/model/report/report.json",
        "inputs/runs/second/config.json",
    }


def test_a_folder_without_a_model_and_a_file_that_vanishes_are_each_one_line(tmp_path):
    with (
        pytest.raises(InputError, match=r"neither a model .* nor a folder of models"),
        package("serve", [tmp_path], built_in_models=False),
    ):
        pass
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "pruned").symlink_to(tmp_path / "nowhere")
    with (
        pytest.raises(InputError, match=r"pruned.*try again"),
        package("serve", [tmp_path], built_in_models=False),
    ):
        pass


def test_a_file_of_a_learning_rate_travels_and_a_number_stays(tmp_path):
    found = tmp_path / "lr_find.json"
    found.write_text("{}")
    words, inputs = submit._take_along(["--lr", str(found)])
    assert (words, inputs) == (["--lr", "inputs/lr_find.json"], [found])
    assert submit._take_along(["--lr", "0.1"]) == (["--lr", "0.1"], [])


def test_a_named_recipe_is_no_folder_of_that_name_and_models_travel(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "digits").mkdir()
    (tmp_path / "models").mkdir()
    assert submit._take_along(["--recipe", "digits"]) == (["--recipe", "digits"], [])
    words, inputs = submit._take_along(["--models", "models"])
    assert (words, inputs) == (["--models", "inputs/models"], [tmp_path / "models"])


def test_a_package_over_the_limit_is_refused_with_its_largest_file(tmp_path, monkeypatch):
    monkeypatch.setattr("jobs.package.shutil.copy", lambda *_: pytest.fail("copied all the same"))
    large = tmp_path / "weights.bin"
    large.write_bytes(bytes(3 * 2**20))
    with (
        pytest.raises(ValueError, match=r"over the limit of 2 MiB.*inputs/weights.bin \(3.0 MiB"),
        package("train", [large], built_in_models=False, limit=2 * 2**20),
    ):
        pass


def test_a_servers_settings_go_along_and_keys_are_refused(monkeypatch, capsys):
    settings = {"RAY_CIFAR_RATE": "5", "RAY_CIFAR_API_KEYS_FILE": "/keys"}
    others = {"HOME": "/root", "RAY_CIFAR_API_KEY": "a-key-of-a-client"}
    assert submit.serving_settings(settings | others) == settings
    monkeypatch.setenv("RAY_CIFAR_API_KEYS", "a-key-of-some-length")
    error = refusal(capsys, "serve")
    assert "name it in RAY_CIFAR_API_KEYS_FILE" in error and "some-length" not in error


def test_every_setting_of_a_server_goes_along_but_the_keys_themselves():
    settings = {*access.NO_SECRETS, access.DIGESTS, access._FILE, slow_bodies.SETTING}
    assert set(submit.SERVING) == settings
    assert access._KEYS == submit.SECRET


class Client:
    """A job server that takes any job."""

    def submit_job(self, *, entrypoint, runtime_env, metadata):
        self.settings = runtime_env["env_vars"]
        return "job_1"


def test_where_cifar10_lies_goes_along_if_it_can_be_there_on_every_node(monkeypatch):
    client = Client()
    for named, sent in (("/data/cifar10", "/data/cifar10"), ("data", None), ("~/data", None)):
        monkeypatch.setenv("CIFAR10_DIR", named)
        submit.submit(client, *submit.parse(["train", "--storage", "/mnt/runs"]))
        assert client.settings.get("CIFAR10_DIR") == sent
    monkeypatch.delenv("CIFAR10_DIR")
    assert submit.data_settings() == {}


def test_the_runtime_environment_has_the_pins(tmp_path):
    plain = submit.runtime_env(tmp_path, install=False)
    assert plain["env_vars"]["RAY_JOB_STOP_SIGNAL"] == "SIGINT"
    assert "pip" not in plain
    installing = submit.runtime_env(tmp_path, install=True)
    packages = installing["pip"]["packages"]
    assert any(line.startswith("torch==") for line in packages)
    assert not any(line.startswith(("ray==", "#", "pytest==", "mypy==")) for line in packages)
    assert {line.partition("==")[0] for line in packages} >= {"gradio", "optuna", "uvicorn"}
    assert installing["config"]["setup_timeout_seconds"] > 600  # Ray's own


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["train", "--data", "digits"], "--storage is missing"),
        (["train", "--storage", "runs"], "--storage runs: expected a place that outlives the job"),
        (["tune", "--storage=runs"], "--storage runs"),
        (["tune", "--storage", "s3://b/runs"], "--storage s3://b/runs"),
        (["lr_find"], "--out is missing"),
        (["lr_find", "--out", "s3://b/lr"], "--out s3://b/lr: expected"),
        (["evaluate", "--model", "s3://b/model", "--out", "report"], "--out report: expected"),
        (["evaluate", "--model", "s3://b/model", "--out=s3://b/report"], "--out s3://b/report"),
        (["serve", "--model", "s3://b/model"], "--model s3://b/model: models are served from"),
        (["evaluate", "--model", "."], "say with --out"),
        (["train", "--help"], "python -m jobs.train --help"),
        (["status"], "which job?"),
        (["list"], "no cluster: set RAY_ADDRESS"),
        (["--address", "10.0.0.1:6379", "list"], "expected the address of a job server"),
    ],
)
def test_what_cannot_work_is_refused_before_anything_is_sent(monkeypatch, capsys, arguments, words):
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    assert words in refusal(capsys, *arguments)


def test_a_model_at_home_travels_and_its_report_would_be_lost(monkeypatch, tmp_path):
    """The shell leaves the ~ of --model=~/model as it is."""
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "model").mkdir()
    words, inputs = submit._take_along(["--model=~/model"])
    assert (words, inputs) == (["--model=inputs/model"], [tmp_path / "model"])
    with pytest.raises(InputError, match="say with --out"):
        submit.check("evaluate", ["--model=~/model"])


@pytest.mark.parametrize(
    ("what", "words"),
    [
        ("train", ["--storage", "gs://b/runs"]),
        ("tune", ["--storage", "/mnt/runs"]),
        ("lr_find", ["--out=/mnt/lr"]),
        ("evaluate", ["--model", "s3://b/model"]),
        ("serve", ["--model", "/mnt/model"]),
    ],
)
def test_what_outlives_the_job_is_let_through(what, words):
    submit.check(what, words)
