"""How examples become batches, with the names that functions of programs' own take from here."""

import re

from tracec.utils.data.collate import default_collate, default_convert

#: The types of NumPy's arrays that no tensor holds.
np_str_obj_array_pattern = re.compile(r"[SaUO]")
default_collate_err_msg_format = (
    "default_collate: batch must contain tensors, numpy arrays, numbers, dicts or lists; found {}"
)

__all__ = ["default_collate", "default_collate_err_msg_format", "default_convert", "np_str_obj_array_pattern"]
