"""Reads the faces that `s2l export` writes as Parquet, in projects that know nothing of the tool."""

from s2l_data.faces import Faces, FacesError, split_names

__all__ = ["Faces", "FacesError", "split_names"]
