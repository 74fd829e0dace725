"""fcn-jax segment: finds what is where in pictures, and writes masks, overlays and heat maps.

fcn-jax segment dog.jpg
fcn-jax segment photos/ --weights fcn_resnet50.pth --classes dog,person --output masks
"""

import argparse
import json
import os
import sys
from pathlib import Path

from fcn_jax.cli.convert import read_categories


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the command line."""
    parser.add_argument("images", nargs="+", metavar="IMAGE|FOLDER", help="pictures, or folders of pictures")
    parser.add_argument(
        "--model", metavar="NAME", help="fcn_resnet50 if not given, or what the weights are of"
    )
    parser.add_argument(
        "--weights",
        default="DEFAULT",
        metavar="NAME|PATH",
        help="published weights by name (DEFAULT), downloaded once; or a .pth, .pt or .safetensors file",
    )
    parser.add_argument("--output", default="segmented", metavar="DIR", help="folder to write to (segmented)")
    parser.add_argument(
        "--classes",
        default="",
        metavar="A,B",
        help="also write a heat map of each of these, by name or index",
    )
    parser.add_argument(
        "--categories", metavar="FILE", help="text file with the name of a class on each line"
    )
    parser.add_argument(
        "--resize",
        type=int,
        metavar="N",
        help="length of the shorter edge that the model sees, 0 for the picture's own; 520 if not given",
    )
    parser.add_argument("--offline", action="store_true", help="never download (as FCN_JAX_OFFLINE=1)")


def run(options: argparse.Namespace) -> int:
    """Segments every picture; one that fails is reported by name, and the others are done."""
    from rich.console import Console
    from rich.progress import MofNCompleteColumn, Progress, TimeRemainingColumn

    from fcn_jax.inference.result import class_index

    if options.offline:
        os.environ["FCN_JAX_OFFLINE"] = "1"
    sources = _find_pictures(options.images)
    stems = _stems(sources)
    segmenter, facts = _build_segmenter(options)
    names = [name.strip() for name in options.classes.split(",") if name.strip()]
    classes = [class_index(int(name) if name.isdecimal() else name, segmenter.categories) for name in names]
    output = Path(options.output)
    output.mkdir(parents=True, exist_ok=True)
    _check_overwrites(sources, stems, output)

    console = Console(highlight=False, markup=False, soft_wrap=True)
    done, failed = [], []
    columns = (*Progress.get_default_columns()[:2], MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, disable=len(sources) < 2 or not console.is_terminal) as progress:
        try:
            for source, stem in progress.track(
                list(zip(sources, stems, strict=True)), description="segmenting"
            ):
                try:
                    result = segmenter(source)
                    files = result.save(output, classes=classes, stem=stem)
                except (ValueError, OSError) as error:
                    failed.append({"source": str(source), "error": str(error)})
                    print(f"fcn-jax: error: {error}", file=sys.stderr)
                else:
                    done.append(result.to_dict(files))
                    console.print(format_table(done[-1]))
        finally:
            _write_summary(output / "summary.json", facts | {"images": done, "failed": failed})
    console.print(f"{len(done)} of {len(sources)} segmented, into {output}{os.sep}")
    return 1 if failed else 0


def format_table(summary: dict) -> str:
    """Lays out the classes found in one picture: index, name, share of the pixels, mean confidence."""
    rows = [("index", "class", "pixels", "confidence")]
    rows += [
        (str(c["index"]), c["name"], f"{c['share']:.2%}", f"{c['confidence']:.2%}")
        for c in summary["classes"]
    ]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [f"{summary['source']} ({summary['width']} x {summary['height']})"]
    for index, name, share, confidence in rows:
        lines.append(
            f"  {index:>{widths[0]}}  {name:<{widths[1]}}  {share:>{widths[2]}}  {confidence:>{widths[3]}}"
        )
    return "\n".join(lines)


def _find_pictures(arguments: list[str]) -> list[Path]:
    """Lists the pictures, those of a folder by name; a path that leads nowhere is left for its own error."""
    from PIL import Image

    Image.init()
    sources = []
    for argument in map(Path, arguments):
        if argument.is_dir():
            found = sorted(path for path in argument.iterdir() if path.suffix.lower() in Image.EXTENSION)
            if not found:
                raise ValueError(f"{argument}: expected pictures in this folder, found none")
            sources += found
        else:
            sources.append(argument)
    return list(dict.fromkeys(sources))


def _stems(sources: list[Path]) -> list[str]:
    """Names the output of each picture; of two of one name, the second's is numbered."""
    stems = {}
    for source in sources:
        stem, number = source.stem, 1
        while stem in stems:
            number += 1
            stem = f"{source.stem}-{number}"
        stems[stem] = source
    return list(stems)


def _check_overwrites(sources: list[Path], stems: list[str], output: Path) -> None:
    """Refuses to write over a picture that was given."""
    given = {source.resolve() for source in sources}
    beginnings = tuple(f"{stem}_" for stem in stems)
    lost = [path for path in given if path.parent == output.resolve() and path.name.startswith(beginnings)]
    if lost:
        raise ValueError(f"{lost[0]} could be overwritten by the output; choose another folder with --output")


def _build_segmenter(options: argparse.Namespace):
    """Builds the segmenter, and tells the facts for the summary."""
    import fcn_jax
    from fcn_jax.transforms import Preset, SemanticSegmentation
    from weights_converter import load_model_file

    if Path(options.weights).is_file():
        found = load_model_file(options.weights)
        name, metadata = found.architecture.model_name, found.metadata
        if found.architecture.num_classes is None:
            raise ValueError(f"{options.weights}: holds {name}, an ImageNet classifier, which cannot segment")
        if options.model not in (None, name):
            raise ValueError(f"{options.weights}: holds {name}, but --model {options.model} was asked for")
        model = fcn_jax.get_model(name, weights=found.params)
    else:
        name, metadata = options.model or "fcn_resnet50", {}
        model = fcn_jax.get_model(name, weights=options.weights)

    transforms = Preset.from_dict(json.loads(metadata["transforms"])) if "transforms" in metadata else None
    if options.resize is not None:
        if options.resize < 0:
            raise ValueError(f"--resize: expected 0 or a length in pixels, got {options.resize}")
        transforms = SemanticSegmentation(resize_size=options.resize or None)
    categories = json.loads(metadata["categories"]) if "categories" in metadata else None
    if options.categories:
        categories = read_categories(options.categories, model.classifier.score.out_features)
    segmenter = fcn_jax.Segmenter(model, transforms, categories)
    facts = {
        "model": name,
        "weights": options.weights,
        "transforms": segmenter.transforms.to_dict(),
        "categories": list(segmenter.categories),
    }
    return segmenter, facts


def _write_summary(path: Path, summary: dict) -> None:
    from weights_converter.files import replacing

    with replacing(path) as temporary:
        temporary.write_text(json.dumps(summary, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
