"""Pictures with labels: PASCAL VOC, SBD, COCO with VOC's classes, CamVid, Cityscapes,
ADE20K, your own, and generated scenes."""

from fcn_jax.datasets.ade20k import open_ade20k
from fcn_jax.datasets.binary import Binary, as_binary
from fcn_jax.datasets.by_name import list_datasets, open_dataset
from fcn_jax.datasets.cached import Cached
from fcn_jax.datasets.camvid import CAMVID_CATEGORIES, open_camvid
from fcn_jax.datasets.cityscapes import open_cityscapes
from fcn_jax.datasets.coco import CocoDataset, open_coco
from fcn_jax.datasets.dataset import IGNORE_LABEL, DatasetError, Sample, SegmentationDataset
from fcn_jax.datasets.files import FileDataset
from fcn_jax.datasets.folder import open_folder
from fcn_jax.datasets.scenes import Scenes
from fcn_jax.datasets.voc import open_sbd, open_voc

__all__ = [
    "CAMVID_CATEGORIES",
    "IGNORE_LABEL",
    "Binary",
    "Cached",
    "CocoDataset",
    "DatasetError",
    "FileDataset",
    "Sample",
    "Scenes",
    "SegmentationDataset",
    "as_binary",
    "list_datasets",
    "open_ade20k",
    "open_camvid",
    "open_cityscapes",
    "open_coco",
    "open_dataset",
    "open_folder",
    "open_sbd",
    "open_voc",
]
