"""What can be wrong with a dataset, and how much it matters to a training run."""

import enum


class Severity(enum.Enum):
    """How much a fault matters, the worst first."""

    STOPS = "stops a training run"
    SPOILS = "spoils a training run"
    REMARK = "worth knowing"


class Fault(enum.Enum):
    """The kinds of faults, each with its severity and its name in a list, where a count precedes it."""

    OPENING = Severity.STOPS, "dataset(s) that cannot be opened"
    PARTNER = Severity.STOPS, "file(s) without a partner"
    SAME_NAME = Severity.STOPS, "file(s) with another file's name"
    MISSING = Severity.STOPS, "missing file(s)"
    PICTURE = Severity.STOPS, "picture(s) that cannot be read"
    ORIENTATION = Severity.STOPS, "picture(s) that EXIF asks to turn"
    LABELS = Severity.STOPS, "label file(s) that cannot be read"
    COLOURS = Severity.STOPS, "label file(s) in colours without a table of them"
    SIZE = Severity.STOPS, "label file(s) of another size than the picture"
    VALUE = Severity.STOPS, "label file(s) with values of no class"
    OUTLINE = Severity.STOPS, "picture(s) with outlines that make no sense"
    SHIFT = Severity.STOPS, "guess(es) about the value 0"
    CLASSES = Severity.STOPS, "split(s) with other classes"
    NOTHING = Severity.STOPS, "split(s) with nothing to learn"
    HARDLY = Severity.SPOILS, "split(s) with perhaps nothing to learn"
    GHOST = Severity.SPOILS, "class(es) without any pixel"
    MIXED = Severity.STOPS, "label file(s) whose palette contradicts the first one's"
    PALETTE = Severity.SPOILS, "label file(s) with another palette than the first"
    RARE = Severity.REMARK, "class(es) without any pixel in the labels looked at"
    UNSEEN = Severity.REMARK, "class(es) without any pixel to score"
    VOID = Severity.REMARK, "label file(s) without any class"
    FLAT = Severity.REMARK, "object(s) without area, passed over"
    STRAY = Severity.REMARK, "object(s) of pictures that are not listed, passed over"

    def __init__(self, severity: Severity, words: str):
        self.severity, self.words = severity, words
