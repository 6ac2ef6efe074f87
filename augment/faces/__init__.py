"""The table of faces and what is done with faces as data: pictures, tensors, splits, duplicates, licences, cards."""
