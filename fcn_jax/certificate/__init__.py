"""Certificates of conversions: what became of every tensor, and how closely the functions were compared.

record = certify("fcn_resnet50.pth", "fcn_resnet50.safetensors")
write_certificate(record, "fcn_resnet50.safetensors")
"""

from fcn_jax.certificate.comparison import BOUND
from fcn_jax.certificate.page import certificate_paths, is_good, verdict, write_certificate
from fcn_jax.certificate.record import certify, certify_conversion

__all__ = [
    "BOUND",
    "certificate_paths",
    "certify",
    "certify_conversion",
    "is_good",
    "verdict",
    "write_certificate",
]
