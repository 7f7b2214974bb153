"""What a project deploys with: manifests, images, vLLM's settings; checked by their own schemas."""

from __future__ import annotations

import importlib
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml

import advising
import helpers

pytestmark = pytest.mark.render

VLLM = helpers.ROOT / "tests" / "fixtures" / "vllm"
PROJECTS: dict[str, dict[str, Any]] = {
    "text": {"task": "text_classification", "serving": ["fastapi"]},
    "llm on a GPU": {
        "task": "llm",
        "serving": ["fastapi"],
        "gpu": "L4",
        "gpu_count": 2,
        "base_model": "Qwen/Qwen3-4B",
        "strategy": "lora",
    },
    "endpoints": {"task": "image_classification", "serving": ["hf_endpoints"]},
}


@pytest.fixture(scope="module")
def projects(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("deploy")
    return {
        name: helpers.copy_project(folder / name.replace(" ", "-"), **answers)
        for name, answers in PROJECTS.items()
    }


def manifests(project: Path) -> dict[str, dict[str, Any]]:
    """Every manifest that `kubectl apply -k` would apply, by its kind."""
    folder = project / "deploy" / "kubernetes"
    listed = yaml.safe_load((folder / "kustomization.yaml").read_text("utf-8"))["resources"]
    read = [yaml.safe_load((folder / name).read_text("utf-8")) for name in listed]
    return {manifest["kind"]: manifest for manifest in read}


@pytest.mark.parametrize("name", ["text", "llm on a GPU"])
def test_manifests_fit_kubernetes_schemas(projects: dict[str, Path], name: str) -> None:
    validator = pytest.importorskip("kubernetes_validate")
    found = manifests(projects[name])
    assert len(found) == 5
    for manifest in found.values():
        validator.validate(manifest, validator.latest_version(), strict=True)
    manifest = found["Deployment"]
    manifest["spec"]["template"]["spec"]["containers"][0]["livenessprobe"] = {}
    with pytest.raises(validator.ValidationError):  # the check itself finds a misspelt key
        validator.validate(manifest, validator.latest_version(), strict=True)


def test_manifests_agree_with_each_other_and_with_the_service(projects: dict[str, Path]) -> None:
    found = manifests(projects["text"])
    slug = found["Deployment"]["metadata"]["name"]
    labels = found["Deployment"]["spec"]["template"]["metadata"]["labels"]
    assert found["Deployment"]["spec"]["selector"]["matchLabels"] == labels
    assert found["Service"]["spec"]["selector"] == labels
    assert found["PodDisruptionBudget"]["spec"]["selector"]["matchLabels"] == labels
    assert found["NetworkPolicy"]["spec"]["podSelector"]["matchLabels"] == labels
    scaled = found["HorizontalPodAutoscaler"]["spec"]
    assert scaled["scaleTargetRef"] == {"apiVersion": "apps/v1", "kind": "Deployment", "name": slug}
    # a budget of one replica away would hold up every drain of a machine with one replica
    assert scaled["minReplicas"] > found["PodDisruptionBudget"]["spec"]["maxUnavailable"]
    images = yaml.safe_load(
        (projects["text"] / "deploy/kubernetes/kustomization.yaml").read_text("utf-8")
    )["images"]
    assert [image["name"] for image in images] == [container(found)["image"]]


def test_a_pod_has_time_to_drain(projects: dict[str, Path]) -> None:
    found = manifests(projects["text"])
    pod = found["Deployment"]["spec"]["template"]["spec"]
    options = dict(zip(container(found)["args"][::2], container(found)["args"][1::2], strict=True))
    serve = yaml.safe_load((projects["text"] / "configs/serve.yaml").read_text("utf-8"))
    assert serve["service"]["shutdown_seconds"] is None
    end = serve["limits"]["deadline_seconds"] + 2
    drain = float(options["--service.drain_seconds"])
    assert pod["terminationGracePeriodSeconds"] >= drain + end + 5
    readiness = container(found)["readinessProbe"]
    assert drain >= readiness["periodSeconds"] * readiness["failureThreshold"]


def test_probes_ask_what_the_service_answers_on_its_port(projects: dict[str, Path]) -> None:
    service = container(manifests(projects["text"]))
    ports = {port["name"]: port["containerPort"] for port in service["ports"]}
    dockerfile = (projects["text"] / "Dockerfile").read_text("utf-8")
    assert f"EXPOSE {ports['http']}\n" in dockerfile
    assert f"_SERVE__SERVICE__PORT={ports['http']}\n" in dockerfile
    paths = {name: service[f"{name}Probe"]["httpGet"]["path"] for name in ("liveness", "readiness")}
    assert paths == {"liveness": "/healthz", "readiness": "/readyz"}
    # what ends a container must not be what says that it is busy or loading
    assert "8000/healthz" in dockerfile and "8000/readyz" not in dockerfile


def test_pods_are_confined(projects: dict[str, Path]) -> None:
    found = manifests(projects["text"])
    pod, service = found["Deployment"]["spec"]["template"]["spec"], container(found)
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert service["securityContext"]["readOnlyRootFilesystem"] is True
    assert service["securityContext"]["capabilities"] == {"drop": ["ALL"]}
    assert found["NetworkPolicy"]["spec"]["egress"] == []
    keys = next(each for each in service["env"] if each["name"] == "API_KEYS")
    assert set(keys) == {"name", "valueFrom"}  # a reference, never a value


def test_resources_follow_from_model_and_gpu(projects: dict[str, Path]) -> None:
    small = container(manifests(projects["text"]))["resources"]["limits"]
    large = container(manifests(projects["llm on a GPU"]))["resources"]["limits"]
    assert "nvidia.com/gpu" not in small and large["nvidia.com/gpu"] == "1"
    assert gib(small) < gib(large)


def test_memory_holds_two_models_while_one_is_reloaded() -> None:
    memory = advising.advise(
        task="llm", framework="transformers", base_model="Qwen/Qwen3-4B", gpu="L4", strategy="full"
    ).serving_memory
    assert memory is not None
    weights = 4.0 * 2e9 / 2**30  # bf16
    assert weights < memory.request < memory.limit
    assert memory.limit - memory.request == pytest.approx(weights, abs=1)
    unknown = advising.advise(task="llm", base_model="someone/unheard-of", gpu="none")
    assert unknown.serving_memory is None


@pytest.mark.parametrize("name", PROJECTS)
def test_dockerfile_passes_hadolint(projects: dict[str, Path], name: str) -> None:
    beside = Path(sys.executable).with_name("hadolint")
    hadolint = str(beside) if beside.is_file() else shutil.which("hadolint")
    if hadolint is None:
        pytest.skip("hadolint is not installed")
    command = [hadolint, "--no-color", str(projects[name] / "Dockerfile")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_vllm_is_given_flags_that_it_has(projects: dict[str, Path]) -> None:
    """Against the flags of vLLM 0.33.0, recorded from its wheel."""
    folder = projects["llm on a GPU"] / "deploy" / "vllm"
    text = (folder / "serve.yaml").read_text("utf-8")
    known = set((VLLM / "flags.txt").read_text("utf-8").split())
    flags = yaml.safe_load(text)
    assert set(flags) <= known
    assert flags["tensor-parallel-size"] == 2
    proposed = yaml.safe_load(re.sub(r"^# (?=[a-z-]+: |lora-modules|  - )", "", text, flags=re.M))
    assert {"enable-lora", "lora-modules", "max-lora-rank"} <= set(proposed) <= known
    compose = yaml.safe_load((folder / "compose.yaml").read_text("utf-8"))["services"]["vllm"]
    named = [word.removeprefix("--") for word in compose["command"] if word.startswith("--")]
    assert set(named) <= {*known, "config"}
    assert compose["image"].endswith(":v0.33.0}")


def test_no_vllm_for_a_classifier(projects: dict[str, Path]) -> None:
    assert not (projects["text"] / "deploy" / "vllm").exists()
    assert not (projects["endpoints"] / "deploy").exists()


@pytest.fixture(scope="module")
def chat_api(projects: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> ModuleType:
    """The project's chat schema alone: pydantic is all it needs."""
    folder = tmp_path_factory.mktemp("schema") / "chat_schema_of_a_project"
    folder.mkdir()
    (folder / "__init__.py").touch()
    for name in ("chat_api", "output"):
        shutil.copy2(projects["llm on a GPU"] / "inference" / f"{name}.py", folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(folder.parent))
        return importlib.import_module(f"{folder.name}.chat_api")


@pytest.fixture(scope="module")
def vllm_schema() -> Any:
    return json.loads((VLLM / "chat_schema.json").read_text("utf-8"))


def test_what_our_chat_takes_vllm_takes(chat_api: ModuleType, vllm_schema: Any) -> None:
    theirs = vllm_schema["request"]["fields"]
    assert set(chat_api.ChatRequest.model_fields) <= set(theirs)
    assert set(chat_api.StreamOptions.model_fields) - {"include_obfuscation"} <= set(
        vllm_schema["stream_options"]["fields"]
    )
    required = {name for name, needed in theirs.items() if needed}
    assert required <= set(chat_api.ChatRequest.model_fields)


@pytest.mark.parametrize(
    ("ours", "theirs", "own"),
    [
        ("ChatResponse", "response", set()),
        ("Choice", "choice", set()),
        ("AnswerMessage", "message", set()),
        ("ChatChunk", "chunk", set()),
        ("ChunkChoice", "chunk_choice", set()),
        ("Delta", "delta", set()),
        ("Usage", "usage", set()),
        # which weights answer: OpenAI's clients pass over what they do not know
        ("ModelCard", "model", {"version", "digest"}),
        ("ModelList", "models", set()),
    ],
)
def test_what_our_chat_answers_vllm_answers(
    chat_api: ModuleType, vllm_schema: Any, ours: str, theirs: str, own: set[str]
) -> None:
    """A client that reads our fields finds them there too, and those that it must have here."""
    fields = set(getattr(chat_api, ours).model_fields)
    recorded = vllm_schema[theirs]["fields"]
    assert fields - own <= set(recorded)
    assert {name for name, needed in recorded.items() if needed} <= fields


def test_docs_name_metrics_codes_and_settings_that_exist(projects: dict[str, Path]) -> None:
    for project in (projects["text"], projects["llm on a GPU"]):
        code = "\n".join(path.read_text("utf-8") for path in (project / "inference").glob("*.py"))
        text = (project / "docs" / "serving.md").read_text("utf-8")
        table = text[text.index("| `inference_…` |") : text.index("Alerts to start")]
        metrics = set(re.findall(r"`(\w+)(?:\{[\w,]+\})?`", table))
        metrics |= set(re.findall(r"inference_(\w+?)(?:_bucket)?\b", text[text.index("```yaml") :]))
        assert len(metrics) > 10
        assert {name for name in metrics if f'"{name}"' not in code} == set()
        answers = text[text.index("## Answers under load") : text.index("`limits.deadline")]
        codes = set(re.findall(r"`([a-z_]+)`", answers))
        assert {"overloaded", "deadline_exceeded", "out_of_memory"} <= codes
        assert {name for name in codes if f'"{name}"' not in code} == set()
        settings = (project / "configs" / "serve.yaml").read_text("utf-8")
        known = {
            f"{section}.{key}" for section, keys in yaml.safe_load(settings).items() for key in keys
        }
        docs = "\n".join(path.read_text("utf-8") for path in (project / "docs").glob("*.md"))
        named = set(re.findall(r"`((?:service|limits|engine)\.[a-z_]+)", docs))
        assert len(named) > 5
        assert named - known == set()


def container(found: dict[str, dict[str, Any]]) -> dict[str, Any]:
    (only,) = found["Deployment"]["spec"]["template"]["spec"]["containers"]
    return dict(only)


def gib(resources: dict[str, str]) -> int:
    return int(resources["memory"].removesuffix("Gi"))
