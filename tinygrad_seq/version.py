"""The version, in one place: packaging, kernels and run folders read it here."""

__version__ = "0.1.0"
