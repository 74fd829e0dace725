"""Draws pictures of results: label image, overlay, heat map, figure, sheet, confusion matrix."""

from fcn_jax.visualization.confusion import confusion_picture
from fcn_jax.visualization.pictures import figure, heatmap, label_image, overlay
from fcn_jax.visualization.sheet import SheetRow, draw_sheet

__all__ = ["SheetRow", "confusion_picture", "draw_sheet", "figure", "heatmap", "label_image", "overlay"]
