"""What a training run writes and shows for people: records, curves, sheets, progress, a diagnosis."""
