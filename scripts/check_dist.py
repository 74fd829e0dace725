"""Checks what `make dist` built: the wheel alone, far from the checkout, segments a picture.

    python scripts/check_dist.py dist

Makes a fresh environment in a temporary folder, installs the pinned dependencies and the wheel, trains a
small network on drawn scenes for a few steps there, and segments a scene from its file. Before that it looks
into both archives: the code and the licence are there, tests and other people's files are not.
"""

import argparse
import os
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
PROGRAM = """
import pathlib, sys
import fcn_jax, weights_converter
for package in (fcn_jax, weights_converter):
    place = pathlib.Path(package.__file__)
    assert place.is_relative_to(sys.prefix), f"{place} is not in the fresh environment"
print(fcn_jax.__version__)
"""


def run(*command: object, folder: Path) -> str:
    """Runs a command in a folder; returns what it printed, and stops with its messages if it fails."""
    environment = {name: text for name, text in os.environ.items() if name != "PYTHONPATH"}
    environment |= {"FCN_JAX_CACHE": str(folder / "cache"), "FCN_JAX_OFFLINE": "1", "JAX_PLATFORMS": "cpu"}
    ended = subprocess.run(
        [str(word) for word in command], cwd=folder, env=environment, capture_output=True, text=True
    )
    if ended.returncode != 0:
        sys.exit(
            f"{' '.join(map(str, command))} ended with {ended.returncode}:\n{ended.stdout}{ended.stderr}"
        )
    return ended.stdout


def check_archives(wheel: Path, sdist: Path) -> None:
    """Stops unless both archives hold the code and the licence, and nothing that does not belong there."""
    with zipfile.ZipFile(wheel) as file:
        inside = file.namelist()
    tops = {name.partition("/")[0] for name in inside}
    expected = {"fcn_jax", "weights_converter", "fcn_jax_command.py"}
    info = {top for top in tops if top.endswith(".dist-info")}
    assert tops == expected | info, f"the wheel holds {sorted(tops)}"
    assert any(name.endswith("LICENSE") for name in inside), "the wheel has no licence"
    sources = {path.relative_to(ROOT).as_posix() for path in (ROOT / "fcn_jax").rglob("*.py")}
    assert sources <= set(inside), f"the wheel lacks {sorted(sources - set(inside))[:5]}"
    with tarfile.open(sdist) as file:
        names = {name.partition("/")[2] for name in file.getnames()}
    assert {"LICENSE", "README.md", "pyproject.toml"} <= names, "the sdist is not whole"
    assert sources <= names, f"the sdist lacks {sorted(sources - names)[:5]}"


def check_wheel(wheel: Path, python: str, folder: Path) -> None:
    """Stops unless the wheel segments a picture in an environment of its own."""
    run(python, "-m", "venv", folder / "venv", folder=folder)
    binaries = folder / "venv" / ("Scripts" if os.name == "nt" else "bin")
    pip = (binaries / "python", "-m", "pip", "install", "--quiet", "--disable-pip-version-check")
    run(*pip, "-r", ROOT / "requirements" / "demo.txt", folder=folder)
    run(*pip, "--no-deps", wheel.resolve(), folder=folder)
    version = run(binaries / "python", "-c", PROGRAM, folder=folder).strip()
    run(binaries / "fcn-jax", "demo", "--steps", 20, "--output", "demo", folder=folder)
    weights = "demo/fcn8s_scenes.safetensors"
    print(
        run(binaries / "fcn-jax", "segment", "demo/scenes/scene_0.png", "--weights", weights, folder=folder)
    )
    assert (folder / "segmented" / "scene_0_labels.png").stat().st_size > 0
    print(f"{wheel.name}: version {version} segments a picture without the checkout")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("folder", type=Path, help="where sdist and wheel are")
    parser.add_argument("--python", default=sys.executable, help="the interpreter of the fresh environment")
    options = parser.parse_args()
    (wheel,), (sdist,) = options.folder.glob("*.whl"), options.folder.glob("*.tar.gz")
    check_archives(wheel, sdist)
    with tempfile.TemporaryDirectory() as folder:
        check_wheel(wheel, options.python, Path(folder))


if __name__ == "__main__":
    main()
