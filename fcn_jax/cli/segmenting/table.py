"""The table that `fcn-jax segment` prints for each picture."""

from fcn_jax.cli.messages import shown


def format_table(summary: dict) -> str:
    """Formats the classes found in a picture: index, name, share of pixels, mean confidence."""
    rows = [("index", "class", "pixels", "confidence")]
    rows += [
        (str(c["index"]), shown(c["name"]), f"{c['share']:.2%}", f"{c['confidence']:.2%}")
        for c in summary["classes"]
    ]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [f"{shown(summary['source'])} ({summary['width']} x {summary['height']})"]
    for index, name, share, confidence in rows:
        lines.append(
            f"  {index:>{widths[0]}}  {name:<{widths[1]}}  {share:>{widths[2]}}  {confidence:>{widths[3]}}"
        )
    return "\n".join(lines)


def printable(text: str, encoding: str) -> str:
    """Escapes what the terminal cannot show or would obey: undecodable bytes, control characters."""
    return shown(text, lines=True).encode(encoding, "backslashreplace").decode(encoding)
