"""Pictures of results: label image, overlay, heat map, figure, confusion matrix."""

from fcn_jax.visualization.confusion import confusion_picture
from fcn_jax.visualization.pictures import figure, heatmap, label_image, overlay

__all__ = ["confusion_picture", "figure", "heatmap", "label_image", "overlay"]
