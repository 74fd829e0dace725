"""The files around the code agree with each other: versions, checks, the documents' environment."""

import re
import tomllib

import yaml

from tests.sources import ROOT


def text(name):
    return (ROOT / name).read_text(encoding="utf-8")


def test_one_version():
    version = tomllib.loads(text("pyproject.toml"))["project"]["version"]
    assert yaml.safe_load(text("CITATION.cff"))["version"] == version
    newest = re.search(r"^## (\d+\.\d+\.\d+)", text("CHANGELOG.md"), re.MULTILINE)
    assert newest[1] == version


def test_one_licence():
    licence = tomllib.loads(text("pyproject.toml"))["project"]["license"]
    assert yaml.safe_load(text("CITATION.cff"))["license"] == licence
    assert licence in text("README.md")


def test_the_workflow_and_the_hook_run_what_decides():
    workflow = yaml.safe_load(text(".github/workflows/ci.yml"))
    commands = [step.get("run") for job in workflow["jobs"].values() for step in job["steps"]]
    assert "bash .ci/run" in commands
    (repository,) = yaml.safe_load(text(".pre-commit-config.yaml"))["repos"]
    (hook,) = repository["hooks"]
    assert hook["entry"] == "make lint"
    assert "make lint" in text(".ci/run")
    assert "make docs" in text(".ci/run")


def test_issue_templates_are_whole():
    for path in (ROOT / ".github" / "ISSUE_TEMPLATE").glob("*.yml"):
        form = yaml.safe_load(path.read_text(encoding="utf-8"))
        if path.name != "config.yml":
            assert {"name", "description", "body"} <= form.keys()
            assert all("label" in field["attributes"] for field in form["body"])


def test_every_pin_is_exact():
    for name in ("docs", "dist", "demo", "test", "lint"):
        for line in text(f"requirements/{name}.txt").splitlines():
            assert re.match(r"#|-r |[\w.-]+==[\w.]+( ; .*)?$", line), f"{name}.txt: {line}"
